/* SPDX-License-Identifier: MIT
 *
 * Windows' UTF-16 to the core's UTF-8.
 */
#ifndef BINDCHECK_WINDOWS_TEXT_H
#define BINDCHECK_WINDOWS_TEXT_H

#include "../internal.h"

/* `length` units as NUL-ended UTF-8; what is no character becomes U+FFFD. BC_OK,
 * BC_E_TRUNCATED with what fits, cut between two characters, or BC_E_SYSTEM. */
int bc__to_utf8(const WCHAR *wide, size_t length, char *out, size_t capacity);

/* A function of a loaded library by its name, or NULL: older systems and Wine lack
 * some. `out` points to a function pointer. */
void bc__find_function(const WCHAR *library, const char *name, void *out);

#endif
