/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: the program stops before its first call PAUSE_AT, tells so by a byte
 * into the descriptor PAUSE_TELL and goes on with one from PAUSE_WAIT. PAUSE_AT is
 * "openat PATH", "fstatat PATH", "readlinkat PATH", "getdents64 PATH", "pidfd_open" or
 * "pidfd_getfd".
 */
#define _GNU_SOURCE
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

/* A call with a path, or with a folder that is open. */
static void pause_at_path(const char *call, int folder, const char *path)
{
    char link[32];
    char what[2 * PATH_MAX];
    int used = snprintf(what, sizeof what, "%s ", call);
    if (folder != AT_FDCWD && path[0] != '/') {
        ssize_t length;
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = readlink(link, what + used, PATH_MAX);
        if (length < 0) {
            return;
        }
        used += (int)length;
        what[used++] = path[0] != '\0' ? '/' : '\0';
    }
    (void)snprintf(what + used, sizeof what - (size_t)used, "%s", path);
    pause_at(what);
}

int openat(int folder, const char *path, int flags, ...)
{
    pause_at_path("openat", folder, path);
    /* The module creates no files: there is no mode. */
    return REAL(openat)(folder, path, flags);
}

ssize_t readlinkat(int folder, const char *path, char *out, size_t capacity)
{
    pause_at_path("readlinkat", folder, path);
    return REAL(readlinkat)(folder, path, out, capacity);
}

int fstatat(int folder, const char *path, struct stat *out, int flags)
{
    pause_at_path("fstatat", folder, path);
    return REAL(fstatat)(folder, path, out, flags);
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
    } else if (number == SYS_getdents64) {
        pause_at_path("getdents64", (int)given[0], "");
    }
    return REAL(syscall)(number, given[0], given[1], given[2], given[3], given[4],
                         given[5]);
}
