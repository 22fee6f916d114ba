/* SPDX-License-Identifier: MIT
 *
 * For systems whose tunnel devices are not asked for their ports.
 */
#include "../internal.h"

#include <string.h>

int bc_list_tunnels(bc_tunnel *out, size_t capacity, size_t *count, bc_error *error)
{
    (void)out;
    (void)capacity;
    *count = 0;
    memset(error, 0, sizeof *error);
    return BC_E_UNSUPPORTED;
}
