"""What helps with unix sockets. Nothing is removed but what nobody has."""

from __future__ import annotations

from bindcheck.model import Remedy
from bindcheck.rules.remedies.stopping import as_root, is_confined_root, stop_owner
from bindcheck.sanitize import is_plain
from bindcheck.words import CauseCode, Certainty, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Blocker, Diagnosis, Snapshot


def _remove(text: str, diagnosis: Diagnosis, snapshot: Snapshot) -> Remedy:
    path = diagnosis.target.path or ""
    facts = snapshot.path
    command: tuple[str, ...] | None
    command = ("rm", "--", path) if path[:1] == "-" else ("rm", path)
    typed = _can_be_typed(path, diagnosis)
    if not typed or (facts is not None and facts.read_only):
        command = None
        text = text or "remove the file"
    elif facts is not None and facts.removable is False:
        command = None if is_confined_root(snapshot) else as_root(snapshot, *command)
        text = text or "remove the file" if command is None else text
    return Remedy(action="remove-file", text=text, command=command)


def _can_be_typed(text: str, diagnosis: Diagnosis) -> bool:
    """Whether a text is how the path, or its beginning, is typed.

    Bytes that are no UTF-8 are shown as what would name another file.
    """
    return is_plain(text) and diagnosis.target.packed.startswith(text.encode())


def _held(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    found = list(
        dict.fromkeys(
            one for blocker in blockers for one in stop_owner(blocker.owner, snapshot)
        )
    )
    path = diagnosis.target.path or ""
    hidden = not any(blocker.owner.processes for blocker in blockers)
    if (
        hidden
        and snapshot.facts.system == System.DARWIN
        and _can_be_typed(path, diagnosis)
    ):
        command = as_root(snapshot, "lsof", path)
        return [Remedy(action="see-holder", text="see who has it", command=command)]
    if snapshot.path is not None and any(one.command for one in found):
        text = "if its file stays behind then"
        found.append(_remove(text, diagnosis, snapshot))
    return found


def _stale(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    sure = diagnosis.causes[0].certainty is Certainty.CERTAIN
    text = "" if sure else "if you are sure that nobody has it"
    return [
        _remove(text, diagnosis, snapshot),
        Remedy(
            action="remove-on-start",
            text="so that it does not come back: remove the file when the program ends, "
            "and before bind when nobody answers on it",
        ),
    ]


def _path_exists(*_: object) -> list[Remedy]:
    return [
        Remedy(
            action="use-other-path",
            text="take another path, or move what is there; it is no socket, so it may "
            "matter to somebody",
        )
    ]


def _missing(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    facts = snapshot.path
    if facts is None or not _can_be_typed(facts.directory, diagnosis):
        return [_folders(snapshot)]
    dashes = ("--",) if facts.directory.startswith("-") else ()
    command: tuple[str, ...] = ("mkdir", "-p", *dashes, facts.directory)
    if facts.writable is False:
        if is_confined_root(snapshot):
            return [_folders(snapshot)]
        command = as_root(snapshot, *command)
    found = [Remedy(action="make-directory", text="make it", command=command)]
    name = (facts.obstacle or "").removeprefix("/run/")
    if facts.obstacle == f"/run/{name}" and name and "/" not in name:
        text = f"in a systemd unit: RuntimeDirectory={name} makes {facts.obstacle}"
        return [*found, Remedy(action="runtime-directory", text=text)]
    return [*found, _folders(snapshot)]


def _folders(snapshot: Snapshot) -> Remedy:
    places = "$XDG_RUNTIME_DIR of a user, RuntimeDirectory= in a unit"
    if snapshot.facts.system == System.DARWIN:
        places = "$TMPDIR of a user, /var/run of root"
    return Remedy(action="runtime-directory", text=f"folders for sockets: {places}")


def _not_writable(
    _: Sequence[Blocker], __: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    return [
        Remedy(
            action="use-other-path",
            text="take a path in a folder of your own, or run as the user that the folder "
            "is for",
        ),
        _folders(snapshot),
    ]


def _other_filesystem(
    _: Sequence[Blocker], __: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    places = "/run, $XDG_RUNTIME_DIR or /tmp"
    if snapshot.facts.system == System.DARWIN:
        places = "$TMPDIR or /tmp"
    return [Remedy(action="use-other-path", text=f"take a path below {places}")]


def _no_space(_: Sequence[Blocker], __: Diagnosis, snapshot: Snapshot) -> list[Remedy]:
    place = "/tmp" if snapshot.facts.system == System.DARWIN else "/run"  # noqa: S108
    return [
        Remedy(
            action="free-space",
            text="free some space or inodes there (df, df -i), or take a path below "
            f"{place}",
        )
    ]


def _too_long(*_: object) -> list[Remedy]:
    return [
        Remedy(
            action="shorten-path",
            text="take a shorter path (most programs allow 107 bytes), or change into the "
            "folder and bind the name alone",
        )
    ]


def _on_the_way(*_: object) -> list[Remedy]:
    return [Remedy(action="use-other-path", text="correct the path, or what is there")]


REMEDIES: dict[
    CauseCode, Callable[[Sequence[Blocker], Diagnosis, Snapshot], Sequence[Remedy]]
] = {
    CauseCode.UNIX_LISTENER: _held,
    CauseCode.UNIX_DATAGRAM: _held,
    CauseCode.BOUND: _held,
    CauseCode.STALE_SOCKET_FILE: _stale,
    CauseCode.PATH_EXISTS: _path_exists,
    CauseCode.DIRECTORY_NOT_WRITABLE: _not_writable,
    CauseCode.PATH_TOO_LONG: _too_long,
    CauseCode.NOT_A_DIRECTORY: _on_the_way,
    CauseCode.DIRECTORY_MISSING: _missing,
    CauseCode.READ_ONLY_FILESYSTEM: _other_filesystem,
    CauseCode.FILESYSTEM_WITHOUT_SOCKETS: _other_filesystem,
    CauseCode.SYMLINK_LOOP: _on_the_way,
    CauseCode.NO_SPACE: _no_space,
}
