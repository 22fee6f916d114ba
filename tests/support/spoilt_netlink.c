/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: what recvmsg() brings from the kernel's netlink sockets is spoilt in
 * the way that NETLINK_FAULT names.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <linux/netlink.h>

typedef ssize_t receiver(int, struct msghdr *, int);
typedef ssize_t sender(int, const void *, size_t, int, const struct sockaddr *,
                       socklen_t);

static ssize_t fail(int code)
{
    errno = code;
    return -1;
}

static ssize_t put_error(struct msghdr *message, uint32_t sequence, int code)
{
    struct {
        struct nlmsghdr header;
        int code;
    } error = {{sizeof error, NLMSG_ERROR, 0, sequence, 0}, -code};
    memcpy(message->msg_iov->iov_base, &error, sizeof error);
    return sizeof error;
}

/* A kernel that says nothing lets us wait for as long as SO_RCVTIMEO says. */
static ssize_t be_silent(int handle)
{
    struct timeval patience = {0, 0};
    socklen_t length = sizeof patience;
    if (getsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, &length) != 0 ||
        patience.tv_sec == 0) {
        abort(); /* a hang */
    }
    return fail(EAGAIN);
}

static ssize_t spoil(const char *fault, int handle, struct msghdr *message, ssize_t got)
{
    struct nlmsghdr *first = message->msg_iov->iov_base;
    int is_row = first->nlmsg_type != NLMSG_DONE;

    if (strcmp(fault, "half a message") == 0) {
        return is_row ? (ssize_t)first->nlmsg_len / 2 : got;
    }
    if (strcmp(fault, "half a header") == 0) {
        return is_row ? 8 : got;
    }
    if (strcmp(fault, "half an attribute") == 0 && is_row) {
        /* The row is whole, the first attribute of it is not: 72 bytes, and 6. */
        ssize_t length = NLMSG_ALIGN(first->nlmsg_len);
        ssize_t rest = got > length ? got - length : 0;
        first->nlmsg_len = NLMSG_HDRLEN + 72 + 6;
        memmove((char *)first + NLMSG_ALIGN(first->nlmsg_len), (char *)first + length,
                (size_t)rest);
        return rest > 0 ? NLMSG_ALIGN(first->nlmsg_len) + rest
                        : (ssize_t)first->nlmsg_len;
    }
    if (strcmp(fault, "long attribute") == 0 && is_row) {
        memset((char *)first + NLMSG_HDRLEN + 72, 0xff, 2);
    }
    if (strcmp(fault, "error in the middle") == 0 && !is_row) {
        return put_error(message, first->nlmsg_seq, EIO);
    }
    if (strcmp(fault, "changed meanwhile") == 0) {
        first->nlmsg_flags |= 0x10; /* NLM_F_DUMP_INTR */
    }
    if (strcmp(fault, "no end") == 0 && !is_row) {
        return be_silent(handle);
    }
    if (strcmp(fault, "cut datagram") == 0) {
        message->msg_flags |= MSG_TRUNC;
    }
    if (strcmp(fault, "empty datagram") == 0) {
        return 0;
    }
    return got;
}

/* Before each answer of the kernel's an end of it that somebody else has sent. */
static ssize_t send_falsely(struct msghdr *message, uint32_t sequence)
{
    struct nlmsghdr end = {sizeof end, NLMSG_DONE, 0, sequence, 0};
    memcpy(message->msg_iov->iov_base, &end, sizeof end);
    ((struct sockaddr_nl *)message->msg_name)->nl_pid = 4242;
    return sizeof end;
}

static uint32_t asked; /* sequence number of the last request */

ssize_t sendto(int handle, const void *bytes, size_t length, int flags,
               const struct sockaddr *address, socklen_t size)
{
    sender *real = (sender *)dlsym(RTLD_NEXT, "sendto");
    if (address != NULL && address->sa_family == AF_NETLINK) {
        asked = ((const struct nlmsghdr *)bytes)->nlmsg_seq;
    }
    return real(handle, bytes, length, flags, address, size);
}

ssize_t recvmsg(int handle, struct msghdr *message, int flags)
{
    static unsigned calls;
    const char *fault = getenv("NETLINK_FAULT");
    receiver *real = (receiver *)dlsym(RTLD_NEXT, "recvmsg");
    ssize_t got;

    calls++;
    if (strcmp(fault, "no buffer") == 0 ||
        (strcmp(fault, "no buffer once") == 0 && calls == 1)) {
        return fail(ENOBUFS);
    }
    if (calls % 2 == 1 && strcmp(fault, "another sender") == 0) {
        return send_falsely(message, asked);
    }
    if (calls % 2 == 1 && strcmp(fault, "acknowledgement") == 0) {
        return put_error(message, asked, 0);
    }
    got = real(handle, message, flags);
    return got < NLMSG_HDRLEN ? got : spoil(fault, handle, message, got);
}
