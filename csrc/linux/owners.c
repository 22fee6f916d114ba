/* SPDX-License-Identifier: MIT
 *
 * Socket inodes to the processes that hold them, from /proc. There is no index from a
 * socket to its holders, so every descriptor of every process that may be read is
 * looked at (readlink(2) through the process's directory descriptor). All holders are
 * wanted, not the first one, so the scan does not stop early.
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
#include <unistd.h>

static int compare_inodes(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static int is_number(const char *name)
{
    return name[0] >= '1' && name[0] <= '9';
}

int bc__is_wanted(const bc__scan *scan, uint64_t inode)
{
    return (bsearch(&inode, scan->inodes, scan->inode_count, sizeof inode,
                    compare_inodes) == NULL) == (scan->others != 0);
}

/* Only the kernel gives such names: those of files begin with '/'. */
int bc__socket_at(int folder, const char *path, uint64_t *inode)
{
    static const char PREFIX[] = "socket:[";
    char target[40];
    ssize_t length = readlinkat(folder, path, target, sizeof target - 1);
    if (length < 0) {
        return -1;
    }
    target[length] = '\0';
    if (strncmp(target, PREFIX, sizeof PREFIX - 1) != 0) {
        return 0;
    }
    *inode = strtoull(target + sizeof PREFIX - 1, NULL, 10);
    return 1;
}

/* Whether a descriptor folder may be read is asked of its entries, not of the folder:
 * without CAP_SYS_RESOURCE even uid 0 may list what it may not stat. Anything but "it
 * is gone" hides something: a lack of rights, or of descriptors of our own. */
static int hides_something(bc__scan *scan, int error)
{
    if (error == EMFILE || error == ENFILE) {
        scan->owners->exhausted = 1;
    }
    return error != ENOENT && error != ESRCH;
}

int bc__scan_descriptors(bc__scan *scan, int process, const char *path, int32_t pid,
                         int32_t tid)
{
    int status = 0;
    struct dirent *entry;
    DIR *directory = NULL;
    int handle = openat(process, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) {
        return hides_something(scan, errno) ? -1 : 0;
    }
    if (scan->sized) {
        struct stat folder;
        if (fstat(handle, &folder) == 0 && folder.st_size == 0) {
            (void)close(handle); /* no descriptors: a kernel thread, a zombie */
            return 0;
        }
    }
    directory = fdopendir(handle);
    if (directory == NULL) {
        (void)close(handle);
        return -1;
    }
    while ((entry = readdir(directory)) != NULL) {
        uint64_t inode = 0;
        int is_socket;
        if (entry->d_name[0] == '.') {
            continue;
        }
        is_socket = bc__socket_at(handle, entry->d_name, &inode);
        if (is_socket < 0) {
            if (hides_something(scan, errno)) {
                status = -1;
                break;
            }
            continue; /* closed meanwhile */
        }
        if (is_socket && bc__is_wanted(scan, inode)) {
            int32_t fd = (int32_t)strtol(entry->d_name, NULL, 10);
            const bc__descriptor descriptor = {process, pid, tid, fd, inode};
            scan->found(scan, &descriptor);
        }
    }
    (void)closedir(directory);
    return status;
}

/* A kernel thread has no descriptors, nor has a process that has exited: that they may
 * not be read hides nothing. (Both belong to root in /proc: fs/proc/base.c,
 * task_dump_owner.) */
static int has_none(int process)
{
    enum { PF_KTHREAD = 0x00200000 };
    uint8_t text[512];
    bc_proc_stat stat;
    ssize_t length = bc__read_file(process, "stat", text, sizeof text);
    return length > 0 && bc_decode_proc_stat(text, (size_t)length, &stat) == BC_OK &&
           ((stat.flags & PF_KTHREAD) != 0 || stat.state == 'Z' || stat.state == 'X');
}

static int open_process(const bc__scan *scan, int32_t pid)
{
    char name[16];
    (void)snprintf(name, sizeof name, "%d", (int)pid);
    return openat(scan->proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void scan_process(bc__scan *scan, int32_t pid)
{
    int status = 0;
    int process = open_process(scan, pid);
    if (process < 0) {
        /* hidepid=1 refuses the folder itself; ENOENT: gone. */
        if (hides_something(scan, errno)) {
            scan->owners->seen++;
            scan->owners->unreadable++;
        }
        return;
    }
    scan->owners->seen++;
    status = bc__scan_descriptors(scan, process, "fd", pid, pid);
    if (status != 0 && has_none(process)) {
        status = 0; /* threads of it may run on */
    }
    if (status == 0 && scan->compares) {
        status = bc__scan_threads(scan, process, pid);
    }
    scan->owners->unreadable += status != 0 ? 1 : 0;
    (void)close(process);
}

/* The passes that are made only where a socket has no holder yet. */
static void look_deeper(bc__scan *scan, int32_t pid)
{
    int process = open_process(scan, pid);
    if (process < 0) {
        return;
    }
    if (!scan->compares) {
        (void)bc__scan_threads(scan, process, pid);
    }
    if (!scan->others) {
        bc__scan_rings(scan, process, pid);
    }
    (void)close(process);
}

/* All processes but one; 0, or -1 without memory. */
static int list_processes(DIR *directory, int32_t skip, bc__pids *out)
{
    size_t capacity = 0;
    struct dirent *entry;
    out->pids = NULL;
    out->count = 0;
    rewinddir(directory);
    while ((entry = readdir(directory)) != NULL) {
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

static int has_holder(const bc_owners *owners, uint64_t inode)
{
    for (size_t i = 0; i < owners->holder_count && i < owners->holder_capacity; i++) {
        if (owners->holders[i].inode == inode) {
            return 1;
        }
    }
    return 0;
}

static int unfound(const bc__scan *scan)
{
    const bc_owners *owners = scan->owners;
    if (owners->holder_count < scan->inode_count) {
        return 1;
    }
    for (size_t i = 0; i < scan->inode_count; i++) {
        if (!has_holder(owners, scan->inodes[i])) {
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
    scan->sized = fstatat(scan->proc, "self/fd", &file, 0) == 0 && file.st_size > 0;
    scan->compares = self == (int32_t)getpid() && bc__same_table(self, self);
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
}

static int fits(const bc_owners *owners)
{
    return owners->holder_count <= owners->holder_capacity &&
           owners->process_count <= owners->process_capacity &&
           owners->text_count <= owners->text_capacity;
}

int bc__walk(bc__scan *scan)
{
    char self[16] = "";
    ssize_t length;
    int32_t own = 0;
    DIR *directory;
    int status = -1;

    scan->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (scan->proc < 0) {
        return -1;
    }
    directory = fdopendir(scan->proc);
    if (directory == NULL) {
        (void)close(scan->proc);
        return -1;
    }
    /* The pid by which /proc knows us, which is not getpid()'s where /proc belongs to
     * another pid namespace. */
    length = readlinkat(scan->proc, "self", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    own = (int32_t)strtol(self, NULL, 10);
    if (own > 0) {
        learn(scan, own);
        scan_process(scan, own);
        status = each_process(scan, directory, own, scan_process);
        if (status == 0 && (scan->others || unfound(scan))) {
            status = each_process(scan, directory, 0, look_deeper);
        }
    }
    (void)closedir(directory);
    return status;
}

int bc_find_owners(const uint64_t *inodes, size_t inode_count, bc_owners *owners)
{
    bc__scan scan = {.found = bc__add_holder,
                     .inodes = inodes,
                     .inode_count = inode_count,
                     .owners = owners};
    bc__reset_owners(owners);
    owners->available = bc__walk(&scan) == 0;
    return fits(owners) ? BC_OK : BC_E_TRUNCATED;
}

int bc_read_process(int32_t pid, bc_owners *owners)
{
    bc__scan scan = {.owners = owners};
    char path[32];
    int process;

    bc__reset_owners(owners);
    bc__proc_path(path, sizeof path, pid);
    process = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process < 0) {
        return BC_E_SYSTEM;
    }
    owners->available = 1;
    owners->seen = 1;
    bc__add_process(&scan, process, pid);
    (void)close(process);
    if (owners->process_count == 0) {
        return BC_E_SYSTEM;
    }
    return fits(owners) ? BC_OK : BC_E_TRUNCATED;
}
