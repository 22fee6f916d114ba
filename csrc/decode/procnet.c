/* SPDX-License-Identifier: MIT
 *
 * Lines of /proc/net/{tcp,udp,udplite}{,6} (proc(5), net/ipv4/tcp_ipv4.c
 * get_tcp4_sock): the fallback where there is no NETLINK_SOCK_DIAG (gVisor, WSL1, some
 * small kernels). An address is printed as 32-bit words in hexadecimal, each in the
 * byte order of the machine; a port is printed as a number.
 */
#include "../bindcheck.h"

#include <string.h>

enum { MS_PER_TICK = 10 }; /* USER_HZ is 100 (include/asm-generic/param.h) */

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    int failed;
} cursor;

static void skip_blanks(cursor *text)
{
    while (text->at < text->end && *text->at == ' ') {
        text->at++;
    }
}

static int digit(uint8_t character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    if (character >= 'A' && character <= 'F') {
        return character - 'A' + 10;
    }
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

/* A number of at most 19 digits; sets `failed` when there is none. */
static uint64_t number(cursor *text, unsigned base)
{
    uint64_t value = 0;
    int digits = 0;
    const int most = base == 16 ? 16 : 19; /* more may not fit */
    while (text->at < text->end && digits <= most) {
        int next = digit(*text->at);
        if (next < 0 || (unsigned)next >= base) {
            break;
        }
        value = value * base + (unsigned)next;
        text->at++;
        digits++;
    }
    if (digits == 0 || digits > most) {
        text->failed = 1;
    }
    return value;
}

/* The same, which must not exceed `largest`. */
static uint64_t bounded(cursor *text, unsigned base, uint64_t largest)
{
    uint64_t value = number(text, base);
    if (value > largest) {
        text->failed = 1;
    }
    return value;
}

static void expect(cursor *text, uint8_t character)
{
    if (text->at < text->end && *text->at == character) {
        text->at++;
    } else {
        text->failed = 1;
    }
}

static void address_word(cursor *text, int big_endian, uint8_t *out)
{
    uint32_t word = 0;
    for (int i = 0; i < 8; i++) {
        int next = text->at < text->end ? digit(*text->at) : -1;
        if (next < 0) {
            text->failed = 1;
            return;
        }
        word = word << 4 | (uint32_t)next;
        text->at++;
    }
    for (int i = 0; i < 4; i++) {
        int shift = big_endian ? 24 - 8 * i : 8 * i;
        out[i] = (uint8_t)(word >> shift);
    }
}

static void endpoint(cursor *text, int family, int big_endian, bc_endpoint *out)
{
    int words = family == BC_FAMILY_INET ? 1 : 4;
    skip_blanks(text);
    memset(out, 0, sizeof *out);
    out->family = (uint16_t)family;
    for (int i = 0; i < words && !text->failed; i++) {
        address_word(text, big_endian, out->address + 4 * (size_t)i);
    }
    expect(text, ':');
    out->port = (uint16_t)bounded(text, 16, UINT16_MAX);
}

static uint64_t field(cursor *text, unsigned base, uint64_t largest)
{
    skip_blanks(text);
    return bounded(text, base, largest);
}

static int decode_line(cursor text, int family, int big_endian, int32_t protocol,
                       bc_socket *row)
{
    uint64_t ticks;
    memset(row, 0, sizeof *row);
    row->v6only = row->reuse_address = row->reuse_port = -1;
    row->source = BC_SOURCE_PROC_NET;
    row->protocol = (uint16_t)protocol;
    (void)field(&text, 10, UINT64_MAX); /* sl */
    expect(&text, ':');
    endpoint(&text, family, big_endian, &row->local);
    endpoint(&text, family, big_endian, &row->remote);
    row->state = (uint8_t)field(&text, 16, UINT8_MAX);
    (void)field(&text, 16, UINT64_MAX); /* tx_queue */
    expect(&text, ':');
    (void)field(&text, 16, UINT64_MAX); /* rx_queue */
    row->timer = (uint8_t)field(&text, 16, UINT8_MAX);
    expect(&text, ':');
    ticks = field(&text, 16, UINT64_MAX);
    (void)field(&text, 16, UINT64_MAX); /* retrnsmt */
    row->uid = (uint32_t)field(&text, 10, UINT32_MAX);
    (void)field(&text, 10, UINT64_MAX); /* timeout */
    row->inode = field(&text, 10, UINT64_MAX);
    if (row->timer != 0 && ticks <= UINT32_MAX / MS_PER_TICK) {
        row->expires_ms = (uint32_t)ticks * MS_PER_TICK;
    }
    return !text.failed;
}

int bc_decode_proc_net(const uint8_t *bytes, size_t length, int big_endian, int family,
                       int32_t protocol, uint16_t port, bc_socket *out, size_t capacity,
                       size_t *count, size_t *consumed, bc_decode_status *status)
{
    *consumed = 0;
    if (family != BC_FAMILY_INET && family != BC_FAMILY_INET6) {
        return BC_E_INVALID;
    }
    while (*consumed < length) {
        const uint8_t *line = bytes + *consumed;
        const uint8_t *end = memchr(line, '\n', length - *consumed);
        bc_socket row;
        if (end == NULL) {
            break;
        }
        *consumed += (size_t)(end - line) + 1;
        /* The heading is the line that is no row. */
        if (!decode_line((cursor){line, end, 0}, family, big_endian, protocol, &row) ||
            row.local.port == 0 || (port != 0 && row.local.port != port)) {
            continue;
        }
        if (row.state == BC_STATE_SYN_RECV && row.inode == 0) {
            status->requests++;
            continue;
        }
        if (*count < capacity) {
            out[*count] = row;
        }
        (*count)++;
    }
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
