/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: the FAILING_NUMBERth call that bindcheck's own compiled module makes
 * of the function FAILING_CALL fails for want of memory, with FAILING_REST all that
 * follow too. Each that failed is told on standard error.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* glibc's own: dlsym() allocates. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

#define CALLER __builtin_return_address(0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int fails(const char *call, const void *caller)
{
    static atomic_int calls;
    static const char told[] = "failed\n";
    const char *chosen = getenv("FAILING_CALL");
    Dl_info module;
    int number;

    if (chosen == NULL || strcmp(call, chosen) != 0 || dladdr(caller, &module) == 0 ||
        strstr(module.dli_fname, "bindcheck/_native") == NULL) {
        return 0;
    }
    number = atomic_fetch_add(&calls, 1) + 1 - atoi(getenv("FAILING_NUMBER"));
    if (number != 0 && (number < 0 || getenv("FAILING_REST") == NULL)) {
        return 0;
    }
    errno = ENOMEM;
    return write(STDERR_FILENO, told, sizeof told - 1) > 0;
}

void *malloc(size_t size)
{
    return fails("malloc", CALLER) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails("calloc", CALLER) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails("realloc", CALLER) ? NULL : __libc_realloc(old, size);
}

DIR *fdopendir(int handle)
{
    return fails("fdopendir", CALLER) ? NULL : REAL(fdopendir)(handle);
}

int getifaddrs(struct ifaddrs **list)
{
    return fails("getifaddrs", CALLER) ? -1 : REAL(getifaddrs)(list);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    return fails("getaddrinfo", CALLER)
               ? EAI_MEMORY
               : REAL(getaddrinfo)(name, service, hints, found);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                   void *(*start)(void *), void *argument)
{
    return fails("pthread_create", CALLER)
               ? EAGAIN
               : REAL(pthread_create)(thread, attributes, start, argument);
}
