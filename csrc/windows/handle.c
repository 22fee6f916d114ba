/* SPDX-License-Identifier: MIT
 *
 * Winsock's sockets for probe.c. A socket is made not inheritable, so that no child
 * process can keep the probe.
 */
#include "../internal.h"

/* ws2def.h: SO_EXCLUSIVEADDRUSE is ~SO_REUSEADDR. */
#ifndef WSA_FLAG_NO_HANDLE_INHERIT
#define WSA_FLAG_NO_HANDLE_INHERIT 0x80
#endif

bc__handle bc__open_socket(int family, int type, int protocol)
{
    WSADATA data;
    SOCKET handle = INVALID_SOCKET;
    /* Counted per process: each successful call is paired with one WSACleanup, in
     * bc__close_socket or here. */
    int started = WSAStartup(MAKEWORD(2, 2), &data);
    if (started != 0) {
        WSASetLastError(started);
        return INVALID_SOCKET;
    }
    handle = WSASocketW(family, type, protocol, NULL, 0,
                        WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    if (handle == INVALID_SOCKET) {
        int code = WSAGetLastError();
        (void)WSACleanup();
        WSASetLastError(code);
    }
    return handle;
}

void bc__close_socket(bc__handle handle)
{
    (void)closesocket(handle);
    (void)WSACleanup();
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
        WSASetLastError(WSAENOPROTOOPT);
        return -1;
    }
}
