/* SPDX-License-Identifier: MIT
 *
 * Between owners.c, which walks /proc, holders.c, which keeps what it finds, and
 * process.c, which describes it.
 */
#ifndef BINDCHECK_LINUX_OWNERS_H
#define BINDCHECK_LINUX_OWNERS_H

#include "../bindcheck.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

typedef struct bc__scan bc__scan;

/* A descriptor of a socket: `process` is an open descriptor of /proc/PID. `fd` is -1
 * for a socket that is registered with io_uring. */
typedef struct {
    int process;
    int32_t pid, tid, fd;
    uint64_t inode;
} bc__descriptor;

/* A descriptor of each wanted socket, once one was found. (descriptors.c) */
enum { BC__MOST_KNOWN = 2 };
typedef struct {
    bc__descriptor descriptors[BC__MOST_KNOWN];
    atomic_size_t count;
    atomic_int lost; /* 1: one is no longer that socket */
} bc__known;

/* What is known of a wanted socket so far. */
enum { BC__HELD = 1, BC__OPTIONS_READ = 2 };

struct bc__scan {
    /* Called for each wanted descriptor, by several threads, each with a copy of this;
     * -1 when its process could not be read. */
    int (*found)(bc__scan *scan, const bc__descriptor *descriptor);
    void *context;
    pthread_mutex_t *lock;  /* of what the copies share; NULL: there is one thread */
    const uint64_t *inodes; /* ascending */
    size_t inode_count;
    _Atomic uint8_t *told; /* BC__HELD, BC__OPTIONS_READ of each; NULL: not kept */
    int others;            /* 1: the sockets that are not among `inodes` are wanted */
    int proc;              /* descriptor of /proc */
    int sized;             /* a descriptor folder's size is the number of its entries */
    int compares;          /* kcmp(2) works here */
    int kernel_tries;      /* how many are compared with kthreadd that are not alike */
    bc__known *known;      /* NULL: nothing is compared with it */
    int patience;       /* milliseconds that each thread may wait for others to exit */
    int again;          /* 1: processes are visited that were visited before */
    bc_owners *owners;  /* counts; each thread has its own */
    bc_owners *results; /* holders and processes (holders.c) */
    int32_t current;    /* the process whose descriptors were found last, */
    size_t place;       /* where it is in `results`, SIZE_MAX: nowhere, */
    uint32_t found_of_it;
};

/* Processes that were there when /proc was listed. */
typedef struct {
    int32_t *pids;
    size_t count;
} bc__pids;

typedef void (*bc__visit)(bc__scan *scan, int32_t pid);

/* For what the threads of a walk share. */
void bc__lock(const bc__scan *scan);
void bc__unlock(const bc__scan *scan);

/* Visit each, several side by side where there are many. (parallel.c) */
void bc__visit_all(bc__scan *scan, const bc__pids *pids, bc__visit visit);

/* The pid by which /proc knows us, which is not getpid()'s where it belongs to another
 * pid namespace; 0 where it is not to be had. `proc` is a descriptor of /proc.
 * (ancestors.c) */
int32_t bc__own_pid(int proc);

/* Walk every process, our own first. Returns 0, or -1 where there is no /proc. */
int bc__walk(bc__scan *scan);
void bc__reset_owners(bc_owners *owners);

/* Whether the caller's arrays had room for all. */
int bc__fits(const bc_owners *owners);

/* Describe the processes above those that are described, as owners->ancestors asks. */
void bc__add_ancestors(bc_owners *owners);

/* Whether an inode is among those that are looked for. (descriptors.c) */
int bc__is_wanted(const bc__scan *scan, uint64_t inode);

/* Where what is known of a wanted socket is kept, or NULL. */
_Atomic uint8_t *bc__told_of(const bc__scan *scan, uint64_t inode);

/* Whether an error hides something: anything but "it is gone". */
int bc__hides_something(bc__scan *scan, int error);

/* The next entry of a folder, or NULL: with errno 0 at its end. */
struct dirent *bc__next_entry(DIR *directory);

/* Remember a descriptor that was found, so that others are compared with it. */
void bc__remember(bc__scan *scan, const bc__descriptor *descriptor);

/* Whether a descriptor of /proc/PID/fd is a socket, and which: 1, 0, or -1 with errno.
 * Never stat(2), which asks the file's filesystem: a server of NFS or FUSE that does
 * not answer would stop us, whichever process has the file. */
int bc__socket_at(int folder, const char *path, uint64_t *inode);

/* Look at every descriptor in a folder, "PID/fd" or "PID/task/TID/fd" below `folder`.
 * Returns 0, -1 when it may not be read, or BC__GONE. */
enum { BC__GONE = 1 };
int bc__scan_descriptors(bc__scan *scan, int folder, const char *path, int32_t pid,
                         int32_t tid);

/* Look at those of its descriptors that listeners mostly have, and remember what is
 * found. Nothing is counted: bc__scan_descriptors() comes to all of them. */
void bc__look_ahead(bc__scan *scan, int32_t pid);

/* The same for the threads of a process that have a table of their own. (threads.c) */
int bc__scan_threads(bc__scan *scan, int32_t pid);

/* Whether two threads or processes share their descriptors. */
int bc__same_table(int32_t left, int32_t right);

/* The folder of a process's threads where there are several, else NULL with errno 0;
 * "PID/task" below `folder`. */
DIR *bc__open_threads(int folder, const char *path);

/* Look at what a process has registered with io_uring. (io_uring.c) */
void bc__scan_rings(bc__scan *scan, int process, int32_t pid);

/* BC_WAITS_*, and FD_CLOEXEC (-1: not told). (waiting.c) */
uint8_t bc__waits(const bc__descriptor *descriptor);
int8_t bc__close_on_exec(const bc__descriptor *descriptor);

/* Record a descriptor that matched, and its process when it is new. Returns 0, or -1
 * when the process could not be read. (holders.c) */
int bc__add_holder(bc__scan *scan, const bc__descriptor *descriptor);

/* Describe a process, /proc/PID. Returns its parent, or -1 with errno: ESRCH when it is
 * gone. */
int32_t bc__add_process(bc_owners *owners, int process, int32_t pid, int briefly);

/* Only what tells its program from others. */
void bc__add_program(bc_owners *owners, int process, int32_t pid);

/* A duplicate of a descriptor (pidfd_getfd(2), Linux 5.6; needs ptrace access mode
 * PTRACE_MODE_ATTACH_REALCREDS), or -1. To be closed at once: while it is open the
 * socket cannot go away. That it is the same socket its inode tells. */
int bc__borrow(const bc__descriptor *descriptor);

/* What kind of socket it is, "TCP", "MPTCP", "UDP" (net/socket.c, sockfs_xattr_get);
 * needs only the right that the descriptor folder needed. Empty when not told. */
void bc__protocol_name(const bc__descriptor *descriptor, char *out, size_t capacity);

/* The interface index that a socket is bound to, 0 for none. */
uint32_t bc__bound_device(int handle);

/* "/proc/PID". */
void bc__proc_path(char *out, size_t capacity, int32_t pid);

#endif
