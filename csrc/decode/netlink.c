/* SPDX-License-Identifier: MIT
 *
 * Netlink framing; see netlink.h.
 */
#include "netlink.h"
#include "bytes.h"

enum { MESSAGE_HEADER = 16, ATTRIBUTE_HEADER = 4 };
enum { NLMSG_NOOP = 1, NLMSG_ERROR = 2, NLMSG_DONE = 3 };

static size_t align4(size_t length)
{
    return (length + 3U) & ~(size_t)3U;
}

/* Past `size` bytes and their padding. */
static void advance(const uint8_t **bytes, size_t *length, size_t size)
{
    size_t step = align4(size) < *length ? align4(size) : *length;
    *bytes += step;
    *length -= step;
}

/* An acknowledgement, which is an error of the number 0, ends nothing. */
static void decode_end(const bc__message *message, int big_endian,
                       bc_decode_status *status)
{
    int32_t code = 0;
    if (message->length >= 4) {
        /* An error number comes negated; NLMSG_DONE carries one as well. */
        uint32_t negated = bc__u32(message->payload, big_endian);
        code = (int32_t)(0U - negated);
        if (negated == 0 || code < 0) {
            code = 0;
        }
    }
    status->code = code;
    if (code != 0) {
        status->state = BC_DECODE_ERROR;
    } else if (message->type == NLMSG_DONE) {
        status->state = BC_DECODE_DONE;
    }
}

int bc__next_message(const uint8_t **bytes, size_t *length, int big_endian,
                     bc_decode_status *status, bc__message *message)
{
    while (*length >= MESSAGE_HEADER && status->state == BC_DECODE_MORE) {
        size_t size = bc__u32(*bytes, big_endian);
        uint32_t sequence = bc__u32(*bytes + 8, big_endian);
        if (size < MESSAGE_HEADER || size > *length) {
            return -1;
        }
        message->type = bc__u16(*bytes + 4, big_endian);
        message->payload = *bytes + MESSAGE_HEADER;
        message->length = size - MESSAGE_HEADER;
        advance(bytes, length, size);
        if (status->sequence != 0 && sequence != status->sequence) {
            continue; /* left over from an earlier dump */
        }
        if (message->type == NLMSG_ERROR && message->length < 4) {
            return -1; /* it has no number */
        }
        if (message->type == NLMSG_DONE || message->type == NLMSG_ERROR) {
            decode_end(message, big_endian, status);
        } else if (message->type != NLMSG_NOOP) {
            return 1;
        }
    }
    return *length > 0 && status->state == BC_DECODE_MORE ? -1 : 0;
}

int bc__next_attribute(const uint8_t **bytes, size_t *length, int big_endian,
                       bc__attribute *attribute)
{
    size_t size;
    if (*length < ATTRIBUTE_HEADER) {
        return 0;
    }
    size = bc__u16(*bytes, big_endian);
    if (size < ATTRIBUTE_HEADER || size > *length) {
        return 0;
    }
    attribute->type = bc__u16(*bytes + 2, big_endian) & 0x3fffU; /* NLA_TYPE_MASK */
    attribute->payload = *bytes + ATTRIBUTE_HEADER;
    attribute->length = size - ATTRIBUTE_HEADER;
    advance(bytes, length, size);
    return 1;
}
