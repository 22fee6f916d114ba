/* SPDX-License-Identifier: MIT
 *
 * What a process is, read through the descriptor of /proc/PID in which its socket was
 * found. That descriptor stays with that process; once it is gone every read fails with
 * ESRCH, so a reused pid is never described. And a socket that it has, borrowed or
 * named.
 */
#include "../internal.h"
#include "linux.h"
#include "owners.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { COMMAND_BYTES = 4096, SMALL_FILE = 4096 };
/* Of an environment: what is read first, of a longer one, and what is kept. */
enum { SMALL_ENVIRONMENT = 16384, MOST_ENVIRONMENT = 1 << 20, KEPT_ENVIRONMENT = 2048 };

#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000 /* linux/fcntl.h, Linux 4.11 */
#endif
#ifndef SYS_getxattrat
#define SYS_getxattrat 464
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

void bc__proc_path(char *out, size_t capacity, int32_t pid)
{
    (void)snprintf(out, capacity, "/proc/%d", (int)pid);
}

/* Appends to the caller's text; counts on when it is full. */
static void add_text(bc_owners *owners, const void *bytes, size_t length,
                     uint32_t *offset, uint32_t *stored)
{
    *offset = (uint32_t)owners->text_count;
    *stored = (uint32_t)length;
    if (length > 0 && owners->text_count + length <= owners->text_capacity) {
        memcpy(owners->text + owners->text_count, bytes, length);
    }
    owners->text_count += length;
}

static void add_file(bc_owners *owners, int process, const char *path, uint32_t *offset,
                     uint32_t *stored)
{
    char bytes[SMALL_FILE];
    ssize_t length = bc__read_file(process, path, bytes, sizeof bytes);
    if (length < 0 && (errno == EMFILE || errno == ENFILE)) {
        owners->exhausted = 1;
    }
    add_text(owners, bytes, length > 0 ? (size_t)length : 0, offset, stored);
}

static void add_command(bc_owners *owners, int process, bc_process *out)
{
    char bytes[COMMAND_BYTES + 1];
    ssize_t length = bc__read_file(process, "cmdline", bytes, sizeof bytes);
    if (length > COMMAND_BYTES) {
        length = COMMAND_BYTES;
        out->command_truncated = 1;
    }
    add_text(owners, bytes, length > 0 ? (size_t)length : 0, &out->command_offset,
             &out->command_length);
}

static int is_telling(const char *variable)
{
    /* systemd's (sd_listen_fds(3)), supervisord's, PM2's */
    static const char *const NAMES[] = {
        "LISTEN_PID=", "LISTEN_FDS=", "SUPERVISOR_PROCESS_NAME=",
        "SUPERVISOR_GROUP_NAME=", "pm_id="};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (strncmp(variable, NAMES[i], strlen(NAMES[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Of the variables those that tell who started it, never others. `text` ends with a
 * NUL. */
static void keep_telling(bc_owners *owners, const char *text, size_t length,
                         bc_process *out)
{
    char kept[KEPT_ENVIRONMENT];
    size_t count = 0;
    for (size_t at = 0, size; at < length; at += size) {
        size = strlen(text + at) + 1;
        if (is_telling(text + at) && size <= sizeof kept - count) {
            memcpy(kept + count, text + at, size);
            count += size;
        }
    }
    add_text(owners, kept, count, &out->environment_offset, &out->environment_length);
}

static void add_environment(bc_owners *owners, int process, bc_process *out)
{
    char small[SMALL_ENVIRONMENT];
    char *text = small;
    ssize_t length = bc__read_file(process, "environ", small, sizeof small - 1);
    if (length == (ssize_t)sizeof small - 1) {
        text = calloc(MOST_ENVIRONMENT, 1);
        if (text == NULL) {
            return;
        }
        length = bc__read_file(process, "environ", text, MOST_ENVIRONMENT - 1);
    }
    if (length > 0) {
        text[length] = '\0';
        keep_telling(owners, text, (size_t)length, out);
    }
    if (text != small) {
        free(text);
    }
}

/* The numbers of a line of /proc/PID/status; line ends in the program's name are
 * escaped there. Returns how many there are. */
static size_t status_numbers(const char *text, const char *name, uint32_t *first,
                             uint32_t *second, uint32_t *last)
{
    const char *line = strstr(text, name);
    size_t count = 0;
    line = line == NULL ? "" : line + strlen(name);
    if (strchr(line, '\n') == NULL) {
        return 0; /* cut off: a process may be in thousands of groups */
    }
    while (*line == '\t' || *line == ' ') {
        char *end = NULL;
        uint32_t value = (uint32_t)strtoul(line, &end, 10);
        if (end == line) {
            break;
        }
        *first = count == 0 ? value : *first;
        *second = count == 1 ? value : *second;
        *last = value;
        count++;
        line = end;
    }
    return count;
}

/* The effective uid, and the pid in the process's own namespace. The owner of /proc/PID
 * does not tell the uid: that is root for a process that may not be dumped (proc(5)).
 */
static void read_status(int process, bc_process *out)
{
    char text[SMALL_FILE];
    uint32_t first = 0;
    uint32_t second = UINT32_MAX;
    uint32_t last = 0;
    ssize_t length = bc__read_file(process, "status", text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    (void)status_numbers(text, "\nUid:", &first, &second, &last);
    out->uid = second;
    if (status_numbers(text, "\nNSpid:", &first, &second, &last) > 0) {
        out->inner_pid = (int32_t)last;
    }
}

/* The program's name as /proc/PID/stat has it, between the first and the last
 * parenthesis. With a backslash its own file tells: some kernels escape the name in
 * stat, others do not (fs/proc/array.c, proc_task_name). */
static void add_name(bc_owners *owners, int process, const char *stat, size_t length,
                     bc_process *out)
{
    char bytes[64];
    const char *name = memchr(stat, '(', length);
    const char *end = memrchr(stat, ')', length);
    if (name == NULL || end <= name) {
        return;
    }
    name++;
    if (memchr(name, '\\', (size_t)(end - name)) != NULL) {
        ssize_t got = bc__read_file(process, "comm", bytes, sizeof bytes);
        name = bytes;
        end = bytes + (got > 0 ? got - 1 : 0); /* without the line end */
    }
    add_text(owners, name, (size_t)(end - name), &out->name_offset, &out->name_length);
}

static void describe_briefly(bc_owners *owners, int process, const bc_proc_stat *stat,
                             bc_process *out)
{
    out->start_ticks = stat->start_ticks;
    out->parent = stat->parent;
    out->session = stat->session;
    out->flags = stat->flags;
    out->threads = stat->threads;
    out->state = stat->state;
    if (!owners->brief) {
        add_command(owners, process, out);
    }
}

/* What tells its program from others, but for the command line. */
static void describe_program(bc_owners *owners, int process, bc_process *out)
{
    char folder[SMALL_FILE];
    struct stat file;
    ssize_t length = readlinkat(process, "cwd", folder, sizeof folder);

    add_text(owners, folder, length > 0 ? (size_t)length : 0, &out->folder_offset,
             &out->folder_length);
    /* As far as it is known without asking: its filesystem may not answer. */
    if (!owners->brief && fstatat(process, "exe", &file, AT_STATX_DONT_SYNC) == 0) {
        out->exe_device = (uint64_t)file.st_dev;
        out->exe_inode = (uint64_t)file.st_ino;
    }
}

static void describe(bc_owners *owners, int process, bc_process *out)
{
    struct stat file;

    describe_program(owners, process, out);
    if (!owners->brief) {
        add_environment(owners, process, out);
    }
    add_file(owners, process, "cgroup", &out->cgroup_offset, &out->cgroup_length);
    read_status(process, out);
    if (fstatat(process, "ns/pid", &file, 0) == 0) {
        out->pid_namespace = (uint64_t)file.st_ino;
    }
}

/* Counts on where there is no room. */
static void append(bc_owners *owners, const bc_process *one)
{
    if (owners->process_count < owners->process_capacity) {
        owners->processes[owners->process_count] = *one;
    }
    owners->process_count++;
}

void bc__add_program(bc_owners *owners, int process, int32_t pid)
{
    bc_process facts;
    memset(&facts, 0, sizeof facts);
    facts.pid = pid;
    add_command(owners, process, &facts);
    describe_program(owners, process, &facts);
    append(owners, &facts);
}

int32_t bc__add_process(bc_owners *owners, int process, int32_t pid, int briefly)
{
    bc_process facts;
    bc_proc_stat stat;
    char text[1024];
    ssize_t length = bc__read_file(process, "stat", text, sizeof text);

    if (length <= 0 ||
        bc_decode_proc_stat((const uint8_t *)text, (size_t)length, &stat) != BC_OK) {
        errno = length < 0 ? errno : ESRCH;
        return -1;
    }
    memset(&facts, 0, sizeof facts);
    facts.pid = pid;
    add_name(owners, process, text, (size_t)length, &facts);
    describe_briefly(owners, process, &stat, &facts);
    if (!briefly) {
        describe(owners, process, &facts);
    }
    append(owners, &facts);
    return facts.parent;
}

uint32_t bc__bound_device(int handle)
{
    char device[IFNAMSIZ] = "";
    /* The kernel wants room for the longest name (sock_getbindtodevice). */
    socklen_t length = sizeof device;
    if (getsockopt(handle, SOL_SOCKET, SO_BINDTODEVICE, device, &length) != 0 ||
        device[0] == '\0') {
        return 0;
    }
    device[sizeof device - 1] = '\0';
    return if_nametoindex(device);
}

int bc__borrow(const bc__descriptor *descriptor)
{
    struct stat file;
    /* A thread's own table: PIDFD_THREAD, Linux 6.9. */
    unsigned flags = descriptor->tid == descriptor->pid ? 0 : O_EXCL;
    int process = (int)syscall(SYS_pidfd_open, descriptor->tid, flags);
    int handle = -1;
    if (process < 0) {
        return -1;
    }
    handle = (int)syscall(SYS_pidfd_getfd, process, descriptor->fd, 0);
    (void)close(process);
    if (handle >= 0 && (fstat(handle, &file) != 0 || !S_ISSOCK(file.st_mode) ||
                        (uint64_t)file.st_ino != descriptor->inode)) {
        (void)close(handle);
        handle = -1;
    }
    return handle;
}

/* getxattrat(2), Linux 6.13: half of what the way through our own descriptor costs. */
static ssize_t read_attribute(int folder, const char *path, const char *name, char *out,
                              size_t capacity)
{
    const struct {
        uint64_t value; /* linux/xattr.h, struct xattr_args */
        uint32_t size, flags;
    } place = {(uint64_t)(uintptr_t)out, (uint32_t)capacity, 0};
    char whole[80];
    ssize_t length =
        syscall(SYS_getxattrat, folder, path, 0, name, &place, sizeof place);
    if (length >= 0) {
        return length;
    }
    (void)snprintf(whole, sizeof whole, "/proc/self/fd/%d/%s", folder, path);
    return getxattr(whole, name, out, capacity);
}

void bc__protocol_name(const bc__descriptor *descriptor, char *out, size_t capacity)
{
    char path[48];
    ssize_t length;
    if (descriptor->tid == descriptor->pid) {
        (void)snprintf(path, sizeof path, "fd/%d", descriptor->fd);
    } else {
        (void)snprintf(path, sizeof path, "task/%d/fd/%d", descriptor->tid,
                       descriptor->fd);
    }
    length = read_attribute(descriptor->process, path, "system.sockprotoname", out,
                            capacity - 1);
    out[length > 0 ? length : 0] = '\0';
}
