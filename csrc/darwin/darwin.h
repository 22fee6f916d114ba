/* SPDX-License-Identifier: MIT
 *
 * What the files of the macOS backend share.
 */
#ifndef BINDCHECK_DARWIN_H
#define BINDCHECK_DARWIN_H

#include "../bindcheck.h"

/* What a sysctl gives, whole. Returns 0 and memory to be freed, or an error number.
 * (sysctl.c) */
int bc__read_sysctl(const char *name, uint8_t **bytes, size_t *length);

/* A sysctl that is one int; -1 where there is none. */
int32_t bc__sysctl_number(const char *name);

/* The byte order of this machine, as the decoders want it. */
int bc__big_endian(void);

/* When a process began, in microseconds since 1970; 0 when there is none. With its pid
 * it names a process for good. (process.c) */
uint64_t bc__start_of(int32_t pid);

/* Describe a process at the end of owners->processes. */
void bc__add_process(bc_owners *owners, int32_t pid);

#endif
