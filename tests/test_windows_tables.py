"""Windows' socket tables, laid out by hand, and what no Windows should ever say.

Where real ones are read is tests/test_wine.py. What is decoded lies between two pages
that may not be touched, and the rows are followed by bytes that must not change.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindcheck._native import ffi, lib
from tests.support.windows_tables import CREATED, LAYOUTS, Layout, Row
from tests.test_decoders import CANARY, Guarded, properties

_ffi: Any = ffi  # with the functions that the product does not use
FILES = Path(__file__).parent / "data" / "windows"
ENOUGH = 8

guarded = Guarded()
each_layout = pytest.mark.parametrize("name", sorted(LAYOUTS))


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What the decoder left behind."""

    status: int
    rows: tuple[dict[str, Any], ...]
    count: int


def endpoint(one: Any) -> tuple[str, int, int]:
    """An address as text, its port and its scope."""
    size = {lib.BC_FAMILY_INET: 4, lib.BC_FAMILY_INET6: 16}[one.family]
    packed = bytes(_ffi.buffer(one.address, 16))
    assert packed[size:] == bytes(16 - size)
    return str(ip_address(packed[:size])), one.port, one.scope_id


def described(row: Any) -> dict[str, Any]:
    """A bc_socket as plain data."""
    names = ("protocol", "state", "pid", "created", "service_tag")
    # What Windows has no word for, in every row.
    assert (row.uid, row.v6only, row.source) == (
        0xFFFFFFFF,
        -1,
        lib.BC_SOURCE_IP_HELPER,
    )
    assert (row.reuse_address, row.reuse_port) == (-1, -1)
    assert (row.cookie, row.inode, row.cgroup_id, row.device) == (0, 0, 0, 0)
    assert (row.expires_ms, row.timer, row.opened) == (0, 0, lib.BC_OPENED_UNKNOWN)
    assert bytes(row.reserved) == bytes(3)
    return {
        "local": endpoint(row.local),
        "remote": endpoint(row.remote),
        **{name: getattr(row, name) for name in names},
    }


def decode(
    data: bytes,
    layout: int,
    *,
    port: int = 0,
    capacity: int = ENOUGH,
    count: int = 0,
    at_end: bool = True,
) -> Decoded:
    """Decode a whole table."""
    place = guarded.place(data, at_end=at_end)
    out = _ffi.new("bc_socket[]", capacity + 2)
    memory = _ffi.buffer(out)
    memory[:] = bytes([CANARY]) * len(memory)
    counter = _ffi.new("size_t *", count)
    status = lib.bc_decode_ip_helper(
        place, len(data), layout, port, out, capacity, counter
    )
    assert counter[0] >= count
    filled = min(counter[0], capacity)
    size = _ffi.sizeof("bc_socket")
    assert set(memory[: min(count, capacity) * size]) <= {CANARY}
    assert set(memory[filled * size :]) == {CANARY}
    if status == lib.BC_OK:
        assert counter[0] <= capacity
    if status == lib.BC_E_TRUNCATED:
        assert counter[0] > capacity
    return Decoded(
        status=status,
        rows=tuple(described(out[index]) for index in range(count, filled)),
        count=counter[0],
    )


def only(name: str, row: Row) -> dict[str, Any]:
    """What is decoded of a table of one row."""
    found = decode(LAYOUTS[name].table([row]), LAYOUTS[name].number)
    assert (found.status, found.count) == (lib.BC_OK, 1)
    return found.rows[0]


def rows_of(layout: Layout, *ports: int) -> list[Row]:
    return [Row(local=(layout.address, one)) for one in ports]


class TestGoldenFiles:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (
                "tcp4",
                [
                    ("0.0.0.0:135", None, lib.BC_STATE_LISTEN, 1092, CREATED, 33),
                    ("127.0.0.1:8080", None, lib.BC_STATE_LISTEN, 4121, CREATED, 0),
                    (
                        *("192.168.1.5:50123", "203.0.113.7:443"),
                        *(lib.BC_STATE_ESTABLISHED, 4121, CREATED, 0),
                    ),
                    (
                        *("127.0.0.1:8080", "127.0.0.1:50124"),
                        *(lib.BC_STATE_TIME_WAIT, 0, 0, 0),
                    ),
                ],
            ),
            (
                "tcp6",
                [
                    (":::135", None, lib.BC_STATE_LISTEN, 1092, CREATED, 33),
                    (
                        *("fe80::1%12:8080", "fe80::2%12:50125"),
                        *(lib.BC_STATE_CLOSE_WAIT, 4121, CREATED, 0),
                    ),
                ],
            ),
            (
                "udp4",
                [
                    ("0.0.0.0:5353", None, lib.BC_STATE_CLOSE, 2044, CREATED, 7),
                    ("127.0.0.1:8080", None, lib.BC_STATE_CLOSE, 4121, CREATED, 0),
                ],
            ),
            (
                "udp6",
                [
                    ("::1:8080", None, lib.BC_STATE_CLOSE, 4121, CREATED, 0),
                    ("fe80::1%12:1900", None, lib.BC_STATE_CLOSE, 4121, CREATED, 0),
                ],
            ),
            (
                "bound4",
                [
                    ("127.0.0.1:8080", None, lib.BC_STATE_CLOSE, 4121, 0, 0),
                    ("0.0.0.0:50123", None, lib.BC_STATE_CLOSE, 77, 0, 0),
                ],
            ),
            (
                "bound6",
                [
                    (":::8080", None, lib.BC_STATE_CLOSE, 4121, 0, 0),
                    ("fe80::1%12:50126", None, lib.BC_STATE_CLOSE, 77, 0, 0),
                ],
            ),
        ],
    )
    def test_rows(self, name: str, expected: list[tuple[Any, ...]]) -> None:
        def text(one: tuple[str, int, int]) -> str | None:
            address, port, scope = one
            zone = f"%{scope}" if scope else ""
            return None if port == 0 else f"{address}{zone}:{port}"

        data = (FILES / f"ip_helper-{name}-le.bin").read_bytes()
        found = decode(data, LAYOUTS[name].number)
        assert found.status == lib.BC_OK
        assert [
            (
                *(text(row["local"]), text(row["remote"]), row["state"], row["pid"]),
                *(row["created"], row["service_tag"]),
            )
            for row in found.rows
        ] == expected
        protocol = 17 if name.startswith("udp") else 6
        assert {row["protocol"] for row in found.rows} == {protocol}


class TestRow:
    @pytest.mark.parametrize("name", ["tcp4", "tcp6"])
    @pytest.mark.parametrize(
        ("number", "state"),
        [
            (0, lib.BC_STATE_UNKNOWN),
            (1, lib.BC_STATE_CLOSE),
            (2, lib.BC_STATE_LISTEN),
            (3, lib.BC_STATE_SYN_SENT),
            (4, lib.BC_STATE_SYN_RECV),
            (5, lib.BC_STATE_ESTABLISHED),
            (6, lib.BC_STATE_FIN_WAIT_1),
            (7, lib.BC_STATE_FIN_WAIT_2),
            (8, lib.BC_STATE_CLOSE_WAIT),
            (9, lib.BC_STATE_CLOSING),
            (10, lib.BC_STATE_LAST_ACK),
            (11, lib.BC_STATE_TIME_WAIT),
            (12, lib.BC_STATE_CLOSE),
            (13, lib.BC_STATE_UNKNOWN),
            (0xFFFFFFFF, lib.BC_STATE_UNKNOWN),
        ],
    )
    def test_state(self, name: str, number: int, state: int) -> None:
        address = LAYOUTS[name].address
        row = Row(local=(address, 80), remote=(address, 50000), state=number)
        found = only(name, row)
        assert found["state"] == state
        peer = (address, 50000, 0)
        none = ("::" if LAYOUTS[name].inet6 else "0.0.0.0", 0, 0)  # noqa: S104
        # While a socket listens, what stands there has no meaning.
        assert found["remote"] == (none if state == lib.BC_STATE_LISTEN else peer)

    @pytest.mark.parametrize("name", ["bound4", "bound6"])
    def test_bound_socket_has_no_peer_and_is_closed(self, name: str) -> None:
        address = LAYOUTS[name].address
        found = only(name, Row(local=(address, 80), remote=(address, 9), state=5))
        assert (found["state"], found["remote"][1]) == (lib.BC_STATE_CLOSE, 0)

    @pytest.mark.parametrize("name", ["tcp6", "udp6", "bound6"])
    @pytest.mark.parametrize(
        ("scope", "expected"),
        [
            (b"\0\0\0\0", 0),
            (b"\x0c\0\0\0", 12),
            (b"\0\0\0\x0c", 12),
            (b"\x2c\x01\0\0", 300),
            (b"\0\0\x01\x2c", 300),
            (b"\xff\xff\xff\xff", 0xFFFFFFFF),
        ],
    )
    def test_scope_in_either_order(
        self, name: str, scope: bytes, expected: int
    ) -> None:
        row = Row(local=("fe80::1", 80), scope=scope)
        assert only(name, row)["local"] == ("fe80::1", 80, expected)

    @pytest.mark.parametrize("name", ["tcp6", "udp6", "bound6"])
    @pytest.mark.parametrize(
        ("address", "scope"),
        [("fe80::1", 3), ("febf::1", 3), ("fec0::1", 0), ("::1", 0), ("::", 0)],
    )
    def test_scope_is_of_link_local_addresses(
        self, name: str, address: str, scope: int
    ) -> None:
        """Wine 8.0 has 0x1000 there for ::1."""
        row = Row(local=(address, 80), scope=b"\3\0\0\0")
        assert only(name, row)["local"] == (address, 80, scope)

    @each_layout
    def test_upper_half_of_a_port_says_nothing(self, name: str) -> None:
        for rest in (b"\0\0", b"\xff\xff", b"\x01\x02"):
            row = Row(local=(LAYOUTS[name].address, 8080), port_rest=rest)
            assert only(name, row)["local"][1] == 8080

    @each_layout
    def test_pid_is_never_negative(self, name: str) -> None:
        row = Row(local=(LAYOUTS[name].address, 80), pid=0xFFFFFFFC)
        assert only(name, row)["pid"] >= 0

    @pytest.mark.parametrize("name", ["tcp4", "tcp6", "udp4", "udp6"])
    def test_tag_is_the_low_half(self, name: str) -> None:
        row = Row(local=(LAYOUTS[name].address, 80), tag=0xFFFFFFFF)
        assert only(name, row)["service_tag"] == 0xFFFFFFFF

    @each_layout
    def test_row_without_a_port_holds_none(self, name: str) -> None:
        data = LAYOUTS[name].table(rows_of(LAYOUTS[name], 0, 80))
        assert decode(data, LAYOUTS[name].number).count == 1


class TestTable:
    @each_layout
    @pytest.mark.parametrize(("port", "expected"), [(0, 3), (80, 2), (81, 1), (82, 0)])
    def test_other_ports_are_left_out(
        self, name: str, port: int, expected: int
    ) -> None:
        data = LAYOUTS[name].table(rows_of(LAYOUTS[name], 80, 81, 80))
        found = decode(data, LAYOUTS[name].number, port=port)
        assert (found.status, found.count) == (lib.BC_OK, expected)
        assert {row["local"][1] for row in found.rows} <= {port or 80, port or 81}

    @each_layout
    def test_cut_off_table_is_refused(self, name: str) -> None:
        data = LAYOUTS[name].table(rows_of(LAYOUTS[name], 80, 81))
        for length in range(len(data)):
            found = decode(data[:length], LAYOUTS[name].number)
            assert (found.status, found.count) == (lib.BC_E_MALFORMED, 0), length
        assert decode(data, LAYOUTS[name].number).count == 2

    @each_layout
    def test_bytes_behind_the_rows_are_ignored(self, name: str) -> None:
        layout = LAYOUTS[name]
        data = layout.table(rows_of(layout, 80))
        for length in (1, 3, 4, layout.size - 1, layout.size, 1000):
            assert decode(data + b"\xff" * length, layout.number).count == 1

    @each_layout
    def test_empty_table(self, name: str) -> None:
        layout = LAYOUTS[name]
        for length in (4, layout.first, layout.first + layout.size):
            found = decode(bytes(length), layout.number)
            assert (found.status, found.count) == (lib.BC_OK, 0)

    @each_layout
    @pytest.mark.parametrize("count", [2, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
    def test_count_that_exceeds_the_bytes(self, name: str, count: int) -> None:
        layout = LAYOUTS[name]
        data = layout.table(rows_of(layout, 80), count=count)
        for at_end in (True, False):
            found = decode(data, layout.number, at_end=at_end)
            assert (found.status, found.count) == (lib.BC_E_MALFORMED, 0)

    @each_layout
    def test_count_whose_size_wraps_around(self, name: str) -> None:
        """Times the size of a row it is 2^32 and some: few bytes, in 32 bits."""
        layout = LAYOUTS[name]
        count = -(-(1 << 32) // layout.size)
        data = layout.table(rows_of(layout, 80), count=count)
        assert decode(data, layout.number).status == lib.BC_E_MALFORMED

    @each_layout
    @pytest.mark.parametrize("capacity", [0, 1, 2, 3, 4])
    @pytest.mark.parametrize("count", [0, 1, 5])
    def test_room(self, name: str, capacity: int, count: int) -> None:
        layout = LAYOUTS[name]
        data = layout.table(rows_of(layout, 80, 81, 82))
        found = decode(data, layout.number, capacity=capacity, count=count)
        fits = count + 3 <= capacity
        assert found.status == (lib.BC_OK if fits else lib.BC_E_TRUNCATED)
        assert found.count == count + 3
        assert len(found.rows) == max(min(3, capacity - count), 0)

    @pytest.mark.parametrize("layout", [-1, 0, 7, 1 << 30])
    def test_layout_that_is_none(self, layout: int) -> None:
        assert decode(bytes(200), layout).status == lib.BC_E_INVALID


class TestExcludedRange:
    @staticmethod
    def decode(name: bytes) -> tuple[int, int, int] | int:
        out = _ffi.new("bc_port_range[]", 2)
        memory = _ffi.buffer(out)
        memory[:] = bytes([CANARY]) * len(memory)
        place = _ffi.cast("char *", guarded.place(name))
        status = lib.bc_decode_excluded_range(place, len(name), out)
        assert set(memory[8:]) == {CANARY}
        if status != lib.BC_OK:
            assert set(memory[:8]) == {CANARY}
            return int(status)
        assert bytes(out[0].reserved) == bytes(3)
        return out[0].first, out[0].last, out[0].kind

    @pytest.mark.parametrize(
        ("name", "first", "last"),
        [
            (b"cc570100", 52311, 52311),
            (b"CC570100", 52311, 52311),
            (b"00500100", 80, 80),
            (b"c3506400", 50000, 50099),
            (b"c0000040", 49152, 65535),
            (b"ffff0100", 65535, 65535),
            (b"0000ffff", 0, 65534),
        ],
    )
    def test_range(self, name: bytes, first: int, last: int) -> None:
        assert self.decode(name) == (first, last, lib.BC_KEPT_EXCLUDED)

    @pytest.mark.parametrize(
        "name",
        [
            *(b"", b"cc57010", b"cc5701000", b"cc570000", b"ffff0200", b"0002ffff"),
            *(b"cc57010g", b"gc570100", b" c570100", b"0x570100", b"cc57-100"),
            *(b"cc57\xff100", b"cc57010\0", b"cc57:100", b"cc57`100", b"cc57@100"),
        ],
    )
    def test_what_is_no_range(self, name: bytes) -> None:
        assert self.decode(name) == lib.BC_E_MALFORMED


class TestAnything:
    @properties
    @given(
        data=st.binary(max_size=600),
        layout=st.integers(-1, 8),
        capacity=st.integers(0, 3),
        end=st.booleans(),
    )
    def test_bytes(self, data: bytes, layout: int, capacity: int, *, end: bool) -> None:
        decode(data, layout, capacity=capacity, at_end=end)

    @properties
    @given(
        st.sampled_from(sorted(LAYOUTS)),
        st.one_of(st.integers(0, 4), st.integers(0, 0xFFFFFFFF)),
        st.binary(max_size=700),
        st.integers(0, 5),
    )
    def test_rows(self, name: str, count: int, data: bytes, capacity: int) -> None:
        layout = LAYOUTS[name]
        head = struct.pack("<I", count).ljust(layout.first, b"\0")
        found = decode(head + data, layout.number, capacity=capacity)
        if count * layout.size > len(data):
            assert (found.status, found.count) == (lib.BC_E_MALFORMED, 0)
        else:
            assert found.status in (lib.BC_OK, lib.BC_E_TRUNCATED)
            assert found.count <= count

    @properties
    @given(st.binary(max_size=10))
    def test_names(self, name: bytes) -> None:
        found = TestExcludedRange.decode(name)
        if not isinstance(found, int):
            assert found[0] <= found[1]
