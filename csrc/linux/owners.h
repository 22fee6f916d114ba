/* SPDX-License-Identifier: MIT
 *
 * Between owners.c, which walks /proc, and process.c, which describes what it found.
 */
#ifndef BINDCHECK_LINUX_OWNERS_H
#define BINDCHECK_LINUX_OWNERS_H

#include "../bindcheck.h"

#include <sys/types.h>

typedef struct bc__scan bc__scan;

/* A descriptor of a socket: `process` is an open descriptor of /proc/PID. */
typedef struct {
    int process;
    int32_t pid, tid, fd;
    uint64_t inode;
} bc__descriptor;

struct bc__scan {
    /* Called for each wanted descriptor. */
    void (*found)(bc__scan *scan, const bc__descriptor *descriptor);
    void *context;
    const uint64_t *inodes; /* ascending */
    size_t inode_count;
    int others; /* 1: the sockets that are not among `inodes` are wanted */
    int proc;   /* descriptor of /proc */
    dev_t socket_device;
    int sized; /* a descriptor folder's size is the number of its entries */
    bc_owners *owners;
};

/* Walk every process, our own first. Returns 0, or -1 where there is no /proc. */
int bc__walk(bc__scan *scan);
void bc__reset_owners(bc_owners *owners);

/* Record a descriptor that matched, and its process when it is new. */
void bc__add_holder(bc__scan *scan, const bc__descriptor *descriptor);
void bc__add_process(bc__scan *scan, int process, int32_t pid);

/* A duplicate of a descriptor (pidfd_getfd(2), Linux 5.6; needs ptrace access mode
 * PTRACE_MODE_ATTACH_REALCREDS), or -1. To be closed at once: while it is open the
 * socket cannot go away. That it is the same socket its inode tells. */
int bc__borrow(const bc__descriptor *descriptor);

/* What kind of socket it is, "TCP", "MPTCP", "UDP" (net/socket.c, sockfs_xattr_get);
 * needs only the right that the descriptor folder needed. Empty when not told. */
void bc__protocol_name(const bc__descriptor *descriptor, char *out, size_t capacity);

/* The interface index that a socket is bound to, 0 for none. */
uint32_t bc__bound_device(int handle);

/* "task/TID/fd" and "/proc/PID". */
void bc__task_path(char *out, size_t capacity, int32_t tid);
void bc__proc_path(char *out, size_t capacity, int32_t pid);

#endif
