/* SPDX-License-Identifier: MIT
 *
 * For systems that keep no ports from bind().
 */
#include "../internal.h"

#include <string.h>

int bc_list_kept_ports(int32_t protocol, bc_port_range *out, size_t capacity,
                       size_t *count, bc_error *error)
{
    (void)protocol;
    (void)out;
    (void)capacity;
    *count = 0;
    memset(error, 0, sizeof *error);
    return BC_E_UNSUPPORTED;
}
