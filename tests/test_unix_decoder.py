"""The decoder of unix sockets: what a kernel says, and what nobody should ever say.

The layout is that of struct unix_diag_msg in include/uapi/linux/unix_diag.h and of
net/unix/diag.c.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindcheck import native
from bindcheck._native import ffi, lib
from bindcheck.words import Protocol, State
from tests.support import needs, wire
from tests.support.wire import BIG, LITTLE
from tests.test_decoders import (
    CANARY,
    both_orders,
    damaged,
    guarded,
    orders,
    properties,
)

if TYPE_CHECKING:
    from pathlib import Path

_ffi: Any = ffi
NAME, VFS, UID = 0, 1, 7
STREAM, DATAGRAM = 1, 2
LISTENS, CLOSED = 10, 7


def payload(
    order: str,
    *attributes: tuple[int, bytes],
    kind: int = STREAM,
    state: int = LISTENS,
    inode: int = 4711,
    cookie: int = (7 << 32) + 9,
) -> bytes:
    """struct unix_diag_msg and the attributes behind it."""
    head = struct.pack(
        order + "BBBBIII", 1, kind, state, 0, inode, cookie & 0xFFFFFFFF, cookie >> 32
    )
    return head + b"".join(wire.attribute(order, *one) for one in attributes)


def message(order: str, *attributes: tuple[int, bytes], **row: int) -> bytes:
    return wire.message(
        order, wire.SOCK_DIAG_BY_FAMILY, payload(order, *attributes, **row)
    )


def decode(
    data: bytes, order: str = LITTLE, *, capacity: int = 16, at_end: bool = True
) -> tuple[int, list[dict[str, Any]], int, int, int]:
    """Status, rows, count, state and code; bytes outside of the rows must not change."""
    out = _ffi.new("bc_unix_socket[]", capacity + 2)
    memory = _ffi.buffer(out)
    memory[:] = bytes([CANARY]) * len(memory)
    count, told = _ffi.new("size_t *"), _ffi.new("bc_decode_status *")
    place = guarded.place(data, at_end=at_end)
    status = lib.bc_decode_unix_diag(
        place, len(data), int(order == BIG), out, capacity, count, told
    )
    filled = min(count[0], capacity)
    assert set(memory[filled * _ffi.sizeof("bc_unix_socket") :]) == {CANARY}
    names = ("cookie", "inode", "file_device", "file_inode", "uid", "type", "state")
    rows = [
        {name: getattr(one, name) for name in names}
        | {"name": bytes(_ffi.buffer(one.name, one.length))}
        for one in out[0:filled]
    ]
    return status, rows, count[0], told.state, told.code


def only(data: bytes, order: str = LITTLE) -> dict[str, Any]:
    status, rows, count, _, _ = decode(data, order)
    assert (status, count) == (lib.BC_OK, 1)
    return rows[0]


@both_orders
def test_path(order: str) -> None:
    vfs = struct.pack(order + "II", 2367554, 254 << 20)
    uid = struct.pack(order + "I", 1000)
    found = only(message(order, (NAME, b"/tmp/u/a\0"), (VFS, vfs), (UID, uid)), order)
    assert found == {
        "cookie": (7 << 32) + 9,
        "inode": 4711,
        "file_device": 254 << 20,
        "file_inode": 2367554,
        "uid": 1000,
        "type": STREAM,
        "state": LISTENS,
        "name": b"/tmp/u/a",
    }


@both_orders
@pytest.mark.parametrize("name", [b"\0abstract", b"\0with\0nul\0", b"\0"])
def test_abstract_name_is_kept_whole(order: str, name: bytes) -> None:
    found = only(message(order, (NAME, name), kind=DATAGRAM, state=CLOSED), order)
    assert (found["name"], found["file_inode"]) == (name, 0)
    assert found["uid"] == 0xFFFFFFFF


def test_longest_name() -> None:
    assert only(message(LITTLE, (NAME, b"x" * 108)))["name"] == b"x" * 108


@pytest.mark.parametrize("name", [b"", b"x" * 109])
def test_sockets_without_a_name_that_can_be_are_left_out(name: bytes) -> None:
    assert decode(message(LITTLE, (NAME, name)))[2] == 0
    assert decode(message(LITTLE))[2] == 0


@both_orders
def test_end_and_errors(order: str) -> None:
    row = message(order, (NAME, b"a\0"))
    assert decode(row + wire.done(order), order)[2:] == (1, lib.BC_DECODE_DONE, 0)
    assert decode(wire.error(order, 2), order)[3:] == (lib.BC_DECODE_ERROR, 2)


@both_orders
@pytest.mark.parametrize("cut", [0, 3, 7])
def test_cut_off_attributes_are_not_read(order: str, cut: int) -> None:
    whole = message(order, (NAME, b"a\0"))
    file = wire.attribute(order, VFS, bytes(range(cut)))
    longer = wire.message(order, wire.SOCK_DIAG_BY_FAMILY, whole[16:] + file)
    assert only(longer, order)["file_inode"] == 0


attributes = st.lists(
    st.tuples(st.sampled_from([NAME, VFS, 2, UID, 99]), st.binary(max_size=130)),
    max_size=4,
)
datagrams = st.lists(attributes, max_size=4).map(
    lambda all_: b"".join(message(LITTLE, *one) for one in all_)
)


@properties
@given(
    st.one_of(st.binary(max_size=300), damaged(datagrams)), orders, st.integers(0, 3)
)
def test_any_bytes(data: bytes, order: str, capacity: int) -> None:
    """The same is found with little room as with much, and no row is outside."""
    full = decode(data, order)
    small = decode(data, order, capacity=capacity, at_end=False)
    assert small[1] == full[1][:capacity]
    assert small[2:] == full[2:]
    if full[0] == lib.BC_E_MALFORMED:
        assert small[0] == lib.BC_E_MALFORMED
    else:
        assert small[0] == (lib.BC_OK if small[2] <= capacity else lib.BC_E_TRUNCATED)


@needs("unix sockets")
def test_own_sockets_are_listed_as_they_are(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
    ):
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        datagram.bind(f"\0{tmp_path}")
        rows = native.list_unix_sockets()
        assert isinstance(rows, tuple)
        by_inode = {row.inode: row for row in rows}
        one = by_inode[os.fstat(listener.fileno()).st_ino]
        other = by_inode[os.fstat(datagram.fileno()).st_ino]
    there = (tmp_path / "s").stat()
    assert one.file == (there.st_dev, there.st_ino & 0xFFFFFFFF)
    assert (one.path, one.state) == (str(tmp_path / "s"), State.LISTEN)
    assert (one.protocol, other.protocol) == (Protocol.UNIX, Protocol.UNIX_DATAGRAM)
    assert (other.path, other.file) == (f"@{tmp_path}", None)
    assert one.uid == os.geteuid()
