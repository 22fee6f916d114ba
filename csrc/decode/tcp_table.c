/* SPDX-License-Identifier: MIT */
#include "../bindcheck.h"

int bc_decode_ip_helper(const uint8_t *bytes, size_t length, int layout, uint16_t port,
                        bc_socket *out, size_t capacity, size_t *count)
{
    (void)bytes;
    (void)length;
    (void)layout;
    (void)port;
    (void)out;
    (void)capacity;
    (void)count;
    return BC_E_MALFORMED;
}

int bc_decode_excluded_range(const char *name, size_t length, bc_port_range *out)
{
    (void)name;
    (void)length;
    (void)out;
    return BC_E_MALFORMED;
}
