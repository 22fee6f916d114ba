"""What explained() costs around a bind that works, beside the bind alone.

python benchmarks/explained.py
"""

from __future__ import annotations

import socket
import statistics
import time
from typing import TYPE_CHECKING

import bindcheck

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS, CALLS = 25, 2000


def main() -> None:
    """Print both, and the difference of the medians."""
    plain, within = [], []
    for _ in range(ROUNDS):  # by turns, so that both meet the same machine
        plain.append(measured(bind))
        within.append(measured(bind_explained))
    alone, more = statistics.median(plain), statistics.median(within)
    print(f"bind alone             {alone:8.2f} us")
    print(f"within explained()     {more:8.2f} us  ({more / alone:.3f} x)")
    print(f"explained() by itself  {measured(nothing):8.2f} us")


def measured(function: Callable[[], object]) -> float:
    """Microseconds of a call."""
    begun = time.perf_counter()
    for _ in range(CALLS):
        function()
    return (time.perf_counter() - begun) / CALLS * 1e6


def bind() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))


def bind_explained() -> None:
    with socket.socket() as one, bindcheck.explained():
        one.bind(("127.0.0.1", 0))


def nothing() -> None:
    with bindcheck.explained():
        pass


if __name__ == "__main__":
    main()
