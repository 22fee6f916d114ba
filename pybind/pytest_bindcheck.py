"""The pytest plugin: says who has the port where a test fails for want of it.

bindcheck itself is imported then, and not before. Who in this test run binds what is
noted by an audit hook (PEP 578), which only watches.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import sys
import time
import weakref
from pathlib import Path
from types import FrameType, FunctionType, GeneratorType, ModuleType

import pytest

TYPE_CHECKING = False  # as everywhere in bindcheck
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Iterable, Iterator
    from typing import Any, TypeAlias

    from bindcheck.model import Blocker, Report

    Place: TypeAlias = tuple[str, str, int]
    """A protocol, an address and a port; of a unix socket "unix", its path and 0."""

_TITLE = "bindcheck"
_SECONDS = 2.0
_MOST_ERRORS, _MOST_BINDS, _MOST_OBJECTS = 4, 512, 20_000
_STDLIB = str(Path(os.__file__).parent) + os.sep
_INSTALLED = tuple(f"{os.sep}{one}-packages{os.sep}" for one in ("site", "dist"))
_PYTEST = f"{os.sep}_pytest{os.sep}"
_OWN = (str(Path(__file__).with_name("bindcheck")) + os.sep, __file__)
_NAMES = {"": "0.0.0.0", "localhost": "127.0.0.1"}  # noqa: S104
_OWN_PORTS = "let each worker bind a port of its own, such as port 0"
_IN_USE = (errno.EADDRINUSE, errno.EACCES)  # EACCES: exclusive holders on Windows


class _Life:
    """What a test with its own fixtures, or a longer-lived fixture, has bound."""

    def __init__(self) -> None:
        self.binds: list[_Bind] = []
        self.excused = False
        """It failed: its traceback may keep sockets open."""


class _Bind:
    """One call of bind(), which may have failed, and its socket."""

    def __init__(self, sock: socket.socket, address: object, who: str) -> None:
        self.asked = _place(sock, address)
        self.who = who
        self.spot = _calling_line()
        self.time = time.time()
        self.fd = sock.fileno()
        self.inode = _inode(self.fd)
        self.socket: Callable[[], socket.socket | None]
        try:
            self.socket = weakref.ref(sock)
        except TypeError:  # the C class alone
            self.socket = lambda: None
        self.rivals: tuple[str, ...] = ()
        """What this process had on the port at that time."""
        self._place: Place | None = None

    def is_open(self) -> bool:
        """Whether the descriptor is still that of the socket."""
        if self.inode is not None:
            return _inode(self.fd) == self.inode
        sock = self.socket()
        return sock is not None and sock.fileno() == self.fd

    def place(self) -> Place | None:
        """Where the socket is bound; None: nowhere, or it was closed unseen."""
        if self._place is None and self.is_open():
            import socket

            sock = self.socket()
            with contextlib.suppress(OSError):
                if sock is not None and sock.fileno() == self.fd:
                    self._place = _place(sock, sock.getsockname())
                else:  # detached
                    with socket.socket(fileno=os.dup(self.fd)) as twin:
                        self._place = _place(twin, twin.getsockname())
        return self._place


class _Workers:
    """The files in which pytest-xdist's workers tell each other what they bind."""

    def __init__(self, told: dict[str, Any] | None) -> None:
        self._is_worker = told is not None
        self._folder: Path | None = None
        self._own: Path | None = None
        # Not told where the plugin is off; not there on another machine.
        with contextlib.suppress(KeyError, OSError):
            if told is not None:
                folder = Path(told["bindcheck_folder"])
                self._own = folder / f"{told['workerid']}.{os.getpid()}"
                self._own.touch()
                self._folder = folder

    def folder(self) -> Path:
        """A folder for a worker that is about to be started."""
        if self._folder is None:
            import tempfile

            self._folder = Path(tempfile.mkdtemp(prefix="bindcheck-"))
        return self._folder

    def close(self) -> None:
        """Remove the folder, where it is ours."""
        if self._folder is not None and not self._is_worker:
            import shutil

            shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, bind: _Bind, where: str) -> None:
        """Tell the others of a call."""
        if self._folder is not None and self._own is not None:
            port = bind.asked[2] if bind.asked else 0
            line = json.dumps([bind.inode, port, bind.time, where])
            with open(self._own, "a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    def others(self) -> Iterator[tuple[str, int, list[Any]]]:
        """Each other worker, its pid, and its calls of bind."""
        if self._folder is None or not self._is_worker:
            return
        for file in sorted(self._folder.iterdir()):
            if file != self._own:
                worker, _, pid = file.name.rpartition(".")
                lines = file.read_text("utf-8").splitlines()
                yield worker, int(pid), [json.loads(one) for one in lines]


class _Binds:
    """The calls of bind() in this process, for whom they were made."""

    def __init__(self, root: Path, workers: _Workers) -> None:
        self.life: _Life | None = None
        self.who = "outside of the tests"
        self._root = f"{root}{os.sep}"
        self._workers = workers
        self._known: dict[int, _Bind] = {}

    def note(self, sock: socket.socket, address: object) -> None:
        """Keep a call that is about to be made."""
        made = _Bind(sock, address, self.who)
        if made.fd < 0:
            return
        key = made.inode or made.fd
        old = self._known.pop(key, None)
        if old is not None and old.is_open() and old.place() is not None:
            self._known[key] = old  # bound already: the call will be refused
            return
        if made.asked is not None:
            made.rivals = tuple(self._rivals(made.asked))
        if len(self._known) >= _MOST_BINDS:
            every = list(self._known.items())
            self._known = {one: bind for one, bind in every if bind.is_open()}
        self._known[key] = made
        if self.life is not None:
            self.life.binds.append(made)
        self._workers.write(made, self.where(made))

    def _rivals(self, asked: Place) -> Iterator[str]:
        for one in list(self._known.values()):
            place = one.place()
            if place is not None and _overlap(place, asked) and one.is_open():
                yield f"{_label(place)} was bound {self.where(one)}"

    def where(self, one: _Bind) -> str:
        """The line of a call, and the test or fixture."""
        file, line = one.spot
        return f"at {file.removeprefix(self._root)}:{line}, {one.who}"

    def is_left(self, one: _Bind) -> bool:
        """Whether a socket is open, and bound by this call and no later one."""
        latest = self._known.get(one.inode or one.fd) is one
        return latest and one.is_open() and one.place() is not None

    def of_inode(self, inode: int) -> _Bind | None:
        """The call that bound a socket; Linux alone has these numbers."""
        found = self._known.get(inode)
        return found if found is not None and found.inode is not None else None

    def that_raised(self, error: BaseException) -> _Bind | None:
        """The latest call that was made in a line of the traceback."""
        lines = set()
        trace = error.__traceback__
        while trace is not None:
            lines.add((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
            trace = trace.tb_next
        latest = reversed(list(self._known.values()))
        return next((one for one in latest if one.spot in lines), None)


class _Explainer:
    """What is said of an exception: the diagnosis, and what this run knows."""

    def __init__(self, binds: _Binds, workers: _Workers) -> None:
        self._binds = binds
        self._workers = workers

    def texts(self, error: BaseException) -> Iterator[str]:
        """The blocks of text; none where it is no bind error."""
        suspects = list(_system_errors(error))
        if not suspects:
            return
        from bindcheck.explaining import is_bind_error, is_explained

        ends = time.monotonic() + _SECONDS
        told: dict[tuple[str, ...], tuple[str, list[str]]] = {}
        for one in filter(is_bind_error, suspects[:_MOST_ERRORS]):
            if time.monotonic() < ends:
                targets, note, here = self._text(one, ends)
                # An error and what it was raised from are told once; not if it has a
                # note, which the traceback shows.
                note = "" if is_explained(one) else note
                old = told.get(targets, (note, here))
                told[targets] = (old[0] and note and old[0], old[1] or here)
        if len(told) > 1:
            told.pop((), None)  # it knew less than the other one
        for note, here in told.values():
            yield from filter(None, (note, *here))

    def _text(
        self, error: OSError, ends: float
    ) -> tuple[tuple[str, ...], str, list[str]]:
        """The addresses, the note, and what this run knows."""
        from bindcheck.explaining import explain, is_explained, note_of_report

        bind = self._binds.that_raised(error)
        known = getattr(error, "report", None) if is_explained(error) else None
        try:
            report: Report = known or explain(error, timeout=ends - time.monotonic())
            if not report.results and bind is not None and bind.asked is not None:
                target, left = _label(bind.asked), max(ends - time.monotonic(), 0)
                report = explain(error, target, timeout=left)
        except Exception as trouble:  # noqa: BLE001 - said in its place
            return (), f"bindcheck: not diagnosed: {trouble}", []
        note, here = note_of_report(report), list[str]()
        with contextlib.suppress(Exception):  # the diagnosis matters more
            here += self._here(report, error, bind)
            for _, pid, _ in self._workers.others():
                note = note.replace(f"\n    kill {pid}\n", f"\n    {_OWN_PORTS}\n")
        return tuple(one.target.text for one in report.results), note, here

    def _here(
        self, report: Report, error: OSError, bind: _Bind | None
    ) -> Iterator[str]:
        """Who in this run has the port, or had it when the call was made."""
        named = list(self._holders(report))
        if named:
            yield "  in this test run"
        elif bind is not None and error.errno in _IN_USE:
            named += bind.rivals or self._latest_elsewhere(bind)
            if named:
                yield "  in this test run, when bind was called"
        yield from (f"    {one}" for one in dict.fromkeys(named))

    def _holders(self, report: Report) -> Iterator[str]:
        """Whose sockets of this run are in the way."""
        for result in report.results:
            for blocker in result.blockers:
                bind = self._binds.of_inode(blocker.socket.inode)
                if bind is not None:
                    yield f"bound {self._binds.where(bind)}"
                else:
                    yield from self._holders_elsewhere(blocker)

    def _holders_elsewhere(self, blocker: Blocker) -> Iterator[str]:
        sock = blocker.socket
        pids = {one.pid for one in blocker.owner.processes}
        for worker, pid, entries in self._workers.others():
            has_it = pid in pids
            bound = [
                f" {where}"
                for inode, port, _, where in entries
                if (
                    inode == sock.inode if inode else has_it and port == sock.local.port
                )
            ]
            if has_it or bound:  # a child of the worker may have it
                yield f"bound by {worker} (pid {pid}){(bound or [''])[-1]}"

    def _latest_elsewhere(self, bind: _Bind) -> Iterator[str]:
        """Which other worker asked for the same port last; it may be free again."""
        port = bind.asked[2] if bind.asked else 0
        every = [
            (when, worker, pid, where)
            for worker, pid, entries in self._workers.others()
            for _, its_port, when, where in entries
            if port and its_port == port and when <= bind.time
        ]
        if every:
            when, worker, pid, where = max(every)
            since = f"{bind.time - when:.1f} s before"
            yield f"{worker} (pid {pid}) had called it for this port {since}, {where}"


_listening: list[_Binds] = []
"""The innermost is told: a test may run pytest in its own process."""
_hooks: list[object] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.bind" or not _listening:
        return
    with contextlib.suppress(Exception):  # raised here it would stop the call
        _listening[-1].note(*arguments)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what --help shows."""
    group = parser.getgroup(_TITLE)
    text = "a test that leaves open a socket that it has bound is an error"
    group.addoption(
        "--bindcheck-leaks", action="store_true", default=False, help=text.capitalize()
    )
    parser.addini("bindcheck_leaks", f"{text} (bool)", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch; `-p no:bindcheck` leaves all of this out."""
    config.pluginmanager.register(_Plugin(config), "bindcheck-run")


class _Plugin:
    """The hooks of one run."""

    def __init__(self, config: pytest.Config) -> None:
        chosen = config.getoption("bindcheck_leaks")
        self._leaks = bool(chosen or config.getini("bindcheck_leaks"))
        self._workers = _Workers(getattr(config, "workerinput", None))
        self._binds = _Binds(config.rootpath, self._workers)
        self._explainer = _Explainer(self._binds, self._workers)
        self._fixtures: dict[pytest.FixtureDef[Any], _Life] = {}
        """Those that outlive a test and are not finished."""
        self._over: list[_Life] = []
        _listening.append(self._binds)
        if not _hooks:  # it cannot be taken away again
            _hooks.append(_audit)
            with contextlib.suppress(Exception):  # another hook may refuse it
                sys.addaudithook(_audit)

    def pytest_unconfigure(self) -> None:
        """Stop watching."""
        _listening.remove(self._binds)
        self._workers.close()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist where it may read of the others."""
        node.workerinput["bindcheck_folder"] = str(self._workers.folder())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """From here on sockets are the test's."""
        self._binds.life, self._binds.who = _Life(), f"in {item.nodeid}"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Until it is set up they are a fixture's."""
        binds = self._binds
        before = binds.life, binds.who
        life = None
        name = f"in the fixture {_fixture_name(fixturedef)}"
        if fixturedef.scope == "function":
            binds.who = f"{name} of {request.node.nodeid}"
        else:
            binds.who = f"{name} ({fixturedef.scope} scope)"
            binds.life = self._fixtures[fixturedef] = life = _Life()
        try:
            return (yield)
        except BaseException:
            __tracebackhide__ = True
            if life is not None:
                life.excused = True
            raise
        finally:
            binds.life, binds.who = before

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """The sockets of a fixture should be closed now; the next teardown looks."""
        life = self._fixtures.pop(fixturedef, None)
        if life is not None:
            self._over.append(life)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """Blame the test for what it left open."""
        life = self._binds.life
        try:
            result = yield
        except BaseException:
            __tracebackhide__ = True  # of what fails here, not of pytest.fail() below
            raise
        finally:
            self._binds.life, self._binds.who = None, "outside of the tests"
            if life is not None:
                self._over.append(life)
            over, self._over = self._over, []
        left = self._left_open(over) if self._leaks else []
        if left:
            pytest.fail("\n".join(map(self._blame, left)), pytrace=False)
        return result

    def _left_open(self, over: Iterable[_Life]) -> list[_Bind]:
        is_left = self._binds.is_left
        binds = [one for life in over if not life.excused for one in life.binds]
        if not any(map(is_left, binds)):
            return []
        gc.collect()  # what only a cycle keeps is as good as closed
        left = [one for one in binds if is_left(one)]
        for fixture, life in self._fixtures.items() if left else ():
            kept = _reachable(fixture.cached_result)
            life.binds += (one for one in left if id(one.socket()) in kept)
            left = [one for one in left if id(one.socket()) not in kept]
        return left

    def _blame(self, one: _Bind) -> str:
        place = one.place()
        name = _label(place) if place else "a socket"
        return f"bindcheck: {name} was left open, bound {self._binds.where(one)}"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add the diagnosis to a phase that failed."""
        report = yield
        if call.excinfo is not None:
            if self._binds.life is not None:
                self._binds.life.excused = True
            if report.failed:
                self._explain(report, call.excinfo.value)
        return report

    def pytest_exception_interact(
        self,
        call: pytest.CallInfo[Any],
        report: pytest.TestReport | pytest.CollectReport,
    ) -> None:
        """Add it to a file that cannot be imported for want of a port."""
        if isinstance(report, pytest.CollectReport) and call.excinfo is not None:
            self._explain(report, call.excinfo.value)

    def _explain(
        self, report: pytest.TestReport | pytest.CollectReport, error: BaseException
    ) -> None:
        with contextlib.suppress(Exception):  # the run matters more
            text = "\n".join(self._explainer.texts(error))
            # In the traceback's text also JUnit XML has it.
            add = getattr(report.longrepr, "addsection", None)
            if text and add is not None:
                add(_TITLE, text)
            elif text:
                report.sections.append((_TITLE, text))


def _place(sock: socket.socket, address: Any) -> Place | None:
    """An address of a socket; None where it is not bound there, or has no port."""
    import socket

    if sock.family in (socket.AF_INET, socket.AF_INET6):
        six = sock.family == socket.AF_INET6
        names = {"": "::", "localhost": "::1"} if six else _NAMES
        host = os.fsdecode(address[0])
        host = names.get(host, host)
        kind = "udp" if sock.type == socket.SOCK_DGRAM else "tcp"
        kind = {132: "sctp", 136: "udplite"}.get(sock.proto, kind)
        return (kind, host, address[1]) if address[1] else None
    if sock.family == getattr(socket, "AF_UNIX", None) and address:
        return ("unix", os.fsdecode(address).replace("\0", "@", 1), 0)
    return None


def _overlap(one: Place, other: Place) -> bool:
    if (one[0], one[2]) != (other[0], other[2]):
        return False
    hosts = {one[1], other[1]}
    if "0.0.0.0" in hosts:  # noqa: S104
        return not any(":" in host for host in hosts - {"::"})
    return len(hosts) == 1 or "::" in hosts


def _label(place: Place) -> str:
    kind, host, port = place
    if kind == "unix":
        return f"unix:{host}"
    return f"[{host}]:{port}/{kind}" if ":" in host else f"{host}:{port}/{kind}"


def _inode(fd: int) -> int | None:
    """The number of an open socket; None where the system has none, or it is closed."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.fstat(fd).st_ino
    return None


def _calling_line() -> tuple[str, int]:
    """The innermost file and line of the project, else of what it has installed."""
    installed = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _PYTEST not in frame.f_code.co_filename:
        spot = name, _ = frame.f_code.co_filename, frame.f_lineno
        if any(folder in name for folder in _INSTALLED):
            if not name.startswith(_OWN):
                installed = installed or spot
        elif not name.startswith((_STDLIB, "<frozen", *_OWN)):
            return spot
        frame = frame.f_back
    return installed or ("a thread of the standard library", 0)


def _fixture_name(fixturedef: pytest.FixtureDef[Any]) -> str:
    """The name as it was written: of setup_class and its like pytest makes another."""
    name, made, _ = fixturedef.argname.partition("_fixture_")
    return name.split("_", 2)[-1] if made and name.startswith("_") else repr(name)


def _system_errors(error: BaseException) -> Iterator[OSError]:
    """What may be a bind error in an exception, its members and what it came from."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno and one.filename is None:
            yield one
        if isinstance(one, BaseExceptionGroup):
            todo += reversed(one.exceptions)
        todo += (by for by in (one.__context__, one.__cause__) if by is not None)


def _reachable(root: object) -> set[int]:
    """The ids of what an object refers to, but not by way of modules and classes."""
    todo, seen = [root], set[int]()
    while todo and len(seen) < _MOST_OBJECTS:
        one = todo.pop()
        maker = type(one).__module__.partition(".")[0]
        passed_over = isinstance(one, (type, ModuleType, FrameType, GeneratorType))
        if one is None or id(one) in seen or passed_over or maker == "_pytest":
            continue
        seen.add(id(one))
        if isinstance(one, FunctionType):
            todo += one.__closure__ or ()
        else:
            todo += gc.get_referents(one)
    return seen
