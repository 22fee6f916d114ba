/* SPDX-License-Identifier: MIT
 *
 * For systems where nothing that a search reads keeps it waiting.
 */
#include "../internal.h"

bc_search *bc_begin_search(bc_turn *turn, const uint64_t *inodes, size_t inode_count,
                           uint8_t ancestors)
{
    (void)turn;
    (void)inodes;
    (void)inode_count;
    (void)ancestors;
    return NULL;
}

int bc_wait_for_search(bc_search *search, uint32_t milliseconds)
{
    (void)search;
    (void)milliseconds;
    return BC_E_UNSUPPORTED;
}

const bc_owners *bc_search_owners(const bc_search *search)
{
    (void)search;
    return NULL;
}

void bc_leave_search(bc_search *search)
{
    (void)search;
}
