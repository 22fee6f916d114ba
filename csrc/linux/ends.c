/* SPDX-License-Identifier: MIT
 *
 * Word of the end of a socket: sock_diag's groups SKNLGRP_INET_*_DESTROY
 * (linux/sock_diag.h), which anybody may join. The kernel itself sifts the messages,
 * with a program of socket(7)'s SO_ATTACH_FILTER: on a busy machine thousands of
 * sockets end in a second, and the one that is waited for alone is to wake us.
 *
 * A message is an nlmsghdr and an inet_diag_msg (net/ipv4/inet_diag.c,
 * inet_diag_handler_get_info). TIME_WAIT ends without a word, and so do sockets of
 * other protocols than TCP and UDP.
 */
#include "../internal.h"
#include "asking.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

/* Where they stand in a message, in bytes. */
enum { LOCAL_PORT = 20, COOKIE = 60 };

/* BPF reads words in network order; the kernel wrote the cookie in its own. */
static uint32_t as_read(uint32_t word)
{
    return htonl(word);
}

static int filter_cookie(int handle, uint64_t cookie)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, COOKIE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, as_read((uint32_t)cookie), 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, COOKIE + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, as_read((uint32_t)(cookie >> 32)), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = {sizeof steps / sizeof steps[0], steps};
    return setsockopt(handle, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static int filter_port(int handle, uint16_t port)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, LOCAL_PORT),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = {sizeof steps / sizeof steps[0], steps};
    return setsockopt(handle, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

int bc_watch_ends(uint16_t port, uint64_t cookie, int32_t *out, bc_error *error)
{
    const struct sockaddr_nl groups = {.nl_family = AF_NETLINK,
                                       .nl_groups =
                                           1U << (SKNLGRP_INET_TCP_DESTROY - 1) |
                                           1U << (SKNLGRP_INET_UDP_DESTROY - 1) |
                                           1U << (SKNLGRP_INET6_TCP_DESTROY - 1) |
                                           1U << (SKNLGRP_INET6_UDP_DESTROY - 1)};
    int handle = -1;
    int code = bc__open_netlink(NETLINK_SOCK_DIAG, &handle);

    *out = -1;
    memset(error, 0, sizeof *error);
    if (code != 0) {
        goto out;
    }
    /* The filter first, so that nothing else arrives. */
    if ((cookie != 0 ? filter_cookie(handle, cookie) : filter_port(handle, port)) < 0 ||
        bind(handle, (const struct sockaddr *)&groups, sizeof groups) < 0) {
        code = errno;
        (void)close(handle);
        goto out;
    }
    *out = handle;
out:
    if (code != 0) {
        error->code = code;
        error->domain = BC_DOMAIN_ERRNO;
        return BC_E_SYSTEM;
    }
    return BC_OK;
}
