/* SPDX-License-Identifier: MIT
 *
 * Integers out of bytes, without alignment or aliasing assumptions. The callers check
 * the lengths.
 */
#ifndef BINDCHECK_DECODE_BYTES_H
#define BINDCHECK_DECODE_BYTES_H

#include <stdint.h>

static inline uint16_t bc__u16(const uint8_t *bytes, int big_endian)
{
    return big_endian ? (uint16_t)(bytes[0] << 8 | bytes[1])
                      : (uint16_t)(bytes[1] << 8 | bytes[0]);
}

static inline uint32_t bc__u32(const uint8_t *bytes, int big_endian)
{
    uint32_t first = bc__u16(bytes, big_endian);
    uint32_t second = bc__u16(bytes + 2, big_endian);
    return big_endian ? first << 16 | second : second << 16 | first;
}

static inline uint64_t bc__u64(const uint8_t *bytes, int big_endian)
{
    uint64_t first = bc__u32(bytes, big_endian);
    uint64_t second = bc__u32(bytes + 4, big_endian);
    return big_endian ? first << 32 | second : second << 32 | first;
}

#endif
