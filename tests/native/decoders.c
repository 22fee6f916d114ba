/* SPDX-License-Identifier: MIT
 *
 * Runs the decoders on files, with nothing but csrc/decode, so that they can be tried
 * on any processor. A file is named DECODER-VARIANT-ORDER.bin, its order is le or be:
 *
 *   decoders FILE...           prints what is decoded, a row a line
 *   decoders --check FILE...   decodes every beginning of each file, and each with some
 *                              bytes changed; prints how often
 *   decoders --fuzzed DECODER FILE...   decodes what a fuzzer made (tests/fuzz)
 */
#include "bindcheck.h"
#include "decode/procargs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 64, LARGEST = 1 << 20, ROUNDS = 500, CONTROL = 2, KNOWN_PORT = 8080 };

typedef struct {
    const uint8_t *bytes;
    size_t length;
    const char *variant;
    int big_endian;
    uint16_t port; /* 0: all */
    size_t capacity;
    int prints;
} job;

static int is_variant(const job *of, const char *text)
{
    return strncmp(of->variant, text, strlen(text)) == 0;
}

/* Exactly as many as there is room for, so that a tool sees a row too many. */
static void *rows_of(const job *of, size_t size)
{
    void *rows = calloc(of->capacity, size);
    if (rows == NULL && of->capacity > 0) {
        abort();
    }
    return rows;
}

static size_t shown(const job *of, size_t count)
{
    if (!of->prints) {
        return 0;
    }
    return count < of->capacity ? count : of->capacity;
}

static void print_hex(const char *name, const uint8_t *bytes, size_t length)
{
    printf(" %s=", name);
    for (size_t i = 0; i < length; i++) {
        printf("%02x", (unsigned)bytes[i]);
    }
}

static void print_number(const char *name, uint64_t value)
{
    printf(" %s=%llu", name, (unsigned long long)value);
}

static void print_signed(const char *name, int64_t value)
{
    printf(" %s=%lld", name, (long long)value);
}

static void print_endpoint(const char *name, const bc_endpoint *one)
{
    printf(" %s=%u/%u/%u/", name, (unsigned)one->family, (unsigned)one->port,
           (unsigned)one->scope_id);
    for (size_t i = 0; i < sizeof one->address; i++) {
        printf("%02x", (unsigned)one->address[i]);
    }
}

static void print_socket(const bc_socket *row)
{
    printf("socket");
    print_number("cookie", row->cookie);
    print_number("inode", row->inode);
    print_number("cgroup_id", row->cgroup_id);
    print_number("created", row->created);
    print_endpoint("local", &row->local);
    print_endpoint("remote", &row->remote);
    print_number("uid", row->uid);
    print_number("expires_ms", row->expires_ms);
    print_number("device", row->device);
    print_signed("pid", row->pid);
    print_number("service_tag", row->service_tag);
    print_number("protocol", row->protocol);
    print_number("state", row->state);
    print_number("timer", row->timer);
    print_signed("v6only", row->v6only);
    print_number("opened", row->opened);
    print_number("source", row->source);
    print_signed("reuse_address", row->reuse_address);
    print_signed("reuse_port", row->reuse_port);
    printf("\n");
}

static void print_end(const job *of, int status, size_t count,
                      const bc_decode_status *told)
{
    if (!of->prints) {
        return;
    }
    printf("end");
    print_signed("status", status);
    print_number("count", count);
    if (told != NULL) {
        print_number("requests", told->requests);
        print_signed("code", told->code);
        print_number("state", told->state);
    }
    printf("\n");
}

static void print_sockets(const job *of, bc_socket *rows, int status, size_t count,
                          const bc_decode_status *told)
{
    for (size_t i = 0; i < shown(of, count); i++) {
        print_socket(&rows[i]);
    }
    print_end(of, status, count, told);
    free(rows);
}

static int32_t protocol_of(const job *of)
{
    return is_variant(of, "udp") ? BC_PROTOCOL_UDP : BC_PROTOCOL_TCP;
}

static void sock_diag(const job *of)
{
    bc_socket *rows = rows_of(of, sizeof *rows);
    bc_decode_status told = {0};
    size_t count = 0;
    int status =
        bc_decode_sock_diag(of->bytes, of->length, of->big_endian, protocol_of(of),
                            of->port, rows, of->capacity, &count, &told);
    print_sockets(of, rows, status, count, &told);
}

static void pcblist(const job *of)
{
    bc_socket *rows = rows_of(of, sizeof *rows);
    bc_decode_status told = {0};
    size_t count = 0;
    int status =
        bc_decode_pcblist(of->bytes, of->length, of->big_endian, protocol_of(of),
                          of->port, rows, of->capacity, &count, &told);
    print_sockets(of, rows, status, count, &told);
}

static void procnet(const job *of)
{
    bc_socket *rows = rows_of(of, sizeof *rows);
    bc_decode_status told = {0};
    size_t count = 0;
    size_t consumed = 0;
    int family = strchr(of->variant, '6') != NULL ? BC_FAMILY_INET6 : BC_FAMILY_INET;
    int status = bc_decode_proc_net(of->bytes, of->length, of->big_endian, family,
                                    protocol_of(of), of->port, rows, of->capacity,
                                    &count, &consumed, &told);
    print_sockets(of, rows, status, count, &told);
}

static void ip_helper(const job *of)
{
    static const char *const LAYOUTS[] = {"tcp4", "tcp6",   "udp4",
                                          "udp6", "bound4", "bound6"};
    bc_socket *rows = rows_of(of, sizeof *rows);
    size_t count = 0;
    int layout = BC_TABLE_TCP4;
    int status;
    for (int i = 0; i < (int)(sizeof LAYOUTS / sizeof LAYOUTS[0]); i++) {
        layout = is_variant(of, LAYOUTS[i]) ? BC_TABLE_TCP4 + i : layout;
    }
    status = bc_decode_ip_helper(of->bytes, of->length, layout, of->port, rows,
                                 of->capacity, &count);
    print_sockets(of, rows, status, count, NULL);
}

static void unix_diag(const job *of)
{
    bc_unix_socket *rows = rows_of(of, sizeof *rows);
    bc_decode_status told = {0};
    size_t count = 0;
    int status = bc_decode_unix_diag(of->bytes, of->length, of->big_endian, rows,
                                     of->capacity, &count, &told);
    for (size_t i = 0; i < shown(of, count); i++) {
        printf("unix");
        print_number("cookie", rows[i].cookie);
        print_number("inode", rows[i].inode);
        print_number("file_device", rows[i].file_device);
        print_number("file_inode", rows[i].file_inode);
        print_number("uid", rows[i].uid);
        print_number("type", rows[i].type);
        print_number("state", rows[i].state);
        print_number("length", rows[i].length);
        print_hex("name", rows[i].name, rows[i].length);
        printf("\n");
    }
    print_end(of, status, count, &told);
    free(rows);
}

static void rtnl_link(const job *of)
{
    bc_tunnel *rows = rows_of(of, sizeof *rows);
    bc_decode_status told = {0};
    size_t count = 0;
    int status = bc_decode_links(of->bytes, of->length, of->big_endian, rows,
                                 of->capacity, &count, &told);
    for (size_t i = 0; i < shown(of, count); i++) {
        printf("tunnel");
        print_hex("name", (const uint8_t *)rows[i].name, sizeof rows[i].name);
        print_hex("kind", (const uint8_t *)rows[i].kind, sizeof rows[i].kind);
        print_number("port", rows[i].port);
        printf("\n");
    }
    print_end(of, status, count, &told);
    free(rows);
}

static void procstat(const job *of)
{
    bc_proc_stat found;
    int status = bc_decode_proc_stat(of->bytes, of->length, &found);
    if (of->prints) {
        printf("process");
        print_number("start_ticks", found.start_ticks);
        print_signed("pid", found.pid);
        print_signed("parent", found.parent);
        print_signed("session", found.session);
        print_number("flags", found.flags);
        print_number("threads", found.threads);
        print_number("state", found.state);
        printf("\n");
    }
    print_end(of, status, 1, NULL);
}

static void uring_files(const job *of)
{
    uint64_t *rows = rows_of(of, sizeof *rows);
    int32_t section = 0;
    size_t count = 0;
    size_t consumed = 0;
    int status = bc_decode_uring_files(of->bytes, of->length, &section, rows,
                                       of->capacity, &count, &consumed);
    for (size_t i = 0; i < shown(of, count); i++) {
        printf("file");
        print_number("inode", rows[i]);
        printf("\n");
    }
    print_end(of, status, count, NULL);
    free(rows);
}

static void print_range(const bc_port_range *range)
{
    printf("range");
    print_number("first", range->first);
    print_number("last", range->last);
    print_number("kind", range->kind);
    printf("\n");
}

static void port_bitmap(const job *of)
{
    bc_port_range *rows = rows_of(of, sizeof *rows);
    size_t count = 0;
    int status =
        bc_decode_port_bitmap(of->bytes, of->length, rows, of->capacity, &count);
    for (size_t i = 0; i < shown(of, count); i++) {
        print_range(&rows[i]);
    }
    print_end(of, status, count, NULL);
    free(rows);
}

static void excluded_range(const job *of)
{
    bc_port_range range;
    int status = bc_decode_excluded_range((const char *)of->bytes, of->length, &range);
    if (of->prints && status == BC_OK) {
        print_range(&range);
    }
    print_end(of, status, status == BC_OK ? 1 : 0, NULL);
}

static void procargs(const job *of)
{
    const uint8_t *arguments = NULL;
    size_t length = 0;
    int status =
        bc__decode_procargs(of->bytes, of->length, of->big_endian, &arguments, &length);
    /* What it points at is within the bytes. */
    if (status == BC_OK && length > 0 &&
        (arguments < of->bytes || arguments + length > of->bytes + of->length)) {
        abort();
    }
    if (of->prints && status == BC_OK) {
        printf("arguments");
        print_hex("text", arguments, length);
        printf("\n");
    }
    print_end(of, status, status == BC_OK ? 1 : 0, NULL);
}

static const struct {
    const char *name;
    void (*run)(const job *of);
} DECODERS[] = {
    {"sock_diag", sock_diag},
    {"unix_diag", unix_diag},
    {"procnet", procnet},
    {"procstat", procstat},
    {"uring_files", uring_files},
    {"rtnl_link", rtnl_link},
    {"pcblist", pcblist},
    {"port_bitmap", port_bitmap},
    {"procargs", procargs},
    {"ip_helper", ip_helper},
    {"excluded_range", excluded_range},
};

enum { COUNT = sizeof DECODERS / sizeof DECODERS[0] };

static unsigned long decoded;

/* From a copy that has exactly this length. */
static void run(size_t decoder, job of, size_t length)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, of.bytes, length);
    of.bytes = copy;
    of.length = length;
    DECODERS[decoder].run(&of);
    free(copy);
    decoded++;
}

static void check(size_t decoder, job of, uint8_t *bytes)
{
    uint32_t random = 0x9E3779B9U; /* xorshift32 */
    size_t whole = of.length;
    of.prints = 0;
    for (size_t length = 0; length <= whole; length++) {
        of.capacity = length % 3;
        run(decoder, of, length);
    }
    for (int i = 0; i < ROUNDS && whole > 0; i++) {
        uint8_t saved[4];
        size_t places[4];
        for (int j = 0; j < 4; j++) {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            places[j] = random % whole;
            saved[j] = bytes[places[j]];
            bytes[places[j]] = (uint8_t)(random >> 24);
        }
        of.capacity = (size_t)i % 3;
        run(decoder, of, whole);
        for (int j = 3; j >= 0; j--) {
            bytes[places[j]] = saved[j];
        }
    }
}

/* The decoder that a text names up to `end`, or COUNT. */
static size_t decoder_named(const char *text, char end)
{
    size_t i = 0;
    for (; i < COUNT; i++) {
        size_t length = strlen(DECODERS[i].name);
        if (strncmp(text, DECODERS[i].name, length) == 0 && text[length] == end) {
            break;
        }
    }
    return i;
}

/* The first byte chooses the byte order, the port and the variant, the second one the
 * room. */
static void decode_fuzzed(size_t decoder, const uint8_t *bytes, size_t length)
{
    static const char *const VARIANTS[] = {"tcp4", "tcp6",   "udp4",   "udp6",
                                           "tcp4", "bound4", "bound6", "udp6"};
    job of = {.prints = 0};
    if (length < CONTROL) {
        return;
    }
    of.bytes = bytes + CONTROL;
    of.big_endian = bytes[0] & 1;
    of.port = (bytes[0] & 2) != 0 ? KNOWN_PORT : 0;
    of.variant = VARIANTS[bytes[0] >> 2 & 7];
    of.capacity = bytes[1];
    run(decoder, of, length - CONTROL);
}

/* How many bytes a file has; LARGEST + 1 where it cannot be read. */
static size_t read_whole(const char *path, uint8_t *bytes)
{
    FILE *file = fopen(path, "rb");
    size_t length;
    if (file == NULL) {
        (void)fprintf(stderr, "%s cannot be read\n", path);
        return LARGEST + 1;
    }
    length = fread(bytes, 1, LARGEST, file);
    (void)fclose(file);
    return length;
}

static int decode_file(const char *path, int checks)
{
    static uint8_t bytes[LARGEST];
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    size_t decoder = decoder_named(name, '-');
    job of = {.bytes = bytes, .capacity = ROWS, .prints = 1};

    if (decoder == COUNT) {
        (void)fprintf(stderr, "%s: no decoder has this name\n", name);
        return 1;
    }
    of.length = read_whole(path, bytes);
    if (of.length > LARGEST) {
        return 1;
    }
    of.big_endian = strstr(name, "-be.") != NULL;
    of.variant = name + strlen(DECODERS[decoder].name) + 1;
    if (checks) {
        check(decoder, of, bytes);
        of.big_endian = !of.big_endian;
        check(decoder, of, bytes);
    } else {
        printf("%s\n", name);
        run(decoder, of, of.length);
    }
    return 0;
}

static int decode_fuzzed_files(const char *decoder, int count, char **paths)
{
    static uint8_t bytes[LARGEST];
    size_t chosen = decoder_named(decoder, '\0');
    if (chosen == COUNT) {
        (void)fprintf(stderr, "%s: no decoder has this name\n", decoder);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        size_t length = read_whole(paths[i], bytes);
        if (length > LARGEST) {
            return 1;
        }
        decode_fuzzed(chosen, bytes, length);
    }
    return 0;
}

int main(int argc, char **argv)
{
    int checks = argc > 1 && strcmp(argv[1], "--check") == 0;
    int fuzzed = argc > 2 && strcmp(argv[1], "--fuzzed") == 0;
    int failed = fuzzed ? decode_fuzzed_files(argv[2], argc - 3, argv + 3) : 0;
    for (int i = 1 + checks; i < argc && !fuzzed; i++) {
        failed |= decode_file(argv[i], checks);
    }
    if (checks || fuzzed) {
        printf("decoded %lu\n", decoded);
    }
    return failed;
}
