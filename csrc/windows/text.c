/* SPDX-License-Identifier: MIT
 *
 * UTF-16 to UTF-8 in pieces that fit, and functions that not every Windows has.
 */
#include "text.h"

#include <string.h>

enum { UTF8_MOST = 4 }; /* bytes of a character */

static int is_high(WCHAR unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static int is_low(WCHAR unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

int bc__to_utf8(const WCHAR *wide, size_t length, char *out, size_t capacity)
{
    size_t used = 0;
    size_t at = 0;
    if (capacity == 0) {
        return BC_E_TRUNCATED;
    }
    out[0] = '\0';
    while (at < length) {
        char character[UTF8_MOST];
        int units =
            at + 1 < length && is_high(wide[at]) && is_low(wide[at + 1]) ? 2 : 1;
        int bytes = WideCharToMultiByte(CP_UTF8, 0, wide + at, units, character,
                                        sizeof character, NULL, NULL);
        if (bytes <= 0) {
            return BC_E_SYSTEM;
        }
        if ((size_t)bytes >= capacity - used) {
            return BC_E_TRUNCATED;
        }
        memcpy(out + used, character, (size_t)bytes);
        used += (size_t)bytes;
        out[used] = '\0';
        at += (size_t)units;
    }
    return BC_OK;
}

void bc__find_function(const WCHAR *library, const char *name, void *out)
{
    HMODULE module = GetModuleHandleW(library);
    FARPROC found = module == NULL ? NULL : GetProcAddress(module, name);
    /* ISO C has no cast from one to the other that keeps every compiler quiet. */
    memcpy(out, (const void *)&found, sizeof found);
}
