/* SPDX-License-Identifier: MIT
 *
 * The ports that only programs with an entitlement may bind, from the sysctl
 * net.restricted_port.bitmap (bsd/net/restricted_in_port.c). A bind() without it says
 * EADDRINUSE.
 */
#include "../internal.h"
#include "darwin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int bc_list_kept_ports(int32_t protocol, bc_port_range *out, size_t capacity,
                       size_t *count, bc_error *error)
{
    uint8_t *bytes = NULL;
    size_t length = 0;
    int status = 0;

    *count = 0;
    memset(error, 0, sizeof *error);
    if (protocol == BC_PROTOCOL_UDP) {
        /* The bitmap tells no protocol. What it has on macOS is of TCP; the ports of
         * UDP in the kernel's list are those of its other systems. */
        return BC_OK;
    }
    if (protocol != BC_PROTOCOL_TCP) {
        return BC_E_UNSUPPORTED;
    }
    error->code = bc__read_sysctl("net.restricted_port.bitmap", &bytes, &length);
    if (error->code == ENOENT) {
        error->code = 0; /* a kernel without such ports */
        return BC_OK;
    }
    if (error->code != 0) {
        error->domain = BC_DOMAIN_ERRNO;
        return BC_E_SYSTEM;
    }
    status = bc_decode_port_bitmap(bytes, length, out, capacity, count);
    free(bytes);
    return status;
}
