/* SPDX-License-Identifier: MIT
 *
 * What macOS' sysctl KERN_PROCARGS2 gives of a process (bsd/kern/kern_sysctl.c,
 * sysctl_procargsx): how many arguments there are, the path of the executable, NULs up
 * to the next multiple of a pointer's size (bsd/kern/kern_exec.c,
 * exec_extract_strings), the arguments, the environment. The process itself may have
 * written over all but the number.
 */
#include "procargs.h"
#include "bytes.h"

#include <string.h>

enum { NUMBER = 4, POINTER = 8 };

int bc__decode_procargs(const uint8_t *bytes, size_t length, int big_endian,
                        const uint8_t **arguments, size_t *arguments_length)
{
    const uint8_t *start;
    const uint8_t *end;
    const uint8_t *at;
    uint32_t left = 0;

    if (length < NUMBER) {
        return BC_E_MALFORMED;
    }
    start = bytes + NUMBER;
    end = bytes + length;
    left = bc__u32(bytes, big_endian);
    at = length == NUMBER ? NULL : memchr(start, '\0', length - NUMBER);
    if (at == NULL || left > INT32_MAX) {
        return BC_E_MALFORMED;
    }
    at++;
    /* Not all the NULs there are: the first argument may be empty. */
    while (at < end && *at == '\0' && (at - start) % POINTER != 0) {
        at++;
    }
    *arguments = at;
    while (left > 0 && at < end) {
        const uint8_t *next = memchr(at, '\0', (size_t)(end - at));
        at = next == NULL ? end : next + 1;
        left--;
    }
    *arguments_length = (size_t)(at - *arguments);
    return BC_OK;
}
