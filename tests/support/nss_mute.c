/* SPDX-License-Identifier: MIT
 *
 * A name service that never answers (nsswitch.conf(5)), as one whose server is away. It
 * writes a byte to the descriptor NSS_TELL when it is asked for a user's name.
 */
#define _GNU_SOURCE
#include <nss.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

enum nss_status _nss_mute_getpwuid_r(uid_t uid, struct passwd *out, char *text,
                                     size_t length, int *error)
{
    const char *tell = getenv("NSS_TELL");
    (void)uid, (void)out, (void)text, (void)length, (void)error;
    if (tell != NULL && write(atoi(tell), "x", 1) == 1) {
        for (;;) {
            (void)pause();
        }
    }
    return NSS_STATUS_UNAVAIL;
}
