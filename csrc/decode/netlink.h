/* SPDX-License-Identifier: MIT
 *
 * Walking the messages of a netlink dump and their attributes (linux/netlink.h): each
 * has a length of its own, checked against what is left, and is padded to four bytes.
 */
#ifndef BINDCHECK_DECODE_NETLINK_H
#define BINDCHECK_DECODE_NETLINK_H

#include "../bindcheck.h"

/* linux/sock_diag.h, linux/inet_diag.h */
enum { BC__TCPDIAG_GETSOCK = 18, BC__SOCK_DIAG_BY_FAMILY = 20 };

typedef struct {
    const uint8_t *payload;
    size_t length;
    unsigned type;
} bc__message;

typedef struct {
    const uint8_t *payload;
    size_t length;
    unsigned type;
} bc__attribute;

/* The next message of a datagram, NLMSG_NOOP and those of other dumps left out. Returns
 * 1; 0 at the end of the datagram or of the dump (then *status says how it ended); -1
 * when a length makes no sense, also of the rest. Advances *bytes and *length. */
int bc__next_message(const uint8_t **bytes, size_t *length, int big_endian,
                     bc_decode_status *status, bc__message *message);

/* The next attribute of a message; 0 where there is no further whole one. */
int bc__next_attribute(const uint8_t **bytes, size_t *length, int big_endian,
                       bc__attribute *attribute);

#endif
