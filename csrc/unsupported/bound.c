/* SPDX-License-Identifier: MIT
 *
 * For systems whose tables show what is bound, or whose descriptors cannot be asked.
 */
#include "../internal.h"

#include <string.h>

int bc_find_bound(uint16_t port, const uint64_t *known, size_t known_count,
                  bc_socket *out, size_t capacity, size_t *count, bc_bound_scan *scan)
{
    (void)port;
    (void)known;
    (void)known_count;
    (void)out;
    (void)capacity;
    *count = 0;
    memset(scan, 0, sizeof *scan);
    return BC_E_UNSUPPORTED;
}
