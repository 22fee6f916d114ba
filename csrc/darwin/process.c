/* SPDX-License-Identifier: MIT
 *
 * What a process is. Its name, parent, user, state and start are told of every process
 * (sysctl KERN_PROC_PID), the rest (libproc, sysctl KERN_PROCARGS2) of our user's only
 * or to root. All of it goes by the pid: the callers compare the start before and
 * after.
 */
#include "../internal.h"
#include "../decode/procargs.h"
#include "darwin.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/param.h>
#include <sys/proc.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include <libproc.h>
#include <sys/proc_info.h>

enum { COMMAND_BYTES = 4096, MICROSECONDS = 1000000 };
enum { TORN_DOWN = 4 }; /* what bc_process.flags calls it */

static int read_row(int32_t pid, struct kinfo_proc *row)
{
    int name[4] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, pid};
    size_t length = sizeof *row;
    /* Of a pid that nobody has it gives nothing, and no error. */
    return sysctl(name, 4, row, &length, NULL, 0) == 0 && length == sizeof *row ? 0
                                                                                : -1;
}

static uint64_t start_in(const struct kinfo_proc *row)
{
    const struct timeval *start = &row->kp_proc.p_starttime;
    return (uint64_t)start->tv_sec * MICROSECONDS + (uint64_t)start->tv_usec;
}

uint64_t bc__start_of(int32_t pid)
{
    struct kinfo_proc row;
    return read_row(pid, &row) == 0 ? start_in(&row) : 0;
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

static void add_command(bc_owners *owners, int32_t pid, bc_process *out)
{
    int name[3] = {CTL_KERN, KERN_PROCARGS2, pid};
    uint8_t *bytes = NULL;
    const uint8_t *arguments = NULL;
    size_t used = 0;
    /* The kernel refuses more, and of what has not enough room it gives the end
     * (sysctl_procargsx): only what leaves some of it free is whole. */
    size_t room = ARG_MAX + sizeof(int);
    size_t size = 0;
    size_t length = 0;

    if (sysctl(name, 3, NULL, &size, NULL, 0) == 0 && size + COMMAND_BYTES < room) {
        room = size + COMMAND_BYTES;
    }
    bytes = malloc(room);
    used = room;
    if (bytes == NULL || sysctl(name, 3, bytes, &used, NULL, 0) != 0 || used >= room ||
        bc__decode_procargs(bytes, used, bc__big_endian(), &arguments, &length) !=
            BC_OK) {
        length = 0;
    }
    if (length > COMMAND_BYTES) {
        length = COMMAND_BYTES;
        out->command_truncated = 1;
    }
    add_text(owners, arguments, length, &out->command_offset, &out->command_length);
    free(bytes);
}

static void add_folder(bc_owners *owners, int32_t pid, bc_process *out)
{
    struct proc_vnodepathinfo folders;
    size_t length = 0;
    if (proc_pidinfo(pid, PROC_PIDVNODEPATHINFO, 0, &folders, sizeof folders) ==
        (int)sizeof folders) {
        length = strnlen(folders.pvi_cdir.vip_path, sizeof folders.pvi_cdir.vip_path);
    }
    add_text(owners, folders.pvi_cdir.vip_path, length, &out->folder_offset,
             &out->folder_length);
}

/* libproc knows a longer name than the table. */
static void add_name(bc_owners *owners, int32_t pid, const struct kinfo_proc *row,
                     bc_process *out)
{
    struct proc_bsdinfo info;
    const char *name = row->kp_proc.p_comm;
    size_t length = strnlen(name, sizeof row->kp_proc.p_comm);
    if (proc_pidinfo(pid, PROC_PIDTBSDINFO, 0, &info, sizeof info) ==
            (int)sizeof info &&
        info.pbi_name[0] != '\0') {
        name = info.pbi_name;
        length = strnlen(name, sizeof info.pbi_name);
    }
    add_text(owners, name, length, &out->name_offset, &out->name_length);
}

static uint8_t state_letter(int status)
{
    switch (status) {
    case SIDL:
        return 'I';
    case SRUN:
        return 'R';
    case SSLEEP:
        return 'S';
    case SSTOP:
        return 'T';
    case SZOMB:
        return 'Z';
    default:
        return '?';
    }
}

/* The status stays SRUN while the threads sleep. */
static void read_threads(int32_t pid, bc_process *out)
{
    struct proc_taskinfo task;
    if (proc_pidinfo(pid, PROC_PIDTASKINFO, 0, &task, sizeof task) !=
        (int)sizeof task) {
        return;
    }
    out->threads = (uint32_t)task.pti_threadnum;
    if (out->state == 'R' && task.pti_numrunning == 0) {
        out->state = 'S';
    }
}

static void read_executable(int32_t pid, bc_process *out)
{
    char path[PROC_PIDPATHINFO_MAXSIZE];
    struct stat file;
    if (proc_pidpath(pid, path, sizeof path) > 0 && stat(path, &file) == 0) {
        out->exe_device = (uint32_t)file.st_dev;
        out->exe_inode = (uint64_t)file.st_ino;
    }
}

void bc__add_process(bc_owners *owners, int32_t pid)
{
    struct kinfo_proc row;
    bc_process facts;
    pid_t session;

    if (read_row(pid, &row) != 0) {
        return; /* gone */
    }
    memset(&facts, 0, sizeof facts);
    facts.pid = pid;
    facts.start_ticks = start_in(&row);
    facts.parent = row.kp_eproc.e_ppid;
    session = getsid(pid);
    facts.session = session > 0 ? session : 0;
    facts.uid = row.kp_eproc.e_ucred.cr_uid;
    facts.state = state_letter(row.kp_proc.p_stat);
    facts.flags = (row.kp_proc.p_flag & P_WEXIT) != 0 ? TORN_DOWN : 0;
    add_folder(owners, pid, &facts);
    add_name(owners, pid, &row, &facts);
    add_command(owners, pid, &facts);
    read_threads(pid, &facts);
    read_executable(pid, &facts);
    if (owners->process_count < owners->process_capacity) {
        owners->processes[owners->process_count] = facts;
    }
    owners->process_count++;
}
