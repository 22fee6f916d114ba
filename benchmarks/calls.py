"""probe() beside a bare C loop and Python's socket; diagnose() of a listener's port.

python benchmarks/calls.py
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import bindcheck

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 9
HERE = Path(__file__).parent


def main() -> None:
    """Print microseconds of a call, medians of rounds by turns."""
    print(table(measure()))


def measure() -> dict[str, dict[str, float]]:
    """Microseconds of a call: of a port that is free, one that is taken, and diagnose()."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as other:
        taken = server.getsockname()[1]
        other.bind(("127.0.0.1", 0))
        free = other.getsockname()[1]
        other.close()
        with tempfile.TemporaryDirectory() as folder:
            bare = f"{folder}/bare"
            subprocess.run(["cc", "-O2", "-o", bare, HERE / "bare.c"], check=True)
            found = {
                "a port that is free": compare(bare, free),
                "a port that is taken": compare(bare, taken),
                "port 0": compare(bare, 0),
            }
        where = f"127.0.0.1:{taken}"
        bindcheck.diagnose(where)
        spent = [per_call(lambda: bindcheck.diagnose(where), 20) for _ in range(ROUNDS)]
    return {**found, "a listener's port": {"diagnose()": statistics.median(spent)}}


def compare(bare: str, port: int) -> dict[str, float]:
    """One port by all three."""
    target = bindcheck.parse_target(f"127.0.0.1:{port}")
    times: dict[str, list[float]] = {"C": [], "probe()": [], "socket": []}
    for _ in range(ROUNDS):
        done = subprocess.run([bare, str(port)], capture_output=True, check=True)
        times["C"].append(float(done.stdout))
        times["probe()"].append(per_call(lambda: bindcheck.probe(target), 5000))
        times["socket"].append(per_call(lambda: plain(port), 5000))
    return {who: statistics.median(every) for who, every in times.items()}


def table(found: dict[str, dict[str, float]]) -> str:
    """A table in Markdown."""
    lines = ["| | call | µs | of the bare C loop |", "|---|---|---:|---:|"]
    for what, times in found.items():
        for who, spent in times.items():
            ratio = f"{spent / times['C']:.2f} x" if "C" in times else ""
            lines.append(f"| {what} | {who} | {spent:.1f} | {ratio} |")
    return "\n".join(lines)


def per_call(function: Callable[[], object], calls: int) -> float:
    """Microseconds of a call."""
    begun = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - begun) / calls * 1e6


def plain(port: int) -> None:
    """What a Python program does."""
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            pass


if __name__ == "__main__":
    main()
