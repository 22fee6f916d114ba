/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: the program stops before its first look-up of PAUSE_AT, tells so by a
 * byte into the descriptor PAUSE_TELL and goes on with one from PAUSE_WAIT. PAUSE_AT is
 * a whole path, "fdopendir " and one, or "pidfd_open" or "pidfd_getfd".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void pause_at(const char *what)
{
    static atomic_flag paused = ATOMIC_FLAG_INIT;
    const char *at = getenv("PAUSE_AT");
    char byte = 'x';
    if (at == NULL || strcmp(at, what) != 0 || atomic_flag_test_and_set(&paused)) {
        return;
    }
    if (write(atoi(getenv("PAUSE_TELL")), &byte, 1) != 1 ||
        read(atoi(getenv("PAUSE_WAIT")), &byte, 1) != 1) {
        abort();
    }
}

static void pause_at_path(int folder, const char *path)
{
    char link[32];
    char whole[2 * PATH_MAX];
    ssize_t length = 0;
    if (folder != AT_FDCWD && path[0] != '/') {
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = readlink(link, whole, PATH_MAX);
        if (length < 0) {
            return;
        }
        whole[length++] = '/';
    }
    (void)snprintf(whole + length, sizeof whole - (size_t)length, "%s", path);
    pause_at(whole);
}

int openat(int folder, const char *path, int flags, ...)
{
    pause_at_path(folder, path);
    /* The module creates no files: there is no mode. */
    return REAL(openat)(folder, path, flags);
}

int fstatat(int folder, const char *path, struct stat *out, int flags)
{
    pause_at_path(folder, path);
    return REAL(fstatat)(folder, path, out, flags);
}

DIR *fdopendir(int handle)
{
    char link[32];
    char what[PATH_MAX] = "fdopendir ";
    size_t used = strlen(what);
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    if (readlink(link, what + used, sizeof what - used - 1) > 0) {
        pause_at(what);
    }
    return REAL(fdopendir)(handle);
}

long syscall(long number, ...)
{
    long given[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        given[i] = va_arg(list, long);
    }
    va_end(list);
    if (number == SYS_pidfd_open) {
        pause_at("pidfd_open");
    } else if (number == SYS_pidfd_getfd) {
        pause_at("pidfd_getfd");
    }
    return REAL(syscall)(number, given[0], given[1], given[2], given[3], given[4],
                         given[5]);
}
