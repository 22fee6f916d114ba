"""Walks over the descriptors of all processes, one at a time.

A walk borrows descriptors to read the options of their sockets (pidfd_getfd): another
thread's walk would find them here, and take this process for a holder of the socket.
"""

from __future__ import annotations

import os
import sys

from bindcheck.native.interface import ffi, lib

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from typing import Any

PATIENCE_SECONDS = 3.0
# Waited for bit by bit: between two calls Python handles signals.
_BIT_MILLISECONDS = 100


class _Turns:
    """The lock, and a new one in the child of a fork: nobody releases the old one."""

    def __init__(self) -> None:
        self.renew()
        if sys.platform != "win32":
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.handle = ffi.gc(lib.bc_new_turn(), lib.bc_drop_turn)


_turns = _Turns()


class _Turn:
    """A turn of the calling thread; a signal handler of the same thread may walk too."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        for _ in range(max(1, int(self._seconds * 1000 / _BIT_MILLISECONDS))):
            self._handle = _turns.handle
            if lib.bc_take_turn(self._handle, _BIT_MILLISECONDS) == lib.BC_OK:
                return
        leave_alone(self._handle)
        self.__enter__()

    def __exit__(self, *_: object) -> None:
        lib.bc_give_turn(self._handle)


def one_at_a_time(seconds: float = PATIENCE_SECONDS) -> _Turn:
    """What a walk is made in. Who does not come back is waited for so many seconds."""
    return _Turn(seconds)


def turn() -> Any:
    """Whose turn it is: what a search waits for."""
    return _turns.handle


def leave_alone(handle: Any) -> None:
    """A walk does not come back that has this turn: others need not wait for it."""
    if _turns.handle is handle:
        _turns.renew()
