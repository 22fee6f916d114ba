/* SPDX-License-Identifier: MIT
 *
 * The sockets on a port, from the sysctls net.inet.{tcp,udp}.pcblist_n, which need no
 * privilege. They have every state, sockets in TIME_WAIT, those that are bound and
 * nothing else, and the flows of Network.framework that have no socket.
 */
#include "../internal.h"
#include "darwin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* On a busy machine something changes during every reading. */
enum { TRIES = 4 };

static const char *table_of(int32_t protocol)
{
    if (protocol == BC_PROTOCOL_TCP) {
        return "net.inet.tcp.pcblist_n";
    }
    return protocol == BC_PROTOCOL_UDP ? "net.inet.udp.pcblist_n" : NULL;
}

int bc_list_sockets(int32_t protocol, uint16_t port, bc_socket *out, size_t capacity,
                    size_t *count, bc_listing *listing)
{
    const char *table = table_of(protocol);
    bc_decode_status status = {.state = BC_DECODE_MORE};
    int error = 0;

    *count = 0;
    memset(listing, 0, sizeof *listing);
    if (protocol <= 0) {
        return BC_E_INVALID;
    }
    if (table == NULL) {
        return BC_E_UNSUPPORTED;
    }
    for (int i = 0; i < TRIES && error == 0 && status.state != BC_DECODE_DONE; i++) {
        uint8_t *bytes = NULL;
        size_t length = 0;
        error = bc__read_sysctl(table, &bytes, &length);
        if (error == 0) {
            *count = 0;
            if (bc_decode_pcblist(bytes, length, bc__big_endian(), protocol, port, out,
                                  capacity, count, &status) == BC_E_MALFORMED) {
                error = EBADMSG;
            }
        }
        free(bytes);
    }
    if (error != 0) {
        *count = 0;
        listing->refused.code = error;
        listing->refused.domain = BC_DOMAIN_ERRNO;
        return BC_E_UNSUPPORTED;
    }
    listing->source = BC_SOURCE_PCBLIST;
    listing->bound = 1;
    return *count > capacity ? BC_E_TRUNCATED : BC_OK;
}
