/* SPDX-License-Identifier: MIT
 *
 * The names, numbers and texts of Winsock's errors, and the names of what other
 * functions of Windows return here. They are the same on every Windows, so they stand
 * here as numbers, and every system can explain them; windows/errtext.c compares them
 * with the headers. The texts are short and ours, after Microsoft's page "Windows
 * Sockets Error Codes"; the first three are Windows' own, which people search for.
 */
#ifndef BINDCHECK_WINSOCK_CODES_H
#define BINDCHECK_WINSOCK_CODES_H

/* clang-format off */

#define BC__WINSOCK_MAP(X)                                                             \
    X(WSAEACCES, 10013, "An attempt was made to access a socket in a way forbidden by its access permissions.") \
    X(WSAEADDRINUSE, 10048, "Only one usage of each socket address (protocol/network address/port) is normally permitted.") \
    X(WSAEADDRNOTAVAIL, 10049, "The requested address is not valid in its context.")   \
    X(WSA_INVALID_HANDLE, 6, "The event handle is not valid.")                         \
    X(WSA_NOT_ENOUGH_MEMORY, 8, "There is not enough memory.")                         \
    X(WSA_INVALID_PARAMETER, 87, "One or more parameters are not valid.")              \
    X(WSA_OPERATION_ABORTED, 995, "The overlapped operation was aborted.")             \
    X(WSA_IO_INCOMPLETE, 996, "The overlapped operation has not ended yet.")           \
    X(WSA_IO_PENDING, 997, "The overlapped operation will end later.")                 \
    X(WSAEINTR, 10004, "A blocking call was interrupted.")                             \
    X(WSAEBADF, 10009, "The file handle is not valid.")                                \
    X(WSAEFAULT, 10014, "A pointer is not valid, or a buffer is too small.")           \
    X(WSAEINVAL, 10022, "An argument is not valid, or the socket is in another state.") \
    X(WSAEMFILE, 10024, "Too many sockets are open.")                                  \
    X(WSAEWOULDBLOCK, 10035, "The operation cannot be completed at once.")             \
    X(WSAEINPROGRESS, 10036, "A blocking operation is running.")                       \
    X(WSAEALREADY, 10037, "The operation is already running.")                         \
    X(WSAENOTSOCK, 10038, "The operation was tried on something that is not a socket.") \
    X(WSAEDESTADDRREQ, 10039, "A destination address is required.")                    \
    X(WSAEMSGSIZE, 10040, "The message is too long.")                                  \
    X(WSAEPROTOTYPE, 10041, "The protocol does not fit the type of the socket.")       \
    X(WSAENOPROTOOPT, 10042, "The option or its level is not known or not supported.") \
    X(WSAEPROTONOSUPPORT, 10043, "The protocol is not supported.")                     \
    X(WSAESOCKTNOSUPPORT, 10044, "The socket type is not supported in this address family.") \
    X(WSAEOPNOTSUPP, 10045, "The operation is not supported for this type of socket.") \
    X(WSAEPFNOSUPPORT, 10046, "The protocol family is not supported.")                 \
    X(WSAEAFNOSUPPORT, 10047, "The address family is not supported, or does not fit the protocol.") \
    X(WSAENETDOWN, 10050, "The network is down.")                                      \
    X(WSAENETUNREACH, 10051, "The network cannot be reached.")                         \
    X(WSAENETRESET, 10052, "The network dropped the connection on reset.")             \
    X(WSAECONNABORTED, 10053, "The connection was aborted by software on this machine.") \
    X(WSAECONNRESET, 10054, "The connection was reset by the peer.")                   \
    X(WSAENOBUFS, 10055, "There is no buffer space, or a queue is full.")              \
    X(WSAEISCONN, 10056, "The socket is already connected.")                           \
    X(WSAENOTCONN, 10057, "The socket is not connected.")                              \
    X(WSAESHUTDOWN, 10058, "The socket was shut down.")                                \
    X(WSAETOOMANYREFS, 10059, "Too many references to a kernel object.")               \
    X(WSAETIMEDOUT, 10060, "The connection timed out.")                                \
    X(WSAECONNREFUSED, 10061, "The connection was refused.")                           \
    X(WSAELOOP, 10062, "The name cannot be translated.")                               \
    X(WSAENAMETOOLONG, 10063, "The name is too long.")                                 \
    X(WSAEHOSTDOWN, 10064, "The host is down.")                                        \
    X(WSAEHOSTUNREACH, 10065, "There is no route to the host.")                        \
    X(WSAENOTEMPTY, 10066, "The directory is not empty.")                              \
    X(WSAEPROCLIM, 10067, "Too many processes use Winsock.")                           \
    X(WSAEUSERS, 10068, "The user's quota is used up.")                                \
    X(WSAEDQUOT, 10069, "The disk quota is used up.")                                  \
    X(WSAESTALE, 10070, "The file handle is stale.")                                   \
    X(WSAEREMOTE, 10071, "The item is not on this machine.")                           \
    X(WSASYSNOTREADY, 10091, "The network subsystem is not usable.")                   \
    X(WSAVERNOTSUPPORTED, 10092, "This version of Winsock is not supported.")          \
    X(WSANOTINITIALISED, 10093, "WSAStartup was not called, or it failed.")            \
    X(WSAEDISCON, 10101, "The peer is shutting the connection down.")                  \
    X(WSAENOMORE, 10102, "There are no more results.")                                 \
    X(WSAECANCELLED, 10103, "The call was cancelled.")                                 \
    X(WSAEINVALIDPROCTABLE, 10104, "The table of a service provider's procedures is not valid.") \
    X(WSAEINVALIDPROVIDER, 10105, "The service provider is not valid.")                \
    X(WSAEPROVIDERFAILEDINIT, 10106, "The service provider could not be loaded or initialized.") \
    X(WSASYSCALLFAILURE, 10107, "A system call failed that never should.")             \
    X(WSASERVICE_NOT_FOUND, 10108, "The service is not known.")                        \
    X(WSATYPE_NOT_FOUND, 10109, "The class was not found.")                            \
    X(WSA_E_NO_MORE, 10110, "There are no more results.")                              \
    X(WSA_E_CANCELLED, 10111, "The call was cancelled.")                               \
    X(WSAEREFUSED, 10112, "A database query was refused.")                             \
    X(WSAHOST_NOT_FOUND, 11001, "The host is not known.")                              \
    X(WSATRY_AGAIN, 11002, "The host was not found this time; no authoritative answer came.") \
    X(WSANO_RECOVERY, 11003, "The look-up failed for good.")                           \
    X(WSANO_DATA, 11004, "The name is valid and has no data of the type asked for.")

/* winerror.h: what reading the tables, the registry or a token may end with. */
#define BC__WIN32_MAP(X)                                                               \
    X(ERROR_INVALID_FUNCTION, 1)                                                       \
    X(ERROR_FILE_NOT_FOUND, 2)                                                         \
    X(ERROR_PATH_NOT_FOUND, 3)                                                         \
    X(ERROR_ACCESS_DENIED, 5)                                                          \
    X(ERROR_INVALID_HANDLE, 6)                                                         \
    X(ERROR_NOT_ENOUGH_MEMORY, 8)                                                      \
    X(ERROR_OUTOFMEMORY, 14)                                                           \
    X(ERROR_GEN_FAILURE, 31)                                                           \
    X(ERROR_NOT_SUPPORTED, 50)                                                         \
    X(ERROR_INVALID_PARAMETER, 87)                                                     \
    X(ERROR_CALL_NOT_IMPLEMENTED, 120)                                                 \
    X(ERROR_INSUFFICIENT_BUFFER, 122)                                                  \
    X(ERROR_PROC_NOT_FOUND, 127)                                                       \
    X(ERROR_NO_DATA, 232)                                                              \
    X(ERROR_MORE_DATA, 234)                                                            \
    X(ERROR_KEY_DELETED, 1018)                                                         \
    X(ERROR_NOT_FOUND, 1168)                                                           \
    X(ERROR_ADDRESS_NOT_ASSOCIATED, 1228)                                              \
    X(ERROR_NO_SYSTEM_RESOURCES, 1450)                                                 \
    X(ERROR_INVALID_DATA, 13)

#endif
