"""What is waited for: the end of a socket, or an address that becomes ready.

A socket of TCP or UDP ends with the kernel's word (Linux, csrc/linux/ends.c), TIME_WAIT
by the kernel's timer. Of others, and on other systems, the tables tell, which are read
again when the holder exits and 25 times a second.
"""

from __future__ import annotations

import os
import select
import sys
import time

from bindcheck import native
from bindcheck.machine import with_flags
from bindcheck.words import Family, Protocol, State

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from typing import Self

    from bindcheck.model import Blocker, Socket

_LOOK_SECONDS = 0.04
_TIMER_LOOK_SECONDS = 0.01
_EARLY_LOOK_SECONDS = 1.0
"""TIME_WAIT may end before its time: by a reset of the other side, or `ss -K`."""
_SAFETY_SECONDS = 5.0
_MOST_HOLDERS = 16


class End:
    """Something to wait for; a context manager, for it may hold descriptors."""

    def __init__(self) -> None:
        self.wakes = _Descriptors()
        self.ends_at: float | None = None
        """When that is, in seconds of time.monotonic(); None: not known."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wakes.close()

    def sleep(self, most: float) -> bool:
        """Sleep at most so many seconds; whether it is worth to look again then."""
        return self.wakes.wait(most)


class SocketEnd(End):
    """The end of the socket that a blocker shows."""

    def __init__(self, blocker: Blocker, *, listed: bool = True) -> None:
        """Begin to listen for it.

        Args:
            blocker: its socket is the one, its owner may exit.
            listed: whether the tables show it (bound sockets before Linux 6.8: no).
        """
        super().__init__()
        row = blocker.socket
        self._row = row
        self._listed = listed
        self._pids = [one.pid for one in blocker.owner.processes[:_MOST_HOLDERS]]
        self._word = False
        if row.state is State.TIME_WAIT and row.timer_ms is not None:
            self.ends_at = time.monotonic() + row.timer_ms / 1000
        elif _ends_with_a_word(row):
            handle = native.watch_ends(row.local.port, row.cookie)
            self._word = handle is not None
            self.wakes.add(handle)
        if not self._word and self.ends_at is None:
            for pid in self._pids:
                self.wakes.add(_open_process(pid))

    def sleep(self, most: float) -> bool:
        """Sleep until the tables do not show it, or so many seconds."""
        over = time.monotonic() + most
        if self._word and self._is_gone():
            return True  # before there was anybody to tell
        while (left := over - time.monotonic()) > 0:
            pause = self._pause()
            woken = self._rest(min(left, pause))
            # Without the kernel's word the tables are asked; what they do not show
            # they cannot deny.
            if self._is_gone() or (woken and self._word):
                return True
            if not self._listed and pause <= left:
                return True
        return False

    def _pause(self) -> float:
        if self._word:
            return _SAFETY_SECONDS
        if self.ends_at is None:
            return _LOOK_SECONDS if self._listed else _EARLY_LOOK_SECONDS
        left = self.ends_at - time.monotonic()
        return min(left, _EARLY_LOOK_SECONDS) if left > 0 else _TIMER_LOOK_SECONDS

    def _is_gone(self) -> bool:
        return self._listed and not is_there(self._row)

    def _rest(self, seconds: float) -> bool:
        """Sleep; whether something woke us."""
        if sys.platform == "win32" and self._pids:
            return _wait_for_exit(self._pids[0], seconds)
        return self.wakes.wait(seconds)


class PortEnd(End):
    """The end of any socket on a port, where the one in the way is in no table."""

    def __init__(self, port: int) -> None:
        super().__init__()
        handle = native.watch_ends(port, None)
        self.possible = handle is not None
        self.wakes.add(handle)


class AddressReady(End):
    """The moment at which the kernel has finished looking for duplicates of an address.

    By the table of addresses (net.ipv6.conf.*.dad_transmits: a second or two).
    """

    def __init__(self, packed: bytes) -> None:
        super().__init__()
        self._packed = packed

    def sleep(self, most: float) -> bool:
        """Sleep until it is no longer tentative, or so many seconds."""
        over = time.monotonic() + most
        while (left := over - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
            found = with_flags(native.list_addresses())
            if not any(one.tentative and one.packed == self._packed for one in found):
                return True
        return False


class _Descriptors:
    """Descriptors that become readable once, to wait for."""

    def __init__(self) -> None:
        self._open: list[int] = []

    def add(self, handle: int | None) -> None:
        if handle is not None:
            self._open.append(handle)

    def wait(self, seconds: float) -> bool:
        """Whether one is readable in time; it is closed then."""
        if not self._open:
            time.sleep(max(0.0, seconds))
            return False
        return bool(self._take(seconds))

    def _take(self, seconds: float) -> list[int]:
        if sys.platform == "win32":
            return []  # it has neither poll() nor descriptors of this kind
        else:  # noqa: RET505 - type checkers leave the other system's branch out
            poll = select.poll()
            for handle in self._open:
                poll.register(handle, select.POLLIN)
            ready = [handle for handle, _ in poll.poll(max(0.0, seconds) * 1000)]
            for handle in ready:
                self._open.remove(handle)
                os.close(handle)
            return ready

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())


def is_there(row: Socket) -> bool:
    """Whether the tables still have a row."""
    if row.family is Family.UNIX:
        if row.file is not None and not os.path.lexists(row.packed):
            return False  # its file is what bind stumbles over
        rows = native.list_unix_sockets()
        return isinstance(rows, tuple) and any(one.inode == row.inode for one in rows)
    if row.cookie is not None:
        return native.has_socket(row)
    found = native.list_sockets(row.protocol.table, row.local.port).sockets
    return any(_is_same(one, row) for one in found)


def _is_same(one: Socket, other: Socket) -> bool:
    return (one.packed, one.remote, one.state, one.pid, one.created) == (
        other.packed,
        other.remote,
        other.state,
        other.pid,
        other.created,
    )


def _ends_with_a_word(row: Socket) -> bool:
    # What waits for the last packets of a connection without an owner may be no whole
    # socket any more (FIN_WAIT_2), and such end as TIME_WAIT does.
    whole = row.timer_ms is None and row.state is not State.TIME_WAIT
    return whole and row.protocol in (Protocol.TCP, Protocol.UDP) and bool(row.cookie)


def _open_process(pid: int) -> int | None:
    """A descriptor that becomes readable when a process exits.

    pidfd_open(2); kqueue(2) on macOS.
    """
    opened = None
    try:
        if sys.platform == "linux":
            opened = os.pidfd_open(pid)
        elif sys.platform == "darwin":
            queue = select.kqueue()
            event = select.kevent(
                pid,
                filter=select.KQ_FILTER_PROC,
                flags=select.KQ_EV_ADD | select.KQ_EV_ONESHOT,
                fflags=select.KQ_NOTE_EXIT,
            )
            queue.control([event], 0)
            opened = os.dup(queue.fileno())
    except (OSError, AttributeError):  # gone, not permitted, or a kernel without
        return None
    return opened


def _wait_for_exit(pid: int, seconds: float) -> bool:
    """Sleep until a process of Windows exits (WaitForSingleObject), or so long."""
    import psutil

    try:
        psutil.Process(pid).wait(max(0.0, seconds))
    except psutil.TimeoutExpired:
        return False
    except psutil.Error:
        time.sleep(max(0.0, seconds))
        return False
    return True
