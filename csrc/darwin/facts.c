/* SPDX-License-Identifier: MIT
 *
 * What the machine allows: sysctls, limits, and what a socket tells when it is made.
 * Which addresses may be bound, and by whom, has no settings here.
 */
#include "../internal.h"
#include "darwin.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* bsd/netinet/in.h, IPPORT_RESERVED. The wildcard address is free from it. */
enum { FIRST_UNPRIVILEGED = 1024 };
enum { MICROSECONDS = 1000000 };

static int32_t ipv6_is_available(void)
{
    int handle = bc__open_socket(AF_INET6, SOCK_DGRAM, 0);
    if (handle < 0) {
        return errno == EAFNOSUPPORT ? 0 : -1;
    }
    (void)close(handle);
    return 1;
}

static int32_t loopback_is_up(void)
{
    struct ifreq request;
    int32_t result = -1;
    int handle = bc__open_socket(AF_INET, SOCK_DGRAM, 0);
    memset(&request, 0, sizeof request);
    (void)bc__copy_text("lo0", request.ifr_name, sizeof request.ifr_name);
    if (handle >= 0) {
        if (ioctl(handle, SIOCGIFFLAGS, &request) == 0) {
            result = (request.ifr_flags & IFF_UP) != 0;
        }
        (void)close(handle);
    }
    return result;
}

static int64_t limit_of(rlim_t limit)
{
    return limit == RLIM_INFINITY ? -1 : (int64_t)limit;
}

int bc_read_facts(bc_facts *facts)
{
    struct rlimit descriptors;
    memset(facts, 0, sizeof *facts);
    facts->owns_network_namespace = -1;
    facts->unprivileged_port_start = FIRST_UNPRIVILEGED;
    facts->ephemeral_low = bc__sysctl_number("net.inet.ip.portrange.first");
    facts->ephemeral_high = bc__sysctl_number("net.inet.ip.portrange.last");
    facts->bind_v6only = bc__sysctl_number("net.inet6.ip6.v6only");
    facts->nonlocal_bind4 = facts->nonlocal_bind6 = -1;
    facts->ipv6_available = ipv6_is_available();
    facts->ipv6_disabled = facts->ipv6_disabled_loopback = -1;
    facts->loopback_up = loopback_is_up();
    facts->euid = (uint32_t)geteuid();
    facts->clock_ticks = MICROSECONDS;
    facts->segment_lifetime_ms = bc__sysctl_number("net.inet.tcp.msl");
    facts->elevated = -1;
    facts->descriptors_soft = facts->descriptors_hard = -1;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
        facts->descriptors_soft = limit_of(descriptors.rlim_cur);
        facts->descriptors_hard = limit_of(descriptors.rlim_max);
    }
    return BC_OK;
}
