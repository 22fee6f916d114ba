"""Every process that has a socket is found, wherever its descriptor stands."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.borrowers import without_borrowers
from bindcheck.records import replace
from tests.support import Holder, needs
from tests.support.churn import running
from tests.support.searches import answer_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    needs("socket tables"),
]


@contextmanager
def forked(
    prepare: Callable[[], object], forever: Callable[[], object] = signal.pause
) -> Iterator[int]:
    """A child that has prepared and then does one thing again and again."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            os.write(writer, b"x")
            while True:
                forever()
        finally:
            os._exit(1)
    os.close(writer)
    try:
        ready = os.read(reader, 1)
        os.close(reader)
        assert ready == b"x"
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def by_stat(inodes: set[int]) -> set[tuple[int, int, int]]:
    """The same answer by another way: pid, descriptor and inode."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            inode = link.stat().st_ino
            if inode in inodes and link.readlink().name.startswith("socket:"):
                found.add((int(link.parts[2]), int(link.name), inode))
        except OSError:
            continue
    return found


def by_core(inodes: set[int]) -> set[tuple[int, int | None, int]]:
    """What the core finds."""
    scan = native.find_owners(sorted(inodes))
    found = [(one.pid, one.fd, one.inode) for one in scan.holders]
    assert len(set(found)) == len(found), "found twice"
    return set(found)


def inode_of(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


@pytest.mark.parametrize("sockets", [1, 2, 3])
def test_every_holder_of_a_shared_socket(sockets: int) -> None:
    shared = [socket.create_server(("127.0.0.1", 0)) for _ in range(sockets)]
    first = shared[0].fileno()

    def moved() -> None:
        # As bash keeps its own: far away, with nothing in between.
        os.dup2(first, 255)
        os.close(first)

    def several() -> None:
        for _ in range(40):
            os.dup(first)

    def with_holes() -> None:
        null = os.open(os.devnull, os.O_RDONLY)
        numbers = [os.dup(null) for _ in range(60)]
        for number in numbers[::2]:
            os.close(number)
        fcntl.fcntl(first, fcntl.F_DUPFD, numbers[-1])

    def without() -> None:
        for one in shared:
            one.close()

    inodes = {inode_of(one) for one in shared}
    with forked(moved), forked(several), forked(with_holes), forked(without) as other:
        found = by_core(inodes)
        assert found == by_stat(inodes)
        assert other not in {pid for pid, _, _ in found}
    for one in shared:
        one.close()


@pytest.mark.parametrize("sockets", [1, 2])
def test_a_few_holders_among_many_processes(sockets: int) -> None:
    """Of so many those descriptors are looked at first that listeners mostly have."""
    shared = [socket.create_server(("127.0.0.1", 0)) for _ in range(sockets)]
    inodes = {inode_of(one) for one in shared}
    holders = set()

    def hold(number: int) -> None:
        for place, one in enumerate(shared):
            if number == 150:  # where nobody looks first
                fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 100 + 100 * place)
            if number not in (120, 151, 299):
                one.close()
        os.dup2(0, 900)

    with ExitStack() as crowd:
        for number in range(300):
            pid = crowd.enter_context(forked(partial(hold, number)))
            if number in (120, 150, 151, 299):
                holders.add(pid)
        for one in shared:
            one.close()
        found = by_core(inodes)
        assert found == by_stat(inodes)
        assert {pid for pid, _, _ in found} == holders


def test_a_holder_that_moves_its_descriptor() -> None:
    """What others were compared with meanwhile is not taken for an answer."""
    with socket.create_server(("127.0.0.1", 0)) as shared:
        number, inode = shared.fileno(), inode_of(shared)
        null = os.open(os.devnull, os.O_RDONLY)
        elsewhere = os.dup(null)

        def move() -> None:
            os.dup2(number, elsewhere)
            os.dup2(null, number)
            os.dup2(elsewhere, number)
            os.dup2(null, elsewhere)

        with forked(bool, move), forked(bool) as keeper:
            shared.close()
            for _ in range(200):
                found = {(pid, fd) for pid, fd, _ in by_core({inode})}
                assert (keeper, number) in found
        os.close(null)
        os.close(elsewhere)


@needs("root")
def test_who_borrowed_it_for_a_moment_is_not_named(
    monkeypatch: pytest.MonkeyPatch, make_holder: Callable[..., Holder]
) -> None:
    """As another diagnosis does, which is kept from running before it gives it back."""
    owner, borrower = make_holder(), make_holder()
    port = owner.bind(listen=True)
    number = owner.run("result = kept['main'].fileno()")
    borrower.run(
        "import ctypes\n"
        f"process = os.pidfd_open({owner.pid})\n"
        f"kept['borrowed'] = ctypes.CDLL(None).syscall(438, process, {number}, 0)"
    )
    real = native.find_owners

    def then_it_is_given_back(inodes: Sequence[int]) -> native.Scan:
        scan = real(inodes)
        assert {one.pid for one in scan.holders} == {owner.pid, borrower.pid}
        borrower.run("os.close(kept['borrowed'])")
        return scan

    answer_with(monkeypatch, then_it_is_given_back)
    (found,) = bindcheck.diagnose(("127.0.0.1", port))
    (blocker,) = found.blockers
    assert [one.pid for one in blocker.owner.processes] == [owner.pid]
    assert blocker.socket.reuse_address is not None


def test_holder_that_moves_its_descriptor() -> None:
    """It is what others are compared with, while it is that socket and while it is not."""
    with ExitStack() as stack:
        shared = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        inode, number = inode_of(shared), shared.fileno()
        quiet = {stack.enter_context(forked(bool)) for _ in range(8)}
        aside, other = os.dup(number), os.open(os.devnull, os.O_RDONLY)

        def move() -> None:
            for one in (other, aside):
                os.dup2(one, number)
                time.sleep(0.0001)

        stack.enter_context(running([move]))
        for one in (aside, other):
            os.close(one)
        shared.close()
        for _ in range(300):
            assert quiet <= {one.pid for one in native.find_owners([inode]).holders}


def test_who_cannot_be_asked_again_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as shared:
        inode = inode_of(shared)
        with forked(bool):  # our child: nobody doubts it
            scan = native.find_owners([inode])
        strangers = tuple(replace(one, parent=1) for one in scan.processes)
        scan = replace(scan, processes=strangers)

        def refuse(path: str) -> str:
            raise PermissionError(path)

        monkeypatch.setattr(os, "readlink", refuse)
        assert without_borrowers(scan) == scan
        monkeypatch.undo()
        (left,) = without_borrowers(scan).processes  # the child has ended
        assert left.pid == os.getpid()
