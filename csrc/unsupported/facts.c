/* SPDX-License-Identifier: MIT
 *
 * For systems of which nothing is known.
 */
#include "../internal.h"

#include <string.h>
#if !defined(_WIN32)
#include <unistd.h>
#endif

int bc_read_facts(bc_facts *facts)
{
    memset(facts, 0, sizeof *facts);
    facts->owns_network_namespace = -1;
    facts->unprivileged_port_start = -1;
    facts->ephemeral_low = facts->ephemeral_high = -1;
    facts->bind_v6only = -1;
    facts->nonlocal_bind4 = facts->nonlocal_bind6 = -1;
    facts->ipv6_available = -1;
    facts->ipv6_disabled = facts->ipv6_disabled_loopback = -1;
    facts->loopback_up = -1;
#if !defined(_WIN32)
    facts->euid = (uint32_t)geteuid();
#endif
    facts->clock_ticks = 100;
    facts->segment_lifetime_ms = facts->elevated = -1;
    facts->descriptors_soft = facts->descriptors_hard = -1;
    return BC_OK;
}
