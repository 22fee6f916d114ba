/* SPDX-License-Identifier: MIT
 *
 * The answer of Linux' NETLINK_SOCK_DIAG to an inet dump (sock_diag(7),
 * include/uapi/linux/inet_diag.h): netlink messages, each an inet_diag_msg of 72 bytes
 * followed by attributes. Numbers are in the byte order of the machine that answered,
 * except ports and addresses, which are in network order.
 */
#include "../bindcheck.h"
#include "bytes.h"
#include "netlink.h"

#include <string.h>

/* linux/inet_diag.h */
enum { MSG_LENGTH = 72 };
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
    bc__attribute one;
    int has_shutdown = 0;
    while (bc__next_attribute(&bytes, &length, big_endian, &one)) {
        if (one.type == DIAG_SHUTDOWN) {
            has_shutdown = 1;
        } else if (one.type == DIAG_SKV6ONLY && one.length >= 1) {
            row->v6only = one.payload[0] != 0 ? 1 : 0;
        } else if (one.type == DIAG_CGROUP_ID && one.length >= 8) {
            row->cgroup_id = bc__u64(one.payload, big_endian);
        } else if (one.type == DIAG_INFO && row->protocol == BC_PROTOCOL_TCP) {
            row->opened = opened_by(one.payload, one.length, row->state, big_endian);
        }
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
    row->v6only = row->reuse_address = row->reuse_port = -1;
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

int bc_decode_sock_diag(const uint8_t *bytes, size_t length, int big_endian,
                        int32_t protocol, uint16_t port, bc_socket *out,
                        size_t capacity, size_t *count, bc_decode_status *status)
{
    bc__message message;
    int found = 0;
    while ((found = bc__next_message(&bytes, &length, big_endian, status, &message)) >
           0) {
        bc_socket row;
        int kind = message.type == BC__SOCK_DIAG_BY_FAMILY ||
                           message.type == BC__TCPDIAG_GETSOCK
                       ? decode_message(message.payload, message.length, big_endian,
                                        protocol, port, &row)
                       : 0;
        if (kind > 0) {
            if (*count < capacity) {
                out[*count] = row;
            }
            (*count)++;
        } else if (kind < 0) {
            status->requests++;
        }
    }
    if (found < 0) {
        return BC_E_MALFORMED;
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
