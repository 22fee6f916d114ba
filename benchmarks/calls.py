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
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        target = bindcheck.parse_target(f"127.0.0.1:{taken}")
        free = bindcheck.parse_target("127.0.0.1:0")
        with tempfile.TemporaryDirectory() as folder:
            bare = f"{folder}/bare"
            subprocess.run(["cc", "-O2", "-o", bare, HERE / "bare.c"], check=True)
            compare("free", free, bare, 0)
            compare("taken", target, bare, taken)
        where = f"127.0.0.1:{taken}"
        spent = [per_call(lambda: bindcheck.diagnose(where), 50) for _ in range(ROUNDS)]
        print(f"diagnose() of a listener    {statistics.median(spent):8.1f} us")


def compare(name: str, target: bindcheck.Target, bare: str, port: int) -> None:
    """One port by all three."""
    times: dict[str, list[float]] = {"C": [], "probe": [], "socket": []}
    for _ in range(ROUNDS):
        done = subprocess.run([bare, str(port)], capture_output=True, check=True)
        times["C"].append(float(done.stdout))
        times["probe"].append(per_call(lambda: bindcheck.probe(target), 5000))
        times["socket"].append(per_call(lambda: plain(port), 5000))
    for who, every in times.items():
        spent = statistics.median(every)
        ratio = spent / statistics.median(times["C"])
        print(f"{name:<6} {who:<8} {spent:8.2f} us  {ratio:5.2f} x C")


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
