"""Who has a port's listeners is looked for while its rows are read."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import holder_search, native, patience
from bindcheck.words import Kind, Protocol, Verdict
from tests.support import Holder, needs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.holder_search import Found

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]
HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processes there are here, they count as few."""
    monkeypatch.setattr("bindcheck.holder_search._FEW_PROCESSES", 1 << 30)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """The inodes of every search for holders."""
    made: list[set[int]] = []
    real = native.find_owners

    def seen(inodes: Sequence[int], *, brief: bool = False) -> native.Scan:
        made.append(set(inodes))
        return real(inodes, brief=brief)

    monkeypatch.setattr(native, "find_owners", seen)
    return made


def pids(found: bindcheck.Diagnosis, kind: Kind) -> set[int]:
    (blocker,) = (one for one in found.blockers if one.kind is kind)
    return {one.pid for one in blocker.owner.processes}


def test_a_listener_is_looked_for_once(
    holder: Holder, searches: list[set[int]]
) -> None:
    port = holder.bind(listen=True)
    (found,) = bindcheck.diagnose((HOST, port))
    assert pids(found, Kind.LISTENER) == {holder.pid}
    assert searches == [{holder.inode()}]


def test_its_connections_are_looked_for_with_it(
    make_holder: Callable[..., Holder], searches: list[set[int]]
) -> None:
    """What was begun is of the listener alone: it is looked for again, with all."""
    server, worker = make_holder(), make_holder()
    port = server.bind(listen=True)
    with socket.create_connection((HOST, port)):
        server.run("kept['accepted'] = kept['main'].accept()[0]")
        number = server.fd("accepted")
        worker.run(
            "import ctypes\n"
            f"process = os.pidfd_open({server.pid})\n"
            f"ctypes.CDLL(None).syscall(438, process, {number}, 0)"
        )
        inode = server.inode("accepted")
        server.close("accepted")
        (found,) = bindcheck.diagnose((HOST, port))
    assert pids(found, Kind.LISTENER) == {server.pid}
    assert pids(found, Kind.CONNECTION) == {worker.pid}
    assert searches == [{server.inode()}, {server.inode(), inode}]


def test_nothing_goes_on_behind_the_answer(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun in vain may have borrowed the listener: it is waited for."""
    port = holder.bind("127.0.0.2", listen=True)
    answers: list[Found] = []
    real = patience.begin

    def begin(call: Callable[[], Found]) -> Callable[[float], Found]:
        wait = real(call)

        def then(seconds: float) -> Found:
            answers.append(wait(seconds))
            return answers[-1]

        return then

    monkeypatch.setattr(holder_search, "begin", begin)
    (found,) = bindcheck.diagnose((HOST, port))
    assert found.verdict is Verdict.BINDABLE
    scans = [one.scan for one in answers]
    assert [[one.pid for one in scan.processes] for scan in scans] == [[holder.pid]]


def test_of_many_processes_nothing_is_begun(
    holder: Holder, searches: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bindcheck.holder_search._FEW_PROCESSES", 0)
    port = holder.bind("127.0.0.2", listen=True)
    (found,) = bindcheck.diagnose((HOST, port))
    assert (found.verdict, searches) == (Verdict.BINDABLE, [])
    (found,) = bindcheck.diagnose(("127.0.0.2", port))
    assert pids(found, Kind.LISTENER) == {holder.pid}


def test_listeners_of_both_families(holder: Holder) -> None:
    port = holder.bind(listen=True, name="inet")
    holder.bind("::1", port, listen=True, name="inet6")
    holder.bind("127.0.0.2", port, name="bound")
    with socket.create_connection((HOST, port)) as client:
        wanted = {holder.inode("inet"), holder.inode("inet6")}
        assert native.listening_inodes(port) == wanted
        assert native.listening_inodes(client.getsockname()[1]) == frozenset()


@needs("MPTCP")
def test_listener_of_mptcp(holder: Holder, searches: list[set[int]]) -> None:
    port = holder.bind(listen=True, kind="mptcp")
    (found,) = bindcheck.diagnose((HOST, port))
    (blocker,) = found.blockers
    assert blocker.socket.protocol is Protocol.MPTCP
    assert pids(found, Kind.LISTENER) == {holder.pid}
    assert len(searches) == 1


def test_those_above_come_with_the_holder(holder: Holder) -> None:
    """The same as by asking for them, but for pid 1, which is no parent here."""
    holder.bind(listen=True)
    scan = native.find_owners([holder.inode()])
    assert [one.pid for one in scan.processes] == [holder.pid]
    above = native.read_ancestors(os.getpid())
    assert [one.pid for one in scan.ancestors] == [
        one.pid for one in above if one.pid != 1 or os.getpid() == 1
    ]
    told = [(one.name, one.command, one.start_ticks) for one in scan.ancestors]
    assert told == [
        (one.name, one.command, one.start_ticks) for one in above[: len(told)]
    ]


def test_our_own_program() -> None:
    whole = native.read_process(os.getpid())
    own = native.read_own_program()
    assert whole is not None
    assert own is not None
    assert (own.pid, own.command, own.folder, own.executable) == (
        *(whole.pid, whole.command),
        *(whole.folder, whole.executable),
    )
