"""What tells holders that have no descriptor: rings' files and tunnel devices."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindcheck._native import ffi, lib
from tests.support import wire
from tests.support.wire import BIG, LITTLE, attribute, message
from tests.test_decoders import both_orders, guarded, properties

_ffi: Any = ffi
CAPACITY = 8
RTM_NEWLINK, NAME, LINK_INFO, KIND, DATA = 16, 3, 18, 1, 2
VXLAN_ID, VXLAN_PORT, GENEVE_PORT, BAREUDP_PORT = 1, 15, 5, 1

# Read on Linux 6.18, with the socket registered twice.
RING = b"""pos:\t0
flags:\t02000002
mnt_id:\t17
ino:\t11240805
SqMask:\t0x3
SQEs:\t0
CQEs:\t0
UserFiles:\t5
    1: socket:[11240747]
    2: socket:[11240747]
    3: /etc/hostname
    4: socket:[18446744073709551615]
UserBufs:\t0
PollList:
  op=6, task_works=0
"""


def files(
    data: bytes, *, capacity: int = CAPACITY, section: int = 0
) -> tuple[int, list[int], int, int, int]:
    """Status, inodes, count, consumed and section."""
    out = _ffi.new("uint64_t[]", [7] * (capacity + 1))
    count, consumed = _ffi.new("size_t *"), _ffi.new("size_t *", 1 << 40)
    kept = _ffi.new("int32_t *", section)
    status = lib.bc_decode_uring_files(
        guarded.place(data), len(data), kept, out, capacity, count, consumed
    )
    filled = min(count[0], capacity)
    assert list(out[filled : capacity + 1]) == [7] * (capacity + 1 - filled)
    return status, list(out[0:filled]), count[0], consumed[0], kept[0]


class TestRegisteredFiles:
    def test_text_that_a_kernel_printed(self) -> None:
        status, inodes, _, consumed, _ = files(RING)
        assert status == lib.BC_OK
        assert inodes == [11240747, 11240747, (1 << 64) - 1]
        assert consumed == len(RING)

    def test_whole_lines_only(self) -> None:
        """Any cut gives the same as the whole."""
        whole = files(RING)[1]
        for cut in range(len(RING) + 1):
            _, first, _, consumed, section = files(RING[:cut])
            _, rest, *_ = files(RING[consumed:], section=section)
            assert first + rest == whole, cut

    def test_full_array_is_told(self) -> None:
        status, inodes, count, *_ = files(RING, capacity=1)
        assert (status, inodes, count) == (lib.BC_E_TRUNCATED, [11240747], 3)

    @pytest.mark.parametrize(
        "line",
        [
            b"    0: <none>",
            b"    0: /tmp/socket:[1]",
            b"    0: socket:[]",
            b"    0: socket:[12",
            b"    0: socket:[12]x",
            b"    0: socket:[18446744073709551616]",
            b"    : socket:[12]",
            b"    0:socket:[12]",
            b"    0: anon_inode:[io_uring]",
            b"",
        ],
    )
    def test_lines_that_are_no_sockets(self, line: bytes) -> None:
        assert files(b"UserFiles:\t1\n" + line + b"\n")[:3] == (lib.BC_OK, [], 0)

    @pytest.mark.parametrize("heading", [b"UserBufs:\t1", b"PollList:", b"userfiles:"])
    def test_other_sections(self, heading: bytes) -> None:
        assert files(heading + b"\n    0: socket:[12]\n")[1] == []

    @properties
    @given(st.binary(max_size=300), st.integers(0, 3))
    def test_anything(self, data: bytes, capacity: int) -> None:
        *_, consumed, section = files(b"UserFiles:\n" + data, capacity=capacity)
        assert consumed <= len(data) + 11
        assert section in (0, 1)


def link(
    order: str, name: bytes, kind: bytes, data: bytes = b"", *, sequence: int = 1
) -> bytes:
    """An RTM_NEWLINK: struct ifinfomsg, the name, and what kind of link it is."""
    info = attribute(order, KIND, kind) + attribute(order, DATA, data)
    body = bytes(16) + attribute(order, NAME, name) + attribute(order, LINK_INFO, info)
    return message(order, RTM_NEWLINK, body, sequence=sequence)


def port_attribute(order: str, kind: int, port: int) -> bytes:
    """A port in network order on every machine."""
    return attribute(order, kind, struct.pack(">H", port))


def links(
    data: bytes, order: str = LITTLE, *, capacity: int = CAPACITY
) -> tuple[int, list[tuple[str, str, int]], int, int, int]:
    """Status, devices, count, state and code."""
    out = _ffi.new("bc_tunnel[]", capacity + 1)
    memory = _ffi.buffer(out)
    memory[:] = b"\xa5" * len(memory)
    count = _ffi.new("size_t *")
    state = _ffi.new("bc_decode_status *", {"sequence": 1})
    status = lib.bc_decode_links(
        guarded.place(data), len(data), order == BIG, out, capacity, count, state
    )
    filled = min(count[0], capacity)
    assert set(memory[filled * _ffi.sizeof("bc_tunnel") :]) == {0xA5}
    found = [
        (
            bytes(ffi.string(one.name)).decode(errors="replace"),
            bytes(ffi.string(one.kind)).decode(errors="replace"),
            one.port,
        )
        for one in out[0:filled]
    ]
    return status, found, count[0], state.state, state.code


class TestLinks:
    @both_orders
    def test_devices_with_a_port(self, order: str) -> None:
        vxlan = attribute(order, VXLAN_ID, b"\1\0\0\0")
        vxlan += port_attribute(order, VXLAN_PORT, 4789)
        data = (
            link(order, b"lo\0", b"")
            + link(order, b"vx0\0", b"vxlan\0", vxlan)
            + link(order, b"veth1\0", b"veth\0")
            + link(order, b"gn0\0", b"geneve\0", port_attribute(order, 5, 6081))
            + link(order, b"bu0\0", b"bareudp\0", port_attribute(order, 1, 6635))
            + link(order, b"wg0\0", b"wireguard\0")
            + wire.done(order)
        )
        status, found, _, state, _ = links(data, order)
        assert (status, state) == (lib.BC_OK, lib.BC_DECODE_DONE)
        assert found == [
            ("vx0", "vxlan", 4789),
            ("gn0", "geneve", 6081),
            ("bu0", "bareudp", 6635),
            ("wg0", "wireguard", 0),
        ]

    def test_full_array_is_told(self) -> None:
        data = link(LITTLE, b"wg0\0", b"wireguard\0") * 3
        status, found, count, *_ = links(data, capacity=1)
        assert (status, len(found), count) == (lib.BC_E_TRUNCATED, 1, 3)

    def test_names_that_are_too_long_are_cut(self) -> None:
        _, found, *_ = links(link(LITTLE, b"n" * 40, b"wireguard"))
        assert found == [("n" * 15, "wireguard", 0)]
        assert links(link(LITTLE, b"a\0", b"wireguard" * 3))[1] == []

    def test_port_that_is_cut_off(self) -> None:
        data = link(LITTLE, b"vx0\0", b"vxlan\0", attribute(LITTLE, VXLAN_PORT, b"\1"))
        assert links(data)[1] == [("vx0", "vxlan", 0)]

    def test_refusal(self) -> None:
        _, found, _, state, code = links(wire.error(LITTLE, 1))
        assert (found, state, code) == ([], lib.BC_DECODE_ERROR, 1)

    def test_answer_to_another_request(self) -> None:
        data = link(LITTLE, b"wg0\0", b"wireguard\0", sequence=2)
        assert links(data)[1] == []

    def test_cut_off_message_is_refused(self) -> None:
        data = link(LITTLE, b"wg0\0", b"wireguard\0")
        for length in range(16, len(data)):
            assert links(data[:length])[:2] == (lib.BC_E_MALFORMED, [])

    @properties
    @given(st.binary(max_size=200), st.integers(0, 3))
    def test_anything(self, data: bytes, capacity: int) -> None:
        links(data, capacity=capacity)
        links(message(LITTLE, RTM_NEWLINK, data), capacity=capacity)

    @properties
    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        whole = bytearray(
            link(
                LITTLE,
                b"vx0\0",
                b"vxlan\0",
                port_attribute(LITTLE, VXLAN_PORT, 4789),
            )
        )
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(
                st.integers(0, 255)
            )
        links(bytes(whole))


def test_session_of_a_process() -> None:
    """Field 6 of /proc/PID/stat."""
    out = _ffi.new("bc_proc_stat *")
    line = b"7 (a) S 6 5 4 0 -1 64 0 0 0 0 0 0 0 0 20 0 1 0 99 0"
    assert lib.bc_decode_proc_stat(guarded.place(line), len(line), out) == lib.BC_OK
    assert (out.parent, out.session, out.flags, out.start_ticks) == (6, 4, 64, 99)
