/* SPDX-License-Identifier: MIT
 *
 * The system's own texts on POSIX systems, untranslated and thread-safe.
 */
#include "../internal.h"

#include <errno.h>
#include <locale.h>
#include <netdb.h>
#include <string.h>

#if defined(__linux__)

int bc__errno_message(int32_t code, char *out, size_t capacity)
{
    /* strerror_l(3) in the C locale: glibc's strerror and strerror_r translate by
     * LC_MESSAGES and LANGUAGE. newlocale("C") allocates nothing in glibc and musl, and
     * strerror_l writes unknown numbers into thread-local memory. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    int status = BC_E_TRUNCATED;
    if (plain == (locale_t)0) {
        return status;
    }
    status = bc__copy_text(strerror_l(code, plain), out, capacity);
    freelocale(plain);
    return status;
}

#else

int bc__errno_message(int32_t code, char *out, size_t capacity)
{
    /* XSI strerror_r; it fills the buffer for unknown numbers too and says EINVAL. */
    return strerror_r(code, out, capacity) == ERANGE ? BC_E_TRUNCATED : BC_OK;
}

#endif

const char *bc__eai_text(int32_t code)
{
#if defined(__GLIBC__)
    /* glibc translates by the thread's locale. The texts are static. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = plain != (locale_t)0 ? uselocale(plain) : (locale_t)0;
    const char *text = gai_strerror(code);
    if (plain != (locale_t)0) {
        (void)uselocale(before);
        freelocale(plain);
    }
    return text;
#else
    return gai_strerror(code);
#endif
}
