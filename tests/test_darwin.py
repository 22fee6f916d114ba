"""macOS as it is: real sockets, real holders. Collected there alone."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

import bindcheck
from bindcheck.words import Blocks, CauseCode, Kind, State, Trait, Verdict
from tests.support.server import server

ordinary = pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 0)() == 0, reason="needs an ordinary user"
)


def diagnosed(target: str, **options: bool) -> bindcheck.Diagnosis:
    """The one diagnosis of a target."""
    (found,) = bindcheck.diagnose(target, **options)  # type: ignore[arg-type]
    return found


def test_listener_of_another_program_is_named() -> None:
    with server() as (port, pid):
        found = diagnosed(f"127.0.0.1:{port}")
        assert found.verdict is Verdict.BLOCKED
        assert found.attempt.error is not None
        assert found.attempt.error.code == 48
        assert found.causes[0].code is CauseCode.LISTENER
        (process,) = found.blockers[0].owner.processes
        assert process.pid == pid
        assert process.fds
        assert process.name.lower().startswith("python")
        assert process.parent == os.getpid()


def test_socket_that_is_only_bound_is_in_the_table() -> None:
    with server(listens=False) as (port, pid):
        found = diagnosed(f"127.0.0.1:{port}")
        assert [one.kind for one in found.blockers] == [Kind.BOUND]
        assert [one.pid for one in found.blockers[0].owner.processes] == [pid]


def test_options_of_a_holder_are_in_the_table() -> None:
    with server("SO_REUSEADDR", "SO_REUSEPORT") as (port, _):
        (row,) = bindcheck.sockets(port=port)
        assert (row.reuse_address, row.reuse_port) == (True, True)
    with server() as (port, _):
        (row,) = bindcheck.sockets(port=port)
        assert (row.reuse_address, row.reuse_port) == (False, False)


def test_datagram_socket_is_named() -> None:
    with server(kind="SOCK_DGRAM", listens=False) as (port, pid):
        found = diagnosed(f"127.0.0.1:{port}/udp")
        assert found.causes[0].code is CauseCode.DATAGRAM
        assert [one.pid for one in found.blockers[0].owner.processes] == [pid]


def test_single_address_below_a_wildcard_is_not_called_where_it_would_work() -> None:
    with server(address="0.0.0.0") as (port, _):  # noqa: S104
        found = diagnosed(f"127.0.0.1:{port}", reuse_address=True)
        assert (found.attempt.native, found.attempt.ok) == (False, True)
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port))  # what was predicted is so


def test_time_wait_yields_to_reuseaddr_alone() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            served, _ = listener.accept()
            served.close()
            assert client.recv(1) == b""
    given_up = time.monotonic() + 10  # the last segments are on their way
    while {row.state for row in bindcheck.sockets(port=port)} != {State.TIME_WAIT}:
        assert time.monotonic() < given_up, bindcheck.sockets(port=port)
    found = diagnosed(f"127.0.0.1:{port}")
    assert found.verdict is Verdict.CONDITIONAL
    assert found.works_with == {"reuse_address": True}
    assert found.causes[0].code is CauseCode.TIME_WAIT


def test_child_that_inherited_the_socket_is_named() -> None:
    with server(child=True) as (port, pid):
        found = diagnosed(f"127.0.0.1:{port}")
        owner = found.blockers[0].owner
        assert [one.pid for one in owner.processes] == [pid]
        assert Trait.INHERITED in owner.traits


def test_all_who_share_a_socket_are_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        pid = os.fork()  # type: ignore[attr-defined,unused-ignore]
        if pid == 0:
            signal.pause()  # type: ignore[attr-defined,unused-ignore]
            os._exit(0)
        try:
            port = listener.getsockname()[1]
            owner = diagnosed(f"127.0.0.1:{port}").blockers[0].owner
            assert {one.pid for one in owner.processes} == {os.getpid(), pid}
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


@ordinary
def test_privileged_port_is_free_on_the_wildcard_alone() -> None:
    found = diagnosed("127.0.0.1:81")
    assert found.causes[0].code is CauseCode.PRIVILEGED_PORT
    assert bindcheck.probe("0.0.0.0:81").ok


def test_loopback_has_one_address() -> None:
    found = diagnosed("127.0.0.2:8080")
    assert found.causes[0].code is CauseCode.ADDRESS_NOT_LOCAL
    assert found.causes[0].remedies[0].action == "add-loopback-alias"


def test_tcp_multicast_is_refused() -> None:
    found = diagnosed("224.0.0.251:8080")
    assert found.attempt.error is not None
    assert found.attempt.error.name == "EAFNOSUPPORT"
    assert found.causes[0].code is CauseCode.INVALID_ARGUMENT


def test_reuseport_twins_are_both_there() -> None:
    with server("SO_REUSEPORT") as (port, _):
        found = diagnosed(f"127.0.0.1:{port}", reuse_port=True)
        assert found.attempt.ok
        assert "shared-port" in [one.code for one in found.warnings]


def test_certain_blockers_really_block() -> None:
    with server() as (port, _):
        found = diagnosed(f"127.0.0.1:{port}", reuse_address=True)
        assert [one.blocks for one in found.blockers] == [Blocks.YES]


@pytest.mark.skipif(shutil.which("lsof") is None, reason="needs lsof")
def test_same_as_lsof() -> None:
    with server() as (port, pid):
        done = subprocess.run(
            ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fp"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"p{pid}" in done.stdout.split()


def test_nothing_is_left_open() -> None:
    folder = "/dev/fd"
    before = len(os.listdir(folder))  # noqa: PTH208
    with server() as (port, _):
        for _ in range(20):
            bindcheck.diagnose(f"127.0.0.1:{port}")
    assert len(os.listdir(folder)) == before  # noqa: PTH208
