"""Diagnoses while processes come and go, and connections by the thousand a second."""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.words import OwnerKind, Verdict
from tests.support import NOBODY, Holder, as_user, in_child, in_user_namespace, needs
from tests.support.churn import accept, connect, fork_and_end, running
from tests.support.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    in_pid_namespace,
    mount,
)

if TYPE_CHECKING:
    from bindcheck.model import Diagnosis

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]

SCANS, DIAGNOSES = 200, 200


def check(port: int) -> Diagnosis:
    (one,) = bindcheck.diagnose(f"127.0.0.1:{port}")
    return one


def connections() -> int:
    """How many were opened in this network (SNMP's tcpActiveOpens)."""
    lines = Path("/proc/self/net/snmp").read_text("ascii").splitlines()
    names, values = (one.split() for one in lines if one.startswith("Tcp:"))
    return int(values[names.index("ActiveOpens")])


def named(found: Diagnosis) -> set[int]:
    return {process.pid for one in found.blockers for process in one.owner.processes}


@needs("root", "network namespaces")
def test_processes_that_come_and_go() -> None:
    """In a pid namespace where each process can be read: none is called unreadable."""

    def scans() -> list[tuple[int, list[bool]]]:
        with Holder() as holder, running([fork_and_end] * 3):
            holder.bind(listen=True)
            inode = holder.inode()
            found = [native.find_owners([inode]) for _ in range(SCANS)]
            return [
                (one.unreadable, [each.pid == holder.pid for each in one.holders])
                for one in found
            ]

    assert set(map(str, in_pid_namespace(scans))) == {str((0, [True]))}


@needs("user namespaces")
def test_ordinary_processes_that_come_and_go() -> None:
    """What is about to exit belongs to root, and has no descriptors soon after.

    In a pid namespace of an ordinary user. One that gets no processor may be on its way
    out for so long that it counts; without patience it is every second scan.
    """

    def scans() -> int:
        mount("-t", "proc", "proc", "/proc")
        with (
            socket.create_server(("127.0.0.1", 0)) as own,
            running([fork_and_end] * 3),
        ):
            inode = os.fstat(own.fileno()).st_ino
            return sum(native.find_owners([inode]).unreadable > 0 for _ in range(SCANS))

    def in_namespaces() -> int:
        return in_user_namespace(
            lambda: in_child(lambda: None, scans), flags=CLONE_NEWPID | CLONE_NEWNS
        )

    root = os.geteuid() == 0
    counted = as_user(NOBODY, in_namespaces) if root else in_namespaces()
    assert counted <= SCANS // 50


def test_holder_among_processes_that_come_and_go(holder: Holder) -> None:
    port = holder.bind(listen=True)
    with running([fork_and_end] * 2):
        for _ in range(20):
            found = check(port)
            assert found.verdict is Verdict.BLOCKED
            assert named(found) == {holder.pid}


class TestConnections:
    """A server that is connected to, from a port of its own and from any."""

    def test_nobody_else_is_blamed(self, holder: Holder) -> None:
        free = holder.bind(name="free")
        source = holder.bind(name="source")
        holder.close("free")
        holder.close("source")
        before = connections()
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
            port = listener.getsockname()[1]
            loops = [
                partial(connect, port, source),
                partial(connect, port),
                partial(accept, listener),
                partial(accept, listener),
            ]
            with running(loops) as pids:
                bound, client, *_ = pids
                everybody = {os.getpid(), *pids}  # each has inherited the listener
                for _ in range(DIAGNOSES // 4):
                    self.listener_is_named(port, everybody)
                    self.source_is_the_clients(source, bound)
                    self.neighbour_is_free(free, client)
                    self.table_is_sane(port, everybody)
            assert connections() - before > DIAGNOSES

    @staticmethod
    def listener_is_named(port: int, having: set[int]) -> None:
        """The connections that it took are of the same processes."""
        found = check(port)
        assert found.verdict is Verdict.BLOCKED
        assert named(found) == having

    @staticmethod
    def source_is_the_clients(source: int, client: int) -> None:
        """A connection from that port is there or not; who has it is one process."""
        found = check(source)
        assert named(found) <= {client}
        if found.verdict in (Verdict.BINDABLE, Verdict.TRANSIENT):
            assert found.blockers == ()
        for one in found.blockers:
            assert one.owner.kind in (
                OwnerKind.PROCESS,
                OwnerKind.HIDDEN,
                OwnerKind.NONE,
            )

    @staticmethod
    def neighbour_is_free(free: int, client: int) -> None:
        """But for connections that take it as any other port."""
        found = check(free)
        assert named(found) <= {client}

    @staticmethod
    def table_is_sane(port: int, known: set[int]) -> None:
        for row in bindcheck.sockets(port=port):
            assert {one.pid for one in row.owner.processes} <= known
