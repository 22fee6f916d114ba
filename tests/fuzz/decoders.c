/* SPDX-License-Identifier: MIT
 *
 * libFuzzer's entry for the decoder that BINDCHECK_FUZZ names, and for the reading of a
 * sockaddr.
 */
#include "internal.h"

#include <stdlib.h>

int decoders_main(int argc, char **argv); /* not called */
#define main decoders_main
#include "../native/decoders.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* What was read of a sockaddr is written as one that reads the same. */
static void sockaddr(const uint8_t *bytes, size_t length)
{
    struct sockaddr *given = malloc(length > 0 ? length : 1);
    struct sockaddr_storage written;
    bc_endpoint first, second;
    if (given == NULL) {
        abort();
    }
    memcpy(given, bytes, length);
    if (bc__from_sockaddr(given, (bc__length)length, &first) != 0) {
        bc__length size = bc__to_sockaddr(&first, &written);
        if (size == 0 || size > length ||
            bc__from_sockaddr((struct sockaddr *)&written, size, &second) == 0 ||
            memcmp(&first, &second, sizeof first) != 0) {
            abort();
        }
    }
    free(given);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const char *name = getenv("BINDCHECK_FUZZ");
    size_t decoder = decoder_named(name == NULL ? "" : name, '\0');
    if (decoder < COUNT) {
        decode_fuzzed(decoder, bytes, length);
    } else if (name != NULL && strcmp(name, "sockaddr") == 0) {
        sockaddr(bytes, length);
    } else {
        (void)fprintf(stderr, "BINDCHECK_FUZZ names no decoder\n");
        exit(2);
    }
    return 0;
}
