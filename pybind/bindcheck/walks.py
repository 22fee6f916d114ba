"""Walks over the descriptors of all processes, one at a time.

A walk borrows descriptors to read the options of their sockets (pidfd_getfd): another
thread's walk would find them here, and take this process for a holder of the socket.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock  # of threading, which costs more at every start


class _Turn:
    """The lock, and a new one in the child of a fork: nobody releases the old one."""

    def __init__(self) -> None:
        self.renew()
        if sys.platform != "win32":
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock = RLock()


_turn = _Turn()


def leave_alone() -> None:
    """The walk that goes on does not come back: others need not wait for it."""
    _turn.renew()


def one_at_a_time() -> RLock:
    """What a walk is made under; a signal handler of the same thread may walk too."""
    return _turn.lock
