/* SPDX-License-Identifier: MIT
 *
 * For systems whose sandboxes cannot be asked.
 */
#include "../internal.h"

#include <string.h>

int bc_read_confinement(int family, const char *cgroup, bc_confinement *out)
{
    (void)family;
    (void)cgroup;
    memset(out, 0, sizeof *out);
    out->bind_programs = out->socket_programs = -1;
    return BC_E_UNSUPPORTED;
}
