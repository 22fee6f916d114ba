"""What fuzzing found (`nox -s fuzz`), decoded and read again without a fuzzer.

The bytes lie between two pages that may not be touched, and the rows are followed by
bytes that must not change. Of the first two bytes of an input the decoders are chosen
as tests/native/decoders.c does it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bindcheck._native import ffi, lib
from tests.fuzz.texts import PROPERTIES
from tests.test_decoders import CANARY, guarded

_ffi: Any = ffi
_lib: Any = lib
FOLDER = Path(__file__).parent / "data" / "fuzz"
# The C core alone has these: `nox -s memcheck`.
NOT_HERE = {"procargs", "sockaddr"}
ROWS = {
    **dict.fromkeys(("sock_diag", "pcblist", "procnet", "ip_helper"), "bc_socket"),
    **dict.fromkeys(("port_bitmap", "excluded_range"), "bc_port_range"),
    "unix_diag": "bc_unix_socket",
    "rtnl_link": "bc_tunnel",
    "procstat": "bc_proc_stat",
    "uring_files": "uint64_t",
}
LAYOUTS = (1, 2, 3, 4, 1, 5, 6, 4)  # BC_TABLE_*, as the variants are ordered
TCP, UDP, KNOWN_PORT = 6, 17, 8080
ENOUGH = 256
ANSWERS = {lib.BC_OK, lib.BC_E_TRUNCATED, lib.BC_E_MALFORMED}


def inputs(name: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted((FOLDER / name).iterdir())]


def call(name: str, place: Any, data: bytes, room: tuple[Any, int, Any]) -> int:
    """Call a decoder; returns its status. `room` is the rows, how many, and a count."""
    control, length = data[0], len(data) - 2
    variant = control >> 2 & 7
    head = (place, length)
    order, port = control & 1, KNOWN_PORT if control & 2 else 0
    protocol = UDP if variant in (2, 3, 7) else TCP
    status, consumed = _ffi.new("bc_decode_status *"), _ffi.new("size_t *")
    answer: int
    match name:
        case "sock_diag" | "pcblist":
            decode = getattr(_lib, f"bc_decode_{name}")
            answer = decode(*head, order, protocol, port, *room, status)
        case "procnet":
            family = 6 if variant in (1, 3, 6, 7) else 4
            more = (order, family, protocol, port, *room, consumed, status)
            answer = _lib.bc_decode_proc_net(*head, *more)
        case "unix_diag":
            answer = _lib.bc_decode_unix_diag(*head, order, *room, status)
        case "rtnl_link":
            answer = _lib.bc_decode_links(*head, order, *room, status)
        case "ip_helper":
            answer = _lib.bc_decode_ip_helper(*head, LAYOUTS[variant], port, *room)
        case "port_bitmap":
            answer = _lib.bc_decode_port_bitmap(*head, *room)
        case "uring_files":
            section = _ffi.new("int32_t *")
            answer = _lib.bc_decode_uring_files(*head, section, *room, consumed)
        case "procstat":
            answer = _lib.bc_decode_proc_stat(*head, room[0])
        case _:
            assert name == "excluded_range"
            text = _ffi.cast("char *", place)
            answer = _lib.bc_decode_excluded_range(text, length, room[0])
    assert consumed[0] <= length
    assert status.code >= 0
    return answer


def decoded(
    name: str, data: bytes, *, capacity: int, at_end: bool = True
) -> tuple[int, int, bytes]:
    """Status, count and the bytes of the rows that were filled."""
    single = name in ("procstat", "excluded_range")
    capacity = 1 if single else capacity
    rows, count = _ffi.new(f"{ROWS[name]}[]", capacity + 1), _ffi.new("size_t *")
    memory = _ffi.buffer(rows)
    memory[:] = bytes([CANARY]) * len(memory)
    place = guarded.place(data[2:], at_end=at_end)
    status = call(name, place, data, (rows, capacity, count))
    assert status in ANSWERS
    filled = capacity if single else min(count[0], capacity)
    size = filled * _ffi.sizeof(ROWS[name])
    assert set(memory[len(memory) if single else size :]) <= {CANARY}
    if status != lib.BC_E_MALFORMED:
        assert (status == lib.BC_E_TRUNCATED) == (count[0] > capacity)
    return status, count[0], memory[:size]


def test_every_target_has_inputs() -> None:
    names = {folder.name for folder in FOLDER.iterdir()}
    assert names == ROWS.keys() | PROPERTIES.keys() | NOT_HERE
    assert all(inputs(name) for name in names)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_bytes(name: str) -> None:
    """Wherever the bytes lie and however little room there is, the same is found."""
    malformed = 0
    for data in inputs(name):
        if len(data) < 2:
            continue
        whole = decoded(name, data, capacity=ENOUGH)
        assert decoded(name, data, capacity=ENOUGH, at_end=False) == whole
        status, count, rows = decoded(name, data, capacity=data[1])
        assert (count, rows) == (whole[1], whole[2][: len(rows)])
        malformed += status == lib.BC_E_MALFORMED
    # What fuzzing keeps reaches both ends of a decoder.
    never = ("procnet", "port_bitmap", "uring_files")
    assert (malformed > 0) == (name not in never)


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_text(name: str) -> None:
    for data in inputs(name):
        PROPERTIES[name](data)
