/* SPDX-License-Identifier: MIT
 *
 * /proc/PID/stat (proc(5)). The program's name stands in parentheses and may itself
 * hold parentheses, blanks and line ends, so the fields are counted from the last ')'.
 */
#include "../bindcheck.h"

#include <string.h>

/* Field numbers of proc(5). */
enum {
    FIELD_PPID = 4,
    FIELD_SESSION = 6,
    FIELD_FLAGS = 9,
    FIELD_THREADS = 20,
    FIELD_STARTTIME = 22
};

static const uint8_t *decimal(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    while (at < end && *at >= '0' && *at <= '9') {
        *value = *value * 10 + (uint64_t)(*at - '0');
        at++;
    }
    return at;
}

int bc_decode_proc_stat(const uint8_t *bytes, size_t length, bc_proc_stat *out)
{
    const uint8_t *end;
    const uint8_t *at;
    uint64_t value = 0;

    memset(out, 0, sizeof *out);
    if (length == 0) {
        return BC_E_MALFORMED;
    }
    end = bytes + length;
    at = end;
    (void)decimal(bytes, end, &value);
    out->pid = (int32_t)value;
    while (at > bytes && at[-1] != ')') {
        at--;
    }
    /* ") S " */
    if (at == bytes || end - at < 3) {
        return BC_E_MALFORMED;
    }
    out->state = at[1];
    at += 2;
    for (int field = FIELD_PPID; field <= FIELD_STARTTIME; field++) {
        if (at >= end || *at != ' ') {
            return BC_E_MALFORMED;
        }
        at++;
        if (at < end && *at == '-') {
            at++;
        }
        at = decimal(at, end, &value);
        if (field == FIELD_PPID) {
            out->parent = (int32_t)value;
        } else if (field == FIELD_SESSION) {
            out->session = (int32_t)value;
        } else if (field == FIELD_FLAGS) {
            out->flags = (uint32_t)value;
        } else if (field == FIELD_THREADS) {
            out->threads = (uint32_t)value;
        }
    }
    out->start_ticks = value;
    return BC_OK;
}
