/* SPDX-License-Identifier: MIT
 *
 * One attempt on an AF_UNIX or AF_VSOCK address, as probe.c makes it on an IP address.
 * The sockaddrs are laid out by hand: some systems' headers lack one of them, and none
 * has room for the name that is too long, which the system itself is to refuse.
 */
#include "internal.h"

#include <string.h>

/* linux/vm_sockets.h and macOS agree on the number; Windows has no such family. */
#define VSOCK 40

/* struct sockaddr_vm: family, reserved, port, cid, flags, 3 zeros. */
enum { HEAD = 2, VSOCK_PORT = 4, VSOCK_CID = 8, VSOCK_LENGTH = 16 };

static void put_family(uint8_t *address, int family, size_t length)
{
#if defined(__APPLE__)
    address[0] = (uint8_t)length;
    address[1] = (uint8_t)family;
#else
    const uint16_t number = (uint16_t)family;
    (void)length;
    memcpy(address, &number, sizeof number);
#endif
}

/* The length of the sockaddr. A path ends with a NUL where there is room for one, as
 * unix(7) wants it; an abstract name does not, since its length counts. */
static size_t lay_out(const bc_name_request *request, uint8_t *address)
{
    size_t length = HEAD + request->length;
    if (request->family == BC_FAMILY_VSOCK) {
        put_family(address, VSOCK, VSOCK_LENGTH);
        memcpy(address + VSOCK_PORT, &request->port, sizeof request->port);
        memcpy(address + VSOCK_CID, &request->cid, sizeof request->cid);
        return VSOCK_LENGTH;
    }
    memcpy(address + HEAD, request->name, request->length);
    if (request->length > 0 && request->name[0] != 0 && request->length < 108) {
        length++;
    }
    put_family(address, AF_UNIX, length);
    return length;
}

/* Not every system tells how long a path is: some give the whole of sun_path, with
 * zeros behind the NUL that ends it. In an abstract name zeros count. */
static void cut_padding(bc_name_result *result)
{
    while (result->name[0] != 0 && result->name[result->length - 1] == 0 &&
           result->name[result->length - 2] == 0) {
        result->length--;
    }
}

static void read_name(bc__handle handle, int family, bc_name_result *result)
{
    uint8_t address[128] = {0};
    bc__length length = sizeof address;
    if (getsockname(handle, (struct sockaddr *)address, &length) != 0) {
        int32_t code = bc__last_socket_error();
        bc__fail(&result->error, BC_STEP_GETSOCKNAME, BC_OPTION_NONE, code);
        return;
    }
    if (family == BC_FAMILY_VSOCK) {
        memcpy(&result->port, address + VSOCK_PORT, sizeof result->port);
        memcpy(&result->cid, address + VSOCK_CID, sizeof result->cid);
    } else if ((size_t)length > HEAD && (size_t)length <= sizeof address) {
        result->length = (uint32_t)((size_t)length - HEAD);
        memcpy(result->name, address + HEAD, result->length);
        cut_padding(result);
    }
}

static int native_type(int type)
{
    switch (type) {
    case BC_TYPE_STREAM:
        return SOCK_STREAM;
    case BC_TYPE_DATAGRAM:
        return SOCK_DGRAM;
    case BC_TYPE_SEQPACKET:
        return SOCK_SEQPACKET;
    default:
        return -1;
    }
}

int bc_probe_name(const bc_name_request *request, bc_name_result *result)
{
    /* Aligned for a sockaddr, with room for the name and the NUL behind it. */
    union {
        struct sockaddr_storage aligned;
        uint8_t bytes[HEAD + BC_NAME_BYTES + 1];
    } address;
    bc__handle handle = BC__INVALID_HANDLE;
    int family = request->family == BC_FAMILY_UNIX ? AF_UNIX : VSOCK;
    int type = native_type(request->type);
    size_t length;

    memset(result, 0, sizeof *result);
    if ((request->family != BC_FAMILY_UNIX && request->family != BC_FAMILY_VSOCK) ||
        type < 0 || request->length > sizeof request->name) {
        return BC_E_INVALID;
    }
    memset(&address, 0, sizeof address);
    length = lay_out(request, address.bytes);

    handle = bc__open_socket(family, type, 0);
    if (handle == BC__INVALID_HANDLE) {
        int32_t code = bc__last_socket_error();
        bc__fail(&result->error, BC_STEP_SOCKET, BC_OPTION_NONE, code);
        goto out;
    }
    if (bc__bind_and_listen(handle, (const struct sockaddr *)&address,
                            (bc__length)length, request->listen, request->backlog,
                            &result->error) == 0) {
        read_name(handle, request->family, result);
    }
out:
    if (handle != BC__INVALID_HANDLE) {
        bc__close_socket(handle);
    }
    return BC_OK;
}
