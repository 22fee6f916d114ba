/* SPDX-License-Identifier: MIT
 *
 * The socket tables of 64-bit Windows: what GetExtendedTcpTable and GetExtendedUdpTable
 * give for their OWNER_MODULE classes (iprtrmib.h), and the MIB_TCPTABLE2 and
 * MIB_TCP6TABLE2 (tcpmib.h) of the functions that list bound sockets; and the names
 * under which the registry keeps excluded ranges of ports. A table is a count and rows
 * of one size. windows/sockets.c compares the offsets with the system's headers.
 */
#include "../bindcheck.h"
#include "bytes.h"

#include <string.h>

enum { NONE = -1 };

/* Offsets within a row, in bytes; NONE for what a row has not. */
typedef struct {
    size_t first; /* offset of the first row in the table */
    size_t size;  /* of a row */
    uint16_t family;
    uint16_t protocol;
    int state, pid, created, module;
    int local, local_scope, local_port;
    int remote, remote_scope, remote_port;
} table_layout;

static const table_layout LAYOUTS[] = {
    [BC_TABLE_TCP4] = {.first = 8,
                       .size = 160,
                       .family = BC_FAMILY_INET,
                       .protocol = BC_PROTOCOL_TCP,
                       .state = 0,
                       .local = 4,
                       .local_scope = NONE,
                       .local_port = 8,
                       .remote = 12,
                       .remote_scope = NONE,
                       .remote_port = 16,
                       .pid = 20,
                       .created = 24,
                       .module = 32},
    [BC_TABLE_TCP6] = {.first = 8,
                       .size = 192,
                       .family = BC_FAMILY_INET6,
                       .protocol = BC_PROTOCOL_TCP,
                       .local = 0,
                       .local_scope = 16,
                       .local_port = 20,
                       .remote = 24,
                       .remote_scope = 40,
                       .remote_port = 44,
                       .state = 48,
                       .pid = 52,
                       .created = 56,
                       .module = 64},
    [BC_TABLE_UDP4] = {.first = 8,
                       .size = 160,
                       .family = BC_FAMILY_INET,
                       .protocol = BC_PROTOCOL_UDP,
                       .state = NONE,
                       .local = 0,
                       .local_scope = NONE,
                       .local_port = 4,
                       .remote = NONE,
                       .remote_scope = NONE,
                       .remote_port = NONE,
                       .pid = 8,
                       .created = 16,
                       .module = 32},
    [BC_TABLE_UDP6] = {.first = 8,
                       .size = 176,
                       .family = BC_FAMILY_INET6,
                       .protocol = BC_PROTOCOL_UDP,
                       .state = NONE,
                       .local = 0,
                       .local_scope = 16,
                       .local_port = 20,
                       .remote = NONE,
                       .remote_scope = NONE,
                       .remote_port = NONE,
                       .pid = 24,
                       .created = 32,
                       .module = 48},
    /* A bound socket has no peer, and its state is known from the table it is in. */
    [BC_TABLE_BOUND4] = {.first = 4,
                         .size = 28,
                         .family = BC_FAMILY_INET,
                         .protocol = BC_PROTOCOL_TCP,
                         .state = NONE,
                         .local = 4,
                         .local_scope = NONE,
                         .local_port = 8,
                         .remote = NONE,
                         .remote_scope = NONE,
                         .remote_port = NONE,
                         .pid = 20,
                         .created = NONE,
                         .module = NONE},
    [BC_TABLE_BOUND6] = {.first = 4,
                         .size = 60,
                         .family = BC_FAMILY_INET6,
                         .protocol = BC_PROTOCOL_TCP,
                         .state = NONE,
                         .local = 0,
                         .local_scope = 16,
                         .local_port = 20,
                         .remote = NONE,
                         .remote_scope = NONE,
                         .remote_port = NONE,
                         .pid = 52,
                         .created = NONE,
                         .module = NONE},
};

/* MIB_TCP_STATE (tcpmib.h). A TCB that is being deleted (12) is closed and still has
 * its port. */
static uint8_t state_of(uint32_t state)
{
    static const uint8_t STATES[] = {
        BC_STATE_UNKNOWN,    BC_STATE_CLOSE,      BC_STATE_LISTEN,
        BC_STATE_SYN_SENT,   BC_STATE_SYN_RECV,   BC_STATE_ESTABLISHED,
        BC_STATE_FIN_WAIT_1, BC_STATE_FIN_WAIT_2, BC_STATE_CLOSE_WAIT,
        BC_STATE_CLOSING,    BC_STATE_LAST_ACK,   BC_STATE_TIME_WAIT,
        BC_STATE_CLOSE,
    };
    return state < sizeof STATES ? STATES[state] : BC_STATE_UNKNOWN;
}

/* The page of MIB_TCP6ROW_OWNER_MODULE says that scope ids are in network byte order;
 * programs that read them in host order work as well. An interface index is small, so
 * of the two readings the smaller is the index. */
static uint32_t scope_of(const uint8_t *bytes)
{
    uint32_t host = bc__u32(bytes, 0);
    uint32_t network = bc__u32(bytes, 1);
    return host < network ? host : network;
}

/* fe80::/10. Other addresses belong to no interface; Wine has a number there too. */
static int is_link_local(const uint8_t *address)
{
    return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

static void read_endpoint(const uint8_t *row, uint16_t family, int address, int scope,
                          int port, bc_endpoint *out)
{
    memset(out, 0, sizeof *out);
    out->family = family;
    if (address == NONE) {
        return;
    }
    memcpy(out->address, row + address, family == BC_FAMILY_INET ? 4 : 16);
    /* In network byte order; "the upper 16 bits may contain uninitialized data". */
    out->port = bc__u16(row + port, 1);
    if (scope != NONE && is_link_local(out->address)) {
        out->scope_id = scope_of(row + scope);
    }
}

static void read_row(const uint8_t *row, const table_layout *layout, bc_socket *out)
{
    memset(out, 0, sizeof *out);
    out->uid = UINT32_MAX;
    out->v6only = out->reuse_address = out->reuse_port = -1;
    out->source = BC_SOURCE_IP_HELPER;
    out->protocol = layout->protocol;
    out->state = layout->state == NONE ? (uint8_t)BC_STATE_CLOSE
                                       : state_of(bc__u32(row + layout->state, 0));
    read_endpoint(row, layout->family, layout->local, layout->local_scope,
                  layout->local_port, &out->local);
    /* "If the state is MIB_TCP_STATE_LISTEN, this value has no meaning." */
    read_endpoint(row, layout->family,
                  out->state == BC_STATE_LISTEN ? NONE : layout->remote,
                  layout->remote_scope, layout->remote_port, &out->remote);
    /* A pid above 2^31 is none that Windows gives; it must not become negative. */
    out->pid = (int32_t)(bc__u32(row + layout->pid, 0) & INT32_MAX);
    if (layout->created != NONE) {
        out->created = bc__u64(row + layout->created, 0);
    }
    if (layout->module != NONE) {
        /* The first of OwningModuleInfo's numbers is the tag of the service. */
        out->service_tag = bc__u32(row + layout->module, 0);
    }
}

int bc_decode_ip_helper(const uint8_t *bytes, size_t length, int layout, uint16_t port,
                        bc_socket *out, size_t capacity, size_t *count)
{
    const table_layout *table;
    size_t rows;
    if (layout < BC_TABLE_TCP4 || layout > BC_TABLE_BOUND6) {
        return BC_E_INVALID;
    }
    table = &LAYOUTS[layout];
    if (length < sizeof(uint32_t)) {
        return BC_E_MALFORMED;
    }
    rows = bc__u32(bytes, 0);
    /* An empty table may end before the place of the first row. */
    if (rows > 0 &&
        (length < table->first || rows > (length - table->first) / table->size)) {
        return BC_E_MALFORMED;
    }
    for (size_t i = 0; i < rows; i++) {
        bc_socket row;
        read_row(bytes + table->first + i * table->size, table, &row);
        /* What has no port holds none. */
        if (row.local.port == 0 || (port != 0 && row.local.port != port)) {
            continue;
        }
        if (*count < capacity) {
            out[*count] = row;
        }
        (*count)++;
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}

static int digit(char character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    if (character >= 'A' && character <= 'F') {
        return character - 'A' + 10;
    }
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

/* "cc570100" is one port, 52311: the start in network byte order, the count in the
 * machine's. No page documents it. */
int bc_decode_excluded_range(const char *name, size_t length, bc_port_range *out)
{
    uint8_t bytes[4];
    unsigned first, count;
    if (length != 2 * sizeof bytes) {
        return BC_E_MALFORMED;
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        int high = digit(name[2 * i]);
        int low = digit(name[2 * i + 1]);
        if (high < 0 || low < 0) {
            return BC_E_MALFORMED;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    first = bc__u16(bytes, 1);
    count = bc__u16(bytes + 2, 0);
    if (count == 0 || first + count - 1 > UINT16_MAX) {
        return BC_E_MALFORMED;
    }
    memset(out, 0, sizeof *out);
    out->first = (uint16_t)first;
    out->last = (uint16_t)(first + count - 1);
    out->kind = BC_KEPT_EXCLUDED;
    return BC_OK;
}
