/* SPDX-License-Identifier: MIT
 *
 * For systems that have no table of AF_UNIX sockets, or none that is read.
 */
#include "../internal.h"

#include <string.h>

int bc_list_unix_sockets(bc_unix_socket *out, size_t capacity, size_t *count,
                         bc_error *error)
{
    (void)out;
    (void)capacity;
    *count = 0;
    memset(error, 0, sizeof *error);
    return BC_E_UNSUPPORTED;
}
