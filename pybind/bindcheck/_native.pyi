from typing import Any

class _FFI:
    NULL: Any
    def new(self, kind: Any, init: Any = ..., /) -> Any: ...
    def new_allocator(self, *, should_clear_after_alloc: bool) -> Any: ...
    def typeof(self, kind: str, /) -> Any: ...
    def string(self, data: Any, /) -> bytes: ...
    def buffer(self, data: Any, size: int = ..., /) -> Any: ...
    def memmove(self, to: Any, source: Any, size: int, /) -> None: ...
    def gc(self, data: Any, destructor: Any, /) -> Any: ...

ffi: _FFI

class _Lib:
    BC_ABI: int
    BC_MOST_DETAILED: int
    BC_NAME_BYTES: int
    BC_OK: int
    BC_E_INVALID: int
    BC_E_TRUNCATED: int
    BC_E_UNSUPPORTED: int
    BC_E_SYSTEM: int
    BC_E_MALFORMED: int
    BC_DOMAIN_NONE: int
    BC_DOMAIN_ERRNO: int
    BC_DOMAIN_EAI: int
    BC_DOMAIN_WINSOCK: int
    BC_DOMAIN_WIN32: int
    BC_STEP_NONE: int
    BC_STEP_RESOLVE: int
    BC_STEP_SOCKET: int
    BC_STEP_SETSOCKOPT: int
    BC_STEP_BIND: int
    BC_STEP_LISTEN: int
    BC_STEP_GETSOCKNAME: int
    BC_OPTION_NONE: int
    BC_OPTION_REUSE_ADDRESS: int
    BC_OPTION_REUSE_PORT: int
    BC_OPTION_EXCLUSIVE: int
    BC_OPTION_V6ONLY: int
    BC_OPTION_DEVICE: int
    BC_OPTION_FREEBIND: int
    BC_FAMILY_NONE: int
    BC_FAMILY_UNIX: int
    BC_FAMILY_INET: int
    BC_FAMILY_INET6: int
    BC_FAMILY_VSOCK: int
    BC_TYPE_STREAM: int
    BC_TYPE_DATAGRAM: int
    BC_TYPE_SEQPACKET: int
    BC_PROTOCOL_TCP: int
    BC_PROTOCOL_UDP: int
    BC_PROTOCOL_SCTP: int
    BC_PROTOCOL_UDPLITE: int
    BC_PROTOCOL_MPTCP: int
    BC_STATE_UNKNOWN: int
    BC_STATE_ESTABLISHED: int
    BC_STATE_SYN_SENT: int
    BC_STATE_SYN_RECV: int
    BC_STATE_FIN_WAIT_1: int
    BC_STATE_FIN_WAIT_2: int
    BC_STATE_TIME_WAIT: int
    BC_STATE_CLOSE: int
    BC_STATE_CLOSE_WAIT: int
    BC_STATE_LAST_ACK: int
    BC_STATE_LISTEN: int
    BC_STATE_CLOSING: int
    BC_OPENED_UNKNOWN: int
    BC_OPENED_ACTIVELY: int
    BC_OPENED_PASSIVELY: int
    BC_SOURCE_NONE: int
    BC_SOURCE_SOCK_DIAG: int
    BC_SOURCE_PROC_NET: int
    BC_SOURCE_PCBLIST: int
    BC_SOURCE_IP_HELPER: int
    BC_WAITS_UNKNOWN: int
    BC_WAITS_FOR_IT: int
    BC_WAITS_ELSEWHERE: int
    BC_DECODE_MORE: int
    BC_DECODE_DONE: int
    BC_DECODE_ERROR: int
    BC_KEPT_EXCLUDED: int
    BC_KEPT_RESTRICTED: int
    BC_TABLE_TCP4: int
    BC_TABLE_TCP6: int
    BC_TABLE_UDP4: int
    BC_TABLE_UDP6: int
    BC_TABLE_BOUND4: int
    BC_TABLE_BOUND6: int
    def bc_probe(self, request: Any, result: Any, /) -> int: ...
    def bc_probe_address(
        self,
        protocol: int,
        socket_type: int,
        address: bytes,
        length: int,
        port: int,
        scope_id: int,
        /,
    ) -> int: ...
    def bc_probe_name(self, request: Any, result: Any, /) -> int: ...
    def bc_resolve(
        self,
        host: bytes,
        family: int,
        out: Any,
        capacity: int,
        count: Any,
        error: Any,
        /,
    ) -> int: ...
    def bc_error_name(self, domain: int, code: int, /) -> Any: ...
    def bc_error_message(
        self, domain: int, code: int, out: Any, capacity: int, /
    ) -> int: ...
    def bc_list_sockets(
        self,
        protocol: int,
        port: int,
        out: Any,
        capacity: int,
        count: Any,
        listing: Any,
        /,
    ) -> int: ...
    def bc_list_unix_sockets(
        self, out: Any, capacity: int, count: Any, error: Any, /
    ) -> int: ...
    def bc_find_owners(self, inodes: Any, inode_count: int, owners: Any, /) -> int: ...
    def bc_new_turn(self, /) -> Any: ...
    def bc_take_turn(self, turn: Any, milliseconds: int, /) -> int: ...
    def bc_give_turn(self, turn: Any, /) -> None: ...
    def bc_drop_turn(self, turn: Any, /) -> None: ...
    def bc_begin_search(
        self, turn: Any, inodes: Any, inode_count: int, ancestors: int, /
    ) -> Any: ...
    def bc_wait_for_search(self, search: Any, milliseconds: int, /) -> int: ...
    def bc_search_owners(self, search: Any, /) -> Any: ...
    def bc_leave_search(self, search: Any, /) -> None: ...
    def bc_read_process(self, pid: int, owners: Any, /) -> int: ...
    def bc_read_own_program(self, owners: Any, /) -> int: ...
    def bc_read_ancestors(self, pid: int, most: int, owners: Any, /) -> int: ...
    def bc_find_bound(
        self,
        port: int,
        known: Any,
        known_count: int,
        out: Any,
        capacity: int,
        count: Any,
        scan: Any,
        /,
    ) -> int: ...
    def bc_read_facts(self, facts: Any, /) -> int: ...
    def bc_read_confinement(self, family: int, cgroup: Any, out: Any, /) -> int: ...
    def bc_list_addresses(
        self,
        out: Any,
        capacity: int,
        count: Any,
        error: Any,
        /,
    ) -> int: ...
    def bc_list_tunnels(
        self, out: Any, capacity: int, count: Any, error: Any, /
    ) -> int: ...
    def bc_watch_ends(
        self, port: int, cookie: int, handle: Any, error: Any, /
    ) -> int: ...
    def bc_interface_index(self, name: bytes, /) -> int: ...
    def bc_decode_sock_diag(
        self,
        data: Any,
        length: int,
        big_endian: int,
        protocol: int,
        port: int,
        out: Any,
        capacity: int,
        count: Any,
        status: Any,
        /,
    ) -> int: ...
    def bc_decode_unix_diag(
        self,
        data: Any,
        length: int,
        big_endian: int,
        out: Any,
        capacity: int,
        count: Any,
        status: Any,
        /,
    ) -> int: ...
    def bc_decode_proc_net(
        self,
        data: Any,
        length: int,
        big_endian: int,
        family: int,
        protocol: int,
        port: int,
        out: Any,
        capacity: int,
        count: Any,
        consumed: Any,
        status: Any,
        /,
    ) -> int: ...
    def bc_decode_proc_stat(self, data: Any, length: int, out: Any, /) -> int: ...
    def bc_decode_uring_files(
        self,
        data: Any,
        length: int,
        section: Any,
        out: Any,
        capacity: int,
        count: Any,
        consumed: Any,
        /,
    ) -> int: ...
    def bc_decode_links(
        self,
        data: Any,
        length: int,
        big_endian: int,
        out: Any,
        capacity: int,
        count: Any,
        status: Any,
        /,
    ) -> int: ...
    def bc_error_reference(self, domain: int, code: int, /) -> Any: ...
    def bc_list_kept_ports(
        self,
        protocol: int,
        out: Any,
        capacity: int,
        count: Any,
        error: Any,
        /,
    ) -> int: ...
    def bc_service_name(
        self, pid: int, tag: int, out: Any, capacity: int, /
    ) -> int: ...
    def bc_decode_pcblist(
        self,
        data: Any,
        length: int,
        big_endian: int,
        protocol: int,
        port: int,
        out: Any,
        capacity: int,
        count: Any,
        status: Any,
        /,
    ) -> int: ...
    def bc_decode_ip_helper(
        self,
        data: Any,
        length: int,
        layout: int,
        port: int,
        out: Any,
        capacity: int,
        count: Any,
        /,
    ) -> int: ...
    def bc_decode_excluded_range(self, name: Any, length: int, out: Any, /) -> int: ...
    def bc_decode_port_bitmap(
        self, data: Any, length: int, out: Any, capacity: int, count: Any, /
    ) -> int: ...

lib: _Lib
