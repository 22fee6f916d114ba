/* SPDX-License-Identifier: MIT
 *
 * For systems where a walk over the processes borrows nothing: they need no turns.
 */
#include "../internal.h"

bc_turn *bc_new_turn(void)
{
    return NULL;
}

void bc_drop_turn(bc_turn *turn)
{
    (void)turn;
}

int bc_take_turn(bc_turn *turn, uint32_t milliseconds)
{
    (void)turn;
    (void)milliseconds;
    return BC_OK;
}

void bc_give_turn(bc_turn *turn)
{
    (void)turn;
}
