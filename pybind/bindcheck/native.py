"""The bridge to the C core: the only module that touches `ffi` and `lib`.

Everything is copied out of C memory before a function returns. Numbers become the
words of words.py here; nothing is judged.
"""

from __future__ import annotations

import os
import sys
from _socket import AF_INET, AF_INET6, inet_ntop
from functools import lru_cache
from types import MappingProxyType

from bindcheck import _native
from bindcheck._native import ffi, lib
from bindcheck.errors import NativeError, StaleExtensionError
from bindcheck.model import (
    Attempt,
    Confinement,
    Endpoint,
    Facts,
    InterfaceAddress,
    NativeCode,
    Options,
    Place,
    PortRange,
    Socket,
    Target,
    Tunnel,
    refused,
    worked,
)
from bindcheck.records import record
from bindcheck.rows import (
    FAMILIES,
    HOLDER_ROW,
    NOT_TOLD,
    PROTOCOLS,
    SOCKET_ROW,
    STATES,
    Holder,
    holder_rows,
    one_of_each,
    socket_rows,
)
from bindcheck.target import cid_text, name_text
from bindcheck.walks import one_at_a_time
from bindcheck.words import (
    UNIX_PROTOCOLS,
    Domain,
    Family,
    Protocol,
    SocketType,
    State,
    Step,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

ABI = 7
if lib.BC_ABI != ABI:
    raise StaleExtensionError(
        f"{_native.__file__} has interface {lib.BC_ABI}, this bindcheck needs {ABI}: "
        "build it again with `python -m pip install --force-reinstall --no-deps .` "
        "(or `-e .` in a checkout), or delete the file if it is left over",
    )

DOMAINS = {
    lib.BC_DOMAIN_ERRNO: Domain.ERRNO,
    lib.BC_DOMAIN_EAI: Domain.EAI,
    lib.BC_DOMAIN_WINSOCK: Domain.WINSOCK,
    lib.BC_DOMAIN_WIN32: Domain.WIN32,
}
DOMAIN_NUMBERS = {word: number for number, word in DOMAINS.items()}
STEPS = {
    lib.BC_STEP_RESOLVE: Step.RESOLVE,
    lib.BC_STEP_SOCKET: Step.SOCKET,
    lib.BC_STEP_SETSOCKOPT: Step.SETSOCKOPT,
    lib.BC_STEP_BIND: Step.BIND,
    lib.BC_STEP_LISTEN: Step.LISTEN,
    lib.BC_STEP_GETSOCKNAME: Step.GETSOCKNAME,
}
OPTIONS = {
    lib.BC_OPTION_REUSE_ADDRESS: "SO_REUSEADDR",
    lib.BC_OPTION_REUSE_PORT: "SO_REUSEPORT",
    lib.BC_OPTION_EXCLUSIVE: "SO_EXCLUSIVEADDRUSE",
    lib.BC_OPTION_V6ONLY: "IPV6_V6ONLY",
    lib.BC_OPTION_DEVICE: "SO_BINDTODEVICE",
    lib.BC_OPTION_FREEBIND: "IP_FREEBIND",
}
FAMILY_NUMBERS = {word: number for number, word in FAMILIES.items()}
PROTOCOL_NUMBERS = {word: number for number, word in PROTOCOLS.items()}
TYPES = {
    lib.BC_TYPE_STREAM: SocketType.STREAM,
    lib.BC_TYPE_DATAGRAM: SocketType.DATAGRAM,
    lib.BC_TYPE_SEQPACKET: SocketType.SEQPACKET,
}
_TYPE_NUMBERS = {word: number for number, word in TYPES.items()}
_TYPES = {protocol: _TYPE_NUMBERS[protocol.type] for protocol in Protocol}
_IP_SOCKETS = {one: (PROTOCOL_NUMBERS[one], _TYPES[one]) for one in PROTOCOL_NUMBERS}
_UNIX_PROTOCOLS = {_TYPES[protocol]: protocol for protocol in UNIX_PROTOCOLS}
_OK = lib.BC_OK
_bc_probe, _bc_probe_address = lib.bc_probe, lib.bc_probe_address
_TRISTATE = {None: -1, False: 0, True: 1}
# Looking types up by name costs cffi a parse at every call.
_new_uncleared = ffi.new_allocator(should_clear_after_alloc=False)
_Request = ffi.typeof("bc_probe_request *")
_Result = ffi.typeof("bc_probe_result *")
_Count, _Numbers = ffi.typeof("size_t *"), ffi.typeof("uint64_t[]")
_Listing, _Sockets = ffi.typeof("bc_listing *"), ffi.typeof("bc_socket[]")
_Owners, _Holders = ffi.typeof("bc_owners *"), ffi.typeof("bc_holder[]")
_Processes, _Text = ffi.typeof("bc_process[]"), ffi.typeof("char[]")
_makedev: Callable[[int, int], int] = getattr(os, "makedev", lambda *_: 0)


@lru_cache(256)  # a number keeps its name and its text
def error(domain: Domain, code: int) -> NativeCode:
    """Name a native number and give the system's own text for it."""
    number = DOMAIN_NUMBERS[domain]
    text = ffi.new("char[]", 1024)
    status = lib.bc_error_message(number, code, text, 1024)
    reference = status in (lib.BC_E_INVALID, lib.BC_E_UNSUPPORTED)
    if reference:
        ours = lib.bc_error_reference(number, code)
        message = f"Unknown error {code}" if ours == ffi.NULL else _string(ours)
    else:
        message = _string(text)
    name = lib.bc_error_name(number, code)
    return NativeCode(
        domain=domain,
        code=code,
        name=None if name == ffi.NULL else _string(name),
        message=message,
        reference=reference,
    )


def probe_plain(target: Target) -> Attempt | None:
    """Make the native calls for one IP address without any option; None: it is none."""
    numbers = _IP_SOCKETS.get(target.protocol)
    if numbers is None:
        return None
    packed = target.packed
    protocol, kind = numbers
    port = _bc_probe_address(
        protocol, kind, packed, len(packed), target.port, target.scope_id or 0
    )
    if port >= 0:
        return worked(target, port)
    return None if port == -1 else refused(target, *_refusal(-port))


@lru_cache(64)
def _refusal(number: int) -> tuple[Step, NativeCode]:
    """The step and the error in what bc_probe_address returned."""
    step, code = divmod(number, 2**32)
    domain = Domain.WINSOCK if sys.platform == "win32" else Domain.ERRNO
    return STEPS[step], error(domain, code)


def probe(target: Target, options: Options) -> Attempt:
    """Make the native calls for one address and say what the system said."""
    request = ffi.new(_Request)
    local = request.local
    local.family = FAMILY_NUMBERS[target.family]  # type: ignore[index]
    local.port = target.port
    ffi.memmove(local.address, target.packed, len(target.packed))
    if target.scope_id is not None:
        local.scope_id = target.scope_id
    request.protocol = PROTOCOL_NUMBERS[target.protocol]
    request.type = _TYPES[target.protocol]
    request.reuse_address = _TRISTATE[options.reuse_address]
    request.reuse_port = _TRISTATE[options.reuse_port]
    request.exclusive = _TRISTATE[options.exclusive]
    request.v6only = _TRISTATE[options.v6only]
    request.freebind = _TRISTATE[options.freebind]
    if options.device is not None:
        request.device = options.device.encode()
    if options.listen:
        request.listen = 1
        request.backlog = options.backlog

    result = ffi.new(_Result)
    if _bc_probe(request, result) != _OK:
        raise NativeError(f"the C core refused the request for {target.text}")
    failed = result.error
    if failed.step:
        return _failed(target, options, failed)
    return Attempt(
        target=target,
        options=options,
        ok=True,
        native=True,
        step=None,
        argument=None,
        error=None,
        bound=_bound(target, result.bound),
    )


def _bound(target: Target, raw: Any) -> Endpoint:
    """What getsockname() said; with a port given it is what was asked for."""
    if target.port and target.address is not None:
        return Endpoint(address=target.address, port=raw.port, scope_id=target.scope_id)
    return _endpoint(raw)


def probe_name(target: Target, options: Options) -> Attempt:
    """Make the native calls for an AF_UNIX or AF_VSOCK address, as probe() does.

    A bind to a path leaves a socket file behind.
    """
    request = ffi.new("bc_name_request *")
    request.family = FAMILY_NUMBERS[target.family]  # type: ignore[index]
    request.type = _TYPES[target.protocol]
    request.listen, request.backlog = options.listen, options.backlog
    if target.family is Family.VSOCK:
        request.cid = int.from_bytes(target.packed, "big")
        request.port = target.port
    else:
        # What is longer than any system takes is refused all the same.
        name = target.packed[: lib.BC_NAME_BYTES]
        request.length = len(name)
        ffi.memmove(request.name, name, len(name))
    result = ffi.new("bc_name_result *")
    if lib.bc_probe_name(request, result) != _OK:
        raise NativeError(f"the C core refused the request for {target.text}")
    failed = result.error
    if failed.step:
        return _failed(target, options, failed)
    if target.family is Family.VSOCK:
        bound = Endpoint(address=cid_text(result.cid), port=result.port)
    else:
        name = bytes(ffi.buffer(result.name, result.length))
        bound = Endpoint(address=name_text(name.removesuffix(b"\0")), port=0)
    return Attempt(
        target=target,
        options=options,
        ok=True,
        native=True,
        step=None,
        argument=None,
        error=None,
        bound=bound,
    )


def _failed(target: Target, options: Options, failed: Any) -> Attempt:
    return Attempt(
        target=target,
        options=options,
        ok=False,
        native=True,
        step=STEPS[failed.step],
        argument=OPTIONS.get(failed.option),
        error=error(DOMAINS[failed.domain], failed.code),
        bound=None,
    )


def resolve(host: str, family: Family | None) -> tuple[Resolved, ...] | NativeCode:
    """Look a host up with getaddrinfo; it may ask name servers."""
    capacity = 16
    count = ffi.new("size_t *")
    failed = ffi.new("bc_error *")
    number = lib.BC_FAMILY_NONE if family is None else FAMILY_NUMBERS[family]
    while True:
        found = ffi.new("bc_endpoint[]", capacity)
        status = lib.bc_resolve(host.encode(), number, found, capacity, count, failed)
        if status != lib.BC_E_TRUNCATED:
            break
        capacity = count[0]
    if status != lib.BC_OK:
        return error(DOMAINS[failed.domain], failed.code)
    return tuple(
        Resolved(
            family=FAMILIES[one.family],
            packed=_packed(one),
            scope_id=one.scope_id or None,
        )
        for one in found[0 : count[0]]
    )


@record(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An address that a name stands for."""

    family: Family
    packed: bytes
    scope_id: int | None


@record(frozen=True, slots=True, kw_only=True)
class Listing:
    """Rows of the socket tables; `source` is "sock_diag", "proc-net" or None.

    `bound` tells whether TCP sockets that are bound and do not listen are among them;
    None: the kernel does not tell. `alike` tells what else a row stands for, by its
    inode, where that was asked for.
    """

    source: str | None
    sockets: tuple[Socket, ...]
    refused: NativeCode | None
    bound: bool | None
    alike: Mapping[int, tuple[Place, ...]] = MappingProxyType({})


_SOURCES = {
    lib.BC_SOURCE_SOCK_DIAG: "sock_diag",
    lib.BC_SOURCE_PROC_NET: "proc-net",
    lib.BC_SOURCE_PCBLIST: "pcblist",
    lib.BC_SOURCE_IP_HELPER: "ip-helper",
}


def list_sockets(
    protocol: Protocol, port: int, *, tries_bound: bool = False, alike: bool = False
) -> Listing:
    """List the sockets of a protocol on a local port (0: all), in every state.

    Args:
        protocol: whose table.
        port: the local port.
        tries_bound: find out whether TCP sockets that are bound and do not listen are
            among them: a socket of our own is bound meanwhile, to another port of
            loopback.
        alike: give one record of all sockets that are alike but for their port, and are
            alone on it; where the others are, Listing.alike tells by its inode. Of
            sock_diag alone: other tables do not tell what may differ.
    """
    rows, count, listing, _ = _rows(protocol, port, tries_bound=tries_bound)
    refused = None
    if listing.refused.domain != lib.BC_DOMAIN_NONE:
        refused = error(DOMAINS[listing.refused.domain], listing.refused.code)
    raw = ffi.buffer(rows, count * SOCKET_ROW.size)
    others: dict[int, tuple[Place, ...]] = {}
    if alike and listing.source == lib.BC_SOURCE_SOCK_DIAG:
        raw, others = one_of_each(raw)
    return Listing(
        source=_SOURCES.get(listing.source),
        sockets=socket_rows(raw),
        refused=refused,
        bound=_boolean(listing.bound),
        alike=others,
    )


def has_socket(row: Socket) -> bool:
    """Whether the tables still have a row with this cookie, in the same state.

    As list_sockets(), without a record for each of what may be thousands of rows. Tables
    that cannot be read deny nothing: True.
    """
    rows, count, _, status = _rows(row.protocol.table, row.local.port)
    return status != _OK or any(
        one.cookie == row.cookie and STATES.get(one.state) is row.state
        for one in rows[0:count]
    )


def listening_inodes(port: int) -> frozenset[int]:
    """Tell the inodes of the TCP sockets that listen on a port. Linux only.

    Takes a tenth of what list_sockets() takes; empty where sock_diag is not to be had.
    """
    rows, count, _, status = _rows(Protocol.TCP, port, only_listening=True)
    found = {one.inode for one in rows[0 : count if status == _OK else 0]}
    return frozenset(found - {0})


def _rows(
    protocol: Protocol,
    port: int,
    *,
    tries_bound: bool = False,
    only_listening: bool = False,
) -> tuple[Any, int, Any, int]:
    """An array of C rows, how many are in it, how it was made, and the status.

    Not a slice of the array: that would not keep its memory.
    """
    capacity = 16384
    if port:
        capacity = 64 if only_listening else 1024
    count = ffi.new(_Count)
    listing = ffi.new(_Listing)
    while True:
        rows = _new_uncleared(_Sockets, capacity)
        listing.tries_bound = tries_bound
        listing.only_listening = only_listening
        status = lib.bc_list_sockets(
            PROTOCOL_NUMBERS[protocol], port, rows, capacity, count, listing
        )
        if status != lib.BC_E_TRUNCATED:
            return rows, count[0], listing, status
        capacity = count[0] + 256  # more may come before the next dump


def list_unix_sockets() -> tuple[Socket, ...] | NativeCode:
    """List the AF_UNIX sockets that have a name, or say why the kernel does not."""
    capacity = 256
    count, failed = ffi.new("size_t *"), ffi.new("bc_error *")
    while True:
        rows = ffi.new("bc_unix_socket[]", capacity)
        status = lib.bc_list_unix_sockets(rows, capacity, count, failed)
        if status != lib.BC_E_TRUNCATED:
            break
        capacity = count[0] + 256
    if status == lib.BC_E_UNSUPPORTED:
        return ()
    if status != _OK:
        return error(DOMAINS[failed.domain], failed.code)
    return tuple(_unix_socket(row) for row in rows[0 : count[0]])


@record(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """A process as the system describes it; texts are raw bytes."""

    pid: int
    parent: int
    session: int
    flags: int
    inner_pid: int | None
    pid_namespace: int | None
    uid: int
    start_ticks: int
    state: str
    name: bytes
    command: tuple[bytes, ...]
    command_truncated: bool
    folder: bytes
    cgroup: bytes
    executable: tuple[int, int] | None


@record(frozen=True, slots=True, kw_only=True)
class Scan:
    """The answer of find_owners: who holds what, and how many could not be read.

    `ancestors` are above these processes, and none of them.
    """

    holders: tuple[Holder, ...]
    processes: tuple[ProcessFacts, ...]
    ancestors: tuple[ProcessFacts, ...] = ()
    seen: int
    unreadable: int
    available: bool
    exhausted: bool


MOST_ANCESTORS = 16


class _OwnerArrays:
    """The arrays that the C core fills; they grow until everything fits."""

    def __init__(self, sockets: int = 0) -> None:
        self.owners = ffi.new(_Owners)
        # Most sockets have one holder: a second scan would cost as much as the first.
        self._allocate(max(64, 2 * sockets), 16, 32768)

    def _allocate(self, holders: int, processes: int, text: int) -> None:
        self.holders = _new_uncleared(_Holders, holders)
        self.processes = _new_uncleared(_Processes, processes)
        self.text = _new_uncleared(_Text, text)
        owners = self.owners
        owners.holders, owners.holder_capacity = self.holders, holders
        owners.processes, owners.process_capacity = self.processes, processes
        owners.text, owners.text_capacity = self.text, text

    def grow(self) -> None:
        """Make room for twice what was found, because processes come and go."""
        owners = self.owners
        self._allocate(
            2 * max(owners.holder_count, 32),
            2 * max(owners.process_count, 8),
            2 * max(owners.text_count, 16384),
        )

    def described(self) -> tuple[ProcessFacts, ...]:
        """Copy the processes out."""
        owners = self.owners
        text = ffi.buffer(self.text, owners.text_count)[:]
        return tuple(
            [_process(one, text) for one in self.processes[0 : owners.process_count]]
        )

    def scan(self) -> Scan:
        """Copy the answer out."""
        owners = self.owners
        holders = holder_rows(
            ffi.buffer(self.holders, owners.holder_count * HOLDER_ROW.size)
        )
        having = {one.pid for one in holders}
        described = self.described()
        return Scan(
            holders=holders,
            processes=tuple([one for one in described if one.pid in having]),
            ancestors=tuple([one for one in described if one.pid not in having]),
            seen=owners.seen,
            unreadable=owners.unreadable,
            available=bool(owners.available),
            exhausted=bool(owners.exhausted),
        )


def find_owners(inodes: Sequence[int], *, brief: bool = False) -> Scan:
    """Find every descriptor of these sockets in every process that may be read.

    Linux: the processes above them too.
    `brief`: without what a process could make us wait for, its command line.
    """
    wanted = sorted(set(inodes))
    numbers = ffi.new(_Numbers, wanted)
    arrays = _OwnerArrays(len(wanted))
    arrays.owners.brief = brief
    arrays.owners.ancestors = MOST_ANCESTORS
    asked = (numbers, len(wanted), arrays.owners)
    with one_at_a_time():
        while lib.bc_find_owners(*asked) == lib.BC_E_TRUNCATED:
            arrays.grow()
    return arrays.scan()


@record(frozen=True, slots=True, kw_only=True)
class BoundScan:
    """The answer of find_bound; `unasked` descriptors could not be borrowed."""

    sockets: tuple[Socket, ...]
    unasked: int
    seen: int
    unreadable: int
    exhausted: bool


def find_bound(port: int, known: Sequence[int]) -> BoundScan:
    """Find TCP sockets bound to a port (0: any) whose inodes are not `known`."""
    inodes = sorted(set(known))
    numbers = ffi.new("uint64_t[]", inodes)
    count, scan = ffi.new("size_t *"), ffi.new("bc_bound_scan *")
    capacity = 16
    while True:
        rows = ffi.new("bc_socket[]", capacity)
        with one_at_a_time():
            status = lib.bc_find_bound(
                port, numbers, len(inodes), rows, capacity, count, scan
            )
        if status != lib.BC_E_TRUNCATED:
            break
        capacity = 2 * count[0]
    return BoundScan(
        sockets=socket_rows(ffi.buffer(rows, count[0] * SOCKET_ROW.size)),
        unasked=scan.unasked,
        seen=scan.seen,
        unreadable=scan.unreadable,
        exhausted=bool(scan.exhausted),
    )


def read_process(pid: int, *, brief: bool = False) -> ProcessFacts | None:
    """Describe one process; None when there is none with that pid."""
    arrays = _OwnerArrays()
    arrays.owners.brief = brief
    status = lib.bc_read_process(pid, arrays.owners)
    while status == lib.BC_E_TRUNCATED:
        arrays.grow()
        status = lib.bc_read_process(pid, arrays.owners)
    return arrays.described()[0] if status == lib.BC_OK else None


def read_own_program() -> ProcessFacts | None:
    """Tell the calling process's pid and program; None where there is no process table.

    What else a process is stays empty.
    """
    arrays = _OwnerArrays()
    status = lib.bc_read_own_program(arrays.owners)
    while status == lib.BC_E_TRUNCATED:
        arrays.grow()
        status = lib.bc_read_own_program(arrays.owners)
    return arrays.described()[0] if status == lib.BC_OK else None


def read_ancestors(pid: int, *, brief: bool = False) -> tuple[ProcessFacts, ...]:
    """Describe a process and those above it (see bindcheck.h), it first.

    `brief`: without their command lines too.
    """
    arrays = _OwnerArrays()
    arrays.owners.brief = brief
    asked = (pid, MOST_ANCESTORS, arrays.owners)
    while lib.bc_read_ancestors(*asked) == lib.BC_E_TRUNCATED:
        arrays.grow()
    return arrays.described()


def read_facts() -> Facts:
    """Read what this machine allows the caller."""
    raw = ffi.new("bc_facts *")
    lib.bc_read_facts(raw)
    ephemeral = (raw.ephemeral_low, raw.ephemeral_high)
    descriptors = (_count(raw.descriptors_soft), _count(raw.descriptors_hard))
    return Facts(
        euid=None if raw.euid == NOT_TOLD else raw.euid,
        capabilities=raw.capabilities,
        network_namespace=raw.network_namespace or None,
        pid_namespace=raw.pid_namespace or None,
        user_namespace=raw.user_namespace or None,
        owns_network_namespace=_boolean(raw.owns_network_namespace),
        unprivileged_port_start=_count(raw.unprivileged_port_start),
        ephemeral_range=ephemeral if min(ephemeral) >= 0 else None,
        bind_v6only=_boolean(raw.bind_v6only),
        nonlocal_bind={
            Family.INET: _boolean(raw.nonlocal_bind4),
            Family.INET6: _boolean(raw.nonlocal_bind6),
        },
        ipv6_available=_boolean(raw.ipv6_available),
        ipv6_disabled=_boolean(raw.ipv6_disabled),
        ipv6_disabled_loopback=_boolean(raw.ipv6_disabled_loopback),
        loopback_up=_boolean(raw.loopback_up),
        clock_ticks=raw.clock_ticks,
        descriptor_limits=descriptors,
        system=sys.platform,
        segment_lifetime_ms=_count(raw.segment_lifetime_ms),
        elevated=_boolean(raw.elevated),
    )


def read_confinement(family: Family, cgroup: str | None) -> Confinement:
    """Ask what judges the calls of this process; `cgroup` is its cgroup v2 folder."""
    raw = ffi.new("bc_confinement *")
    folder = ffi.NULL if cgroup is None else cgroup.encode("utf-8", "surrogateescape")
    lib.bc_read_confinement(FAMILY_NUMBERS[family], folder, raw)
    codes = (raw.bind_filter, raw.socket_filter)
    bind, socket = (error(Domain.ERRNO, code) if code else None for code in codes)
    return Confinement(
        bind_filter=bind,
        socket_filter=socket,
        bind_programs=_count(raw.bind_programs),
        socket_programs=_count(raw.socket_programs),
    )


def list_addresses() -> tuple[InterfaceAddress, ...]:
    """List the addresses of the interfaces; empty where the system cannot be asked."""
    capacity = 64
    count = ffi.new("size_t *")
    failed = ffi.new("bc_error *")
    while True:
        rows = ffi.new("bc_interface_address[]", capacity)
        if lib.bc_list_addresses(rows, capacity, count, failed) != lib.BC_E_TRUNCATED:
            break
        capacity = 2 * count[0]
    return tuple(
        InterfaceAddress(
            family=FAMILIES[one.address.family],
            address=_endpoint(one.address).address,
            packed=_packed(one.address),
            interface=_string(one.interface),
            index=one.index,
            up=bool(one.up),
            running=bool(one.running),
            prefix=one.prefix if one.prefix <= 128 else None,
        )
        for one in rows[0 : count[0]]
    )


def list_kept_ports(protocol: Protocol) -> tuple[PortRange, ...]:
    """List the ports that the system keeps from bind(), as far as it tells of them."""
    capacity = 64
    count, failed = ffi.new("size_t *"), ffi.new("bc_error *")
    number = PROTOCOL_NUMBERS[protocol]
    while True:
        rows = ffi.new("bc_port_range[]", capacity)
        status = lib.bc_list_kept_ports(number, rows, capacity, count, failed)
        if status != lib.BC_E_TRUNCATED:
            break
        capacity = 2 * count[0]
    return tuple(
        PortRange(
            first=one.first,
            last=one.last,
            restricted=one.kind == lib.BC_KEPT_RESTRICTED,
        )
        for one in rows[0 : count[0] if status == _OK else 0]
    )


def service_name(pid: int, tag: int) -> str | None:
    """The Windows service that a tag stands for in a process; None: not told."""
    text = ffi.new("char[]", 1024)
    if lib.bc_service_name(pid, tag, text, 1024) != _OK:
        return None
    return _string(text) or None


def list_tunnels() -> tuple[Tunnel, ...] | NativeCode:
    """List the devices that have a UDP socket of the kernel's own, or say why not."""
    capacity = 16
    count, failed = ffi.new("size_t *"), ffi.new("bc_error *")
    while True:
        rows = ffi.new("bc_tunnel[]", capacity)
        status = lib.bc_list_tunnels(rows, capacity, count, failed)
        if status != lib.BC_E_TRUNCATED:
            break
        capacity = 2 * count[0]
    if status == lib.BC_E_SYSTEM:
        return error(DOMAINS[failed.domain], failed.code)
    return tuple(
        Tunnel(
            name=_string(one.name),
            kind=_string(one.kind),
            port=one.port or None,
        )
        for one in rows[0 : count[0]]
    )


def watch_ends(port: int, cookie: int | None) -> int | None:
    """A descriptor that becomes readable when a socket ends; the caller closes it.

    Args:
        port: its local port, where there is no cookie: then any that has it counts.
        cookie: of the row that is waited for.

    Returns:
        None where the kernel does not tell.
    """
    handle, failed = ffi.new("int32_t *"), ffi.new("bc_error *")
    if lib.bc_watch_ends(port, cookie or 0, handle, failed) != _OK:
        return None
    return int(handle[0])


def interface_index(name: str) -> int | None:
    """The index of a network interface here, None when there is none of that name."""
    raw = name.encode("utf-8", "surrogateescape")
    if not raw or b"\0" in raw:
        return None
    return lib.bc_interface_index(raw) or None


def _string(raw: Any) -> str:
    return _text(ffi.string(raw))


def _text(raw: Any) -> str:
    r"""Decode foreign bytes; what is no UTF-8 stays visible as \\xNN."""
    return bytes(raw).decode("utf-8", "backslashreplace")


def _boolean(value: int) -> bool | None:
    return None if value < 0 else value != 0


def _count(value: int) -> int | None:
    return None if value < 0 else value


def _packed(endpoint: Any) -> bytes:
    size = 4 if endpoint.family == lib.BC_FAMILY_INET else 16
    return bytes(ffi.buffer(endpoint.address, size))


def _endpoint(raw: Any) -> Endpoint:
    packed = _packed(raw)
    return Endpoint(
        address=inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed),
        port=raw.port,
        scope_id=raw.scope_id or None,
    )


def _unix_socket(row: Any) -> Socket:
    name = bytes(ffi.buffer(row.name, row.length))
    device = row.file_device  # include/linux/kdev_t.h: 12 bits and 20
    return Socket(
        family=Family.UNIX,
        protocol=_UNIX_PROTOCOLS.get(row.type, Protocol.UNIX),
        state=STATES.get(row.state, State.UNKNOWN),
        local=Endpoint(address="", port=0),
        remote=None,
        packed=name,
        inode=row.inode,
        cookie=row.cookie or None,
        uid=None if row.uid == 0xFFFFFFFF else row.uid,
        cgroup_id=None,
        device=0,
        timer_ms=None,
        opened=None,
        v6only=None,
        path=name_text(name),
        file=(_makedev(device >> 20, device & 0xFFFFF), row.file_inode)
        if row.file_inode
        else None,
    )


def _process(raw: Any, text: bytes) -> ProcessFacts:
    def part(name: str) -> bytes:
        offset = getattr(raw, f"{name}_offset")
        return text[offset : offset + getattr(raw, f"{name}_length")]

    command = part("command").removesuffix(b"\0")
    executable = (raw.exe_device, raw.exe_inode)
    return ProcessFacts(
        pid=raw.pid,
        parent=raw.parent,
        session=raw.session,
        flags=raw.flags,
        inner_pid=raw.inner_pid or None,
        pid_namespace=raw.pid_namespace or None,
        uid=raw.uid,
        start_ticks=raw.start_ticks,
        state=chr(raw.state),
        name=part("name"),
        command=tuple(command.split(b"\0")) if command else (),
        command_truncated=bool(raw.command_truncated),
        folder=part("folder"),
        cgroup=part("cgroup"),
        executable=executable if raw.exe_inode else None,
    )
