"""The decoders: what kernels say, laid out by hand, and what nobody should ever say.

Whatever is decoded here lies between two pages that may not be touched, so that a read
past either end is a crash, and the rows are followed by bytes that must not change.
"""

from __future__ import annotations

import ctypes
import ipaddress
import mmap
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindcheck._native import ffi, lib
from tests.support import needs, wire
from tests.support.wire import BIG, LITTLE, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support import Holder

_ffi: Any = ffi  # with the functions that the product does not use
BYTES = _ffi.typeof("uint8_t *")
PAGE = mmap.PAGESIZE
CANARY = 0xA5
ENOUGH = 16  # rows, of whatever the properties decode

both_orders = pytest.mark.parametrize("order", [LITTLE, BIG])
settings.register_profile("decoders", derandomize=True, deadline=None, database=None)
properties = settings(settings.get_profile("decoders"), max_examples=150)


class Guarded:
    """Memory between two pages that may not be touched."""

    def __init__(self, pages: int = 16) -> None:
        self.size = pages * PAGE
        self.map = mmap.mmap(-1, self.size + 2 * PAGE)
        view = (ctypes.c_char * len(self.map)).from_buffer(self.map)
        self.start = ctypes.addressof(view) + PAGE
        if sys.platform != "win32":
            libc = ctypes.CDLL(None, use_errno=True)
            for forbidden in (self.start - PAGE, self.start + self.size):
                page = ctypes.c_void_p(forbidden)
                assert libc.mprotect(page, PAGE, 0) == 0  # PROT_NONE

    def place(self, data: bytes, *, at_end: bool = True) -> Any:
        """Copy bytes to the very end or the very start; returns a pointer."""
        assert len(data) <= self.size
        offset = self.size - len(data) if at_end else 0
        self.map[PAGE + offset : PAGE + offset + len(data)] = data
        return _ffi.cast(BYTES, self.start + offset)


guarded = Guarded()


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What a decoder of rows left behind."""

    status: int
    rows: tuple[dict[str, Any], ...]
    count: int
    state: int
    code: int
    requests: int
    consumed: int = -1


def described(row: Any) -> dict[str, Any]:
    """A bc_socket as plain data; zeroes of no meaning are left out by the caller."""

    def endpoint(one: Any) -> tuple[str, int]:
        size = {lib.BC_FAMILY_INET: 4, lib.BC_FAMILY_INET6: 16}[one.family]
        packed = bytes(_ffi.buffer(one.address, size))
        assert bytes(_ffi.buffer(one.address, 16))[size:] == bytes(16 - size)
        return str(ipaddress.ip_address(packed)), one.port

    numbers = (
        *("cookie", "inode", "cgroup_id", "uid", "expires_ms", "device", "protocol"),
        *("state", "timer", "v6only", "opened", "source"),
    )
    return {
        "local": endpoint(row.local),
        "remote": endpoint(row.remote),
        "scope_id": row.local.scope_id,
        **{name: getattr(row, name) for name in numbers},
    }


def _decode(
    call: Callable[[Any, Any, Any, Any], int],
    *,
    capacity: int,
    count: int,
    sequence: int,
) -> Decoded:
    out = _ffi.new("bc_socket[]", capacity + 2)
    memory = _ffi.buffer(out)
    memory[:] = bytes([CANARY]) * len(memory)
    counter, consumed = _ffi.new("size_t *", count), _ffi.new("size_t *", 1 << 40)
    status = _ffi.new("bc_decode_status *", {"sequence": sequence})
    answer = call(out, counter, consumed, status)
    assert counter[0] >= count
    filled = min(counter[0], capacity)
    size = _ffi.sizeof("bc_socket")
    untouched = memory[: min(count, capacity) * size] + memory[filled * size :]
    assert set(untouched) == {CANARY}
    assert status.sequence == sequence
    assert status.code >= 0
    return Decoded(
        status=answer,
        rows=tuple(described(out[index]) for index in range(count, filled)),
        count=counter[0],
        state=status.state,
        code=status.code,
        requests=status.requests,
        consumed=consumed[0],
    )


def diag(
    data: bytes,
    order: str = LITTLE,
    *,
    protocol: int = 6,
    port: int = 0,
    capacity: int = 64,
    count: int = 0,
    sequence: int = 0,
    at_end: bool = True,
) -> Decoded:
    """Decode one datagram of a sock_diag dump."""
    place = guarded.place(data, at_end=at_end)
    head = (place, len(data), int(order == BIG), protocol, port)

    def call(out: Any, counter: Any, _: Any, status: Any) -> int:
        return lib.bc_decode_sock_diag(*head, out, capacity, counter, status)

    return _decode(call, capacity=capacity, count=count, sequence=sequence)


def proc_net(
    data: bytes,
    order: str = LITTLE,
    *,
    family: int = lib.BC_FAMILY_INET,
    protocol: int = 6,
    port: int = 0,
    capacity: int = 64,
    count: int = 0,
    at_end: bool = True,
) -> Decoded:
    """Decode lines of a table of /proc/net."""
    place = guarded.place(data, at_end=at_end)
    head = (place, len(data), int(order == BIG), family, protocol, port)

    def call(out: Any, counter: Any, consumed: Any, status: Any) -> int:
        rest = (out, capacity, counter, consumed, status)
        return lib.bc_decode_proc_net(*head, *rest)

    return _decode(call, capacity=capacity, count=count, sequence=0)


def proc_stat(data: bytes, *, at_end: bool = True) -> tuple[int, dict[str, int]]:
    """Decode /proc/PID/stat."""
    out = _ffi.new("bc_proc_stat[]", 2)
    memory = _ffi.buffer(out)
    memory[:] = bytes([CANARY]) * len(memory)
    place = guarded.place(data, at_end=at_end)
    status = lib.bc_decode_proc_stat(place, len(data), out)
    assert set(memory[len(memory) // 2 :]) == {CANARY}
    names = ("pid", "parent", "flags", "threads", "state", "start_ticks")
    return status, {name: getattr(out[0], name) for name in names}


def only(decoded: Decoded) -> dict[str, Any]:
    assert decoded.status == lib.BC_OK
    assert decoded.count == 1
    return decoded.rows[0]


class TestSockDiag:
    @both_orders
    def test_listener(self, order: str) -> None:
        row = Row(local=("127.0.0.1", 8080), uid=1000, inode=18846, cookie=0x100004F21)
        assert only(diag(row.message(order), order)) == {
            "local": ("127.0.0.1", 8080),
            "remote": ("0.0.0.0", 0),  # noqa: S104
            "scope_id": 0,
            "cookie": 0x100004F21,
            "inode": 18846,
            "cgroup_id": 0,
            "uid": 1000,
            "expires_ms": 0,
            "device": 0,
            "protocol": 6,
            "state": wire.LISTEN,
            "timer": 0,
            "v6only": -1,
            "opened": lib.BC_OPENED_UNKNOWN,
            "source": lib.BC_SOURCE_SOCK_DIAG,
        }

    @both_orders
    @pytest.mark.parametrize(
        "address", ["127.0.0.1", "::", "::1", "::ffff:127.0.0.1", "2001:db8::1"]
    )
    def test_addresses(self, order: str, address: str) -> None:
        row = Row(local=(address, 443), remote=(address, 50000), state=wire.ESTABLISHED)
        found = only(diag(row.message(order), order))
        assert found["local"] == (str(ipaddress.ip_address(address)), 443)
        assert found["remote"] == (str(ipaddress.ip_address(address)), 50000)

    @both_orders
    @pytest.mark.parametrize(
        ("address", "scope"), [("fe80::1", 3), ("febf::1", 3), ("fec0::1", 0)]
    )
    def test_interface_is_the_zone_of_link_local_addresses(
        self, order: str, address: str, scope: int
    ) -> None:
        row = Row(local=(address, 443), device=3)
        found = only(diag(row.message(order), order))
        assert (found["device"], found["scope_id"]) == (3, scope)

    @both_orders
    def test_bound_only_socket(self, order: str) -> None:
        row = Row(local=("127.0.0.1", 8080), state=wire.CLOSE, inode=5)
        assert only(diag(row.message(order), order))["state"] == wire.CLOSE

    @both_orders
    def test_time_wait(self, order: str) -> None:
        row = Row(
            local=("127.0.0.1", 8080),
            remote=("127.0.0.1", 40000),
            state=wire.TIME_WAIT,
            timer=3,
            expires_ms=41_234,
        )
        found = only(diag(row.message(order), order))
        assert (found["state"], found["timer"]) == (wire.TIME_WAIT, 3)
        assert (found["expires_ms"], found["inode"]) == (41_234, 0)

    @both_orders
    def test_request_sockets_are_left_out_and_counted(self, order: str) -> None:
        request = Row(local=("127.0.0.1", 8080), state=wire.SYN_RECV).message(order)
        other = Row(local=("127.0.0.1", 9090), state=wire.SYN_RECV).message(order)
        found = diag(2 * request + other, order, port=8080)
        assert (found.count, found.requests) == (0, 2)

    @both_orders
    def test_full_socket_in_syn_recv_is_a_row(self, order: str) -> None:
        shutdown = wire.attribute(order, wire.INET_DIAG_SHUTDOWN, b"\0")
        full = Row(
            local=("127.0.0.1", 80), state=wire.SYN_RECV, attributes=shutdown
        ).message(order)
        opened = Row(local=("127.0.0.1", 80), state=wire.SYN_RECV, inode=9)
        found = diag(full + opened.message(order), order)
        assert (found.count, found.requests) == (2, 0)

    @both_orders
    @pytest.mark.parametrize(("port", "expected"), [(0, 3), (80, 2), (81, 1), (82, 0)])
    def test_other_ports_are_left_out(
        self, order: str, port: int, expected: int
    ) -> None:
        data = b"".join(
            Row(local=("127.0.0.1", one)).message(order) for one in (80, 81, 80)
        )
        assert diag(data, order, port=port).count == expected

    @both_orders
    @pytest.mark.parametrize(
        ("end", "state", "code"),
        [
            (wire.done, lib.BC_DECODE_DONE, 0),
            (lambda order: wire.done(order, None), lib.BC_DECODE_DONE, 0),
            (lambda order: wire.done(order, 2), lib.BC_DECODE_ERROR, 2),
            (lambda order: wire.error(order, 95), lib.BC_DECODE_ERROR, 95),
        ],
        ids=["done", "done without code", "done with error", "error"],
    )
    def test_end(
        self, order: str, end: Callable[[str], bytes], state: int, code: int
    ) -> None:
        row = Row(local=("127.0.0.1", 80)).message(order)
        found = diag(row + end(order) + row, order)
        # What stands behind the end belongs to nobody.
        assert (found.count, found.state, found.code) == (1, state, code)

    @both_orders
    def test_acknowledgement_ends_nothing(self, order: str) -> None:
        row = Row(local=("127.0.0.1", 80)).message(order)
        found = diag(row + wire.error(order, 0) + row, order)
        assert (found.count, found.state) == (2, lib.BC_DECODE_MORE)

    @both_orders
    @pytest.mark.parametrize("rest", [b"\1\2", bytes(15)])
    def test_rest_that_is_no_message(self, order: str, rest: bytes) -> None:
        row = Row(local=("127.0.0.1", 80)).message(order)
        found = diag(row + rest, order)
        assert (found.status, found.count) == (lib.BC_E_MALFORMED, 1)
        short = wire.message(order, wire.NLMSG_ERROR, rest[:2])
        assert diag(row + short, order).status == lib.BC_E_MALFORMED

    @both_orders
    def test_dump_that_goes_on(self, order: str) -> None:
        found = diag(Row(local=("127.0.0.1", 80)).message(order), order)
        assert found.state == lib.BC_DECODE_MORE

    @both_orders
    def test_answers_to_an_earlier_request_are_skipped(self, order: str) -> None:
        row = Row(local=("127.0.0.1", 80))
        data = (
            row.message(order, sequence=6)
            + wire.done(order, sequence=6)
            + wire.error(order, 5, sequence=8)
            + row.message(order, sequence=7)
        )
        found = diag(data, order, sequence=7)
        assert (found.count, found.state, found.code) == (1, lib.BC_DECODE_MORE, 0)
        assert diag(data, order, sequence=0).state == lib.BC_DECODE_DONE

    @both_orders
    def test_unknown_messages_and_families_are_skipped(self, order: str) -> None:
        row = Row(local=("127.0.0.1", 80))
        unix = b"\1" + row.payload(order)[1:]
        data = (
            wire.message(order, wire.NLMSG_NOOP, bytes(72))
            + wire.message(order, 77, row.payload(order))
            + wire.message(order, wire.SOCK_DIAG_BY_FAMILY, unix)
            + row.message(order)
        )
        assert only(diag(data, order))["local"] == ("127.0.0.1", 80)

    @both_orders
    def test_message_that_is_too_short_is_skipped(self, order: str) -> None:
        row = Row(local=("127.0.0.1", 80))
        for length in range(72):
            cut = row.payload(order)[:length]
            data = wire.message(order, wire.SOCK_DIAG_BY_FAMILY, cut)
            assert diag(data, order).count == 0
            # The last message of a datagram needs no padding.
            assert diag(data[: 16 + length], order).count == 0
            assert diag(data + row.message(order), order).count == 1

    @both_orders
    @pytest.mark.parametrize("length", [0, 1, 15, 89, 1 << 31, (1 << 32) - 1])
    def test_length_that_cannot_be(self, order: str, length: int) -> None:
        row = Row(local=("127.0.0.1", 80)).message(order)
        sizes = {LITTLE: "little", BIG: "big"}
        wrong = length.to_bytes(4, sizes[order]) + row[4:]  # type: ignore[arg-type]
        found = diag(row + wrong, order)
        assert (found.status, found.count) == (lib.BC_E_MALFORMED, 1)

    def test_rest_that_is_no_header_is_ignored(self) -> None:
        row = Row(local=("127.0.0.1", 80)).message(LITTLE)
        for length in range(16):
            assert diag(row + bytes(length)).count == 1
            assert diag(bytes(length)).count == 0

    def test_wrong_byte_order_is_refused(self) -> None:
        row = Row(local=("127.0.0.1", 80)).message(LITTLE)
        assert diag(row, BIG).status == lib.BC_E_MALFORMED


class TestAttributes:
    @staticmethod
    def row(order: str, *attributes: bytes, **other: Any) -> dict[str, Any]:
        made = Row(local=("::1", 80), attributes=b"".join(attributes), **other)
        return only(diag(made.message(order), order))

    @both_orders
    @pytest.mark.parametrize("value", [0, 1])
    def test_v6only(self, order: str, value: int) -> None:
        one = wire.attribute(order, wire.INET_DIAG_SKV6ONLY, bytes([value]))
        assert self.row(order, one)["v6only"] == value

    @both_orders
    def test_cgroup(self, order: str) -> None:
        sizes = {LITTLE: "little", BIG: "big"}
        number = 0x1234_5678_9ABC_DEF0
        payload = number.to_bytes(8, sizes[order])  # type: ignore[arg-type]
        one = wire.attribute(order, wire.INET_DIAG_CGROUP_ID, payload)
        unknown = wire.attribute(order, 99, b"12345")
        assert self.row(order, unknown, one)["cgroup_id"] == number

    @both_orders
    def test_flags_of_a_type_are_no_part_of_it(self, order: str) -> None:
        kind = wire.NLA_F_NESTED | wire.INET_DIAG_SKV6ONLY
        assert self.row(order, wire.attribute(order, kind, b"\1"))["v6only"] == 1

    @both_orders
    @pytest.mark.parametrize("length", [0, 1, 2, 3, 6, 0xFFFF])
    def test_length_that_cannot_be_ends_the_attributes(
        self, order: str, length: int
    ) -> None:
        wrong = wire.attribute(order, wire.INET_DIAG_SKV6ONLY, b"", length=length)
        assert self.row(order, wrong)["v6only"] == -1
        if length in (0, 1, 2, 3, 0xFFFF):
            after = wire.attribute(order, wire.INET_DIAG_SKV6ONLY, b"\1")
            assert self.row(order, wrong, after)["v6only"] == -1

    @both_orders
    def test_cut_off_attribute_is_not_read(self, order: str) -> None:
        row = Row(
            local=("::1", 80),
            attributes=wire.attribute(order, wire.INET_DIAG_CGROUP_ID, b"\xff" * 8),
        )
        for length in range(72, 84):
            cut = row.payload(order)[:length]
            data = wire.message(order, wire.SOCK_DIAG_BY_FAMILY, cut)[: 16 + length]
            assert only(diag(data, order))["cgroup_id"] == 0

    @both_orders
    @pytest.mark.parametrize(
        ("kind", "payload"),
        [
            (wire.INET_DIAG_SKV6ONLY, b""),
            (wire.INET_DIAG_CGROUP_ID, b"\xff" * 7),
            (wire.INET_DIAG_INFO, bytes(215)),
        ],
    )
    def test_payload_that_is_too_short_is_not_read(
        self, order: str, kind: int, payload: bytes
    ) -> None:
        bare = self.row(order, state=wire.ESTABLISHED)
        one = wire.attribute(order, kind, payload)
        assert self.row(order, one, state=wire.ESTABLISHED) == bare

    @both_orders
    @pytest.mark.parametrize(
        ("counters", "state", "opened"),
        [
            ({"acked": 1, "sent": 0}, wire.ESTABLISHED, "ACTIVELY"),
            ({"acked": 0, "sent": 0}, wire.ESTABLISHED, "PASSIVELY"),
            ({"acked": 501, "sent": 500}, wire.CLOSE_WAIT, "ACTIVELY"),
            ({"acked": 500, "sent": 500}, wire.CLOSE_WAIT, "PASSIVELY"),
            (
                {"acked": 501, "sent": 700, "retransmitted": 200},
                wire.ESTABLISHED,
                "ACTIVELY",
            ),
            ({"acked": 1, "sent": 0, "unacked": 1}, wire.ESTABLISHED, "UNKNOWN"),
            ({"acked": 9, "sent": 0}, wire.ESTABLISHED, "UNKNOWN"),
            ({"acked": 1, "sent": 0}, wire.LISTEN, "UNKNOWN"),
            ({"acked": 1, "sent": 0}, wire.TIME_WAIT, "UNKNOWN"),
        ],
    )
    def test_who_opened_a_connection(
        self, order: str, counters: dict[str, int], state: int, opened: str
    ) -> None:
        info = wire.tcp_info(order, **counters)
        one = wire.attribute(order, wire.INET_DIAG_INFO, info)
        expected = getattr(lib, f"BC_OPENED_{opened}")
        assert self.row(order, one, state=state)["opened"] == expected

    @both_orders
    def test_info_of_other_protocols_is_something_else(self, order: str) -> None:
        info = wire.tcp_info(order, acked=1, sent=0)
        one = wire.attribute(order, wire.INET_DIAG_INFO, info)
        row = Row(local=("::1", 80), state=wire.ESTABLISHED, attributes=one)
        found = only(diag(row.message(order), order, protocol=17))
        assert found["opened"] == lib.BC_OPENED_UNKNOWN


class TestRoom:
    """Rows are written as far as there is room; the count tells what is needed."""

    @pytest.mark.parametrize("capacity", [0, 1, 4, 5, 6])
    def test_sock_diag(self, capacity: int) -> None:
        rows = [Row(local=("127.0.0.1", 80 + one), inode=one) for one in range(5)]
        data = b"".join(row.message(LITTLE) for row in rows)
        found = diag(data, capacity=capacity)
        expected = lib.BC_OK if capacity >= 5 else lib.BC_E_TRUNCATED
        assert (found.status, found.count) == (expected, 5)
        assert [row["inode"] for row in found.rows] == list(range(5))[:capacity]

    @pytest.mark.parametrize("capacity", [0, 1, 4, 5, 6])
    def test_proc_net(self, capacity: int) -> None:
        rows = [Row(local=("127.0.0.1", 80 + one), inode=one) for one in range(5)]
        data = b"".join(row.line(LITTLE) for row in rows)
        found = proc_net(data, capacity=capacity)
        expected = lib.BC_OK if capacity >= 5 else lib.BC_E_TRUNCATED
        assert (found.status, found.count) == (expected, 5)
        assert found.consumed == len(data)
        assert [row["inode"] for row in found.rows] == list(range(5))[:capacity]

    def test_rows_are_appended(self) -> None:
        row = Row(local=("127.0.0.1", 80), inode=7)
        for found in (
            diag(row.message(LITTLE), capacity=3, count=2),
            proc_net(row.line(LITTLE), capacity=3, count=2),
        ):
            assert (found.status, found.count) == (lib.BC_OK, 3)
            assert [one["inode"] for one in found.rows] == [7]

    def test_count_that_is_past_the_room_grows_on(self) -> None:
        row = Row(local=("127.0.0.1", 80))
        for found in (
            diag(row.message(LITTLE), capacity=1, count=5),
            proc_net(row.line(LITTLE), capacity=1, count=5),
        ):
            assert (found.status, found.count) == (lib.BC_E_TRUNCATED, 6)

    def test_no_array_is_needed_to_count(self) -> None:
        row = Row(local=("127.0.0.1", 80))
        count, consumed = _ffi.new("size_t *"), _ffi.new("size_t *")
        status = _ffi.new("bc_decode_status *")
        data = row.message(LITTLE)
        none = _ffi.NULL
        answer = lib.bc_decode_sock_diag(
            guarded.place(data), len(data), 0, 6, 0, none, 0, count, status
        )
        assert (answer, count[0]) == (lib.BC_E_TRUNCATED, 1)
        data = row.line(LITTLE)
        rest = (none, 0, count, consumed, status)
        answer = lib.bc_decode_proc_net(
            guarded.place(data), len(data), 0, 4, 6, 0, *rest
        )
        assert (answer, count[0]) == (lib.BC_E_TRUNCATED, 2)


class TestProcNet:
    @both_orders
    def test_lines_of_ipv4(self, order: str) -> None:
        listener = Row(local=("127.0.0.1", 8080), uid=1000, inode=18846)
        lingering = Row(
            local=("127.0.0.1", 8080),
            remote=("192.0.2.7", 40000),
            state=wire.TIME_WAIT,
            timer=3,
            expires_ms=41_230,
        )
        data = wire.TCP_HEADING + listener.line(order) + lingering.line(order, 1)
        found = proc_net(data, order)
        assert (found.status, found.count) == (lib.BC_OK, 2)
        assert found.consumed == len(data)
        assert found.rows[0] == {
            "local": ("127.0.0.1", 8080),
            "remote": ("0.0.0.0", 0),  # noqa: S104
            "scope_id": 0,
            "cookie": 0,
            "inode": 18846,
            "cgroup_id": 0,
            "uid": 1000,
            "expires_ms": 0,
            "device": 0,
            "protocol": 6,
            "state": wire.LISTEN,
            "timer": 0,
            "v6only": -1,
            "opened": lib.BC_OPENED_UNKNOWN,
            "source": lib.BC_SOURCE_PROC_NET,
        }
        assert found.rows[1]["remote"] == ("192.0.2.7", 40000)
        assert found.rows[1]["expires_ms"] == 41_230

    @both_orders
    @pytest.mark.parametrize(
        "address", ["::", "::1", "::ffff:127.0.0.1", "2001:db8::1:2", "fe80::1"]
    )
    def test_lines_of_ipv6(self, order: str, address: str) -> None:
        row = Row(local=(address, 443), remote=("2001:db8::2", 1))
        found = only(
            proc_net(row.line(order), order, family=lib.BC_FAMILY_INET6, protocol=17)
        )
        assert found["local"] == (str(ipaddress.ip_address(address)), 443)
        assert found["remote"] == ("2001:db8::2", 1)
        assert found["protocol"] == 17

    def test_line_that_a_kernel_printed(self) -> None:
        """Copied from /proc/net/tcp of Linux 6.18 on x86-64."""
        line = (
            b"   1: 0100007F:1F90 0200007F:C350 06 00000000:00000000 03:00000FA3 "
            b"00000000     0        0 0 3 0000000000000000                      \n"
        )
        found = only(proc_net(line))
        assert found["local"] == ("127.0.0.1", 8080)
        assert found["remote"] == ("127.0.0.2", 50000)
        assert (found["timer"], found["expires_ms"]) == (3, 40_030)

    @pytest.mark.parametrize("port", [b"10000000000001F90", b"0" * 17 + b"1F90"])
    def test_number_that_would_wrap(self, port: bytes) -> None:
        line = Row(local=("127.0.0.1", 8080)).line(LITTLE)
        assert only(proc_net(line))["local"] == ("127.0.0.1", 8080)
        assert proc_net(line.replace(b":1F90 ", b":" + port + b" ")).count == 0

    @both_orders
    def test_last_line_without_end_waits_for_the_rest(self, order: str) -> None:
        first = Row(local=("127.0.0.1", 80)).line(order)
        second = Row(local=("127.0.0.1", 81)).line(order)
        for length in range(len(second)):
            found = proc_net(first + second[:length], order)
            assert (found.count, found.consumed) == (1, len(first))

    def test_other_ports_and_unbound_sockets_are_left_out(self) -> None:
        data = b"".join(
            Row(local=("127.0.0.1", one)).line(LITTLE) for one in (80, 81, 0)
        )
        assert [row["local"][1] for row in proc_net(data).rows] == [80, 81]
        assert [row["local"][1] for row in proc_net(data, port=81).rows] == [81]

    def test_request_sockets_are_left_out_and_counted(self) -> None:
        request = Row(local=("127.0.0.1", 80), state=wire.SYN_RECV)
        other = Row(local=("127.0.0.1", 81), state=wire.SYN_RECV)
        full = Row(local=("127.0.0.1", 80), state=wire.SYN_RECV, inode=9)
        data = b"".join(one.line(LITTLE) for one in (request, other, full))
        found = proc_net(data, port=80)
        assert (found.count, found.requests) == (1, 1)

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\n",
            b"\0\n",
            b"  0: \n",
            b"   0: 0100007F\n",
            b"   0: 0100007F:1F90 0000000\n",
            b"   0: 0100007F:1F90 00000000:0000 0A\n",
            b"   0  0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 5 1\n",
            b"   0: G100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 5 1\n",
            b"   0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 -5 1\n",
            b"   0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 55555555555555555555 1\n",
            b"\xff" * 200 + b"\n",
        ],
    )
    def test_lines_that_are_no_rows_are_skipped(self, garbage: bytes) -> None:
        row = Row(local=("127.0.0.1", 80), inode=5).line(LITTLE)
        found = proc_net(garbage + row + garbage)
        assert (found.status, found.count) == (lib.BC_OK, 1)
        assert found.consumed == len(row) + 2 * len(garbage)

    def test_timer_that_is_too_long_is_not_told(self) -> None:
        row = Row(local=("127.0.0.1", 80), timer=2, expires_ms=0xFFFFFFFF * 10)
        assert only(proc_net(row.line(LITTLE)))["expires_ms"] == 0

    @pytest.mark.parametrize("family", [0, 2, 10, -1])
    def test_family_that_is_none_is_refused(self, family: int) -> None:
        row = Row(local=("127.0.0.1", 80)).line(LITTLE)
        found = proc_net(row, family=family)
        assert (found.status, found.count) == (lib.BC_E_INVALID, 0)
        assert found.consumed == 0


class TestProcStat:
    def test_line(self) -> None:
        status, found = proc_stat(wire.stat_line())
        assert status == lib.BC_OK
        assert found == {
            "pid": 4121,
            "parent": 4000,
            "flags": 0x400000,
            "threads": 1,
            "state": ord("S"),
            "start_ticks": 172839,
        }

    @pytest.mark.parametrize(
        "name",
        [b"", b")", b"((", b") R 1 (", b"a b", b"a\nb) Z 9 9", b"\xff\xfe", b") S 1 1"],
    )
    def test_name_may_hold_anything(self, name: bytes) -> None:
        assert proc_stat(wire.stat_line(name=name)) == proc_stat(wire.stat_line())

    def test_cut_off_text_is_refused(self) -> None:
        line = wire.stat_line()
        enough = line.index(b" 172839")
        for length in range(enough):
            status, _ = proc_stat(line[:length])
            assert status == lib.BC_E_MALFORMED, line[:length]

    @pytest.mark.parametrize(
        "text", [b"", b")", b"1", b"1 (a", b"1 (a)", b"1 (a) ", b"1 (a) S", b"1 (a)SSS"]
    )
    def test_what_is_no_such_text_is_refused(self, text: bytes) -> None:
        assert proc_stat(text)[0] == lib.BC_E_MALFORMED

    def test_start_time_of_64_bits(self) -> None:
        _, found = proc_stat(wire.stat_line(start_ticks=(1 << 64) - 1))
        assert found["start_ticks"] == (1 << 64) - 1

    @needs("socket tables")  # the same condition as a Linux /proc
    @pytest.mark.parametrize(
        "name", [b") R 1 (", b"a\nb) Z 9", b"))))", b"", b"\xff ) S 1 1 1"]
    )
    def test_this_process_under_a_hostile_name(self, name: bytes) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        set_name, get_name = 15, 16  # PR_SET_NAME, PR_GET_NAME
        before = ctypes.create_string_buffer(16)
        libc.prctl(get_name, before)
        expected = proc_stat(Path("/proc/thread-self/stat").read_bytes())
        try:
            assert libc.prctl(set_name, ctypes.c_char_p(name)) == 0
            text = Path("/proc/thread-self/stat").read_bytes()
        finally:
            libc.prctl(set_name, before)
        assert b"(" + name[:15] + b")" in text
        found = proc_stat(text)
        assert found == expected
        assert found[1]["parent"] == os.getppid()
        assert chr(found[1]["state"]) == "R"
        assert found[1]["threads"] >= 1


@needs("socket tables")
@pytest.mark.usefixtures("network")
class TestRealTables:
    """The text tables of this machine and its sock_diag, of the same sockets."""

    @staticmethod
    def queried(protocol: int) -> list[dict[str, Any]]:
        out, count = _ffi.new("bc_socket[]", 4096), _ffi.new("size_t *")
        listing = _ffi.new("bc_listing *")
        status = lib.bc_list_sockets(protocol, 0, out, 4096, count, listing)
        assert status == lib.BC_OK
        assert listing.source == lib.BC_SOURCE_SOCK_DIAG
        return [described(out[index]) for index in range(count[0])]

    @staticmethod
    def read(protocol: int) -> list[dict[str, Any]]:
        name = {6: "tcp", 17: "udp"}[protocol]
        rows: list[dict[str, Any]] = []
        for file, family in ((name, 4), (f"{name}6", 6)):
            data = Path(f"/proc/thread-self/net/{file}").read_bytes()
            order = LITTLE if sys.byteorder == "little" else BIG
            found = proc_net(
                data, order, family=family, protocol=protocol, capacity=4096
            )
            assert (found.status, found.consumed) == (lib.BC_OK, len(data))
            rows += found.rows
        return rows

    @staticmethod
    def essence(
        rows: Sequence[dict[str, Any]], ports: set[int]
    ) -> list[tuple[Any, ...]]:
        names = ("local", "remote", "state", "uid", "inode", "protocol")
        return sorted(
            tuple(row[name] for name in names)
            for row in rows
            if row["local"][1] in ports
        )

    def test_tcp(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        other = holder.bind("0.0.0.0", listen=True, name="other")  # noqa: S104
        with socket.create_connection(("127.0.0.1", port)) as client:
            ports = {port, other, client.getsockname()[1]}
            read = self.essence(self.read(6), ports)
            assert read == self.essence(self.queried(6), ports)
        assert len(read) == 4

    @needs("IPv6")
    def test_tcp_of_ipv6(self, holder: Holder) -> None:
        ports = {holder.bind("::1", listen=True)}
        ports.add(holder.bind("::", listen=True, name="any"))
        ports.add(holder.bind("::ffff:127.0.0.1", listen=True, name="mapped"))
        read = self.essence(self.read(6), ports)
        assert read == self.essence(self.queried(6), ports)
        assert len(read) == len(ports)

    def test_time_wait(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        with socket.create_connection(("127.0.0.1", port)):
            holder.run("kept['child'], _ = kept['main'].accept()")
            holder.kill()
        (text,) = [row for row in self.read(6) if row["local"][1] == port]
        (asked,) = [row for row in self.queried(6) if row["local"][1] == port]
        assert (text["state"], text["timer"]) == (wire.TIME_WAIT, 3)
        assert self.essence([text], {port}) == self.essence([asked], {port})
        assert abs(text["expires_ms"] - asked["expires_ms"]) < 1000

    def test_udp(self, holder: Holder) -> None:
        ports = {holder.bind(kind="udp")}
        read = self.essence(self.read(17), ports)
        assert read == self.essence(self.queried(17), ports)
        assert len(read) == 1

    def test_bound_only_sockets_are_not_in_the_text(self, holder: Holder) -> None:
        port = holder.bind()
        assert self.essence(self.read(6), {port}) == []


inet = st.ip_addresses(v=4).map(str)
inet6 = st.ip_addresses(v=6).map(str)
ports = st.integers(0, 65535)
words = st.integers(0, (1 << 32) - 1)
orders = st.sampled_from([LITTLE, BIG])
capacities = st.integers(0, 4)


@st.composite
def rows(draw: st.DrawFn, *, order: str = LITTLE) -> Row:
    """Any row, with attributes of any kind in a valid layout."""
    address = draw(st.sampled_from([inet, inet6]))
    attributes = draw(
        st.lists(
            st.tuples(st.sampled_from([2, 8, 11, 21, 99]), st.binary(max_size=230)),
            max_size=3,
        )
    )
    return Row(
        local=(draw(address), draw(ports)),
        remote=(draw(address), draw(ports)),
        state=draw(st.integers(0, 13)),
        uid=draw(words),
        inode=draw(st.one_of(st.just(0), words)),
        cookie=draw(st.integers(0, (1 << 64) - 1)),
        device=draw(words),
        timer=draw(st.integers(0, 4)),
        expires_ms=draw(words),
        attributes=b"".join(wire.attribute(order, *one) for one in attributes),
    )


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes that were valid, with some changed, and cut."""
    data = bytearray(draw(whole))
    if data:
        for place, value in draw(
            st.lists(
                st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)),
                max_size=6,
            )
        ):
            data[place] = value
    return bytes(data[: draw(st.integers(0, len(data)))])


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    messages = [one.message(LITTLE) for one in draw(st.lists(rows(), max_size=5))]
    end = st.sampled_from([b"", wire.done(LITTLE), wire.error(LITTLE, 5)])
    return b"".join(messages) + draw(end)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    lines = [one.line(LITTLE) for one in draw(st.lists(rows(), max_size=5))]
    return wire.TCP_HEADING + b"".join(lines)


def stat_texts() -> st.SearchStrategy[bytes]:
    names = st.binary(max_size=15)
    return st.builds(lambda name: wire.stat_line(name=name), names)


def check_room(
    decode: Callable[..., Decoded], data: bytes, capacity: int, **how: Any
) -> None:
    """The same is found with little room as with much, and no row is outside."""
    full = decode(data, capacity=ENOUGH, **how)
    small = decode(data, capacity=capacity, at_end=False, **how)
    assert small.rows == full.rows[:capacity]
    assert (small.count, small.requests) == (full.count, full.requests)
    assert (small.state, small.code) == (full.state, full.code)
    assert small.consumed == full.consumed
    assert full.status in (lib.BC_OK, lib.BC_E_MALFORMED)
    if full.status == lib.BC_E_MALFORMED:
        assert small.status == lib.BC_E_MALFORMED
    else:
        fits = small.count <= capacity
        assert small.status == (lib.BC_OK if fits else lib.BC_E_TRUNCATED)


class TestAnything:
    """Properties that hold of whatever bytes there are."""

    @properties
    @given(st.binary(max_size=400), orders, capacities, ports, st.integers(-1, 300))
    def test_sock_diag_of_any_bytes(
        self, data: bytes, order: str, capacity: int, port: int, protocol: int
    ) -> None:
        check_room(diag, data, capacity, order=order, port=port, protocol=protocol)

    @properties
    @given(damaged(datagrams()), orders, capacities, st.sampled_from([0, 1, 2]))
    def test_sock_diag_of_damaged_messages(
        self, data: bytes, order: str, capacity: int, sequence: int
    ) -> None:
        check_room(diag, data, capacity, order=order, sequence=sequence)

    @properties
    @given(st.binary(max_size=400), orders, capacities, st.sampled_from([4, 6]))
    def test_proc_net_of_any_bytes(
        self, data: bytes, order: str, capacity: int, family: int
    ) -> None:
        check_room(proc_net, data, capacity, order=order, family=family)

    @properties
    @given(
        st.text("0123456789ABCDEFabcdef: \n", max_size=400).map(str.encode),
        capacities,
        st.sampled_from([4, 6]),
    )
    def test_proc_net_of_any_digits(
        self, data: bytes, capacity: int, family: int
    ) -> None:
        check_room(proc_net, data, capacity, family=family)

    @properties
    @given(damaged(tables()), capacities, st.sampled_from([4, 6]))
    def test_proc_net_of_damaged_lines(
        self, data: bytes, capacity: int, family: int
    ) -> None:
        check_room(proc_net, data, capacity, family=family)

    @properties
    @given(st.one_of(st.binary(max_size=400), damaged(tables())), st.data())
    def test_proc_net_is_read_whole_lines_at_a_time(
        self, text: bytes, data: st.DataObject
    ) -> None:
        """Wherever a read() ends, the rows are those of the whole text."""
        whole = proc_net(text, capacity=ENOUGH)
        assert whole.consumed == text.rfind(b"\n") + 1
        cut = data.draw(st.integers(0, len(text)))
        first = proc_net(text[:cut], capacity=ENOUGH)
        second = proc_net(text[first.consumed :], capacity=ENOUGH)
        assert first.rows + second.rows == whole.rows
        assert first.requests + second.requests == whole.requests

    @properties
    @given(
        st.one_of(
            st.binary(max_size=400),
            st.text("0123456789() -S\n", max_size=400).map(str.encode),
            damaged(stat_texts()),
        )
    )
    def test_proc_stat_of_any_bytes(self, data: bytes) -> None:
        found = proc_stat(data)
        assert found[0] in (lib.BC_OK, lib.BC_E_MALFORMED)
        assert proc_stat(data, at_end=False) == found

    @properties
    @given(st.binary(max_size=15), st.integers(0, (1 << 64) - 1))
    def test_proc_stat_of_any_name(self, name: bytes, start_ticks: int) -> None:
        _, found = proc_stat(wire.stat_line(name=name, start_ticks=start_ticks))
        assert (found["parent"], found["start_ticks"]) == (4000, start_ticks)

    @properties
    @given(st.data(), orders)
    def test_every_row_comes_back(self, data: st.DataObject, order: str) -> None:
        row = data.draw(rows(order=order))
        expected = {
            "local": row.local,
            "remote": row.remote,
            "state": row.state,
            "uid": row.uid,
            "timer": row.timer,
        }
        message = diag(row.message(order), order)
        family = 4 if len(row.addresses[0]) == 4 else 6
        line = proc_net(row.line(order), order, family=family)
        assert message.count + message.requests == 1
        assert line.count + line.requests == (1 if row.local[1] else 0)
        for found in (*message.rows, *line.rows):
            assert {name: found[name] for name in expected} == expected
            assert found["inode"] == row.inode
        for found in message.rows:
            assert (found["cookie"], found["device"]) == (row.cookie, row.device)
            assert found["expires_ms"] == row.expires_ms
