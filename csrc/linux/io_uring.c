/* SPDX-License-Identifier: MIT
 *
 * Sockets that are registered with an io_uring (io_uring_register(2),
 * IORING_REGISTER_FILES) stay open after their descriptor is closed. No descriptor
 * names them then; the ring's /proc/PID/fdinfo/FD does.
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
#include <unistd.h>

enum { BUFFER = 16384, MOST_BYTES = 8 << 20, SHORTEST_LINE = 15 };
/* What is in one buffer fits beside what is kept of those before it. */
enum { MOST_FOUND = 2304 };
_Static_assert(MOST_FOUND / 2 > BUFFER / SHORTEST_LINE, "lines would be lost");

static int is_ring(int folder, const char *name)
{
    static const char TARGET[] = "anon_inode:[io_uring]";
    char target[sizeof TARGET] = "";
    ssize_t length = readlinkat(folder, name, target, sizeof target);
    return length == (ssize_t)sizeof TARGET - 1 &&
           memcmp(target, TARGET, sizeof TARGET - 1) == 0;
}

static void add_registered(bc__scan *scan, int process, int32_t pid,
                           const uint64_t *inodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t before = 0;
        while (before < i && inodes[before] != inodes[i]) {
            before++; /* a socket may be registered in several places */
        }
        if (before == i && bc__is_wanted(scan, inodes[i])) {
            const bc__descriptor registered = {process, pid, pid, -1, inodes[i]};
            (void)scan->found(scan, &registered);
        }
    }
}

static void scan_ring(bc__scan *scan, int process, int32_t pid, const char *name)
{
    uint8_t buffer[BUFFER];
    uint64_t inodes[MOST_FOUND];
    char path[32];
    size_t count = 0;
    size_t kept = 0;
    size_t total = 0;
    int32_t section = 0;
    int handle;

    (void)snprintf(path, sizeof path, "fdinfo/%.16s", name);
    handle = openat(process, path, O_RDONLY | O_CLOEXEC);
    if (handle < 0) {
        (void)bc__hides_something(scan, errno);
        return;
    }
    while (total < MOST_BYTES) {
        size_t consumed = 0;
        ssize_t got = read(handle, buffer + kept, sizeof buffer - kept);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        total += (size_t)got;
        kept += (size_t)got;
        (void)bc_decode_uring_files(buffer, kept, &section, inodes, MOST_FOUND, &count,
                                    &consumed);
        kept -= consumed;
        memmove(buffer, buffer + consumed, kept);
        if (kept == sizeof buffer) {
            break; /* no line of the kernel's is that long */
        }
        if (count > MOST_FOUND / 2) {
            add_registered(scan, process, pid, inodes,
                           count < MOST_FOUND ? count : MOST_FOUND);
            count = 0;
        }
    }
    (void)close(handle);
    add_registered(scan, process, pid, inodes, count < MOST_FOUND ? count : MOST_FOUND);
}

void bc__scan_rings(bc__scan *scan, int process, int32_t pid)
{
    struct dirent *entry;
    DIR *directory = NULL;
    int folder = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        (void)bc__hides_something(scan, errno);
        return;
    }
    directory = fdopendir(folder);
    if (directory == NULL) {
        (void)close(folder);
        return;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.' && is_ring(folder, entry->d_name)) {
            scan_ring(scan, process, pid, entry->d_name);
        }
    }
    (void)closedir(directory);
}
