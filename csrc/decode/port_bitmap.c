/* SPDX-License-Identifier: MIT
 *
 * macOS' sysctl net.restricted_port.bitmap (bsd/net/restricted_in_port.c): a bit for
 * each port, in 64-bit words of which the least significant bit is the first
 * (osfmk/kern/bits.h, bitmap_set). All that macOS runs on is little-endian, so port p
 * is bit p % 8 of byte p / 8.
 */
#include "../bindcheck.h"

#include <string.h>

enum { BITMAP_BYTES = 8192 };

static int is_set(const uint8_t *bytes, size_t port)
{
    return (bytes[port / 8] >> port % 8 & 1) != 0;
}

int bc_decode_port_bitmap(const uint8_t *bytes, size_t length, bc_port_range *out,
                          size_t capacity, size_t *count)
{
    size_t ports = (length < BITMAP_BYTES ? length : BITMAP_BYTES) * 8;
    size_t port = 0;
    while (port < ports) {
        bc_port_range range;
        if (!is_set(bytes, port)) {
            port += bytes[port / 8] == 0 ? 8 : 1; /* met at its first bit only */
            continue;
        }
        memset(&range, 0, sizeof range);
        range.kind = BC_KEPT_RESTRICTED;
        range.first = (uint16_t)port;
        while (port < ports && is_set(bytes, port)) {
            port++;
        }
        range.last = (uint16_t)(port - 1);
        if (*count < capacity) {
            out[*count] = range;
        }
        (*count)++;
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
