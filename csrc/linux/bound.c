/* SPDX-License-Identifier: MIT
 *
 * TCP sockets that are bound and neither listen nor are connected, on kernels whose
 * tables do not show them (before Linux 6.8, or where only /proc/net can be read): a
 * descriptor of a TCP socket that is in no table is borrowed and asked for its name.
 */
#include "../internal.h"
#include "asking.h"
#include "owners.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

typedef struct {
    uint64_t network; /* cookie of our network namespace; 0: not told */
    uint16_t port;
    bc_socket *out;
    size_t capacity;
    size_t count;
    uint32_t unasked;
} bound_search;

static int is_known(const bound_search *search, uint64_t inode)
{
    for (size_t i = 0; i < search->count && i < search->capacity; i++) {
        if (search->out[i].inode == inode) {
            return 1;
        }
    }
    return 0;
}

/* 0 when the kernel does not tell. */
static uint64_t network_of(int handle)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    if (getsockopt(handle, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) {
        return 0;
    }
    return cookie;
}

static uint64_t our_network(void)
{
    uint64_t cookie = 0;
    int own = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (own >= 0) {
        cookie = network_of(own);
        (void)close(own);
    }
    return cookie;
}

/* Neither listens nor is connected: the tables show those that are. */
static int is_only_bound(int handle)
{
    struct sockaddr_storage address;
    int listens = 1;
    socklen_t length = sizeof listens;
    if (getsockopt(handle, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0 ||
        listens != 0) {
        return 0;
    }
    length = sizeof address;
    return getpeername(handle, (struct sockaddr *)&address, &length) != 0;
}

static void describe(int handle, const bc__descriptor *descriptor, bc_socket *row)
{
    socklen_t length = sizeof row->cookie;
    struct stat file;
    row->device = bc__bound_device(handle);
    row->protocol = BC_PROTOCOL_TCP;
    row->state = BC_STATE_CLOSE;
    row->v6only = row->reuse_address = row->reuse_port = -1;
    row->inode = descriptor->inode;
    if (getsockopt(handle, SOL_SOCKET, SO_COOKIE, &row->cookie, &length) != 0) {
        row->cookie = 0;
    }
    if (fstat(handle, &file) == 0) {
        row->uid = file.st_uid; /* sockfs: who made the socket */
    }
    if (row->local.family == BC_FAMILY_INET6) {
        int v6only = 0;
        length = sizeof v6only;
        if (getsockopt(handle, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &length) == 0) {
            row->v6only = v6only != 0 ? 1 : 0;
        }
    }
}

static int ask(bound_search *search, const bc__descriptor *descriptor)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    bc_socket row;
    char protocol[16];
    int handle;

    bc__protocol_name(descriptor, protocol, sizeof protocol);
    if (strncmp(protocol, "TCP", 3) != 0 && strncmp(protocol, "MPTCP", 5) != 0) {
        return 0;
    }
    if (is_known(search, descriptor->inode)) {
        return 0; /* another descriptor of the same socket */
    }
    handle = bc__borrow(descriptor);
    if (handle < 0) {
        search->unasked++;
        return 0;
    }
    memset(&row, 0, sizeof row);
    if (search->network == 0 || network_of(handle) == 0) {
        search->unasked++; /* it may be of another network namespace */
    } else if (network_of(handle) == search->network && is_only_bound(handle) &&
               getsockname(handle, (struct sockaddr *)&address, &length) == 0 &&
               bc__from_sockaddr((const struct sockaddr *)&address, length,
                                 &row.local) != 0 &&
               row.local.port != 0 &&
               (search->port == 0 || row.local.port == search->port)) {
        describe(handle, descriptor, &row);
        if (search->count < search->capacity) {
            search->out[search->count] = row;
        }
        search->count++;
    }
    (void)close(handle);
    return 0;
}

static int ask_by_one(bc__scan *scan, const bc__descriptor *descriptor)
{
    int status;
    bc__lock(scan);
    status = ask(scan->context, descriptor);
    bc__unlock(scan);
    return status;
}

int bc_find_bound(uint16_t port, const uint64_t *known, size_t known_count,
                  bc_socket *out, size_t capacity, size_t *count, bc_bound_scan *result)
{
    bc_owners counts = {0};
    bound_search search = {
        .network = our_network(), .port = port, .out = out, .capacity = capacity};
    bc__scan scan = {.found = ask_by_one,
                     .context = &search,
                     .inodes = known,
                     .inode_count = known_count,
                     .others = 1,
                     .owners = &counts};
    (void)bc__walk(&scan);
    *count = search.count;
    result->unasked = search.unasked;
    result->seen = counts.seen;
    result->unreadable = counts.unreadable;
    result->exhausted = counts.exhausted;
    return search.count > capacity ? BC_E_TRUNCATED : BC_OK;
}

int bc__bind_own(uint16_t *port, uint64_t *inode)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    struct stat file;
    int own = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (own >= 0 &&
        (bind(own, (const struct sockaddr *)&address, sizeof address) != 0 ||
         getsockname(own, (struct sockaddr *)&address, &length) != 0 ||
         fstat(own, &file) != 0)) {
        (void)close(own);
        return -1;
    }
    if (own >= 0) {
        *port = ntohs(address.sin_port);
        *inode = (uint64_t)file.st_ino;
    }
    return own;
}
