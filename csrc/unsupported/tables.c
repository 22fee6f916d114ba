/* SPDX-License-Identifier: MIT
 *
 * Systems whose tables are not read yet: the probe works, and everything else says so.
 */
#include "../internal.h"

#include <string.h>
#if !defined(_WIN32)
#include <unistd.h>
#endif

int bc_list_sockets(int32_t protocol, uint16_t port, bc_socket *out, size_t capacity,
                    size_t *count, bc_listing *listing)
{
    (void)protocol;
    (void)port;
    (void)out;
    (void)capacity;
    *count = 0;
    memset(listing, 0, sizeof *listing);
    return BC_E_UNSUPPORTED;
}

int bc_list_unix_sockets(bc_unix_socket *out, size_t capacity, size_t *count,
                         bc_error *error)
{
    (void)out;
    (void)capacity;
    *count = 0;
    memset(error, 0, sizeof *error);
    return BC_E_UNSUPPORTED;
}

int bc_find_owners(const uint64_t *inodes, size_t inode_count, bc_owners *owners)
{
    (void)inodes;
    (void)inode_count;
    owners->holder_count = owners->process_count = owners->text_count = 0;
    owners->seen = owners->unreadable = 0;
    owners->available = 0;
    return BC_E_UNSUPPORTED;
}

int bc_read_process(int32_t pid, bc_owners *owners)
{
    (void)pid;
    return bc_find_owners(NULL, 0, owners);
}

int bc_find_bound(uint16_t port, const uint64_t *known, size_t known_count,
                  bc_socket *out, size_t capacity, size_t *count, bc_bound_scan *scan)
{
    (void)port;
    (void)known;
    (void)known_count;
    (void)out;
    (void)capacity;
    *count = 0;
    memset(scan, 0, sizeof *scan);
    return BC_E_UNSUPPORTED;
}

int bc_list_tunnels(bc_tunnel *out, size_t capacity, size_t *count, bc_error *error)
{
    (void)out;
    (void)capacity;
    *count = 0;
    memset(error, 0, sizeof *error);
    return BC_E_UNSUPPORTED;
}

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
    facts->descriptors_soft = facts->descriptors_hard = -1;
    return BC_OK;
}

int bc_read_confinement(int family, const char *cgroup, bc_confinement *out)
{
    (void)family;
    (void)cgroup;
    memset(out, 0, sizeof *out);
    out->bind_programs = out->socket_programs = -1;
    return BC_E_UNSUPPORTED;
}
