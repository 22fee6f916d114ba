/* SPDX-License-Identifier: MIT
 *
 * Which service of a process with many (svchost.exe) made a socket: the tag that the
 * socket tables have, through I_QueryTagInformation of advapi32. No page documents it,
 * Windows' own tools use it, and it needs no privilege; it is looked up, because it may
 * go away.
 */
#include "../internal.h"
#include "text.h"

#include <string.h>

enum { NAME_FROM_TAG = 1 };

typedef struct {
    ULONG pid;
    ULONG tag;
    ULONG type; /* 1: a service */
    WCHAR *name;
} tag_query;

typedef ULONG(WINAPI *tag_function)(void *machine, ULONG level, tag_query *query);

int bc_service_name(int32_t pid, uint32_t tag, char *out, size_t capacity)
{
    tag_query query = {.pid = (ULONG)pid, .tag = tag};
    tag_function ask = NULL;
    int status = BC_E_UNSUPPORTED;

    if (capacity > 0) {
        out[0] = '\0';
    }
    if (pid <= 0 || tag == 0) {
        return BC_E_UNSUPPORTED;
    }
    bc__find_function(L"advapi32.dll", "I_QueryTagInformation", (void *)&ask);
    if (ask == NULL) {
        return BC_E_UNSUPPORTED;
    }
    if (ask(NULL, NAME_FROM_TAG, &query) == ERROR_SUCCESS && query.name != NULL &&
        query.name[0] != L'\0') {
        status = bc__to_utf8(query.name, wcslen(query.name), out, capacity);
        if (status == BC_E_SYSTEM) {
            status = BC_E_UNSUPPORTED;
        }
    }
    if (query.name != NULL) {
        (void)LocalFree(query.name);
    }
    return status;
}
