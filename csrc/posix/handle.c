/* SPDX-License-Identifier: MIT
 *
 * Sockets of POSIX systems for probe.c. Close-on-exec in the same call where the
 * system has it, so that a fork in another thread cannot inherit the probe.
 */
#include "../internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
/* linux/in.h, linux/in6.h: absent from some C libraries' headers. */
#ifndef IP_FREEBIND
#define IP_FREEBIND 15
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78 /* Linux 4.15 */
#endif
#endif

int32_t bc__start_sockets(void)
{
    return 0;
}

void bc__stop_sockets(void)
{
}

bc__handle bc__open_socket(int family, int type, int protocol)
{
#if defined(SOCK_CLOEXEC)
    return socket(family, type | SOCK_CLOEXEC, protocol);
#else
    int handle = socket(family, type, protocol);
    if (handle >= 0) {
        (void)fcntl(handle, F_SETFD, FD_CLOEXEC);
    }
    return handle;
#endif
}

void bc__close_socket(bc__handle handle)
{
    /* Never retried: on Linux the descriptor is gone even after EINTR (close(2)). */
    (void)close(handle);
}

int32_t bc__last_socket_error(void)
{
    return errno;
}

static int set_device(bc__handle handle, const char *device)
{
#if defined(SO_BINDTODEVICE)
    return setsockopt(handle, SOL_SOCKET, SO_BINDTODEVICE, device,
                      (socklen_t)strlen(device));
#else
    (void)handle;
    (void)device;
    errno = ENOPROTOOPT;
    return -1;
#endif
}

static int set_freebind(bc__handle handle, int family, int value)
{
#if defined(IP_FREEBIND)
    if (family == AF_INET6) {
        return setsockopt(handle, IPPROTO_IPV6, IPV6_FREEBIND, &value, sizeof value);
    }
    return setsockopt(handle, IPPROTO_IP, IP_FREEBIND, &value, sizeof value);
#else
    (void)handle;
    (void)family;
    (void)value;
    errno = ENOPROTOOPT;
    return -1;
#endif
}

int bc__set_option(bc__handle handle, int family, int option, int value,
                   const char *device)
{
    switch (option) {
    case BC_OPTION_REUSE_ADDRESS:
        return setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value);
    case BC_OPTION_REUSE_PORT:
        return setsockopt(handle, SOL_SOCKET, SO_REUSEPORT, &value, sizeof value);
    case BC_OPTION_V6ONLY:
        return setsockopt(handle, IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof value);
    case BC_OPTION_FREEBIND:
        return set_freebind(handle, family, value);
    case BC_OPTION_DEVICE:
        return set_device(handle, device);
    default:
        errno = ENOPROTOOPT;
        return -1;
    }
}
