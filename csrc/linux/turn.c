/* SPDX-License-Identifier: MIT
 *
 * Walks over the processes, one at a time: a lock that who waits for a search and its
 * thread share, and that is freed by the last of them.
 */
#include "../internal.h"
#include "linux.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct bc_turn {
    pthread_mutex_t lock;
    atomic_int users;
};

struct timespec bc__after(clockid_t clock, uint32_t milliseconds, uint32_t nanoseconds)
{
    enum { SECOND = 1000000000 };
    struct timespec time;
    (void)clock_gettime(clock, &time);
    time.tv_sec += (time_t)(milliseconds / 1000);
    time.tv_nsec += (long)(milliseconds % 1000) * 1000000 + (long)nanoseconds;
    while (time.tv_nsec >= SECOND) {
        time.tv_sec++;
        time.tv_nsec -= SECOND;
    }
    return time;
}

bc_turn *bc_new_turn(void)
{
    bc_turn *turn = calloc(1, sizeof *turn);
    pthread_mutexattr_t attributes;
    int error;

    if (turn == NULL) {
        return NULL;
    }
    atomic_init(&turn->users, 1);
    error = pthread_mutexattr_init(&attributes);
    if (error == 0) {
        /* A signal handler may walk within a walk of its own thread. */
        (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
        error = pthread_mutex_init(&turn->lock, &attributes);
        (void)pthread_mutexattr_destroy(&attributes);
    }
    if (error != 0) {
        free(turn);
        return NULL;
    }
    return turn;
}

void bc__share_turn(bc_turn *turn)
{
    if (turn != NULL) {
        (void)atomic_fetch_add(&turn->users, 1);
    }
}

void bc_drop_turn(bc_turn *turn)
{
    if (turn != NULL && atomic_fetch_sub(&turn->users, 1) == 1) {
        (void)pthread_mutex_destroy(&turn->lock);
        free(turn);
    }
}

void bc__take_turn(bc_turn *turn)
{
    if (turn != NULL) {
        (void)pthread_mutex_lock(&turn->lock);
    }
}

int bc_take_turn(bc_turn *turn, uint32_t milliseconds)
{
    struct timespec until;

    if (turn == NULL) {
        return BC_OK;
    }
    until = bc__after(CLOCK_REALTIME, milliseconds, 0); /* pthread_mutex_timedlock(3) */
    return pthread_mutex_timedlock(&turn->lock, &until) == 0 ? BC_OK : BC_E_SYSTEM;
}

void bc_give_turn(bc_turn *turn)
{
    if (turn != NULL) {
        (void)pthread_mutex_unlock(&turn->lock);
    }
}
