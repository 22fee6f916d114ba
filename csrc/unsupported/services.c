/* SPDX-License-Identifier: MIT
 *
 * For systems whose services have processes of their own.
 */
#include "../internal.h"

int bc_service_name(int32_t pid, uint32_t tag, char *out, size_t capacity)
{
    (void)pid;
    (void)tag;
    if (capacity > 0) {
        out[0] = '\0';
    }
    return BC_E_UNSUPPORTED;
}
