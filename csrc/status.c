/* SPDX-License-Identifier: MIT
 *
 * Numbers to names and texts, for each error domain. The name table of errno is ours,
 * because no portable function gives names; the texts are the system's own.
 */
#include "internal.h"

#if !defined(_WIN32)
#include <errno.h>
#include <netdb.h>
#endif
#include <string.h>

#include "errno_names.h"

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

#if defined(_WIN32)
#define WINSOCK_CASE(name, number)                                                     \
    case number:                                                                       \
        return #name;

static const char *winsock_name(int32_t code)
{
    switch (code) {
        BC__WINSOCK_MAP(WINSOCK_CASE)
    default:
        return NULL;
    }
}
#endif

const char *bc_error_name(int domain, int32_t code)
{
    switch (domain) {
    case BC_DOMAIN_ERRNO:
        return errno_name(code);
    case BC_DOMAIN_EAI:
        return eai_name(code);
#if defined(_WIN32)
    case BC_DOMAIN_WINSOCK:
        return winsock_name(code);
#endif
    default:
        return NULL;
    }
}

const char *bc_error_reference(int domain, int32_t code)
{
    (void)domain;
    (void)code;
    return NULL;
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
        return bc__winsock_message(code, out, capacity);
    case BC_DOMAIN_WINSOCK:
        return bc__winsock_message(code, out, capacity);
#else
        return bc__copy_text(bc__eai_text(code), out, capacity);
#endif
    default:
        return BC_E_INVALID;
    }
}
