/* SPDX-License-Identifier: MIT
 *
 * The answer of Linux' NETLINK_SOCK_DIAG to an inet dump (sock_diag(7),
 * include/uapi/linux/inet_diag.h): netlink messages, each an inet_diag_msg of 72 bytes
 * followed by attributes. Numbers are in the byte order of the machine that answered,
 * except ports and addresses, which are in network order.
 */
#include "../bindcheck.h"
#include "bytes.h"

#include <string.h>

/* linux/netlink.h */
enum { NLMSG_HEADER = 16, NLMSG_NOOP = 1, NLMSG_ERROR = 2, NLMSG_DONE = 3 };
/* linux/sock_diag.h */
enum { SOCK_DIAG_BY_FAMILY = 20 };
/* linux/inet_diag.h */
enum { MSG_LENGTH = 72, ATTRIBUTE_HEADER = 4 };
enum { DIAG_INFO = 2, DIAG_SHUTDOWN = 8, DIAG_SKV6ONLY = 11, DIAG_CGROUP_ID = 21 };
/* The kernel's own AF_INET and AF_INET6: this file is compiled elsewhere too. */
enum { LINUX_AF_INET = 2, LINUX_AF_INET6 = 10 };

/* linux/tcp.h, struct tcp_info */
enum {
    INFO_UNACKED = 24,
    INFO_BYTES_ACKED = 120,
    INFO_BYTES_SENT = 200,
    INFO_BYTES_RETRANS = 208,
    INFO_LENGTH = 216
};

static size_t align4(size_t length)
{
    return (length + 3U) & ~(size_t)3U;
}

/* tcp_info counts the SYN of the side that called connect() among the acknowledged
 * bytes (tcp_rcv_synsent_state_process calls tcp_ack; a passive opener's snd_una starts
 * behind its SYN). With nothing in flight and no FIN sent, the difference is the SYN.
 */
static uint8_t opened_by(const uint8_t *info, size_t length, int state, int big_endian)
{
    uint64_t acknowledged;
    uint64_t sent;
    if (length < INFO_LENGTH || bc__u32(info + INFO_UNACKED, big_endian) != 0 ||
        (state != BC_STATE_ESTABLISHED && state != BC_STATE_CLOSE_WAIT)) {
        return BC_OPENED_UNKNOWN;
    }
    acknowledged = bc__u64(info + INFO_BYTES_ACKED, big_endian);
    sent = bc__u64(info + INFO_BYTES_SENT, big_endian) -
           bc__u64(info + INFO_BYTES_RETRANS, big_endian);
    if (acknowledged == sent + 1) {
        return BC_OPENED_ACTIVELY;
    }
    return acknowledged == sent ? BC_OPENED_PASSIVELY : BC_OPENED_UNKNOWN;
}

static void decode_endpoint(const uint8_t *message, int remote, int big_endian,
                            bc_endpoint *out)
{
    const uint8_t *address = message + (remote ? 24 : 8);
    memset(out, 0, sizeof *out);
    out->port = bc__u16(message + (remote ? 6 : 4), 1);
    if (message[0] == LINUX_AF_INET) {
        out->family = BC_FAMILY_INET;
        memcpy(out->address, address, 4);
        return;
    }
    out->family = BC_FAMILY_INET6;
    memcpy(out->address, address, 16);
    if (address[0] == 0xfe && (address[1] & 0xc0) == 0x80) {
        out->scope_id = bc__u32(message + 40, big_endian); /* idiag_if */
    }
}

/* Walks the attributes; returns whether INET_DIAG_SHUTDOWN was among them. */
static int decode_attributes(const uint8_t *bytes, size_t length, int big_endian,
                             bc_socket *row)
{
    int has_shutdown = 0;
    while (length >= ATTRIBUTE_HEADER) {
        size_t size = bc__u16(bytes, big_endian);
        unsigned type = bc__u16(bytes + 2, big_endian) & 0x3fffU; /* NLA_TYPE_MASK */
        const uint8_t *payload = bytes + ATTRIBUTE_HEADER;
        if (size < ATTRIBUTE_HEADER || size > length) {
            break;
        }
        if (type == DIAG_SHUTDOWN) {
            has_shutdown = 1;
        } else if (type == DIAG_SKV6ONLY && size >= ATTRIBUTE_HEADER + 1) {
            row->v6only = payload[0] != 0 ? 1 : 0;
        } else if (type == DIAG_CGROUP_ID && size >= ATTRIBUTE_HEADER + 8) {
            row->cgroup_id = bc__u64(payload, big_endian);
        } else if (type == DIAG_INFO && row->protocol == BC_PROTOCOL_TCP) {
            row->opened =
                opened_by(payload, size - ATTRIBUTE_HEADER, row->state, big_endian);
        }
        if (align4(size) >= length) {
            break;
        }
        bytes += align4(size);
        length -= align4(size);
    }
    return has_shutdown;
}

/* 1: a row; 0: nothing that concerns the caller; -1: a half-open connection. */
static int decode_message(const uint8_t *bytes, size_t length, int big_endian,
                          int32_t protocol, uint16_t port, bc_socket *row)
{
    int has_shutdown;
    if (length < MSG_LENGTH ||
        (bytes[0] != LINUX_AF_INET && bytes[0] != LINUX_AF_INET6)) {
        return 0;
    }
    memset(row, 0, sizeof *row);
    row->v6only = -1;
    row->source = BC_SOURCE_SOCK_DIAG;
    row->protocol = (uint16_t)protocol;
    row->state = bytes[1];
    row->timer = bytes[2];
    decode_endpoint(bytes, 0, big_endian, &row->local);
    decode_endpoint(bytes, 1, big_endian, &row->remote);
    if (port != 0 && row->local.port != port) {
        /* The kernel ignores its filter for some tables (bound-only sockets). */
        return 0;
    }
    row->device = bc__u32(bytes + 40, big_endian);
    /* idiag_cookie is two words, low one first, whatever the byte order. */
    row->cookie = bc__u32(bytes + 44, big_endian) |
                  (uint64_t)bc__u32(bytes + 48, big_endian) << 32;
    row->expires_ms = bc__u32(bytes + 52, big_endian);
    row->uid = bc__u32(bytes + 64, big_endian);
    row->inode = bc__u32(bytes + 68, big_endian);
    has_shutdown =
        decode_attributes(bytes + MSG_LENGTH, length - MSG_LENGTH, big_endian, row);
    /* A request socket is listed as SYN_RECV, but is not in the bind table: only a
     * full socket has a shutdown state (net/ipv4/inet_diag.c, inet_req_diag_fill). */
    return row->state == BC_STATE_SYN_RECV && row->inode == 0 && !has_shutdown ? -1 : 1;
}

static void decode_end(const uint8_t *payload, size_t length, int big_endian, int error,
                       bc_decode_status *status)
{
    int32_t code = 0;
    if (length >= 4) {
        /* An error number comes negated; NLMSG_DONE carries one as well. */
        uint32_t negated = bc__u32(payload, big_endian);
        code = (int32_t)(0U - negated);
        if (negated == 0 || code < 0) {
            code = 0;
        }
    }
    status->code = code;
    status->state = error || code != 0 ? BC_DECODE_ERROR : BC_DECODE_DONE;
}

int bc_decode_sock_diag(const uint8_t *bytes, size_t length, int big_endian,
                        int32_t protocol, uint16_t port, bc_socket *out,
                        size_t capacity, size_t *count, bc_decode_status *status)
{
    while (length >= NLMSG_HEADER && status->state == BC_DECODE_MORE) {
        size_t size = bc__u32(bytes, big_endian);
        unsigned type = bc__u16(bytes + 4, big_endian);
        uint32_t sequence = bc__u32(bytes + 8, big_endian);
        const uint8_t *payload = bytes + NLMSG_HEADER;
        if (size < NLMSG_HEADER || size > length) {
            return BC_E_MALFORMED;
        }
        if (status->sequence != 0 && sequence != status->sequence) {
            type = NLMSG_NOOP; /* left over from an earlier dump */
        }
        if (type == NLMSG_DONE || type == NLMSG_ERROR) {
            decode_end(payload, size - NLMSG_HEADER, big_endian, type == NLMSG_ERROR,
                       status);
        } else if (type == SOCK_DIAG_BY_FAMILY) {
            bc_socket row;
            int kind = decode_message(payload, size - NLMSG_HEADER, big_endian,
                                      protocol, port, &row);
            if (kind > 0) {
                if (*count < capacity) {
                    out[*count] = row;
                }
                (*count)++;
            } else if (kind < 0) {
                status->requests++;
            }
        }
        if (align4(size) >= length) {
            break;
        }
        bytes += align4(size);
        length -= align4(size);
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
