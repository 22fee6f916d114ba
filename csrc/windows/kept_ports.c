/* SPDX-License-Identifier: MIT
 *
 * The persistent exclusions of ports, from the registry: one value for each range, the
 * range is its name. No page documents the place ("netsh int ipv4 show
 * excludedportrange" shows the ranges with a star); what a driver such as Hyper-V's
 * reserves until the next start is not there, and nothing lists it.
 */
#include "../internal.h"

#include <string.h>

#define NSI L"SYSTEM\\CurrentControlSet\\Control\\Nsi\\"
#define MODULE(start) L"{" start L"-9b1a-11d4-9123-0050047759bc}"

/* A value's name has up to 16383 characters; those of a range have 8. */
enum { NAME_UNITS = 64, DATA_BYTES = 256, NAME_DIGITS = 8 };

static const WCHAR *path_of(int32_t protocol)
{
    switch (protocol) {
    case BC_PROTOCOL_TCP:
        return NSI MODULE(L"eb004a03") L"\\29";
    case BC_PROTOCOL_UDP:
        return NSI MODULE(L"eb004a02") L"\\5";
    default:
        return NULL;
    }
}

static int is_range(const WCHAR *wide, DWORD length, DWORD type, const BYTE *data,
                    DWORD size, bc_port_range *out)
{
    static const BYTE START[] = {0x12, 0x00, 0xff, 0xff};
    char name[NAME_DIGITS];
    if (type != REG_BINARY || size < sizeof START ||
        memcmp(data, START, sizeof START) != 0 || length != NAME_DIGITS) {
        return 0;
    }
    for (DWORD i = 0; i < NAME_DIGITS; i++) {
        name[i] = wide[i] < 0x80 ? (char)wide[i] : '?';
    }
    return bc_decode_excluded_range(name, sizeof name, out) == BC_OK;
}

/* The values of an open key; 0 or an error number. */
static LSTATUS read_values(HKEY key, bc_port_range *out, size_t capacity, size_t *count)
{
    for (DWORD i = 0; i < MAXDWORD; i++) {
        WCHAR name[NAME_UNITS];
        BYTE data[DATA_BYTES];
        DWORD length = NAME_UNITS, size = sizeof data, type = REG_NONE;
        bc_port_range range;
        LSTATUS error = RegEnumValueW(key, i, name, &length, NULL, &type, data, &size);
        if (error == ERROR_NO_MORE_ITEMS) {
            break;
        }
        if (error == ERROR_MORE_DATA) {
            continue; /* too long to be a range */
        }
        if (error != ERROR_SUCCESS) {
            return error;
        }
        if (!is_range(name, length, type, data, size, &range)) {
            continue;
        }
        if (*count < capacity) {
            out[*count] = range;
        }
        (*count)++;
    }
    return ERROR_SUCCESS;
}

int bc_list_kept_ports(int32_t protocol, bc_port_range *out, size_t capacity,
                       size_t *count, bc_error *error)
{
    const WCHAR *path = path_of(protocol);
    HKEY key = NULL;
    LSTATUS code;

    *count = 0;
    memset(error, 0, sizeof *error);
    if (path == NULL) {
        return BC_E_UNSUPPORTED;
    }
    code = RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, 0, KEY_READ | KEY_WOW64_64KEY, &key);
    if (code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND) {
        return BC_OK; /* nothing is excluded */
    }
    if (code == ERROR_SUCCESS) {
        code = read_values(key, out, capacity, count);
        (void)RegCloseKey(key);
    }
    if (code != ERROR_SUCCESS) {
        *count = 0;
        error->code = (int32_t)code;
        error->domain = BC_DOMAIN_WIN32;
        return BC_E_SYSTEM;
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
