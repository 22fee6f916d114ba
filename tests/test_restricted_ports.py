"""The decoder of the ports that macOS keeps for programs with an entitlement."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindcheck._native import ffi, lib
from tests.support.pcblist import bitmap
from tests.test_decoders import CANARY, guarded, properties

_ffi: Any = ffi


def ranges(
    data: bytes, *, capacity: int = 16, count: int = 0
) -> tuple[int, list[tuple[int, int]], int]:
    """Status, ranges and count; bytes outside of the rows must not change."""
    out = _ffi.new("bc_port_range[]", capacity + 2)
    memory = _ffi.buffer(out)
    memory[:] = bytes([CANARY]) * len(memory)
    counter = _ffi.new("size_t *", count)
    status = lib.bc_decode_port_bitmap(
        guarded.place(data), len(data), out, capacity, counter
    )
    filled = min(counter[0], capacity)
    size = _ffi.sizeof("bc_port_range")
    untouched = memory[: min(count, capacity) * size] + memory[filled * size :]
    assert set(untouched) == {CANARY}
    found = [out[index] for index in range(count, filled)]
    assert all(one.kind == lib.BC_KEPT_RESTRICTED for one in found)
    assert all(bytes(one.reserved) == bytes(3) for one in found)
    return status, [(one.first, one.last) for one in found], counter[0]


class TestRestrictedPorts:
    @pytest.mark.parametrize(
        ("chosen", "expected"),
        [
            ((), []),
            ((55555,), [(55555, 55555)]),
            ((0,), [(0, 0)]),
            ((65535,), [(65535, 65535)]),
            ((7, 8, 9, 63, 64, 65, 127), [(7, 9), (63, 65), (127, 127)]),
            ((62742, 62743, 61314, 61315), [(61314, 61315), (62742, 62743)]),
            (tuple(range(65536)), [(0, 65535)]),
        ],
        ids=["none", "macOS", "first", "last", "across words", "others", "all"],
    )
    def test_runs(self, chosen: tuple[int, ...], expected: Any) -> None:
        assert ranges(bitmap(*chosen)) == (lib.BC_OK, expected, len(expected))

    def test_only_ports_are_read(self) -> None:
        assert ranges(bitmap(65535) + b"\xff" * 8)[1] == [(65535, 65535)]

    def test_run_ends_where_the_bytes_do(self) -> None:
        for length in range(9):
            expected = [(0, 8 * length - 1)] if length else []
            assert ranges(b"\xff" * length)[1] == expected

    @pytest.mark.parametrize("capacity", [0, 1, 2, 3])
    def test_room(self, capacity: int) -> None:
        status, found, count = ranges(bitmap(1, 3), capacity=capacity)
        assert (found, count) == ([(1, 1), (3, 3)][:capacity], 2)
        assert status == (lib.BC_OK if capacity >= 2 else lib.BC_E_TRUNCATED)

    def test_ranges_are_appended(self) -> None:
        assert ranges(bitmap(9), capacity=3, count=2) == (lib.BC_OK, [(9, 9)], 3)

    @properties
    @given(st.sets(st.integers(0, 1023)))
    def test_every_set_comes_back(self, chosen: set[int]) -> None:
        data = bitmap(*chosen, size=128)
        _, found, count = ranges(data, capacity=512)
        assert count == len(found)
        assert {one for a, b in found for one in range(a, b + 1)} == chosen
        assert all(b + 1 < c for (_, b), (c, _) in pairwise(found))
