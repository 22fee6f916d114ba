"""Python servers that are started twice on the same port, with the lines of docs/recipes.

The first is left running; what the second says must name the process that has the port,
and ending that one must free it. The lines are read out of the pages, with another port.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import time
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import bindcheck
from tests.support import in_child, needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support import Holder

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    needs("socket tables"),
    pytest.mark.usefixtures("network"),
]

LOOPBACK = "127.0.0.1"
RECIPES = Path(__file__).parent.parent / "docs" / "recipes"
BLOCK = re.compile(
    r"<!-- (file|start)(?:: (\S+))? -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
ASGI = "async def app(scope, receive, send):\n    pass\n"
WSGI = "def app(environ, start_response):\n    return []\n"
# What the user has already; the lines of a recipe are put at its top.
APPLICATIONS = {
    "uvicorn": {"main.py": ASGI},
    "hypercorn": {"main.py": ASGI},
    "index": {"main.py": ASGI},
    "gunicorn": {"main.py": WSGI},
}
# The page, the start of it, the package that it needs.
STARTS = [
    ("uvicorn", "module", "uvicorn"),
    ("uvicorn", "workers", "uvicorn"),
    ("uvicorn", "python", "uvicorn"),
    ("hypercorn", "command", "hypercorn"),
    ("hypercorn", "python", "hypercorn"),
    ("gunicorn", "", "gunicorn"),
    ("flask", "python", "flask"),
    ("flask", "command", "flask"),
    ("flask", "debug", "flask"),
    ("django", "reload", "django"),
    ("django", "noreload", "django"),
    ("aiohttp", "run_app", "aiohttp"),
    ("aiohttp", "runner", "aiohttp"),
    ("tornado", "", "tornado"),
    ("http-server", "command", ""),
    ("http-server", "python", ""),
    ("index", "", "hypercorn"),
]


def has_package(name: str) -> bool:
    return not name or importlib.util.find_spec(name) is not None


def needs_package(name: str) -> pytest.MarkDecorator:
    """Skip a test, visibly, where a package is not installed."""
    return pytest.mark.skipif(not has_package(name), reason=f"needs {name}")


def blocks(page: str, kind: str) -> dict[str, str]:
    """The marked blocks of a recipe, by their names."""
    text = (RECIPES / f"{page}.md").read_text("utf-8")
    return {name: lines for what, name, lines in BLOCK.findall(text) if what == kind}


def free_port() -> int:
    """A port that the kernel chose a moment ago, in a network without others."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


def set_up(page: str, folder: Path, port: int) -> None:
    """Write the files of a recipe as its reader does."""
    environment = {**os.environ, "PATH": PATH}
    if page == "django":
        command = [sys.executable, "-m", "django", "startproject", "shop", "."]
        subprocess.run(command, cwd=folder, env=environment, check=True, timeout=60)
    for name, text in APPLICATIONS.get(page, {}).items():
        (folder / name).write_text(text)
    for name, text in blocks(page, "file").items():
        lines = text.replace("8000", str(port))
        file = folder / name
        if name == "manage.py":
            last = "    execute_from_command_line(sys.argv)\n"
            whole = file.read_text("utf-8")
            assert whole.count(last) == 1
            file.write_text(whole.replace(last, lines + last))
        else:
            there = file.read_text("utf-8") if file.exists() else ""
            file.write_text(lines + there)


# Commands of packages are beside the interpreter; `python` is this one.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def start_of(page: str, start: str, port: int) -> list[str]:
    """The command line of a recipe."""
    (line,) = blocks(page, "start")[start].splitlines()
    first, *words = line.replace("8000", str(port)).split()
    beside = Path(sys.executable).parent / first
    return [sys.executable if first == "python" else str(beside), *words]


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server; all that it has started ends with it."""
    with (folder / "output").open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def is_served(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((LOOPBACK, port)) == 0


def can_be_bound(port: int) -> bool:
    """Whether a server that sets SO_REUSEADDR, as most do, can have the port."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def holders(server: subprocess.Popen[bytes], port: int) -> list[int]:
    """The processes of a server that have the listening socket, parents first."""
    first = psutil.Process(server.pid)
    return [
        one.pid
        for one in (first, *first.children(recursive=True))
        if any(
            row.status == psutil.CONN_LISTEN and row.laddr.port == port
            for row in one.net_connections("tcp")
        )
    ]


def named(said: str, port: int) -> int:
    """The pid in the first line of the diagnosis, which is there once."""
    assert said.count("cannot be bound") == 1, said
    found = re.search(
        rf"^bindcheck: {re.escape(LOOPBACK)}:{port}/tcp cannot be bound: "
        r"another copy of this program \(pid (\d+)( and \d+ more)?\)\s+listens\s+there$",
        said,
        re.MULTILINE,
    )
    assert found is not None, said
    assert f'bind: 98 EADDRINUSE "{os.strerror(98)}"' in said
    assert f"kill {found[1]}\n" in said
    return int(found[1])


@pytest.mark.parametrize(
    ("page", "start"),
    [
        pytest.param(page, start, marks=needs_package(package), id=f"{page}-{start}")
        for page, start, package in STARTS
    ],
)
def test_second_start_names_the_first(tmp_path: Path, page: str, start: str) -> None:
    port = free_port()
    set_up(page, tmp_path, port)
    command = start_of(page, start, port)
    with running(command, tmp_path) as first:

        def is_ready() -> bool:
            text = (tmp_path / "output").read_text("utf-8", "replace")
            assert first.poll() is None, text
            return is_served(port)

        wait_until(is_ready, "nobody serves the port")
        main, *_ = holders(first, port)
        second = subprocess.run(
            command,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
            timeout=60,
            check=False,
        )
        said = second.stdout.decode()
        assert second.returncode != 0
        assert named(said, port) == main
        # The remedy is one: nobody else keeps the port, or takes it again.
        os.kill(main, signal.SIGTERM)
        wait_until(lambda: first.poll() is not None, "the server goes on")
        wait_until(lambda: can_be_bound(port), "somebody has the port")


def test_every_start_is_tested() -> None:
    pages = {file.stem for file in RECIPES.glob("*.md")}
    there = {(page, start) for page in pages for start in blocks(page, "start")}
    assert there == {(page, start) for page, start, _ in STARTS}


def test_python_in_the_pages_is_python() -> None:
    python = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for page in RECIPES.glob("*.md"):
        for text in python.findall(page.read_text("utf-8")):
            body = text if not text.startswith(" ") else f"if True:\n{text}"
            compile(body, page.name, "exec")


def notes_of(caught: pytest.ExceptionInfo[OSError]) -> str:
    """The one note of an error, or of the one that it took the place of."""
    error = caught.value.__cause__ or caught.value
    (note,) = error.__notes__
    return str(note)


def serve_datagrams(port: int) -> Callable[[], Any]:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        async with bindcheck.explained():
            await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=(LOOPBACK, port)
            )

    return serve


def serve_streams(port: int) -> Callable[[], Any]:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        async with bindcheck.explained():
            await loop.create_server(asyncio.Protocol, LOOPBACK, port)

    return serve


LOOPS = ["asyncio", pytest.param("uvloop", marks=needs_package("uvloop"))]


def run_in_loop(name: str, serve: Callable[[], Any]) -> None:
    factory = importlib.import_module(name).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())


# uvloop does not close what it could not bind.
@pytest.mark.filterwarnings("ignore:unclosed resource <UDPTransport:ResourceWarning")
@pytest.mark.parametrize("loop", LOOPS)
def test_asyncio_datagrams(holder: Holder, loop: str) -> None:
    port = holder.bind(kind="udp")
    with pytest.raises(OSError, match=r"bind|use") as caught:
        run_in_loop(loop, serve_datagrams(port))
    note = notes_of(caught)
    assert note.startswith(f"bindcheck: {LOOPBACK}:{port}/udp cannot be bound: python")
    assert f"(pid {holder.pid})" in note


@pytest.mark.parametrize("loop", LOOPS)
def test_asyncio_streams(holder: Holder, loop: str) -> None:
    port = holder.bind(listen=True)
    with pytest.raises(OSError, match="attempting to bind") as caught:
        run_in_loop(loop, serve_streams(port))
    note = notes_of(caught)
    assert note.startswith(f"bindcheck: {LOOPBACK}:{port}/tcp cannot be bound: python")
    assert f"(pid {holder.pid}) listens" in note


def test_manager_of_multiprocessing(holder: Holder) -> None:
    port = holder.bind(listen=True)
    manager = BaseManager(address=(LOOPBACK, port), authkey=b"secret")
    with pytest.raises(OSError, match="in use") as caught, bindcheck.explained():
        manager.get_server()
    assert f"{LOOPBACK}:{port}/tcp cannot be bound: python" in notes_of(caught)
    assert f"(pid {holder.pid}) listens" in notes_of(caught)


def note_of_bind(port: int) -> str:
    with (
        socket.socket() as one,
        pytest.raises(OSError, match="in use") as caught,
        bindcheck.explained(),
    ):
        one.bind((LOOPBACK, port))
    return notes_of(caught)


def test_forked_worker_names_its_parent() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        note = in_child(server.close, lambda: note_of_bind(port))
    assert f"another copy of this program (pid {os.getpid()}) listens" in note
    assert f"kill {os.getpid()}\n" in note


def test_forked_worker_that_has_the_socket_as_well() -> None:
    """It is named itself, and so is its parent: closing one of the two helps nobody."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port, fd = server.getsockname()[1], server.fileno()
        child, note = in_child(lambda: None, lambda: (os.getpid(), note_of_bind(port)))
    assert f"this process (pid {child}, fd {fd}) and 1 more listens" in note
    assert f"pid {os.getpid()} of " in note
    assert "kill" not in note
    words = " ".join(note.split())
    assert "the other processes that share it must close it as well" in words


THREADED = """
import socketserver, sys, threading
import bindcheck

def serve():
    with bindcheck.explained():
        address = ("127.0.0.1", int(sys.argv[1]))
        socketserver.ThreadingTCPServer(address, socketserver.BaseRequestHandler)

thread = threading.Thread(target=serve)
thread.start()
thread.join()
"""


def test_server_in_a_thread(holder: Holder) -> None:
    """What threading.excepthook prints has the note."""
    port = holder.bind(listen=True)
    command = [sys.executable, "-c", THREADED, str(port)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.startswith("Exception in thread ")
    head = f"OSError: [Errno 98] {os.strerror(98)}\nbindcheck: {LOOPBACK}:{port}/tcp cannot be"
    assert head in done.stderr
    assert f"(pid {holder.pid}) listens" in done.stderr


class Server(socketserver.UDPServer):
    pass


def test_datagrams_of_socketserver(holder: Holder) -> None:
    port = holder.bind(kind="udp")
    with pytest.raises(OSError, match="in use") as caught, bindcheck.explained():
        Server((LOOPBACK, port), socketserver.BaseRequestHandler)
    assert f"{LOOPBACK}:{port}/udp cannot be bound: python" in notes_of(caught)
    assert f"(pid {holder.pid}) has" in notes_of(caught)
