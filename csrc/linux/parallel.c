/* SPDX-License-Identifier: MIT
 *
 * Several threads for a walk over thousands of processes. What costs is that /proc
 * makes an entry for every descriptor that is looked at, which processors do side by
 * side.
 *
 * What is found goes through one lock; each thread counts for itself. The threads take
 * no signals (those are the caller's), and end before the function does.
 */
#include "../internal.h"
#include "linux.h"
#include "owners.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 8, WORTH_A_THREAD = 128, STACK_BYTES = 256 * 1024 };

typedef struct {
    bc__scan *scan; /* the caller's */
    const bc__pids *pids;
    bc__visit visit;
    atomic_size_t next;
    pthread_mutex_t lock;
} shared_walk;

void bc__lock(const bc__scan *scan)
{
    if (scan->lock != NULL) {
        (void)pthread_mutex_lock(scan->lock);
    }
}

void bc__unlock(const bc__scan *scan)
{
    if (scan->lock != NULL) {
        (void)pthread_mutex_unlock(scan->lock);
    }
}

/* From both ends by turns: what was started at boot has low pids and what was started
 * just now has high ones, and the sooner a holder is found the less is left to be
 * listed. */
static int32_t nth(const bc__pids *pids, size_t index)
{
    return pids->pids[index % 2 == 0 ? index / 2 : pids->count - 1 - index / 2];
}

static void *work(void *argument)
{
    shared_walk *shared = argument;
    bc_owners counts;
    bc__scan own = *shared->scan;
    size_t index;

    memset(&counts, 0, sizeof counts);
    own.owners = &counts;
    own.lock = &shared->lock;
    while ((index = atomic_fetch_add(&shared->next, 1)) < shared->pids->count) {
        shared->visit(&own, nth(shared->pids, index));
    }
    (void)pthread_mutex_lock(&shared->lock);
    shared->scan->owners->seen += counts.seen;
    shared->scan->owners->unreadable += counts.unreadable;
    shared->scan->owners->exhausted |= counts.exhausted;
    (void)pthread_mutex_unlock(&shared->lock);
    return NULL;
}

static size_t threads_for(size_t count)
{
    const size_t wanted = count / WORTH_A_THREAD + 1;
    long processors = wanted > 1 ? sysconf(_SC_NPROCESSORS_ONLN) : 1;
    size_t most = processors > 1 ? (size_t)processors : 1;
    most = most > MOST_THREADS ? MOST_THREADS : most;
    return wanted < most ? wanted : most;
}

/* Starts threads beside the caller's; returns how many there are. */
static size_t start(shared_walk *shared, pthread_t *threads, size_t wanted)
{
    pthread_attr_t attributes;
    sigset_t every, before;
    size_t count = 0;

    if (wanted == 0 || pthread_attr_init(&attributes) != 0) {
        return 0;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    (void)sigfillset(&every);
    (void)pthread_sigmask(SIG_BLOCK, &every, &before); /* a thread inherits it */
    while (count < wanted &&
           pthread_create(&threads[count], &attributes, work, shared) == 0) {
        count++; /* where no more may be made, those that are do it all */
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return count;
}

void bc__visit_all(bc__scan *scan, const bc__pids *pids, bc__visit visit)
{
    shared_walk shared = {.scan = scan, .pids = pids, .visit = visit};
    pthread_t threads[MOST_THREADS];
    size_t count;

    atomic_init(&shared.next, 0);
    if (pthread_mutex_init(&shared.lock, NULL) != 0) {
        for (size_t i = 0; i < pids->count; i++) {
            visit(scan, nth(pids, i));
        }
        return;
    }
    count = start(&shared, threads, threads_for(pids->count) - 1);
    (void)work(&shared);
    for (size_t i = 0; i < count; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    (void)pthread_mutex_destroy(&shared.lock);
}
