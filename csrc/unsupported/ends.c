/* SPDX-License-Identifier: MIT
 *
 * For systems that send no word of the end of a socket.
 */
#include "../internal.h"

#include <string.h>

int bc_watch_ends(uint16_t port, uint64_t cookie, int32_t *out, bc_error *error)
{
    (void)port;
    (void)cookie;
    *out = -1;
    memset(error, 0, sizeof *error);
    return BC_E_UNSUPPORTED;
}
