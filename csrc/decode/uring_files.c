/* SPDX-License-Identifier: MIT
 *
 * The registered files in /proc/PID/fdinfo/FD of an io_uring (io_uring/fdinfo.c):
 *
 *   UserFiles:\t2
 *       0: socket:[4711]
 *       1: /etc/hostname
 *   UserBufs:\t0
 *
 * Paths are escaped there, so that every file is a line.
 */
#include "../bindcheck.h"

#include <string.h>

/* The rest of a line behind a prefix, or NULL. */
static const uint8_t *behind(const uint8_t *at, const uint8_t *end, const char *prefix)
{
    size_t length = strlen(prefix);
    if ((size_t)(end - at) < length || memcmp(at, prefix, length) != 0) {
        return NULL;
    }
    return at + length;
}

static const uint8_t *decimal(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    const uint8_t *first = at;
    *value = 0;
    while (at < end && *at >= '0' && *at <= '9') {
        uint64_t next = (uint64_t)(*at - '0');
        if (*value > (UINT64_MAX - next) / 10) {
            return NULL;
        }
        *value = *value * 10 + next;
        at++;
    }
    return at == first ? NULL : at;
}

/* "    0: socket:[4711]"; 0 when the line is another. */
static uint64_t socket_of(const uint8_t *at, const uint8_t *end)
{
    uint64_t value = 0;
    while (at < end && *at == ' ') {
        at++;
    }
    at = decimal(at, end, &value);
    at = at == NULL ? NULL : behind(at, end, ": socket:[");
    at = at == NULL ? NULL : decimal(at, end, &value);
    return at != NULL && end - at == 1 && *at == ']' ? value : 0;
}

int bc_decode_uring_files(const uint8_t *bytes, size_t length, int32_t *section,
                          uint64_t *out, size_t capacity, size_t *count,
                          size_t *consumed)
{
    *consumed = 0;
    while (*consumed < length) {
        const uint8_t *line = bytes + *consumed;
        const uint8_t *end = memchr(line, '\n', length - *consumed);
        uint64_t inode = 0;
        if (end == NULL) {
            break;
        }
        *consumed += (size_t)(end - line) + 1;
        if (line == end || *line != ' ') {
            *section = behind(line, end, "UserFiles:") != NULL;
        } else if (*section != 0) {
            inode = socket_of(line, end);
        }
        if (inode != 0) {
            if (*count < capacity) {
                out[*count] = inode;
            }
            (*count)++;
        }
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
