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

DIR *bc__open_threads(int process)
{
    struct stat folder;
    DIR *directory = NULL;
    int tasks = -1;
    errno = 0;
    /* Most processes have one thread: for them this is all. */
    if (fstatat(process, "task", &folder, 0) != 0 || folder.st_nlink <= LINKS_OF_ONE) {
        return NULL;
    }
    tasks = openat(process, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tasks < 0) {
        return NULL;
    }
    directory = fdopendir(tasks);
    if (directory == NULL) {
        (void)close(tasks);
    }
    return directory;
}

int bc__scan_threads(bc__scan *scan, int process, int32_t pid)
{
    struct dirent *entry;
    int32_t before = pid;
    int status = 0;
    DIR *directory = bc__open_threads(process);
    if (directory == NULL) {
        return errno != 0 && bc__hides_something(scan, errno) ? -1 : 0;
    }
    while ((entry = bc__next_entry(directory)) != NULL) {
        int32_t tid = (int32_t)strtol(entry->d_name, NULL, 10);
        char path[64];
        if (tid <= 0 || tid == pid) {
            continue;
        }
        if (scan->compares &&
            (bc__same_table(pid, tid) || bc__same_table(before, tid))) {
            continue; /* that table was looked at */
        }
        before = tid;
        bc__task_path(path, sizeof path, tid);
        if (bc__scan_descriptors(scan, process, path, pid, tid) != 0) {
            status = -1;
        }
    }
    if (errno != 0 && bc__hides_something(scan, errno)) {
        status = -1;
    }
    (void)closedir(directory);
    return status;
}
