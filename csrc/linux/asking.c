/* SPDX-License-Identifier: MIT
 *
 * A netlink socket to the kernel (netlink(7)), with a limit to how long is waited.
 */
#include "../internal.h"
#include "asking.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>

#include <linux/netlink.h>

enum { TIMEOUT_SECONDS = 2 };

int bc__open_netlink(int protocol, int *handle)
{
    const struct timeval patience = {.tv_sec = TIMEOUT_SECONDS};
    *handle = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (*handle < 0) {
        return errno;
    }
    (void)setsockopt(*handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return 0;
}

int bc__send_netlink(int handle, const void *message, size_t length)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(handle, message, length, 0, (const struct sockaddr *)&kernel,
               sizeof kernel) < 0) {
        return errno;
    }
    return 0;
}

int bc__receive_netlink(int handle, uint8_t *buffer, size_t *length)
{
    struct sockaddr_nl sender;
    struct iovec part = {.iov_base = buffer, .iov_len = BC__ANSWER_BYTES};
    struct msghdr message = {.msg_name = &sender,
                             .msg_namelen = sizeof sender,
                             .msg_iov = &part,
                             .msg_iovlen = 1};
    ssize_t got;
    do {
        memset(&sender, 0, sizeof sender);
        got = recvmsg(handle, &message, 0);
        if (got < 0 && errno != EINTR) {
            return errno;
        }
    } while (got < 0 || sender.nl_pid != 0); /* any process may send to our port */
    if (got == 0 || (message.msg_flags & MSG_TRUNC) != 0) {
        return EIO;
    }
    *length = (size_t)got;
    return 0;
}
