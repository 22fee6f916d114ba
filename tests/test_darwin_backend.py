"""What the macOS backend tells of sockets and processes of our own.

On other systems this file is not collected (conftest.py).
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import closing
from typing import Any

import psutil
import pytest

from bindcheck._native import ffi, lib

_ffi: Any = ffi
TCP, UDP = 6, 17
LOOPBACK = "127.0.0.1"


def listed(port: int, protocol: int = TCP) -> list[Any]:
    rows = _ffi.new("bc_socket[]", 256)
    count, listing = _ffi.new("size_t *"), _ffi.new("bc_listing *")
    status = lib.bc_list_sockets(protocol, port, rows, 256, count, listing)
    assert (status, listing.refused.code) == (lib.BC_OK, 0)
    assert (listing.source, listing.bound) == (lib.BC_SOURCE_PCBLIST, 1)
    return [rows[index] for index in range(count[0])]


def only(port: int, protocol: int = TCP) -> Any:
    (row,) = listed(port, protocol)
    return row


def arrays() -> tuple[Any, list[Any]]:
    """A bc_owners with room, and what must live as long as it."""
    kept = [
        _ffi.new("bc_holder[]", 64),
        _ffi.new("bc_process[]", 64),
        _ffi.new("char[]", 1 << 20),
    ]
    owners = _ffi.new("bc_owners *")
    owners.holders, owners.holder_capacity = kept[0], 64
    owners.processes, owners.process_capacity = kept[1], 64
    owners.text, owners.text_capacity = kept[2], 1 << 20
    return owners, kept


def text(owners: Any, offset: int, length: int) -> bytes:
    return bytes(_ffi.buffer(owners.text, owners.text_count)[offset : offset + length])


def bound(kind: int = socket.SOCK_STREAM, *options: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    for option in options:
        made.setsockopt(socket.SOL_SOCKET, option, 1)
    made.bind((LOOPBACK, 0))
    return made


class TestSockets:
    def test_listener(self) -> None:
        with bound(socket.SOCK_STREAM, socket.SO_REUSEADDR) as server:
            server.listen()
            row = only(server.getsockname()[1])
            assert row.state == lib.BC_STATE_LISTEN
            assert bytes(row.local.address)[:4] == bytes([127, 0, 0, 1])
            assert (row.pid, row.uid) == (os.getpid(), os.geteuid())
            assert (row.reuse_address, row.reuse_port, row.v6only) == (1, 0, -1)
            assert row.inode != 0

    def test_socket_that_is_only_bound(self) -> None:
        with bound(socket.SOCK_STREAM, socket.SO_REUSEPORT) as one:
            row = only(one.getsockname()[1])
            assert row.state == lib.BC_STATE_CLOSE
            assert (row.reuse_address, row.reuse_port) == (0, 1)

    def test_datagrams(self) -> None:
        with bound(socket.SOCK_DGRAM) as one:
            row = only(one.getsockname()[1], UDP)
            assert (row.protocol, row.state) == (UDP, lib.BC_STATE_CLOSE)

    @pytest.mark.parametrize("v6only", [0, 1])
    def test_wildcard_of_ipv6(self, v6only: int) -> None:
        with socket.socket(socket.AF_INET6) as one:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            one.bind(("::", 0))
            row = only(one.getsockname()[1])
            assert (row.local.family, row.v6only) == (lib.BC_FAMILY_INET6, v6only)
            assert bytes(row.local.address) == bytes(16)

    def test_connection_and_what_is_left_of_it(self) -> None:
        with bound() as server:
            server.listen()
            port = server.getsockname()[1]
            client = socket.create_connection((LOOPBACK, port))
            accepted, address = server.accept()
            (there,) = (row for row in listed(port) if row.remote.port == address[1])
            assert there.state == lib.BC_STATE_ESTABLISHED
            assert there.opened in (lib.BC_OPENED_PASSIVELY, lib.BC_OPENED_UNKNOWN)
            here = only(address[1])
            assert here.opened in (lib.BC_OPENED_ACTIVELY, lib.BC_OPENED_UNKNOWN)
            accepted.close()  # the side that closes first lingers
            assert client.recv(1) == b""
            client.close()
            closing_states = {
                lib.BC_STATE_FIN_WAIT_1,
                lib.BC_STATE_FIN_WAIT_2,
                lib.BC_STATE_TIME_WAIT,
            }
            for row in listed(port):
                if row.remote.port:
                    assert row.state in closing_states
                    assert (row.timer == 3) == (row.state == lib.BC_STATE_TIME_WAIT)


class TestOwners:
    def test_holder_and_its_process(self) -> None:
        with closing(bound()) as one:
            inode = only(one.getsockname()[1]).inode
            owners, _kept = arrays()
            wanted = _ffi.new("uint64_t[]", [inode])
            assert lib.bc_find_owners(wanted, 1, owners) == lib.BC_OK
            assert (owners.available, owners.holder_count) == (1, 1)
            holder, process = owners.holders[0], owners.processes[0]
            assert (holder.inode, holder.fd) == (inode, one.fileno())
            assert holder.pid == holder.tid == process.pid == os.getpid()
            assert (holder.options_read, holder.close_on_exec) == (1, 1)
            assert _ffi.string(holder.protocol) == b"TCP"
        started = psutil.Process().create_time()
        assert abs(process.start_ticks / 1_000_000 - started) < 0.01
        assert (process.parent, process.uid) == (os.getppid(), os.geteuid())
        assert chr(process.state) in "RS"
        assert process.threads >= 1
        folder = text(owners, process.folder_offset, process.folder_length)
        assert os.path.realpath(folder) == os.path.realpath(os.getcwdb())  # noqa: PTH109
        command = text(owners, process.command_offset, process.command_length)
        assert command.split(b"\0")[1:-1] == [
            os.fsencode(one) for one in sys.orig_argv[1:]
        ]
        if os.geteuid() != 0:
            assert 0 < owners.unreadable < owners.seen

    def test_process_of_another_user(self) -> None:
        owners, _kept = arrays()
        assert lib.bc_read_process(1, owners) == lib.BC_OK
        process = owners.processes[0]
        assert (process.pid, process.uid, process.parent) == (1, 0, 0)
        name = text(owners, process.name_offset, process.name_length)
        assert name == b"launchd"
        assert process.start_ticks > 0

    @pytest.mark.parametrize("pid", [-1, 0, 0x7FFF_FFFF])
    def test_process_that_is_none(self, pid: int) -> None:
        owners, _kept = arrays()
        assert lib.bc_read_process(pid, owners) == lib.BC_E_SYSTEM
        assert owners.process_count == 0


class TestFacts:
    def test_facts(self) -> None:
        facts = _ffi.new("bc_facts *")
        assert lib.bc_read_facts(facts) == lib.BC_OK
        assert 0 < facts.ephemeral_low < facts.ephemeral_high < 65536
        assert facts.segment_lifetime_ms > 0
        assert facts.clock_ticks == 1_000_000
        assert (facts.loopback_up, facts.bind_v6only) == (1, 0)
        assert facts.euid == os.geteuid()

    def test_ports_that_are_kept_cannot_be_bound(self) -> None:
        ranges = _ffi.new("bc_port_range[]", 256)
        count, failed = _ffi.new("size_t *"), _ffi.new("bc_error *")
        assert lib.bc_list_kept_ports(TCP, ranges, 256, count, failed) == lib.BC_OK
        for index in range(count[0]):
            in_use = pytest.raises(OSError, match=rf"Errno {errno.EADDRINUSE}\b")
            with socket.socket() as one, in_use:
                one.bind((LOOPBACK, ranges[index].first))
