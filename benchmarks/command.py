"""The command against its peers, as whole processes, at several sizes of a machine.

python benchmarks/command.py [--rounds N] [POINT...]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time

from load import PORT, Load, loaded, private_network

POINTS = {
    "idle": Load(),
    "small": Load(processes=200, descriptors=20),
    "server": Load(processes=2000, descriptors=50, connections=8000, time_waits=24000),
    "listeners-1000": Load(listeners=1000),
    "listeners-10000": Load(listeners=10000),
    "descriptors": Load(processes=4000, descriptors=100),
}
PSUTIL = (
    "import psutil\n"
    "for one in psutil.net_connections('tcp'):\n"
    f"    if one.laddr and one.laddr.port == {PORT}: print(one)"
)
PEERS: dict[str, tuple[str, ...]] = {
    "bindcheck": (sys.executable, "-m", "bindcheck", f"127.0.0.1:{PORT}"),
    "ss": ("ss", "-Htanp", f"sport = :{PORT}"),
    "lsof": ("lsof", "-nP", f"-i:{PORT}"),
    "fuser": ("fuser", f"{PORT}/tcp"),
    "netstat": ("netstat", "-tnap"),
    "psutil": (sys.executable, "-c", PSUTIL),
    "import": (sys.executable, "-c", "import psutil, argparse"),
    "list": (sys.executable, "-m", "bindcheck", "list"),
    "ss-all": ("ss", "-Htanp"),
}


def main() -> None:
    """Print a table: medians in milliseconds, and ratios to bindcheck."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("points", nargs="*", default=list(POINTS))
    given = parser.parse_args()
    private_network()
    found = {}
    for name in given.points or POINTS:
        with loaded(POINTS[name]):
            found[name] = medians(given.rounds)
        show(name, found[name], as_json=given.json)


def medians(rounds: int) -> dict[str, float]:
    """Milliseconds of each peer that is installed, by turns."""
    there = {name: line for name, line in PEERS.items() if shutil.which(line[0])}
    times: dict[str, list[float]] = {name: [] for name in there}
    for _ in range(rounds):
        for name, line in there.items():
            begun = time.perf_counter()
            subprocess.run(line, capture_output=True, check=False)
            times[name].append((time.perf_counter() - begun) * 1000)
    return {name: statistics.median(every) for name, every in times.items()}


def show(point: str, found: dict[str, float], *, as_json: bool) -> None:
    """One point, as a table or a line of JSON."""
    if as_json:
        print(json.dumps({"point": point, "load": POINTS[point].name, "ms": found}))
        return
    print(f"\n{point}: {POINTS[point].name}")
    for name, spent in found.items():
        ratio = found["bindcheck"] / spent
        print(f"  {name:<10} {spent:8.1f} ms   bindcheck is {ratio:5.2f} x")


if __name__ == "__main__":
    main()
