/* SPDX-License-Identifier: MIT
 *
 * The system's own texts on Windows: FormatMessageW, as UTF-8, without the line end.
 */
#include "../internal.h"

#include <stdio.h>
#include <string.h>

static int format_message(int32_t code, char *out, size_t capacity)
{
    WCHAR wide[512];
    DWORD length =
        FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL,
                       (DWORD)code, 0, wide, sizeof wide / sizeof wide[0], NULL);
    int size;
    while (length > 0 && (wide[length - 1] == L'\r' || wide[length - 1] == L'\n' ||
                          wide[length - 1] == L' ')) {
        length--;
    }
    if (length == 0) {
        return 0;
    }
    size = WideCharToMultiByte(CP_UTF8, 0, wide, (int)length, out, (int)capacity - 1,
                               NULL, NULL);
    if (size <= 0) {
        return -1;
    }
    out[size] = '\0';
    return size;
}

int bc__winsock_message(int32_t code, char *out, size_t capacity)
{
    int size = format_message(code, out, capacity);
    if (size == 0) {
        char text[48];
        (void)snprintf(text, sizeof text, "Unknown error %d", (int)code);
        return bc__copy_text(text, out, capacity);
    }
    return size < 0 ? BC_E_TRUNCATED : BC_OK;
}

int bc__errno_message(int32_t code, char *out, size_t capacity)
{
    return strerror_s(out, capacity, code) == 0 ? BC_OK : BC_E_TRUNCATED;
}

/* EAI_* are Winsock numbers here. gai_strerrorA has a static buffer, so it is not
 * used; the caller gets the text through FormatMessageW. */
const char *bc__eai_text(int32_t code)
{
    (void)code;
    return "";
}
