/* SPDX-License-Identifier: MIT
 *
 * What the machine allows: sysctls of this network namespace, our capabilities and
 * namespaces, and the addresses of the interfaces.
 */
#include "../internal.h"
#include "linux.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#ifndef NS_GET_USERNS
#define NS_GET_USERNS _IO(0xb7, 0x1) /* linux/nsfs.h, Linux 4.9 */
#endif

ssize_t bc__read_file(int directory, const char *path, void *out, size_t capacity)
{
    ssize_t length;
    int error;
    int handle = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (handle < 0) {
        return -1;
    }
    /* They are one record each, which comes whole (fs/seq_file.c, single_open; of a
     * command line and an environment fs/proc/base.c, get_mm_cmdline, environ_read): no
     * second read looks for an end. */
    do {
        length = read(handle, out, capacity);
        error = errno;
    } while (length < 0 && error == EINTR);
    (void)close(handle);
    errno = error;
    return length;
}

/* One or two decimal numbers of a sysctl; -1 where there are none. */
static void read_numbers(const char *path, int32_t *first, int32_t *second)
{
    char text[64];
    char *rest = text;
    ssize_t length = bc__read_file(AT_FDCWD, path, text, sizeof text - 1);
    *first = -1;
    if (second != NULL) {
        *second = -1;
    }
    if (length <= 0) {
        return;
    }
    text[length] = '\0';
    *first = (int32_t)strtol(text, &rest, 10);
    if (second != NULL && *rest != '\0') {
        *second = (int32_t)strtol(rest, NULL, 10);
    }
}

static int32_t read_number(const char *path)
{
    int32_t value;
    read_numbers(path, &value, NULL);
    return value;
}

static uint64_t namespace_inode(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 ? (uint64_t)file.st_ino : 0;
}

/* CAP_NET_BIND_SERVICE counts in the user namespace that owns the network namespace
 * (net/ipv4/af_inet.c, ns_capable) and in those above it. NS_GET_USERNS gives the owner
 * where it is ours or below ours, and refuses with EPERM where it is outside. */
static int32_t owns_network_namespace(void)
{
    int32_t result = -1;
    int owner;
    int handle = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (handle < 0) {
        return -1;
    }
    owner = ioctl(handle, NS_GET_USERNS);
    if (owner >= 0) {
        result = 1;
        (void)close(owner);
    } else if (errno == EPERM) {
        result = 0;
    }
    (void)close(handle);
    return result;
}

static uint64_t effective_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    memset(data, 0, sizeof data);
    if (syscall(SYS_capget, &header, data) != 0) {
        return 0;
    }
    return data[0].effective | (uint64_t)data[1].effective << 32;
}

static int32_t loopback_is_up(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int32_t result = -1;
    int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (handle >= 0) {
        if (ioctl(handle, SIOCGIFFLAGS, &request) == 0) {
            result = (request.ifr_flags & IFF_UP) != 0;
        }
        (void)close(handle);
    }
    return result;
}

static int32_t ipv6_is_available(void)
{
    int handle = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (handle < 0) {
        return errno == EAFNOSUPPORT ? 0 : -1;
    }
    (void)close(handle);
    return 1;
}

static int64_t limit_of(rlim_t limit)
{
    return limit == RLIM_INFINITY ? -1 : (int64_t)limit;
}

int bc_read_facts(bc_facts *facts)
{
    struct rlimit descriptors;
    memset(facts, 0, sizeof *facts);
    facts->capabilities = effective_capabilities();
    facts->network_namespace = namespace_inode("/proc/self/ns/net");
    facts->pid_namespace = namespace_inode("/proc/self/ns/pid");
    facts->user_namespace = namespace_inode("/proc/self/ns/user");
    facts->owns_network_namespace = owns_network_namespace();
    facts->unprivileged_port_start =
        read_number("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    read_numbers("/proc/sys/net/ipv4/ip_local_port_range", &facts->ephemeral_low,
                 &facts->ephemeral_high);
    facts->bind_v6only = read_number("/proc/sys/net/ipv6/bindv6only");
    facts->nonlocal_bind4 = read_number("/proc/sys/net/ipv4/ip_nonlocal_bind");
    facts->nonlocal_bind6 = read_number("/proc/sys/net/ipv6/ip_nonlocal_bind");
    facts->ipv6_available = ipv6_is_available();
    facts->ipv6_disabled = read_number("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    facts->ipv6_disabled_loopback =
        read_number("/proc/sys/net/ipv6/conf/lo/disable_ipv6");
    facts->loopback_up = loopback_is_up();
    facts->euid = (uint32_t)geteuid();
    facts->clock_ticks = (int32_t)sysconf(_SC_CLK_TCK);
    facts->segment_lifetime_ms = facts->elevated = -1;
    facts->descriptors_soft = facts->descriptors_hard = -1;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
        facts->descriptors_soft = limit_of(descriptors.rlim_cur);
        facts->descriptors_hard = limit_of(descriptors.rlim_max);
    }
    return BC_OK;
}
