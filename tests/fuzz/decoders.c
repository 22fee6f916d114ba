/* SPDX-License-Identifier: MIT
 *
 * libFuzzer's entry for the decoder that BINDCHECK_FUZZ names. The first byte of an
 * input chooses the byte order, the variant and the port, the second one the room.
 */
int decoders_main(int argc, char **argv); /* not called */
#define main decoders_main
#include "../native/decoders.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { CONTROL = 2, IN_GOLDEN_FILES = 8080 };

static size_t chosen(void)
{
    const char *name = getenv("BINDCHECK_FUZZ");
    for (size_t i = 0; name != NULL && i < sizeof DECODERS / sizeof DECODERS[0]; i++) {
        size_t length = strlen(name);
        if (strncmp(DECODERS[i].name, name, length) == 0 &&
            DECODERS[i].name[length] == '-') {
            return i;
        }
    }
    fprintf(stderr, "BINDCHECK_FUZZ names no decoder\n");
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const char *const VARIANTS[] = {"tcp4", "tcp6",   "udp4",   "udp6",
                                           "tcp4", "bound4", "bound6", "udp6"};
    job of = {.prints = 0};
    if (length < CONTROL) {
        return 0;
    }
    of.bytes = bytes + CONTROL;
    of.big_endian = bytes[0] & 1;
    of.port = (bytes[0] & 2) != 0 ? IN_GOLDEN_FILES : 0;
    of.variant = VARIANTS[bytes[0] >> 2 & 7];
    of.capacity = bytes[1];
    run(chosen(), of, length - CONTROL);
    return 0;
}
