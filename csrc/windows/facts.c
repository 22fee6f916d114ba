/* SPDX-License-Identifier: MIT
 *
 * What there is to know of the machine and the caller on Windows, which has none of
 * the namespaces, capabilities and privileged ports of the other systems.
 */
#include "../internal.h"

#include <string.h>

/* Whether the token of this process has an administrator's rights in effect: 1, 0, or
 * -1 where that is not told ("TOKEN_ELEVATION structure"). */
static int32_t is_elevated(void)
{
    TOKEN_ELEVATION elevation = {0};
    DWORD size = 0;
    HANDLE token = NULL;
    int32_t answer = -1;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) {
        return answer;
    }
    if (GetTokenInformation(token, TokenElevation, &elevation, sizeof elevation,
                            &size) &&
        size == sizeof elevation) {
        answer = elevation.TokenIsElevated != 0;
    }
    (void)CloseHandle(token);
    return answer;
}

static int32_t has_ipv6(void)
{
    bc__handle handle = bc__open_socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP);
    if (handle == BC__INVALID_HANDLE) {
        /* Anything else, such as too many sockets, says nothing about IPv6. */
        return bc__last_socket_error() == WSAEAFNOSUPPORT ? 0 : -1;
    }
    bc__close_socket(handle);
    return 1;
}

int bc_read_facts(bc_facts *facts)
{
    memset(facts, 0, sizeof *facts);
    facts->owns_network_namespace = -1;
    facts->unprivileged_port_start = 0; /* every user may bind every port */
    facts->ephemeral_low = facts->ephemeral_high = -1;
    facts->bind_v6only = 1; /* "IPPROTO_IPV6 Socket Options": the default */
    facts->nonlocal_bind4 = facts->nonlocal_bind6 = -1;
    facts->ipv6_available = has_ipv6();
    facts->ipv6_disabled = facts->ipv6_disabled_loopback = -1;
    facts->loopback_up = -1;
    facts->euid = UINT32_MAX;
    facts->clock_ticks = 100;
    facts->segment_lifetime_ms = -1;
    facts->elevated = is_elevated();
    facts->descriptors_soft = facts->descriptors_hard = -1;
    return BC_OK;
}
