"""Who has a port's listeners is looked for while its rows are read."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import bindcheck
from bindcheck import holder_search, native
from bindcheck.holder_search import HolderSearch
from bindcheck.native.turns import one_at_a_time
from bindcheck.observe import Observer
from bindcheck.patience import UnansweredError
from bindcheck.records import replace
from bindcheck.words import Kind, Protocol
from tests.support import NOBODY, Holder, as_user, in_child, needs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Facts

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]
HOST = "127.0.0.1"
# Before Linux 6.2 nothing is begun.
begins = needs("descriptor folders with a size")
_SECONDS = 60  # a net under what would not end


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processes there are here, they count as few."""
    monkeypatch.setattr("bindcheck.holder_search._FEW_PROCESSES", 1 << 30)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """The inodes of every search for holders."""
    made: list[set[int]] = []

    class Search(native.Search):
        def __init__(self, inodes: Sequence[int]) -> None:
            made.append(set(inodes))
            super().__init__(inodes)

    monkeypatch.setattr(native, "Search", Search)
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


@begins
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


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[native.Scan]:
    """What was begun ahead and waited for."""
    given: list[native.Scan] = []
    ahead: list[native.Search] = []

    class Search(native.Search):
        def wait(self, seconds: float) -> native.Scan:
            scan = super().wait(seconds)
            if self in ahead:
                given.append(scan)
            return scan

    real = HolderSearch.begin

    def begin(self: HolderSearch, *arguments: Any) -> None:
        real(self, *arguments)
        if self._begun is not None:
            ahead.append(self._begun.search)

    monkeypatch.setattr(native, "Search", Search)
    monkeypatch.setattr(HolderSearch, "begin", begin)
    return given


def look_ahead(port: int) -> Observer:
    observer = Observer()
    observer.look(Protocol.TCP, port, None, ahead=lambda _: True)
    return observer


@begins
def test_what_nobody_asked_for_is_waited_for(
    holder: Holder, answers: list[native.Scan]
) -> None:
    """It may have borrowed the listener."""
    look_ahead(holder.bind(listen=True)).settle()
    assert [[one.pid for one in scan.processes] for scan in answers] == [[holder.pid]]


@begins
def test_it_is_waited_for_where_all_else_fails(
    holder: Holder, answers: list[native.Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise NotADirectoryError

    port = holder.bind(listen=True)
    monkeypatch.setattr(native, "probe", fail)
    with pytest.raises(NotADirectoryError):
        bindcheck.diagnose((HOST, port))
    assert len(answers) == 1


@begins
def test_its_failure_is_nobodys_where_nobody_asked(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise MemoryError

    port = holder.bind(listen=True)
    monkeypatch.setattr(native.Search, "wait", fail)
    look_ahead(port).settle()
    with pytest.raises(MemoryError):
        bindcheck.diagnose((HOST, port))


def test_others_on_the_port_are_not_looked_for(
    make_holder: Callable[..., Holder], searches: list[set[int]]
) -> None:
    ours, other = make_holder(), make_holder()
    port = ours.bind(listen=True)
    other.bind("127.0.0.2", port, listen=True)
    other.bind("::1", port, listen=True, name="inet6")
    (found,) = bindcheck.diagnose((HOST, port))
    assert pids(found, Kind.LISTENER) == {ours.pid}
    assert searches == [{ours.inode()}]


@pytest.mark.parametrize(
    ("name", "value"), [("_FEW_PROCESSES", 0), ("_SPARE_DESCRIPTORS", 1 << 30)]
)
def test_where_it_is_of_no_use_nothing_is_begun(
    holder: Holder,
    answers: list[native.Scan],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: int,
) -> None:
    monkeypatch.setattr(holder_search, name, value)
    port = holder.bind(listen=True)
    (found,) = bindcheck.diagnose((HOST, port))
    assert pids(found, Kind.LISTENER) == {holder.pid}
    assert answers == []


@needs("root")
def test_without_a_thread_nothing_is_begun(make_holder: Callable[..., Holder]) -> None:
    """Least of all by the one that asks, who could wait for ever."""
    holder = make_holder(uid=NOBODY)
    port = holder.bind(listen=True)

    def diagnosed() -> tuple[bool, set[int]]:
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        look_ahead(port).settle()
        (found,) = bindcheck.diagnose((HOST, port))
        try:
            native.Search([holder.inode()])
        except RuntimeError:
            return True, pids(found, Kind.LISTENER)
        return False, set()

    assert as_user(NOBODY, diagnosed) == (True, {holder.pid})


def test_search_waits_for_its_turn(holder: Holder) -> None:
    """It does not see what another walk of this process has borrowed meanwhile."""
    holder.bind(listen=True)
    with one_at_a_time():
        search = native.Search([holder.inode()])
        with pytest.raises(UnansweredError):
            search.wait(0.001)
        # Who has not come back is waited for no longer.
        again = native.Search([holder.inode()]).wait(_SECONDS)
    scan = search.wait(_SECONDS)
    for found in (again, scan):
        assert {one.pid for one in found.processes} - {os.getpid()} == {holder.pid}


def test_search_that_is_left_ends(holder: Holder) -> None:
    """Each frees itself, and gives its turn back."""
    holder.bind(listen=True)
    for _ in range(100):
        native.Search([holder.inode()])
    scan = native.Search([holder.inode()]).wait(_SECONDS)
    assert [one.pid for one in scan.processes] == [holder.pid]


def test_search_in_the_child_of_a_fork(holder: Holder) -> None:
    """It has no thread: nobody waits for it, and another one is made."""
    holder.bind(listen=True)
    search = native.Search([holder.inode()])

    def in_the_child() -> tuple[bool, list[int]]:
        try:
            search.wait(1e6)
        except UnansweredError:
            scan = native.Search([holder.inode()]).wait(_SECONDS)
            return True, [one.pid for one in scan.processes if one.pid == holder.pid]
        return False, []

    assert in_child(bool, in_the_child) == (True, [holder.pid])
    search.wait(_SECONDS)


def test_search_finds_what_the_walk_finds(make_holder: Callable[..., Holder]) -> None:
    """Also where it is more than there was room for: each grows in its own way."""
    ours, heirs = make_holder(), make_holder()
    ours.run(
        "kept['all'] = [socket.create_server(('127.0.0.1', 0)) for _ in range(99)]"
    )
    inodes = ours.run("result = [os.fstat(one.fileno()).st_ino for one in kept['all']]")
    heirs.bind(listen=True)
    children = heirs.run(
        "import signal\nresult = [os.fork() or signal.pause() for _ in range(99)]"
    )
    try:
        inodes.append(heirs.inode())
        scan, walked = native.Search(inodes).wait(_SECONDS), native.find_owners(inodes)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        heirs.run("[os.waitpid(-1, 0) for _ in range(99)]")
    assert {one.pid for one in scan.processes} == {ours.pid, heirs.pid, *children}
    assert len(scan.holders) == 99 + 1 + 99
    places, expected_places = (
        sorted((each.inode, each.pid, each.tid, each.fd or 0) for each in one.holders)
        for one in (scan, walked)
    )
    assert places == expected_places
    told, expected = (
        sorted((each.pid, each.command) for each in (*one.processes, *one.ancestors))
        for one in (scan, walked)
    )
    assert told == expected


def test_fork_while_another_thread_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child does not wait for a thread that it has not."""
    looking, go_on = threading.Event(), threading.Event()
    real = native.read_facts

    def read_facts() -> Facts:
        looking.set()
        go_on.wait(_SECONDS)
        return real()

    monkeypatch.setattr(native, "read_facts", read_facts)
    thread = threading.Thread(target=lambda: Observer().facts)
    thread.start()
    assert looking.wait(_SECONDS)
    monkeypatch.undo()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # the end of a child that hangs
        os._exit(0 if Observer().facts == real() else 1)
    _, status = os.waitpid(pid, 0)
    go_on.set()
    thread.join()
    assert status == 0


def test_listeners_of_both_families(holder: Holder) -> None:
    port = holder.bind(listen=True, name="inet")
    holder.bind("::1", port, listen=True, name="inet6")
    holder.bind("127.0.0.2", port, name="bound")
    with socket.create_connection((HOST, port)) as client:
        found = {(row.local.address, row.inode) for row in native.list_listeners(port)}
        assert found == {(HOST, holder.inode("inet")), ("::1", holder.inode("inet6"))}
        assert native.list_listeners(client.getsockname()[1]) == ()


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


# A chain of processes of which the lowest alone keeps the socket; all end with us.
CHAIN = """
import ctypes, signal

def chain(depth):
    if os.fork():
        return
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if depth:
        chain(depth - 1)
        kept["main"].close()
    os.write(tell, b"%d %d\\n" % (depth, os.getpid()))
    while True:
        signal.pause()

def lowest(depth):
    global tell
    told, tell = os.pipe()
    chain(depth)
    os.close(tell)
    text = b""
    while text.count(b"\\n") <= depth:
        text += os.read(told, 4096)
    os.close(told)
    pids = dict(map(int, line.split()) for line in text.splitlines())
    return pids[0]

result = [lowest(depth) for depth in DEPTHS]
kept["main"].close()
"""


@pytest.mark.parametrize("depths", [(14, 2), (2, 14)])
def test_those_above_several_holders(holder: Holder, depths: tuple[int, int]) -> None:
    """Each is told as many, whatever was told of another one before."""
    holder.bind(listen=True)
    inode = holder.inode()
    holding = holder.run(f"DEPTHS = {depths}\n{CHAIN}")
    scan = native.find_owners([inode])
    assert {one.pid for one in scan.processes} == set(holding)
    known = {one.pid: one for one in (*scan.processes, *scan.ancestors)}
    for pid in holding:
        expected = [one.pid for one in native.read_ancestors(known[pid].parent)]
        above: list[int] = []
        one = known.get(known[pid].parent)
        while one is not None and len(above) < native.MOST_ANCESTORS:
            above.append(one.pid)
            one = known.get(one.parent)
        assert above == [pid for pid in expected if pid != 1]


def test_who_let_go_meanwhile_is_above_still(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(scan: native.Scan) -> native.Scan:
        return replace(scan, holders=(), processes=())

    monkeypatch.setattr(holder_search, "without_borrowers", without)
    holder.bind(listen=True)
    found = holder_search.HolderSearch().find({holder.inode()})
    assert found.scan.processes == ()
    assert holder.pid in found.processes


def test_our_own_program() -> None:
    whole = native.read_process(os.getpid())
    own = native.read_own_program()
    assert whole is not None
    assert own is not None
    assert (own.pid, own.command, own.folder, own.executable) == (
        *(whole.pid, whole.command),
        *(whole.folder, whole.executable),
    )
