/* SPDX-License-Identifier: MIT
 *
 * Asking the kernel over netlink; the answers are taken apart in decode/. (Not called
 * netlink.h: with -Icsrc that would be found in the place of the system's own.)
 */
#ifndef BINDCHECK_LINUX_ASKING_H
#define BINDCHECK_LINUX_ASKING_H

#include <stddef.h>
#include <stdint.h>

enum { BC__ANSWER_BYTES = 32768 };

/* All three return 0 or an error number. */
int bc__open_netlink(int protocol, int *handle);
int bc__send_netlink(int handle, const void *message, size_t length);
/* One datagram of the answer, into BC__ANSWER_BYTES. */
int bc__receive_netlink(int handle, uint8_t *buffer, size_t *length);

/* A TCP socket of our own that is bound and nothing else, to a port of loopback that
 * the kernel chooses. Returns its descriptor or -1. (bound.c) */
int bc__bind_own(uint16_t *port, uint64_t *inode);

#endif
