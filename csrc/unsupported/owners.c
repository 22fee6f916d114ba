/* SPDX-License-Identifier: MIT
 *
 * For systems where a process is not found by what it has open.
 */
#include "../internal.h"

#include <string.h>

int bc_find_owners(const uint64_t *inodes, size_t inode_count, bc_owners *owners)
{
    (void)inodes;
    (void)inode_count;
    owners->holder_count = owners->process_count = owners->text_count = 0;
    owners->seen = owners->unreadable = 0;
    owners->available = 0;
    owners->ancestor_count = 0;
    return BC_E_UNSUPPORTED;
}

int bc_read_process(int32_t pid, bc_owners *owners)
{
    (void)pid;
    return bc_find_owners(NULL, 0, owners);
}

int bc_read_own_program(bc_owners *owners)
{
    return bc_read_process(0, owners);
}

int bc_read_ancestors(int32_t pid, size_t most, bc_owners *owners)
{
    (void)most;
    return bc_read_process(pid, owners);
}
