/* SPDX-License-Identifier: MIT
 *
 * The sockets on a port, from NETLINK_SOCK_DIAG (sock_diag(7)): all states, and since
 * Linux 6.8 also TCP sockets that are bound but neither listen nor are connected. Both
 * families of TCP come in one dump by the older request, which walks the tables once;
 * else there is one for each. The kernel filters by a two-word program on the local
 * port; the decoder filters again, because the kernel ignores the filter for some
 * tables. Where there is no NETLINK_SOCK_DIAG, the text tables of /proc/self/net.
 */
#include "../internal.h"
#include "linux.h"
#include "asking.h"
#include "../decode/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/sock_diag.h>

/* linux/inet_diag.h; own copies, because the headers of old systems lack some. */
enum {
    REQ_BYTECODE = 1,
    REQ_PROTOCOL = 3,
    BYTECODE_JMP = 1,
    BYTECODE_S_GE = 2,
    BYTECODE_S_LE = 3
};
enum { DIAG_INFO_BIT = 1 << 1 };
enum { TEXT_BYTES = 32768 };
enum { ROOM = 16 }; /* on our own socket's port: other addresses may have it too */

/* Every state, also TCP_BOUND_INACTIVE (13), which older kernels ignore; TCP_LISTEN. */
#define ALL_STATES 0xffffffffU
#define LISTENING (1U << 10)

typedef struct {
    uint8_t family, protocol, extensions, pad;
    uint32_t states;
    uint8_t id[48];
} diag_request;

/* TCPDIAG_GETSOCK of both families (net/ipv4/inet_diag.c, inet_diag_dump_compat). */
typedef struct {
    uint8_t family, source_length, target_length, extensions;
    uint8_t id[48];
    uint32_t states, memory;
} diag_request_of_both;

typedef struct {
    uint8_t code, yes;
    uint16_t no;
} diag_operation;

/* Everything that one dump sends, in one contiguous message. */
typedef struct {
    struct nlmsghdr header;
    union {
        diag_request one;
        diag_request_of_both both;
    } request;
    uint8_t attributes[64];
} dump_message;

typedef struct {
    int32_t protocol;
    uint16_t port;
    bc_socket *out;
    size_t capacity;
    size_t *count;
    bc_listing *listing;
    uint16_t own_port; /* of a socket of our own that is only bound; 0: there is none */
    uint64_t own_inode;
    int only_listening;
} listing_job;

static void add_attribute(dump_message *message, int type, const void *data,
                          size_t size)
{
    struct nlattr head = {.nla_len = (uint16_t)(sizeof head + size),
                          .nla_type = (uint16_t)type};
    uint8_t *at = (uint8_t *)message + message->header.nlmsg_len;
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, data, size);
    message->header.nlmsg_len += (uint32_t)(sizeof head + ((size + 3U) & ~(size_t)3U));
}

/* sport >= port, then sport <= port: a yes goes to the next operation, a no past the
 * end, which rejects, or to where the other port is compared (inet_diag_bc_run; yes and
 * no are bytes from the operation on). The operand is in `no` of the operation that
 * follows. S_GE and S_LE are in every kernel, S_EQ only since 4.16. */
static void add_port_filter(dump_message *message, uint16_t port, uint16_t other)
{
    const diag_operation one[] = {
        {BYTECODE_S_GE, 8, 20}, {0, 0, port}, {BYTECODE_S_LE, 8, 12}, {0, 0, port}};
    const diag_operation either[] = {
        {BYTECODE_S_GE, 8, 20}, {0, 0, port},  {BYTECODE_S_LE, 8, 12}, {0, 0, port},
        {BYTECODE_JMP, 4, 20}, /* to the end: accepted */
        {BYTECODE_S_GE, 8, 20}, {0, 0, other}, {BYTECODE_S_LE, 8, 12}, {0, 0, other}};
    if (other == 0) {
        add_attribute(message, REQ_BYTECODE, one, sizeof one);
    } else {
        add_attribute(message, REQ_BYTECODE, either, sizeof either);
    }
}

static int send_request(int handle, int family, const listing_job *job,
                        uint32_t sequence)
{
    dump_message message;
    uint32_t protocol = (uint32_t)job->protocol;
    uint32_t states = job->only_listening ? LISTENING : ALL_STATES;

    memset(&message, 0, sizeof message);
    message.header.nlmsg_len = sizeof message.header;
    message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.header.nlmsg_seq = sequence;
    if (family == AF_UNSPEC) {
        message.header.nlmsg_type = BC__TCPDIAG_GETSOCK;
        message.header.nlmsg_len += sizeof message.request.both;
        message.request.both.extensions = DIAG_INFO_BIT;
        message.request.both.states = states;
    } else {
        message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
        message.header.nlmsg_len += sizeof message.request.one;
        message.request.one.family = (uint8_t)family;
        message.request.one.protocol = (uint8_t)protocol;
        message.request.one.extensions =
            protocol == BC_PROTOCOL_TCP ? DIAG_INFO_BIT : 0;
        message.request.one.states = states;
    }
    if (job->port != 0) {
        add_port_filter(&message, job->port, job->own_port);
    }
    if (protocol > UINT8_MAX) {
        add_attribute(&message, REQ_PROTOCOL, &protocol, sizeof protocol);
    }
    return bc__send_netlink(handle, &message, message.header.nlmsg_len);
}

/* Whether an answer shows our own socket. */
static void look_for_own(const listing_job *job, const uint8_t *bytes, size_t length,
                         uint32_t sequence)
{
    bc_decode_status status = {.sequence = sequence};
    bc_socket rows[ROOM];
    size_t count = 0;
    if (job->own_port == 0) {
        return;
    }
    (void)bc_decode_sock_diag(bytes, length, bc__big_endian(), job->protocol,
                              job->own_port, rows, ROOM, &count, &status);
    for (size_t i = 0; i < count && i < ROOM; i++) {
        if (rows[i].inode == job->own_inode) {
            job->listing->bound = 1;
        }
    }
}

/* The dump of one family; 0 or an error number. */
static int dump_family(int handle, int family, const listing_job *job,
                       uint32_t sequence)
{
    uint8_t buffer[BC__ANSWER_BYTES];
    bc_decode_status status = {.sequence = sequence};
    int error = send_request(handle, family, job, sequence);
    while (error == 0 && status.state == BC_DECODE_MORE) {
        size_t length = 0;
        error = bc__receive_netlink(handle, buffer, &length);
        if (error == 0 &&
            bc_decode_sock_diag(buffer, length, bc__big_endian(), job->protocol,
                                job->port, job->out, job->capacity, job->count,
                                &status) == BC_E_MALFORMED) {
            error = EBADMSG;
        }
        if (error == 0) {
            look_for_own(job, buffer, length, sequence);
        }
    }
    job->listing->requests += status.requests;
    return error != 0 ? error : status.code;
}

static int from_sock_diag(const listing_job *job)
{
    int handle = -1;
    int error = bc__open_netlink(NETLINK_SOCK_DIAG, &handle);
    if (error != 0) {
        return error;
    }
    error = ENOENT;
    if (job->protocol == BC_PROTOCOL_TCP) {
        error = dump_family(handle, AF_UNSPEC, job, 1);
    }
    if (error != 0) { /* of another protocol, or a kernel without that request */
        *job->count = 0;
        job->listing->requests = 0;
        error = dump_family(handle, AF_INET, job, 2);
        error = error != 0 ? error : dump_family(handle, AF_INET6, job, 3);
    }
    (void)close(handle);
    return error;
}

/* Appends one text table; 0 or an error number. */
static int read_table(const char *path, int family, const listing_job *job)
{
    uint8_t buffer[TEXT_BYTES];
    bc_decode_status status = {0};
    size_t kept = 0;
    int error = 0;
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0) {
        return errno;
    }
    for (;;) {
        size_t consumed = 0;
        ssize_t got = read(handle, buffer + kept, sizeof buffer - kept);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            error = got < 0 ? errno : 0;
            break;
        }
        kept += (size_t)got;
        (void)bc_decode_proc_net(buffer, kept, bc__big_endian(), family, job->protocol,
                                 job->port, job->out, job->capacity, job->count,
                                 &consumed, &status);
        kept -= consumed;
        memmove(buffer, buffer + consumed, kept);
        if (kept == sizeof buffer) {
            error = EBADMSG; /* a line of 32 KiB is none of the kernel's */
            break;
        }
    }
    job->listing->requests += status.requests;
    (void)close(handle);
    return error;
}

static int from_proc_net(const listing_job *job)
{
    static const struct {
        int32_t protocol;
        const char *inet, *inet6;
    } TABLES[] = {
        {BC_PROTOCOL_TCP, "/proc/self/net/tcp", "/proc/self/net/tcp6"},
        {BC_PROTOCOL_UDP, "/proc/self/net/udp", "/proc/self/net/udp6"},
        {BC_PROTOCOL_UDPLITE, "/proc/self/net/udplite", "/proc/self/net/udplite6"},
    };
    for (size_t i = 0; i < sizeof TABLES / sizeof TABLES[0]; i++) {
        if (TABLES[i].protocol == job->protocol) {
            int error = read_table(TABLES[i].inet, BC_FAMILY_INET, job);
            if (error == 0) {
                int error6 = read_table(TABLES[i].inet6, BC_FAMILY_INET6, job);
                error = error6 == ENOENT ? 0 : error6; /* a kernel without IPv6 */
            }
            return error;
        }
    }
    return ENOENT;
}

int bc_list_sockets(int32_t protocol, uint16_t port, bc_socket *out, size_t capacity,
                    size_t *count, bc_listing *listing)
{
    const int only_listening =
        listing->only_listening != 0 && protocol == BC_PROTOCOL_TCP;
    const int tries = listing->tries_bound != 0 && protocol == BC_PROTOCOL_TCP;
    listing_job job = {.protocol = protocol,
                       .port = port,
                       .out = out,
                       .capacity = capacity,
                       .count = count,
                       .listing = listing,
                       .only_listening = only_listening};
    int own = -1;
    int error;

    *count = 0;
    memset(listing, 0, sizeof *listing);
    if (protocol <= 0) {
        return BC_E_INVALID;
    }
    if (tries && port != 0) {
        own = bc__bind_own(&job.own_port, &job.own_inode);
    }
    if (own >= 0 &&
        job.own_port == port) { /* it would be among those that are listed */
        (void)close(own);
        own = -1;
        job.own_port = 0;
    }
    listing->bound = own >= 0 ? 0 : -1;
    error = from_sock_diag(&job);
    if (own >= 0) {
        (void)close(own);
    }
    if (error == 0) {
        listing->source = BC_SOURCE_SOCK_DIAG;
        return *count > capacity ? BC_E_TRUNCATED : BC_OK;
    }
    listing->refused.code = error;
    listing->refused.domain = BC_DOMAIN_ERRNO;
    listing->requests = 0;
    listing->bound = 0;
    *count = 0;
    if (!only_listening && from_proc_net(&job) == 0) {
        listing->source = BC_SOURCE_PROC_NET;
        return *count > capacity ? BC_E_TRUNCATED : BC_OK;
    }
    *count = 0; /* what the first of two tables had */
    listing->requests = 0;
    return BC_E_UNSUPPORTED;
}
