/* SPDX-License-Identifier: MIT
 *
 * What judges our system calls before the kernel's own checks do: a filter (seccomp),
 * and the BPF programs of our cgroup (bpf(2), BPF_PROG_QUERY).
 */
#include "../internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/bpf.h: older headers have no programs of cgroups. */
enum {
    PROG_QUERY = 16,
    QUERY_EFFECTIVE = 1,
    INET_SOCK_CREATE = 2,
    INET4_BIND = 8,
    INET6_BIND = 9,
    INET4_POST_BIND = 12,
    INET6_POST_BIND = 13
};

struct query {
    uint32_t target_fd;
    uint32_t attach_type;
    uint32_t query_flags;
    uint32_t attach_flags;
    uint64_t prog_ids;
    uint32_t prog_cnt;
    uint32_t reserved;
};

/* How many programs of a kind act on a cgroup, its parents' included; -1: not told. */
static int32_t count_programs(int folder, uint32_t attach_type)
{
#if defined(SYS_bpf)
    struct query query;
    memset(&query, 0, sizeof query);
    query.target_fd = (uint32_t)folder;
    query.attach_type = attach_type;
    query.query_flags = QUERY_EFFECTIVE;
    if (syscall(SYS_bpf, PROG_QUERY, &query, sizeof query) == 0) {
        return (int32_t)query.prog_cnt;
    }
#else
    (void)folder;
    (void)attach_type;
#endif
    return -1;
}

static void read_programs(const char *cgroup, int inet6, bc_confinement *out)
{
    int folder = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return;
    }
    int32_t before = count_programs(folder, inet6 ? INET6_BIND : INET4_BIND);
    int32_t after = count_programs(folder, inet6 ? INET6_POST_BIND : INET4_POST_BIND);
    if (before >= 0) {
        out->bind_programs = before + (after > 0 ? after : 0);
    }
    out->socket_programs = count_programs(folder, INET_SOCK_CREATE);
    (void)close(folder);
}

/* The kernel looks the descriptor up first: EBADF. */
static int32_t ask_bind(void)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* NOLINTNEXTLINE(clang-analyzer-unix.StdCLibraryFunctions): none on purpose */
    if (bind(-1, (const struct sockaddr *)&address, sizeof address) == 0) {
        return 0;
    }
    int32_t code = errno;
    return code == EBADF ? 0 : code;
}

/* The kernel looks at the flags in the type first: EINVAL. */
static int32_t ask_socket(int family)
{
    int handle = socket(family, -1, 0);
    int32_t code = errno;
    if (handle >= 0) {
        (void)close(handle);
        return 0;
    }
    return code == EINVAL ? 0 : code;
}

int bc_read_confinement(int family, const char *cgroup, bc_confinement *out)
{
    int inet6 = family == BC_FAMILY_INET6;
    memset(out, 0, sizeof *out);
    out->bind_programs = out->socket_programs = -1;
    out->bind_filter = ask_bind();
    out->socket_filter = ask_socket(inet6 ? AF_INET6 : AF_INET);
    if (cgroup != NULL) {
        read_programs(cgroup, inet6, out);
    }
    return BC_OK;
}
