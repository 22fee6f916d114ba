"""The command against its peers, as whole processes, at several sizes of a machine.

python benchmarks/command.py [--rounds N] [POINT...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from load import PORT, Load, loaded, private_network, refresh

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
OURS = (sys.executable, "-m", "bindcheck")
PEERS: dict[str, tuple[str, ...]] = {
    "bindcheck": (*OURS, f"127.0.0.1:{PORT}"),
    "ss": ("ss", "-Htanp", f"sport = :{PORT}"),
    "lsof": ("lsof", "-nP", f"-i:{PORT}"),
    "fuser": ("fuser", f"{PORT}/tcp"),
    "netstat": ("netstat", "-tnap"),
    "psutil": (sys.executable, "-c", PSUTIL),
    "whoisport": ("whoisport", str(PORT)),
    "whatport": ("whatport", str(PORT)),
    "portcheck": ("portcheck", str(PORT)),
    "imports": (sys.executable, "-c", "import psutil, argparse"),
    "bindcheck list": (*OURS, "list"),
    "ss, all": ("ss", "-Htanp"),
}
BASE = {"ss, all": "bindcheck list"}  # all others are compared with "bindcheck"


@dataclass(frozen=True)
class Spent:
    """Milliseconds of whole processes, medians."""

    wall: float
    processor: float


def main() -> None:
    """Print a table for each point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("points", nargs="*", default=list(POINTS))
    given = parser.parse_args()
    for name in given.points:
        found = measure(POINTS[name], given.rounds)
        print(f"\n{name}: {POINTS[name].name}\n{table(found)}")


def measure(load: Load, rounds: int, *names: str) -> dict[str, Spent]:
    """Every peer that is installed (or those that are named), by turns."""
    there = {name: PEERS[name] for name in names or PEERS}
    there = {name: line for name, line in there.items() if shutil.which(line[0])}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start compiles again
    rows = []
    private_network()  # without what lingers of another load
    with loaded(load):
        for _ in range(rounds + 1):
            refresh(load)
            rows.append({name: run(line) for name, line in there.items()})
    del rows[0]  # it warmed up
    return {
        name: Spent(
            statistics.median(row[name].wall for row in rows),
            statistics.median(row[name].processor for row in rows),
        )
        for name in there
    }


def run(line: tuple[str, ...]) -> Spent:
    """Run one program once."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    return Spent(wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000)


def table(found: dict[str, Spent]) -> str:
    """A table in Markdown; ratios of ours to each peer."""
    lines = ["| | wall, ms | processor, ms | bindcheck takes |", "|---|---:|---:|---:|"]
    for name, spent in found.items():
        ours = found[BASE.get(name, "bindcheck")]
        ratio = (
            "" if name.startswith("bindcheck") else f"{ours.wall / spent.wall:.2f} x"
        )
        lines.append(f"| {name} | {spent.wall:.1f} | {spent.processor:.1f} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
