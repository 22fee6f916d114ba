"""File systems that do not answer, and processes that have something of them.

Whoever asks such a one waits in the kernel, often where not even SIGKILL helps. So each
program of these tests is started apart and given a time, and let go at its end.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Holder, needs
from tests.support.fuse import Stuck, stuck_file
from tests.support.terminal import BINDCHECK, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    def test_command_line_that_does_not_come(
        self, stuck: Stuck, holder: Holder
    ) -> None:
        """Its memory is locked: one thread reads a page that does not come, through
        /proc/self/mem, which keeps the lock; another wants to map more.
        """
        port = holder.bind(listen=True)
        holder.run(LOCKS_ITS_MEMORY.format(path=str(stuck.path)))
        stuck.mute = True
        with contextlib.ExitStack() as stack:
            stack.callback(stuck.let_go)  # or the holder would not end
            for function in ("request_wait_answer", "mmap"):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                wait_until_in(function, holder.pid)
            done = asked(stuck, "--json", f"127.0.0.1:{port}")
        found = json.loads(done.stdout)
        (process,) = owners(found)
        name = Path(f"/proc/{holder.pid}/comm").read_text("utf-8").rstrip()
        assert (process["pid"], process["name"]) == (holder.pid, name)
        assert process["command"] == []
        limits = [one["code"] for one in found["results"][0]["limits"]]
        assert "commands-unread" in limits
        assert found["results"][0]["causes"][0]["code"] == "listener"


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


def wait_until_in(function: str, pid: int) -> None:
    """Wait until some thread of a process waits in a function of the kernel."""
    ends = time.monotonic() + ENDS_WITHIN
    while time.monotonic() < ends:
        for one in Path(f"/proc/{pid}/task").glob("*/wchan"):
            if function in one.read_text("ascii"):
                return
        time.sleep(0.005)
    raise TimeoutError(function)
