"""Conflicts that raise no error: the bind works, and yet something is wrong.

They are warnings: the verdict and the exit status stay.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_pton

from bindcheck.records import record
from bindcheck.rules.holders import Overlapping, overlapping, target_coverage
from bindcheck.rules.overlap import Coverage, collide, coverage, holder_coverage
from bindcheck.target import LOOPBACK6
from bindcheck.words import Family, Overlap, SocketType, State, System, WarningCode

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Options, Redirection, Snapshot, Socket, Target

_LOOPBACK4 = bytes((127, 0, 0, 1))


@record(frozen=True, slots=True)
class Conflict:
    """A warning, with the socket or NAT rule that it is about where there is one."""

    code: WarningCode
    socket: Socket | None = None
    rule: str | None = None
    overlap: Overlap | None = None
    """How the addresses collide, where they do."""
    reuse_address: bool | None = None
    """Of `hijackable`: SO_REUSEADDR of the attempt."""


def conflicts(
    target: Target, options: Options, snapshot: Snapshot
) -> tuple[Conflict, ...]:
    """Find what a bind that works would not tell."""
    if not target.port:
        return ()
    found = [
        Conflict(_shared(row, snapshot), row.socket, overlap=row.collision.overlap)
        for row in overlapping(target, options, snapshot)
        if _receives(row.socket)
    ]
    found += [
        Conflict(WarningCode.SHADOWED, row)
        for row in snapshot.sockets
        if _answers_for_localhost(target, options, row, snapshot)
    ]
    found += _elsewhere(target, options, snapshot)
    found += [
        Conflict(WarningCode.REDIRECTED, rule=one.rule)
        for one in snapshot.redirections
        if _concerns(one, target, options, snapshot)
    ]
    if _is_ephemeral(target, snapshot):
        found.append(Conflict(WarningCode.EPHEMERAL_RANGE))
    return tuple(found)


def _shared(row: Overlapping, snapshot: Snapshot) -> WarningCode:
    """Off Linux the more specific address gets what arrives for it."""
    if snapshot.facts.system == System.LINUX:
        return WarningCode.SHARED_PORT
    same = row.collision.overlap is Overlap.SAME_ADDRESS
    return WarningCode.SHARED_PORT if same else WarningCode.SHADOWED


def _elsewhere(target: Target, options: Options, snapshot: Snapshot) -> list[Conflict]:
    """On Windows a server without SO_EXCLUSIVEADDRUSE can lose its port."""
    if snapshot.facts.system != System.WINDOWS or options.exclusive or not target.port:
        return []
    return [Conflict(WarningCode.HIJACKABLE, reuse_address=options.reuse_address)]


def _receives(row: Socket) -> bool:
    """Whether new traffic could go to it instead."""
    if row.state is State.CLOSE and row.protocol.type is not SocketType.DATAGRAM:
        return bool(row.inode)  # bound: it may listen first
    return row.state is State.LISTEN or row.protocol.type is SocketType.DATAGRAM


def _answers_for_localhost(
    target: Target, options: Options, row: Socket, snapshot: Snapshot
) -> bool:
    """`localhost` is 127.0.0.1 and ::1; a client may try the other one first."""
    if target.protocol.type is not SocketType.STREAM or row.state is not State.LISTEN:
        return False
    mine, theirs = target_coverage(target, options, snapshot), holder_coverage(row)
    if collide(mine, theirs) is not None:
        return False
    return (_covers(mine, _LOOPBACK4) and _covers(theirs, LOOPBACK6)) or (
        _covers(mine, LOOPBACK6) and _covers(theirs, _LOOPBACK4)
    )


def _concerns(
    rule: Redirection, target: Target, options: Options, snapshot: Snapshot
) -> bool:
    """Whether a rule is for an address that the target covers."""
    mine = target_coverage(target, options, snapshot)
    if rule.family is not None:
        part = mine.inet if rule.family is Family.INET else mine.inet6
        if part is None:
            return False
    if rule.address is None:
        return True
    try:
        family = AF_INET6 if ":" in rule.address else AF_INET
        packed = inet_pton(family, rule.address)
    except OSError:
        return True
    return _covers(mine, packed)


def _covers(one: Coverage, packed: bytes) -> bool:
    return collide(one, coverage(packed, v6only=True)) is not None


def _is_ephemeral(target: Target, snapshot: Snapshot) -> bool:
    """Whether connect() may give the port to any client."""
    if snapshot.facts.ephemeral_range is None:
        return False
    low, high = snapshot.facts.ephemeral_range
    return low <= target.port <= high and not _is_reserved(target.port, snapshot)


def _is_reserved(port: int, snapshot: Snapshot) -> bool:
    return any(low <= port <= high for low, high in snapshot.reserved_ports)
