/* SPDX-License-Identifier: MIT
 *
 * The answer of Linux' rtnetlink to an RTM_GETLINK dump (rtnetlink(7),
 * include/uapi/linux/if_link.h): of all devices those that have a UDP socket of the
 * kernel's own, and its port where they tell it.
 */
#include "bytes.h"
#include "netlink.h"

#include <string.h>

enum { RTM_NEWLINK = 16, INTERFACE_MESSAGE = 16 }; /* linux/rtnetlink.h */
/* linux/if_link.h */
enum { LINK_NAME = 3, LINK_INFO = 18, INFO_KIND = 1, INFO_DATA = 2 };

/* The kinds, and the attribute of each that holds its port in network order. A
 * wireguard device tells its port to root only, and by another protocol. */
static const struct {
    const char *kind;
    unsigned port;
} KINDS[] = {{"vxlan", 15}, {"geneve", 5}, {"bareudp", 1}, {"wireguard", 0}};

static int find(const bc__attribute *in, int big_endian, unsigned type,
                bc__attribute *out)
{
    const uint8_t *bytes = in->payload;
    size_t length = in->length;
    while (bc__next_attribute(&bytes, &length, big_endian, out)) {
        if (out->type == type) {
            return 1;
        }
    }
    return 0;
}

static void copy_text(const bc__attribute *from, char *out, size_t capacity)
{
    size_t length = from->length < capacity - 1 ? from->length : capacity - 1;
    memcpy(out, from->payload, length);
}

static uint16_t port_in(const bc__attribute *info, int big_endian, unsigned type)
{
    bc__attribute data;
    bc__attribute port;
    if (type == 0 || !find(info, big_endian, INFO_DATA, &data) ||
        !find(&data, big_endian, type, &port) || port.length < 2) {
        return 0;
    }
    return bc__u16(port.payload, 1);
}

/* Whether the message is of a device of one of KINDS. */
static int decode_link(const bc__message *message, int big_endian, bc_tunnel *out)
{
    bc__attribute all;
    bc__attribute name;
    bc__attribute info;
    bc__attribute kind;

    memset(out, 0, sizeof *out);
    if (message->type != RTM_NEWLINK || message->length < INTERFACE_MESSAGE) {
        return 0;
    }
    all.payload = message->payload + INTERFACE_MESSAGE;
    all.length = message->length - INTERFACE_MESSAGE;
    all.type = 0;
    if (!find(&all, big_endian, LINK_NAME, &name) ||
        !find(&all, big_endian, LINK_INFO, &info) ||
        !find(&info, big_endian, INFO_KIND, &kind)) {
        return 0;
    }
    copy_text(&name, out->name, sizeof out->name);
    copy_text(&kind, out->kind, sizeof out->kind);
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        if (strcmp(out->kind, KINDS[i].kind) == 0) {
            out->port = port_in(&info, big_endian, KINDS[i].port);
            return 1;
        }
    }
    return 0;
}

int bc_decode_links(const uint8_t *bytes, size_t length, int big_endian, bc_tunnel *out,
                    size_t capacity, size_t *count, bc_decode_status *status)
{
    bc__message message;
    int found = 0;
    while ((found = bc__next_message(&bytes, &length, big_endian, status, &message)) >
           0) {
        bc_tunnel device;
        if (decode_link(&message, big_endian, &device)) {
            if (*count < capacity) {
                out[*count] = device;
            }
            (*count)++;
        }
    }
    if (found < 0) {
        return BC_E_MALFORMED;
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
