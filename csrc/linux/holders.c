/* SPDX-License-Identifier: MIT
 *
 * What the walk over /proc has found: a descriptor of a wanted socket, and its process
 * when it is a new one. Everything is read before the lock is taken, so that threads do
 * not wait for each other's reading.
 */
#include "../internal.h"
#include "linux.h"
#include "owners.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROCESS_TEXT = 4 * 4096 }; /* name, command line, folder, variables, cgroup */

static int32_t read_option(int handle, int level, int option)
{
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(handle, level, option, &value, &length) == 0 ? value : -1;
}

static void read_options(int handle, bc_holder *out)
{
    int32_t family = read_option(handle, SOL_SOCKET, SO_DOMAIN);
    if (family < 0) {
        return; /* a system call filter */
    }
    out->reuse_address = (int8_t)(read_option(handle, SOL_SOCKET, SO_REUSEADDR) > 0);
    out->reuse_port = (int8_t)(read_option(handle, SOL_SOCKET, SO_REUSEPORT) > 0);
    if (family == AF_INET6) {
        out->v6only = (int8_t)read_option(handle, IPPROTO_IPV6, IPV6_V6ONLY);
    }
    out->device = bc__bound_device(handle);
    out->options_read = 1;
}

/* Two threads may read the options of one socket: once is enough, twice does no harm.
 */
static void read_details(const bc__descriptor *descriptor, _Atomic uint8_t *told,
                         bc_holder *out)
{
    out->close_on_exec = bc__close_on_exec(descriptor);
    out->waits = bc__waits(descriptor);
    if ((atomic_load(told) & BC__OPTIONS_READ) == 0) {
        int handle = bc__borrow(descriptor);
        if (handle >= 0) {
            read_options(handle, out);
            (void)close(handle);
        }
        if (out->options_read != 0) {
            (void)atomic_fetch_or(told, BC__OPTIONS_READ);
        }
    }
}

/* Appends the one process that was read; counts on when there is no room. */
static void append_process(bc_owners *owners, const bc_owners *read)
{
    bc_process one = read->processes[0];
    uint32_t before = (uint32_t)owners->text_count;
    one.name_offset += before;
    one.command_offset += before;
    one.folder_offset += before;
    one.cgroup_offset += before;
    one.environment_offset += before;
    if (owners->text_count + read->text_count <= owners->text_capacity) {
        memcpy(owners->text + owners->text_count, read->text, read->text_count);
    }
    owners->text_count += read->text_count;
    if (owners->process_count < owners->process_capacity) {
        owners->processes[owners->process_count] = one;
    }
    owners->process_count++;
}

static size_t place_of(const bc_owners *owners, int32_t pid)
{
    size_t count = owners->process_count < owners->process_capacity
                       ? owners->process_count
                       : owners->process_capacity;
    for (size_t i = 0; i < count; i++) {
        if (owners->processes[i].pid == pid) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* The first descriptor of a process that this thread has found. Returns 0, or -1 when
 * the process could not be read. */
static int begin_process(bc__scan *scan, const bc__descriptor *descriptor)
{
    bc_process process;
    char text[PROCESS_TEXT];
    bc_owners read = {.processes = &process,
                      .process_capacity = 1,
                      .text = text,
                      .text_capacity = sizeof text,
                      .brief = scan->results->brief};

    scan->current = descriptor->pid;
    scan->found_of_it = 0;
    scan->place = SIZE_MAX;
    if (scan->again) { /* an earlier pass may have described it */
        bc__lock(scan);
        scan->place = place_of(scan->results, descriptor->pid);
        bc__unlock(scan);
        if (scan->place != SIZE_MAX) {
            return 0;
        }
    }
    if (bc__add_process(&read, descriptor->process, descriptor->pid, 0) < 0) {
        return bc__hides_something(scan, errno) ? -1 : 0;
    }
    scan->owners->exhausted |= read.exhausted;
    bc__lock(scan);
    scan->place = scan->results->process_count;
    append_process(scan->results, &read);
    bc__unlock(scan);
    return 0;
}

static void append_holder(bc__scan *scan, const bc_holder *holder)
{
    bc_owners *owners = scan->results;
    if (owners->holder_count < owners->holder_capacity) {
        owners->holders[owners->holder_count] = *holder;
    }
    owners->holder_count++;
    if (scan->place < owners->process_capacity) {
        owners->processes[scan->place].holders++;
    }
}

int bc__add_holder(bc__scan *scan, const bc__descriptor *descriptor)
{
    _Atomic uint8_t *told = bc__told_of(scan, descriptor->inode);
    bc_holder holder;
    int status = 0;

    if (told == NULL) {
        return 0; /* it is none of those that are looked for */
    }
    (void)atomic_fetch_or(told, BC__HELD);
    memset(&holder, 0, sizeof holder);
    holder.inode = descriptor->inode;
    holder.pid = descriptor->pid;
    holder.tid = descriptor->tid;
    holder.fd = descriptor->fd;
    holder.reuse_address = -1;
    holder.reuse_port = -1;
    holder.v6only = -1;
    holder.close_on_exec = -1;
    if (scan->current != descriptor->pid) {
        status = begin_process(scan, descriptor);
    }
    if (holder.fd >= 0) {
        /* Of all: no table has an MPTCP socket that is only bound. */
        bc__protocol_name(descriptor, holder.protocol, sizeof holder.protocol);
    }
    if (holder.fd >= 0 && scan->found_of_it++ < BC_MOST_DETAILED) {
        read_details(descriptor, told, &holder);
    }
    bc__lock(scan);
    bc__remember(scan, descriptor);
    append_holder(scan, &holder);
    bc__unlock(scan);
    return status;
}
