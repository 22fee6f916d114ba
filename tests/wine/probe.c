/* SPDX-License-Identifier: MIT
 *
 * The C core as a program of its own, for tests/test_wine.py: it makes real sockets,
 * asks the core about them, and prints one JSON object for its first argument. It
 * judges nothing. It is linked with --wrap, so that what Wine lacks or never does can
 * be played: functions that list bound sockets, and tables that are refused.
 */
#include "internal.h"
#include "windows/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPECIFIC 0x7f000001UL /* 127.0.0.1 */
#define WILDCARD 0UL

enum { ROWS = 512 };

typedef struct {
    const char *name;
    int8_t reuse_address, exclusive;
} mode;

static const mode MODES[] = {
    {"default", -1, -1}, {"reuse", 1, -1}, {"exclusive", -1, 1}};

/* What could not be prepared is no answer: the tests see the exit status. */
static void must(int condition, const char *what)
{
    if (!condition) {
        (void)fprintf(stderr, "%s: error %d\n", what, WSAGetLastError());
        exit(3);
    }
}

static void print_text(const char *text)
{
    (void)putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char one = (unsigned char)*text;
        if (one == '"' || one == '\\' || one < 0x20) {
            (void)printf("\\u%04x", one);
        } else {
            (void)putchar(one);
        }
    }
    (void)putchar('"');
}

static void print_text_or_null(const char *text)
{
    if (text == NULL) {
        (void)printf("null");
    } else {
        print_text(text);
    }
}

static void print_error(const char *key, const bc_error *error, const char *end)
{
    (void)printf(
        "\"%s\": {\"code\": %d, \"domain\": %d, \"step\": %d, \"option\": %d}%s", key,
        (int)error->code, error->domain, error->step, error->option, end);
}

/* What is played, and for which port and process. */
static struct {
    const char *bound;  /* of the functions that list bound sockets */
    const char *tables; /* of GetExtendedTcpTable */
    int calls;
    int service;
    int old_winsock;  /* WSASocketW does not know how not to inherit */
    int loud_cleanup; /* WSACleanup changes the last error */
    uint16_t port, other_port;
    DWORD pid;
} play = {.bound = ""};

static int plays(const char *played, const char *name)
{
    return played != NULL && strcmp(played, name) == 0;
}

static void fill_row(MIB_TCPROW2 *row, unsigned long host, uint16_t port, DWORD pid)
{
    row->dwState = MIB_TCP_STATE_CLOSED;
    row->dwLocalAddr = htonl(host);
    row->dwLocalPort = htons(port);
    row->dwOwningPid = pid;
}

static ULONG WINAPI bound4(PVOID *table, HANDLE heap, ULONG flags)
{
    enum { COUNT = 5 };
    const SIZE_T size =
        offsetof(MIB_TCPTABLE2, table) + (SIZE_T)COUNT * sizeof(MIB_TCPROW2);
    MIB_TCPTABLE2 *made;
    if (plays(play.bound, "refused")) {
        return ERROR_ACCESS_DENIED;
    }
    if (plays(play.bound, "empty")) {
        return NO_ERROR;
    }
    made = HeapAlloc(heap, flags | HEAP_ZERO_MEMORY, size);
    must(made != NULL, "HeapAlloc");
    made->dwNumEntries = plays(play.bound, "lying") ? COUNT + 1 : COUNT;
    fill_row(&made->table[0], SPECIFIC, play.port, play.pid);
    fill_row(&made->table[1], WILDCARD, play.port, play.pid);
    fill_row(&made->table[2], SPECIFIC + 1, play.port, play.pid);
    fill_row(&made->table[3], SPECIFIC, play.port, play.pid + 1);
    fill_row(&made->table[4], SPECIFIC, play.other_port, play.pid);
    *table = made;
    return NO_ERROR;
}

static ULONG WINAPI bound6(PVOID *table, HANDLE heap, ULONG flags)
{
    MIB_TCP6TABLE2 *made;
    if (plays(play.bound, "inet") || plays(play.bound, "empty")) {
        return plays(play.bound, "inet") ? ERROR_NOT_SUPPORTED : NO_ERROR;
    }
    made = HeapAlloc(heap, flags | HEAP_ZERO_MEMORY, sizeof *made);
    must(made != NULL, "HeapAlloc");
    made->dwNumEntries = 1;
    made->table[0].dwLocalPort = htons(play.port);
    made->table[0].dwOwningPid = play.pid;
    *table = made;
    return NO_ERROR;
}

/* services.c's tag_query. */
typedef struct {
    ULONG pid, tag, type;
    WCHAR *name;
} tag_query;

static ULONG WINAPI query_tag(void *machine, ULONG level, tag_query *query)
{
    static const WCHAR NAME[] = L"Dnsc\u00e4che";
    must(machine == NULL && level == 1, "I_QueryTagInformation");
    if (query->tag != 33 || query->pid != GetCurrentProcessId()) {
        return ERROR_NOT_FOUND;
    }
    query->name = LocalAlloc(LMEM_FIXED, sizeof NAME);
    must(query->name != NULL, "LocalAlloc");
    memcpy(query->name, NAME, sizeof NAME);
    return NO_ERROR;
}

typedef ULONG(WINAPI *bound_function)(PVOID *table, HANDLE heap, ULONG flags);
typedef ULONG(WINAPI *tag_function)(void *machine, ULONG level, tag_query *query);

void __real_bc__find_function(const WCHAR *library, const char *name, void *out);
void __wrap_bc__find_function(const WCHAR *library, const char *name, void *out);
void __wrap_bc__find_function(const WCHAR *library, const char *name, void *out)
{
    bound_function list = NULL;
    if (strcmp(name, "I_QueryTagInformation") == 0 && play.service) {
        tag_function query = query_tag;
        memcpy(out, &query, sizeof query);
        return;
    }
    if (strncmp(name, "InternalGetBound", 16) != 0 || plays(play.bound, "")) {
        __real_bc__find_function(library, name, out);
        return;
    }
    if (!plays(play.bound, "absent")) {
        list = strstr(name, "Tcp6") == NULL ? bound4 : bound6;
    }
    memcpy(out, &list, sizeof list);
}

DWORD WINAPI __real_GetExtendedTcpTable(PVOID table, PDWORD size, WINBOOL order,
                                        ULONG family, TCP_TABLE_CLASS what,
                                        ULONG reserved);
DWORD WINAPI __wrap_GetExtendedTcpTable(PVOID table, PDWORD size, WINBOOL order,
                                        ULONG family, TCP_TABLE_CLASS what,
                                        ULONG reserved);
DWORD WINAPI __wrap_GetExtendedTcpTable(PVOID table, PDWORD size, WINBOOL order,
                                        ULONG family, TCP_TABLE_CLASS what,
                                        ULONG reserved)
{
    DWORD answer;
    play.calls++;
    if (plays(play.tables, "denied")) {
        return ERROR_ACCESS_DENIED;
    }
    if (plays(play.tables, "always busy") ||
        (plays(play.tables, "busy") && play.calls <= 3)) {
        return 0xC0000001U; /* STATUS_UNSUCCESSFUL */
    }
    if (plays(play.tables, "always growing") ||
        (plays(play.tables, "growing") && play.calls <= 3)) {
        *size += 100000;
        return ERROR_INSUFFICIENT_BUFFER;
    }
    if (plays(play.tables, "huge")) {
        *size = MAXDWORD;
        return ERROR_INSUFFICIENT_BUFFER;
    }
    if (plays(play.tables, "no inet6") && family == AF_INET6) {
        return ERROR_NOT_SUPPORTED;
    }
    if (plays(play.tables, "no inet") && family == AF_INET) {
        return ERROR_NOT_SUPPORTED;
    }
    answer = __real_GetExtendedTcpTable(table, size, order, family, what, reserved);
    if (plays(play.tables, "lying") && answer == NO_ERROR) {
        memset(table, 0xff, sizeof(DWORD));
    }
    return answer;
}

/* Winsock's functions are called through pointers that the linker calls __imp_. */
typedef SOCKET(WSAAPI *socket_function)(int family, int type, int protocol,
                                        LPWSAPROTOCOL_INFOW info, GROUP group,
                                        DWORD flags);
typedef int(WSAAPI *cleanup_function)(void);
extern socket_function __real___imp_WSASocketW;
extern socket_function __wrap___imp_WSASocketW;
extern cleanup_function __real___imp_WSACleanup;
extern cleanup_function __wrap___imp_WSACleanup;

static SOCKET WSAAPI make_socket(int family, int type, int protocol,
                                 LPWSAPROTOCOL_INFOW info, GROUP group, DWORD flags)
{
    if (play.old_winsock && (flags & WSA_FLAG_NO_HANDLE_INHERIT) != 0) {
        WSASetLastError(WSAEINVAL);
        return INVALID_SOCKET;
    }
    return __real___imp_WSASocketW(family, type, protocol, info, group, flags);
}

static int WSAAPI clean_up(void)
{
    int answer = __real___imp_WSACleanup();
    if (play.loud_cleanup) {
        WSASetLastError(WSASYSCALLFAILURE);
    }
    return answer;
}

socket_function __wrap___imp_WSASocketW = make_socket;
cleanup_function __wrap___imp_WSACleanup = clean_up;

static struct sockaddr_in address_of(unsigned long host, uint16_t port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(host);
    return address;
}

static SOCKET new_socket(int family, int type)
{
    SOCKET handle = socket(family, type, 0);
    must(handle != INVALID_SOCKET, "socket");
    return handle;
}

static uint16_t port_of(SOCKET handle)
{
    struct sockaddr_storage address;
    int length = sizeof address;
    bc_endpoint found;
    must(getsockname(handle, (struct sockaddr *)&address, &length) == 0, "getsockname");
    must(bc__from_sockaddr((const struct sockaddr *)&address, length, &found),
         "an address");
    return found.port;
}

static int bind_to(SOCKET handle, unsigned long host, uint16_t port)
{
    struct sockaddr_in address = address_of(host, port);
    return bind(handle, (const struct sockaddr *)&address, sizeof address);
}

/* A bound socket; 0 for `port` chooses one. INVALID_SOCKET when bind() fails. */
static SOCKET try_hold(int type, const mode *how, unsigned long host, uint16_t port)
{
    const int one = 1;
    SOCKET handle = new_socket(AF_INET, type);
    if (how->reuse_address == 1) {
        must(setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, (const char *)&one,
                        sizeof one) == 0,
             "SO_REUSEADDR");
    }
    if (how->exclusive == 1) {
        must(setsockopt(handle, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (const char *)&one,
                        sizeof one) == 0,
             "SO_EXCLUSIVEADDRUSE");
    }
    if (bind_to(handle, host, port) != 0) {
        (void)closesocket(handle);
        return INVALID_SOCKET;
    }
    return handle;
}

static SOCKET hold(int type, const mode *how, unsigned long host)
{
    SOCKET handle = try_hold(type, how, host, 0);
    must(handle != INVALID_SOCKET, "bind of the holder");
    return handle;
}

/* The same on a port that is named in bind(): Wine does not watch the others. Somebody
 * else may take it in between. */
static SOCKET hold_named(const mode *how, unsigned long host)
{
    SOCKET handle = INVALID_SOCKET;
    for (int i = 0; i < 20 && handle == INVALID_SOCKET; i++) {
        SOCKET chooser = hold(SOCK_STREAM, &MODES[0], WILDCARD);
        uint16_t port = port_of(chooser);
        (void)closesocket(chooser);
        handle = try_hold(SOCK_STREAM, how, host, port);
    }
    must(handle != INVALID_SOCKET, "bind of the holder");
    return handle;
}

static bc_probe_request request_for(const mode *how, unsigned long host, uint16_t port)
{
    bc_probe_request request;
    uint32_t address = htonl(host);
    memset(&request, 0, sizeof request);
    request.local.family = BC_FAMILY_INET;
    request.local.port = port;
    memcpy(request.local.address, &address, sizeof address);
    request.type = BC_TYPE_STREAM;
    request.backlog = 1;
    request.reuse_address = how->reuse_address;
    request.exclusive = how->exclusive;
    request.reuse_port = request.v6only = request.freebind = -1;
    return request;
}

static bc_error attempt(const bc_probe_request *request)
{
    bc_probe_result result;
    must(bc_probe(request, &result) == BC_OK, "bc_probe");
    return result.error;
}

static void print_inheritance(const char *key)
{
    bc__handle handle = bc__open_socket(AF_INET, SOCK_STREAM, 0);
    DWORD flags = 0;
    must(handle != BC__INVALID_HANDLE, "bc__open_socket");
    must(GetHandleInformation((HANDLE)handle, &flags), "GetHandleInformation");
    (void)printf("\"%s\": %d, ", key, (flags & HANDLE_FLAG_INHERIT) != 0);
    bc__close_socket(handle);
}

/* A Windows before 7 SP1. */
static void print_old(void)
{
    bc_probe_request request = request_for(&MODES[0], SPECIFIC, 0);
    bc_error error;
    play.old_winsock = play.loud_cleanup = 1;
    print_inheritance("inherited");
    error = attempt(&request);
    print_error("free", &error, ", ");
    request.protocol = 99;
    error = attempt(&request);
    print_error("unknown_protocol", &error, ", ");
    play.old_winsock = 0;
    error = attempt(&request);
    print_error("unknown_to_new", &error, "");
}

static void print_codes(void)
{
    SOCKET holder = hold_named(&MODES[0], SPECIFIC);
    uint16_t port = port_of(holder);
    SOCKET other = new_socket(AF_INET, SOCK_STREAM);
    bc_probe_request request = request_for(&MODES[0], SPECIFIC, port);
    bc_error error = attempt(&request);
    print_error("in_use", &error, ", ");
    request = request_for(&MODES[1], SPECIFIC, port);
    error = attempt(&request);
    print_error("reuse_of_another", &error, ", ");
    request = request_for(&MODES[0], 0xc0000201UL, 0); /* 192.0.2.1 */
    error = attempt(&request);
    print_error("not_local", &error, ", ");
    request = request_for(&MODES[0], SPECIFIC, 0);
    error = attempt(&request);
    print_error("free", &error, ", ");
    request.listen = 1;
    error = attempt(&request);
    print_error("free_and_listening", &error, ", ");
    request = request_for(&MODES[0], SPECIFIC, 0);
    request.protocol = 99;
    error = attempt(&request);
    print_error("unknown_protocol", &error, ", ");
    request = request_for(&MODES[0], SPECIFIC, 0);
    request.reuse_port = 1;
    error = attempt(&request);
    print_error("reuse_port", &error, ", ");
    request = request_for(&MODES[0], SPECIFIC, 0);
    request.freebind = 1;
    error = attempt(&request);
    print_error("freebind", &error, ", ");
    request = request_for(&MODES[0], SPECIFIC, 0);
    (void)strcpy(request.device, "lo");
    error = attempt(&request);
    print_error("device", &error, ", ");
    request = request_for(&MODES[1], SPECIFIC, 0);
    request.exclusive = 1;
    error = attempt(&request);
    print_error("reuse_and_exclusive", &error, ", ");
    print_inheritance("inherited");
    (void)printf("\"bind_twice\": %d, ",
                 bind_to(holder, SPECIFIC, 0) == 0 ? 0 : WSAGetLastError());
    (void)printf("\"listen_unbound\": %d, ",
                 listen(other, 1) == 0 ? 0 : WSAGetLastError());
    (void)closesocket(other);
    (void)printf("\"closed_handle\": %d",
                 bind_to(other, SPECIFIC, 0) == 0 ? 0 : WSAGetLastError());
    (void)closesocket(holder);
}

static void print_matrix(void)
{
    static const unsigned long HOSTS[] = {WILDCARD, SPECIFIC};
    (void)printf("\"cells\": [");
    for (size_t cell = 0; cell < 36; cell++) {
        const mode *first = &MODES[cell / 12];
        const mode *second = &MODES[cell % 6 / 2];
        unsigned long held = HOSTS[cell / 6 % 2];
        unsigned long asked = HOSTS[cell % 2];
        SOCKET holder = hold_named(first, held);
        bc_probe_request request = request_for(second, asked, port_of(holder));
        bc_error error = attempt(&request);
        (void)printf("%s{\"holder\": [\"%s\", \"%s\"], \"new\": [\"%s\", \"%s\"], "
                     "\"code\": %d, \"step\": %d}",
                     cell == 0 ? "" : ", ", first->name,
                     held == WILDCARD ? "wildcard" : "specific", second->name,
                     asked == WILDCARD ? "wildcard" : "specific", (int)error.code,
                     error.step);
        (void)closesocket(holder);
    }
    (void)printf("]");
}

static void print_address(const bc_endpoint *one)
{
    char text[64];
    int family = one->family == BC_FAMILY_INET6 ? AF_INET6 : AF_INET;
    must(inet_ntop(family, one->address, text, sizeof text) != NULL, "inet_ntop");
    (void)printf("[\"%s\", %u, %u]", text, one->port, (unsigned)one->scope_id);
}

static void print_sockets(const char *key, int protocol, uint16_t port)
{
    static bc_socket rows[ROWS];
    bc_listing listing = {.tries_bound = 0};
    size_t count = 0;
    int status = bc_list_sockets(protocol, port, rows, ROWS, &count, &listing);
    (void)printf("\"%s\": {\"status\": %d, \"source\": %d, \"bound\": %d, ", key,
                 status, listing.source, listing.bound);
    print_error("refused", &listing.refused, ", \"rows\": [");
    for (size_t i = 0; status == BC_OK && i < count; i++) {
        (void)printf("%s{\"local\": ", i == 0 ? "" : ", ");
        print_address(&rows[i].local);
        (void)printf(", \"remote\": ");
        print_address(&rows[i].remote);
        (void)printf(", \"state\": %d, \"protocol\": %d, \"pid\": %d, "
                     "\"created\": %llu, \"service_tag\": %u}",
                     rows[i].state, rows[i].protocol, (int)rows[i].pid,
                     (unsigned long long)rows[i].created,
                     (unsigned)rows[i].service_tag);
    }
    (void)printf("]}");
}

static SOCKET hold_inet6(uint16_t *port)
{
    struct sockaddr_in6 address;
    SOCKET handle = new_socket(AF_INET6, SOCK_STREAM);
    memset(&address, 0, sizeof address);
    address.sin6_family = AF_INET6;
    address.sin6_addr.s6_addr[15] = 1;
    must(bind(handle, (const struct sockaddr *)&address, sizeof address) == 0,
         "bind of ::1");
    must(listen(handle, 1) == 0, "listen on ::1");
    *port = port_of(handle);
    return handle;
}

static void print_room(uint16_t port)
{
    bc_socket rows[2];
    bc_listing listing = {.tries_bound = 0};
    size_t count = 0;
    int status = bc_list_sockets(BC_PROTOCOL_TCP, port, rows, 0, &count, &listing);
    (void)printf("\"no_room\": [%d, %u], ", status, (unsigned)count);
    status = bc_list_sockets(132, port, rows, 2, &count, &listing);
    (void)printf("\"sctp\": [%d, %u], ", status, (unsigned)count);
    status = bc_list_sockets(0, port, rows, 2, &count, &listing);
    (void)printf("\"no_protocol\": [%d, %u], ", status, (unsigned)count);
}

static void print_tables(int with_inet6)
{
    SOCKET listener = hold(SOCK_STREAM, &MODES[0], SPECIFIC);
    SOCKET bound = hold(SOCK_STREAM, &MODES[0], SPECIFIC);
    SOCKET datagram = hold(SOCK_DGRAM, &MODES[0], SPECIFIC);
    SOCKET client = new_socket(AF_INET, SOCK_STREAM);
    SOCKET inet6 = INVALID_SOCKET;
    SOCKET accepted;
    struct sockaddr_in server = address_of(SPECIFIC, port_of(listener));
    uint16_t inet6_port = 0;
    must(listen(listener, 1) == 0, "listen");
    must(connect(client, (const struct sockaddr *)&server, sizeof server) == 0,
         "connect");
    accepted = accept(listener, NULL, NULL);
    must(accepted != INVALID_SOCKET, "accept");
    (void)printf("\"pid\": %lu, \"listener_port\": %u, \"client_port\": %u, "
                 "\"bound_port\": %u, \"datagram_port\": %u, ",
                 GetCurrentProcessId(), port_of(listener), port_of(client),
                 port_of(bound), port_of(datagram));
    if (with_inet6) {
        inet6 = hold_inet6(&inet6_port);
        (void)printf("\"inet6_port\": %u, ", inet6_port);
        print_sockets("inet6", BC_PROTOCOL_TCP, inet6_port);
        (void)printf(", ");
        (void)closesocket(inet6);
    }
    print_room(port_of(listener));
    print_sockets("listener", BC_PROTOCOL_TCP, port_of(listener));
    (void)printf(", ");
    print_sockets("client", BC_PROTOCOL_TCP, port_of(client));
    (void)printf(", ");
    print_sockets("bound", BC_PROTOCOL_TCP, port_of(bound));
    (void)printf(", ");
    print_sockets("datagram", BC_PROTOCOL_UDP, port_of(datagram));
    (void)printf(", ");
    print_sockets("all", BC_PROTOCOL_TCP, 0);
    (void)closesocket(accepted);
    (void)closesocket(client);
    (void)closesocket(datagram);
    (void)closesocket(bound);
    (void)closesocket(listener);
}

/* play WHAT BOUND|TABLES */
static void print_played(const char *what, const char *how)
{
    SOCKET listener = hold(SOCK_STREAM, &MODES[0], SPECIFIC);
    SOCKET other = hold(SOCK_STREAM, &MODES[0], SPECIFIC);
    must(listen(listener, 1) == 0, "listen");
    play.port = port_of(listener);
    play.other_port = port_of(other);
    print_sockets("before", BC_PROTOCOL_TCP, play.port);
    (void)printf(", \"port\": %u, \"other_port\": %u, ", play.port, play.other_port);
    /* The process as the tables tell it, which under Wine may be nobody. */
    {
        bc_socket rows[4];
        bc_listing listing = {.tries_bound = 0};
        size_t count = 0;
        (void)bc_list_sockets(BC_PROTOCOL_TCP, play.port, rows, 4, &count, &listing);
        must(count == 1, "one row");
        play.pid = (DWORD)rows[0].pid;
    }
    play.calls = 0;
    if (strcmp(what, "bound") == 0) {
        play.bound = how;
    } else {
        play.tables = how;
    }
    print_sockets("listener", BC_PROTOCOL_TCP, play.port);
    (void)printf(", \"calls\": %d, ", play.calls);
    print_sockets("other", BC_PROTOCOL_TCP, play.other_port);
    (void)printf(", ");
    print_room(play.port);
    (void)printf("\"pid\": %lu", play.pid);
    (void)closesocket(other);
    (void)closesocket(listener);
}

/* messages DOMAIN CODE... */
static void print_messages(int count, char **arguments)
{
    int domain = count > 0 ? atoi(arguments[0]) : 0;
    (void)printf("\"texts\": {");
    for (int i = 1; i < count; i++) {
        char text[1024] = "";
        char little[9] = "";
        int code = atoi(arguments[i]);
        int status = bc_error_message(domain, code, text, sizeof text);
        (void)printf("%s\"%d\": {\"status\": %d, \"message\": ", i == 1 ? "" : ", ",
                     code, status);
        print_text(text);
        status = bc_error_message(domain, code, little, sizeof little);
        (void)printf(", \"little_status\": %d, \"little\": ", status);
        print_text(little);
        (void)printf(", \"name\": ");
        print_text_or_null(bc_error_name(domain, code));
        (void)printf(", \"reference\": ");
        print_text_or_null(bc_error_reference(domain, code));
        (void)printf("}");
    }
    (void)printf("}");
}

/* How many handles the process has, and the next free one. Wine 8.0 counts none, but
 * gives the lowest number that is free. */
static void print_handles(const char *key)
{
    DWORD count = 0;
    HANDLE next = CreateEventW(NULL, TRUE, FALSE, NULL);
    must(next != NULL, "CreateEventW");
    must(GetProcessHandleCount(GetCurrentProcess(), &count), "GetProcessHandleCount");
    (void)printf("\"%s\": [%lu, %llu], ", key, count,
                 (unsigned long long)(uintptr_t)next);
    (void)CloseHandle(next);
}

/* Everything that opens something, also where it fails half way. */
static void one_round(uint16_t taken, int slow_too)
{
    static bc_socket rows[ROWS];
    bc_interface_address addresses[4];
    bc_port_range ranges[4];
    bc_endpoint found[4];
    bc_name_request unix_request;
    bc_name_result unix_result;
    bc_listing listing = {.tries_bound = 0};
    bc_error error;
    bc_facts facts;
    size_t count;
    char name[64];
    bc_probe_request request = request_for(&MODES[0], SPECIFIC, 0);
    (void)attempt(&request);
    request = request_for(&MODES[0], SPECIFIC, taken);
    (void)attempt(&request);
    request.reuse_port = 1;
    (void)attempt(&request);
    request.protocol = 99;
    (void)attempt(&request);
    memset(&unix_request, 0, sizeof unix_request);
    unix_request.family = BC_FAMILY_UNIX;
    unix_request.type = BC_TYPE_STREAM;
    unix_request.length = 4;
    memcpy(unix_request.name, "x:\\y", 4); /* there is no such folder */
    (void)bc_probe_name(&unix_request, &unix_result);
    if (slow_too) { /* Wine looks at every process, and asks name servers */
        (void)bc_resolve("nonsense.invalid.", BC_FAMILY_INET6, found, 4, &count,
                         &error);
        (void)bc_list_sockets(BC_PROTOCOL_TCP, 0, rows, ROWS, &count, &listing);
        (void)bc_list_sockets(BC_PROTOCOL_UDP, 0, rows, 0, &count, &listing);
    }
    (void)bc_list_addresses(addresses, 4, &count, &error);
    (void)bc_list_kept_ports(BC_PROTOCOL_TCP, ranges, 4, &count, &error);
    (void)bc_service_name(4, 1, name, sizeof name);
    (void)bc_resolve("127.0.0.1", BC_FAMILY_NONE, found, 4, &count, &error);
    (void)bc_read_facts(&facts);
}

static void print_leaks(int rounds)
{
    SOCKET holder = hold(SOCK_STREAM, &MODES[0], SPECIFIC);
    uint16_t taken = port_of(holder);
    int still_started;
    for (int i = 0; i < 3; i++) {
        one_round(taken, 1); /* libraries that are loaded at first use */
    }
    print_handles("before");
    for (int i = 0; i < rounds; i++) {
        one_round(taken, i % 10 == 0);
    }
    print_handles("after");
    (void)closesocket(holder);
    /* The program's own WSAStartup is the only one left: after its WSACleanup there is
     * no Winsock, unless the core forgot one of its own. */
    (void)WSACleanup();
    holder = socket(AF_INET, SOCK_STREAM, 0);
    still_started = holder != INVALID_SOCKET;
    (void)printf("\"still_started\": %d, \"error\": %d", still_started,
                 still_started ? 0 : WSAGetLastError());
}

/* Without any WSAStartup of the program's. */
static void print_bare(void)
{
    bc_endpoint found[4];
    bc_error error;
    size_t count = 0;
    bc_probe_request request = request_for(&MODES[0], SPECIFIC, 0);
    int status;
    error = attempt(&request);
    print_error("probe", &error, ", ");
    status = bc_resolve("127.0.0.1", BC_FAMILY_NONE, found, 4, &count, &error);
    (void)printf("\"resolve\": %d, \"found\": %u, ", status, (unsigned)count);
    print_error("error", &error, ", ");
    status = bc_resolve("nonsense.invalid.", BC_FAMILY_NONE, found, 4, &count, &error);
    (void)printf("\"unknown\": %d, \"name\": ", status);
    print_text_or_null(bc_error_name(error.domain, error.code));
    (void)printf(", ");
    print_error("unknown_error", &error, "");
}

static void print_unix(const char *path)
{
    bc_name_request request;
    bc_name_result result;
    size_t length = strlen(path);
    must(length <= sizeof request.name, "a short path");
    memset(&request, 0, sizeof request);
    request.family = BC_FAMILY_UNIX;
    request.type = BC_TYPE_STREAM;
    request.length = (uint32_t)length;
    memcpy(request.name, path, length);
    must(bc_probe_name(&request, &result) == BC_OK, "bc_probe_name");
    print_error("unix", &result.error, ", ");
    (void)printf("\"length\": %u, ", (unsigned)result.length);
    request.family = BC_FAMILY_VSOCK;
    must(bc_probe_name(&request, &result) == BC_OK, "bc_probe_name");
    print_error("vsock", &result.error, "");
}

static void print_facts(void)
{
    bc_facts facts;
    must(bc_read_facts(&facts) == BC_OK, "bc_read_facts");
    (void)printf("\"euid\": %u, \"elevated\": %d, \"ipv6_available\": %d, "
                 "\"unprivileged_port_start\": %d, \"bind_v6only\": %d, "
                 "\"ephemeral_low\": %d, \"nonlocal_bind4\": %d, \"clock_ticks\": %d, "
                 "\"loopback_up\": %d, \"owns_network_namespace\": %d",
                 (unsigned)facts.euid, (int)facts.elevated, (int)facts.ipv6_available,
                 (int)facts.unprivileged_port_start, (int)facts.bind_v6only,
                 (int)facts.ephemeral_low, (int)facts.nonlocal_bind4,
                 (int)facts.clock_ticks, (int)facts.loopback_up,
                 (int)facts.owns_network_namespace);
}

static void print_addresses(void)
{
    static bc_interface_address rows[ROWS];
    bc_error error;
    size_t count = 0;
    int status = bc_list_addresses(rows, 0, &count, &error);
    (void)printf("\"no_room\": [%d, %u], ", status, (unsigned)count);
    status = bc_list_addresses(rows, ROWS, &count, &error);
    (void)printf("\"status\": %d, ", status);
    print_error("error", &error, ", \"rows\": [");
    for (size_t i = 0; status == BC_OK && i < count; i++) {
        (void)printf("%s{\"address\": ", i == 0 ? "" : ", ");
        print_address(&rows[i].address);
        (void)printf(", \"index\": %u, \"up\": %d, \"prefix\": %d, \"named\": %u, "
                     "\"interface\": ",
                     (unsigned)rows[i].index, rows[i].up, rows[i].prefix,
                     (unsigned)bc_interface_index(rows[i].interface));
        print_text(rows[i].interface);
        (void)printf("}");
    }
    (void)printf("], \"nonsense\": %u", (unsigned)bc_interface_index("no such thing"));
}

static void print_ranges(const char *key, int protocol, const char *end)
{
    bc_port_range rows[16];
    bc_error error;
    size_t count = 0;
    int status = bc_list_kept_ports(protocol, rows, 0, &count, &error);
    (void)printf("\"%s\": {\"no_room\": [%d, %u], ", key, status, (unsigned)count);
    status = bc_list_kept_ports(protocol, rows, 16, &count, &error);
    (void)printf("\"status\": %d, ", status);
    print_error("error", &error, ", \"ranges\": [");
    for (size_t i = 0; status == BC_OK && i < count; i++) {
        (void)printf("%s[%u, %u, %u]", i == 0 ? "" : ", ", rows[i].first, rows[i].last,
                     rows[i].kind);
    }
    (void)printf("]}%s", end);
}

static void print_service(const char *key, uint32_t tag, size_t capacity)
{
    char name[64] = "?";
    int status = bc_service_name((int32_t)GetCurrentProcessId(), tag, name, capacity);
    (void)printf("\"%s\": [%d, ", key, status);
    print_text(name);
    (void)printf("], ");
}

static void print_services(void)
{
    print_service("real", 33, 64);
    play.service = 1;
    print_service("played", 33, 64);
    print_service("cut", 33, 6); /* in the middle of a character */
    print_service("no_room", 33, 0);
    print_service("unknown", 34, 64);
    print_service("none", 0, 64);
    (void)printf("\"pid\": %lu", GetCurrentProcessId());
}

int main(int count, char **arguments)
{
    WSADATA data;
    const char *command = count > 1 ? arguments[1] : "";
    (void)printf("{");
    if (strcmp(command, "bare") == 0) {
        print_bare();
        (void)printf("}\n");
        return 0;
    }
    must(WSAStartup(MAKEWORD(2, 2), &data) == 0, "WSAStartup");
    if (strcmp(command, "codes") == 0) {
        print_codes();
    } else if (strcmp(command, "old") == 0) {
        print_old();
    } else if (strcmp(command, "matrix") == 0) {
        print_matrix();
    } else if (strcmp(command, "tables") == 0) {
        print_tables(count > 2);
    } else if (strcmp(command, "messages") == 0) {
        print_messages(count - 2, arguments + 2);
    } else if (strcmp(command, "leaks") == 0) {
        print_leaks(200);
    } else if (strcmp(command, "unix") == 0 && count > 2) {
        print_unix(arguments[2]);
    } else if (strcmp(command, "facts") == 0) {
        print_facts();
    } else if (strcmp(command, "addresses") == 0) {
        print_addresses();
    } else if (strcmp(command, "kept") == 0) {
        print_ranges("tcp", BC_PROTOCOL_TCP, ", ");
        print_ranges("udp", BC_PROTOCOL_UDP, ", ");
        print_ranges("sctp", BC_PROTOCOL_SCTP, "");
    } else if (strcmp(command, "service") == 0) {
        print_services();
    } else if (strcmp(command, "play") == 0 && count > 3) {
        print_played(arguments[2], arguments[3]);
    } else {
        (void)fprintf(stderr, "unknown command\n");
        return 2;
    }
    (void)printf("}\n");
    return 0;
}
