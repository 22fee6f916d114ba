/* SPDX-License-Identifier: MIT
 *
 * bc_find_owners() in a thread of its own, which may be left alone. The thread and who
 * began it share the search: the one that leaves last frees it.
 *
 * The thread takes no signals (those are the caller's).
 */
#include "../internal.h"
#include "linux.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STACK_BYTES = 256 * 1024, MOST_INODES = 1 << 28 };
/* Who sleeps is woken 50 microseconds late, a tenth of a walk: see wait_awake(). */
enum { AWAKE_NANOSECONDS = 200000 };
/* Most sockets have one holder: a second scan would cost as much as the first. */
enum { HOLDERS = 64, PROCESSES = 32, TEXT_BYTES = 32768 };

struct bc_search {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    atomic_int users; /* the thread, and who began it */
    atomic_int has_ended;
    int status;
    bc_turn *turn;
    bc_owners owners;
    size_t inode_count;
    uint64_t inodes[];
};

static void free_arrays(bc_owners *owners)
{
    free(owners->holders);
    free(owners->processes);
    free(owners->text);
    owners->holders = NULL;
    owners->processes = NULL;
    owners->text = NULL;
}

static int make_room(bc_owners *owners, size_t holders, size_t processes, size_t text)
{
    free_arrays(owners);
    owners->holders = calloc(holders, sizeof *owners->holders);
    owners->processes = calloc(processes, sizeof *owners->processes);
    owners->text = calloc(text, 1);
    owners->holder_capacity = holders;
    owners->process_capacity = processes;
    owners->text_capacity = text;
    return owners->holders != NULL && owners->processes != NULL && owners->text != NULL
               ? 0
               : -1;
}

/* Room for twice what was found, because processes come and go. */
static int grow(bc_owners *owners)
{
    return make_room(owners, 2 * owners->holder_count + HOLDERS,
                     2 * owners->process_count + PROCESSES,
                     2 * owners->text_count + TEXT_BYTES);
}

static void free_search(bc_search *search)
{
    free_arrays(&search->owners);
    bc_drop_turn(search->turn);
    (void)pthread_cond_destroy(&search->ended);
    (void)pthread_mutex_destroy(&search->lock);
    free(search);
}

/* Without the lock: in the child of a fork nobody may give it back. */
void bc_leave_search(bc_search *search)
{
    if (search != NULL && atomic_fetch_sub(&search->users, 1) == 1) {
        free_search(search);
    }
}

static void *work(void *argument)
{
    bc_search *search = argument;
    int status;

    bc__take_turn(search->turn);
    do {
        status = bc_find_owners(search->inodes, search->inode_count, &search->owners);
    } while (status == BC_E_TRUNCATED && grow(&search->owners) == 0);
    bc_give_turn(search->turn);
    (void)pthread_mutex_lock(&search->lock);
    search->status = status;
    atomic_store(&search->has_ended, 1);
    (void)pthread_cond_signal(&search->ended);
    (void)pthread_mutex_unlock(&search->lock);
    bc_leave_search(search);
    return NULL;
}

static int start(bc_search *search)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t every, before;
    int error = pthread_attr_init(&attributes);

    if (error != 0) {
        return error;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)sigfillset(&every);
    (void)pthread_sigmask(SIG_BLOCK, &every, &before); /* a thread inherits it */
    error = pthread_create(&thread, &attributes, work, search);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return error;
}

/* Condition variables wait by the wall clock else, which may be set meanwhile. */
static int init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    if (error != 0) {
        return error;
    }
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    error = pthread_cond_init(condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return error;
}

bc_search *bc_begin_search(bc_turn *turn, const uint64_t *inodes, size_t inode_count,
                           uint8_t ancestors)
{
    bc_search *search = NULL;

    if (inode_count <= MOST_INODES) {
        search = calloc(1, sizeof *search + inode_count * sizeof *inodes);
    }
    if (search == NULL) {
        return NULL;
    }
    if (pthread_mutex_init(&search->lock, NULL) != 0) {
        free(search);
        return NULL;
    }
    if (init_condition(&search->ended) != 0) {
        (void)pthread_mutex_destroy(&search->lock);
        free(search);
        return NULL;
    }
    memcpy(search->inodes, inodes, inode_count * sizeof *inodes);
    search->inode_count = inode_count;
    search->turn = turn;
    bc__share_turn(turn);
    atomic_init(&search->users, 2);
    search->owners.ancestors = ancestors;
    if (make_room(&search->owners, HOLDERS + 2 * inode_count, PROCESSES, TEXT_BYTES) !=
            0 ||
        start(search) != 0) {
        free_search(search);
        return NULL;
    }
    return search;
}

static int is_past(const struct timespec *time)
{
    const struct timespec now = bc__after(CLOCK_MONOTONIC, 0, 0);
    return now.tv_sec > time->tv_sec ||
           (now.tv_sec == time->tv_sec && now.tv_nsec >= time->tv_nsec);
}

/* A search that was begun ahead has ended, or is about to. Whoever else wants the
 * processor gets it. */
static void wait_awake(bc_search *search)
{
    const struct timespec until = bc__after(CLOCK_MONOTONIC, 0, AWAKE_NANOSECONDS);
    while (!atomic_load(&search->has_ended) && !is_past(&until)) {
        (void)sched_yield();
    }
}

int bc_wait_for_search(bc_search *search, uint32_t milliseconds)
{
    const struct timespec until = bc__after(CLOCK_MONOTONIC, milliseconds, 0);
    int status;

    wait_awake(search);
    (void)pthread_mutex_lock(&search->lock);
    while (!atomic_load(&search->has_ended) &&
           pthread_cond_timedwait(&search->ended, &search->lock, &until) == 0) {
    }
    status = atomic_load(&search->has_ended) ? search->status : BC_E_SYSTEM;
    (void)pthread_mutex_unlock(&search->lock);
    return status;
}

const bc_owners *bc_search_owners(const bc_search *search)
{
    return &search->owners;
}
