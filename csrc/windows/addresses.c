/* SPDX-License-Identifier: MIT
 *
 * The addresses of the interfaces: GetAdaptersAddresses (iphlpapi.h), loopback
 * included. An interface is called by its friendly name ("Ethernet"), which the user
 * sees in the settings and may change.
 */
#include "../internal.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

/* 15 KB to begin with and some tries: "GetAdaptersAddresses function". */
enum { TRIES = 6, FIRST_BYTES = 15360, SLACK_BYTES = 1024 };
#define FLAGS                                                                          \
    (GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST | GAA_FLAG_SKIP_DNS_SERVER)

uint32_t bc_interface_index(const char *name)
{
    WCHAR alias[IF_MAX_STRING_SIZE + 1];
    NET_LUID luid;
    NET_IFINDEX index = if_nametoindex(name); /* "ethernet_32769" */
    if (index != 0) {
        return index;
    }
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, name, -1, alias,
                            sizeof alias / sizeof alias[0]) == 0 ||
        ConvertInterfaceAliasToLuid(alias, &luid) != NO_ERROR ||
        ConvertInterfaceLuidToIndex(&luid, &index) != NO_ERROR) {
        return 0;
    }
    return index;
}

/* The list in memory of its own, which the caller frees also when there is none. */
static ULONG ask(IP_ADAPTER_ADDRESSES **list)
{
    ULONG size = FIRST_BYTES;
    ULONG error = ERROR_BUFFER_OVERFLOW;
    for (int i = 0; i < TRIES && error == ERROR_BUFFER_OVERFLOW; i++) {
        free(*list);
        *list = NULL;
        if (size > MAXDWORD - SLACK_BYTES) {
            return ERROR_NOT_ENOUGH_MEMORY;
        }
        size += SLACK_BYTES;
        *list = malloc(size);
        if (*list == NULL) {
            return ERROR_NOT_ENOUGH_MEMORY;
        }
        error = GetAdaptersAddresses(AF_UNSPEC, FLAGS, NULL, *list, &size);
    }
    return error;
}

static int describe(const IP_ADAPTER_ADDRESSES *adapter,
                    const IP_ADAPTER_UNICAST_ADDRESS *address,
                    bc_interface_address *out)
{
    const SOCKET_ADDRESS *native = &address->Address;
    memset(out, 0, sizeof *out);
    if (native->lpSockaddr == NULL || native->iSockaddrLength <= 0 ||
        !bc__from_sockaddr(native->lpSockaddr, native->iSockaddrLength,
                           &out->address)) {
        return 0;
    }
    out->address.port = 0;
    /* One of the two is 0 where its family is off, and Wine has the first alone; where
     * both are told, they agree. */
    out->index = adapter->IfIndex != 0 ? adapter->IfIndex : adapter->Ipv6IfIndex;
    out->up = out->running = adapter->OperStatus == IfOperStatusUp;
    out->prefix =
        address->OnLinkPrefixLength <= 128 ? address->OnLinkPrefixLength : 255;
    if (adapter->FriendlyName != NULL) {
        (void)bc__to_utf8(adapter->FriendlyName, wcslen(adapter->FriendlyName),
                          out->interface, sizeof out->interface);
    }
    return 1;
}

int bc_list_addresses(bc_interface_address *out, size_t capacity, size_t *count,
                      bc_error *error)
{
    IP_ADAPTER_ADDRESSES *list = NULL;
    int status = BC_OK;
    ULONG code;

    *count = 0;
    memset(error, 0, sizeof *error);
    code = ask(&list);
    if (code == ERROR_NO_DATA || code == ERROR_ADDRESS_NOT_ASSOCIATED) {
        goto out; /* there are none */
    }
    if (code != NO_ERROR) {
        error->code = (int32_t)code;
        error->domain = BC_DOMAIN_WIN32;
        status = BC_E_SYSTEM;
        goto out;
    }
    for (const IP_ADAPTER_ADDRESSES *adapter = list; adapter != NULL;
         adapter = adapter->Next) {
        for (const IP_ADAPTER_UNICAST_ADDRESS *one = adapter->FirstUnicastAddress;
             one != NULL; one = one->Next) {
            bc_interface_address row;
            if (!describe(adapter, one, &row)) {
                continue;
            }
            if (*count < capacity) {
                out[*count] = row;
            } else {
                status = BC_E_TRUNCATED;
            }
            (*count)++;
        }
    }
out:
    free(list);
    return status;
}
