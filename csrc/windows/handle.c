/* SPDX-License-Identifier: MIT
 *
 * Winsock's sockets for probe.c. A socket is made not inheritable, so that no child
 * process can keep the probe.
 */
#include "../internal.h"

/* winsock2.h of mingw-w64 lacks it in older versions. Windows 7 SP1 and later. */
#ifndef WSA_FLAG_NO_HANDLE_INHERIT
#define WSA_FLAG_NO_HANDLE_INHERIT 0x80
#endif

int32_t bc__start_sockets(void)
{
    WSADATA data;
    /* Counted per process: each success is paired with one WSACleanup. */
    return WSAStartup(MAKEWORD(2, 2), &data);
}

void bc__stop_sockets(void)
{
    (void)WSACleanup();
}

/* The socket, or INVALID_SOCKET with *error set. */
static SOCKET make_socket(int family, int type, int protocol, int *error)
{
    SOCKET handle = WSASocketW(family, type, protocol, NULL, 0,
                               WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    if (handle != INVALID_SOCKET) {
        return handle;
    }
    *error = WSAGetLastError();
    if (*error != WSAEINVAL) {
        return INVALID_SOCKET;
    }
    /* A system that does not know the flag says so with WSAEINVAL ("WSASocketW"). What
     * else is not valid is told again, by the call without it. */
    handle = WSASocketW(family, type, protocol, NULL, 0, WSA_FLAG_OVERLAPPED);
    if (handle == INVALID_SOCKET) {
        *error = WSAGetLastError();
        return INVALID_SOCKET;
    }
    /* Fails for the sockets of layered providers, which are no handles of the kernel's;
     * the probe works all the same. */
    (void)SetHandleInformation((HANDLE)handle, HANDLE_FLAG_INHERIT, 0);
    return handle;
}

bc__handle bc__open_socket(int family, int type, int protocol)
{
    SOCKET handle = INVALID_SOCKET;
    int error = bc__start_sockets();
    if (error != 0) {
        WSASetLastError(error);
        return INVALID_SOCKET;
    }
    handle = make_socket(family, type, protocol, &error);
    if (handle == INVALID_SOCKET) {
        /* WSACleanup sets the last error too. */
        bc__stop_sockets();
        WSASetLastError(error);
    }
    return handle;
}

void bc__close_socket(bc__handle handle)
{
    (void)closesocket(handle);
    bc__stop_sockets();
}

int32_t bc__last_socket_error(void)
{
    return WSAGetLastError();
}

int bc__set_option(bc__handle handle, int family, int option, int value,
                   const char *device)
{
    const char *bytes = (const char *)&value;
    (void)family;
    (void)device;
    switch (option) {
    case BC_OPTION_REUSE_ADDRESS:
        return setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, bytes, sizeof value);
    case BC_OPTION_EXCLUSIVE:
        return setsockopt(handle, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, bytes, sizeof value);
    case BC_OPTION_V6ONLY:
        return setsockopt(handle, IPPROTO_IPV6, IPV6_V6ONLY, bytes, sizeof value);
    default:
        /* Windows has no SO_REUSEPORT, SO_BINDTODEVICE or IP_FREEBIND. */
        WSASetLastError(WSAENOPROTOOPT);
        return -1;
    }
}
