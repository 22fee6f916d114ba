/* SPDX-License-Identifier: MIT
 *
 * One descriptor table of a process, in two ways.
 *
 * Through /proc: readlink(2) of each descriptor.
 *
 * By kcmp(2), once a descriptor of each wanted socket is known: whether another one is
 * the same open file, for a third of what /proc costs. (A socket has one open file,
 * however many descriptors.) A match is looked at through /proc all the same. That
 * nothing matches holds while the known descriptor is that socket, which is asked after
 * each table: where it is not, the walk begins anew without comparing.
 */
#include "../internal.h"
#include "linux.h"
#include "owners.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KCMP_FILE = 0 }; /* linux/kcmp.h */

/* getdents64(2); not every C library declares it. */
enum { LISTING_BYTES = 4096, NAME_OFFSET = 19 };
enum { MANY = 32, FEW_BYTES = 128 };

/* A table that is being looked at. */
typedef struct {
    bc__scan *scan;
    int handle;  /* of its folder in /proc */
    int process; /* of /proc/PID, once it was needed; else -1 */
    int32_t pid, tid;
    size_t size; /* how many descriptors there are; SIZE_MAX: not told */
} table;

static int compare_inodes(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static const uint64_t *place_of(const bc__scan *scan, uint64_t inode)
{
    return bsearch(&inode, scan->inodes, scan->inode_count, sizeof inode,
                   compare_inodes);
}

int bc__is_wanted(const bc__scan *scan, uint64_t inode)
{
    return (place_of(scan, inode) == NULL) == (scan->others != 0);
}

_Atomic uint8_t *bc__told_of(const bc__scan *scan, uint64_t inode)
{
    const uint64_t *place = scan->told != NULL ? place_of(scan, inode) : NULL;
    return place != NULL ? &scan->told[place - scan->inodes] : NULL;
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
int bc__hides_something(bc__scan *scan, int error)
{
    if (error == EMFILE || error == ENFILE) {
        scan->owners->exhausted = 1;
    }
    return error != ENOENT && error != ESRCH;
}

void bc__remember(bc__scan *scan, const bc__descriptor *descriptor)
{
    size_t count = scan->known != NULL ? atomic_load(&scan->known->count) : 0;
    if (scan->known == NULL || descriptor->fd < 0 || count >= BC__MOST_KNOWN) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (scan->known->descriptors[i].inode == descriptor->inode) {
            return;
        }
    }
    scan->known->descriptors[count] = *descriptor;
    atomic_store(&scan->known->count, count + 1); /* for the other threads */
}

static int can_compare(const bc__scan *scan)
{
    return scan->known != NULL && scan->inode_count > 0 &&
           !atomic_load(&scan->known->lost) &&
           atomic_load(&scan->known->count) == scan->inode_count;
}

/* Whether what was compared with is what it was. Not once for all tables: a shell moves
 * its standard input away and puts it back. */
static void check_known(const bc__scan *scan)
{
    for (size_t i = 0; i < scan->inode_count; i++) {
        const bc__descriptor *one = &scan->known->descriptors[i];
        uint64_t inode = 0;
        char path[64];
        if (one->tid == one->pid) {
            (void)snprintf(path, sizeof path, "%d/fd/%d", (int)one->pid, (int)one->fd);
        } else {
            (void)snprintf(path, sizeof path, "%d/task/%d/fd/%d", (int)one->pid,
                           (int)one->tid, (int)one->fd);
        }
        if (bc__socket_at(scan->proc, path, &inode) != 1 || inode != one->inode) {
            atomic_store(&scan->known->lost, 1);
        }
    }
}

/* A server mostly makes the socket that it listens on before it opens much else, or
 * last of all. So of every process the lowest and the highest descriptors are looked at
 * first, until one of each wanted socket is known and all others can be compared. */
void bc__look_ahead(bc__scan *scan, int32_t pid)
{
    enum { FIRST = 3, FEW = 6, LAST_FEW = 2 }; /* 0 to 2 are seldom sockets */
    char path[32];
    struct stat entry;
    int64_t size;
    int handle;

    if (can_compare(scan)) {
        return;
    }
    (void)snprintf(path, sizeof path, "%d/fd", (int)pid);
    if (fstatat(scan->proc, path, &entry, 0) != 0 || entry.st_size == 0) {
        return;
    }
    handle = openat(scan->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) {
        return; /* the walk that comes says so */
    }
    size = (int64_t)entry.st_size;
    for (int64_t fd = FIRST; fd < size; fd++) {
        char name[24];
        uint64_t inode = 0;
        if (fd == FIRST + FEW && size - LAST_FEW > fd) {
            fd = size - LAST_FEW;
        }
        (void)snprintf(name, sizeof name, "%lld", (long long)fd);
        if (bc__socket_at(handle, name, &inode) == 1 && bc__is_wanted(scan, inode)) {
            bc__descriptor found = {-1, pid, pid, (int32_t)fd, inode};
            (void)scan->found(scan, &found);
        }
    }
    (void)close(handle);
}

/* Give a descriptor that matched to who asked, with its process. */
static int report(table *of, int32_t fd, uint64_t inode)
{
    bc__descriptor found = {of->process, of->pid, of->tid, fd, inode};
    if (found.process < 0) {
        const char *up = of->tid == of->pid ? ".." : "../../.."; /* of task/TID/fd */
        of->process = openat(of->handle, up, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        found.process = of->process;
    }
    if (found.process < 0) {
        return bc__hides_something(of->scan, errno) ? -1 : 0;
    }
    return of->scan->found(of->scan, &found);
}

/* Look at one descriptor through /proc. Returns 0, or -1 when it may not be read. */
static int look_at(table *of, const char *name)
{
    uint64_t inode = 0;
    int is_socket = bc__socket_at(of->handle, name, &inode);
    if (is_socket < 0) {
        return bc__hides_something(of->scan, errno) ? -1 : 0; /* 0: closed meanwhile */
    }
    if (is_socket != 0 && bc__is_wanted(of->scan, inode)) {
        return report(of, (int32_t)strtol(name, NULL, 10), inode);
    }
    return 0;
}

/* 1 when a descriptor is one that is known, 0 when it is another one, else -1 with
 * errno: EBADF where there is none of that number. */
static int compare(const table *of, int32_t fd)
{
    for (size_t i = 0; i < of->scan->inode_count; i++) {
        const bc__descriptor *one = &of->scan->known->descriptors[i];
        long order =
            syscall(SYS_kcmp, one->tid, of->tid, KCMP_FILE, (long)one->fd, (long)fd);
        if (order <= 0) {
            return order == 0 ? 1 : -1;
        }
    }
    return 0;
}

/* Compare the descriptors from 0 on. The lowest free number is the next to be given, so
 * there are few holes at that end; where there are more, listing is cheaper. Returns
 * the number from which on nothing was looked at, -1 when they may not be read. */
static int32_t compare_low(table *of)
{
    size_t there = 0;
    size_t holes = 0;
    int32_t fd = 0;
    for (; there < of->size && holes <= 1 + there / 8; fd++) {
        char name[16];
        int same = compare(of, fd);
        if (same < 0 && errno != EBADF) {
            break;
        }
        there += same >= 0 ? 1 : 0;
        holes += same < 0 ? 1 : 0;
        (void)snprintf(name, sizeof name, "%d", (int)fd);
        if (same > 0 && look_at(of, name) != 0) {
            fd = -1;
            break;
        }
    }
    return fd;
}

/* List the descriptors from a number on, and look at each. The kernel makes an entry of
 * each that is listed: of many that may not be read few are listed. */
static int look_from(table *of, int32_t first, int compares)
{
    _Alignas(8) char listing[LISTING_BYTES];
    size_t room = of->size > MANY ? FEW_BYTES : sizeof listing;
    long length;
    /* An entry's place is its number and two (fs/proc/fd.c, proc_readfd_common). */
    if (first > 0 && lseek(of->handle, (off_t)first + 2, SEEK_SET) < 0) {
        return -1;
    }
    while ((length = syscall(SYS_getdents64, of->handle, listing, room)) > 0) {
        room = sizeof listing;
        for (long at = 0; at < length;) {
            const char *entry = listing + at;
            const char *name = entry + NAME_OFFSET;
            uint16_t bytes;
            memcpy(&bytes, entry + NAME_OFFSET - 3, sizeof bytes);
            if (bytes <= NAME_OFFSET || bytes > length - at) {
                return -1;
            }
            at += bytes;
            if (name[0] == '.' ||
                (compares && compare(of, (int32_t)strtol(name, NULL, 10)) == 0)) {
                continue;
            }
            if (look_at(of, name) != 0) {
                return -1;
            }
        }
    }
    return length < 0 && bc__hides_something(of->scan, errno) ? -1 : 0;
}

int bc__scan_descriptors(bc__scan *scan, int folder, const char *path, int32_t pid,
                         int32_t tid)
{
    int status = -1;
    int32_t first;
    int compares;
    table of = {scan, -1, -1, pid, tid, SIZE_MAX};

    if (scan->sized) {
        struct stat entry;
        if (fstatat(folder, path, &entry, 0) != 0) {
            return bc__hides_something(scan, errno) ? -1 : BC__GONE;
        }
        if (entry.st_size == 0) {
            return 0; /* no descriptors: a kernel thread, a zombie */
        }
        of.size = (size_t)entry.st_size;
    }
    of.handle = openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (of.handle < 0) {
        return bc__hides_something(scan, errno) ? -1 : BC__GONE;
    }
    compares = can_compare(scan);
    first = compares ? compare_low(&of) : 0;
    if (first >= 0) {
        /* also where the number of all was reached: a hole may have been filled
         * meanwhile */
        status = look_from(&of, first, compares);
    }
    if (compares) {
        check_known(scan);
    }
    (void)close(of.handle);
    if (of.process >= 0) {
        (void)close(of.process);
    }
    return status;
}
