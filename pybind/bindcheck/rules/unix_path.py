"""AF_UNIX: what blocks a path or an abstract name, and why a path is refused.

A path is taken by its file, whoever has it: a live socket, one that a dead program left
behind, or anything else (unix_bind_bsd in net/unix/af_unix.c). An abstract name is taken
by a socket of the same type in this network namespace.
"""

from __future__ import annotations

from bindcheck.model import (
    NO_OWNER,
    Blocker,
    Cause,
    Diagnosis,
    Endpoint,
    NextError,
    Owner,
    Release,
    Snapshot,
    Socket,
)
from bindcheck.records import replace
from bindcheck.rules import refusals
from bindcheck.rules.permission import is_filtered, unix_policy
from bindcheck.rules.resources import is_our_own_limit
from bindcheck.words import (
    Blocks,
    CauseCode,
    Certainty,
    Family,
    FileKind,
    Kind,
    Overlap,
    OwnerKind,
    ReleaseHow,
    Sharing,
    SocketType,
    State,
    Step,
    System,
    Verdict,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.model import Attempt, PathFacts, Target

LONGEST_NAME = 108  # sizeof(sockaddr_un.sun_path), unix(7)

_BLOCKING = {
    Kind.UNIX_LISTENER: CauseCode.UNIX_LISTENER,
    Kind.UNIX_DATAGRAM: CauseCode.UNIX_DATAGRAM,
    Kind.BOUND: CauseCode.BOUND,
    Kind.STALE_SOCKET_FILE: CauseCode.STALE_SOCKET_FILE,
    Kind.PATH_EXISTS: CauseCode.PATH_EXISTS,
}
_BY_ERROR = {
    "EACCES": CauseCode.DIRECTORY_NOT_WRITABLE,
    "ENOENT": CauseCode.DIRECTORY_MISSING,
    "ENOTDIR": CauseCode.NOT_A_DIRECTORY,
    "EROFS": CauseCode.READ_ONLY_FILESYSTEM,
    "ELOOP": CauseCode.SYMLINK_LOOP,
    "ENOSPC": CauseCode.NO_SPACE,
    "EDQUOT": CauseCode.NO_SPACE,
    "ENAMETOOLONG": CauseCode.PATH_TOO_LONG,
    "EPERM": CauseCode.FILESYSTEM_WITHOUT_SOCKETS,
    "EOPNOTSUPP": CauseCode.FILESYSTEM_WITHOUT_SOCKETS,
    "EIO": CauseCode.FILESYSTEM_WITHOUT_SOCKETS,
}


def is_path(target: Target) -> bool:
    """Whether a unix target is a path, not an abstract name or one to be chosen."""
    return bool(target.packed) and not target.packed.startswith(b"\0")


def holders(target: Target, snapshot: Snapshot) -> tuple[Socket, ...]:
    """The sockets that have the target's file, or its abstract name.

    Accepted connections carry their listener's name and file, and hold neither.
    """
    found = [row for row in snapshot.sockets if row.state is not State.ESTABLISHED]
    if is_path(target):
        there = snapshot.path.file if snapshot.path else None
        return tuple(row for row in found if there and row.file == there)
    return tuple(
        row
        for row in found
        if row.packed == target.packed and row.protocol is target.protocol
    )


def decide(
    requested: str, attempt: Attempt, snapshot: Snapshot, *, came_free: bool = False
) -> Diagnosis:
    """Decide about a unix target."""
    found: tuple[Blocker, ...] = ()
    causes: tuple[Cause, ...] = ()
    upcoming: tuple[NextError, ...] = ()
    name = attempt.error.symbol if attempt.error else None
    if name == "EADDRINUSE":
        found = _blockers(attempt.target, snapshot)
        filtered = unix_policy(attempt, snapshot) if not found else ()
        causes = filtered or _in_use(attempt.target, found, snapshot)
        upcoming = _later(snapshot)
    elif attempt.error is not None:
        causes = (_refused(attempt, snapshot),)
    verdict = Verdict.BINDABLE if attempt.ok or came_free else Verdict.BLOCKED
    if attempt.ok is None:
        verdict = Verdict.UNKNOWN
    if came_free:
        verdict = Verdict.TRANSIENT
    elif attempt.ok is None or is_our_own_limit(attempt):
        verdict = Verdict.UNKNOWN
    return Diagnosis(
        requested=requested,
        target=attempt.target,
        attempt=attempt,
        verdict=verdict,
        causes=() if came_free else causes,
        blockers=() if came_free else found,
        next_errors=() if came_free else upcoming,
        limits=snapshot.limits,
    )


def _blockers(target: Target, snapshot: Snapshot) -> tuple[Blocker, ...]:
    rows = holders(target, snapshot)
    if rows:
        return tuple(_blocker(_kind_of(row), row) for row in rows)
    facts = snapshot.path
    if facts is None or facts.kind is None:
        return ()
    if facts.kind is not FileKind.SOCKET:
        return (_blocker(Kind.PATH_EXISTS, _file(target, facts)),)
    if _is_held_elsewhere(facts):
        datagram = facts.answer != "EPROTOTYPE"
        kind = Kind.UNIX_DATAGRAM if datagram else Kind.UNIX_LISTENER
        hidden = replace(_file(target, facts), owner=Owner(kind=OwnerKind.HIDDEN))
        return (_blocker(kind, hidden),)
    return (_blocker(Kind.STALE_SOCKET_FILE, _file(target, facts)),)


def _is_held_elsewhere(facts: PathFacts) -> bool:
    """The file has a socket that is in no table of this network namespace."""
    return facts.answer not in (None, "ECONNREFUSED", "EACCES", "ENOENT")


def _kind_of(row: Socket) -> Kind:
    if row.protocol.type is SocketType.DATAGRAM:
        return Kind.UNIX_DATAGRAM
    return Kind.UNIX_LISTENER if row.state is State.LISTEN else Kind.BOUND


def _file(target: Target, facts: PathFacts) -> Socket:
    """A file that no known socket has, in the form of a row."""
    return Socket(
        family=Family.UNIX,
        protocol=target.protocol,
        state=State.UNKNOWN,
        local=Endpoint(address="", port=0),
        remote=None,
        packed=target.packed,
        inode=0,
        cookie=None,
        uid=facts.uid,
        cgroup_id=None,
        device=0,
        timer_ms=None,
        opened=None,
        v6only=None,
        path=target.path,
        file=facts.file,
    )


def _blocker(kind: Kind, row: Socket) -> Blocker:
    left_over = kind in (Kind.STALE_SOCKET_FILE, Kind.PATH_EXISTS)
    how = ReleaseHow.MANUAL if left_over else ReleaseHow.WHEN_OWNER_CLOSES
    return Blocker(
        kind=kind,
        direction=None,
        overlap=Overlap.SAME_PATH,
        dual_stack=False,
        sharing=Sharing.NOT_REQUESTED,
        blocks=Blocks.YES,
        count=1,
        release=Release(how=how),
        owner=NO_OWNER if left_over else row.owner,
        socket=row,
    )


def _in_use(
    target: Target, found: Sequence[Blocker], snapshot: Snapshot
) -> tuple[Cause, ...]:
    if not found:
        return (Cause(code=CauseCode.UNSEEN_BLOCKER, certainty=Certainty.POSSIBLE),)
    indexes: dict[CauseCode, list[int]] = {}
    for index, blocker in enumerate(found):
        indexes.setdefault(_BLOCKING[blocker.kind], []).append(index)
    certainty = _certainty(target, found[0], snapshot)
    return tuple(
        Cause(code=code, certainty=certainty, blockers=tuple(which))
        for code, which in indexes.items()
    )


def _certainty(target: Target, first: Blocker, snapshot: Snapshot) -> Certainty:
    facts = snapshot.path
    if not is_path(target) or first.kind is Kind.PATH_EXISTS or facts is None:
        return Certainty.CERTAIN
    if first.kind is Kind.STALE_SOCKET_FILE:
        refused = facts.answer == "ECONNREFUSED"
        return Certainty.CERTAIN if refused else Certainty.POSSIBLE
    # Somewhere else: whether a stream socket listens was not asked.
    seen = first.socket.inode or first.kind is Kind.UNIX_DATAGRAM
    return Certainty.CERTAIN if seen else Certainty.LIKELY


def _later(snapshot: Snapshot) -> tuple[NextError, ...]:
    """What a new file would meet: the kernel looks whether one exists first."""
    facts = snapshot.path
    if facts is None:
        return ()
    if facts.read_only:
        name = "EROFS"
    elif facts.writable is False:
        name = "EACCES"
    else:
        return ()
    error = snapshot.refusals.get(name)
    return (NextError(cause=_BY_ERROR[name], error=error),) if error else ()


def _refused(attempt: Attempt, snapshot: Snapshot) -> Cause:
    name = attempt.error.symbol if attempt.error else None
    target, facts = attempt.target, snapshot.path
    if attempt.step is not Step.BIND or is_filtered(attempt, snapshot):
        found = unix_policy(attempt, snapshot) or refusals.causes(attempt, (), snapshot)
        return found[0]
    if len(target.packed) > LONGEST_NAME:
        return Cause(code=CauseCode.PATH_TOO_LONG, certainty=Certainty.CERTAIN)
    code = _BY_ERROR.get(name or "") if is_path(target) else None
    if name == "EINVAL" and snapshot.facts.system == System.WINDOWS:
        code = CauseCode.FILESYSTEM_WITHOUT_SOCKETS  # where a volume has none
    if code is None:
        return Cause(code=CauseCode.UNKNOWN, certainty=Certainty.POSSIBLE)
    certainty = Certainty.CERTAIN
    if name == "EPERM" and facts is not None and facts.immutable:
        return Cause(code=CauseCode.DIRECTORY_NOT_WRITABLE, certainty=certainty)
    if name == "ENOENT" and facts is not None and facts.obstacle is None:
        code = CauseCode.FILESYSTEM_WITHOUT_SOCKETS  # the folder is there: as /proc
    if code is CauseCode.FILESYSTEM_WITHOUT_SOCKETS:
        certainty = Certainty.LIKELY
    if (
        name == "EACCES"
        and facts is not None
        and facts.reason is None
        and facts.writable
    ):
        # Its permissions would allow it: something else refuses.
        unknown = Cause(code=CauseCode.UNKNOWN, certainty=Certainty.POSSIBLE)
        return next(iter(unix_policy(attempt, snapshot)), unknown)
    return Cause(code=code, certainty=certainty)
