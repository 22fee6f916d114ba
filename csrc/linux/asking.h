/* SPDX-License-Identifier: MIT
 *
 * Asking the kernel over netlink; the answers are taken apart in decode/. (Not called
 * netlink.h: with -Icsrc that would be found in the place of the system's own.)
 */
#ifndef BINDCHECK_LINUX_ASKING_H
#define BINDCHECK_LINUX_ASKING_H

#include <stddef.h>
#include <stdint.h>

#include "../bindcheck.h"

enum { BC__ANSWER_BYTES = 32768 };

/* All three return 0 or an error number. */
int bc__open_netlink(int protocol, int *handle);
int bc__send_netlink(int handle, const void *message, size_t length);
/* One datagram of the answer, into BC__ANSWER_BYTES. */
int bc__receive_netlink(int handle, uint8_t *buffer, size_t *length);

/* The IPv4 TCP sockets on a port that are bound and nothing else (TCP_BOUND_INACTIVE).
 * Returns 0 or an error number. (sockets.c) */
int bc__list_only_bound(uint16_t port, bc_socket *out, size_t capacity, size_t *count);

#endif
