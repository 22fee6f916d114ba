/* SPDX-License-Identifier: MIT
 *
 * The system's own texts on Windows: FormatMessageW in the language of the system, as
 * UTF-8, without the line end. Nothing else is cut: Windows' texts end with a full
 * stop, and it stays.
 */
#include "../internal.h"
#include "../winsock_codes.h"
#include "text.h"

#include <string.h>

/* csrc/winsock_codes.h has the numbers for every system; here they are the headers'. */
#define SAME_NUMBER(name, number, text)                                                \
    _Static_assert((name) == (number), #name " is another number");
#define SAME_NUMBER_32(name, number)                                                   \
    _Static_assert((name) == (number), #name " is another number");
BC__WINSOCK_MAP(SAME_NUMBER)
BC__WIN32_MAP(SAME_NUMBER_32)

static int is_blank(WCHAR unit)
{
    return unit == L'\r' || unit == L'\n' || unit == L' ';
}

int bc__windows_message(int32_t code, char *out, size_t capacity)
{
    WCHAR *wide = NULL;
    int status = BC_E_UNSUPPORTED;
    /* With ALLOCATE_BUFFER no text is too long for it. IGNORE_INSERTS, because some
     * texts have inserts, and there is nothing to insert. Language 0: the thread's, the
     * user's, the system's ("FormatMessageW function"). */
    DWORD length =
        FormatMessageW(FORMAT_MESSAGE_ALLOCATE_BUFFER | FORMAT_MESSAGE_FROM_SYSTEM |
                           FORMAT_MESSAGE_IGNORE_INSERTS,
                       NULL, (DWORD)code, 0, (LPWSTR)(void *)&wide, 0, NULL);
    while (length > 0 && is_blank(wide[length - 1])) {
        length--;
    }
    if (length > 0) {
        status = bc__to_utf8(wide, length, out, capacity);
        if (status == BC_E_SYSTEM) {
            status = BC_E_UNSUPPORTED;
        }
    }
    (void)LocalFree(wide);
    return status;
}

int bc__errno_message(int32_t code, char *out, size_t capacity)
{
    /* strerror_s cuts without a word, so it gets room for the longest ("_strerror_s":
     * 94 characters). */
    char text[256];
    if (strerror_s(text, sizeof text, code) != 0) {
        return BC_E_TRUNCATED;
    }
    return bc__copy_text(text, out, capacity);
}

/* EAI_* are Winsock numbers here, so their texts are bc__windows_message's.
 * gai_strerrorA has a static buffer and is not used. */
const char *bc__eai_text(int32_t code)
{
    (void)code;
    return "";
}
