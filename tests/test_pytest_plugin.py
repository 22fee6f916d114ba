"""The pytest plugin, in runs of pytest with real sockets."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.support import needs

if TYPE_CHECKING:
    from tests.support import Holder

pytest_plugins = ("pytester",)

TITLE = "bindcheck"
# Under load the two seconds that a diagnosis may take are few.
PATIENT = """
import sys

def pytest_configure():
    if plugin := sys.modules.get("pytest_bindcheck"):
        plugin._SECONDS = 60
"""
# A test file finds a port there that somebody has.
TAKEN = "import os, pytest, socket\nADDRESS = '127.0.0.1', int(os.environ['TAKEN'])\n"
FIXTURE = """
import pytest, socket

@pytest.fixture(scope="module")
def taken():
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()
"""
REFUSED = """
def test_refused(taken):
    with socket.socket() as one:
        one.bind(taken)
"""


@pytest.fixture
def taken(holder: Holder, monkeypatch: pytest.MonkeyPatch) -> str:
    """A port that another process listens on, and the words that name the process."""
    monkeypatch.setenv("TAKEN", str(holder.bind(listen=True)))
    return f"(pid {holder.pid}) listens there"


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """In a process of its own: what it imports and leaves open is its own."""
    pytester.makepyfile(patient=PATIENT)
    # Hypothesis takes most of the time to load.
    plugins = ("no:cacheprovider", "no:hypothesispytest", "patient")
    options = [word for one in plugins for word in ("-p", one)]
    return pytester.runpytest_subprocess(*options, *arguments, timeout=100)


def sections(result: pytest.RunResult) -> list[str]:
    """What the plugin added to the output."""
    found: list[str] = []
    inside = False
    for line in result.outlines:
        if line.startswith(("---", "===", "___", "!!!")):
            inside = line.strip("- ") == TITLE
            found += [""] if inside else []
        elif inside:
            found[-1] += f"{line}\n"
    return found


def errors(result: pytest.RunResult) -> list[str]:
    """The lines that blame a test for an open socket."""
    return [line for line in result.outlines if line.startswith("bindcheck: ")]


@needs("socket tables")
def test_each_way_to_bind_names_the_process(
    pytester: pytest.Pytester, taken: str
) -> None:
    pytester.makepyfile(
        TAKEN
        + """
import asyncio, socketserver

def address():
    return ADDRESS

def test_raw():
    with socket.socket() as one:
        one.bind(ADDRESS)

def test_address_of_a_call():
    with socket.socket() as one:
        one.bind(address())

def test_socketserver():
    socketserver.TCPServer(ADDRESS, None)

def test_asyncio():
    asyncio.run(asyncio.wait_for(start(), 60))

async def start():
    await asyncio.start_server(lambda *_: None, *ADDRESS)
"""
    )
    result = run(pytester)
    result.assert_outcomes(failed=4)
    found = sections(result)
    assert len(found) == 4
    for text in found:
        assert text.startswith("bindcheck: 127.0.0.1:")
        assert text.count("cannot be bound") == 1
        assert taken in text


@needs("socket tables")
def test_setup_teardown_unittest_and_import(
    pytester: pytest.Pytester, taken: str
) -> None:
    pytester.makeconftest(
        TAKEN
        + """
@pytest.fixture(scope="module")
def early():
    socket.socket().bind(ADDRESS)

@pytest.fixture
def late():
    yield
    socket.socket().bind(ADDRESS)
"""
    )
    pytester.makepyfile(
        test_phases=TAKEN
        + """
import unittest

def test_setup(early): ...

def test_teardown(late): ...

class TestUnit(unittest.TestCase):
    def test_call(self):
        socket.socket().bind(ADDRESS)
""",
        test_import=TAKEN + "socket.socket().bind(ADDRESS)",
    )
    result = run(pytester, "--continue-on-collection-errors")
    result.assert_outcomes(failed=1, passed=1, errors=3)
    found = sections(result)
    assert len(found) == 4
    assert all(taken in text for text in found)
    result.stdout.no_fnmatch_line("*pytest_bindcheck*")


@needs("socket tables")
def test_error_inside_of_another(pytester: pytest.Pytester, taken: str) -> None:
    pytester.makepyfile(
        TAKEN
        + """
def bind():
    with socket.socket() as one:
        one.bind(ADDRESS)

def test_group():
    members = [ValueError("other")]
    try:
        bind()
    except OSError as error:
        members.append(error)
    raise ExceptionGroup("several", members)

def test_cause():
    try:
        bind()
    except OSError as error:
        raise RuntimeError("not started") from error

def test_same_error_twice():
    try:
        bind()
    except OSError as error:
        raise OSError(error.errno, "not started") from error

def test_exit():
    try:
        bind()
    except OSError:
        raise SystemExit(3)
"""
    )
    result = run(pytester)
    result.assert_outcomes(failed=4)
    found = sections(result)
    assert [text.count("cannot be bound") for text in found] == [1, 1, 1, 1]
    assert all(taken in text for text in found)
    for text in ("*RuntimeError: not started", "*ValueError: other", "*SystemExit: 3"):
        result.stdout.fnmatch_lines(text)


@needs("socket tables")
def test_notes_of_the_error_stay_and_are_not_repeated(
    pytester: pytest.Pytester, taken: str
) -> None:
    pytester.makepyfile(
        TAKEN
        + """
import bindcheck

def test_own_note():
    with socket.socket() as one:
        try:
            one.bind(ADDRESS)
        except OSError as error:
            error.add_note("a note of the program")
            raise

def test_explained():
    with socket.socket() as one, bindcheck.explained():
        one.bind(ADDRESS)

def test_explained_and_raised_from():
    try:
        with socket.socket() as one, bindcheck.explained():
            one.bind(ADDRESS)
    except OSError as error:
        raise OSError(error.errno, "not started") from error

def test_bindcheck_bind():
    bindcheck.bind(ADDRESS)
"""
    )
    result = run(pytester)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines("*a note of the program")
    (text,) = sections(result)
    assert taken in text
    notes = [
        one for one in result.outlines if re.match(r"E +bindcheck: .* cannot", one)
    ]
    assert len(notes) == 3


@needs("socket tables")
def test_holder_of_this_run_is_named(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it=FIXTURE
        + REFUSED
        + """
kept = []

def test_keeps():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_finds_it_taken():
    socket.create_server(kept[0].getsockname())

class TestClass:
    @classmethod
    def setup_class(cls):
        cls.kept = socket.create_server(("127.0.0.1", 0))

    def test_class(self):
        with self.kept, socket.socket() as one:
            one.bind(self.kept.getsockname())
"""
    )
    result = run(pytester)
    result.assert_outcomes(failed=3, passed=1)
    first, second, third = sections(result)
    assert (
        "  in this test run\n    bound at test_it.py:5, in the fixture 'taken' "
        in first
    )
    assert "(module scope)\n" in first
    assert "    bound at test_it.py:15, in test_it.py::test_keeps\n" in second
    # It is closed when the test is over, and yet known.
    assert "  in this test run, when bind was called\n    127.0.0.1:" in third
    assert "was bound at test_it.py:23, in the fixture setup_class " in third


@needs("socket tables")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such options")
def test_holder_that_only_a_child_has(pytester: pytest.Pytester) -> None:
    """The descriptor was inherited, and the test that made it is over."""
    pytester.makepyfile(
        test_it="""
import socket, subprocess, sys
kept = []

def test_starts():
    with socket.create_server(("127.0.0.1", 0)) as one:
        program = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        child = subprocess.Popen(program, stdin=subprocess.PIPE, pass_fds=[one.fileno()])
        kept.append((child, one.getsockname()))

def test_finds_it_taken():
    with socket.socket() as one:
        one.bind(kept[0][1])

def test_ends():
    kept[0][0].communicate(timeout=60)
"""
    )
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=1)
    (text,) = sections(result)
    assert "this process" not in text.splitlines()[0]
    assert "    bound at test_it.py:5, in test_it.py::test_starts\n" in text


@pytest.mark.usefixtures("how_told")
def test_holder_is_known_when_it_is_gone(pytester: pytest.Pytester) -> None:
    """Both sockets are closed before a test has failed: the calls were noted."""
    pytester.makepyfile(
        test_it="""
import socket

def test_it():
    with socket.create_server(("127.0.0.1", 0)) as one:
        with socket.create_server(one.getsockname()):
            pass
"""
    )
    result = run(pytester)
    (text,) = sections(result)
    assert "can be bound\n" in text
    assert "was bound at test_it.py:4, in test_it.py::test_it\n" in text


@needs("socket tables")
def test_other_ways_to_report(pytester: pytest.Pytester, taken: str) -> None:
    pytester.makepyfile(TAKEN + "def test_it():\n    socket.socket().bind(ADDRESS)")
    assert taken in sections(run(pytester, "--show-capture=no"))[0]
    result = run(pytester, "--tb=no", "--junit-xml=junit.xml")
    assert "listens there" not in str(result.stdout)
    (failure,) = ET.parse(pytester.path / "junit.xml").iter("failure")  # noqa: S314
    assert failure.text is not None
    assert taken in failure.text
    result = run(pytester, "-p", "no:terminal", "--junit-xml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert taken in (pytester.path / "junit.xml").read_text("utf-8")


SAYS_WHAT_IS_IMPORTED = """
import sys

def pytest_unconfigure():
    found = [one for one in sys.modules if one.split(".")[0] == "bindcheck"]
    print("imported:", found)
"""


def test_nothing_is_imported_without_a_bind_error(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(SAYS_WHAT_IS_IMPORTED)
    pytester.makepyfile(
        """
import pytest, socket

def test_binds():
    with socket.create_server(("127.0.0.1", 0)) as one:
        with pytest.raises(OSError):
            socket.create_server(one.getsockname())

def test_fails():
    open("/nowhere/at/all")
"""
    )
    result = run(pytester, "-s", "--bindcheck-leaks")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines("imported: []")
    assert sections(result) == []


def test_errors_of_something_else(pytester: pytest.Pytester) -> None:
    """A refused connection, and a skip and an expected failure because of a port."""
    pytester.makepyfile(
        FIXTURE
        + """
def bind(address):
    with socket.socket() as one:
        one.bind(address)

def test_connection():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        socket.create_connection(one.getsockname())

def test_skip(taken):
    try:
        bind(taken)
    except OSError:
        pytest.skip("no port")

@pytest.mark.xfail
def test_expected(taken):
    bind(taken)
"""
    )
    result = run(pytester, "--xfail-tb")
    result.assert_outcomes(failed=1, skipped=1, xfailed=1)
    assert sections(result) == []


def test_left_out(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(SAYS_WHAT_IS_IMPORTED)
    pytester.makepyfile(FIXTURE + REFUSED)
    result = run(pytester, "-p", "no:bindcheck", "-s")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("imported: []")
    assert sections(result) == []
    result = run(pytester, "-p", "no:bindcheck", "--bindcheck-leaks")
    result.stderr.fnmatch_lines("*unrecognized arguments: --bindcheck-leaks")


def test_help(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--help")
    result.stdout.fnmatch_lines(["bindcheck:*", "*--bindcheck-leaks*"])
    result.stdout.fnmatch_lines("*bindcheck_leaks (bool)*")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("bindcheck.explaining.explain = lambda *a, **k: 1 / 0", "not diagnosed: div"),
        ("bindcheck.explaining.is_bind_error = lambda error: 1 / 0", None),
        (
            """
bindcheck.own_failure.diagnose_failure = lambda *_: threading.Event().wait()
def pytest_sessionstart():
    pytest_bindcheck._SECONDS = 0.01
""",
            "not diagnosed: the diagnosis was not done in 0.0",
        ),
        ("pytest_bindcheck._place = lambda *_: 1 / 0", "cannot be bound"),
    ],
)
def test_trouble_of_its_own_changes_nothing(
    pytester: pytest.Pytester, broken: str, said: str | None
) -> None:
    modules = "bindcheck.explaining, bindcheck.own_failure, pytest_bindcheck, threading"
    pytester.makeconftest(f"import {modules}\n{broken}")
    pytester.makepyfile(FIXTURE + REFUSED)
    result = run(pytester, "--bindcheck-leaks")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("E *OSError: *")
    found = sections(result)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_a_run_inside_of_a_test(pytester: pytest.Pytester) -> None:
    """It blames its own tests, and the outer run goes on as before."""
    inner = pytester.makepyfile(
        inner="""
import socket
kept = []
def test_inner():
    kept.append(socket.create_server(("127.0.0.1", 0)))
"""
    )
    pytester.makepyfile(
        test_outer=f"""
import pytest, socket

def test_runs():
    arguments = ["-p", "no:cacheprovider", "--bindcheck-leaks", {str(inner)!r}]
    assert pytest.main(arguments) == pytest.ExitCode.TESTS_FAILED

def test_after():
    with socket.create_server(("127.0.0.1", 0)) as one:
        socket.create_server(one.getsockname())
"""
    )
    result = run(pytester, "--bindcheck-leaks", "-s", "test_outer.py")
    assert len(errors(result)) == 2  # that of test_inner, and the section
    result.stdout.fnmatch_lines(
        "bindcheck: 127.0.0.1:*, bound at inner.py:4, in *_inner"
    )
    assert "in test_outer.py::test_after\n" in sections(result)[-1]


LEAKS = """
import gc, os, pytest, socket, threading

kept = []

def server():
    return socket.create_server(("127.0.0.1", 0))

def test_tcp():
    kept.append(server())

def test_udp():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    kept.append(one)

def test_thread():
    one = server()
    threading.Thread(target=lambda: kept.append(one.accept()), daemon=True).start()

@pytest.fixture
def small():
    kept.append(server())

def test_of_a_fixture(small): ...

@pytest.fixture
def given():
    return server()

def test_given(given): ...

@pytest.fixture(scope="class")
def large():
    kept.append(server())

class TestClass:
    def test_first(self, large): ...
    def test_second(self): ...

def test_bound_at_the_second_try():
    with server() as one:
        other = socket.socket()
        with pytest.raises(OSError):
            other.bind(one.getsockname())
        other.bind(("127.0.0.1", 0))
        kept.append(other)

def test_bound_twice():
    kept.append(server())
    with pytest.raises(OSError):
        kept[-1].bind(("127.0.0.1", 0))
"""
BLAMED = [
    ("test_tcp", "tcp was left open, bound at test_it.py:6, in test_it.py::test_tcp"),
    ("test_udp", "udp was left open, bound at test_it.py:13, in test_it.py::test_udp"),
    ("test_thread", "tcp was left open, bound at test_it.py:6, in test_it.py::test_th"),
    (
        "test_of_a_fixture",
        "bound at test_it.py:6, in the fixture 'small' of test_it.py::test_of_a_fixture",
    ),
    (
        "test_given",
        "bound at test_it.py:6, in the fixture 'given' of test_it.py::test_g",
    ),
    (
        "TestClass.test_second",
        "bound at test_it.py:6, in the fixture 'large' (class scope)",
    ),
    ("test_bound_at_the_second_try", "bound at test_it.py:45, in test_it.py::test_bo"),
    ("test_bound_twice", "bound at test_it.py:6, in test_it.py::test_bound_twice"),
]


@pytest.fixture(params=[True, False], ids=["numbers", "objects"])
def how_told(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> None:
    """By what sockets are told: their numbers on Linux, the objects elsewhere."""
    if not request.param:
        pytester.makeconftest(
            "import pytest_bindcheck\npytest_bindcheck._inode = lambda fd: None"
        )


@pytest.mark.usefixtures("how_told")
def test_leaks_are_errors_of_the_teardown(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=LEAKS)
    result = run(pytester, "--bindcheck-leaks")
    result.assert_outcomes(passed=9, errors=len(BLAMED))
    told = errors(result)
    assert len(told) == len(BLAMED)
    for (name, text), line in zip(BLAMED, told, strict=True):
        result.stdout.fnmatch_lines(f"*ERROR at teardown of {name} *")
        assert text in line
    result.stdout.no_fnmatch_line("*[Tt]raceback*")


def test_leaks_are_not_looked_for_unasked(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=LEAKS)
    run(pytester).assert_outcomes(passed=9)
    pytester.makeini("[pytest]\nbindcheck_leaks = true")
    run(pytester).assert_outcomes(passed=9, errors=len(BLAMED))


@pytest.mark.usefixtures("how_told")
def test_what_is_no_leak(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import asyncio, os, pytest, socket

before = socket.create_server(("127.0.0.1", 0))
kept = []

def server():
    return socket.create_server(("127.0.0.1", 0))

class Starter:
    def start(self):
        self.server = server()

@pytest.fixture(scope="session")
def starter():
    one = Starter()
    yield one
    one.server.close()

@pytest.fixture(scope="module")
def adopt():
    yield (mine := []).append
    for one in mine:
        one.close()

def test_closed():
    with server():
        pass

def test_bound_before():
    kept.append(before)

def test_session_fixture(starter):
    starter.start()

def test_adopted(adopt):
    adopt(server())

def test_closed_by_its_descriptor():
    os.close(server().detach())

def test_cycle():
    one = Starter()
    one.start()
    one.self = one

def test_not_bound():
    kept.append(socket.socket())

def test_refused():
    kept.append(socket.socket())
    with pytest.raises(OSError):
        kept[-1].bind(before.getsockname())

def test_asyncio():
    async def serve():
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0):
            pass
    asyncio.run(serve())

@pytest.fixture(scope="module")
def broken():
    kept.append(server())
    assert not kept

def test_broken(broken): ...

def test_failed():
    one = server()
    assert not one

def test_skipped():
    one = server()
    pytest.skip()
"""
    )
    result = run(pytester, "--bindcheck-leaks")
    result.assert_outcomes(passed=9, failed=1, skipped=1, errors=1)


def test_adopted_and_left_open_by_the_fixture(pytester: pytest.Pytester) -> None:
    """What a test gives to a fixture is judged when that is finished."""
    pytester.makepyfile(
        test_it="""
import pytest, socket

kept = []

@pytest.fixture(scope="session")
def adopt():
    yield kept.append

def test_gives(adopt):
    adopt(socket.create_server(("127.0.0.1", 0)))

def test_last(): ...
"""
    )
    result = run(pytester, "--bindcheck-leaks")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines("*ERROR at teardown of test_last *")
    assert "bound at test_it.py:10, in test_it.py::test_gives" in errors(result)[0]


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors have numbers on Linux")
def test_detached_and_left_open(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
import socket

def test_detached():
    socket.create_server(("127.0.0.1", 0)).detach()

def test_unix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = socket.socket(socket.AF_UNIX)
    one.bind("app.sock")
    one.detach()
"""
    )
    result = run(pytester, "--bindcheck-leaks")
    result.assert_outcomes(passed=2, errors=2)
    assert "tcp was left open, bound at test_it.py:4" in errors(result)[0]
    assert errors(result)[1].startswith("bindcheck: unix:app.sock was left open")


def test_line_is_the_projects_where_it_can_be(pytester: pytest.Pytester) -> None:
    """Of an installed package it is told where nothing of the project called it."""
    folder = pytester.mkdir("site-packages")
    (folder / "installed.py").write_text(
        """
import pytest, socket
kept = []
def serve():
    kept.append(socket.create_server(("127.0.0.1", 0)))

@pytest.fixture
def served():
    serve()
""".lstrip()
    )
    pytester.makeini("[pytest]\npythonpath = site-packages")
    pytester.makeconftest("from installed import served")
    pytester.makepyfile(
        test_it="""
import installed

def test_calls():
    installed.serve()

def test_asks(served): ...
"""
    )
    result = run(pytester, "--bindcheck-leaks")
    first, second = errors(result)
    assert "bound at test_it.py:4, in test_it.py::test_calls" in first
    named = os.path.join("site-packages", "installed.py")  # noqa: PTH118
    assert f"bound at {named}:4, in the fixture 'served' of test_it.py" in second


def in_two_workers(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    pytest.importorskip("xdist", reason="needs pytest-xdist")
    return run(pytester, "-n2", *arguments)


def test_leak_in_a_worker(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(pytester.mkdir("temporary")))
    pytester.makepyfile(
        test_it="""
import pytest, socket

kept = []

@pytest.fixture(scope="session")
def server():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_it(server): ...
"""
    )
    result = in_two_workers(pytester, "--bindcheck-leaks")
    result.assert_outcomes(passed=1, errors=1)
    assert (
        "bound at test_it.py:7, in the fixture 'server' (session" in errors(result)[0]
    )
    assert list((pytester.path / "temporary").glob("bindcheck-*")) == []


# Each of two tests gets a worker; opening a pipe waits for the other side.
PIPES = """
import os, pathlib, pytest, socket

def meet(name, mode):
    with open(pathlib.Path(__file__).with_name(name), mode) as pipe:
        return pipe.read() if mode == "r" else None

def say(name, text):
    pathlib.Path(__file__).with_name(name).write_text(text)

def bind():
    with socket.socket() as one:
        one.bind(("127.0.0.1", int(meet("port", "r"))))
"""


@needs("socket tables")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_holder_in_another_worker(pytester: pytest.Pytester) -> None:
    os.mkfifo(pytester.path / "port")
    os.mkfifo(pytester.path / "over")
    pytester.makepyfile(
        test_it=PIPES
        + """
def test_holds(worker_id):
    with socket.create_server(("127.0.0.1", 0)) as one:
        say("worker", f"{worker_id} (pid {os.getpid()})")
        say("port", str(one.getsockname()[1]))
        meet("over", "r")

@pytest.fixture
def until_told():
    yield
    meet("over", "w")

def test_refused(until_told):
    bind()
"""
    )
    result = in_two_workers(pytester)
    result.assert_outcomes(passed=1, failed=1)
    (text,) = sections(result)
    worker = (pytester.path / "worker").read_text()
    assert "cannot be bound" in text
    assert f"kill {worker.split()[-1][:-1]}" not in text
    assert "let each worker bind a port of its own" in text
    assert "  in this test run\n" in text
    assert (
        f"    bound by {worker} at test_it.py:15, in test_it.py::test_holds\n" in text
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_holder_in_another_worker_is_gone(pytester: pytest.Pytester) -> None:
    for name in ("port", "refused", "closed"):
        os.mkfifo(pytester.path / name)
    pytester.makepyfile(
        test_it=PIPES
        + """
def test_holds(worker_id):
    with socket.create_server(("127.0.0.1", 0)) as one:
        address = one.getsockname()
    with socket.create_server(address):
        say("worker", f"{worker_id} (pid {os.getpid()})")
        say("port", str(address[1]))
        meet("refused", "r")
    meet("closed", "w")

def test_refused():
    try:
        bind()
    finally:
        meet("refused", "w")
        meet("closed", "r")
"""
    )
    result = in_two_workers(pytester)
    result.assert_outcomes(passed=1, failed=1)
    (text,) = sections(result)
    worker = (pytester.path / "worker").read_text()
    assert "can be bound" in text
    assert "  in this test run, when bind was called\n" in text
    assert f"    {worker} had called it for this port " in text
    assert " s before, at test_it.py:17, in test_it.py::test_holds\n" in text
