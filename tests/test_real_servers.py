"""Servers that people run, blamed as `ss` shows them.

Each is started by the test on a port of its own; a program that is not installed skips
its test by name.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    needs("ss", "socket tables"),
    pytest.mark.usefixtures("network"),
]

LOOPBACK = "127.0.0.1"
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
# pids and descriptors: who has a socket
Holders = set[tuple[int, int]]


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that the kernel chose a moment ago, in a network without others."""
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def running(
    *command: str | Path, folder: Path, user: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A server in the foreground; what it says goes to a file in `folder`."""
    groups: list[int] | None = None if user is None else []
    with (folder / "output").open("w") as output:
        server = subprocess.Popen(
            [str(one) for one in command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": PATH, "LC_ALL": "C"},
            user=user,
            group=None if user is None else group_of(user),
            extra_groups=groups,
        )
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def fails_to_start(*command: str | Path, folder: Path, user: str | None = None) -> str:
    """Start a server that must give up by itself; returns what it said."""
    with running(*command, folder=folder, user=user) as server:
        assert server.wait(30) != 0
    return (folder / "output").read_text()


def says(server: subprocess.Popen[str], folder: Path, text: str) -> None:
    """Wait until a server says something."""
    deadline = time.monotonic() + 30
    while text not in (folder / "output").read_text():
        assert server.poll() is None, "the server gave up"
        assert time.monotonic() < deadline, f"it never said {text!r}"
        time.sleep(0.01)


def group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def listed_by_ss(port: int, *, udp: bool = False) -> dict[int, Holders]:
    """What `ss` lists on a local port: inode to pids and descriptors."""
    command = ["ss", "-H", "-lunpe" if udp else "-ltnpe", f"sport = :{port}"]
    found: dict[int, Holders] = {}
    for line in subprocess.check_output(command, text=True, timeout=30).splitlines():
        inode = re.search(r" ino:(\d+) ", line)
        assert inode is not None
        holders = re.findall(r"pid=(\d+),fd=(\d+)", line)
        found[int(inode[1])] = {(int(pid), int(fd)) for pid, fd in holders}
    return found


def ready(
    server: subprocess.Popen[str], port: int, processes: int = 1, *, udp: bool = False
) -> dict[int, Holders]:
    """Wait until that many processes have the port; returns what `ss` lists then."""
    deadline = time.monotonic() + 30
    while True:
        listed = listed_by_ss(port, udp=udp)
        pids = {pid for holders in listed.values() for pid, _ in holders}
        if len(pids) == processes:
            return listed
        assert server.poll() is None, "the server gave up"
        assert time.monotonic() < deadline, f"{pids} have the port"
        time.sleep(0.01)


def diagnosis(port: int, folder: Path, *more: str) -> dict[str, Any]:
    """What `python -m bindcheck --json` says of 127.0.0.1 and this port."""
    command = [sys.executable, "-m", "bindcheck", "--json", *more, f"{LOOPBACK}:{port}"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    (found,) = json.loads(done.stdout)["results"]
    assert found["verdict"] == "blocked"
    assert found["attempt"]["error"]["name"] == "EADDRINUSE"
    return dict(found)


def holders_of(blocker: dict[str, Any]) -> Holders:
    assert blocker["owner"]["kind"] == "process"
    return {
        (process["pid"], fd)
        for process in blocker["owner"]["processes"]
        for fd in process["fds"]
    }


def expect_blamed(
    found: dict[str, Any],
    listed: dict[int, Holders],
    *,
    name: str,
    main: int,
    kind: str = "listener",
) -> dict[str, Any]:
    """One socket is blamed, its holders are those that `ss` shows, `main` is ended."""
    ((inode, holders),) = listed.items()
    (blocker,) = found["blockers"]
    assert (blocker["kind"], blocker["count"]) == (kind, 1)
    assert blocker["socket"]["inode"] == inode
    assert holders_of(blocker) == holders
    assert {one["name"] for one in blocker["owner"]["processes"]} == {name}
    (cause,) = found["causes"]
    assert (cause["code"], cause["certainty"]) == (kind, "certain")
    assert cause["remedies"][0]["action"] == "stop-holder"
    assert cause["remedies"][0]["command"] == ["kill", str(main)]
    return dict(blocker)


def binds(port: int) -> bool:
    """Whether a server that sets SO_REUSEADDR, as most do, can have the port."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


NGINX = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 16; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen {place}; return 204; }}
}}
"""


def nginx(folder: Path, place: str) -> list[str | Path]:
    program = shutil.which("nginx", path=PATH)
    assert program is not None
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, place=place))
    return [program, "-c", configuration, "-p", folder, "-e", folder / "error.log"]


@needs("nginx")
@pytest.mark.parametrize("address", [LOOPBACK, "*"])
def test_nginx_is_stopped_by_its_master(tmp_path: Path, address: str) -> None:
    port = free_port()
    with running(*nginx(tmp_path, f"{address}:{port}"), folder=tmp_path) as master:
        listed = ready(master, port, processes=3)
        found = diagnosis(port, tmp_path)
        blocker = expect_blamed(found, listed, name="nginx", main=master.pid)
        same = address == LOOPBACK
        assert blocker["overlap"] == ("same-address" if same else "holder-wildcard")
        assert blocker["owner"]["traits"] == ["shared"]
        assert blocker["socket"]["reuse_address"] is True
        parents = {one["parent"] for one in blocker["owner"]["processes"]}
        assert parents == {os.getpid(), master.pid}
        # A second nginx tries for two seconds before it gives up; it asks this.
        assert not binds(port)
    assert binds(port)


@needs("nginx")
def test_nginx_with_a_socket_for_each_worker(tmp_path: Path) -> None:
    port = free_port()
    place = f"{LOOPBACK}:{port} reuseport"
    with running(*nginx(tmp_path, place), folder=tmp_path) as master:
        listed = ready(master, port, processes=3)
        assert len(listed) == 2  # each open in all three processes
        found = diagnosis(port, tmp_path)
        assert sum(one["count"] for one in found["blockers"]) == 2
        for blocker in found["blockers"]:
            assert blocker["kind"] == "listener"
            assert blocker["socket"]["reuse_port"] is True
        # Sockets of the same nature are one blocker, with the descriptors of all.
        (blocker,) = found["blockers"]
        assert blocker["socket"]["inode"] in listed
        assert holders_of(blocker) == set.union(*map(set, listed.values()))
        remedies = found["causes"][0]["remedies"]
        assert remedies[0]["command"] == ["kill", str(master.pid)]
        # The workers come second: nginx stops them itself, another master may not.
        assert [one["action"] for one in remedies[1:-1]] == ["stop-children"]


@needs("redis-server")
def test_redis(tmp_path: Path) -> None:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", LOOPBACK, "--save", ""]
    with running(*command, folder=tmp_path) as server:
        listed = ready(server, port)
        found = diagnosis(port, tmp_path)
        expect_blamed(found, listed, name="redis-server", main=server.pid)
        second = tmp_path / "second"
        second.mkdir()
        assert "Address already in use" in fails_to_start(*command, folder=second)


POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def has_user(name: str) -> bool:
    try:
        group_of(name)
    except (KeyError, ImportError):
        return False
    return True


@pytest.fixture
def cluster() -> Iterator[Path]:
    """A folder of user postgres, with its data; pytest's own are closed to others."""
    assert POSTGRES is not None
    with tempfile.TemporaryDirectory(prefix="bindcheck-") as name:
        folder = Path(name)
        shutil.chown(folder, "postgres", "postgres")
        subprocess.run(
            [POSTGRES / "initdb", "--no-sync", "--auth=trust", "-D", folder / "data"],
            check=True,
            capture_output=True,
            cwd=folder,
            env={"PATH": PATH, "LC_ALL": "C"},
            user="postgres",
            group=group_of("postgres"),
            extra_groups=[],
        )
        yield folder


@needs("root")
@pytest.mark.skipif(POSTGRES is None, reason="needs postgres")
@pytest.mark.skipif(not has_user("postgres"), reason="needs the user postgres")
def test_postgres(cluster: Path, tmp_path: Path) -> None:
    assert POSTGRES is not None
    port = free_port()

    def command(data: Path) -> list[str | Path]:
        values = ("fsync=off", "autovacuum=off", "unix_socket_directories=")
        settings = [word for value in values for word in ("-c", value)]
        place = ["-h", LOOPBACK, "-p", str(port)]
        return [POSTGRES / "postgres", "-D", data, *place, *settings]

    copy = cluster / "second"
    shutil.copytree(cluster / "data", copy)
    for one in (copy, *copy.rglob("*")):
        shutil.chown(one, "postgres", "postgres")
    with running(*command(cluster / "data"), folder=cluster, user="postgres") as server:
        # Every process is forked before it says that; each closes the port then.
        says(server, cluster, "ready to accept connections")
        listed = ready(server, port)
        found = diagnosis(port, tmp_path)
        blocker = expect_blamed(found, listed, name="postgres", main=server.pid)
        assert blocker["owner"]["processes"][0]["user"] == "postgres"
        said = fails_to_start(*command(copy), folder=copy, user="postgres")
        assert "Address already in use" in said


@needs("socat")
def test_socat_that_listens(tmp_path: Path) -> None:
    port = free_port()
    place = f"TCP-LISTEN:{port},bind={LOOPBACK},fork"
    with running("socat", place, "PIPE", folder=tmp_path) as server:
        listed = ready(server, port)
        found = diagnosis(port, tmp_path)
        expect_blamed(found, listed, name="socat", main=server.pid)
        second = tmp_path / "second"
        second.mkdir()
        said = fails_to_start("socat", place, "PIPE", folder=second)
        assert "Address already in use" in said


@needs("socat")
def test_socat_with_a_client(tmp_path: Path) -> None:
    """Its child has the connection, and is not taken for the listener's owner."""
    port = free_port()
    place = f"TCP-LISTEN:{port},bind={LOOPBACK},fork"
    with running("socat", place, "PIPE", folder=tmp_path) as server:
        ready(server, port)
        with socket.create_connection((LOOPBACK, port), 30) as client:
            client.sendall(b"who?")
            assert client.recv(4) == b"who?"  # the child is there
            listed = listed_by_ss(port)
            found = diagnosis(port, tmp_path)
            kinds = {one["kind"]: one for one in found["blockers"]}
            assert set(kinds) == {"listener", "connection"}
            assert {kinds["listener"]["socket"]["inode"]} == set(listed)
            assert [holders_of(kinds["listener"])] == list(listed.values())
            assert kinds["connection"]["direction"] == "accepted"
            (child,) = kinds["connection"]["owner"]["processes"]
            assert child["parent"] == server.pid
            assert found["causes"][0]["code"] == "listener"
            command = found["causes"][0]["remedies"][0]["command"]
            assert command == ["kill", str(server.pid)]


@needs("socat")
def test_socat_that_receives_datagrams(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    command = ["socat", "-u", f"UDP-RECV:{port},bind={LOOPBACK}", "CREATE:received"]
    with running(*command, folder=tmp_path) as server:
        listed = ready(server, port, udp=True)
        found = diagnosis(port, tmp_path, "--udp")
        main = server.pid
        expect_blamed(found, listed, name="socat", main=main, kind="datagram")
        second = tmp_path / "second"
        second.mkdir()
        said = fails_to_start(*command, folder=second)
        assert "Address already in use" in said
