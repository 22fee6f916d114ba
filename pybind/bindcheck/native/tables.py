"""The socket tables, and word of a socket's end."""

from __future__ import annotations

import os
from types import MappingProxyType

from bindcheck.model import Endpoint, NativeCode, Place, Socket
from bindcheck.native.codes import DOMAINS, PROTOCOL_NUMBERS, TYPES, boolean, error
from bindcheck.native.interface import ffi, lib
from bindcheck.native.rows import SOCKET_ROW, STATES, one_of_each, socket_rows
from bindcheck.records import record
from bindcheck.target import name_text
from bindcheck.words import UNIX_PROTOCOLS, Family, Protocol, State

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_OK = lib.BC_OK
_UNIX_PROTOCOLS = {TYPES[protocol]: protocol for protocol in UNIX_PROTOCOLS}
_SOURCES = {
    lib.BC_SOURCE_SOCK_DIAG: "sock_diag",
    lib.BC_SOURCE_PROC_NET: "proc-net",
    lib.BC_SOURCE_PCBLIST: "pcblist",
    lib.BC_SOURCE_IP_HELPER: "ip-helper",
}
# Looking types up by name costs cffi a parse at every call.
_new_uncleared = ffi.new_allocator(should_clear_after_alloc=False)
_Count, _Listing = ffi.typeof("size_t *"), ffi.typeof("bc_listing *")
_Sockets = ffi.typeof("bc_socket[]")
_makedev: Callable[[int, int], int] = getattr(os, "makedev", lambda *_: 0)


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
        bound=boolean(listing.bound),
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


def list_listeners(port: int) -> tuple[Socket, ...]:
    """List the TCP sockets that listen on a port. Linux only.

    Takes a tenth of what list_sockets() takes; empty where sock_diag is not to be had.
    """
    rows, count, _, _ = _rows(Protocol.TCP, port, only_listening=True)
    return socket_rows(ffi.buffer(rows, count * SOCKET_ROW.size))


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
            return rows, count[0] if status == _OK else 0, listing, status
        # More may come before the next dump.
        capacity = count[0] + count[0] // 8 + 256


def list_unix_sockets() -> tuple[Socket, ...] | NativeCode:
    """List the AF_UNIX sockets that have a name, or say why the kernel does not."""
    capacity = 256
    count, failed = ffi.new("size_t *"), ffi.new("bc_error *")
    while True:
        rows = ffi.new("bc_unix_socket[]", capacity)
        status = lib.bc_list_unix_sockets(rows, capacity, count, failed)
        if status != lib.BC_E_TRUNCATED:
            break
        capacity = count[0] + count[0] // 8 + 256
    if status == lib.BC_E_UNSUPPORTED:
        return ()
    if status != _OK:
        return error(DOMAINS[failed.domain], failed.code)
    return tuple(_unix_socket(row) for row in rows[0 : count[0]])


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
