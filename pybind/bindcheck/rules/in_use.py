"""EADDRINUSE: which blockers make which causes."""

from __future__ import annotations

from bindcheck.model import Cause
from bindcheck.rules.permission import FILTERED, is_filtered
from bindcheck.words import (
    Blocks,
    CauseCode,
    Certainty,
    Direction,
    Kind,
    OwnerKind,
    Step,
    System,
    Trait,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Attempt, Blocker, Snapshot

_CODES = {
    Kind.LISTENER: CauseCode.LISTENER,
    Kind.BOUND: CauseCode.BOUND,
    Kind.CLOSE_WAIT: CauseCode.CLOSE_WAIT,
    Kind.CLOSING_CONNECTION: CauseCode.CLOSING_CONNECTION,
    Kind.TIME_WAIT: CauseCode.TIME_WAIT,
    Kind.DATAGRAM: CauseCode.DATAGRAM,
}


def causes(
    attempt: Attempt, blockers: tuple[Blocker, ...], snapshot: Snapshot
) -> tuple[Cause, ...]:
    """Turn blockers into causes, best first; never empty."""
    if not blockers and is_filtered(attempt, snapshot):
        return (_bare(CauseCode.SANDBOX, Certainty.CERTAIN),)
    if attempt.target.port == 0:
        return (_bare(CauseCode.EPHEMERAL_PORTS_EXHAUSTED, Certainty.CERTAIN),)
    if not blockers:
        if attempt.step is Step.LISTEN:
            return (_bare(CauseCode.LISTEN_CONFLICT, Certainty.LIKELY),)
        if _is_intercepted(snapshot):
            return (_bare(CauseCode.HOST_INTERCEPTED, Certainty.LIKELY),)
        if is_restricted(attempt.target.port, snapshot):
            return (_bare(CauseCode.RESERVED_BY_SYSTEM, Certainty.CERTAIN),)
        return (_bare(CauseCode.UNSEEN_BLOCKER, Certainty.POSSIBLE),)
    found: dict[CauseCode, list[int]] = {}
    for index, blocker in enumerate(blockers):
        found.setdefault(code_of(blocker, snapshot), []).append(index)
    return tuple(
        Cause(
            code=code,
            certainty=_certainty([blockers[index] for index in indexes]),
            blockers=tuple(indexes),
        )
        for code, indexes in found.items()
    )


def _is_intercepted(snapshot: Snapshot) -> bool:
    """WSL2 with mirrored networking asks Windows for the port, by a seccomp filter."""
    held = snapshot.confinement
    if held is None or held.seccomp != FILTERED:
        return False
    return "microsoft" in held.kernel.lower()


def is_restricted(port: int, snapshot: Snapshot) -> bool:
    """Whether the system keeps a port for programs of its own (macOS)."""
    return any(
        one.restricted and one.first <= port <= one.last for one in snapshot.kept_ports
    )


def code_of(blocker: Blocker, snapshot: Snapshot) -> CauseCode:
    """The cause that a blocker is."""
    kernel = blocker.owner.kind is OwnerKind.KERNEL
    if kernel and snapshot.facts.system == System.WINDOWS:
        return CauseCode.RESERVED_BY_SYSTEM
    if blocker.kind is not Kind.CONNECTION:
        return _CODES[blocker.kind]
    if blocker.direction is Direction.OUTGOING:
        return CauseCode.OUTGOING_CONNECTION
    if blocker.direction is Direction.ACCEPTED:
        return CauseCode.ACCEPTED_CONNECTION
    low, high = snapshot.facts.ephemeral_range or (32768, 60999)
    if low <= blocker.socket.local.port <= high:
        return CauseCode.OUTGOING_CONNECTION
    return CauseCode.ACCEPTED_CONNECTION


def _certainty(blockers: list[Blocker]) -> Certainty:
    best = [one for one in blockers if one.blocks is Blocks.YES]
    if not best:
        return Certainty.POSSIBLE
    if all(one.kind is Kind.CONNECTION and one.direction is None for one in best):
        return Certainty.LIKELY
    if any(Trait.INHERITED in one.owner.traits for one in best):
        return Certainty.LIKELY  # that it blocks is certain, how it came there is not
    return Certainty.CERTAIN


def _bare(code: CauseCode, certainty: Certainty) -> Cause:
    return Cause(code=code, certainty=certainty)
