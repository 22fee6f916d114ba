"""What is there on Windows, beyond the tables: owners, services, refused ranges.

The tables name a pid and the time at which a socket was made. psutil tells what the pid
is now: a process that began later is another one.
"""

from __future__ import annotations

import os

from bindcheck import native
from bindcheck.model import Ancestor, Notice, Options, Process, Snapshot, Socket, Target
from bindcheck.records import replace
from bindcheck.rules.program import program_of
from bindcheck.rules.windows_owner import SYSTEM_PID, windows_owner
from bindcheck.words import Family, Step

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psutil

    from bindcheck.rules.ownership import Asking

# Timestamps of processes and sockets come from one clock with different steps (16 ms).
_SLACK_SECONDS = 1.0
_LONGEST_RUN = 1000  # ports to each side; Hyper-V takes them by the hundred
_RESERVING_SERVICES = ("winnat", "hns", "SharedAccess", "iphlpsvc")


def plain_rows(rows: Iterable[Socket]) -> tuple[Socket, ...]:
    """Rows with what every Windows table means.

    A socket for both families has a row in each table, so an IPv6 row stands for IPv6
    alone.
    """
    return tuple(
        replace(row, v6only=True) if row.family is Family.INET6 else row for row in rows
    )


def own_user() -> str | None:
    r"""The user who asks, as psutil writes those of processes: DOMAIN\name."""
    import psutil

    try:
        return psutil.Process().username()
    except (psutil.Error, OSError):
        return None


def with_owners(
    snapshot: Snapshot, wanted: Sequence[Socket], asking: Asking | None
) -> Snapshot:
    """Look up who has the `wanted` rows, by the pids of the tables."""
    from bindcheck.model import NO_OWNER

    rows, programs = set(wanted), _Programs()
    found: dict[Socket, Socket] = {
        row: _with_owner(row, asking, programs)
        for row in snapshot.sockets
        if row in rows and row.owner is NO_OWNER
    }
    sockets = tuple(found.get(row, row) for row in snapshot.sockets)
    unread = {
        row.pid
        for row in found.values()
        if any(one.user is None for one in row.owner.processes)
    }
    limits = snapshot.limits
    if unread and not snapshot.facts.elevated:
        number = f"{len(unread)} process" + ("es" if len(unread) > 1 else "")
        text = f"user and command line of {number} can be read by an administrator only"
        limits = (*limits, Notice(code="processes-unreadable", text=text))
    return replace(snapshot, sockets=sockets, limits=limits)


class _Programs:
    """What psutil tells, each thing asked once: many sockets have one program."""

    def __init__(self) -> None:
        self._described: dict[int, Process] = {}
        self._services: dict[int, tuple[str, ...]] | None = None
        self._children: dict[int, list[psutil.Process]] | None = None

    def described(self, process: psutil.Process) -> Process:
        """Describe a process; raises psutil.Error as _describe() does."""
        found = self._described.get(process.pid)
        if found is None:
            found = self._described[process.pid] = _describe(process)
        return found

    def services(self, pid: int) -> tuple[str, ...]:
        """The services in a process."""
        if self._services is None:
            self._services = _services_by_pid()
        return self._services.get(pid, ())

    def children(self, pid: int) -> list[psutil.Process]:
        """The processes that name this one as theirs, whether it is there or not."""
        if self._children is None:
            self._children = _children_by_pid()
        return self._children.get(pid, [])


def _with_owner(row: Socket, asking: Asking | None, programs: _Programs) -> Socket:
    if not row.pid or row.pid == SYSTEM_PID:
        return replace(row, owner=windows_owner(row, (), asking=asking))
    import psutil

    successor = None
    try:
        process = psutil.Process(row.pid)
        if not _began_before(process, row):
            successor = process.create_time()
        else:
            described = programs.described(process)
            services = _services(row, described, programs)
            owner = windows_owner(row, (described,), services=services, asking=asking)
            return replace(row, owner=owner)
    except psutil.NoSuchProcess:
        pass
    except psutil.Error:
        return replace(row, owner=windows_owner(row, (), asking=asking))
    heirs = tuple(
        heir
        for one in _heirs(row, successor, programs)
        if (heir := _still_there(one, programs)) is not None
    )
    owner = windows_owner(row, heirs, opener=row.pid, asking=asking)
    return replace(row, owner=owner)


def _began_before(process: psutil.Process, row: Socket) -> bool:
    """Whether the process can have made the socket: its pid may be another's by now."""
    if row.created is None:
        return True
    return process.create_time() <= row.created + _SLACK_SECONDS


def _heirs(
    row: Socket, successor: float | None, programs: _Programs
) -> list[psutil.Process]:
    """The processes that a socket's gone maker started after it had made the socket.

    A child can inherit the handle only when it is started (CreateProcess); it may have
    passed it on to children of its own. `successor` is when a later process began that
    has the maker's pid now: whoever began after it is its child.
    """
    import psutil

    earliest = (row.created or 0.0) - _SLACK_SECONDS
    found: list[psutil.Process] = []
    pending = [row.pid or 0]
    while pending:
        parent = pending.pop()
        for one in programs.children(parent):
            try:
                began = one.create_time()
            except psutil.Error:
                continue
            latest = successor if parent == row.pid else None
            inherits = began >= earliest and (latest is None or began < latest)
            if inherits and one.pid != row.pid and one not in found:
                found.append(one)
                pending.append(one.pid)
    return found


def _children_by_pid() -> dict[int, list[psutil.Process]]:
    import psutil

    children: dict[int, list[psutil.Process]] = {}
    for one in psutil.process_iter():
        try:
            children.setdefault(one.ppid(), []).append(one)
        except psutil.Error:
            continue
    return children


def _describe(process: psutil.Process) -> Process:
    """What psutil tells of a process; None where that is not permitted.

    Raises:
        psutil.Error: not even its start is told, or it has ended.
    """
    began = process.create_time()
    name, path, user = (_ask(process, one) for one in ("name", "exe", "username"))
    command, folder, state = (
        _ask(process, one) for one in ("cmdline", "cwd", "status")
    )
    words = tuple(str(one) for one in command) if isinstance(command, list) else ()
    parent, parent_name = _parent(process, began)
    return Process(
        pid=process.pid,
        start_id=round(began * 1000),
        fds=(),
        name=str(name or ""),
        command=words,
        command_truncated=False,
        uid=None,
        user=str(user) if user else None,
        started=began,
        parent=parent,
        parent_name=parent_name,
        state=_STATES.get(str(state), "unknown"),
        folder=str(folder) if folder else None,
        program=program_of(_identity(path), words, str(folder) if folder else None),
        ancestors=() if parent is None else (Ancestor(pid=parent, session=None),),
    )


def _still_there(process: psutil.Process, programs: _Programs) -> Process | None:
    import psutil

    try:
        return programs.described(process)
    except psutil.Error:
        return None


def _ask(process: psutil.Process, name: str) -> object:
    import psutil

    try:
        return getattr(process, name)()
    except psutil.NoSuchProcess:
        raise
    except (psutil.Error, OSError):
        return None


def _parent(process: psutil.Process, began: float) -> tuple[int | None, str | None]:
    """Pid and name of the one that started it, where that is still there."""
    import psutil

    try:
        parent = psutil.Process(process.ppid())
        if parent.create_time() > began:
            return None, None  # a reused pid
        return parent.pid, parent.name()
    except psutil.Error:
        return None, None


def _identity(path: object) -> tuple[int, int] | None:
    """Which file a program is."""
    try:
        found = os.stat(str(path)) if path else None  # noqa: PTH116
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


_STATES = {"running": "running", "stopped": "stopped"}


def _services(row: Socket, process: Process, programs: _Programs) -> tuple[str, ...]:
    """The service that made a socket; without its tag those of the whole process."""
    if row.service_tag:
        name = native.service_name(process.pid, row.service_tag)
        if name is not None:
            return (name,)
    return programs.services(process.pid)


def _services_by_pid() -> dict[int, tuple[str, ...]]:
    import psutil

    listing = getattr(psutil, "win_service_iter", None)
    found: dict[int, tuple[str, ...]] = {}
    try:
        services = list(listing()) if listing is not None else []
    except (psutil.Error, OSError):
        return found
    for one in services:
        try:
            pid, name = one.pid(), str(one.name())
        except (psutil.Error, OSError):
            continue  # one that does not tell its state
        if pid:
            found[pid] = (*found.get(pid, ()), name)
    return found


def with_refused_run(snapshot: Snapshot, target: Target, options: Options) -> Snapshot:
    """Add the run of refused ports around the target's, where nobody has them.

    The system tells of no range that a driver keeps until the next start: their ports
    say WSAEACCES to a plain bind although no table has a socket on them.
    """
    plain = Options(v6only=options.v6only)
    listing = native.list_sockets(target.protocol.table, 0)
    if listing.source is None:
        return snapshot  # a bind could meet somebody
    taken = {row.local.port for row in listing.sockets}

    def is_refused(port: int) -> bool:
        if port in taken:
            return False
        made = native.probe(replace(target, port=port), plain)
        refused = made.error is not None and made.error.symbol == "EACCES"
        return refused and made.step is Step.BIND

    if is_refused(0) or not is_refused(target.port):
        return snapshot  # all ports are refused, or this one only as it was asked for
    first = last = target.port
    while first > 1 and target.port - first < _LONGEST_RUN and is_refused(first - 1):
        first -= 1
    while last < 65535 and last - target.port < _LONGEST_RUN and is_refused(last + 1):
        last += 1
    running = tuple(one for one in _RESERVING_SERVICES if _runs(one))
    return replace(snapshot, refused_run=(first, last), running_services=running)


def _runs(name: str) -> bool:
    import psutil

    find = getattr(psutil, "win_service_get", None)
    try:
        return find is not None and find(name).status() == "running"
    except (psutil.Error, OSError):
        return False


def dynamic_range() -> tuple[int, int] | None:
    """The ports that the system gives to clients, as far as can be told.

    It tells of the range by tools alone. The documented default holds unless a port that
    the system chooses just now lies elsewhere.
    """
    import _socket

    own = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        own.bind(("127.0.0.1", 0))
        chosen = own.getsockname()[1]
    except OSError:
        return None
    finally:
        own.close()
    return DEFAULT_RANGE if DEFAULT_RANGE[0] <= chosen else None


DEFAULT_RANGE = (49152, 65535)
"""nf-winsock-bind: the dynamic ports since Windows Vista."""


def asking_process() -> Asking:
    """Describe the calling process, for recognising its copies."""
    import psutil

    from bindcheck.rules.ownership import Asking

    pid = os.getpid()
    try:
        own = _describe(psutil.Process(pid))
    except psutil.Error:
        return Asking(pid=pid, program=None)
    return Asking(pid=pid, program=own.program)
