/* SPDX-License-Identifier: MIT
 *
 * Processes by their pid: one, ours, and those above another one. (Those that have a
 * socket are described in holders.c.)
 */
#include "../internal.h"
#include "linux.h"
#include "owners.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int32_t bc__own_pid(int proc)
{
    char self[16] = "";
    ssize_t length = readlinkat(proc, "self", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    return (int32_t)strtol(self, NULL, 10);
}

int bc__fits(const bc_owners *owners)
{
    return owners->holder_count <= owners->holder_capacity &&
           owners->process_count <= owners->process_capacity &&
           owners->text_count <= owners->text_capacity;
}

/* What is known of a process that is described already, or NULL. */
static const bc_process *described(const bc_owners *owners, int32_t pid)
{
    for (size_t i = owners->process_count; i > 0; i--) {
        if (owners->processes[i - 1].pid == pid) {
            return &owners->processes[i - 1];
        }
    }
    return NULL;
}

/* Returns the parent, or -1 where there is no such process. */
static int32_t read_process(int32_t pid, int briefly, bc_owners *owners)
{
    char path[32];
    int32_t parent;
    int process;
    bc__proc_path(path, sizeof path, pid);
    process = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process < 0) {
        return -1;
    }
    owners->available = 1;
    owners->seen++;
    parent = bc__add_process(owners, process, pid, briefly);
    (void)close(process);
    return parent;
}

/* A holder's parent and those above it, where they are not described yet. */
static void add_those_above(bc_owners *owners, int32_t pid)
{
    int32_t lowest = 1; /* pid 1 tells something of its children alone */
    for (int above = 0; above < owners->ancestors && bc__fits(owners); above++) {
        const bc_process *known = described(owners, pid);
        if (pid < lowest) {
            return;
        }
        pid = known != NULL ? known->parent : read_process(pid, 1, owners);
        lowest = 2;
    }
}

void bc__add_ancestors(bc_owners *owners)
{
    const uint32_t seen = owners->seen;
    const size_t holders = owners->process_count;
    int32_t before = 0;
    for (size_t i = 0; i < holders && bc__fits(owners); i++) {
        int32_t parent = owners->processes[i].parent;
        if (parent != before) { /* brothers stand together, and may be thousands */
            add_those_above(owners, parent);
        }
        before = parent;
    }
    owners->seen = seen;
    owners->ancestor_count = (uint32_t)(owners->process_count - holders);
}

int bc_read_process(int32_t pid, bc_owners *owners)
{
    bc__reset_owners(owners);
    if (read_process(pid, 0, owners) < 0) {
        return BC_E_SYSTEM;
    }
    return bc__fits(owners) ? BC_OK : BC_E_TRUNCATED;
}

int bc_read_own_program(bc_owners *owners)
{
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int process = -1;
    int32_t pid = 0;

    bc__reset_owners(owners);
    if (proc >= 0) {
        pid = bc__own_pid(proc);
        process = openat(proc, "self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        (void)close(proc);
    }
    if (process < 0 || pid <= 0) {
        if (process >= 0) {
            (void)close(process);
        }
        return BC_E_SYSTEM;
    }
    bc__add_program(owners, process, pid);
    (void)close(process);
    return bc__fits(owners) ? BC_OK : BC_E_TRUNCATED;
}

int bc_read_ancestors(int32_t pid, size_t most, bc_owners *owners)
{
    bc__reset_owners(owners);
    while (pid > 0 && owners->process_count < most) {
        pid = read_process(pid, 1, owners);
    }
    return bc__fits(owners) ? BC_OK : BC_E_TRUNCATED;
}
