"""Whom it would be safe to end for a port: plain programs, and nobody else.

Pure: from diagnoses to a plan. A manager's program is refused with the command of its
manager; what is not certain is refused; one refusal refuses all.
"""

from __future__ import annotations

from bindcheck.records import record
from bindcheck.rules.ownership import may_have_others
from bindcheck.rules.remedies import stopping
from bindcheck.rules.remedies.stopping import roots
from bindcheck.words import Blocks, Direction, Kind, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bindcheck.model import Blocker, Diagnosis, Process, Remedy, Snapshot

_MOST = 20
# What a signal to the holder itself is called among the remedies; every other way of
# stopping it is a reason not to send one.
_PLAIN = frozenset({"stop-holder", "stop-children", "close-on-exec", "wait-for-exit"})
_SERVING = frozenset(
    {Kind.LISTENER, Kind.BOUND, Kind.UNIX_LISTENER, Kind.UNIX_DATAGRAM}
)


@record(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why nobody is ended, and what to do instead."""

    text: str
    remedies: tuple[Remedy, ...] = ()
    hidden: bool = False
    """Who has it, or has it too, cannot be seen from here."""


@record(frozen=True, slots=True, kw_only=True)
class StopPlan:
    """Who would be signalled. Nobody, where there are refusals."""

    signalled: tuple[Process, ...] = ()
    """The main processes, each once."""
    holders: tuple[Process, ...] = ()
    """All that have the sockets: those and their children."""
    refusals: tuple[Refusal, ...] = ()
    hidden: bool = False
    """Of the refusals one is that the holder cannot be seen."""

    def knows(self, process: Process) -> bool:
        """Whether it is one of the holders, and no other that has its pid now."""
        return any(is_same(one, process) for one in self.holders)


def is_same(one: Process, other: Process) -> bool:
    """Whether two descriptions are of one process that runs the same program.

    A pid alone is used again, and execve(2) keeps it with the start time.
    """
    return (one.pid, one.start_id, one.name) == (other.pid, other.start_id, other.name)


def stop_plan(
    found: Sequence[tuple[Diagnosis, Snapshot]], above: Iterable[int]
) -> StopPlan:
    """Plan for all addresses of a target.

    Args:
        found: what was diagnosed, and what was seen.
        above: the pids of this process and of those above it.
    """
    signalled: dict[int, Process] = {}
    holders: dict[int, Process] = {}
    refusals: dict[str, Refusal] = {}
    hidden = False
    own = frozenset(above)
    for diagnosis, snapshot in found:
        for blocker in diagnosis.blockers:
            refusal = _refusal(blocker, diagnosis, snapshot, own)
            if refusal is not None:
                refusals.setdefault(refusal.text, refusal)
                hidden = hidden or refusal.hidden
                continue
            for one in blocker.owner.processes:
                holders[one.pid] = one
            for one in roots(blocker.owner.processes):
                signalled[one.pid] = one
    if refusals:
        return StopPlan(refusals=tuple(refusals.values()), hidden=hidden)
    if len(signalled) > _MOST:
        text = (
            f"{len(signalled)} programs have the port: that many are not ended at once"
        )
        return StopPlan(refusals=(Refusal(text=text),))
    return StopPlan(
        signalled=tuple(signalled.values()), holders=tuple(holders.values())
    )


def _refusal(
    blocker: Blocker, diagnosis: Diagnosis, snapshot: Snapshot, own: frozenset[int]
) -> Refusal | None:
    """Why the owner of this one must not be ended; None when it may be."""
    owner = blocker.owner
    if not blocker.socket.inode and not owner.processes and blocker.socket.pid is None:
        return None  # it lingers, and nobody has it
    if blocker.blocks is not Blocks.YES:
        return Refusal(
            text="it is not certain that it is in the way: look at the holder"
        )
    if _is_client(blocker):
        return Refusal(
            text="it is only a client of somebody else's server: it closes the "
            "connection when it is done"
        )
    if not owner.processes:
        return _unseen(blocker, diagnosis, snapshot)
    for one in owner.processes:
        if one.pid in own:
            return Refusal(
                text=f"pid {one.pid} runs this very command: end it where it was started"
            )
        if one.state == "traced":
            return Refusal(text=f"pid {one.pid} is stopped in a debugger: end it there")
    if may_have_others(owner, snapshot.limits):
        return Refusal(
            text="programs that cannot be read may have it too, its main process among "
            "them",
            hidden=True,
        )
    remedies = stopping(blocker, diagnosis, snapshot)
    if Trait.OTHER_PID_NAMESPACE in owner.traits and _is_plain(remedies):
        return Refusal(
            text="it is in another pid namespace (a container): stop it from there"
        )
    other = next((one for one in remedies if one.action not in _PLAIN), None)
    if other is None:
        return None
    text = other.text.removesuffix(", or").rstrip(":")
    return Refusal(text=text or "it is not ended like this", remedies=tuple(remedies))


def _unseen(blocker: Blocker, diagnosis: Diagnosis, snapshot: Snapshot) -> Refusal:
    remedies = stopping(blocker, diagnosis, snapshot)
    if remedies:
        text = remedies[0].text.rstrip(":")
        return Refusal(text=text, remedies=tuple(remedies), hidden=True)
    return Refusal(text="who has it cannot be seen from here", hidden=True)


def _is_plain(remedies: Iterable[Remedy]) -> bool:
    return all(one.action in _PLAIN for one in remedies)


def _is_client(blocker: Blocker) -> bool:
    """Whether the holder only connected to somewhere from this port."""
    if blocker.kind is Kind.DATAGRAM:
        return blocker.socket.remote is not None
    return blocker.kind not in _SERVING and blocker.direction is not Direction.ACCEPTED
