/* SPDX-License-Identifier: MIT
 *
 * Threads that do not share their leader's descriptors: after unshare(CLONE_FILES), or
 * where the leader has exited while others run on. /proc/PID/fd is the leader's table
 * alone, so that these are in /proc/PID/task/TID/fd only.
 */
#include "../internal.h"
#include "linux.h"
#include "owners.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KCMP_FILES = 2 };   /* linux/kcmp.h */
enum { LINKS_OF_ONE = 3 }; /* of task/: two, and one for each thread */

int bc__same_table(int32_t left, int32_t right)
{
    return syscall(SYS_kcmp, left, right, KCMP_FILES, 0, 0) == 0;
}

DIR *bc__open_threads(int folder, const char *path)
{
    struct stat file;
    DIR *directory = NULL;
    int tasks = -1;
    if (fstatat(folder, path, &file, 0) != 0) {
        return NULL;
    }
    /* Most processes have one thread: for them this is all. */
    if (file.st_nlink <= LINKS_OF_ONE) {
        errno = 0;
        return NULL;
    }
    tasks = openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tasks < 0) {
        return NULL;
    }
    directory = fdopendir(tasks);
    if (directory == NULL) {
        int error = errno;
        (void)close(tasks);
        errno = error;
    }
    return directory;
}

int bc__scan_threads(bc__scan *scan, int32_t pid)
{
    struct dirent *entry;
    int32_t before = pid;
    int status = 0;
    char path[32];
    DIR *directory;

    (void)snprintf(path, sizeof path, "%d/task", (int)pid);
    directory = bc__open_threads(scan->proc, path);
    if (directory == NULL) {
        return errno != 0 && bc__hides_something(scan, errno) ? -1 : 0;
    }
    while ((entry = bc__next_entry(directory)) != NULL) {
        int32_t tid = (int32_t)strtol(entry->d_name, NULL, 10);
        if (tid <= 0 || tid == pid) {
            continue;
        }
        if (scan->compares &&
            (bc__same_table(pid, tid) || bc__same_table(before, tid))) {
            continue; /* that table was looked at */
        }
        before = tid;
        (void)snprintf(path, sizeof path, "%d/fd", (int)tid);
        if (bc__scan_descriptors(scan, dirfd(directory), path, pid, tid) < 0) {
            status = -1;
        }
    }
    if (errno != 0 && bc__hides_something(scan, errno)) {
        status = -1;
    }
    (void)closedir(directory);
    return status;
}
