/* SPDX-License-Identifier: MIT
 *
 * Host names to addresses: getaddrinfo(3), a step of its own because it has an error
 * domain of its own, allocates, and may ask name servers. probe.c does neither.
 */
#include "internal.h"

#if !defined(_WIN32)
#include <errno.h>
#include <netdb.h>
#endif
#include <string.h>

static int already_there(const bc_endpoint *found, size_t count, const bc_endpoint *one)
{
    for (size_t i = 0; i < count; i++) {
        if (found[i].family == one->family && found[i].scope_id == one->scope_id &&
            memcmp(found[i].address, one->address, sizeof one->address) == 0) {
            return 1;
        }
    }
    return 0;
}

static int native_family(int family)
{
    switch (family) {
    case BC_FAMILY_INET:
        return AF_INET;
    case BC_FAMILY_INET6:
        return AF_INET6;
    default:
        return AF_UNSPEC;
    }
}

int bc_resolve(const char *host, int family, bc_endpoint *out, size_t capacity,
               size_t *count, bc_error *error)
{
    struct addrinfo hints;
    struct addrinfo *list = NULL;
    int status = BC_OK;
    int code = 0;

    *count = 0;
    memset(error, 0, sizeof *error);
    memset(&hints, 0, sizeof hints);
    hints.ai_family = native_family(family);
    hints.ai_socktype = SOCK_STREAM; /* one row for each address, not one per type */
    hints.ai_flags = AI_PASSIVE;
    code = bc__start_sockets();
    if (code != 0) {
        bc__fail(error, BC_STEP_RESOLVE, BC_OPTION_NONE, code);
        return BC_E_SYSTEM;
    }
    code = getaddrinfo(host, NULL, &hints, &list);
    if (code != 0) {
        error->step = BC_STEP_RESOLVE;
        error->domain = BC_DOMAIN_EAI;
        error->code = code;
#if defined(EAI_SYSTEM)
        if (code == EAI_SYSTEM) {
            error->code = errno;
            error->domain = BC_DOMAIN_ERRNO;
        }
#elif defined(_WIN32)
        /* ws2tcpip.h: EAI_* are some of Winsock's numbers, and others come too. */
        if (bc_error_name(BC_DOMAIN_EAI, code) == NULL) {
            error->domain = BC_DOMAIN_WINSOCK;
        }
#endif
        bc__stop_sockets();
        return BC_E_SYSTEM;
    }
    for (const struct addrinfo *one = list; one != NULL; one = one->ai_next) {
        bc_endpoint endpoint;
        if (bc__from_sockaddr(one->ai_addr, (bc__length)one->ai_addrlen, &endpoint) ==
            0) {
            continue;
        }
        endpoint.port = 0;
        if (already_there(out, *count < capacity ? *count : capacity, &endpoint)) {
            continue;
        }
        if (*count < capacity) {
            out[*count] = endpoint;
        } else {
            status = BC_E_TRUNCATED;
        }
        (*count)++;
    }
    freeaddrinfo(list);
    bc__stop_sockets();
    return status;
}
