/* SPDX-License-Identifier: MIT
 *
 * One attempt, exactly as a server would make it: socket, each requested setsockopt,
 * bind, optionally listen, getsockname, close. Every step's error number is copied in
 * the statement after the call, because close() and even a successful later call may
 * change it. Nothing is allocated, nothing is retried, nothing is interpreted.
 */
#include "internal.h"

#include <string.h>

/* In the order in which a careful server sets them. */
static const uint8_t OPTION_ORDER[] = {BC_OPTION_V6ONLY,     BC_OPTION_REUSE_ADDRESS,
                                       BC_OPTION_REUSE_PORT, BC_OPTION_EXCLUSIVE,
                                       BC_OPTION_FREEBIND,   BC_OPTION_DEVICE};

static int option_value(const bc_probe_request *request, int option)
{
    switch (option) {
    case BC_OPTION_REUSE_ADDRESS:
        return request->reuse_address;
    case BC_OPTION_REUSE_PORT:
        return request->reuse_port;
    case BC_OPTION_EXCLUSIVE:
        return request->exclusive;
    case BC_OPTION_V6ONLY:
        return request->v6only;
    case BC_OPTION_FREEBIND:
        return request->freebind;
    default:
        return request->device[0] != '\0' ? 1 : -1;
    }
}

void bc__fail(bc_error *error, int step, int option, int32_t code)
{
    error->code = code;
    error->domain = BC__DOMAIN_SOCKET;
    error->step = (uint8_t)step;
    error->option = (uint8_t)option;
}

int bc__bind_and_listen(bc__handle handle, const struct sockaddr *address,
                        bc__length length, int wants_listen, int backlog,
                        bc_error *error)
{
    if (bind(handle, address, length) != 0) {
        int32_t code = bc__last_socket_error();
        bc__fail(error, BC_STEP_BIND, BC_OPTION_NONE, code);
        return -1;
    }
    if (wants_listen && listen(handle, backlog) != 0) {
        int32_t code = bc__last_socket_error();
        bc__fail(error, BC_STEP_LISTEN, BC_OPTION_NONE, code);
        return -1;
    }
    return 0;
}

static int set_options(bc__handle handle, int family, const bc_probe_request *request,
                       bc_probe_result *result)
{
    for (size_t i = 0; i < sizeof OPTION_ORDER; i++) {
        int option = OPTION_ORDER[i];
        int value = option_value(request, option);
        if (value < 0) {
            continue;
        }
        if (bc__set_option(handle, family, option, value, request->device) != 0) {
            int32_t code = bc__last_socket_error();
            bc__fail(&result->error, BC_STEP_SETSOCKOPT, option, code);
            return -1;
        }
    }
    return 0;
}

/* `asks_port`: whether getsockname() is called. */
static int attempt(const bc_probe_request *request, int asks_port,
                   bc_probe_result *result)
{
    struct sockaddr_storage address;
    bc__handle handle = BC__INVALID_HANDLE;
    bc__length length = bc__to_sockaddr(&request->local, &address);
    int family = request->local.family == BC_FAMILY_INET ? AF_INET : AF_INET6;
    int type = request->type == BC_TYPE_STREAM ? SOCK_STREAM : SOCK_DGRAM;

    memset(result, 0, sizeof *result);
    if (length == 0 || memchr(request->device, 0, sizeof request->device) == NULL ||
        (request->type != BC_TYPE_STREAM && request->type != BC_TYPE_DATAGRAM)) {
        return BC_E_INVALID;
    }

    handle = bc__open_socket(family, type, request->protocol);
    if (handle == BC__INVALID_HANDLE) {
        int32_t code = bc__last_socket_error();
        bc__fail(&result->error, BC_STEP_SOCKET, BC_OPTION_NONE, code);
        goto out;
    }
    if (set_options(handle, family, request, result) != 0) {
        goto out;
    }
    if (bc__bind_and_listen(handle, (const struct sockaddr *)&address, length,
                            request->listen, request->backlog, &result->error) != 0) {
        goto out;
    }
    if (!asks_port) {
        goto out;
    }
    length = sizeof address;
    if (getsockname(handle, (struct sockaddr *)&address, &length) != 0) {
        int32_t code = bc__last_socket_error();
        bc__fail(&result->error, BC_STEP_GETSOCKNAME, BC_OPTION_NONE, code);
        goto out;
    }
    (void)bc__from_sockaddr((const struct sockaddr *)&address, length, &result->bound);
out:
    if (handle != BC__INVALID_HANDLE) {
        bc__close_socket(handle);
    }
    return BC_OK;
}

int bc_probe(const bc_probe_request *request, bc_probe_result *result)
{
    return attempt(request, 1, result);
}

int64_t bc_probe_address(int32_t protocol, int type, const uint8_t *address,
                         size_t length, uint16_t port, uint32_t scope_id)
{
    bc_probe_result result;
    bc_probe_request request = {.local = {.port = port, .scope_id = scope_id},
                                .protocol = protocol,
                                .type = (uint8_t)type,
                                .reuse_address = -1,
                                .reuse_port = -1,
                                .exclusive = -1,
                                .v6only = -1,
                                .freebind = -1};
    if (length != 4 && length != sizeof request.local.address) {
        return -1;
    }
    request.local.family = length == 4 ? BC_FAMILY_INET : BC_FAMILY_INET6;
    memcpy(request.local.address, address, length);
    if (attempt(&request, port == 0, &result) != BC_OK) {
        return -1;
    }
    if (result.error.step != BC_STEP_NONE) {
        return -((int64_t)result.error.step << 32 | (uint32_t)result.error.code);
    }
    return port != 0 ? port : result.bound.port;
}
