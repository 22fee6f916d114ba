/* SPDX-License-Identifier: MIT
 *
 * sysctl(3) by name, of any length.
 */
#include "../internal.h"
#include "darwin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/sysctl.h>

enum { TRIES = 8, SLACK = 4096 };

int bc__read_sysctl(const char *name, uint8_t **bytes, size_t *length)
{
    int error = ENOMEM;
    size_t slack = SLACK;
    *bytes = NULL;
    /* A table may have grown between the call that asks for its size and the one that
     * reads it, which then says ENOMEM. */
    for (int i = 0; i < TRIES && error == ENOMEM; i++) {
        size_t size = 0;
        if (sysctlbyname(name, NULL, &size, NULL, 0) != 0) {
            return errno;
        }
        *length = size + slack;
        *bytes = malloc(*length);
        if (*bytes == NULL) {
            return ENOMEM;
        }
        error = sysctlbyname(name, *bytes, length, NULL, 0) == 0 ? 0 : errno;
        if (error != 0) {
            free(*bytes);
            *bytes = NULL;
        }
        slack *= 2;
    }
    return error;
}

int32_t bc__sysctl_number(const char *name)
{
    int value = -1;
    size_t length = sizeof value;
    if (sysctlbyname(name, &value, &length, NULL, 0) != 0 || length != sizeof value) {
        return -1;
    }
    return value;
}

int bc__big_endian(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, sizeof first);
    return first == 0;
}
