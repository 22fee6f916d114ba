"""What is said of unix sockets: summaries and evidence of paths and names."""

from __future__ import annotations

from bindcheck.rules.unix_path import LONGEST_NAME
from bindcheck.sanitize import sanitize
from bindcheck.wording.terms import duration, who
from bindcheck.words import CauseCode, FileKind, Kind, OwnerKind, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Attempt, Blocker, Diagnosis, PathFacts, Snapshot, Target

_NOUNS = {
    FileKind.FILE: "a regular file",
    FileKind.DIRECTORY: "a directory",
    FileKind.SYMBOLIC_LINK: "a symbolic link",
    FileKind.FIFO: "a named pipe",
    FileKind.DEVICE: "a device",
    FileKind.SOCKET: "a socket",
}


def how_asked(attempt: Attempt) -> str:
    """How a path was tried that the call itself was not made with."""
    if attempt.error is not None and attempt.error.symbol == "EADDRINUSE":
        return "predicted: bind says so of every path that exists"
    return "tried with a name beside it"


def blocker_lines(blocker: Blocker, target: Target, snapshot: Snapshot) -> list[str]:
    """Say what shows that a socket or file has the name."""
    facts = snapshot.path
    if facts is None:
        return [
            "an abstract name of this network namespace: there is no file to remove"
        ]
    if blocker.kind is Kind.PATH_EXISTS:
        return [_what_it_is(facts)]
    if blocker.kind is Kind.STALE_SOCKET_FILE:
        return _stale(facts, snapshot)
    if blocker.socket.inode == 0:
        if snapshot.facts.system == System.DARWIN:
            return ["a socket answers on it; which program's is in no table of macOS"]
        if not snapshot.listed:
            return ["a socket answers on it; whose it is the kernel does not list here"]
        text = (
            "a socket of another network namespace (container) has this file: it is in no "
            "table here"
        )
        return [text]
    lines = ["the file is of this very socket (same device and inode)"]
    bound_as = blocker.socket.path or ""
    if _last_part(bound_as) != _last_part(target.path or ""):
        lines.append(f"it was bound as {sanitize(bound_as)}, and the file moved since")
    return lines


def _last_part(path: str) -> str:
    """The name alone: folders have several names, as /run and /var/run."""
    return path.rpartition("/")[2]


def _stale(facts: PathFacts, snapshot: Snapshot) -> list[str]:
    whose = f" of {facts.user or facts.uid}" if facts.uid is not None else ""
    age = ""
    if facts.modified is not None:
        age = f", made {duration(snapshot.observed_at - facts.modified)} ago"
    lines = [f"a socket file{whose}{age}; a program that ends does not remove it"]
    if snapshot.facts.system == System.DARWIN:
        if facts.answer == "ECONNREFUSED":
            lines.append("no socket has it (connecting: 61 ECONNREFUSED)")
    elif facts.answer == "ECONNREFUSED":
        lines.append(
            "no socket has it, in any network namespace (connecting: 111 ECONNREFUSED)"
        )
    elif facts.answer == "EACCES" and snapshot.listed:
        lines.append(
            "no socket of this network namespace has it; whether one of another "
            "has cannot be asked without the right to write to it"
        )
    return lines


def _what_it_is(facts: PathFacts) -> str:
    noun = _NOUNS.get(facts.kind or FileKind.FILE, "a file")
    text = f"{noun} of {facts.user or facts.uid} is there"
    if facts.link_target is not None:
        text += f", to {sanitize(facts.link_target)}; bind does not follow it"
    return text


def _summary_of_holder(pattern: str) -> Callable[..., str]:
    def words(blockers: Sequence[Blocker], _: Diagnosis, snapshot: Snapshot) -> str:
        owner = blockers[0].owner
        if owner.kind is OwnerKind.HIDDEN and not blockers[0].socket.inode:
            if snapshot.facts.system == System.DARWIN:
                return "a running program has it"
            if not snapshot.listed:
                return "a socket has it"
            return "a socket of another network namespace has it"
        return pattern.format(who=who(owner))

    return words


def _path_exists(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    kind = snapshot.path.kind if snapshot.path else None
    return f"{_NOUNS.get(kind or FileKind.FILE, 'a file')} is there already"


def _stale_summary(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    answer = snapshot.path.answer if snapshot.path else None
    sure = answer == "ECONNREFUSED"
    return (
        "a socket file is left over, and nobody has it"
        if sure
        else ("a socket file is there, probably left over")
    )


def _obstacle(snapshot: Snapshot) -> tuple[str, str | None]:
    facts = snapshot.path
    if facts is None:
        return "the folder", None
    return sanitize(facts.obstacle or facts.directory), facts.reason


def _missing(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    return f"there is no folder {_obstacle(snapshot)[0]}"


def _not_a_directory(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    return f"{_obstacle(snapshot)[0]} is no folder"


def _loop(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    return f"the symbolic link {_obstacle(snapshot)[0]} leads back to itself"


def _not_writable(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    place, reason = _obstacle(snapshot)
    if snapshot.path is not None and snapshot.path.immutable:
        return f"the folder {place} is immutable"
    verb = "enter" if reason == "EACCES" else "make files in"
    user = snapshot.user or f"uid {snapshot.facts.euid}"
    return f"{user} may not {verb} the folder {place}"


def _too_long(_: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot) -> str:
    length = len(diagnosis.target.packed)
    if snapshot.facts.system == System.DARWIN:
        return f"the path has {length} bytes, too many for macOS"
    return f"the path has {length} bytes, and {LONGEST_NAME} is the most"


def _read_only(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    return f"{_filesystem(snapshot)} is mounted read-only"


def _without_sockets(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    return f"{_filesystem(snapshot)} does not take socket files"


def _no_space(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    return f"{_filesystem(snapshot)} is full"


def _filesystem(snapshot: Snapshot) -> str:
    facts = snapshot.path
    if facts is None or facts.mount_point is None:
        return "the filesystem"
    return f"{sanitize(facts.mount_point)} ({sanitize(facts.filesystem or '')})"


def _permissions(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    facts = snapshot.path
    if facts is None or facts.mode is None:
        return []
    import stat

    place = sanitize(facts.obstacle or facts.directory)
    lines = [
        f"{place} is {stat.filemode(stat.S_IFDIR | facts.mode)} of {facts.mode_user}"
    ]
    if facts.immutable:
        lines.append(f"{place} takes no changes (chattr +i; lsattr -d shows it)")
    return lines


def _space(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    facts = snapshot.path
    if facts is None:
        return []
    lines = []
    if facts.free_bytes is not None:
        lines.append(f"{facts.free_bytes} bytes are free")
    if facts.free_inodes is not None:
        lines.append(f"{facts.free_inodes} inodes are free (a socket file needs one)")
    return lines


SUMMARIES: dict[CauseCode, Callable[..., str]] = {
    CauseCode.UNIX_LISTENER: _summary_of_holder("{who} listens there"),
    CauseCode.UNIX_DATAGRAM: _summary_of_holder("{who} receives datagrams there"),
    CauseCode.STALE_SOCKET_FILE: _stale_summary,
    CauseCode.PATH_EXISTS: _path_exists,
    CauseCode.DIRECTORY_NOT_WRITABLE: _not_writable,
    CauseCode.PATH_TOO_LONG: _too_long,
    CauseCode.NOT_A_DIRECTORY: _not_a_directory,
    CauseCode.DIRECTORY_MISSING: _missing,
    CauseCode.READ_ONLY_FILESYSTEM: _read_only,
    CauseCode.FILESYSTEM_WITHOUT_SOCKETS: _without_sockets,
    CauseCode.SYMLINK_LOOP: _loop,
    CauseCode.NO_SPACE: _no_space,
}
EVIDENCE: dict[CauseCode, Callable[[Diagnosis, Snapshot], list[str]]] = {
    CauseCode.DIRECTORY_NOT_WRITABLE: _permissions,
    CauseCode.NO_SPACE: _space,
}
