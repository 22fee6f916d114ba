/* SPDX-License-Identifier: MIT
 *
 * What every file of the core sees first: the feature-test macros, then the contract
 * that each system's backend fulfils. A backend is one folder (linux, darwin, windows)
 * with the same file names; posix holds what several share, unsupported has the files
 * that a system lacks (sources.py).
 *
 *   handle.c     the calls of probe.c that differ by system
 *   errtext.c    the system's own texts
 *   sockets.c    bc_list_sockets
 *   unix.c       bc_list_unix_sockets
 *   owners.c     bc_find_owners, bc_read_process, bc_read_own_program,
 *                bc_read_ancestors
 *   search.c     bc_begin_search, bc_wait_for_search, bc_search_owners,
 *                bc_leave_search
 *   turn.c       bc_new_turn, bc_take_turn, bc_give_turn, bc_drop_turn
 *   facts.c      bc_read_facts
 *   confinement.c  bc_read_confinement
 *   addresses.c  bc_list_addresses, bc_interface_index
 *   bound.c      bc_find_bound
 *   tunnels.c    bc_list_tunnels
 *   kept_ports.c bc_list_kept_ports
 *   ends.c       bc_watch_ends
 *   services.c   bc_service_name
 */
#ifndef BINDCHECK_INTERNAL_H
#define BINDCHECK_INTERNAL_H

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#elif defined(__APPLE__) && !defined(_DARWIN_C_SOURCE)
#define _DARWIN_C_SOURCE 1
#elif defined(_WIN32) && !defined(_WIN32_WINNT)
#define _WIN32_WINNT 0x0A00
#endif

#include "bindcheck.h"

#if defined(_WIN32)
#include "windows/win.h"
typedef SOCKET bc__handle;
#define BC__INVALID_HANDLE INVALID_SOCKET
typedef int bc__length;
#define BC__DOMAIN_SOCKET BC_DOMAIN_WINSOCK
#else
#include <netinet/in.h>
#include <sys/socket.h>
typedef int bc__handle;
#define BC__INVALID_HANDLE (-1)
typedef socklen_t bc__length;
#define BC__DOMAIN_SOCKET BC_DOMAIN_ERRNO
#endif

/* The calls of probe.c that differ by system (<os>/handle.c). */
/* Around other calls that need the sockets of Windows to be started: 0, or the error.
 * bc__open_socket and bc__close_socket do it themselves. */
int32_t bc__start_sockets(void);
void bc__stop_sockets(void);
bc__handle bc__open_socket(int family, int type, int protocol);
void bc__close_socket(bc__handle handle);
int32_t bc__last_socket_error(void);
/* 0, or -1 with the socket error set; for an option that this system has not, -1 with
 * the error that an unknown option gives. */
int bc__set_option(bc__handle handle, int family, int option, int value,
                   const char *device);

/* Makes bind() and, if asked, listen(); 0, or -1 with the error filled in (probe.c). */
int bc__bind_and_listen(bc__handle handle, const struct sockaddr *address,
                        bc__length length, int wants_listen, int backlog,
                        bc_error *error);
void bc__fail(bc_error *error, int step, int option, int32_t code);

/* bc_endpoint to and from sockaddr (address.c). Both return 0 on an unknown family. */
bc__length bc__to_sockaddr(const bc_endpoint *endpoint, struct sockaddr_storage *out);
int bc__from_sockaddr(const struct sockaddr *address, bc__length length,
                      bc_endpoint *out);

/* The system's text; 0, or not when `capacity` is too small (<os>/errtext.c). */
int bc__errno_message(int32_t code, char *out, size_t capacity);
const char *bc__eai_text(int32_t code);
#if defined(_WIN32)
/* FormatMessageW's text for a number of Winsock, getaddrinfo or GetLastError; BC_OK or
 * what bc_error_message returns. */
int bc__windows_message(int32_t code, char *out, size_t capacity);
#endif

/* Copy a NUL-ended text; 0, or BC_E_TRUNCATED with what fits. */
int bc__copy_text(const char *text, char *out, size_t capacity);

#endif
