/* SPDX-License-Identifier: MIT
 *
 * The addresses of the interfaces: getifaddrs(3) and if_nametoindex(3).
 */
#include "../internal.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

uint32_t bc_interface_index(const char *name)
{
    return if_nametoindex(name);
}

int bc_list_addresses(bc_interface_address *out, size_t capacity, size_t *count,
                      bc_error *error)
{
    struct ifaddrs *list = NULL;

    *count = 0;
    memset(error, 0, sizeof *error);
    if (getifaddrs(&list) != 0) {
        int32_t code = errno;
        error->code = code;
        error->domain = BC_DOMAIN_ERRNO;
        return BC_E_SYSTEM;
    }
    for (const struct ifaddrs *one = list; one != NULL; one = one->ifa_next) {
        bc_interface_address row;
        bc__length length;
        if (one->ifa_addr == NULL) {
            continue;
        }
        length = one->ifa_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                      : sizeof(struct sockaddr_in);
        memset(&row, 0, sizeof row);
        if (bc__from_sockaddr(one->ifa_addr, length, &row.address) == 0) {
            continue;
        }
        row.index = if_nametoindex(one->ifa_name);
        row.up = (one->ifa_flags & (unsigned)IFF_UP) != 0;
        (void)bc__copy_text(one->ifa_name, row.interface, sizeof row.interface);
        if (*count < capacity) {
            out[*count] = row;
        }
        (*count)++;
    }
    freeifaddrs(list);
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
