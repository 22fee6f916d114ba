/* SPDX-License-Identifier: MIT
 *
 * Socket inodes to the processes that hold them, from /proc. There is no index from a
 * socket to its holders, so every descriptor of every process that may be read is
 * looked at (descriptors.c). All holders are wanted, not the first one, so the scan
 * does not stop early.
 *
 * What it cannot see: descriptors of processes that ptrace access mode
 * PTRACE_MODE_READ_FSCREDS forbids (proc_pid_fd(5)), processes outside of our pid
 * namespace, and sockets that no process names: those of the kernel, and those that are
 * on their way from one process to another (SCM_RIGHTS, unix(7)).
 */
#include "../internal.h"
#include "linux.h"
#include "owners.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PATIENCE = 100, WORTH_LOOKING_AHEAD = 256 };
enum { PF_EXITING = 0x00000004, PF_KTHREAD = 0x00200000 }; /* linux/sched.h */
enum { KTHREADD = 2, KERNEL_TRIES = 32 };

struct dirent *bc__next_entry(DIR *directory)
{
    errno = 0;
    return readdir(directory);
}

static int is_number(const char *name)
{
    return name[0] >= '1' && name[0] <= '9';
}

static int read_stat(const bc__scan *scan, int32_t pid, bc_proc_stat *stat)
{
    char path[32];
    uint8_t text[512];
    ssize_t length;
    (void)snprintf(path, sizeof path, "%d/stat", (int)pid);
    length = bc__read_file(scan->proc, path, text, sizeof text);
    if (length < 0) {
        return -1;
    }
    if (bc_decode_proc_stat(text, (size_t)length, stat) != BC_OK) {
        errno = EBADMSG;
        return -1;
    }
    return 0;
}

/* A kernel thread has no descriptors, nor has a process that has exited: that they may
 * not be read hides nothing. (Both belong to root in /proc: fs/proc/base.c,
 * task_dump_owner.) One that is about to exit belongs to root before its descriptors
 * are closed (do_exit calls exit_mm first), which is waited for as long as there is
 * patience. */
static int has_none(bc__scan *scan, int32_t pid)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    for (;; scan->patience--) {
        bc_proc_stat stat;
        if (read_stat(scan, pid, &stat) != 0) {
            return !bc__hides_something(scan, errno); /* gone */
        }
        if ((stat.flags & PF_KTHREAD) != 0 || stat.state == 'Z' || stat.state == 'X') {
            return 1;
        }
        if ((stat.flags & PF_EXITING) == 0 || scan->patience <= 0) {
            return 0;
        }
        (void)nanosleep(&moment, NULL);
    }
}

/* Kernel threads have kthreadd's table, which is empty: one call for each instead of
 * two. No other process ever has it (kernel/fork.c, fs/exec.c: begin_new_exec). */
static int is_kernel_thread(bc__scan *scan, int32_t pid)
{
    if (scan->kernel_tries <= 0) {
        return 0;
    }
    if (bc__same_table(KTHREADD, pid)) {
        return 1;
    }
    scan->kernel_tries--;
    return 0;
}

static void scan_process(bc__scan *scan, int32_t pid)
{
    char path[32];
    int status;
    if (is_kernel_thread(scan, pid)) {
        scan->owners->seen++;
        return;
    }
    (void)snprintf(path, sizeof path, "%d/fd", (int)pid);
    status = bc__scan_descriptors(scan, scan->proc, path, pid, pid);
    if (status == BC__GONE) {
        return;
    }
    scan->owners->seen++;
    if (status < 0 && has_none(scan, pid)) {
        status = 0; /* threads of it may run on */
    }
    if (status == 0 && scan->compares) {
        status = bc__scan_threads(scan, pid);
    }
    scan->owners->unreadable += status != 0 ? 1 : 0;
}

/* The passes that are made only where a socket has no holder yet. */
static void look_deeper(bc__scan *scan, int32_t pid)
{
    if (!scan->compares) {
        (void)bc__scan_threads(scan, pid);
    }
    if (!scan->others) {
        char name[16];
        int process;
        (void)snprintf(name, sizeof name, "%d", (int)pid);
        process = openat(scan->proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (process < 0) {
            (void)bc__hides_something(scan, errno);
            return;
        }
        bc__scan_rings(scan, process, pid);
        (void)close(process);
    }
}

/* All processes but one; 0, or -1 without memory or where they may not be listed. */
static int list_processes(DIR *directory, int32_t skip, bc__pids *out)
{
    size_t capacity = 0;
    struct dirent *entry;
    out->pids = NULL;
    out->count = 0;
    rewinddir(directory);
    while ((entry = bc__next_entry(directory)) != NULL) {
        int32_t pid = (int32_t)strtol(entry->d_name, NULL, 10);
        if (!is_number(entry->d_name) || pid == skip) {
            continue;
        }
        if (out->count == capacity) {
            size_t more = capacity == 0 ? 512 : 2 * capacity;
            int32_t *grown = realloc(out->pids, more * sizeof *grown);
            if (grown == NULL) {
                free(out->pids);
                return -1;
            }
            out->pids = grown;
            capacity = more;
        }
        out->pids[out->count++] = pid;
    }
    if (errno != 0) {
        free(out->pids);
        return -1;
    }
    return 0;
}

static int each_process(bc__scan *scan, DIR *directory, int32_t skip, bc__visit look)
{
    bc__pids pids;
    if (list_processes(directory, skip, &pids) != 0) {
        return -1;
    }
    bc__visit_all(scan, &pids, look);
    free(pids.pids);
    return 0;
}

static int unfound(const bc__scan *scan)
{
    for (size_t i = 0; i < scan->inode_count; i++) {
        if ((atomic_load(&scan->told[i]) & BC__HELD) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Whether the size of a descriptor folder counts its entries (Linux 6.2) our own folder
 * tells. Tables can be compared where the kernel has kcmp(2), no filter forbids it
 * (containers), and pids mean the same to it and to /proc. */
static void learn(bc__scan *scan, int32_t self)
{
    struct stat file;
    bc_proc_stat stat;
    scan->sized = fstatat(scan->proc, "self/fd", &file, 0) == 0 && file.st_size > 0;
    scan->compares = self == (int32_t)getpid() && bc__same_table(self, self);
    if (!scan->compares) {
        scan->known = NULL;
        return;
    }
    if (read_stat(scan, KTHREADD, &stat) == 0 && (stat.flags & PF_KTHREAD) != 0) {
        scan->kernel_tries = KERNEL_TRIES;
    }
}

void bc__reset_owners(bc_owners *owners)
{
    owners->holder_count = 0;
    owners->process_count = 0;
    owners->text_count = 0;
    owners->seen = 0;
    owners->unreadable = 0;
    owners->available = 0;
    owners->exhausted = 0;
    owners->ancestor_count = 0;
}

static int remember(bc__scan *scan, const bc__descriptor *descriptor)
{
    bc__lock(scan);
    bc__remember(scan, descriptor);
    bc__unlock(scan);
    return 0;
}

static void look_ahead(const bc__scan *scan, const bc__pids *pids)
{
    bc__scan ahead = *scan;
    ahead.found = remember;
    bc__visit_all(&ahead, pids, bc__look_ahead);
}

/* Our own process first. */
static int scan_all(bc__scan *scan, DIR *directory, int32_t own)
{
    bc__pids pids;
    scan_process(scan, own);
    if (list_processes(directory, own, &pids) != 0) {
        return -1;
    }
    if (scan->known != NULL && scan->sized && pids.count >= WORTH_LOOKING_AHEAD) {
        look_ahead(scan, &pids);
    }
    bc__visit_all(scan, &pids, scan_process);
    free(pids.pids);
    return 0;
}

int bc__walk(bc__scan *scan)
{
    int32_t own = 0;
    DIR *directory;
    int status = -1;

    scan->patience = MOST_PATIENCE;
    scan->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (scan->proc < 0) {
        (void)bc__hides_something(scan, errno);
        return -1;
    }
    directory = fdopendir(scan->proc);
    if (directory == NULL) {
        (void)close(scan->proc);
        return -1;
    }
    own = bc__own_pid(scan->proc);
    if (own > 0) {
        learn(scan, own);
        status = scan_all(scan, directory, own);
        if (status == 0 && scan->known != NULL && atomic_load(&scan->known->lost)) {
            scan->known = NULL;
            bc__reset_owners(scan->owners);
            scan->current = 0;
            for (size_t i = 0; i < scan->inode_count; i++) {
                atomic_store(&scan->told[i], 0);
            }
            status = scan_all(scan, directory, own);
        }
        scan->known = NULL; /* were it lost now, nobody would begin anew */
        if (status == 0 && (scan->others || unfound(scan))) {
            scan->again = 1;
            scan->current = 0;
            status = each_process(scan, directory, 0, look_deeper);
        }
    }
    (void)closedir(directory);
    return status;
}

int bc_find_owners(const uint64_t *inodes, size_t inode_count, bc_owners *owners)
{
    bc__known known;
    bc__scan scan = {.found = bc__add_holder,
                     .inodes = inodes,
                     .inode_count = inode_count,
                     .known = inode_count <= BC__MOST_KNOWN ? &known : NULL,
                     .owners = owners,
                     .results = owners};
    atomic_init(&known.count, 0);
    atomic_init(&known.lost, 0);
    bc__reset_owners(owners);
    scan.told = calloc(inode_count + 1, sizeof *scan.told); /* of 0 it may be NULL */
    owners->available = scan.told != NULL && bc__walk(&scan) == 0;
    if (owners->available && bc__fits(owners)) {
        bc__add_ancestors(owners);
    }
    free(scan.told);
    return bc__fits(owners) ? BC_OK : BC_E_TRUNCATED;
}
