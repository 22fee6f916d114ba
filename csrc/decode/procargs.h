/* SPDX-License-Identifier: MIT */
#ifndef BINDCHECK_DECODE_PROCARGS_H
#define BINDCHECK_DECODE_PROCARGS_H

#include "../bindcheck.h"

/* The arguments in what macOS' sysctl KERN_PROCARGS2 gives: where they begin and how
 * many bytes they have. Each is NUL-ended, the last only where the bytes go on so far.
 * BC_E_MALFORMED when it is not such a thing. */
int bc__decode_procargs(const uint8_t *bytes, size_t length, int big_endian,
                        const uint8_t **arguments, size_t *arguments_length);

#endif
