/* SPDX-License-Identifier: MIT
 *
 * bc_endpoint <-> sockaddr, the only place that knows the layout of the latter.
 */
#include "internal.h"

#include <string.h>

bc__length bc__to_sockaddr(const bc_endpoint *endpoint, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (endpoint->family == BC_FAMILY_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(endpoint->port);
        memcpy(&v4->sin_addr, endpoint->address, 4);
#if defined(__APPLE__)
        v4->sin_len = sizeof *v4;
#endif
        return sizeof *v4;
    }
    if (endpoint->family == BC_FAMILY_INET6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(endpoint->port);
        v6->sin6_scope_id = endpoint->scope_id;
        memcpy(&v6->sin6_addr, endpoint->address, 16);
#if defined(__APPLE__)
        v6->sin6_len = sizeof *v6;
#endif
        return sizeof *v6;
    }
    return 0;
}

int bc__from_sockaddr(const struct sockaddr *address, bc__length length,
                      bc_endpoint *out)
{
    memset(out, 0, sizeof *out);
    if ((size_t)length < sizeof(struct sockaddr_in)) {
        return 0; /* it may even be too short for its family */
    }
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        out->family = BC_FAMILY_INET;
        out->port = ntohs(v4.sin_port);
        memcpy(out->address, &v4.sin_addr, 4);
        return 1;
    }
    if (address->sa_family == AF_INET6 &&
        (size_t)length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        out->family = BC_FAMILY_INET6;
        out->port = ntohs(v6.sin6_port);
        out->scope_id = (uint32_t)v6.sin6_scope_id;
        memcpy(out->address, &v6.sin6_addr, 16);
        return 1;
    }
    return 0;
}
