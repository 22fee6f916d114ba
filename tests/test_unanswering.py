"""File systems that do not answer, and processes that have something of them.

Whoever asks such a one waits in the kernel, often where not even SIGKILL helps. So each
program of these tests is started apart and given a time, and let go at its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bindcheck
from bindcheck.words import Verdict
from tests.support import NOBODY, Holder, as_user, needs
from tests.support.fuse import Stuck, stuck_file
from tests.support.terminal import BINDCHECK, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [needs("root", "FUSE"), pytest.mark.usefixtures("network")]
ENDS_WITHIN = 20.0


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[Stuck]:
    folder = tmp_path / "mount"
    folder.mkdir()
    with stuck_file(folder) as one:
        yield one


def asked(stuck: Stuck, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run bindcheck; it must end while the file system still says nothing."""
    process = subprocess.Popen(
        [*BINDCHECK, *arguments],
        env=environment({"COLUMNS": "400"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=ENDS_WITHIN)
    finally:
        was_mute = stuck.mute
        stuck.let_go()
        process.kill()
        process.communicate()
    assert was_mute
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def report(stuck: Stuck, *arguments: str) -> Any:
    done = asked(stuck, "--json", *arguments)
    assert done.stderr == ""
    return json.loads(done.stdout)


def owners(found: Any) -> list[Any]:
    return [
        process
        for blocker in found["results"][0]["blockers"]
        for process in blocker["owner"]["processes"]
    ]


class TestProcesses:
    """What belongs to a process can be on such a file system."""

    def test_open_file(self, stuck: Stuck, holder: Holder) -> None:
        port = holder.bind(listen=True)
        holder.run(f"kept['file'] = open({str(stuck.path)!r}, 'rb', 0)")
        stuck.mute = True
        found = report(stuck, f"127.0.0.1:{port}")
        assert [one["pid"] for one in owners(found)] == [holder.pid]
        assert owners(found)[0]["command"]

    def test_reader_of_it(self, stuck: Stuck, holder: Holder) -> None:
        """A thread waits for the file itself, which is no socket."""
        port = holder.bind(listen=True)
        holder.run(
            f"kept['file'] = open({str(stuck.path)!r}, 'rb', 0)\n"
            "import threading\n"
            "threading.Thread(target=kept['file'].read, daemon=True).start()"
        )
        assert stuck.waiting.acquire(timeout=ENDS_WITHIN)
        stuck.mute = True
        found = report(stuck, f"127.0.0.1:{port}")
        assert [one["pid"] for one in owners(found)] == [holder.pid]

    def test_epoll_that_is_locked(self, stuck: Stuck, holder: Holder) -> None:
        """One thread waits in an epoll, another adds the file to it: that asks the
        server, with the epoll's lock.
        """
        port = holder.bind(listen=True)
        holder.run(LOCKS_ITS_EPOLL.format(path=str(stuck.path)))
        stuck.mute = True
        holder.run("kept['ours'].send(b'x')")
        assert stuck.waiting.acquire(timeout=ENDS_WITHIN)
        found = report(stuck, f"127.0.0.1:{port}")
        assert [one["pid"] for one in owners(found)] == [holder.pid]
        assert owners(found)[0]["command"]

    def test_command_line_that_does_not_come(
        self, stuck: Stuck, holder: Holder
    ) -> None:
        """Its memory is locked: one thread reads a page that does not come, through
        /proc/self/mem, which keeps the lock; another wants to map more.
        """
        port = holder.bind(listen=True)
        with locked_memory(stuck, holder, ("127.0.0.1", port)):
            done = asked(stuck, "--json", f"127.0.0.1:{port}")
        found = json.loads(done.stdout)
        (process,) = owners(found)
        name = Path(f"/proc/{holder.pid}/comm").read_text("utf-8").rstrip()
        assert (process["pid"], process["name"]) == (holder.pid, name)
        assert process["command"] == []
        limits = [one["code"] for one in found["results"][0]["limits"]]
        assert "commands-unread" in limits
        assert found["results"][0]["causes"][0]["code"] == "listener"

    def test_command_line_that_is_not_needed(
        self, stuck: Stuck, make_holder: Callable[..., Holder]
    ) -> None:
        """The same of a listener on another address: it is not in the way."""
        ours, other = make_holder(), make_holder()
        port = ours.bind(listen=True)
        other.bind("127.0.0.2", port, listen=True)
        with locked_memory(stuck, other, ("127.0.0.2", port)):
            done = asked(stuck, "--json", f"127.0.0.1:{port}")
        found = json.loads(done.stdout)
        (process,) = owners(found)
        assert process["pid"] == ours.pid
        assert process["command"]
        limits = [one["code"] for one in found["results"][0]["limits"]]
        assert "commands-unread" not in limits

    def test_who_waits_for_it_can_be_interrupted(
        self, stuck: Stuck, holder: Holder
    ) -> None:
        port = holder.bind(listen=True)
        program = (
            "import bindcheck, bindcheck.holder_search as search\n"
            "search.PATIENCE_SECONDS = 1e6\n"
            "try:\n"
            f"    bindcheck.diagnose(('127.0.0.1', {port}))\n"
            "except KeyboardInterrupt:\n"
            "    print('interrupted')\n"
        )
        with locked_memory(stuck, holder, ("127.0.0.1", port)):
            asking = subprocess.Popen(
                [sys.executable, "-c", program], stdout=subprocess.PIPE
            )
            try:
                wait_until_in("access_remote_vm", asking.pid)
                asking.send_signal(signal.SIGINT)
                out, _ = asking.communicate(timeout=ENDS_WITHIN)
            finally:
                stuck.let_go()
                asking.kill()
                asking.communicate()
        assert out == b"interrupted\n"

    def test_unit_files_that_do_not_come(
        self,
        stuck: Stuck,
        make_holder: Callable[..., Holder],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """systemd has the socket: a unit that names it may be anywhere."""
        (tmp_path / "app.socket").symlink_to(stuck.path)
        monkeypatch.setattr("bindcheck.port_users._UNIT_FOLDERS", (str(tmp_path),))
        monkeypatch.setattr("bindcheck.owner_lookup.PATIENCE_SECONDS", 0.2)
        manager = make_holder(arguments=("--user",))
        manager.run("import ctypes; ctypes.CDLL(None).prctl(15, b'systemd', 0, 0, 0)")
        port = manager.bind(listen=True)
        stuck.mute = True
        (found,) = bindcheck.diagnose(("127.0.0.1", port))
        (blocker,) = found.blockers
        assert [one.pid for one in blocker.owner.processes] == [manager.pid]
        assert blocker.owner.socket_units == ()
        assert "filesystem-not-answering" in [one.code for one in found.limits]
        assert stuck.waiting.acquire(blocking=False), "nobody asked for the file"


class TestPaths:
    """A unix socket on such a file system, or somewhere behind a link to it."""

    def test_it_is_said(self, stuck: Stuck, tmp_path: Path) -> None:
        stuck.mute = True
        done = asked(stuck, "check", f"unix:{tmp_path}/mount/s")
        assert (done.returncode, done.stderr) == (3, "")
        place = str(tmp_path / "mount")
        assert f"the filesystem at {place} does not answer" in done.stdout

    @pytest.mark.parametrize(
        "way", ["mount", "mount/s", "mount/file/s", "link/s", "a/../mount/s", "up/s"]
    )
    def test_every_way_to_it(
        self, stuck: Stuck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        monkeypatch.setattr("bindcheck.names._PATIENCE_SECONDS", 0.2)
        (tmp_path / "a").mkdir()
        (tmp_path / "link").symlink_to("a/../mount")
        (tmp_path / "a" / "back").symlink_to(tmp_path)
        (tmp_path / "up").symlink_to("a/back/link")
        stuck.mute = True
        (found,) = bindcheck.diagnose(f"unix:{tmp_path / way}")
        (limit,) = found.limits
        assert f"at {tmp_path}/mount does not" in limit.text
        beside = bindcheck.diagnose(f"unix:{tmp_path}/a/s")
        assert beside.worst.verdict is Verdict.BINDABLE

    def test_working_folder(
        self, stuck: Stuck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bindcheck.names._PATIENCE_SECONDS", 0.2)
        monkeypatch.chdir(tmp_path / "mount")
        stuck.mute = True
        (found,) = bindcheck.diagnose("unix:s")
        assert [one.code for one in found.limits] == ["filesystem-not-answering"]

    def test_ordinary_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bindcheck.names._PATIENCE_SECONDS", 0.2)
        # Not pytest's own folder, which others may not enter.
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            with stuck_file(Path(name)) as stuck:
                stuck.mute = True
                (found,) = as_user(NOBODY, lambda: bindcheck.diagnose(f"unix:{name}/s"))
        assert [one.code for one in found.limits] == ["filesystem-not-answering"]

    def test_json(self, stuck: Stuck, tmp_path: Path) -> None:
        stuck.mute = True
        (found,) = report(stuck, f"unix:{tmp_path}/mount/s")["results"]
        assert (found["verdict"], found["attempt"]["ok"]) == ("unknown", None)
        assert [one["code"] for one in found["limits"]] == ["filesystem-not-answering"]
        assert found["causes"] == []

    @pytest.mark.parametrize("verb", ["wait", "stop"])
    def test_other_verbs(self, stuck: Stuck, tmp_path: Path, verb: str) -> None:
        stuck.mute = True
        done = asked(stuck, verb, f"unix:{tmp_path}/mount/s")
        assert done.returncode == 3
        assert "does not answer" in done.stdout + done.stderr

    def test_one_that_answers(self, stuck: Stuck, tmp_path: Path) -> None:
        """Here nothing is held back: the server says ENOSYS when a file is made."""
        (found,) = bindcheck.diagnose(f"unix:{tmp_path}/mount/s/s")
        assert found.limits == ()
        assert found.attempt.error is not None
        assert stuck.waiting.acquire(blocking=False) is False

    @pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
    def test_children_that_nobody_waits_for(
        self,
        stuck: Stuck,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        handler: signal.Handlers,
    ) -> None:
        """Where the caller ignores them they cannot be waited for; none is left."""
        monkeypatch.setattr("bindcheck.names._PATIENCE_SECONDS", 0.2)
        stuck.mute = True
        before = signal.signal(signal.SIGCHLD, handler)
        try:
            (found,) = bindcheck.diagnose(f"unix:{tmp_path}/mount/s")
        finally:
            signal.signal(signal.SIGCHLD, before)
        assert [one.code for one in found.limits] == ["filesystem-not-answering"]
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_who_asks_keeps_nothing_open(self, stuck: Stuck, tmp_path: Path) -> None:
        """It stays until the file system answers; a port of ours must not."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            stuck.mute = True
            (found,) = bindcheck.diagnose(f"unix:{tmp_path}/mount/s")
            assert found.verdict is Verdict.UNKNOWN
        assert stuck.waiting.acquire(blocking=False), "somebody waits"
        assert bindcheck.probe(address).ok is True


# Both are woken from outside, for afterwards the program can answer nothing.
LOCKS_ITS_MEMORY = """
import mmap, threading
kept["file"] = open({path!r}, "rb", 0)
kept["page"] = mmap.mmap(
    kept["file"].fileno(), 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ
)
with open("/proc/self/maps") as maps:
    (line,) = (line for line in maps if {path!r} in line)
begin = int(line.partition("-")[0], 16)
memory = os.open("/proc/self/mem", os.O_RDONLY)
calls = [lambda: os.pread(memory, 1, begin), lambda: mmap.mmap(-1, 4096)]

def serve():
    kept["main"].accept()
    calls.pop(0)()

threads = [threading.Thread(target=serve, daemon=True) for _ in calls]
for one in threads:
    one.start()
"""


LOCKS_ITS_EPOLL = """
import select, threading
kept["file"] = open({path!r}, "rb", 0)
kept["ours"], kept["theirs"] = socket.socketpair()
epoll = select.epoll()
epoll.register(kept["main"].fileno())

def add():
    kept["theirs"].recv(1)
    epoll.register(kept["file"].fileno())

threading.Thread(target=epoll.poll, daemon=True).start()
threading.Thread(target=add, daemon=True).start()
"""


@contextlib.contextmanager
def locked_memory(
    stuck: Stuck, holder: Holder, address: tuple[str, int]
) -> Iterator[None]:
    """The memory of a process that listens there is locked meanwhile."""
    holder.run(LOCKS_ITS_MEMORY.format(path=str(stuck.path)))
    stuck.mute = True
    with contextlib.ExitStack() as stack:
        stack.callback(stuck.let_go)  # or the holder would not end
        for function in ("request_wait_answer", "mmap"):
            stack.enter_context(socket.create_connection(address))
            wait_until_in(function, holder.pid)
        yield


def wait_until_in(function: str, pid: int) -> None:
    """Wait until some thread of a process waits in a function of the kernel."""
    ends = time.monotonic() + ENDS_WITHIN
    while time.monotonic() < ends:
        for one in Path(f"/proc/{pid}/task").glob("*/wchan"):
            if function in one.read_text("ascii"):
                return
        time.sleep(0.005)
    raise TimeoutError(function)
