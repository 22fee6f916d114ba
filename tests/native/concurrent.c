/* SPDX-License-Identifier: MIT
 *
 * Asks everything of the core by many threads at once, about sockets of its own, and
 * compares each answer with what is known; made to be run under ThreadSanitizer, ASan
 * and valgrind:
 *
 *   concurrent [ROUNDS [THREADS]]
 */
#include "internal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST_THREADS = 64,
    MOST_SECONDS = 60,
    CROWD = 90,
    HEIRS = 10,
    ROWS = 1024,
    HOLDERS = 256,
    TEXT = 1 << 18
};

/* What is there while the threads ask. */
typedef struct {
    int tcp, udp, local; /* descriptors */
    uint16_t tcp_port, udp_port;
    uint64_t tcp_inode, udp_inode, local_inode;
    char name[32]; /* abstract, without the NUL before it */
    int rounds;
    pthread_barrier_t start;
    atomic_int failed;
} world;

/* Each thread's own memory. */
typedef struct {
    bc_socket sockets[ROWS];
    bc_unix_socket names[ROWS];
    bc_holder holders[HOLDERS];
    bc_process processes[HOLDERS];
    bc_interface_address addresses[HOLDERS];
    char text[TEXT];
} room;

#define EXPECT(of, what)                                                               \
    do {                                                                               \
        if (!(what)) {                                                                 \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);   \
            atomic_fetch_add(&(of)->failed, 1);                                        \
        }                                                                              \
    } while (0)

static const uint8_t LOOPBACK[4] = {127, 0, 0, 1};

static bc_probe_result probe(uint16_t port)
{
    bc_probe_request request = {.local = {.family = BC_FAMILY_INET, .port = port},
                                .protocol = BC_PROTOCOL_TCP,
                                .type = BC_TYPE_STREAM,
                                .reuse_address = -1,
                                .reuse_port = -1,
                                .exclusive = -1,
                                .v6only = -1,
                                .freebind = -1};
    bc_probe_result result;
    memcpy(request.local.address, LOOPBACK, sizeof LOOPBACK);
    if (bc_probe(&request, &result) != BC_OK) {
        abort();
    }
    return result;
}

static void probe_both(world *of, room *own)
{
    bc_probe_result held = probe(of->tcp_port);
    bc_probe_result any = probe(0);
    (void)own;
    EXPECT(of, held.error.step == BC_STEP_BIND && held.error.code == EADDRINUSE);
    EXPECT(of, any.error.step == BC_STEP_NONE && any.bound.port != 0);
    EXPECT(of, any.bound.port != of->tcp_port);
}

static void expect_one(world *of, room *own, int32_t protocol, uint16_t port,
                       uint64_t inode, int state)
{
    bc_listing listing = {.tries_bound = 0};
    size_t count = 0;
    int status = bc_list_sockets(protocol, port, own->sockets, ROWS, &count, &listing);
    EXPECT(of, status == BC_OK && count == 1);
    EXPECT(of, own->sockets[0].inode == inode && own->sockets[0].state == state);
    EXPECT(of, own->sockets[0].local.port == port);
}

static void list_sockets(world *of, room *own)
{
    expect_one(of, own, BC_PROTOCOL_TCP, of->tcp_port, of->tcp_inode, BC_STATE_LISTEN);
    expect_one(of, own, BC_PROTOCOL_UDP, of->udp_port, of->udp_inode, BC_STATE_CLOSE);
}

static void list_names(world *of, room *own)
{
    bc_error error;
    size_t length = strlen(of->name) + 1;
    size_t count = 0;
    int found = 0;
    int status = bc_list_unix_sockets(own->names, ROWS, &count, &error);
    EXPECT(of, status == BC_OK);
    for (size_t i = 0; i < count && i < ROWS; i++) {
        found += own->names[i].inode == of->local_inode &&
                 own->names[i].length == length && own->names[i].name[0] == '\0' &&
                 memcmp(own->names[i].name + 1, of->name, length - 1) == 0;
    }
    EXPECT(of, found == 1);
}

static bc_owners owners_in(room *own)
{
    return (bc_owners){.holders = own->holders,
                       .holder_capacity = HOLDERS,
                       .processes = own->processes,
                       .process_capacity = HOLDERS,
                       .text = own->text,
                       .text_capacity = TEXT};
}

static int holds(const bc_owners *found, uint64_t inode, int descriptor)
{
    for (size_t i = 0; i < found->holder_count; i++) {
        const bc_holder *one = &found->holders[i];
        if (one->inode == inode && one->fd == descriptor && one->pid == getpid()) {
            return 1;
        }
    }
    return 0;
}

static void find_owners(world *of, room *own)
{
    bc_owners found = owners_in(own);
    int ascending = of->tcp_inode < of->udp_inode;
    const uint64_t inodes[] = {ascending ? of->tcp_inode : of->udp_inode,
                               ascending ? of->udp_inode : of->tcp_inode};
    EXPECT(of, bc_find_owners(inodes, 2, &found) == BC_OK && found.available);
    EXPECT(of, holds(&found, of->tcp_inode, of->tcp));
    EXPECT(of, holds(&found, of->udp_inode, of->udp));
    EXPECT(of, found.process_count == 1 + HEIRS);
    EXPECT(of, own->processes[0].pid == getpid());
}

/* Left at once, or its answer read: in both cases it is freed once, by who is last. */
static void search(world *of, room *own)
{
    bc_turn *turn = bc_new_turn();
    bc_search *left = bc_begin_search(turn, &of->tcp_inode, 1, 2);
    bc_search *kept = bc_begin_search(turn, &of->tcp_inode, 1, 2);
    (void)own;
    bc_leave_search(left);
    EXPECT(of, bc_take_turn(turn, 600000) == BC_OK);
    bc_give_turn(turn);
    bc_drop_turn(turn);
    EXPECT(of, left != NULL && kept != NULL);
    if (kept != NULL) {
        EXPECT(of, bc_wait_for_search(kept, 600000) == BC_OK);
        EXPECT(of, holds(bc_search_owners(kept), of->tcp_inode, of->tcp));
    }
    bc_leave_search(kept);
}

static void read_process(world *of, room *own)
{
    static const char NAME[] = "concurrent"; /* or valgrind's */
    bc_owners found = owners_in(own);
    EXPECT(of, bc_read_process(getpid(), &found) == BC_OK && found.process_count == 1);
    EXPECT(of, own->processes[0].pid == getpid());
    EXPECT(of, own->processes[0].parent == getppid());
    EXPECT(of, own->processes[0].uid == geteuid());
    EXPECT(of, own->processes[0].command_length >= sizeof NAME);
    EXPECT(of, bc_read_process(INT32_MAX, &found) == BC_E_SYSTEM);
}

static void read_facts(world *of, room *own)
{
    bc_facts facts;
    bc_error error;
    size_t count = 0;
    int found = 0;
    EXPECT(of, bc_read_facts(&facts) == BC_OK && facts.euid == geteuid());
    EXPECT(of, bc_list_addresses(own->addresses, HOLDERS, &count, &error) == BC_OK);
    for (size_t i = 0; i < count && i < HOLDERS; i++) {
        found += memcmp(own->addresses[i].address.address, LOOPBACK, 4) == 0 &&
                 own->addresses[i].address.family == BC_FAMILY_INET;
    }
    EXPECT(of, found > 0);
}

static void name_things(world *of, room *own)
{
    bc_endpoint found[4];
    bc_error error;
    size_t count = 0;
    EXPECT(of, strcmp(bc_error_name(BC_DOMAIN_ERRNO, EADDRINUSE), "EADDRINUSE") == 0);
    EXPECT(of, bc_error_message(BC_DOMAIN_ERRNO, EADDRINUSE, own->text, TEXT) == BC_OK);
    EXPECT(of, strcmp(own->text, "Address already in use") == 0);
    EXPECT(of, bc_error_message(BC_DOMAIN_EAI, -2, own->text, TEXT) == BC_OK);
    EXPECT(of, bc_resolve("127.0.0.1", BC_FAMILY_INET, found, 4, &count, &error) == 0);
    EXPECT(of, count == 1 && memcmp(found[0].address, LOOPBACK, 4) == 0);
}

typedef void (*question)(world *of, room *own);
static const question QUESTIONS[] = {probe_both, list_sockets, list_names, find_owners,
                                     search,     read_process, read_facts, name_things};

typedef struct {
    world *of;
    size_t number;
} asker;

/* Each thread begins elsewhere, so that all the questions are asked at once. */
static void *ask(void *argument)
{
    const asker *self = argument;
    size_t questions = sizeof QUESTIONS / sizeof QUESTIONS[0];
    size_t last = self->number + (size_t)self->of->rounds * questions;
    room *own = malloc(sizeof *own);
    (void)pthread_barrier_wait(&self->of->start);
    EXPECT(self->of, own != NULL);
    for (size_t i = self->number; own != NULL && i < last; i++) {
        QUESTIONS[i % questions](self->of, own);
    }
    free(own);
    return NULL;
}

static uint64_t inode_of(int descriptor)
{
    struct stat file;
    return fstat(descriptor, &file) == 0 ? (uint64_t)file.st_ino : 0;
}

/* On a port that the kernel gives; -1 where that is refused. */
static int hold_port(int type, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int made = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    memcpy(&address.sin_addr, LOOPBACK, sizeof LOOPBACK);
    if (made < 0 || bind(made, (const struct sockaddr *)&address, length) != 0 ||
        (type == SOCK_STREAM && listen(made, 1) != 0) ||
        getsockname(made, (struct sockaddr *)&address, &length) != 0) {
        perror("a socket of one's own");
        return -1;
    }
    *port = ntohs(address.sin_port);
    return made;
}

static int hold_name(char *name, size_t capacity)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int length = snprintf(name, capacity, "bindcheck-concurrent-%d", (int)getpid());
    memcpy(address.sun_path + 1, name, (size_t)length);
    length += (int)sizeof address.sun_family + 1;
    if (made < 0 ||
        bind(made, (const struct sockaddr *)&address, (socklen_t)length) != 0) {
        perror("a name of one's own");
        return -1;
    }
    return made;
}

/* Processes that do nothing, so that several threads look at them (linux/parallel.c).
 * They end when what is returned is closed; -1 where there cannot be so many. */
static int gather_crowd(int count)
{
    int ends[2];
    if (pipe(ends) != 0) {
        perror("pipe");
        return -1;
    }
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        char none;
        if (child < 0) {
            perror("fork");
            return -1;
        }
        if (child == 0) {
            (void)close(ends[1]);
            _exit(read(ends[0], &none, sizeof none) == 0 ? 0 : 1);
        }
    }
    (void)close(ends[0]);
    return ends[1];
}

static int open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    while (folder != NULL && readdir(folder) != NULL) {
        count++;
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return count;
}

static void ask_at_once(world *of, size_t count)
{
    pthread_t threads[MOST_THREADS];
    asker askers[MOST_THREADS];
    if (pthread_barrier_init(&of->start, NULL, (unsigned)count) != 0) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        askers[i] = (asker){of, i};
        if (pthread_create(&threads[i], NULL, ask, &askers[i]) != 0) {
            abort(); /* the others would wait for it */
        }
    }
    for (size_t i = 0; i < count; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    (void)pthread_barrier_destroy(&of->start);
}

int main(int argc, char **argv)
{
    world all = {.rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 10};
    size_t count = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 16;
    int crowd = gather_crowd(CROWD);
    int heirs, before;
    all.tcp = hold_port(SOCK_STREAM, &all.tcp_port);
    all.udp = hold_port(SOCK_DGRAM, &all.udp_port);
    all.local = hold_name(all.name, sizeof all.name);
    heirs = gather_crowd(HEIRS); /* they inherit the sockets */
    if (crowd < 0 || heirs < 0 || all.tcp < 0 || all.udp < 0 || all.local < 0 ||
        all.rounds < 1 || count < 1 || count > MOST_THREADS) {
        return 2;
    }
    all.tcp_inode = inode_of(all.tcp);
    all.udp_inode = inode_of(all.udp);
    all.local_inode = inode_of(all.local);
    before = open_descriptors();
    ask_at_once(&all, count);
    /* Searches that were left come to their end. */
    for (time_t ends = time(NULL) + MOST_SECONDS;
         open_descriptors() != before && time(NULL) < ends;) {
        (void)sched_yield();
    }
    EXPECT(&all, open_descriptors() == before);
    (void)close(all.tcp);
    (void)close(all.udp);
    (void)close(all.local);
    (void)close(crowd);
    (void)close(heirs);
    while (wait(NULL) > 0) {
    }
    printf("%zu threads, %d rounds, %d wrong\n", count, all.rounds,
           atomic_load(&all.failed));
    return atomic_load(&all.failed) == 0 ? 0 : 1;
}
