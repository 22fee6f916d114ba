/* SPDX-License-Identifier: MIT
 *
 * What macOS' sysctl net.inet.{tcp,udp}.pcblist_n gives (bsd/netinet/in_pcblist.c,
 * get_pcblist_n): an xinpgen, then for each socket some records that begin with their
 * length and kind and are padded to eight bytes, then an xinpgen again. The structs are
 * private to the kernel (bsd/netinet/in_pcb.h, bsd/sys/socketvar.h,
 * bsd/netinet/tcp_var.h, under #pragma pack(4)) and have grown at their ends, so
 * nothing is taken from their sizes. Numbers are in the byte order of the machine,
 * except ports and addresses, which are in network order.
 *
 * A flow of Network.framework, which has no socket in the kernel, is listed with few of
 * the fields filled in (bsd/net/ntstat.c, nstat_userland_to_xinpcb_n): what it does not
 * tell is left unknown here.
 */
#include "../bindcheck.h"
#include "bytes.h"

#include <string.h>

/* An xinpgen is shorter than any record, which is how its end is known: where a record
 * has its kind it has a count, which may be any number. */
enum { GENERATION = 24, RECORD_HEADER = 8, WORD = 8 };
/* bsd/sys/socketvar.h */
enum { XSO_SOCKET = 0x001, XSO_INPCB = 0x010, XSO_TCPCB = 0x020 };
/* struct xinpcb_n */
enum {
    PCB_HANDLE = 8,
    PCB_REMOTE_PORT = 16,
    PCB_LOCAL_PORT = 18,
    PCB_FLAGS = 36,
    PCB_VERSIONS = 44,
    PCB_REMOTE = 48,
    PCB_LOCAL = 64,
    PCB_ENOUGH = 80
};
/* struct xsocket_n; macOS 12 ends it before the generation */
enum {
    SOCKET_HANDLE = 8,
    SOCKET_OPTIONS = 20,
    SOCKET_FAMILY = 40,
    SOCKET_UID = 64,
    SOCKET_LAST_PID = 68,
    SOCKET_EFFECTIVE_PID = 72,
    SOCKET_GENERATION = 76,
    SOCKET_FLAGS1 = 88
};
enum { TCP_STATE = 36 }; /* struct xtcpcb_n */
/* The kernel's own numbers: this file is compiled elsewhere too. */
enum { DARWIN_AF_INET = 2, DARWIN_AF_INET6 = 30 };
enum { DARWIN_SO_REUSEADDR = 0x0004, DARWIN_SO_REUSEPORT = 0x0200 };
enum { INP_IPV4 = 1, INP_IPV6 = 2, INP_V4MAPPEDV6 = 4 };
enum { IN6P_IPV6_V6ONLY = 0x8000 };
enum { SOF1_INBOUND = 0x01000000 };

typedef struct {
    const uint8_t *bytes; /* NULL: not there */
    size_t length;
} record;

/* What tells of one socket. */
typedef struct {
    record pcb, socket, tcp;
} group;

static int has(const record *of, size_t offset, size_t size)
{
    return of->bytes != NULL && of->length >= offset + size;
}

/* A number of a record; 0 where the record ends before it. */
static uint32_t word_at(const record *of, size_t offset, int big_endian)
{
    return has(of, offset, 4) ? bc__u32(of->bytes + offset, big_endian) : 0;
}

static uint64_t long_at(const record *of, size_t offset, int big_endian)
{
    return has(of, offset, 8) ? bc__u64(of->bytes + offset, big_endian) : 0;
}

/* bsd/netinet/tcp_fsm.h. A socket that is bound and nothing else is CLOSED. */
static uint8_t state_of(const record *tcp, int big_endian)
{
    static const uint8_t STATES[] = {
        BC_STATE_CLOSE,      BC_STATE_LISTEN,      BC_STATE_SYN_SENT,
        BC_STATE_SYN_RECV,   BC_STATE_ESTABLISHED, BC_STATE_CLOSE_WAIT,
        BC_STATE_FIN_WAIT_1, BC_STATE_CLOSING,     BC_STATE_LAST_ACK,
        BC_STATE_FIN_WAIT_2, BC_STATE_TIME_WAIT};
    uint32_t state = word_at(tcp, TCP_STATE, big_endian);
    if (!has(tcp, TCP_STATE, 4) || state >= sizeof STATES) {
        return BC_STATE_UNKNOWN;
    }
    return STATES[state];
}

/* The kernel embeds the zone of these (in6_embedscope, bsd/netinet6/in6.h
 * IN6_IS_SCOPE_EMBED): fe80::/10, and interface-local and link-local groups. */
static int embeds_zone(const uint8_t *address)
{
    if (address[0] == 0xff) {
        return (address[1] & 0x0f) == 1 || (address[1] & 0x0f) == 2;
    }
    return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

static void decode_endpoint(const uint8_t *pcb, int remote, uint16_t family,
                            bc_endpoint *out)
{
    const uint8_t *address = pcb + (remote ? PCB_REMOTE : PCB_LOCAL);
    const uint8_t *last = address + 12; /* where an IPv4 address is */
    unsigned versions = pcb[PCB_VERSIONS];

    memset(out, 0, sizeof *out);
    out->family = family;
    out->port = bc__u16(pcb + (remote ? PCB_REMOTE_PORT : PCB_LOCAL_PORT), 1);
    if (family == BC_FAMILY_INET) {
        memcpy(out->address, last, 4);
        return;
    }
    if ((versions & INP_V4MAPPEDV6) != 0 || (versions & INP_IPV6) == 0) {
        /* An AF_INET6 socket that talks IPv4: bound to a mapped address
         * (bsd/netinet/tcp_usrreq.c, tcp6_usr_bind), or accepted from one. */
        if (!remote || out->port != 0) {
            out->address[10] = out->address[11] = 0xff;
            memcpy(out->address + 12, last, 4);
        }
        return;
    }
    memcpy(out->address, address, 16);
    if (embeds_zone(address)) {
        out->scope_id = bc__u16(address + 2, 1);
        out->address[2] = out->address[3] = 0;
    }
}

static uint16_t family_of(const group *from, int big_endian)
{
    uint32_t told = word_at(&from->socket, SOCKET_FAMILY, big_endian);
    unsigned versions = from->pcb.bytes[PCB_VERSIONS];
    if (told == DARWIN_AF_INET6 || (told == 0 && (versions & INP_IPV6) != 0)) {
        return BC_FAMILY_INET6;
    }
    if (told == DARWIN_AF_INET || (told == 0 && (versions & INP_IPV4) != 0)) {
        return BC_FAMILY_INET;
    }
    return BC_FAMILY_NONE;
}

/* sonewconn() of bsd/kern/uipc_socket2.c marks what a listener made. */
static uint8_t opened_by(const record *socket, int state, int big_endian)
{
    if (!has(socket, SOCKET_FLAGS1, 4) || state == BC_STATE_UNKNOWN ||
        state == BC_STATE_CLOSE || state == BC_STATE_LISTEN) {
        return BC_OPENED_UNKNOWN;
    }
    return (word_at(socket, SOCKET_FLAGS1, big_endian) & SOF1_INBOUND) != 0
               ? BC_OPENED_PASSIVELY
               : BC_OPENED_ACTIVELY;
}

/* What the socket tells; nothing where the kernel has none. */
static void decode_socket(const record *socket, int big_endian, bc_socket *row)
{
    uint32_t options = word_at(socket, SOCKET_OPTIONS, big_endian);
    row->inode = long_at(socket, SOCKET_HANDLE, big_endian);
    row->pid = (int32_t)word_at(socket, SOCKET_LAST_PID, big_endian);
    if (row->pid == 0) {
        row->pid = (int32_t)word_at(socket, SOCKET_EFFECTIVE_PID, big_endian);
    }
    if (row->inode == 0) {
        return;
    }
    if (has(socket, SOCKET_OPTIONS, 4)) {
        row->reuse_address = (int8_t)((options & DARWIN_SO_REUSEADDR) != 0);
        row->reuse_port = (int8_t)((options & DARWIN_SO_REUSEPORT) != 0);
    }
    if (has(socket, SOCKET_UID, 4)) {
        row->uid = word_at(socket, SOCKET_UID, big_endian);
    }
    row->cookie = long_at(socket, SOCKET_GENERATION, big_endian);
    row->opened = opened_by(socket, row->state, big_endian);
}

/* Whether it is a row that concerns the caller. */
static int decode_row(const group *from, int big_endian, int32_t protocol,
                      uint16_t port, bc_socket *row)
{
    const uint8_t *pcb = from->pcb.bytes;
    uint16_t family;

    if (!has(&from->pcb, 0, PCB_ENOUGH)) {
        return 0;
    }
    family = family_of(from, big_endian);
    memset(row, 0, sizeof *row);
    row->local.port = bc__u16(pcb + PCB_LOCAL_PORT, 1);
    if (family == BC_FAMILY_NONE || row->local.port == 0 ||
        (port != 0 && row->local.port != port)) {
        return 0;
    }
    row->v6only = row->reuse_address = row->reuse_port = -1;
    row->uid = UINT32_MAX;
    row->source = BC_SOURCE_PCBLIST;
    row->protocol = (uint16_t)protocol;
    row->state =
        protocol == BC_PROTOCOL_TCP ? state_of(&from->tcp, big_endian) : BC_STATE_CLOSE;
    /* How long it still lasts is not told. */
    row->timer = row->state == BC_STATE_TIME_WAIT ? 3 : 0;
    decode_endpoint(pcb, 0, family, &row->local);
    decode_endpoint(pcb, 1, family, &row->remote);
    if (family == BC_FAMILY_INET6 && long_at(&from->pcb, PCB_HANDLE, big_endian) != 0) {
        uint32_t flags = word_at(&from->pcb, PCB_FLAGS, big_endian);
        row->v6only = (int8_t)((flags & IN6P_IPV6_V6ONLY) != 0);
    }
    decode_socket(&from->socket, big_endian, row);
    return 1;
}

/* The next record, and past its padding. Returns 0 at the end, -1 when its length makes
 * no sense. */
static int next_record(const uint8_t **bytes, size_t *length, int big_endian,
                       record *out)
{
    size_t step;
    if (*length == 0) {
        return 0;
    }
    if (*length < RECORD_HEADER) {
        return -1;
    }
    out->bytes = *bytes;
    out->length = bc__u32(*bytes, big_endian);
    if (out->length < RECORD_HEADER || out->length > *length) {
        return -1;
    }
    step = out->length + (WORD - out->length % WORD) % WORD;
    step = step < *length ? step : *length;
    *bytes += step;
    *length -= step;
    return 1;
}

/* What a record is; 0 for none, and for the xinpgen at the end. */
static uint32_t kind_of(const record *one, int found, int big_endian)
{
    if (found <= 0 || one->length == GENERATION) {
        return 0;
    }
    return bc__u32(one->bytes + 4, big_endian);
}

int bc_decode_pcblist(const uint8_t *bytes, size_t length, int big_endian,
                      int32_t protocol, uint16_t port, bc_socket *out, size_t capacity,
                      size_t *count, bc_decode_status *status)
{
    static const group NOTHING = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    group now = NOTHING;
    record first;
    record one = {NULL, 0};
    int found = 0;
    int ends = 0;

    status->state = BC_DECODE_MORE;
    if (next_record(&bytes, &length, big_endian, &first) <= 0 ||
        first.length < GENERATION) {
        return BC_E_MALFORMED;
    }
    if (length == 0 && bc__u32(first.bytes + 4, big_endian) == 0) {
        status->state = BC_DECODE_DONE; /* no sockets, and then no second xinpgen */
    }
    while (!ends) {
        bc_socket row;
        uint32_t kind;
        found = next_record(&bytes, &length, big_endian, &one);
        if (found < 0) {
            return BC_E_MALFORMED;
        }
        ends = found == 0 || one.length == GENERATION;
        kind = kind_of(&one, found, big_endian);
        if ((ends || kind == XSO_INPCB) &&
            decode_row(&now, big_endian, protocol, port, &row)) {
            if (*count < capacity) {
                out[*count] = row;
            }
            (*count)++;
        }
        if (kind == XSO_INPCB) {
            now = NOTHING;
            now.pcb = one;
        } else if (kind == XSO_SOCKET) {
            now.socket = one;
        } else if (kind == XSO_TCPCB) {
            now.tcp = one;
        }
    }
    /* xig_gen. What stands behind the second xinpgen belongs to nobody. */
    if (found > 0 && memcmp(first.bytes + 8, one.bytes + 8, 8) == 0) {
        status->state = BC_DECODE_DONE;
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
