"""A holder that ends while it is looked at, and a pid that is given to another then.

The command is stopped before a chosen look-up; what happens then the test decides.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Holder, needs
from tests.support.namespaces import in_pid_namespace
from tests.support.preloaded import COMPILER, preload

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [needs("socket tables", COMPILER), pytest.mark.usefixtures("network")]

# Where the walk over /proc is when the holder ends; {pid} and {fd} are the holder's.
PLACES = (
    "fstatat /proc/{pid}/fd",
    "openat /proc/{pid}/fd",
    "getdents64 /proc/{pid}/fd",
    "readlinkat /proc/{pid}/fd/{fd}",
    "openat /proc/{pid}/fd/..",
    "openat /proc/{pid}/stat",
    "openat /proc/{pid}/fdinfo/{fd}",
    "fstatat /proc/{pid}/task",
    "pidfd_open",
    "pidfd_getfd",
)
_SECONDS = 60  # a net under what would not end


def check_paused(
    target: str, place: str, meanwhile: Callable[[], object]
) -> dict[str, Any]:
    """The diagnosis of a target in which something happens at a look-up."""
    command = ["-m", "bindcheck", "--json", target]
    found: dict[str, Any] = run_paused(command, place, meanwhile)["results"][0]
    return found


def run_paused(
    arguments: list[str], place: str, meanwhile: Callable[[], object]
) -> dict[str, Any]:
    """What a program of Python's prints in which something happens at a look-up."""
    told, tell = os.pipe()
    wait, go = os.pipe()
    environment = preload(
        "paused_call", PAUSE_AT=place, PAUSE_TELL=str(tell), PAUSE_WAIT=str(wait)
    )
    with subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        pass_fds=(tell, wait),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        os.close(tell)
        os.close(wait)
        assert os.read(told, 1) == b"x", f"{place} was not looked up"
        meanwhile()
        os.write(go, b"x")
        out, err = command.communicate(timeout=_SECONDS)
    os.close(told)
    os.close(go)
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


def is_free_again(found: dict[str, Any]) -> None:
    """It was in use and is not: nobody is blamed, and that is no failure."""
    assert found["verdict"] in ("transient", "bindable")
    assert found["blockers"] == []


@pytest.mark.parametrize("place", PLACES)
def test_holder_that_ends(holder: Holder, place: str) -> None:
    port = holder.bind(listen=True)
    place = place.format(pid=holder.pid, fd=holder.fd())
    is_free_again(check_paused(f"127.0.0.1:{port}", place, holder.kill))


@pytest.mark.parametrize("place", PLACES)
def test_holder_that_closes(holder: Holder, place: str) -> None:
    """Its descriptor becomes that of another socket, on another port."""

    def meanwhile() -> None:
        holder.close()
        assert holder.run("kept['other'] = socket.create_server(('127.0.0.1', 0))") is (
            None
        )
        assert holder.fd("other") == fd

    port = holder.bind(listen=True)
    fd = holder.fd()
    found = check_paused(
        f"127.0.0.1:{port}", place.format(pid=holder.pid, fd=fd), meanwhile
    )
    if found["verdict"] in ("transient", "bindable"):
        assert found["blockers"] == []
        return
    # What was found before it was closed was true then.
    assert PLACES.index(place) > PLACES.index("readlinkat /proc/{pid}/fd/{fd}")
    (blocker,) = found["blockers"]
    assert [one["pid"] for one in blocker["owner"]["processes"]] == [holder.pid]


def test_hole_that_is_filled(make_holder: Callable[..., Holder]) -> None:
    """The number of descriptors is known, then one more is opened below the last."""
    sharing, owner = make_holder(), make_holder()
    port = owner.bind(listen=True)
    last = sharing.run(
        "import ctypes\n"
        "kept['hole'] = os.dup(0)\n"
        f"process = os.pidfd_open({owner.pid})\n"
        f"given = ctypes.CDLL(None).syscall(438, process, {owner.fd()}, 0)\n"
        "os.close(process)\n"
        "result = os.dup2(given, 9)\n"
        "os.closerange(kept['hole'], 9)\n"
        "kept['below'] = [os.dup(0) for _ in range(kept['hole'], 8)]"
    )
    found = check_paused(
        f"127.0.0.1:{port}",
        f"openat /proc/{sharing.pid}/fd",
        lambda: sharing.run("os.dup(0)"),
    )
    (blocker,) = found["blockers"]
    fds = {one["pid"]: one["fds"] for one in blocker["owner"]["processes"]}
    assert fds == {owner.pid: [owner.fd()], sharing.pid: [last]}


@needs("root", "network namespaces")
@pytest.mark.parametrize("place", PLACES)
def test_pid_that_another_gets(place: str) -> None:
    """The new process of that pid has another socket under the same number."""
    found = in_pid_namespace(lambda: reused(place))
    is_free_again(found)


SCAN = """
import json, sys
from bindcheck import native
found = native.find_owners([int(sys.argv[1])])
pids = [one.pid for one in found.holders]
print(json.dumps({"unreadable": found.unreadable, "pids": pids}))
"""


@needs("root", "network namespaces")
@pytest.mark.parametrize("place", [one for one in PLACES if "{pid}" in one])
def test_process_that_has_gone_hides_nothing(place: str) -> None:
    """Where nobody else's processes are, so that each can be read."""

    def scan() -> dict[str, Any]:
        with Holder() as holder:
            holder.bind(listen=True)
            at = place.format(pid=holder.pid, fd=holder.fd())
            arguments = ["-c", SCAN, str(holder.inode())]
            return run_paused(arguments, at, holder.kill)

    found = in_pid_namespace(scan)
    assert found["unreadable"] == 0


def reused(place: str) -> dict[str, Any]:
    """The diagnosis, where the holder's pid is given to a process without its port."""
    innocents: list[int] = []
    with Holder() as holder:
        port = holder.bind(listen=True)
        fd, pid = holder.fd(), holder.pid

        def meanwhile() -> None:
            holder.kill()
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
            innocents.append(innocent(fd))
            assert innocents == [pid]

        place = place.format(pid=pid, fd=fd)
        found = check_paused(f"127.0.0.1:{port}", place, meanwhile)
    for one in innocents:
        os.kill(one, signal.SIGKILL)
        os.waitpid(one, 0)
    return found


def innocent(fd: int) -> int:
    """A process that listens on another port with this descriptor; its pid."""
    listener = socket.create_server(("127.0.0.1", 0))
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            told = fcntl.fcntl(done, fcntl.F_DUPFD, fd + 1)
            os.dup2(listener.fileno(), fd)
            os.write(told, b"x")
            signal.pause()
        finally:
            os._exit(1)
    listener.close()
    os.close(done)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return pid
