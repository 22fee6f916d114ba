/* SPDX-License-Identifier: MIT
 *
 * The addresses of the interfaces are not read on Windows yet.
 */
#include "../internal.h"

#include <string.h>

uint32_t bc_interface_index(const char *name)
{
    return if_nametoindex(name);
}

int bc_list_addresses(bc_interface_address *out, size_t capacity, size_t *count,
                      bc_error *error)
{
    (void)out;
    (void)capacity;
    *count = 0;
    memset(error, 0, sizeof *error);
    return BC_E_UNSUPPORTED;
}
