/* The calls of probe() in a bare loop: what they cost without anything around them.
 * cc -O2 -o bare bare.c && ./bare PORT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 20000 };

int main(int count, char **words)
{
    struct sockaddr_in address;
    struct timespec begun, done;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(count > 1 ? (unsigned short)atoi(words[1]) : 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (int i = 0; i < CALLS; i++) {
        struct sockaddr_in bound;
        socklen_t length = sizeof bound;
        int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
        if (one < 0) {
            return 1;
        }
        if (bind(one, (struct sockaddr *)&address, sizeof address) == 0) {
            getsockname(one, (struct sockaddr *)&bound, &length);
        }
        close(one);
    }
    clock_gettime(CLOCK_MONOTONIC, &done);
    printf("%.3f\n", ((double)(done.tv_sec - begun.tv_sec) * 1e9 +
                      (double)(done.tv_nsec - begun.tv_nsec)) /
                         CALLS / 1000);
    return 0;
}
