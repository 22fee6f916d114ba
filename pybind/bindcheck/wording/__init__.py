"""The sentences: what a cause is called and what backs it.

Chooses words for what the rules decided; decides nothing.
"""

from __future__ import annotations

from bindcheck.model import Notice, Remedy
from bindcheck.records import replace
from bindcheck.rules.remedies import remedies
from bindcheck.sanitize import sanitize
from bindcheck.wording.evidence import evidence
from bindcheck.wording.summaries import summary
from bindcheck.wording.terms import duration, endpoint_of, who
from bindcheck.words import (
    CauseCode,
    Overlap,
    SocketType,
    State,
    System,
    WarningCode,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.model import Blocker, Cause, Diagnosis, Snapshot
    from bindcheck.rules.quiet import Conflict


def explain(diagnosis: Diagnosis, snapshot: Snapshot) -> Diagnosis:
    """Give each cause its summary, evidence and remedies."""
    if not diagnosis.causes:
        return diagnosis
    causes: list[Cause] = []
    for cause in diagnosis.causes:
        chosen = [diagnosis.blockers[index] for index in cause.blockers]
        causes.append(
            replace(
                cause,
                summary=summary(cause, chosen, diagnosis, snapshot),
                evidence=evidence(cause, chosen, diagnosis, snapshot),
                remedies=remedies(cause, chosen, diagnosis, snapshot),
            )
        )
        if cause.code in _LINGERING and causes[0].code not in _LINGERING:
            # Waiting helps nobody while somebody else has the port.
            causes[-1] = replace(causes[-1], remedies=_afterwards(chosen, diagnosis))
    return replace(diagnosis, causes=tuple(causes))


_LINGERING = frozenset({CauseCode.TIME_WAIT, CauseCode.CLOSING_CONNECTION})


def _afterwards(
    lingering: Sequence[Blocker], diagnosis: Diagnosis
) -> tuple[Remedy, ...]:
    """What the leftovers mean once the one who has the port is gone."""
    if diagnosis.attempt.options.reuse_address:
        return ()
    after = max(one.release.after_ms or 0 for one in lingering)
    about = f" for about {duration(after / 1000)}" if after else ""
    text = (
        "after that the closed connections may still block a bind without "
        f"SO_REUSEADDR{about}"
    )
    return (Remedy(action="set-reuse-address", text=text),)


def warn(conflicts: Sequence[Conflict], snapshot: Snapshot) -> tuple[Notice, ...]:
    """Say quiet conflicts, each in a sentence."""
    return tuple(
        dict.fromkeys(
            Notice(code=one.code, text=_warning(one, snapshot)) for one in conflicts
        )
    )


def _is_linux(snapshot: Snapshot) -> bool:
    return snapshot.facts.system == System.LINUX


def _warning(conflict: Conflict, snapshot: Snapshot) -> str:
    socket = conflict.socket
    if conflict.rule is not None:
        return (
            "a NAT rule may send what arrives for this port elsewhere: "
            f"{sanitize(conflict.rule)}"
        )
    if conflict.code is WarningCode.HIJACKABLE:
        from bindcheck.wording.elsewhere import hijack_warning

        return hijack_warning(conflict.reuse_address)
    if socket is None:
        low, high = snapshot.facts.ephemeral_range or (0, 0)
        if snapshot.facts.system != System.LINUX:
            return (
                f"the system gives ports {low} to {high} to outgoing connections: one "
                "may take this port before the next start"
            )
        return (
            f"the kernel gives ports {low} to {high} to outgoing connections: one may "
            "take this port before the next start, unless it is added to "
            "net.ipv4.ip_local_reserved_ports"
        )
    whose = f"{endpoint_of(socket)} belongs to {who(socket.owner)}"
    if conflict.overlap is Overlap.HOLDER_WILDCARD and not _is_linux(snapshot):
        return (
            f"{whose}: clients that ask for the more specific address reach the new "
            "socket, all others that one"
        )
    if conflict.overlap is Overlap.TARGET_WILDCARD and not _is_linux(snapshot):
        return (
            f"{whose}: clients that ask for that address reach it, not the new socket"
        )
    if conflict.code is WarningCode.SHADOWED:
        return f"{whose}: a client that asks for localhost may reach it instead"
    bound = socket.state is State.CLOSE
    if bound and socket.protocol.type is not SocketType.DATAGRAM:
        return (
            f"{whose}, which has bound it: of the two only the first to listen gets it"
        )
    return f"{whose}: what arrives goes to one of the two, and you cannot say to which"
