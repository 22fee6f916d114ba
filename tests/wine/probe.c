/* SPDX-License-Identifier: MIT
 *
 * The C core and its Windows backend as a program: it reads commands from standard
 * input, a line each, and answers each with a line of JSON. For tests that drive it
 * under Wine. Sockets that it holds are Winsock's own, not the core's.
 */
#include "../../csrc/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELD = 64, ROWS = 512, LINE = 512 };

typedef struct {
    char address[64];
    int port, type, listens, reuse_address, exclusive, v6only;
} wanted;

static SOCKET held[HELD];

/* ADDRESS PORT TYPE LISTEN REUSEADDR EXCLUSIVE V6ONLY; -1: the option is not set. */
static int read_wanted(const char *text, wanted *out)
{
    return sscanf(text, "%63s %d %d %d %d %d %d", out->address, &out->port, &out->type,
                  &out->listens, &out->reuse_address, &out->exclusive,
                  &out->v6only) == 7;
}

static int to_endpoint(const wanted *want, bc_endpoint *out)
{
    memset(out, 0, sizeof *out);
    out->port = (uint16_t)want->port;
    out->family = strchr(want->address, ':') != NULL ? BC_FAMILY_INET6 : BC_FAMILY_INET;
    return InetPtonA(out->family == BC_FAMILY_INET ? AF_INET : AF_INET6, want->address,
                     out->address) == 1;
}

static void print_text(const char *text)
{
    putchar('"');
    for (const char *at = text; *at != '\0'; at++) {
        unsigned byte = (unsigned char)*at;
        if (byte < 0x20 || byte == '"' || byte == '\\') {
            printf("\\u%04x", byte);
        } else {
            putchar((int)byte);
        }
    }
    putchar('"');
}

static void print_address(const bc_endpoint *endpoint)
{
    char text[64] = "";
    int family = endpoint->family == BC_FAMILY_INET ? AF_INET : AF_INET6;
    (void)InetNtopA(family, endpoint->address, text, sizeof text);
    print_text(text);
}

static void print_error(int status, const bc_error *error)
{
    printf("{\"status\": %d, \"domain\": %d, \"step\": %d, \"option\": %d, \"code\": "
           "%" PRId32,
           status, error->domain, error->step, error->option, error->code);
}

static void probe(const char *text)
{
    wanted want;
    bc_probe_request request;
    bc_probe_result result;
    int status;
    memset(&request, 0, sizeof request);
    if (!read_wanted(text, &want) || !to_endpoint(&want, &request.local)) {
        puts("{\"usage\": true}");
        return;
    }
    request.type = (uint8_t)want.type;
    request.protocol = want.type == BC_TYPE_STREAM ? BC_PROTOCOL_TCP : BC_PROTOCOL_UDP;
    request.listen = (uint8_t)want.listens;
    request.backlog = 1;
    request.reuse_address = (int8_t)want.reuse_address;
    request.exclusive = (int8_t)want.exclusive;
    request.v6only = (int8_t)want.v6only;
    request.reuse_port = request.freebind = -1;
    status = bc_probe(&request, &result);
    print_error(status, &result.error);
    printf(", \"port\": %d}\n", result.bound.port);
}

static int set(SOCKET one, int level, int option, int value)
{
    return setsockopt(one, level, option, (const char *)&value, sizeof value);
}

/* The code of the call that failed; 0 when all worked. */
static int open_held(const wanted *want, SOCKET *out, int *port)
{
    struct sockaddr_storage address;
    bc_endpoint endpoint;
    int length;
    int family = strchr(want->address, ':') != NULL ? AF_INET6 : AF_INET;
    SOCKET one = INVALID_SOCKET;
    if (!to_endpoint(want, &endpoint)) {
        return -1;
    }
    one = WSASocketW(family, want->type == BC_TYPE_STREAM ? SOCK_STREAM : SOCK_DGRAM, 0,
                     NULL, 0, WSA_FLAG_OVERLAPPED);
    length = bc__to_sockaddr(&endpoint, &address);
    *out = one;
    if (one == INVALID_SOCKET ||
        (want->reuse_address >= 0 &&
         set(one, SOL_SOCKET, SO_REUSEADDR, want->reuse_address) != 0) ||
        (want->exclusive >= 0 &&
         set(one, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, want->exclusive) != 0) ||
        (want->v6only >= 0 && set(one, IPPROTO_IPV6, IPV6_V6ONLY, want->v6only) != 0) ||
        bind(one, (struct sockaddr *)&address, length) != 0 ||
        (want->listens && listen(one, 1) != 0)) {
        return WSAGetLastError();
    }
    length = sizeof address;
    if (getsockname(one, (struct sockaddr *)&address, &length) != 0 ||
        bc__from_sockaddr((struct sockaddr *)&address, length, &endpoint) == 0) {
        return WSAGetLastError();
    }
    *port = endpoint.port;
    return 0;
}

static void hold(const char *text)
{
    wanted want;
    int port = 0;
    int code;
    size_t slot = 0;
    while (slot < HELD - 1 && held[slot] != INVALID_SOCKET) {
        slot++;
    }
    if (!read_wanted(text, &want)) {
        puts("{\"usage\": true}");
        return;
    }
    code = open_held(&want, &held[slot], &port);
    if (code != 0 && held[slot] != INVALID_SOCKET) {
        (void)closesocket(held[slot]);
        held[slot] = INVALID_SOCKET;
    }
    printf("{\"code\": %d, \"slot\": %d, \"port\": %d}\n", code, (int)slot, port);
}

static void release(const char *text)
{
    int slot = atoi(text);
    if (slot >= 0 && slot < HELD && held[slot] != INVALID_SOCKET) {
        (void)closesocket(held[slot]);
        held[slot] = INVALID_SOCKET;
    }
    puts("{}");
}

static void list(const char *text)
{
    static bc_socket rows[ROWS];
    bc_listing listing;
    int protocol = 0;
    int port = 0;
    int room = ROWS;
    size_t count = 0;
    int status;
    (void)sscanf(text, "%d %d %d", &protocol, &port, &room);
    room = room > ROWS ? ROWS : room;
    status =
        bc_list_sockets(protocol, (uint16_t)port, rows, (size_t)room, &count, &listing);
    printf(
        "{\"status\": %d, \"count\": %d, \"source\": %d, \"bound\": %d, \"refused\": "
        "%" PRId32 ", \"rows\": [",
        status, (int)count, listing.source, listing.bound, listing.refused.code);
    for (size_t i = 0; i < count && i < (size_t)room; i++) {
        printf("%s{\"address\": ", i > 0 ? ", " : "");
        print_address(&rows[i].local);
        printf(", \"port\": %d, \"state\": %d, \"pid\": %" PRId32
               ", \"protocol\": %d, \"created\": %" PRIu64 ", \"remote_port\": %d}",
               rows[i].local.port, rows[i].state, rows[i].pid, rows[i].protocol,
               rows[i].created, rows[i].remote.port);
    }
    puts("]}");
}

static void message(const char *text)
{
    char out[1024] = "";
    int domain = 0;
    int code = 0;
    int room = sizeof out;
    int status;
    const char *name;
    const char *reference;
    (void)sscanf(text, "%d %d %d", &domain, &code, &room);
    status = bc_error_message(domain, code, out, (size_t)room);
    name = bc_error_name(domain, code);
    reference = bc_error_reference(domain, code);
    printf("{\"status\": %d, \"text\": ", status);
    print_text(out);
    printf(", \"name\": ");
    print_text(name != NULL ? name : "");
    printf(", \"reference\": ");
    print_text(reference != NULL ? reference : "");
    puts("}");
}

static void facts(void)
{
    bc_facts told;
    int status = bc_read_facts(&told);
    printf("{\"status\": %d, \"elevated\": %" PRId32 ", \"euid\": %" PRIu32
           ", \"ipv6\": %" PRId32 ", \"privileged\": %" PRId32 ", \"v6only\": %" PRId32
           "}\n",
           status, told.elevated, told.euid, told.ipv6_available,
           told.unprivileged_port_start, told.bind_v6only);
}

static void addresses(void)
{
    static bc_interface_address rows[ROWS];
    bc_error error;
    size_t count = 0;
    int status = bc_list_addresses(rows, ROWS, &count, &error);
    printf("{\"status\": %d, \"code\": %" PRId32 ", \"rows\": [", status, error.code);
    for (size_t i = 0; i < count && i < ROWS; i++) {
        printf("%s{\"address\": ", i > 0 ? ", " : "");
        print_address(&rows[i].address);
        printf(", \"interface\": ");
        print_text(rows[i].interface);
        printf(", \"index\": %" PRIu32 ", \"up\": %d, \"prefix\": %d}", rows[i].index,
               rows[i].up, rows[i].prefix);
    }
    puts("]}");
}

static void kept_ports(const char *text)
{
    static bc_port_range rows[ROWS];
    bc_error error;
    size_t count = 0;
    int status = bc_list_kept_ports(atoi(text), rows, ROWS, &count, &error);
    printf("{\"status\": %d, \"code\": %" PRId32 ", \"rows\": [", status, error.code);
    for (size_t i = 0; i < count && i < ROWS; i++) {
        printf("%s[%d, %d, %d]", i > 0 ? ", " : "", rows[i].first, rows[i].last,
               rows[i].kind);
    }
    puts("]}");
}

/* A unix socket; what a bind makes is removed. */
static void unix_name(const char *text)
{
    bc_name_request request;
    bc_name_result result;
    int status;
    memset(&request, 0, sizeof request);
    request.family = BC_FAMILY_UNIX;
    request.type = BC_TYPE_STREAM;
    request.length = (uint32_t)strlen(text);
    memcpy(request.name, text, request.length);
    status = bc_probe_name(&request, &result);
    (void)DeleteFileA(text);
    print_error(status, &result.error);
    puts("}");
}

/* Calls that cannot work, and what Winsock says of them. */
static void misuse(const char *text)
{
    wanted want = {"127.0.0.1", 0, BC_TYPE_STREAM, 0, -1, -1, -1};
    struct sockaddr_in address;
    SOCKET one = INVALID_SOCKET;
    int port = 0;
    int failed = 0;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (strcmp(text, "twice") == 0) {
        (void)open_held(&want, &one, &port);
        failed = bind(one, (struct sockaddr *)&address, sizeof address);
    } else if (strcmp(text, "unbound") == 0) {
        one = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, 0);
        failed = listen(one, 1);
    } else if (strcmp(text, "short") == 0) {
        one = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, 0);
        failed = bind(one, (struct sockaddr *)&address, 2);
    } else {
        failed = bind((SOCKET)0xabcdef0, (struct sockaddr *)&address, sizeof address);
    }
    printf("{\"code\": %d}\n", failed != 0 ? WSAGetLastError() : 0);
    if (one != INVALID_SOCKET) {
        (void)closesocket(one);
    }
}

/* Whether a child could inherit the core's sockets. */
static void inheritable(void)
{
    DWORD flags = 0;
    SOCKET one = bc__open_socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    BOOL known = GetHandleInformation((HANDLE)one, &flags);
    printf("{\"known\": %d, \"inheritable\": %d}\n", known != 0,
           (flags & HANDLE_FLAG_INHERIT) != 0);
    bc__close_socket(one);
}

/* The number of a new handle: the lowest that is free, so it grows with what leaks. */
static void handles(void)
{
    HANDLE fresh = CreateEventW(NULL, TRUE, FALSE, NULL);
    printf("{\"next\": %llu, \"pid\": %lu}\n", (unsigned long long)(uintptr_t)fresh,
           GetCurrentProcessId());
    if (fresh != NULL) {
        (void)CloseHandle(fresh);
    }
}

static void service(const char *text)
{
    char name[256];
    int pid = 0;
    unsigned tag = 0;
    int status;
    (void)sscanf(text, "%d %u", &pid, &tag);
    status = bc_service_name(pid, tag, name, sizeof name);
    printf("{\"status\": %d, \"name\": ", status);
    print_text(status == BC_OK ? name : "");
    puts("}");
}

static void resolve(const char *text)
{
    bc_endpoint rows[8];
    bc_error error;
    size_t count = 0;
    int status = bc_resolve(text, BC_FAMILY_NONE, rows, 8, &count, &error);
    printf("{\"status\": %d, \"domain\": %d, \"code\": %" PRId32 ", \"rows\": [",
           status, error.domain, error.code);
    for (size_t i = 0; i < count && i < 8; i++) {
        printf("%s", i > 0 ? ", " : "");
        print_address(&rows[i]);
    }
    puts("]}");
}

static void answer(const char *word, const char *rest)
{
    static const struct {
        const char *word;
        void (*act)(const char *);
    } COMMANDS[] = {{"probe", probe},    {"hold", hold},       {"release", release},
                    {"list", list},      {"message", message}, {"kept", kept_ports},
                    {"unix", unix_name}, {"misuse", misuse},   {"service", service},
                    {"resolve", resolve}};
    static const struct {
        const char *word;
        void (*act)(void);
    } QUESTIONS[] = {{"facts", facts},
                     {"addresses", addresses},
                     {"inheritable", inheritable},
                     {"handles", handles}};
    for (size_t i = 0; i < sizeof COMMANDS / sizeof COMMANDS[0]; i++) {
        if (strcmp(word, COMMANDS[i].word) == 0) {
            COMMANDS[i].act(rest);
            return;
        }
    }
    for (size_t i = 0; i < sizeof QUESTIONS / sizeof QUESTIONS[0]; i++) {
        if (strcmp(word, QUESTIONS[i].word) == 0) {
            QUESTIONS[i].act();
            return;
        }
    }
    puts("{\"usage\": true}");
}

int main(void)
{
    char line[LINE];
    WSADATA data;
    if (WSAStartup(MAKEWORD(2, 2), &data) != 0) {
        return 1;
    }
    for (size_t i = 0; i < HELD; i++) {
        held[i] = INVALID_SOCKET;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *rest = line;
        line[strcspn(line, "\r\n")] = '\0';
        rest += strcspn(line, " ");
        if (*rest == ' ') {
            *rest++ = '\0';
        }
        answer(line, rest);
        (void)fflush(stdout);
    }
    (void)WSACleanup();
    return 0;
}
