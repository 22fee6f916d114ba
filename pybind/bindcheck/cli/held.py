"""Sockets that are kept bound and given to a command, as systemd gives them.

sd_listen_fds(3): descriptors from 3 on, their number in LISTEN_FDS, the pid of who gets
them in LISTEN_PID. Nobody can take the ports between the search and the command.
"""

from __future__ import annotations

import os
import sys

from bindcheck import native
from bindcheck.cli.command import find_command, run_command
from bindcheck.cli.notes import say
from bindcheck.errors import UsageError
from bindcheck.model import Attempt
from bindcheck.opening import open_socket
from bindcheck.records import replace
from bindcheck.sanitize import sanitize
from bindcheck.words import Domain, SocketType, Step

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from bindcheck.free_ports import Wanted
    from bindcheck.model import Options, Target

FIRST = 3
_BACKLOG = 128


class Held:
    """The sockets that were taken so far."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._names: list[str] = []

    def take(self, wanted: Sequence[Wanted], port: int) -> Attempt | None:
        """Bind each on a port and keep it; the first that fails, and none is kept."""
        made: list[socket.socket] = []
        for one in wanted:
            target = one.on(port)
            try:
                made.append(open_socket(target, _listening(target, one.options)))
            except OSError as error:
                for other in made:
                    other.close()
                return _failed(target, one.options, error)
        self._sockets += made
        self._names += [one.on(port).text for one in wanted]
        return None

    def give_to(self, command: Sequence[str], *, quiet: bool) -> int:
        """Become the command, with the sockets as its descriptors from 3 on.

        Raises:
            UsageError: the command cannot be run.
        """
        find_command(command)
        for name in ("LISTEN_FDNAMES", "LISTEN_PIDFDID"):  # of who gave us something
            os.environ.pop(name, None)
        last = FIRST + len(self._sockets)
        if not quiet:
            for number, name in enumerate(self._names, FIRST):
                say(f"{sanitize(name)} is descriptor {number}")
        # First out of the way of each other, then to their places.
        try:
            away = [_duplicate_above(one.fileno(), last) for one in self._sockets]
        except OSError as error:
            raise UsageError(f"--hold: {error.strerror}") from None
        for number, handle in enumerate(away, FIRST):
            os.dup2(handle, number, inheritable=True)
        variables = {"LISTEN_FDS": str(len(away)), "LISTEN_PID": str(os.getpid())}
        return run_command(command, variables)


def _duplicate_above(handle: int, lowest: int) -> int:
    if sys.platform == "win32":
        raise NotImplementedError
    else:  # noqa: RET506 - type checkers leave the other system's branch out
        import fcntl

        return fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, lowest)


def _listening(target: Target, options: Options) -> Options:
    """Those of a socket that a command gets: it listens, where its kind does."""
    stream = target.protocol.type is SocketType.STREAM
    return replace(options, listen=stream, backlog=_BACKLOG)


def _failed(target: Target, options: Options, error: OSError) -> Attempt:
    return Attempt(
        target=target,
        options=options,
        ok=False,
        native=True,
        step=Step.BIND,
        argument=None,
        error=native.error(Domain.ERRNO, error.errno or 0),
        bound=None,
    )
