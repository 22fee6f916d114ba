/* SPDX-License-Identifier: MIT
 *
 * AF_UNIX sockets that have a name, from NETLINK_SOCK_DIAG (sock_diag(7)), with device
 * and inode of their files: the name is only what bind() was given, and stays the same
 * when the file is renamed or replaced.
 */
#include "../internal.h"
#include "linux.h"
#include "asking.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/sock_diag.h>

/* linux/unix_diag.h; UDIAG_SHOW_UID is since Linux 4.20, and ignored before. */
enum { SHOW_NAME = 0x01, SHOW_VFS = 0x02, SHOW_UID = 0x40 };

typedef struct {
    uint8_t family, protocol;
    uint16_t pad;
    uint32_t states, inode, show, cookie[2];
} diag_request;

static int send_request(int handle)
{
    struct {
        struct nlmsghdr header;
        diag_request request;
    } message;
    memset(&message, 0, sizeof message);
    message.header.nlmsg_len = sizeof message;
    message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.header.nlmsg_seq = 1;
    message.request.family = AF_UNIX;
    message.request.states = UINT32_MAX;
    message.request.show = SHOW_NAME | SHOW_VFS | SHOW_UID;
    return bc__send_netlink(handle, &message, sizeof message);
}

int bc_list_unix_sockets(bc_unix_socket *out, size_t capacity, size_t *count,
                         bc_error *failed)
{
    uint8_t buffer[BC__ANSWER_BYTES];
    bc_decode_status status = {.sequence = 1};
    int handle = -1;
    int error = bc__open_netlink(NETLINK_SOCK_DIAG, &handle);

    *count = 0;
    memset(failed, 0, sizeof *failed);
    if (error != 0) {
        goto out;
    }
    error = send_request(handle);
    while (error == 0 && status.state == BC_DECODE_MORE) {
        size_t length = 0;
        error = bc__receive_netlink(handle, buffer, &length);
        if (error == 0 &&
            bc_decode_unix_diag(buffer, length, bc__big_endian(), out, capacity, count,
                                &status) == BC_E_MALFORMED) {
            error = EBADMSG;
        }
    }
    if (error == 0) {
        error = status.code;
    }
    (void)close(handle);
out:
    if (error != 0) {
        failed->code = error;
        failed->domain = BC_DOMAIN_ERRNO;
        return BC_E_SYSTEM;
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
