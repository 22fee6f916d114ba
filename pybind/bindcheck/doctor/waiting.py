"""How soon `wait` knows that a port is free: by the kernel's word, or by looking."""

from __future__ import annotations

import os

from bindcheck import native
from bindcheck.doctor.checks import Answer, Group, Question

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable

    from bindcheck.doctor.here import Here

_PATIENCE_SECONDS = 0.2  # of a word that comes within microseconds
_INSTEAD = "wait reads the tables 25 times a second"


def _ends(_: Here) -> Answer:
    """Listen for the end of a socket of our own, and close it."""
    import _socket

    own = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        own.bind(("127.0.0.1", 0))
        handle = native.watch_ends(own.getsockname()[1], None)
    finally:
        own.close()
    if handle is None:
        return Answer(ok=None, text=f"the kernel does not tell of them: {_INSTEAD}")
    try:
        told = _is_readable(handle)
    finally:
        os.close(handle)
    if told:
        return Answer(ok=True, text="the kernel tells of them: wait wakes at once")
    return Answer(ok=None, text=f"the kernel tells of none: {_INSTEAD}")


def _is_readable(handle: int) -> bool:
    import select

    return bool(select.select([handle], [], [], _PATIENCE_SECONDS)[0])


def _exits(_: Here) -> Answer:
    open_process: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
    if open_process is None:
        return Answer(ok=None, text=f"this Python has no pidfd_open: {_INSTEAD}")
    try:
        os.close(open_process(os.getpid()))
    except OSError as error:
        text = f"pidfd_open is refused ({error.strerror}): {_INSTEAD}"
        return Answer(ok=None, text=text)
    return Answer(ok=True, text="the exit of a program wakes wait (pidfd_open)")


QUESTIONS = (
    Question(
        name="socket-ends",
        group=Group.WAITING,
        title="ends of sockets",
        ask=_ends,
        summary="ends of sockets",
    ),
    Question(
        name="process-exits",
        group=Group.WAITING,
        title="exits of programs",
        ask=_exits,
    ),
)
