/* SPDX-License-Identifier: MIT
 *
 * What the files of this folder share.
 */
#ifndef BINDCHECK_LINUX_H
#define BINDCHECK_LINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

static inline int bc__big_endian(void)
{
    const uint16_t one = 1;
    return *(const uint8_t *)&one == 0;
}

/* Read a small file of /proc below a directory descriptor, as much as fits. Returns the
 * length or -1 with errno set. (facts.c) */
ssize_t bc__read_file(int directory, const char *path, void *out, size_t capacity);

/* For a search: to keep a turn that its caller may drop, and to wait for it however
 * long. (turn.c) */
void bc__share_turn(bc_turn *turn);
void bc__take_turn(bc_turn *turn);

/* So much later than now, by a clock. (turn.c) */
struct timespec bc__after(clockid_t clock, uint32_t milliseconds, uint32_t nanoseconds);

#endif
