"""Who has descriptors of sockets, and what a process is."""

from __future__ import annotations

import os

from bindcheck.native.interface import ffi, lib
from bindcheck.native.process_rows import PROCESS_ROW, ProcessFacts, process_rows
from bindcheck.native.rows import (
    HOLDER_ROW,
    SOCKET_ROW,
    Holder,
    holder_rows,
    socket_rows,
)
from bindcheck.native.turns import (
    PATIENCE_SECONDS,
    leave_alone,
    one_at_a_time,
    turn,
)
from bindcheck.patience import UnansweredError
from bindcheck.records import record

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from bindcheck.model import Socket

MOST_ANCESTORS = 16
_SHORT_PATIENCE_SECONDS = 0.3
# Looking types up by name costs cffi a parse at every call.
_new_uncleared = ffi.new_allocator(should_clear_after_alloc=False)
_Numbers, _Owners = ffi.typeof("uint64_t[]"), ffi.typeof("bc_owners *")
_Holders, _Processes = ffi.typeof("bc_holder[]"), ffi.typeof("bc_process[]")
_Text = ffi.typeof("char[]")


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


def _described(owners: Any) -> tuple[ProcessFacts, ...]:
    """Copy the processes out."""
    text = ffi.buffer(owners.text, owners.text_count)[:]
    raw = ffi.buffer(owners.processes, owners.process_count * PROCESS_ROW.size)
    return process_rows(raw, text)


def _scan(owners: Any) -> Scan:
    """Copy the answer out."""
    raw = ffi.buffer(owners.holders, owners.holder_count * HOLDER_ROW.size)
    described = _described(owners)
    count = len(described) - owners.ancestor_count
    return Scan(
        holders=holder_rows(raw),
        processes=described[:count],
        ancestors=described[count:],
        seen=owners.seen,
        unreadable=owners.unreadable,
        available=bool(owners.available),
        exhausted=bool(owners.exhausted),
    )


def find_owners(inodes: Sequence[int], *, brief: bool = False) -> Scan:
    """Find every descriptor of these sockets in every process that may be read.

    Linux: the processes above them too.
    `brief`: without what a process could make us wait for, its command line and
    environment.
    """
    wanted = sorted(set(inodes))
    numbers = ffi.new(_Numbers, wanted)
    arrays = _OwnerArrays(len(wanted))
    arrays.owners.brief = brief
    arrays.owners.ancestors = MOST_ANCESTORS
    asked = (numbers, len(wanted), arrays.owners)
    # Somebody did not answer then: who has the turn may wait for him too.
    with one_at_a_time(_SHORT_PATIENCE_SECONDS if brief else PATIENCE_SECONDS):
        while lib.bc_find_owners(*asked) == lib.BC_E_TRUNCATED:
            arrays.grow()
    return _scan(arrays.owners)


class Search:
    """find_owners() in a thread of its own, which may be left alone."""

    def __init__(self, inodes: Sequence[int]) -> None:
        """Begin it, with command lines.

        Raises:
            RuntimeError: no thread or memory is to be had, or it is not Linux.
        """
        wanted = sorted(set(inodes))
        self._pid = os.getpid()
        self._turn = turn()
        numbers = ffi.new(_Numbers, wanted)
        asked = (self._turn, numbers, len(wanted), MOST_ANCESTORS)
        self._handle = ffi.gc(lib.bc_begin_search(*asked), lib.bc_leave_search)
        if self._handle == ffi.NULL:
            raise RuntimeError

    def wait(self, seconds: float) -> Scan:
        """Wait for the answer, so many seconds at most.

        Raises:
            UnansweredError: the time was over; the thread is to be left alone.
            MemoryError: there was none for what was found.
        """
        status = self._wait(max(0, int(seconds * 1000)))
        if status == lib.BC_E_TRUNCATED:
            raise MemoryError
        if status != lib.BC_OK:
            leave_alone(self._turn)
            raise UnansweredError
        return _scan(lib.bc_search_owners(self._handle))

    def _wait(self, milliseconds: int) -> int:
        """Wait bit by bit: between two calls Python handles signals."""
        status: int = lib.BC_E_SYSTEM
        if os.getpid() != self._pid:
            return status  # the child of a fork has no such thread
        while status == lib.BC_E_SYSTEM and milliseconds >= 0:
            status = lib.bc_wait_for_search(self._handle, min(milliseconds, 100))
            milliseconds -= 100
        return status


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
    return _described(arrays.owners)[0] if status == lib.BC_OK else None


def read_own_program() -> ProcessFacts | None:
    """Tell the calling process's pid and program; None where there is no process table.

    What else a process is stays empty.
    """
    arrays = _OwnerArrays()
    status = lib.bc_read_own_program(arrays.owners)
    while status == lib.BC_E_TRUNCATED:
        arrays.grow()
        status = lib.bc_read_own_program(arrays.owners)
    return _described(arrays.owners)[0] if status == lib.BC_OK else None


def read_ancestors(pid: int, *, brief: bool = False) -> tuple[ProcessFacts, ...]:
    """Describe a process and those above it (see bindcheck.h), it first.

    `brief`: without their command lines too.
    """
    arrays = _OwnerArrays()
    arrays.owners.brief = brief
    asked = (pid, MOST_ANCESTORS, arrays.owners)
    while lib.bc_read_ancestors(*asked) == lib.BC_E_TRUNCATED:
        arrays.grow()
    return _described(arrays.owners)
