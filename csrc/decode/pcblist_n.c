/* SPDX-License-Identifier: MIT */
#include "../bindcheck.h"

int bc_decode_pcblist(const uint8_t *bytes, size_t length, int big_endian,
                      int32_t protocol, uint16_t port, bc_socket *out, size_t capacity,
                      size_t *count, bc_decode_status *status)
{
    (void)bytes;
    (void)length;
    (void)big_endian;
    (void)protocol;
    (void)port;
    (void)out;
    (void)capacity;
    (void)count;
    (void)status;
    return BC_E_MALFORMED;
}

int bc_decode_port_bitmap(const uint8_t *bytes, size_t length, bc_port_range *out,
                          size_t capacity, size_t *count)
{
    (void)bytes;
    (void)length;
    (void)out;
    (void)capacity;
    (void)count;
    return BC_E_MALFORMED;
}
