/* SPDX-License-Identifier: MIT
 *
 * Between owners.c, which walks /proc, and process.c, which describes what it found.
 */
#ifndef BINDCHECK_LINUX_OWNERS_H
#define BINDCHECK_LINUX_OWNERS_H

#include "../bindcheck.h"

#include <sys/types.h>

typedef struct {
    const uint64_t *inodes;
    size_t inode_count;
    int proc; /* descriptor of /proc */
    dev_t socket_device;
    int sized; /* a descriptor folder's size is the number of its entries */
    bc_owners *owners;
} bc__scan;

/* Record a descriptor that matched, and its process when it is new. `process` is an
 * open descriptor of /proc/PID. */
void bc__add_holder(bc__scan *scan, int process, int32_t pid, int32_t tid, int32_t fd,
                    uint64_t inode);
void bc__add_process(bc__scan *scan, int process, int32_t pid);

/* "task/TID/fd" and "/proc/PID". */
void bc__task_path(char *out, size_t capacity, int32_t tid);
void bc__proc_path(char *out, size_t capacity, int32_t pid);

#endif
