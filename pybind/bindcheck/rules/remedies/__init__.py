"""What helps, in the words of each system.

Each system has a table from causes to the remedies that are offered, the best first.
Never offered: to stop a program that is only a client, or an option that a trial
refuted.
"""

from __future__ import annotations

# All of them: where no descriptor is left nothing could be imported later.
from bindcheck.rules.remedies import darwin, linux, unix, vsock, windows
from bindcheck.rules.remedies.stopping import stop_owner
from bindcheck.words import CauseCode, Family, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bindcheck.model import Blocker, Cause, Diagnosis, Remedy, Snapshot

    _Choose = Callable[[Sequence[Blocker], Diagnosis, Snapshot], Sequence[Remedy]]


_ANOTHERS = frozenset({CauseCode.LISTENER, CauseCode.BOUND, CauseCode.DATAGRAM})


def remedies(
    cause: Cause,
    blockers: Sequence[Blocker],
    diagnosis: Diagnosis,
    snapshot: Snapshot,
) -> tuple[Remedy, ...]:
    """Choose the remedies of a cause, the best first."""
    choose = _table(diagnosis, snapshot).get(cause.code)
    found = list(choose(blockers, diagnosis, snapshot)) if choose else []
    if cause.code in _ANOTHERS and found:
        said = any(one.action == "use-other-port" for one in found)
        found += linux.other_port(diagnosis, "to find one" if said else None)
    if snapshot.facts.system in (System.DARWIN, System.WINDOWS):
        return tuple(dict.fromkeys(found))
    options = linux.tried_options(cause, diagnosis)
    # Where an option is the answer it comes before stopping somebody.
    alone = cause.code is not CauseCode.BOUND
    both = options + found if diagnosis.works_with and alone else found + options
    if not both and any(not one.owner.processes for one in blockers):
        both = linux.ask_elsewhere(blockers, snapshot)
    return tuple(dict.fromkeys(both))


def stopping(
    blocker: Blocker, diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    """How to end the owner of one blocker, whatever it blocks for."""
    system, port = snapshot.facts.system, blocker.socket.local.port
    if system == System.WINDOWS:
        return windows.stop_holder(blocker.owner, diagnosis, snapshot)
    if system == System.DARWIN and diagnosis.target.family is not Family.UNIX:
        return darwin.stop_holder(blocker.owner, snapshot, port)
    return stop_owner(blocker.owner, snapshot, port)


def _table(diagnosis: Diagnosis, snapshot: Snapshot) -> Mapping[CauseCode, _Choose]:
    family, system = diagnosis.target.family, snapshot.facts.system
    if family is Family.VSOCK:
        return vsock.REMEDIES
    if system == System.WINDOWS:
        return windows.REMEDIES
    base = darwin.REMEDIES if system == System.DARWIN else linux.REMEDIES
    return {**base, **unix.REMEDIES} if family is Family.UNIX else base
