/* SPDX-License-Identifier: MIT
 *
 * Network devices that have a UDP socket of the kernel's own: it has an inode, and no
 * process ever has a descriptor of it. One RTM_GETLINK dump (rtnetlink(7)), which needs
 * no privilege.
 */
#include "../internal.h"
#include "asking.h"
#include "linux.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

enum { SEQUENCE = 1 };

static int ask(int handle)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } message;

    memset(&message, 0, sizeof message);
    message.header.nlmsg_len = sizeof message;
    message.header.nlmsg_type = RTM_GETLINK;
    message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.header.nlmsg_seq = SEQUENCE;
    return bc__send_netlink(handle, &message, sizeof message);
}

int bc_list_tunnels(bc_tunnel *out, size_t capacity, size_t *count, bc_error *error)
{
    uint8_t buffer[BC__ANSWER_BYTES];
    bc_decode_status status = {.sequence = SEQUENCE};
    int handle = -1;
    int code = bc__open_netlink(NETLINK_ROUTE, &handle);

    *count = 0;
    memset(error, 0, sizeof *error);
    if (code != 0) {
        goto out;
    }
    code = ask(handle);
    while (code == 0 && status.state == BC_DECODE_MORE) {
        size_t length = 0;
        code = bc__receive_netlink(handle, buffer, &length);
        if (code == 0 && bc_decode_links(buffer, length, bc__big_endian(), out,
                                         capacity, count, &status) == BC_E_MALFORMED) {
            code = EBADMSG;
        }
    }
    (void)close(handle);
    code = code != 0 ? code : status.code;
out:
    if (code != 0) {
        error->code = code;
        error->domain = BC_DOMAIN_ERRNO;
        return BC_E_SYSTEM;
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
