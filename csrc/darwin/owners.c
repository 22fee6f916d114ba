/* SPDX-License-Identifier: MIT
 *
 * Sockets to the processes that hold them, from libproc. There is no index from a
 * socket to its holders, so every socket of every process that may be read is looked
 * at. It is known by soi_so, which is made of its address in the kernel just as xso_so
 * of the tables is (bsd/kern/socket_info.c, fill_common_sockinfo).
 *
 * What it cannot see: descriptors of other users' processes without root
 * (bsd/kern/proc_info.c, proc_security_policy), and sockets on their way from one
 * process to another.
 */
#include "../internal.h"
#include "darwin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/param.h>
#include <unistd.h>

#include <libproc.h>
#include <sys/proc_info.h>

enum { V6ONLY = 0x8000 }; /* bsd/netinet/in_pcb.h, IN6P_IPV6_V6ONLY */
enum { SLACK = 32, TRIES = 8 };

typedef struct {
    const uint64_t *inodes; /* ascending */
    size_t inode_count;
    struct proc_fdinfo *descriptors;
    size_t room; /* of descriptors, in bytes */
    bc_owners *owners;
} scan_job;

static int compare_inodes(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static int is_wanted(const scan_job *job, uint64_t inode)
{
    return inode != 0 && bsearch(&inode, job->inodes, job->inode_count, sizeof inode,
                                 compare_inodes) != NULL;
}

static void add_holder(bc_owners *owners, int32_t pid, int32_t fd,
                       const struct socket_fdinfo *info)
{
    const struct socket_info *socket = &info->psi;
    unsigned options = (unsigned)socket->soi_options;
    bc_holder holder;

    memset(&holder, 0, sizeof holder);
    holder.inode = socket->soi_so;
    holder.pid = holder.tid = pid;
    holder.fd = fd;
    holder.reuse_address = (int8_t)((options & (unsigned)SO_REUSEADDR) != 0);
    holder.reuse_port = (int8_t)((options & (unsigned)SO_REUSEPORT) != 0);
    holder.v6only = -1;
    if (socket->soi_family == AF_INET6 &&
        (socket->soi_kind == SOCKINFO_IN || socket->soi_kind == SOCKINFO_TCP)) {
        /* tcp_sockinfo begins with an in_sockinfo */
        holder.v6only = (int8_t)((socket->soi_proto.pri_in.insi_flags & V6ONLY) != 0);
    }
    holder.options_read = 1;
    if (socket->soi_protocol == IPPROTO_TCP || socket->soi_protocol == IPPROTO_UDP) {
        (void)bc__copy_text(socket->soi_protocol == IPPROTO_TCP ? "TCP" : "UDP",
                            holder.protocol, sizeof holder.protocol);
    }
    holder.close_on_exec = (int8_t)((info->pfi.fi_status & PROC_FP_CLEXEC) != 0);
    holder.waits = BC_WAITS_UNKNOWN;
    if (owners->holder_count < owners->holder_capacity) {
        owners->holders[owners->holder_count] = holder;
    }
    owners->holder_count++;
}

/* What proc_pidinfo says of the descriptors; -1 with errno set. It says 0 for both no
 * descriptors and a failure. */
static ptrdiff_t ask_descriptors(int32_t pid, void *out, size_t room)
{
    int got;
    errno = 0;
    got = proc_pidinfo(pid, PROC_PIDLISTFDS, 0, out, (int)room);
    return got < 0 || (got == 0 && errno != 0) ? -1 : got;
}

/* The descriptors of a process into job->descriptors; how many, or -1 with errno set.
 */
static ptrdiff_t list_descriptors(scan_job *job, int32_t pid)
{
    for (int i = 0; i < TRIES; i++) {
        ptrdiff_t got = ask_descriptors(pid, NULL, 0);
        size_t wanted = (size_t)got + SLACK * sizeof *job->descriptors;
        if (got < 0) {
            return -1;
        }
        if (job->room < wanted) {
            free(job->descriptors);
            job->descriptors = malloc(wanted);
            job->room = job->descriptors == NULL ? 0 : wanted;
        }
        if (job->descriptors == NULL) {
            errno = ENOMEM;
            return -1;
        }
        got = ask_descriptors(pid, job->descriptors, job->room);
        /* A list that fills its room may go on. */
        if (got < 0 || (size_t)got < job->room) {
            return got < 0 ? -1 : got / (ptrdiff_t)sizeof *job->descriptors;
        }
    }
    errno = EAGAIN;
    return -1;
}

/* Takes back what was recorded of a process that turned out to be another. */
static void forget(bc_owners *owners, const bc_owners *before)
{
    owners->holder_count = before->holder_count;
    owners->process_count = before->process_count;
    owners->text_count = before->text_count;
}

static void scan_process(scan_job *job, int32_t pid)
{
    const bc_owners before = *job->owners;
    uint64_t start = bc__start_of(pid);
    ptrdiff_t count = list_descriptors(job, pid);

    if (count < 0) {
        if (errno != ESRCH) {
            job->owners->seen++;
            job->owners->unreadable++;
        }
        return;
    }
    job->owners->seen++;
    for (ptrdiff_t i = 0; i < count; i++) {
        struct socket_fdinfo info;
        int32_t fd = job->descriptors[i].proc_fd;
        if (job->descriptors[i].proc_fdtype != PROX_FDTYPE_SOCKET) {
            continue;
        }
        if (proc_pidfdinfo(pid, fd, PROC_PIDFDSOCKETINFO, &info, sizeof info) ==
                (int)sizeof info &&
            is_wanted(job, info.psi.soi_so)) {
            add_holder(job->owners, pid, fd, &info);
        }
    }
    if (job->owners->holder_count > before.holder_count) {
        bc__add_process(job->owners, pid);
        /* All of it went by the pid, which may have been reused meanwhile. */
        if (bc__start_of(pid) != start) {
            forget(job->owners, &before);
        }
    }
}

/* Every pid there is; memory to be freed, or NULL. */
static int32_t *list_pids(size_t *count)
{
    size_t room = 0;
    for (int i = 0; i < TRIES; i++) {
        int32_t *pids;
        int got = proc_listpids(PROC_ALL_PIDS, 0, NULL, 0);
        if (got <= 0) {
            return NULL;
        }
        room = 2 * room + (size_t)got + SLACK * sizeof *pids;
        pids = malloc(room);
        if (pids == NULL) {
            return NULL;
        }
        got = proc_listpids(PROC_ALL_PIDS, 0, pids, (int)room);
        if (got > 0 && (size_t)got < room) {
            *count = (size_t)got / sizeof *pids;
            return pids;
        }
        free(pids);
    }
    return NULL;
}

static void reset(bc_owners *owners)
{
    owners->holder_count = owners->process_count = owners->text_count = 0;
    owners->seen = owners->unreadable = 0;
    owners->available = owners->exhausted = 0;
    owners->ancestor_count = 0;
}

static int fits(const bc_owners *owners)
{
    return owners->holder_count <= owners->holder_capacity &&
           owners->process_count <= owners->process_capacity &&
           owners->text_count <= owners->text_capacity;
}

int bc_find_owners(const uint64_t *inodes, size_t inode_count, bc_owners *owners)
{
    scan_job job = {.inodes = inodes, .inode_count = inode_count, .owners = owners};
    size_t count = 0;
    int32_t *pids = list_pids(&count);

    reset(owners);
    owners->available = pids != NULL;
    for (size_t i = 0; pids != NULL && i < count; i++) {
        if (pids[i] > 0) { /* 0 is the kernel */
            scan_process(&job, pids[i]);
        }
    }
    free(job.descriptors);
    free(pids);
    return fits(owners) ? BC_OK : BC_E_TRUNCATED;
}

/* Returns the parent, or -1 where there is no such process. */
static int32_t read_process(int32_t pid, bc_owners *owners)
{
    const bc_owners before = *owners;
    uint64_t start = pid > 0 ? bc__start_of(pid) : 0;

    if (start == 0) {
        return -1;
    }
    owners->available = 1;
    owners->seen++;
    bc__add_process(owners, pid);
    if (owners->process_count == before.process_count || bc__start_of(pid) != start) {
        *owners = before;
        return -1;
    }
    /* Of one that there is no room for the parent is asked when there is. */
    return owners->process_count <= owners->process_capacity
               ? owners->processes[owners->process_count - 1].parent
               : 0;
}

int bc_read_process(int32_t pid, bc_owners *owners)
{
    reset(owners);
    if (read_process(pid, owners) < 0) {
        return BC_E_SYSTEM;
    }
    return fits(owners) ? BC_OK : BC_E_TRUNCATED;
}

int bc_read_own_program(bc_owners *owners)
{
    return bc_read_process((int32_t)getpid(), owners);
}

int bc_read_ancestors(int32_t pid, size_t most, bc_owners *owners)
{
    reset(owners);
    while (pid > 0 && owners->process_count < most) {
        pid = read_process(pid, owners);
    }
    return fits(owners) ? BC_OK : BC_E_TRUNCATED;
}
