"""Processes that change what is looked at as fast as they can, until they are ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PR_SET_PDEATHSIG = 1
_RESET = struct.pack("ii", 1, 0)  # struct linger: close sends a reset
_DESCRIPTORS = 20


@contextlib.contextmanager
def running(loops: Sequence[Callable[[], object]]) -> Iterator[list[int]]:
    """Run each function again and again in a process of its own; gives their pids."""
    pids = [_repeat(one) for one in loops]
    try:
        yield pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _repeat(function: Callable[[], object]) -> int:
    """Start one; returns when it has run once."""
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            function()
            os.write(done, b"x")
            while True:
                function()
        finally:
            os._exit(1)
    os.close(done)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return pid


def fork_and_end() -> None:
    """A child that opens some descriptors and ends."""
    pid = os.fork()
    if pid == 0:
        for _ in range(_DESCRIPTORS):
            os.open(os.devnull, os.O_RDONLY)
        os._exit(0)
    os.waitpid(pid, 0)


def connect(port: int, source: int = 0) -> None:
    """A connection to a port, and its end by a reset, so that no TIME_WAIT stays."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with contextlib.suppress(OSError):  # the port may be in use by another
            if source:
                one.bind(("127.0.0.1", source))
            one.connect(("127.0.0.1", port))


def accept(listener: socket.socket) -> None:
    """Take a connection and reset it."""
    with contextlib.suppress(OSError):
        one, _ = listener.accept()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        one.close()
