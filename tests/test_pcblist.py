"""The decoder of macOS' sockets: what a kernel says, and what nobody should say.

The layout is described in tests/support/pcblist.py.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindcheck._native import ffi, lib
from tests.support import pcblist
from tests.support.pcblist import Row, record, table
from tests.support.wire import BIG, LITTLE
from tests.test_decoders import (
    CANARY,
    Decoded,
    both_orders,
    capacities,
    check_room,
    damaged,
    described,
    guarded,
    inet,
    inet6,
    orders,
    ports,
    properties,
    words,
)

_ffi: Any = ffi
LOOPBACK = ("127.0.0.1", 8080)
ANY4 = ("0.0.0.0", 0)  # noqa: S104
ANY6 = ("::", 0)
NOT_TOLD = 0xFFFF_FFFF
both_lengths = pytest.mark.parametrize("short", [True, False], ids=["old", "new"])


def decode(
    data: bytes,
    order: str = LITTLE,
    *,
    protocol: int = 6,
    port: int = 0,
    capacity: int = 64,
    count: int = 0,
    at_end: bool = True,
) -> Decoded:
    """Decode a table; bytes outside of the rows must not change."""
    out = _ffi.new("bc_socket[]", capacity + 2)
    memory = _ffi.buffer(out)
    memory[:] = bytes([CANARY]) * len(memory)
    counter, status = _ffi.new("size_t *", count), _ffi.new("bc_decode_status *")
    place = guarded.place(data, at_end=at_end)
    answer = lib.bc_decode_pcblist(
        *(place, len(data), int(order == BIG), protocol, port),
        *(out, capacity, counter, status),
    )
    filled = min(counter[0], capacity)
    size = _ffi.sizeof("bc_socket")
    untouched = memory[: min(count, capacity) * size] + memory[filled * size :]
    assert set(untouched) == {CANARY}
    more = ("pid", "reuse_address", "reuse_port")
    rows = [
        described(row)
        | {name: getattr(row, name) for name in more}
        | {"remote_scope_id": row.remote.scope_id}
        for row in (out[index] for index in range(count, filled))
    ]
    assert (status.code, status.requests, status.sequence) == (0, 0, 0)
    return Decoded(
        status=answer,
        rows=tuple(rows),
        count=counter[0],
        state=status.state,
        code=0,
        requests=0,
    )


def only(
    row: Row, order: str = LITTLE, *, protocol: int = 6, short: bool = False
) -> dict[str, Any]:
    records = row.records(order, protocol=protocol, short=short)
    found = decode(table(order, records), order, protocol=protocol)
    assert (found.status, found.count) == (lib.BC_OK, 1)
    assert found.state == lib.BC_DECODE_DONE
    return found.rows[0]


class TestRows:
    @both_orders
    @both_lengths
    def test_listener(self, order: str, short: bool) -> None:
        row = Row(
            local=LOOPBACK,
            uid=501,
            last_pid=4121,
            handle=0x1234_5678_9ABC_DEF0,
            generation=0x0FED_CBA9_8765_4321,
            options=pcblist.REUSE_ADDRESS,
        )
        assert only(row, order, short=short) == {
            "local": LOOPBACK,
            "remote": ANY4,
            "scope_id": 0,
            "remote_scope_id": 0,
            "cookie": 0 if short else 0x0FED_CBA9_8765_4321,
            "inode": 0x1234_5678_9ABC_DEF0,
            "cgroup_id": 0,
            "uid": 501,
            "expires_ms": 0,
            "device": 0,
            "protocol": 6,
            "state": lib.BC_STATE_LISTEN,
            "timer": 0,
            "v6only": -1,
            "opened": lib.BC_OPENED_UNKNOWN,
            "source": lib.BC_SOURCE_PCBLIST,
            "pid": 4121,
            "reuse_address": 1,
            "reuse_port": 0,
        }

    @both_orders
    @pytest.mark.parametrize(
        ("number", "name"),
        [
            (pcblist.CLOSED, "CLOSE"),
            (pcblist.LISTEN, "LISTEN"),
            (pcblist.SYN_SENT, "SYN_SENT"),
            (pcblist.SYN_RECEIVED, "SYN_RECV"),
            (pcblist.ESTABLISHED, "ESTABLISHED"),
            (pcblist.CLOSE_WAIT, "CLOSE_WAIT"),
            (pcblist.FIN_WAIT_1, "FIN_WAIT_1"),
            (pcblist.CLOSING, "CLOSING"),
            (pcblist.LAST_ACK, "LAST_ACK"),
            (pcblist.FIN_WAIT_2, "FIN_WAIT_2"),
            (pcblist.TIME_WAIT, "TIME_WAIT"),
            (11, "UNKNOWN"),
            (-1, "UNKNOWN"),
        ],
    )
    def test_states(self, order: str, number: int, name: str) -> None:
        found = only(Row(local=LOOPBACK, state=number), order)
        assert found["state"] == getattr(lib, f"BC_STATE_{name}")
        assert found["timer"] == (3 if number == pcblist.TIME_WAIT else 0)

    @both_orders
    def test_connection(self, order: str) -> None:
        row = Row(
            local=("192.0.2.1", 50123),
            remote=("198.51.100.7", 443),
            state=pcblist.ESTABLISHED,
        )
        found = only(row, order)
        assert (found["local"], found["remote"]) == (row.local, row.remote)

    @both_orders
    @pytest.mark.parametrize(
        ("state", "flags1", "short", "opened"),
        [
            (pcblist.ESTABLISHED, pcblist.INBOUND, False, "PASSIVELY"),
            (pcblist.ESTABLISHED, 0, False, "ACTIVELY"),
            (pcblist.TIME_WAIT, pcblist.INBOUND, False, "PASSIVELY"),
            (pcblist.SYN_SENT, 0, False, "ACTIVELY"),
            (pcblist.ESTABLISHED, pcblist.INBOUND, True, "UNKNOWN"),
            (pcblist.LISTEN, 0, False, "UNKNOWN"),
            (pcblist.CLOSED, 0, False, "UNKNOWN"),
        ],
    )
    def test_who_opened_a_connection(
        self, order: str, state: int, flags1: int, *, short: bool, opened: str
    ) -> None:
        row = Row(local=LOOPBACK, remote=("127.0.0.1", 9), state=state, flags1=flags1)
        expected = getattr(lib, f"BC_OPENED_{opened}")
        assert only(row, order, short=short)["opened"] == expected

    @both_orders
    @pytest.mark.parametrize(
        ("versions", "flags", "v6only"),
        [
            (pcblist.IPV4 | pcblist.IPV6, 0, 0),
            (pcblist.IPV6, pcblist.V6ONLY, 1),
            (pcblist.IPV6, 0, 0),
            (pcblist.IPV6, pcblist.BOUND_IF, 0),
        ],
        ids=["dual", "v6only", "plain", "device"],
    )
    def test_wildcard_of_ipv6(
        self, order: str, versions: int, flags: int, v6only: int
    ) -> None:
        row = Row(local=("::", 8080), versions=versions, flags=flags)
        found = only(row, order)
        assert (found["local"], found["remote"]) == (("::", 8080), ANY6)
        assert found["v6only"] == v6only

    @both_orders
    @pytest.mark.parametrize(
        ("remote", "versions", "mapped"),
        [
            (("192.0.2.7", 40000), pcblist.IPV4, ("::ffff:192.0.2.7", 40000)),
            (("192.0.2.7", 40000), pcblist.MAPPED, ("::ffff:192.0.2.7", 40000)),
            (
                ("192.0.2.7", 40000),
                pcblist.MAPPED | pcblist.IPV6,
                ("::ffff:192.0.2.7", 40000),
            ),
            (("", 0), pcblist.IPV4, ANY6),
        ],
    )
    def test_ipv4_through_a_socket_of_ipv6(
        self, order: str, remote: tuple[str, int], versions: int, mapped: Any
    ) -> None:
        row = Row(
            local=("192.0.2.1", 8080),
            remote=remote,
            versions=versions,
            family=pcblist.INET6,
        )
        found = only(row, order)
        expected = str(ipaddress.ip_address("::ffff:192.0.2.1"))
        assert found["local"] == (expected, 8080)
        assert found["remote"] == (str(ipaddress.ip_address(mapped[0])), mapped[1])
        assert found["v6only"] == 0

    @both_orders
    def test_family_is_that_of_the_socket(self, order: str) -> None:
        both = pcblist.IPV4 | pcblist.IPV6
        found = only(Row(local=LOOPBACK, versions=both), order)
        assert (found["local"], found["v6only"]) == (LOOPBACK, -1)
        found = only(Row(local=("::1", 80), versions=both), order)
        assert (found["local"], found["v6only"]) == (("::1", 80), 0)

    @both_orders
    def test_without_a_socket_the_versions_tell_the_family(self, order: str) -> None:
        expected = {pcblist.IPV4: "0.0.0.1", pcblist.IPV6: "::1", 3: "::1"}
        for versions, address in expected.items():
            pcb = Row(local=("::1", 80), versions=versions).pcb(order)
            (found,) = decode(table(order, pcb), order).rows
            assert found["local"] == (address, 80)
        pcb = Row(local=("::1", 80), versions=pcblist.MAPPED).pcb(order)
        assert decode(table(order, pcb), order).count == 0

    @both_orders
    def test_mapped_bytes_stay(self, order: str) -> None:
        found = only(Row(local=("::ffff:127.0.0.1", 8080)), order)
        assert found["local"] == (str(ipaddress.ip_address("::ffff:7f00:1")), 8080)

    @both_orders
    @pytest.mark.parametrize(
        ("embedded", "address", "zone"),
        [
            ("fe80:5::1", "fe80::1", 5),
            ("febf:105::1", "febf::1", 0x105),
            ("ff02:4::fb", "ff02::fb", 4),
            ("ff11:4::fb", "ff11::fb", 4),
            ("ff05:4::fb", "ff05:4::fb", 0),
            ("fec0:4::1", "fec0:4::1", 0),
            ("2001:db8::1", "2001:db8::1", 0),
        ],
    )
    def test_zone_is_taken_out_of_the_address(
        self, order: str, embedded: str, address: str, zone: int
    ) -> None:
        found = only(Row(local=(embedded, 443), remote=(embedded, 444)), order)
        assert (found["local"], found["scope_id"]) == ((address, 443), zone)
        assert (found["remote"], found["remote_scope_id"]) == ((address, 444), zone)

    @both_orders
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (0, (0, 0)),
            (pcblist.REUSE_ADDRESS, (1, 0)),
            (pcblist.REUSE_PORT, (0, 1)),
            (0xFFFF_FFFF, (1, 1)),
            (~(pcblist.REUSE_ADDRESS | pcblist.REUSE_PORT) & 0xFFFF_FFFF, (0, 0)),
        ],
    )
    def test_reuse(self, order: str, options: int, expected: tuple[int, int]) -> None:
        found = only(Row(local=LOOPBACK, options=options), order)
        assert (found["reuse_address"], found["reuse_port"]) == expected

    @both_orders
    @pytest.mark.parametrize(
        ("last", "effective", "pid"), [(7, 9, 7), (0, 9, 9), (7, 0, 7), (0, 0, 0)]
    )
    def test_pid(self, order: str, last: int, effective: int, pid: int) -> None:
        row = Row(local=LOOPBACK, last_pid=last, effective_pid=effective)
        assert only(row, order)["pid"] == pid

    @both_orders
    def test_datagrams(self, order: str) -> None:
        row = Row(local=("::", 5353), remote=("2001:db8::1", 9))
        found = only(row, order, protocol=17)
        assert (found["protocol"], found["state"]) == (17, lib.BC_STATE_CLOSE)
        assert found["timer"] == 0

    @both_orders
    @pytest.mark.parametrize("local", [LOOPBACK, ("2001:db8::1", 8080)])
    def test_flow_without_a_socket_is_a_row_of_which_little_is_known(
        self, order: str, local: tuple[str, int]
    ) -> None:
        row = Row(local=local, state=pcblist.LISTEN, last_pid=88)
        found = decode(table(order, row.flow(order)), order)
        (one,) = found.rows
        assert (one["local"], one["pid"], one["inode"]) == (local, 88, 0)
        assert one["state"] == lib.BC_STATE_LISTEN
        assert one["uid"] == NOT_TOLD
        assert one["opened"] == lib.BC_OPENED_UNKNOWN
        assert [one[name] for name in ("v6only", "reuse_address", "reuse_port")] == [
            *(-1, -1, -1)
        ]


class TestTable:
    @both_orders
    @both_lengths
    def test_records_belong_to_the_socket_before_them(
        self, order: str, short: bool
    ) -> None:
        rows = [
            Row(local=("127.0.0.1", 80 + one), state=one, last_pid=100 + one)
            for one in range(11)
        ]
        groups = [one.records(order, short=short) for one in rows]
        found = decode(table(order, *groups), order)
        assert [one["local"][1] for one in found.rows] == list(range(80, 91))
        assert [one["pid"] for one in found.rows] == list(range(100, 111))
        assert len({one["state"] for one in found.rows}) == 11

    @both_orders
    def test_what_a_socket_lacks_is_not_that_of_the_one_before(
        self, order: str
    ) -> None:
        whole = Row(local=("127.0.0.1", 80), uid=7, last_pid=9).records(order)
        bare = Row(local=("127.0.0.1", 81)).pcb(order)
        found = decode(table(order, whole, bare), order)
        assert [one["uid"] for one in found.rows] == [7, NOT_TOLD]
        assert [one["pid"] for one in found.rows] == [9, 0]
        assert [one["inode"] for one in found.rows] == [0xFEED, 0]
        assert found.rows[1]["state"] == lib.BC_STATE_UNKNOWN

    @both_orders
    @pytest.mark.parametrize(
        ("port", "expected"), [(0, [80, 81, 80]), (80, [80, 80]), (81, [81]), (82, [])]
    )
    def test_other_ports_and_unbound_sockets_are_left_out(
        self, order: str, port: int, expected: list[int]
    ) -> None:
        groups = [
            Row(local=("127.0.0.1", one)).records(order) for one in (80, 0, 81, 80)
        ]
        found = decode(table(order, *groups), order, port=port)
        assert [one["local"][1] for one in found.rows] == expected

    @both_orders
    def test_unknown_kinds_are_skipped(self, order: str) -> None:
        row = Row(local=LOOPBACK, last_pid=5)
        odd = [record(order, kind, bytes(96)) for kind in (0, 0x40, 0x200, 1 << 31)]
        group = odd[0] + row.pcb(order) + odd[1] + row.socket(order) + odd[2]
        found = decode(table(order, group + row.tcp(order) + odd[3]), order)
        assert (found.status, found.count) == (lib.BC_OK, 1)
        assert found.rows[0] == only(row, order)

    @both_orders
    @pytest.mark.parametrize("count", [0x01, 0x10, 0x20])
    def test_count_at_the_end_is_no_kind(self, order: str, count: int) -> None:
        row = Row(local=LOOPBACK).records(order)
        end = pcblist.generation(order, 7, count=count)
        found = decode(table(order, row, ends=False) + end, order)
        assert (found.status, found.count) == (lib.BC_OK, 1)
        assert found.state == lib.BC_DECODE_DONE

    @both_orders
    @pytest.mark.parametrize(
        ("after", "ends", "state"),
        [(7, True, "DONE"), (8, True, "MORE"), (7, False, "MORE")],
        ids=["same", "changed", "no end"],
    )
    def test_end(self, order: str, after: int, *, ends: bool, state: str) -> None:
        row = Row(local=LOOPBACK).records(order)
        found = decode(table(order, row, row, after=after, ends=ends), order)
        assert (found.status, found.count) == (lib.BC_OK, 2)
        assert found.state == getattr(lib, f"BC_DECODE_{state}")

    @both_orders
    def test_what_stands_behind_the_end_belongs_to_nobody(self, order: str) -> None:
        row = Row(local=LOOPBACK).records(order)
        for rest in (row, b"\xff" * 5, bytes(64)):
            found = decode(table(order, row) + rest, order)
            assert (found.status, found.count) == (lib.BC_OK, 1)

    @both_orders
    def test_table_of_no_sockets_has_no_end(self, order: str) -> None:
        found = decode(pcblist.generation(order, 7), order)
        assert (found.status, found.count) == (lib.BC_OK, 0)
        assert found.state == lib.BC_DECODE_DONE
        found = decode(pcblist.generation(order, 7, count=1), order)
        assert (found.status, found.state) == (lib.BC_OK, lib.BC_DECODE_MORE)

    @both_orders
    def test_longer_records_of_a_later_system(self, order: str) -> None:
        row = Row(local=LOOPBACK, uid=3, last_pid=4, generation=9)
        parts = (row.pcb(order), row.socket(order), row.tcp(order))
        longer = b""
        for part in parts:
            length, kind = struct.unpack(order + "II", part[:8])
            longer += record(order, kind, part[8:length] + b"\xff" * 13)
        found = decode(table(order, longer), order)
        assert found.rows == (only(row, order),)

    @both_orders
    def test_fields_that_a_record_ends_before_are_unknown(self, order: str) -> None:
        row = Row(
            local=("::1", 80),
            state=pcblist.ESTABLISHED,
            uid=3,
            last_pid=4,
            effective_pid=5,
            generation=9,
            options=pcblist.REUSE_ADDRESS,
        )
        unknown = {
            16: {"inode": 0, "reuse_address": -1, "reuse_port": -1},
            24: {"reuse_address": -1, "reuse_port": -1},
            68: {"uid": NOT_TOLD},
            72: {"pid": 0},
            84: {"cookie": 0},
            92: {"opened": lib.BC_OPENED_UNKNOWN},
        }
        whole = only(row, order)
        for length in (*range(8, 24), *range(25, 105)):
            cut = record(order, pcblist.SOCKET, row.socket(order)[8:length])
            data = table(order, row.pcb(order) + cut + row.tcp(order))
            (found,) = decode(data, order).rows
            expected = dict(whole)
            for needed, values in unknown.items():
                if length < needed:
                    expected |= values
            if length < 16:
                expected |= {"cookie": 0, "uid": NOT_TOLD}
            assert found == expected, length

    @both_orders
    def test_socket_control_block_without_an_address_is_no_row(
        self, order: str
    ) -> None:
        row = Row(local=LOOPBACK)
        for length in (*range(8, 24), *range(25, 80)):
            cut = record(order, pcblist.PCB, row.pcb(order)[8:length])
            data = table(order, cut + row.socket(order) + row.tcp(order))
            found = decode(data, order)
            assert (found.status, found.count) == (lib.BC_OK, 0)

    @both_orders
    def test_state_that_is_cut_off_is_unknown(self, order: str) -> None:
        row = Row(local=LOOPBACK)
        for length in (*range(8, 24), *range(25, 40)):
            cut = record(order, pcblist.TCP, row.tcp(order)[8:length])
            data = table(order, row.pcb(order) + row.socket(order) + cut)
            (found,) = decode(data, order).rows
            assert found["state"] == lib.BC_STATE_UNKNOWN

    def test_wrong_byte_order_is_refused(self) -> None:
        data = table(LITTLE, Row(local=LOOPBACK).records(LITTLE))
        assert decode(data, BIG).status == lib.BC_E_MALFORMED


class TestMalformed:
    @both_orders
    @pytest.mark.parametrize(
        "length", [0, 1, 4, 7, 1 << 16, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]
    )
    @pytest.mark.parametrize("kind", [pcblist.SOCKET, pcblist.PCB, pcblist.TCP, 99])
    def test_length_that_cannot_be(self, order: str, kind: int, length: int) -> None:
        row = Row(local=LOOPBACK).records(order)
        wrong = record(order, kind, bytes(32), length=length)
        found = decode(table(order, row, row, wrong, row), order)
        # What is complete stays, the socket that the wrong record was of is not.
        assert (found.status, found.count) == (lib.BC_E_MALFORMED, 1)
        assert found.state == lib.BC_DECODE_MORE

    @both_orders
    @pytest.mark.parametrize("length", [0, 8, 23, 25, 0x8000_0000, 0xFFFF_FFFF])
    def test_first_length_that_cannot_be(self, order: str, length: int) -> None:
        data = struct.pack(order + "IIQQ", length, 0, 7, 1)
        found = decode(data, order)
        assert (found.status, found.count) == (lib.BC_E_MALFORMED, 0)

    @both_orders
    @both_lengths
    def test_every_cut(self, order: str, short: bool) -> None:
        groups = [
            Row(local=("127.0.0.1", 80), uid=1).records(order, short=short),
            Row(local=("::1", 81), uid=2).records(order, short=short),
        ]
        data = table(order, *groups)
        whole = decode(data, order)
        assert whole.count == 2
        for length in range(len(data)):
            found = decode(data[:length], order)
            assert found.count <= 2
            assert found.state == lib.BC_DECODE_MORE, length
            for one, expected in zip(found.rows, whole.rows, strict=False):
                assert one["local"] == expected["local"]
                assert one["uid"] in (expected["uid"], NOT_TOLD)

    @both_orders
    def test_padding_of_the_last_record_may_be_missing(self, order: str) -> None:
        row = Row(local=LOOPBACK)
        data = table(order, row.records(order), ends=False)
        assert decode(data[:-4], order).status == lib.BC_OK  # 204 is no multiple of 8
        assert decode(data[:-5], order).status == lib.BC_E_MALFORMED


class TestRoom:
    @pytest.mark.parametrize("capacity", [0, 1, 4, 5, 6])
    def test_rows_are_written_as_far_as_there_is_room(self, capacity: int) -> None:
        groups = [
            Row(local=("127.0.0.1", 80), handle=1 + one).records(LITTLE)
            for one in range(5)
        ]
        found = decode(table(LITTLE, *groups), capacity=capacity)
        expected = lib.BC_OK if capacity >= 5 else lib.BC_E_TRUNCATED
        assert (found.status, found.count) == (expected, 5)
        assert [one["inode"] for one in found.rows] == [1, 2, 3, 4, 5][:capacity]
        assert found.state == lib.BC_DECODE_DONE

    def test_rows_are_appended(self) -> None:
        data = table(LITTLE, Row(local=LOOPBACK, handle=7).records(LITTLE))
        found = decode(data, capacity=3, count=2)
        assert (found.status, found.count) == (lib.BC_OK, 3)
        assert [one["inode"] for one in found.rows] == [7]
        found = decode(data, capacity=1, count=5)
        assert (found.status, found.count) == (lib.BC_E_TRUNCATED, 6)

    def test_no_array_is_needed_to_count(self) -> None:
        data = table(LITTLE, Row(local=LOOPBACK).records(LITTLE))
        count, status = _ffi.new("size_t *"), _ffi.new("bc_decode_status *")
        head = (guarded.place(data), len(data), 0, 6, 0)
        answer = lib.bc_decode_pcblist(*head, _ffi.NULL, 0, count, status)
        assert (answer, count[0]) == (lib.BC_E_TRUNCATED, 1)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Any socket that the kernel may have."""
    address = draw(st.sampled_from([inet, inet6]))
    return Row(
        local=(draw(address), draw(ports)),
        remote=(draw(address), draw(ports)),
        state=draw(st.integers(-1, 12)),
        versions=draw(st.integers(0, 7)),
        flags=draw(st.sampled_from([0, pcblist.V6ONLY, -1])),
        options=draw(words),
        uid=draw(words),
        last_pid=draw(st.integers(0, 99999)),
        effective_pid=draw(st.integers(0, 99999)),
        handle=draw(st.integers(0, (1 << 64) - 1)),
        generation=draw(st.integers(0, (1 << 64) - 1)),
        flags1=draw(words),
    )


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    short = draw(st.booleans())
    groups = [
        one.records(LITTLE, short=short) if draw(st.booleans()) else one.flow(LITTLE)
        for one in draw(st.lists(rows(), max_size=5))
    ]
    return table(LITTLE, *groups, ends=draw(st.booleans()))


class TestAnything:
    """Properties that hold of whatever bytes there are."""

    @properties
    @given(st.binary(max_size=600), orders, capacities, ports, st.integers(-1, 300))
    def test_any_bytes(
        self, data: bytes, order: str, capacity: int, port: int, protocol: int
    ) -> None:
        head = pcblist.generation(order, 7)
        for one in (data, head + data):
            how = {"order": order, "port": port, "protocol": protocol}
            check_room(decode, one, capacity, **how)

    @properties
    @given(damaged(tables()), orders, capacities, st.sampled_from([6, 17]))
    def test_damaged_tables(
        self, data: bytes, order: str, capacity: int, protocol: int
    ) -> None:
        check_room(decode, data, capacity, order=order, protocol=protocol)

    @properties
    @given(rows(), orders, st.booleans())
    def test_every_row_comes_back(self, row: Row, order: str, short: bool) -> None:
        row = replace(row, versions=0, handle=row.handle | 1)
        found = decode(table(order, row.records(order, short=short)), order)
        assert found.state == lib.BC_DECODE_DONE
        if row.local[1] == 0:
            assert found.count == 0
            return
        (one,) = found.rows
        assert (one["uid"], one["inode"]) == (row.uid, row.handle)
        assert one["cookie"] == (0 if short else row.generation)
        assert (one["local"][1], one["remote"][1]) == (row.local[1], row.remote[1])
        if one["scope_id"] == 0:
            expected = str(ipaddress.ip_address(row.local[0]))
            if ipaddress.ip_address(expected).version == 4:
                assert one["local"][0] == expected
