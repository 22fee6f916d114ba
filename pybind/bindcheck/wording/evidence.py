"""What backs a cause: the observations that it rests on, a line each."""

from __future__ import annotations

from bindcheck.records import replace
from bindcheck.wording import refusals, unix, vsock
from bindcheck.wording.terms import duration, endpoint_of, plural
from bindcheck.words import (
    Blocks,
    CauseCode,
    Family,
    Kind,
    Overlap,
    OwnerKind,
    Sharing,
    System,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import (
        Blocker,
        Cause,
        Diagnosis,
        Options,
        Snapshot,
        Socket,
    )


def evidence(
    cause: Cause,
    blockers: Sequence[Blocker],
    diagnosis: Diagnosis,
    snapshot: Snapshot,
) -> tuple[str, ...]:
    """List the observations that a cause rests on, a line each."""
    lines: list[str] = []
    shown = _summed(blockers)
    for blocker in shown[:_MOST]:
        lines += _blocker_lines(blocker, diagnosis, snapshot)
    if len(shown) > _MOST:
        lines.append(f"and {plural(len(shown) - _MOST, 'more socket')} like these")
    table = vsock.EVIDENCE if diagnosis.target.family is Family.VSOCK else _EVIDENCE
    own = table.get(cause.code)
    if is_elsewhere(snapshot):
        from bindcheck.wording import elsewhere

        own = elsewhere.EVIDENCE.get(cause.code, own)
    return tuple(dict.fromkeys(lines + (own(diagnosis, snapshot) if own else [])))


_MOST = 8  # of many sockets those that stand first


def _summed(blockers: Sequence[Blocker]) -> Sequence[Blocker]:
    """Ownerless leftovers of several addresses are counted together."""
    ownerless = [one for one in blockers if one.owner.kind is OwnerKind.NONE]
    if len(ownerless) < 2 or len(ownerless) < len(blockers):
        return blockers
    last = max(ownerless, key=lambda one: one.release.after_ms or 0)
    return [replace(last, count=sum(one.count for one in ownerless))]


def _blocker_lines(
    blocker: Blocker, diagnosis: Diagnosis, snapshot: Snapshot
) -> list[str]:
    from bindcheck.wording.owners import owner_lines  # not for a port that is free

    if blocker.overlap is Overlap.SAME_PATH:
        lines = unix.blocker_lines(blocker, diagnosis.target, snapshot)
        if not blocker.socket.inode:
            return lines  # nobody who is seen here
        return lines + owner_lines(blocker.owner, snapshot, 0)
    lines = []
    owned = blocker.owner.kind is not OwnerKind.NONE
    if owned or blocker.overlap is not Overlap.SAME_ADDRESS:
        lines.append(_overlap_line(blocker, diagnosis))
    if blocker.kind is Kind.BOUND:
        lines.append(_bound_line(snapshot))
    if blocker.kind in (Kind.CONNECTION, Kind.CLOSE_WAIT):
        lines.append(_connection_line(blocker.socket, blocker.count))
    if blocker.kind in (Kind.TIME_WAIT, Kind.CLOSING_CONNECTION):
        lines.append(_lingering_line(blocker))
        if snapshot.facts.system == System.DARWIN and blocker.kind is Kind.TIME_WAIT:
            from bindcheck.wording.elsewhere import time_wait_line

            lines += [line for line in [time_wait_line(snapshot)] if line]
    if blocker.kind is Kind.DATAGRAM and blocker.socket.remote:
        lines.append(_connection_line(blocker.socket, blocker.count))
    if is_elsewhere(snapshot):
        from bindcheck.wording.elsewhere import sharing_lines

        lines += sharing_lines(blocker, diagnosis, snapshot.facts.system)
    else:
        lines += _sharing_lines(blocker, diagnosis.attempt.options)
    lines += owner_lines(blocker.owner, snapshot, blocker.socket.local.port)
    return lines


def is_elsewhere(snapshot: Snapshot) -> bool:
    """Whether it is Windows or macOS, which have words of their own for some things."""
    return snapshot.facts.system in (System.DARWIN, System.WINDOWS)


def _bound_line(snapshot: Snapshot) -> str:
    if is_elsewhere(snapshot):
        from bindcheck.wording.elsewhere import bound_line

        return bound_line(snapshot)
    return "lsof -i, netstat and ss before 6.8 do not show such sockets"


def _sharing_lines(blocker: Blocker, asked: Options) -> list[str]:
    """Why the options that were asked for do not help, where that was seen."""
    if blocker.sharing is Sharing.OTHER_UID:
        return ["SO_REUSEPORT shares a port only between sockets of the same user"]
    if blocker.sharing is not Sharing.HOLDER_LACKS_OPTION:
        return []
    missing = []
    if asked.reuse_address and blocker.socket.reuse_address is False:
        missing.append("SO_REUSEADDR")
    if asked.reuse_port and blocker.socket.reuse_port is False:
        missing.append("SO_REUSEPORT")
    return [f"its socket has no {' and no '.join(missing)}"] if missing else []


def _overlap_line(blocker: Blocker, diagnosis: Diagnosis) -> str:
    socket = blocker.socket
    owned = blocker.owner.kind is not OwnerKind.NONE
    place = ("its socket " if owned else "a connection on ") + endpoint_of(socket)
    wanted = diagnosis.target.address or ""
    if blocker.overlap is Overlap.SAME_ADDRESS:
        return f"{place} has the same address"
    if blocker.overlap is Overlap.HOLDER_WILDCARD:
        dual = ", IPv4 included" if blocker.dual_stack else ""
        return f"{place} covers {wanted}{dual}"
    if blocker.dual_stack and ":" not in wanted:
        has = "has" if blocker.blocks is Blocks.YES else "may have"
        return f"{wanted} meets {place}, which {has} no IPV6_V6ONLY"
    dual = " without IPV6_V6ONLY" if blocker.dual_stack else ""
    return f"{wanted}{dual} would cover {place}"


def _connection_line(socket: Socket, count: int) -> str:
    remote = socket.remote
    if remote is None:
        return f"{plural(count, 'connection')}, {socket.state}"
    place = f"[{remote.address}]" if ":" in remote.address else remote.address
    more = f", and {count - 1} more" if count > 1 else ""
    return f"connected with {place}:{remote.port} ({socket.state}){more}"


def _lingering_line(blocker: Blocker) -> str:
    count, after = blocker.count, blocker.release.after_ms
    owned = blocker.owner.kind is not OwnerKind.NONE
    verb = "linger in" if count > 1 else "lingers in"
    state = str(blocker.socket.state).upper().replace("-", "_")
    text = f"{count} closed connection{'s' if count > 1 else ''} {verb} {state}"
    if not owned:
        text += "; no process owns " + ("them" if count > 1 else "it")
    if after is not None:
        last = "the last ends" if count > 1 else "it ends"
        text += f"; {last} in about {duration(after / 1000)}"
    return text


def _unseen_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    if not snapshot.listed:
        return ["no socket table could be read"]
    if diagnosis.target.path is not None:
        return ["the kernel's table of unix sockets shows no holder"]
    if is_elsewhere(snapshot):
        from bindcheck.wording.elsewhere import unseen_lines

        return unseen_lines(snapshot)
    lines = ["the socket tables were read several times and show no holder"]
    from_text = any(one.code == "bound-sockets-not-listed" for one in snapshot.limits)
    if snapshot.bound_sockets_listed is False and not from_text:
        lines.append(
            "this kernel does not list TCP sockets that are bound and not listening: "
            "such a socket may be it"
        )
    return lines


def _outgoing_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    if snapshot.facts.ephemeral_range is None:
        return []
    low, high = snapshot.facts.ephemeral_range
    if not low <= diagnosis.target.port <= high:
        return []
    return [f"the kernel gives ports {low} to {high} to outgoing connections"]


_EVIDENCE: dict[CauseCode, Callable[[Diagnosis, Snapshot], list[str]]] = {
    **refusals.EVIDENCE,
    **unix.EVIDENCE,
    CauseCode.UNSEEN_BLOCKER: _unseen_evidence,
    CauseCode.OUTGOING_CONNECTION: _outgoing_evidence,
}
