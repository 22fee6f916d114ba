"""Sockets whose opener is gone while a child of it keeps them, knowing nothing of it.

The kernel does not tell who opened a socket, nor when: a socket's file has no times.
What it tells separates such a child from a server that went to the background: a child
that did execve(2) can have the descriptor only because it is not close-on-exec, and
nobody in it waits for connections.
"""

from __future__ import annotations

from bindcheck.words import State

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from bindcheck.model import Process, Socket

PF_FORKNOEXEC = 0x40  # include/linux/sched.h: forked, and did no execve(2) since
# Programs that never serve a socket. For all others only a listener tells: a program
# may well have a datagram socket to send from, and sleep in between.
_NEVER_SERVE = frozenset({"sleep", "sh", "bash", "dash", "zsh", "tail", "cat", "tee"})


def is_inherited(
    socket: Socket,
    processes: Sequence[Process],
    connected: AbstractSet[int] = frozenset(),
) -> bool:
    """Whether the opener is gone and none of the holders serves the socket.

    `connected` are the pids that have connections of the port: whoever accepted one
    serves the socket, though it may be busy with that one now.
    """
    if not processes:
        return False
    holders = {one.pid for one in processes}
    return all(
        _does_not_serve(one, socket)
        and (one.pid not in connected or one.name in _NEVER_SERVE)
        and _could_inherit(one)
        and (one.parent in holders or is_orphan(one))
        for one in processes
    )


def is_orphan(process: Process) -> bool:
    """Whether a process was started by one that is gone.

    Its parent is pid 1 then, or a process that took over the duty of pid 1
    (PR_SET_CHILD_SUBREAPER), which is of another session.
    """
    return process.parent == 1 or was_adopted(process)


def was_adopted(process: Process) -> bool:
    """Whether the parent is not the one that started it: fork(2) keeps the session."""
    if not process.ancestors or process.session in (None, process.pid):
        return False
    parent = process.ancestors[0]
    return parent.session not in (None, process.session)


def _does_not_serve(process: Process, socket: Socket) -> bool:
    if process.serves is not False or process.state == "stopped":
        return False
    told = dict(process.environment).get("LISTEN_PID")
    if told == str(process.inner_pid or process.pid):
        return False  # it was given the socket to serve it, by socket activation
    return socket.state is State.LISTEN or process.name in _NEVER_SERVE


def _could_inherit(process: Process) -> bool:
    return process.close_on_exec is False or bool(process.flags & PF_FORKNOEXEC)
