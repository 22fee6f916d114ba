"""Targets that are no IP addresses: unix sockets and AF_VSOCK.

A path that exists is judged by its file and the tables, and not called: should it
vanish in that moment, the call would make a file where somebody else is about to. A path
that does not is tried with a name beside it, which is removed at once.
"""

from __future__ import annotations

import os
import sys

from bindcheck import native
from bindcheck.filesystem import (
    ask_socket_file,
    is_still_there,
    look_at_path,
    sibling_of,
)
from bindcheck.machine import decode
from bindcheck.model import Attempt, Endpoint, Examination, NativeCode, Notice
from bindcheck.mounts import unanswering_mount
from bindcheck.records import replace
from bindcheck.rules import unix_path
from bindcheck.sanitize import sanitize
from bindcheck.target import make_unix_target, make_vsock_target
from bindcheck.words import Family, FileKind, Step

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Options, Snapshot, Target
    from bindcheck.observe import Observer
    from bindcheck.target import Request

_LOOKS, _TRIES = 4, 20
_PATIENCE_SECONDS = 2.0


def examine_name(request: Request, options: Options, observer: Observer) -> Examination:
    """Examine a unix or AF_VSOCK target."""
    target = target_of(request)
    if target.family is Family.VSOCK:
        attempt = native.probe_name(target, options)
        snapshot = replace(observer.nothing_seen(), context_id=_context_id())
        return Examination(
            requested=request.requested, attempt=attempt, snapshot=snapshot
        )
    return _examine_unix(request.requested, target, options, observer)


def target_of(request: Request) -> Target:
    """The target of a request for a name."""
    if request.family is Family.VSOCK:
        return make_vsock_target(request)
    return make_unix_target(request.packed, request.protocol)


def probe_name(target: Target, options: Options) -> Attempt:
    """Make exactly the calls that are asked for; a file that this makes is removed."""
    if target.family is not Family.UNIX or not unix_path.is_path(target):
        return native.probe_name(target, options)
    return _bind_and_remove(target, options)[0]


def _examine_unix(
    requested: str, target: Target, options: Options, observer: Observer
) -> Examination:
    """Look again where the path got another file meanwhile: a server was restarted."""
    for _ in range(_LOOKS):
        found = _look(requested, target, options, observer)
        facts = found.snapshot.path
        if facts is None or is_still_there(target.packed, facts.file):
            return found
    # What was asked last may have been of another file than what was seen.
    snapshot = replace(found.snapshot, path=facts and replace(facts, answer=None))
    return replace(found, snapshot=snapshot)


def _look(
    requested: str, target: Target, options: Options, observer: Observer
) -> Examination:
    if not unix_path.is_path(target) or len(target.packed) > unix_path.LONGEST_NAME:
        attempt = native.probe_name(target, options)
        snapshot = observer.nothing_seen()
    elif (silent := unanswering_mount(target.packed, _PATIENCE_SECONDS)) is not None:
        return _unanswered(requested, target, options, observer, silent)
    else:
        facts = look_at_path(target.packed, observer.name_of)
        snapshot = replace(observer.nothing_seen(), path=facts)
        if facts.kind is not None:
            attempt = _taken(target, options, snapshot)
        else:
            attempt, snapshot = _beside(target, options, snapshot)
            if attempt.ok and facts.reason is not None:
                attempt, snapshot = _unseen(attempt, snapshot)
    came_free = False
    if attempt.error is not None and attempt.error.symbol != "EADDRINUSE":
        snapshot = observer.with_confinement(snapshot, None)
    if attempt.error is not None and attempt.error.symbol == "EADDRINUSE":
        snapshot = _with_holders(target, snapshot, observer)
        if snapshot.path is None and not snapshot.sockets:
            # An abstract name that nobody has any more.
            came_free = bool(native.probe_name(target, options).ok)
            snapshot = observer.with_confinement(snapshot, None)
    return Examination(
        requested=requested,
        attempt=attempt,
        snapshot=snapshot,
        came_free=came_free,
    )


def _unanswered(
    requested: str, target: Target, options: Options, observer: Observer, point: bytes
) -> Examination:
    limit = Notice(
        code="filesystem-not-answering",
        text=f"the filesystem at {sanitize(decode(point))} does not answer "
        f"(for {_PATIENCE_SECONDS:.0f} s): the path was not looked at",
    )
    attempt = Attempt(
        target=target,
        options=options,
        ok=None,
        native=False,
        step=Step.BIND,
        argument=None,
        error=None,
        bound=None,
    )
    snapshot = replace(observer.nothing_seen(), limits=(limit,))
    return Examination(requested=requested, attempt=attempt, snapshot=snapshot)


def _with_holders(target: Target, snapshot: Snapshot, observer: Observer) -> Snapshot:
    """Look who has the file or name; where nobody is seen, ask the file."""
    rows = native.list_unix_sockets()
    if isinstance(rows, NativeCode):
        text = f"the kernel lists no unix sockets ({rows.message})"
        limit = Notice(code="no-socket-table", text=text)
        snapshot = replace(snapshot, limits=(*snapshot.limits, limit), listed=False)
    else:
        snapshot = replace(snapshot, sockets=rows)
    found = unix_path.holders(target, snapshot)
    facts = snapshot.path
    if found or facts is None or facts.kind is not FileKind.SOCKET:
        only = replace(snapshot, sockets=found)
        return observer.with_owners(only, found)
    answer = ask_socket_file(target.packed)
    return replace(snapshot, sockets=(), path=replace(facts, answer=answer))


def _taken(target: Target, options: Options, snapshot: Snapshot) -> Attempt:
    """The path exists: bind says EADDRINUSE of anything that is there."""
    return Attempt(
        target=target,
        options=options,
        ok=False,
        native=False,
        step=Step.BIND,
        argument=None,
        error=snapshot.address_in_use,
        bound=None,
    )


def _beside(
    target: Target, options: Options, snapshot: Snapshot
) -> tuple[Attempt, Snapshot]:
    """The same bind with another name in the same folder."""
    for _ in range(_TRIES):
        sibling = sibling_of(target.packed)
        if sibling == target.packed:
            continue
        beside = make_unix_target(sibling, target.protocol)
        made, stays = _bind_and_remove(beside, options)
        if stays:
            text = f"could not remove {os.fsdecode(sibling)!r}, which was made to try"
            limit = Notice(code="file-left", text=text)
            snapshot = replace(snapshot, limits=(*snapshot.limits, limit))
        if made.error is None or made.error.symbol != "EADDRINUSE":
            break  # else that name is taken as well
    native_call = made.step is not None and made.step is not Step.BIND
    return replace(made, target=target, native=native_call, bound=None), snapshot


def _unseen(attempt: Attempt, snapshot: Snapshot) -> tuple[Attempt, Snapshot]:
    """A name beside it can be bound; it itself could not be looked at."""
    facts = snapshot.path
    reason = facts.reason if facts else None
    text = f"whether anything is at {attempt.target.path} cannot be seen ({reason})"
    limit = Notice(code="path-unseen", text=text)
    limits = (*snapshot.limits, limit)
    return replace(attempt, ok=None, native=False), replace(snapshot, limits=limits)


def _bind_and_remove(target: Target, options: Options) -> tuple[Attempt, bool]:
    """Bind a path, and remove the file that this makes; whether that stays.

    In a folder that is held open: one on the way to it may be exchanged meanwhile, and
    then the file would stay behind, and another be removed.
    """
    directory, name = os.path.split(target.packed)
    directory = directory or b"."
    # A name may be too long for that.
    possible = len(name) <= unix_path.LONGEST_NAME - len(b"/proc/self/fd/1234567/")
    for _ in range(_TRIES if possible else 0):
        try:
            folder = _open_folder(directory)
        except (OSError, ValueError):
            # The same error, by a call that can make no file.
            made = _bind_instead(target, directory + b"/.", options)
            if made.error is None or made.error.symbol != "EADDRINUSE":
                return made, False
            continue  # now there is one
        if folder is None:
            break
        held = b"/proc/self/fd/%d/%s" % (folder, name)
        try:
            made = _bind_instead(target, held, options)
            return made, bool(made.ok) and not _remove(name, folder)
        finally:
            os.close(folder)
    made = native.probe_name(target, options)
    return made, bool(made.ok) and not _remove(target.packed)


def _bind_instead(target: Target, name: bytes, options: Options) -> Attempt:
    """Bind another name of the same path."""
    made = native.probe_name(make_unix_target(name, target.protocol), options)
    bound = made.bound and Endpoint(address=target.path or "", port=0)
    return replace(made, target=target, bound=bound)


def _open_folder(directory: bytes) -> int | None:
    """Hold a folder; None where no path leads through what is held."""
    if sys.platform == "linux" and os.path.exists("/proc/self/fd"):  # noqa: PTH110
        return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return None


def _remove(name: bytes, folder: int | None = None) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    return True


def _context_id() -> int | None:
    """This machine's context id (IOCTL_VM_SOCKETS_GET_LOCAL_CID of vsock(7))."""
    if sys.platform != "win32":
        import fcntl

        try:
            with open("/dev/vsock", "rb") as device:
                told = fcntl.ioctl(device, 0x7B9, bytes(4))
            return int.from_bytes(told, sys.byteorder)
        except OSError:
            pass
    return None
