/* SPDX-License-Identifier: MIT
 *
 * The whole interface of bindcheck's C core. It knows nothing of Python: it makes the
 * native calls, reads the system's tables, and hands out plain records.
 *
 * Rules that hold for every function:
 * - The caller owns all memory. Arrays come as (pointer, capacity, count); when more
 *   was found than fits, the function returns BC_E_TRUNCATED and `count` says how much
 *   room is needed.
 * - Any number of threads may call at once: there is no mutable static data.
 * - Ports are in host byte order, addresses in network byte order.
 * - No errno comes back through errno: a failing step's code is in the record.
 *
 * Only the text between the two markers is shown to cffi (build_ffi.py).
 */
#ifndef BINDCHECK_H
#define BINDCHECK_H

#include <stddef.h>
#include <stdint.h>

#define BC_API

/* cffi: begin */

/* Raised by one whenever anything below changes its meaning or layout. */
#define BC_ABI 8

/* More than any system takes as the name of a socket (Linux 108, macOS 104). */
#define BC_NAME_BYTES 256

/* What a function returns. */
enum {
    BC_OK = 0,
    BC_E_INVALID = -1,     /* an argument that no system call was made with */
    BC_E_TRUNCATED = -2,   /* the arrays are too small; the counts say by how much */
    BC_E_UNSUPPORTED = -3, /* this system or kernel has no such thing */
    BC_E_SYSTEM = -4,      /* a system call failed; see the bc_error */
    BC_E_MALFORMED = -5    /* the bytes are not what the format says */
};

/* Where a number comes from: errno, getaddrinfo's EAI_*, WSAGetLastError(), or what
 * other Windows functions return (GetLastError's numbers). */
enum {
    BC_DOMAIN_NONE = 0,
    BC_DOMAIN_ERRNO = 1,
    BC_DOMAIN_EAI = 2,
    BC_DOMAIN_WINSOCK = 3,
    BC_DOMAIN_WIN32 = 4
};

/* The call that failed. */
enum {
    BC_STEP_NONE = 0,
    BC_STEP_RESOLVE = 1,
    BC_STEP_SOCKET = 2,
    BC_STEP_SETSOCKOPT = 3,
    BC_STEP_BIND = 4,
    BC_STEP_LISTEN = 5,
    BC_STEP_GETSOCKNAME = 6
};

/* The option that a failing setsockopt was about. */
enum {
    BC_OPTION_NONE = 0,
    BC_OPTION_REUSE_ADDRESS = 1,
    BC_OPTION_REUSE_PORT = 2,
    BC_OPTION_EXCLUSIVE = 3,
    BC_OPTION_V6ONLY = 4,
    BC_OPTION_DEVICE = 5,
    BC_OPTION_FREEBIND = 6
};

enum {
    BC_FAMILY_NONE = 0,
    BC_FAMILY_UNIX = 1,
    BC_FAMILY_INET = 4,
    BC_FAMILY_INET6 = 6,
    BC_FAMILY_VSOCK = 40
};
enum { BC_TYPE_STREAM = 1, BC_TYPE_DATAGRAM = 2, BC_TYPE_SEQPACKET = 5 };

/* IP protocol numbers; IPPROTO_MPTCP (262) exceeds a byte. */
enum {
    BC_PROTOCOL_TCP = 6,
    BC_PROTOCOL_UDP = 17,
    BC_PROTOCOL_SCTP = 132,
    BC_PROTOCOL_UDPLITE = 136,
    BC_PROTOCOL_MPTCP = 262
};

typedef struct {
    int32_t code;
    uint8_t domain;
    uint8_t step;
    uint8_t option;
    uint8_t reserved;
} bc_error;

/* An IP address and port. IPv4 uses the first four bytes of `address`. */
typedef struct {
    uint16_t family; /* BC_FAMILY_* */
    uint16_t port;
    uint32_t scope_id; /* IPv6: interface index, 0 when none */
    uint8_t address[16];
} bc_endpoint;

/* One attempt. The int8 options are -1 (setsockopt is not called), 0 or 1. */
typedef struct {
    bc_endpoint local;
    int32_t protocol; /* BC_PROTOCOL_* or any other number */
    int32_t backlog;
    char device[16]; /* SO_BINDTODEVICE; empty: not called. NUL-ended */
    uint8_t type;    /* BC_TYPE_* */
    uint8_t listen;  /* 1: call listen() after bind() */
    int8_t reuse_address;
    int8_t reuse_port;
    int8_t exclusive; /* SO_EXCLUSIVEADDRUSE, Windows */
    int8_t v6only;
    int8_t freebind; /* IP_FREEBIND / IPV6_FREEBIND, Linux */
    uint8_t reserved;
} bc_probe_request;

/* error.step is BC_STEP_NONE when every step worked; bound is getsockname()'s. */
typedef struct {
    bc_error error;
    bc_endpoint bound;
} bc_probe_result;

/* Make the native calls socket, setsockopt..., bind, listen, getsockname, close.
 * Returns BC_OK also when a step failed: that is the result. BC_E_INVALID when the
 * family or type is none that this function knows. Allocates nothing. */
BC_API int bc_probe(const bc_probe_request *request, bc_probe_result *result);

/* bc_probe without any option, for who asks again and again: nothing is to be filled in
 * or copied out, and getsockname is called for port 0 only. `address` has 4 or 16
 * bytes. Returns the port that was bound, or where a step failed -(step * 2^32 + code),
 * the code unsigned and of BC_DOMAIN_SOCKET; -1 for BC_E_INVALID. */
BC_API int64_t bc_probe_address(int32_t protocol, int type, const uint8_t *address,
                                size_t length, uint16_t port, uint32_t scope_id);

/* One attempt on an address that is no IP address. AF_UNIX: `name` is a path, or an
 * abstract name that begins with a NUL byte, or (length 0) Linux is to choose one.
 * AF_VSOCK: `cid` and `port`. */
typedef struct {
    uint16_t family; /* BC_FAMILY_UNIX or BC_FAMILY_VSOCK */
    uint8_t type;    /* BC_TYPE_* */
    uint8_t listen;
    int32_t backlog;
    uint32_t cid, port;
    uint32_t length;
    uint8_t name[BC_NAME_BYTES];
} bc_name_request;

/* error.step is BC_STEP_NONE when every step worked; the rest is getsockname()'s. */
typedef struct {
    bc_error error;
    uint32_t cid, port;
    uint32_t length;
    uint8_t name[BC_NAME_BYTES];
} bc_name_result;

/* As bc_probe. A bind to a path leaves a socket file behind, which the caller removes.
 */
BC_API int bc_probe_name(const bc_name_request *request, bc_name_result *result);

/* getaddrinfo(AI_PASSIVE) of `host` for one family (BC_FAMILY_NONE: both), numeric or
 * by name. It may ask name servers. Duplicates are left out, the system's order stays;
 * ports are 0. Returns BC_E_SYSTEM with domain BC_DOMAIN_EAI (or errno, where the
 * system says EAI_SYSTEM). */
BC_API int bc_resolve(const char *host, int family, bc_endpoint *out, size_t capacity,
                      size_t *count, bc_error *error);

/* The symbolic name of a number, such as "EADDRINUSE", or NULL when it has none. */
BC_API const char *bc_error_name(int domain, int32_t code);

/* The system's own text for a number, NUL-ended UTF-8. POSIX: untranslated, also for
 * numbers that the system does not know. Windows: what FormatMessageW has, in the
 * language of the system, without the line end. Returns BC_E_INVALID for an unknown
 * domain, BC_E_UNSUPPORTED when the system has no text for it, and BC_E_TRUNCATED when
 * `capacity` was too small (1024 bytes always do). */
BC_API int bc_error_message(int domain, int32_t code, char *out, size_t capacity);

/* A text of ours for a Winsock number, for systems without one of their own (Wine), or
 * NULL. */
BC_API const char *bc_error_reference(int domain, int32_t code);

/* TCP states as Linux numbers them (include/net/tcp_states.h). */
enum {
    BC_STATE_UNKNOWN = 0,
    BC_STATE_ESTABLISHED = 1,
    BC_STATE_SYN_SENT = 2,
    BC_STATE_SYN_RECV = 3,
    BC_STATE_FIN_WAIT_1 = 4,
    BC_STATE_FIN_WAIT_2 = 5,
    BC_STATE_TIME_WAIT = 6,
    BC_STATE_CLOSE = 7,
    BC_STATE_CLOSE_WAIT = 8,
    BC_STATE_LAST_ACK = 9,
    BC_STATE_LISTEN = 10,
    BC_STATE_CLOSING = 11
};

/* Who opened a connection, where the kernel's counters show it. */
enum { BC_OPENED_UNKNOWN = 0, BC_OPENED_ACTIVELY = 1, BC_OPENED_PASSIVELY = 2 };

enum {
    BC_SOURCE_NONE = 0,
    BC_SOURCE_SOCK_DIAG = 1,
    BC_SOURCE_PROC_NET = 2,
    BC_SOURCE_PCBLIST = 3,  /* macOS: sysctl net.inet.{tcp,udp}.pcblist_n */
    BC_SOURCE_IP_HELPER = 4 /* Windows: GetExtendedTcpTable, GetExtendedUdpTable */
};

/* A row of the kernel's socket tables. */
typedef struct {
    uint64_t cookie;    /* SO_COOKIE; macOS: so_gencnt; 0: not told */
    uint64_t inode;     /* Linux: of the socket file, 0: it has none (TIME_WAIT, not
                         * accepted); macOS: xso_so, which stands for its address in the
                         * kernel, 0: none; Windows: 0 */
    uint64_t cgroup_id; /* inode of the cgroup v2 folder it was made in; 0: not told */
    uint64_t created; /* Windows: when, in 100 ns since 1601 (FILETIME); 0: not told */
    bc_endpoint local;
    bc_endpoint remote;
    uint32_t uid; /* who made the socket, as seen from our user namespace; UINT32_MAX:
                   * not told (Windows) */
    uint32_t expires_ms;  /* what is left on the timer */
    uint32_t device;      /* interface index it is bound to; 0: none */
    int32_t pid;          /* Windows: who made it; macOS: who used it last, which may be
                           * gone or no longer have it; 0: not told or nobody */
    uint32_t service_tag; /* Windows: which service of that process; 0: not told */
    uint16_t protocol;
    uint8_t state;  /* BC_STATE_* */
    uint8_t timer;  /* 0 none, 1 retransmit, 2 keepalive, 3 TIME_WAIT, 4 zero window */
    int8_t v6only;  /* -1: not told */
    uint8_t opened; /* BC_OPENED_* */
    uint8_t source; /* BC_SOURCE_* */
    int8_t reuse_address; /* as the table tells it (macOS); -1: not told */
    int8_t reuse_port;
    uint8_t reserved[3];
} bc_socket;

/* How a listing was made. To be zeroed by the caller, but for what he sets. */
typedef struct {
    bc_error refused; /* why the first choice of source was not used */
    uint8_t source;   /* BC_SOURCE_* */
    int8_t bound;     /* TCP sockets that are bound and do not listen are listed: 1, are
                       * not: 0, may be: -1 (the kernel ignores what it does not know) */
    uint8_t
        tries_bound; /* set by the caller. Linux, TCP, one port: 1 has a socket of our
                      * own bound to another port meanwhile, so that `bound` is told */
    uint8_t only_listening; /* set by the caller. Linux, TCP: 1 asks for listeners
                             * alone, which spares the kernel the walk over its hash of
                             * connections; of sock_diag only */
    uint32_t requests;      /* half-open connections left out: they hold no port */
} bc_listing;

/* The sockets of `protocol` on local `port` (0: all ports) in this network namespace,
 * in every state, both address families. Needs no privilege. A row may be missing or
 * doubled while sockets come and go: the kernel's dump has no consistency flag.
 * BC_SOURCE_PROC_NET cannot show TCP sockets that are bound and not listening; neither
 * can sock_diag before Linux 6.8. Returns BC_E_UNSUPPORTED when no table has the
 * protocol. */
BC_API int bc_list_sockets(int32_t protocol, uint16_t port, bc_socket *out,
                           size_t capacity, size_t *count, bc_listing *listing);

/* A row of the kernel's table of AF_UNIX sockets. */
typedef struct {
    uint64_t cookie; /* SO_COOKIE */
    uint64_t inode;  /* of the socket, as in bc_socket */
    uint32_t
        file_device;     /* of its file: the kernel's own number, major << 20 | minor */
    uint32_t file_inode; /* of its file, 32 bits of it; 0: it has none */
    uint32_t uid;        /* who made the socket; UINT32_MAX: not told */
    uint8_t type;        /* BC_TYPE_* */
    uint8_t state;       /* BC_STATE_LISTEN, _ESTABLISHED or _CLOSE */
    uint8_t length;
    uint8_t name[108]; /* as it was bound, also when its file was renamed or removed */
    uint8_t reserved;
} bc_unix_socket;

/* The AF_UNIX sockets of this network namespace that have a name. Needs no privilege.
 * Returns BC_E_SYSTEM with the kernel's refusal where it has no such table. */
BC_API int bc_list_unix_sockets(bc_unix_socket *out, size_t capacity, size_t *count,
                                bc_error *error);

/* What the threads that have a descriptor wait for. */
enum {
    BC_WAITS_UNKNOWN = 0, /* not permitted to see, or some thread runs */
    BC_WAITS_FOR_IT = 1,  /* a thread waits on the descriptor, or may */
    BC_WAITS_ELSEWHERE =
        2 /* each thread waits for a timer, a child, a signal, a file */
};

/* A descriptor (of one process, or of one thread with its own table) of a socket. */
typedef struct {
    uint64_t inode;
    int32_t pid;
    int32_t tid;     /* equals pid for the process's own table */
    int32_t fd;      /* -1: registered with io_uring, the descriptor itself is closed */
    uint32_t device; /* SO_BINDTODEVICE's interface index, 0: none or not read */
    int8_t reuse_address; /* read from the socket itself; -1: not permitted */
    int8_t reuse_port;
    int8_t v6only;
    int8_t options_read;  /* 1: the options were read from this descriptor */
    char protocol[16];    /* "TCP", "MPTCP", "UDPv6", ...; empty: not told */
    int8_t close_on_exec; /* -1: not told */
    uint8_t waits;        /* BC_WAITS_* */
    uint8_t reserved[2];
} bc_holder;

/* Of one process: who has more of the sockets that are asked for is a server, and what
 * its sockets have in common shows in the first ones. */
enum { BC_MOST_DETAILED = 256 };

/* A process, read through the directory descriptor in which its socket was found, so
 * that its pid cannot have been reused in between. Texts are raw bytes in
 * bc_owners.text at offset and length: nothing is escaped. */
typedef struct {
    uint64_t start_ticks; /* in bc_facts.clock_ticks a second: Linux since boot, macOS
                           * since 1970 */
    uint64_t exe_device;  /* identity of the executable; 0 when not readable */
    uint64_t exe_inode;
    uint64_t pid_namespace; /* inode of its namespace; 0 when not readable */
    int32_t pid;
    int32_t parent;
    int32_t session;   /* pid of the session's leader */
    int32_t inner_pid; /* its pid in its own pid namespace; 0: not told */
    uint32_t flags;    /* PF_*; 4 is a process that is being torn down */
    uint32_t uid;
    uint32_t threads;
    uint32_t name_offset, name_length;
    uint32_t command_offset, command_length; /* arguments, each NUL-ended */
    uint32_t folder_offset, folder_length;   /* working directory */
    uint32_t cgroup_offset, cgroup_length;   /* the text of /proc/PID/cgroup */
    /* Those of its variables that tell who started it, each NUL-ended "NAME=VALUE":
     * LISTEN_PID and LISTEN_FDS, supervisord's, PM2's. Linux. */
    uint32_t environment_offset, environment_length;
    uint32_t
        holders;   /* descriptors of it that were found; Linux: of more than
                    * BC_MOST_DETAILED the rest has no options, close_on_exec, waits */
    uint8_t state; /* letter of proc(5): R S D Z T ... */
    uint8_t command_truncated;
    uint8_t reserved[6];
} bc_process;

/* The caller's arrays, and what was put there. */
typedef struct {
    bc_holder *holders;
    size_t holder_capacity, holder_count;
    bc_process *processes;
    size_t process_capacity, process_count;
    char *text;
    size_t text_capacity, text_count;
    uint32_t seen;       /* processes that were looked at */
    uint32_t unreadable; /* of them: not permitted (kernel threads are not counted) */
    uint8_t available;   /* 0: there is no process table to read */
    uint8_t
        exhausted; /* 1: some could not be read for want of descriptors of our own */
    uint8_t
        brief;         /* set by the caller; 1: leave out command line, environment and
                        * executable, for whose memory lock or filesystem a reader may wait */
    uint8_t ancestors; /* set by the caller. Linux: at most so many processes above each
                        * holder are described too, as by bc_read_ancestors and each
                        * once; pid 1 as a parent alone */
    uint32_t ancestor_count; /* of the processes: the last ones */
} bc_owners;

/* Find the descriptors of the sockets with these inodes (ascending order). Looks at all
 * processes that may be read and at their threads with a descriptor table of their own,
 * and where a socket has no holder then, at what is registered with io_uring. Needs the
 * right to ptrace-read the processes of other users (CAP_SYS_PTRACE). Returns
 * BC_E_TRUNCATED with the counts needed. */
BC_API int bc_find_owners(const uint64_t *inodes, size_t inode_count,
                          bc_owners *owners);

/* Linux: walks over the processes that are made one at a time. A walk borrows
 * descriptors to read the options of their sockets, and another one would take this
 * process for a holder. NULL where there is no memory, and on other systems: then
 * nobody waits. The callers of bc_find_owners and bc_find_bound take turns themselves.
 */
typedef struct bc_turn bc_turn;
BC_API bc_turn *bc_new_turn(void);

/* Take a turn, again by a thread that has it too; wait so many milliseconds at most.
 * Returns BC_OK, or BC_E_SYSTEM when the time is over. */
BC_API int bc_take_turn(bc_turn *turn, uint32_t milliseconds);

/* Give it back, by the thread that took it. */
BC_API void bc_give_turn(bc_turn *turn);

/* The caller does no more with it. A search that was begun with it may go on. */
BC_API void bc_drop_turn(bc_turn *turn);

/* bc_find_owners() in a thread of its own, because it may wait for ever: for a process
 * that has its memory locked. */
typedef struct bc_search bc_search;

/* Begin to look for these inodes (ascending order) when it is the thread's turn, with
 * so many ancestors as bc_owners has it. NULL where there is no thread or memory to be
 * had, and on other systems than Linux. */
BC_API bc_search *bc_begin_search(bc_turn *turn, const uint64_t *inodes,
                                  size_t inode_count, uint8_t ancestors);

/* Wait for the end of a search, so many milliseconds at most. Returns BC_OK,
 * BC_E_SYSTEM when the time is over, or BC_E_TRUNCATED when there was no memory for
 * what was found.
 */
BC_API int bc_wait_for_search(bc_search *search, uint32_t milliseconds);

/* What was found, after BC_OK; it belongs to the search. */
BC_API const bc_owners *bc_search_owners(const bc_search *search);

/* The caller does no more with it: it is freed now, or at its end. */
BC_API void bc_leave_search(bc_search *search);

/* One process as bc_find_owners would describe it: one element in owners->processes.
 * Returns BC_E_SYSTEM when there is none with that pid. */
BC_API int bc_read_process(int32_t pid, bc_owners *owners);

/* The calling process: its pid as the process table has it, and what tells its program
 * from others (command line, working directory, executable); the rest is not told.
 * Returns BC_E_SYSTEM where there is no process table. */
BC_API int bc_read_own_program(bc_owners *owners);

/* A process and those above it, at most so many, each described by pid, parent,
 * session, start, name and command alone (macOS: by all). A parent that started later
 * than its child has a reused pid. Returns BC_OK or BC_E_TRUNCATED. */
BC_API int bc_read_ancestors(int32_t pid, size_t most, bc_owners *owners);

/* What bc_find_bound could not do. */
typedef struct {
    uint32_t unasked;    /* descriptors of TCP sockets that could not be borrowed */
    uint32_t seen;       /* processes that were looked at */
    uint32_t unreadable; /* of them: not permitted */
    uint32_t exhausted;  /* 1: as in bc_owners */
} bc_bound_scan;

/* TCP sockets that are bound to `port` (0: any) and neither listen nor are connected,
 * found by borrowing every descriptor of a TCP socket whose inode is not among `known`
 * (those of the tables, ascending). For kernels whose tables do not show such sockets
 * (Linux before 6.8). Needs the right to trace the holder (PTRACE_MODE_ATTACH); *scan
 * tells what it could not do. */
BC_API int bc_find_bound(uint16_t port, const uint64_t *known, size_t known_count,
                         bc_socket *out, size_t capacity, size_t *count,
                         bc_bound_scan *scan);

/* Facts about the machine and the caller; -1 (or 0 for namespaces) when not told. */
typedef struct {
    uint64_t capabilities; /* effective, bit numbers of capability.h */
    uint64_t network_namespace, pid_namespace, user_namespace;
    int32_t owns_network_namespace; /* 1: its owner is our user namespace or below it */
    int32_t unprivileged_port_start;
    int32_t ephemeral_low, ephemeral_high;
    int32_t bind_v6only;
    int32_t nonlocal_bind4, nonlocal_bind6;
    int32_t ipv6_available; /* 0: the kernel has no IPv6 here */
    int32_t ipv6_disabled;  /* 1: disable_ipv6 is set on every interface */
    int32_t ipv6_disabled_loopback;
    int32_t loopback_up;
    uint32_t euid;
    int32_t clock_ticks;         /* per second, unit of start_ticks */
    int32_t segment_lifetime_ms; /* macOS: net.inet.tcp.msl; TIME_WAIT lasts two */
    int32_t elevated; /* Windows: the process runs with an administrator's rights */
    int32_t reserved;
    int64_t descriptors_soft, descriptors_hard; /* RLIMIT_NOFILE; -1 also: unlimited */
} bc_facts;

BC_API int bc_read_facts(bc_facts *facts);

/* What judges the caller's system calls before the kernel's own checks do. */
typedef struct {
    int32_t bind_filter;   /* errno of a bind() that gives EBADF; 0: EBADF */
    int32_t socket_filter; /* errno of a socket() that gives EINVAL; 0: EINVAL */
    int32_t bind_programs; /* cgroup BPF programs on bind of the family; -1: not told */
    int32_t socket_programs; /* ... on the making of sockets */
} bc_confinement;

/* Ask for one family (BC_FAMILY_*). A filter (seccomp) answers before the kernel looks
 * at the arguments, so calls that cannot work tell whether there is one. `cgroup` is
 * the caller's cgroup v2 folder or NULL; its programs are told with CAP_NET_ADMIN only.
 */
BC_API int bc_read_confinement(int family, const char *cgroup, bc_confinement *out);

/* What keeps a range of ports from bind(). */
enum {
    BC_KEPT_EXCLUDED = 1,  /* Windows: a persistent exclusion */
    BC_KEPT_RESTRICTED = 2 /* macOS: for programs with an entitlement */
};

typedef struct {
    uint16_t first;
    uint16_t last; /* also of the range */
    uint8_t kind;  /* BC_KEPT_* */
    uint8_t reserved[3];
} bc_port_range;

/* The ranges of `protocol` (TCP or UDP), for IPv4 and IPv6, that the system keeps and
 * that it tells of. Windows: the persistent ones of the registry, not those that a
 * driver keeps until the next start. BC_E_UNSUPPORTED where there are none. */
BC_API int bc_list_kept_ports(int32_t protocol, bc_port_range *out, size_t capacity,
                              size_t *count, bc_error *error);

/* The name of the Windows service with a tag in a process (bc_socket.service_tag), as
 * NUL-ended UTF-8. BC_E_UNSUPPORTED where that is not told, and elsewhere. */
BC_API int bc_service_name(int32_t pid, uint32_t tag, char *out, size_t capacity);

typedef struct {
    bc_endpoint address; /* port 0 */
    uint32_t index;
    uint8_t up;
    uint8_t running; /* it has a carrier */
    uint8_t prefix;  /* bits of its network; 255: not told */
    uint8_t reserved;
    char interface[16];
} bc_interface_address;

/* The addresses of this network namespace's interfaces (getifaddrs). */
BC_API int bc_list_addresses(bc_interface_address *out, size_t capacity, size_t *count,
                             bc_error *error);

/* A network device that has a UDP socket of the kernel's own. */
typedef struct {
    char name[16];
    char kind[16]; /* "vxlan", "geneve", "bareudp", "wireguard" */
    uint16_t port; /* 0: not told */
    uint8_t reserved[6];
} bc_tunnel;

/* The tunnel devices of this network namespace (rtnetlink(7), RTM_GETLINK). */
BC_API int bc_list_tunnels(bc_tunnel *out, size_t capacity, size_t *count,
                           bc_error *error);

/* A descriptor that becomes readable when the kernel ends the TCP or UDP socket with
 * this cookie (bc_socket.cookie) in this network namespace, or without a cookie (0) any
 * that had this local port; for poll(2), and to be closed by the caller. The socket may
 * have ended before: look at the tables once it is there. A connection ends when its
 * TIME_WAIT begins, and that ends without a word. Needs no privilege.
 * BC_E_UNSUPPORTED where the system tells nothing of the kind. */
BC_API int bc_watch_ends(uint16_t port, uint64_t cookie, int32_t *handle,
                         bc_error *error);

/* Interface index of a name in this network namespace; 0 when there is none. */
BC_API uint32_t bc_interface_index(const char *name);

/* Decoders: bytes in, records out. They make no system call, exist on every system, and
 * may be given anything. `big_endian` tells the byte order of the machine that made the
 * bytes (0: little). Rows of other ports than `port` (0: all) are left out. */

enum { BC_DECODE_MORE = 0, BC_DECODE_DONE = 1, BC_DECODE_ERROR = 2 };

typedef struct {
    uint32_t requests; /* half-open connections left out */
    int32_t code;      /* errno that the kernel reported, positive; 0: none */
    uint32_t sequence; /* only messages with this sequence number count; 0: all */
    uint8_t state;     /* BC_DECODE_* */
    uint8_t reserved[3];
} bc_decode_status;

/* One datagram of a sock_diag dump: several netlink messages. Appends to `out` from
 * *count on; *count grows past `capacity` to tell what is needed. */
BC_API int bc_decode_sock_diag(const uint8_t *bytes, size_t length, int big_endian,
                               int32_t protocol, uint16_t port, bc_socket *out,
                               size_t capacity, size_t *count,
                               bc_decode_status *status);

/* One datagram of a dump of AF_UNIX sockets; as bc_decode_sock_diag. Sockets without a
 * name are left out. */
BC_API int bc_decode_unix_diag(const uint8_t *bytes, size_t length, int big_endian,
                               bc_unix_socket *out, size_t capacity, size_t *count,
                               bc_decode_status *status);

/* Whole lines of /proc/net/{tcp,udp,udplite}{,6}. Stops before a last line that has no
 * end and tells in *consumed how many bytes were read. */
BC_API int bc_decode_proc_net(const uint8_t *bytes, size_t length, int big_endian,
                              int family, int32_t protocol, uint16_t port,
                              bc_socket *out, size_t capacity, size_t *count,
                              size_t *consumed, bc_decode_status *status);

/* What bc_decode_proc_stat reads. */
typedef struct {
    uint64_t start_ticks;
    int32_t pid;
    int32_t parent;
    int32_t session;
    uint32_t flags; /* PF_*; 0x00200000 is a kernel thread */
    uint32_t threads;
    uint8_t state;
    uint8_t reserved[3];
} bc_proc_stat;

/* The text of /proc/PID/stat; the program's name in it may hold anything. */
BC_API int bc_decode_proc_stat(const uint8_t *bytes, size_t length, bc_proc_stat *out);

/* Whole lines of /proc/PID/fdinfo/FD of an io_uring: the inodes of the sockets that are
 * registered with it. *section (0 at first) is kept between calls on one file. Stops
 * before a last line that has no end and tells in *consumed how many bytes were read.
 */
BC_API int bc_decode_uring_files(const uint8_t *bytes, size_t length, int32_t *section,
                                 uint64_t *out, size_t capacity, size_t *count,
                                 size_t *consumed);

/* What sysctl net.inet.{tcp,udp}.pcblist_n of macOS gives, whole: an xinpgen, for each
 * socket records of a kind and length of their own (bsd/netinet/in_pcblist.c), and an
 * xinpgen at the end. `status->state` is BC_DECODE_DONE when it ended as it should and
 * nothing changed while it was made, else BC_DECODE_MORE. */
BC_API int bc_decode_pcblist(const uint8_t *bytes, size_t length, int big_endian,
                             int32_t protocol, uint16_t port, bc_socket *out,
                             size_t capacity, size_t *count, bc_decode_status *status);

/* The layouts of Windows' socket tables. */
enum {
    BC_TABLE_TCP4 = 1,   /* MIB_TCPTABLE_OWNER_MODULE */
    BC_TABLE_TCP6 = 2,   /* MIB_TCP6TABLE_OWNER_MODULE */
    BC_TABLE_UDP4 = 3,   /* MIB_UDPTABLE_OWNER_MODULE */
    BC_TABLE_UDP6 = 4,   /* MIB_UDP6TABLE_OWNER_MODULE */
    BC_TABLE_BOUND4 = 5, /* MIB_TCPTABLE2 of InternalGetBoundTcpEndpointTable */
    BC_TABLE_BOUND6 = 6  /* MIB_TCP6TABLE2 of InternalGetBoundTcp6EndpointTable */
};

/* A whole table of 64-bit Windows, which is little-endian everywhere. Appends like
 * bc_decode_sock_diag. BC_E_MALFORMED when it says that it has more rows than there are
 * bytes. */
BC_API int bc_decode_ip_helper(const uint8_t *bytes, size_t length, int layout,
                               uint16_t port, bc_socket *out, size_t capacity,
                               size_t *count);

/* A persistent exclusion of ports as Windows' registry names it: eight hexadecimal
 * digits. BC_E_MALFORMED when they are no range. */
BC_API int bc_decode_excluded_range(const char *name, size_t length,
                                    bc_port_range *out);

/* macOS' net.restricted_port.bitmap: a bit for each port. Appends like
 * bc_decode_sock_diag. */
BC_API int bc_decode_port_bitmap(const uint8_t *bytes, size_t length,
                                 bc_port_range *out, size_t capacity, size_t *count);

/* One datagram of an RTM_GETLINK dump. Appends like bc_decode_sock_diag. */
BC_API int bc_decode_links(const uint8_t *bytes, size_t length, int big_endian,
                           bc_tunnel *out, size_t capacity, size_t *count,
                           bc_decode_status *status);

/* cffi: end */

_Static_assert(sizeof(bc_error) == 8, "bc_error has no holes");
_Static_assert(sizeof(bc_endpoint) == 24, "bc_endpoint has no holes");
_Static_assert(sizeof(bc_probe_request) == 56, "bc_probe_request has no holes");
_Static_assert(sizeof(bc_unix_socket) == 144, "bc_unix_socket has no holes");
_Static_assert(sizeof(bc_socket) == 112, "bc_socket has no holes");
_Static_assert(sizeof(bc_port_range) == 8, "bc_port_range has no holes");
_Static_assert(sizeof(bc_holder) == 48, "bc_holder has no holes");
_Static_assert(sizeof(bc_tunnel) == 40, "bc_tunnel has no holes");
_Static_assert(sizeof(bc_process) == 112, "bc_process has no holes");

#endif
