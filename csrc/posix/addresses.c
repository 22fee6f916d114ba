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

/* The leading ones of a netmask; 255 where there is none. */
static uint8_t prefix_of(const struct sockaddr *mask, int family)
{
    uint8_t bytes[16];
    size_t size = 0;
    uint8_t bits = 0;
    if (mask == NULL) {
        return 255;
    }
    if (family == AF_INET) {
        size = sizeof(struct in_addr);
        memcpy(bytes, &((const struct sockaddr_in *)(const void *)mask)->sin_addr,
               size);
    } else if (family == AF_INET6) {
        size = sizeof(struct in6_addr);
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)mask)->sin6_addr,
               size);
    }
    while (bits < size * 8 && (bytes[bits / 8] & (0x80U >> bits % 8)) != 0) {
        bits++;
    }
    return bits;
}

/* Systems of KAME's family leave the zone of a link-local address in its second word
 * (ifconfig's in6_fillscopeid). */
static void take_zone_out(bc_endpoint *address)
{
#if defined(__APPLE__)
    uint8_t *bytes = address->address;
    if (address->family == BC_FAMILY_INET6 && bytes[0] == 0xfe &&
        (bytes[1] & 0xc0) == 0x80 && (bytes[2] | bytes[3]) != 0) {
        address->scope_id = (uint32_t)bytes[2] << 8 | bytes[3];
        bytes[2] = bytes[3] = 0;
    }
#else
    (void)address;
#endif
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
        take_zone_out(&row.address);
        row.index = if_nametoindex(one->ifa_name);
        row.up = (one->ifa_flags & (unsigned)IFF_UP) != 0;
        row.running = (one->ifa_flags & (unsigned)IFF_RUNNING) != 0;
        row.prefix = prefix_of(one->ifa_netmask, one->ifa_addr->sa_family);
        (void)bc__copy_text(one->ifa_name, row.interface, sizeof row.interface);
        if (*count < capacity) {
            out[*count] = row;
        }
        (*count)++;
    }
    freeifaddrs(list);
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
