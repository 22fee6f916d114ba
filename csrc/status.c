/* SPDX-License-Identifier: MIT
 *
 * Numbers to names and texts, for each error domain. The name tables are ours, because
 * no portable function gives names; the texts are the system's own. What is Windows'
 * is named on every system: a report that was recorded there is read elsewhere.
 */
#include "internal.h"

#include <errno.h>
#if !defined(_WIN32)
#include <netdb.h>
#endif
#include <string.h>

#include "errno_names.h"
#include "winsock_codes.h"

#define NAME_CASE(name)                                                                \
    case name:                                                                         \
        return #name;

static const char *errno_name(int32_t code)
{
    switch (code) {
        BC__ERRNO_MAP(NAME_CASE)
    default:
        return NULL;
    }
}

static const char *eai_name(int32_t code)
{
    switch (code) {
        BC__EAI_MAP(NAME_CASE)
    default:
        return NULL;
    }
}

#define WINSOCK_NAME(name, number, text)                                               \
    case number:                                                                       \
        return #name;

static const char *winsock_name(int32_t code)
{
    switch (code) {
        BC__WINSOCK_MAP(WINSOCK_NAME)
    default:
        return NULL;
    }
}

#define WINSOCK_TEXT(name, number, text)                                               \
    case number:                                                                       \
        return text;

static const char *winsock_text(int32_t code)
{
    switch (code) {
        BC__WINSOCK_MAP(WINSOCK_TEXT)
    default:
        return NULL;
    }
}

#define WIN32_NAME(name, number)                                                       \
    case number:                                                                       \
        return #name;

static const char *win32_name(int32_t code)
{
    switch (code) {
        BC__WIN32_MAP(WIN32_NAME)
    default:
        return NULL;
    }
}

const char *bc_error_name(int domain, int32_t code)
{
    switch (domain) {
    case BC_DOMAIN_ERRNO:
        return errno_name(code);
    case BC_DOMAIN_EAI:
        return eai_name(code);
    case BC_DOMAIN_WINSOCK:
        return winsock_name(code);
    case BC_DOMAIN_WIN32:
        return win32_name(code);
    default:
        return NULL;
    }
}

const char *bc_error_reference(int domain, int32_t code)
{
#if defined(_WIN32)
    /* ws2tcpip.h: EAI_* are Winsock's numbers. */
    if (domain == BC_DOMAIN_EAI) {
        domain = BC_DOMAIN_WINSOCK;
    }
#endif
    return domain == BC_DOMAIN_WINSOCK ? winsock_text(code) : NULL;
}

int bc__copy_text(const char *text, char *out, size_t capacity)
{
    size_t length = strlen(text);
    size_t fits = length < capacity ? length : capacity - 1;
    memcpy(out, text, fits);
    out[fits] = '\0';
    return fits == length ? BC_OK : BC_E_TRUNCATED;
}

int bc_error_message(int domain, int32_t code, char *out, size_t capacity)
{
    if (capacity == 0) {
        return BC_E_TRUNCATED;
    }
    out[0] = '\0';
    switch (domain) {
    case BC_DOMAIN_ERRNO:
        return bc__errno_message(code, out, capacity) == 0 ? BC_OK : BC_E_TRUNCATED;
    case BC_DOMAIN_EAI:
#if defined(_WIN32)
    case BC_DOMAIN_WINSOCK:
    case BC_DOMAIN_WIN32:
        return bc__windows_message(code, out, capacity);
#else
        return bc__copy_text(bc__eai_text(code), out, capacity);
    case BC_DOMAIN_WINSOCK:
    case BC_DOMAIN_WIN32:
        return BC_E_UNSUPPORTED;
#endif
    default:
        return BC_E_INVALID;
    }
}
