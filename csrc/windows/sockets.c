/* SPDX-License-Identifier: MIT
 *
 * The sockets on a port, from IP Helper: GetExtendedTcpTable and GetExtendedUdpTable in
 * their OWNER_MODULE classes, which tell the process, the time and the service. They do
 * not show TCP sockets that are bound and neither listen nor are connected; those come
 * from InternalGetBoundTcpEndpointTable and its IPv6 twin, which no page documents
 * (Windows 10 and later have them, netstat -q shows the same), and which are therefore
 * looked up and may be absent. Needs no privilege. A socket that a child inherited is
 * shown with the process that made it.
 */
#include "../internal.h"
#include "text.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* decode/tcp_table.c has these numbers: it reads the tables on every system. */
#define AT(type, field, offset)                                                        \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field)
AT(MIB_TCPTABLE_OWNER_MODULE, table, 8);
AT(MIB_TCPROW_OWNER_MODULE, dwState, 0);
AT(MIB_TCPROW_OWNER_MODULE, dwLocalAddr, 4);
AT(MIB_TCPROW_OWNER_MODULE, dwLocalPort, 8);
AT(MIB_TCPROW_OWNER_MODULE, dwRemoteAddr, 12);
AT(MIB_TCPROW_OWNER_MODULE, dwRemotePort, 16);
AT(MIB_TCPROW_OWNER_MODULE, dwOwningPid, 20);
AT(MIB_TCPROW_OWNER_MODULE, liCreateTimestamp, 24);
AT(MIB_TCPROW_OWNER_MODULE, OwningModuleInfo, 32);
_Static_assert(sizeof(MIB_TCPROW_OWNER_MODULE) == 160, "MIB_TCPROW_OWNER_MODULE");
AT(MIB_TCP6TABLE_OWNER_MODULE, table, 8);
AT(MIB_TCP6ROW_OWNER_MODULE, ucLocalAddr, 0);
AT(MIB_TCP6ROW_OWNER_MODULE, dwLocalScopeId, 16);
AT(MIB_TCP6ROW_OWNER_MODULE, dwLocalPort, 20);
AT(MIB_TCP6ROW_OWNER_MODULE, ucRemoteAddr, 24);
AT(MIB_TCP6ROW_OWNER_MODULE, dwRemoteScopeId, 40);
AT(MIB_TCP6ROW_OWNER_MODULE, dwRemotePort, 44);
AT(MIB_TCP6ROW_OWNER_MODULE, dwState, 48);
AT(MIB_TCP6ROW_OWNER_MODULE, dwOwningPid, 52);
AT(MIB_TCP6ROW_OWNER_MODULE, liCreateTimestamp, 56);
AT(MIB_TCP6ROW_OWNER_MODULE, OwningModuleInfo, 64);
_Static_assert(sizeof(MIB_TCP6ROW_OWNER_MODULE) == 192, "MIB_TCP6ROW_OWNER_MODULE");
AT(MIB_UDPTABLE_OWNER_MODULE, table, 8);
AT(MIB_UDPROW_OWNER_MODULE, dwLocalAddr, 0);
AT(MIB_UDPROW_OWNER_MODULE, dwLocalPort, 4);
AT(MIB_UDPROW_OWNER_MODULE, dwOwningPid, 8);
AT(MIB_UDPROW_OWNER_MODULE, liCreateTimestamp, 16);
AT(MIB_UDPROW_OWNER_MODULE, OwningModuleInfo, 32);
_Static_assert(sizeof(MIB_UDPROW_OWNER_MODULE) == 160, "MIB_UDPROW_OWNER_MODULE");
AT(MIB_UDP6TABLE_OWNER_MODULE, table, 8);
AT(MIB_UDP6ROW_OWNER_MODULE, ucLocalAddr, 0);
AT(MIB_UDP6ROW_OWNER_MODULE, dwLocalScopeId, 16);
AT(MIB_UDP6ROW_OWNER_MODULE, dwLocalPort, 20);
AT(MIB_UDP6ROW_OWNER_MODULE, dwOwningPid, 24);
AT(MIB_UDP6ROW_OWNER_MODULE, liCreateTimestamp, 32);
AT(MIB_UDP6ROW_OWNER_MODULE, OwningModuleInfo, 48);
_Static_assert(sizeof(MIB_UDP6ROW_OWNER_MODULE) == 176, "MIB_UDP6ROW_OWNER_MODULE");
AT(MIB_TCPTABLE2, table, 4);
AT(MIB_TCPROW2, dwLocalAddr, 4);
AT(MIB_TCPROW2, dwLocalPort, 8);
AT(MIB_TCPROW2, dwOwningPid, 20);
_Static_assert(sizeof(MIB_TCPROW2) == 28, "MIB_TCPROW2");
AT(MIB_TCP6TABLE2, table, 4);
AT(MIB_TCP6ROW2, LocalAddr, 0);
AT(MIB_TCP6ROW2, dwLocalScopeId, 16);
AT(MIB_TCP6ROW2, dwLocalPort, 20);
AT(MIB_TCP6ROW2, dwOwningPid, 52);
_Static_assert(sizeof(MIB_TCP6ROW2) == 60, "MIB_TCP6ROW2");

/* A table that grows while it is read is asked for again; more often than psutil's
 * three times, because a busy server opens thousands of connections a second. */
enum { TRIES = 6, FIRST_BYTES = 16384, SLACK_BYTES = 4096 };

/* What the functions return now and then while their table changes: an NTSTATUS where
 * a Win32 error belongs. */
#define STATUS_UNSUCCESSFUL_AS_ERROR 0xC0000001U

typedef struct {
    int32_t protocol;
    uint16_t port;
    bc_socket *out;
    size_t capacity;
    size_t *count;
    void *buffer; /* malloc's alignment is enough for any row */
    DWORD size;
} listing_job;

typedef ULONG(WINAPI *bound_function)(PVOID *table, HANDLE heap, ULONG flags);

static DWORD ask_once(const listing_job *job, ULONG family, DWORD *size)
{
    if (job->protocol == BC_PROTOCOL_TCP) {
        return GetExtendedTcpTable(job->buffer, size, FALSE, family,
                                   TCP_TABLE_OWNER_MODULE_ALL, 0);
    }
    return GetExtendedUdpTable(job->buffer, size, FALSE, family, UDP_TABLE_OWNER_MODULE,
                               0);
}

static DWORD grow(listing_job *job, DWORD needed)
{
    void *larger;
    DWORD size = needed;
    if (needed > MAXDWORD / 2) {
        return ERROR_NOT_ENOUGH_MEMORY;
    }
    size += needed / 4 + SLACK_BYTES;
    larger = realloc(job->buffer, size);
    if (larger == NULL) {
        return ERROR_NOT_ENOUGH_MEMORY;
    }
    job->buffer = larger;
    job->size = size;
    return NO_ERROR;
}

/* Fills the buffer with the table of one family; 0 or an error number. The bytes behind
 * the table are zeros, so that a count that is too large finds no rows of an earlier
 * table there. */
static DWORD ask(listing_job *job, ULONG family)
{
    DWORD error = job->buffer == NULL ? grow(job, FIRST_BYTES) : NO_ERROR;
    for (int i = 0; error == NO_ERROR && i < TRIES; i++) {
        DWORD size = job->size;
        DWORD answer;
        memset(job->buffer, 0, job->size);
        answer = ask_once(job, family, &size);
        if (answer == NO_ERROR) {
            return NO_ERROR;
        }
        if (answer == ERROR_INSUFFICIENT_BUFFER) {
            error = grow(job, size);
        } else if (answer != STATUS_UNSUCCESSFUL_AS_ERROR) {
            return answer;
        }
        if (error == NO_ERROR && i == TRIES - 1) {
            error = answer;
        }
    }
    return error;
}

/* Where IPv6 is not installed, its tables are refused with one of these. */
static int is_family_absent(ULONG family, DWORD error)
{
    return family == AF_INET6 &&
           (error == ERROR_NOT_SUPPORTED || error == ERROR_INVALID_PARAMETER);
}

static DWORD read_family(listing_job *job, ULONG family, int layout)
{
    DWORD error = ask(job, family);
    if (error != NO_ERROR) {
        return is_family_absent(family, error) ? NO_ERROR : error;
    }
    if (bc_decode_ip_helper(job->buffer, job->size, layout, job->port, job->out,
                            job->capacity, job->count) == BC_E_MALFORMED) {
        return ERROR_INVALID_DATA;
    }
    return NO_ERROR;
}

/* Appends the bound sockets of one family; 0 or an error number. */
static DWORD read_bound(listing_job *job, const char *name, ULONG family, int layout)
{
    bound_function list_bound = NULL;
    void *table = NULL;
    HANDLE heap = GetProcessHeap();
    DWORD error;
    SIZE_T size;

    bc__find_function(L"iphlpapi.dll", name, (void *)&list_bound);
    if (list_bound == NULL || heap == NULL) {
        return ERROR_PROC_NOT_FOUND;
    }
    error = list_bound(&table, heap, 0);
    if (error != NO_ERROR) {
        error = is_family_absent(family, error) ? NO_ERROR : error;
        goto out;
    }
    if (table == NULL) {
        goto out; /* nothing is bound */
    }
    size = HeapSize(heap, 0, table);
    if (size == (SIZE_T)-1 ||
        bc_decode_ip_helper(table, size, layout, job->port, job->out, job->capacity,
                            job->count) == BC_E_MALFORMED) {
        error = ERROR_INVALID_DATA;
    }
out:
    if (table != NULL) {
        (void)HeapFree(heap, 0, table);
    }
    return error;
}

static int is_wildcard(const bc_endpoint *one)
{
    static const uint8_t ZEROS[sizeof one->address] = {0};
    return memcmp(one->address, ZEROS, sizeof ZEROS) == 0;
}

/* Whether a bound row may be the same socket as a row of the other tables. */
static int is_same(const bc_socket *bound, const bc_socket *other)
{
    return bound->pid == other->pid && bound->local.port == other->local.port &&
           bound->local.family == other->local.family &&
           (is_wildcard(&bound->local) || is_wildcard(&other->local) ||
            memcmp(bound->local.address, other->local.address,
                   sizeof bound->local.address) == 0);
}

/* Windows lists a bound row for each socket that listens or is connected too. Without
 * something that names a socket, the process, port and address have to do: a second
 * socket that the same process has bound to the port of its listener is left out. */
static void drop_known(listing_job *job, size_t first_bound)
{
    size_t kept = first_bound;
    if (*job->count > job->capacity) {
        return; /* the rows are not all here; the count is enough for them */
    }
    for (size_t i = first_bound; i < *job->count; i++) {
        size_t known = 0;
        while (known < first_bound && !is_same(&job->out[i], &job->out[known])) {
            known++;
        }
        if (known == first_bound) {
            job->out[kept] = job->out[i];
            kept++;
        }
    }
    *job->count = kept;
}

/* 1: the bound sockets were appended; 0: the system does not tell. */
static int8_t add_bound(listing_job *job)
{
    size_t first = *job->count;
    if (read_bound(job, "InternalGetBoundTcpEndpointTable", AF_INET, BC_TABLE_BOUND4) !=
            NO_ERROR ||
        read_bound(job, "InternalGetBoundTcp6EndpointTable", AF_INET6,
                   BC_TABLE_BOUND6) != NO_ERROR) {
        *job->count = first;
        return 0;
    }
    drop_known(job, first);
    return 1;
}

int bc_list_sockets(int32_t protocol, uint16_t port, bc_socket *out, size_t capacity,
                    size_t *count, bc_listing *listing)
{
    listing_job job = {.protocol = protocol,
                       .port = port,
                       .out = out,
                       .capacity = capacity,
                       .count = count};
    int tcp = protocol == BC_PROTOCOL_TCP;
    DWORD error = NO_ERROR;

    *count = 0;
    memset(listing, 0, sizeof *listing);
    if (protocol <= 0) {
        return BC_E_INVALID;
    }
    if (!tcp && protocol != BC_PROTOCOL_UDP) {
        return BC_E_UNSUPPORTED;
    }
    error = read_family(&job, AF_INET, tcp ? BC_TABLE_TCP4 : BC_TABLE_UDP4);
    if (error == NO_ERROR) {
        error = read_family(&job, AF_INET6, tcp ? BC_TABLE_TCP6 : BC_TABLE_UDP6);
    }
    if (error == NO_ERROR) {
        /* A table of UDP has every socket that is bound. */
        listing->bound = tcp ? add_bound(&job) : 1;
    }
    free(job.buffer);
    if (error != NO_ERROR) {
        *count = 0;
        listing->refused.code = (int32_t)error;
        listing->refused.domain = BC_DOMAIN_WIN32;
        return BC_E_UNSUPPORTED;
    }
    listing->source = BC_SOURCE_IP_HELPER;
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
