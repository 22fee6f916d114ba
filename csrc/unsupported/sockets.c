/* SPDX-License-Identifier: MIT
 *
 * For systems whose socket tables are not read.
 */
#include "../internal.h"

#include <string.h>

int bc_list_sockets(int32_t protocol, uint16_t port, bc_socket *out, size_t capacity,
                    size_t *count, bc_listing *listing)
{
    (void)protocol;
    (void)port;
    (void)out;
    (void)capacity;
    *count = 0;
    memset(listing, 0, sizeof *listing);
    return BC_E_UNSUPPORTED;
}
