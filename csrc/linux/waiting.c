/* SPDX-License-Identifier: MIT
 *
 * Whether anybody waits on a descriptor: /proc/PID/task/TID/syscall (proc(5), needs
 * PTRACE_MODE_ATTACH) names the call in which a thread sleeps. A child that inherited a
 * listening socket and knows nothing of it sleeps in something else.
 *
 * Only what is known to be something else counts as such.
 */
#include "../internal.h"
#include "linux.h"
#include "owners.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_THREADS = 64, EPOLL_TEXT = 16384 };

/* For a timer, a child, a signal, another thread: nothing that serves a socket. */
static int is_elsewhere(long number)
{
    static const long CALLS[] = {
#ifdef SYS_nanosleep
        SYS_nanosleep,
#endif
#ifdef SYS_clock_nanosleep
        SYS_clock_nanosleep,
#endif
#ifdef SYS_pause
        SYS_pause,
#endif
#ifdef SYS_wait4
        SYS_wait4,
#endif
#ifdef SYS_waitid
        SYS_waitid,
#endif
#ifdef SYS_futex
        SYS_futex,
#endif
#ifdef SYS_rt_sigsuspend
        SYS_rt_sigsuspend,
#endif
#ifdef SYS_rt_sigtimedwait
        SYS_rt_sigtimedwait,
#endif
    };
    for (size_t i = 0; i < sizeof CALLS / sizeof CALLS[0]; i++) {
        if (CALLS[i] == number) {
            return 1;
        }
    }
    return 0;
}

static int is_epoll(long number)
{
#ifdef SYS_epoll_wait
    if (number == SYS_epoll_wait) {
        return 1;
    }
#endif
#ifdef SYS_epoll_pwait2
    if (number == SYS_epoll_pwait2) {
        return 1;
    }
#endif
    return number == SYS_epoll_pwait;
}

/* "fd/7", "fdinfo/7", or those of a thread. */
static void descriptor_path(char *out, size_t capacity, const bc__descriptor *of,
                            const char *folder, int32_t fd)
{
    if (of->tid == of->pid) {
        (void)snprintf(out, capacity, "%s/%d", folder, (int)fd);
    } else {
        (void)snprintf(out, capacity, "task/%d/%s/%d", (int)of->tid, folder, (int)fd);
    }
}

/* Lines "tfd:        5 events:       19 ..." (fs/eventpoll.c, ep_show_fdinfo). */
static uint8_t in_epoll(const bc__descriptor *descriptor, int32_t epoll)
{
    char text[EPOLL_TEXT];
    char path[64];
    const char *line = text;
    ssize_t length;

    descriptor_path(path, sizeof path, descriptor, "fdinfo", epoll);
    length = bc__read_file(descriptor->process, path, text, sizeof text - 1);
    if (length <= 0 || length == (ssize_t)sizeof text - 1) {
        return BC_WAITS_UNKNOWN;
    }
    text[length] = '\0';
    while ((line = strstr(line, "tfd:")) != NULL) {
        line += 4;
        if (strtol(line, NULL, 10) == descriptor->fd) {
            return BC_WAITS_FOR_IT;
        }
    }
    return BC_WAITS_ELSEWHERE;
}

/* The kernel function in which a thread sleeps, which Yama's ptrace_scope does not
 * forbid to see: for a timer, a child, a signal, another thread or a pipe. What an
 * epoll waits for it does not tell. */
static uint8_t by_function(const bc__descriptor *descriptor, int32_t tid)
{
    static const char *const ELSEWHERE[] = {"nanosleep", "do_wait",    "sigsuspend",
                                            "sigtimed",  "futex_wait", "pipe_read"};
    char name[128];
    char path[64];
    ssize_t length;

    (void)snprintf(path, sizeof path, "task/%d/wchan", (int)tid);
    length = bc__read_file(descriptor->process, path, name, sizeof name - 1);
    name[length > 0 ? length : 0] = '\0';
    for (size_t i = 0; i < sizeof ELSEWHERE / sizeof ELSEWHERE[0]; i++) {
        if (strstr(name, ELSEWHERE[i]) != NULL) {
            return BC_WAITS_ELSEWHERE;
        }
    }
    return BC_WAITS_UNKNOWN;
}

/* The epolls in which threads of a process wait. */
typedef struct {
    int32_t fds[MOST_THREADS];
    size_t count;
    int changed; /* a thread is about to change one */
} epolls;

/* All but whether the epolls are for the descriptor. */
static uint8_t thread_waits(const bc__descriptor *descriptor, int32_t tid, epolls *seen)
{
    char text[256];
    char path[64];
    char *rest = NULL;
    uint64_t inode = 0;
    long number;
    int32_t first;
    ssize_t length;

    (void)snprintf(path, sizeof path, "task/%d/syscall", (int)tid);
    length = bc__read_file(descriptor->process, path, text, sizeof text - 1);
    if (length <= 0) {
        return by_function(descriptor, tid);
    }
    text[length] = '\0';
    if (text[0] < '0' || text[0] > '9') {
        return BC_WAITS_UNKNOWN; /* "running", or -1: it waits outside of a call */
    }
    number = strtol(text, &rest, 10);
    first = (int32_t)strtoul(rest, NULL, 16);
    if (is_elsewhere(number)) {
        return BC_WAITS_ELSEWHERE;
    }
    if (is_epoll(number) && seen->count < MOST_THREADS) {
        seen->fds[seen->count++] = first;
        return BC_WAITS_ELSEWHERE;
    }
    if (number == SYS_epoll_ctl) {
        seen->changed = 1;
        return BC_WAITS_UNKNOWN;
    }
    if (number == SYS_read && first != descriptor->fd) {
        /* Of a pipe or a terminal; not of a client. */
        descriptor_path(path, sizeof path, descriptor, "fd", first);
        return bc__socket_at(descriptor->process, path, &inode) == 0
                   ? BC_WAITS_ELSEWHERE
                   : BC_WAITS_UNKNOWN;
    }
    /* accept and its like; poll and select, whose descriptors are not told. */
    return BC_WAITS_FOR_IT;
}

/* While a thread is in epoll_ctl(2) nobody is asked: it has the epoll's lock, perhaps
 * for a file of FUSE that does not answer, and who asks would wait where SIGKILL does
 * not help. */
static uint8_t with_epolls(const bc__descriptor *descriptor, const epolls *seen,
                           uint8_t answer)
{
    for (size_t i = 0; i < seen->count && answer != BC_WAITS_FOR_IT; i++) {
        uint8_t one =
            seen->changed ? BC_WAITS_UNKNOWN : in_epoll(descriptor, seen->fds[i]);
        answer = one == BC_WAITS_ELSEWHERE ? answer : one;
    }
    return answer;
}

uint8_t bc__waits(const bc__descriptor *descriptor)
{
    uint8_t answer = BC_WAITS_ELSEWHERE;
    epolls seen = {.count = 0};
    int threads = 0;
    struct dirent *entry;
    DIR *directory = NULL;

    if (descriptor->tid == descriptor->pid) {
        directory = bc__open_threads(descriptor->process, "task");
    }
    if (directory == NULL) {
        answer = thread_waits(descriptor, descriptor->tid, &seen);
        return with_epolls(descriptor, &seen, answer);
    }
    while (answer != BC_WAITS_FOR_IT && (entry = readdir(directory)) != NULL) {
        int32_t tid = (int32_t)strtol(entry->d_name, NULL, 10);
        uint8_t one;
        if (tid <= 0) {
            continue;
        }
        one = ++threads > MOST_THREADS ? BC_WAITS_UNKNOWN
                                       : thread_waits(descriptor, tid, &seen);
        answer = one == BC_WAITS_ELSEWHERE ? answer : one;
        if (threads > MOST_THREADS) {
            break;
        }
    }
    (void)closedir(directory);
    return threads == 0 ? BC_WAITS_UNKNOWN : with_epolls(descriptor, &seen, answer);
}

int8_t bc__close_on_exec(const bc__descriptor *descriptor)
{
    char text[512];
    char path[64];
    const char *flags;
    ssize_t length;

    descriptor_path(path, sizeof path, descriptor, "fdinfo", descriptor->fd);
    length = bc__read_file(descriptor->process, path, text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    flags = strstr(text, "flags:");
    if (flags == NULL) {
        return -1;
    }
    return (strtoul(flags + 6, NULL, 8) & O_CLOEXEC) != 0 ? 1 : 0;
}
