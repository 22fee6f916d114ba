/* SPDX-License-Identifier: MIT
 *
 * The answer of Linux' NETLINK_SOCK_DIAG to a dump of AF_UNIX sockets
 * (include/uapi/linux/unix_diag.h, net/unix/diag.c): netlink messages, each a
 * unix_diag_msg of 16 bytes followed by attributes, in the byte order of the machine
 * that answered.
 */
#include "../bindcheck.h"
#include "bytes.h"
#include "netlink.h"

#include <string.h>

enum { MSG_LENGTH = 16, LINUX_AF_UNIX = 1 };
enum { DIAG_NAME = 0, DIAG_VFS = 1, DIAG_UID = 7 };

static void decode_attribute(const bc__attribute *attribute, int big_endian,
                             bc_unix_socket *row)
{
    const uint8_t *payload = attribute->payload;
    if (attribute->type == DIAG_NAME) {
        size_t length = attribute->length;
        /* A path comes with the NUL behind it, an abstract name has one before it. */
        if (length > 0 && payload[0] != 0 && payload[length - 1] == 0) {
            length--;
        }
        if (length <= sizeof row->name) {
            row->length = (uint8_t)length;
            memcpy(row->name, payload, length);
        }
    } else if (attribute->type == DIAG_VFS && attribute->length >= 8) {
        row->file_inode = bc__u32(payload, big_endian);
        row->file_device = bc__u32(payload + 4, big_endian);
    } else if (attribute->type == DIAG_UID && attribute->length >= 4) {
        row->uid = bc__u32(payload, big_endian);
    }
}

/* 1: a socket with a name. */
static int decode_message(const uint8_t *bytes, size_t length, int big_endian,
                          bc_unix_socket *row)
{
    bc__attribute attribute;
    if (length < MSG_LENGTH || bytes[0] != LINUX_AF_UNIX) {
        return 0;
    }
    memset(row, 0, sizeof *row);
    row->type = bytes[1];
    row->state = bytes[2];
    row->uid = UINT32_MAX;
    row->inode = bc__u32(bytes + 4, big_endian);
    row->cookie = bc__u32(bytes + 8, big_endian) |
                  (uint64_t)bc__u32(bytes + 12, big_endian) << 32;
    bytes += MSG_LENGTH;
    length -= MSG_LENGTH;
    while (bc__next_attribute(&bytes, &length, big_endian, &attribute)) {
        decode_attribute(&attribute, big_endian, row);
    }
    return row->length > 0;
}

int bc_decode_unix_diag(const uint8_t *bytes, size_t length, int big_endian,
                        bc_unix_socket *out, size_t capacity, size_t *count,
                        bc_decode_status *status)
{
    bc__message message;
    int found = 0;
    while ((found = bc__next_message(&bytes, &length, big_endian, status, &message)) >
           0) {
        bc_unix_socket row;
        if (message.type == BC__SOCK_DIAG_BY_FAMILY &&
            decode_message(message.payload, message.length, big_endian, &row)) {
            if (*count < capacity) {
                out[*count] = row;
            }
            (*count)++;
        }
    }
    if (found < 0) {
        return BC_E_MALFORMED;
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
