"""Sending a signal to a process that was seen before, and to no other.

A pid is used again when its process is gone. On Linux a pidfd holds on to the process
while its start time is compared, and the signal goes through it (pidfd_send_signal(2)).
"""

from __future__ import annotations

import os
import signal
import sys

from bindcheck import native
from bindcheck.errors import BindcheckError

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from bindcheck.model import Process


class NotSignalledError(BindcheckError):
    """A process was not signalled; the text says why."""


class Signalled:
    """One process, held on to from before its first signal. A context manager."""

    def __init__(self, process: Process) -> None:
        """Take hold of a process.

        Raises:
            NotSignalledError: it is gone, or its pid is another's now.
        """
        self.process = process
        self._handle: int | None = None
        if sys.platform == "linux":
            try:
                self._handle = os.pidfd_open(process.pid)
            except ProcessLookupError:
                raise NotSignalledError(
                    f"pid {process.pid} has ended by itself"
                ) from None
            except OSError:
                pass  # a kernel without, or a sandbox: by its pid then
        if not self._is_still_there():
            self.close()
            raise NotSignalledError(
                f"pid {process.pid} is another program now: nothing was sent to it"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        if sys.platform == "linux" and self._handle is not None:
            import select

            poll = select.poll()
            poll.register(self._handle, select.POLLIN)  # readable once it has ended
            return not poll.poll(0)
        return self._is_still_there()

    def send(self, number: int) -> None:
        """Send it a signal; one that has ended meanwhile needs none.

        Raises:
            NotSignalledError: that is not permitted.
        """
        try:
            if sys.platform == "win32":
                if number:
                    self._end()
            elif sys.platform == "linux" and self._handle is not None:
                signal.pidfd_send_signal(self._handle, number)
            elif self._is_still_there():
                os.kill(self.process.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            raise NotSignalledError(
                f"pid {self.process.pid} is not ours to end: that needs its user, or root"
            ) from None

    def _end(self) -> None:
        """TerminateProcess of Windows, which has no other signals."""
        import psutil

        try:
            psutil.Process(self.process.pid).terminate()
        except psutil.NoSuchProcess:
            pass
        except psutil.AccessDenied:
            raise PermissionError from None

    def _is_still_there(self) -> bool:
        if sys.platform == "win32":
            import psutil

            try:
                started = psutil.Process(self.process.pid).create_time()
            except psutil.Error:
                return False
            known = self.process.started
            return known is not None and abs(started - known) < 0.001
        else:  # noqa: RET505 - type checkers leave the other system's branch out
            facts = native.read_process(self.process.pid, brief=True)
            return facts is not None and facts.start_ticks == self.process.start_id


def above_us() -> Iterator[int]:
    """The pids of this process and of those above it, up to the first."""
    pid, seen = os.getpid(), set[int]()
    while pid and pid not in seen:
        seen.add(pid)
        yield pid
        pid = _parent_of(pid)


def _parent_of(pid: int) -> int:
    if sys.platform == "win32":
        import psutil

        try:
            return psutil.Process(pid).ppid()
        except psutil.Error:
            return 0
    else:
        facts = native.read_process(pid, brief=True)
        return 0 if facts is None else facts.parent


def signal_number(name: str) -> int:
    """The number of a signal: TERM, SIGTERM or 15.

    Raises:
        ValueError: there is no such signal.
    """
    if name.isascii() and name.isdigit():
        return int(signal.Signals(int(name)))
    word = name.upper()
    word = word if word.startswith("SIG") else f"SIG{word}"
    try:
        return int(signal.Signals[word])
    except KeyError:
        raise ValueError(f"{name!r} is no signal") from None
