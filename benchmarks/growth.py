"""How the command's time grows with the descriptors and the sockets of a machine.

python benchmarks/growth.py
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from command import Spent, measure
from load import PORT, Load, loaded, private_network

# The most that it had since it was started: ru_maxrss counts who started it as well.
MEMORY = (
    "from bindcheck.cli.main import run\n"
    f"run(['127.0.0.1:{PORT}'])\n"
    "for line in open('/proc/self/status'):\n"
    "    if line.startswith('VmHWM'): print(line)"
)
PEERS = ("bindcheck", "ss", "lsof")
DESCRIPTORS = {
    processes * 50: Load(processes=processes, descriptors=50)
    for processes in (500, 1000, 2000, 4000)
}
SOCKETS = {
    count: Load(processes=20, time_waits=count // 2, connections=count // 4)
    for count in (10_000, 20_000, 40_000, 80_000)
}
AXES = {"descriptors": DESCRIPTORS, "sockets": SOCKETS}


def main() -> None:
    """Print the medians."""
    for axis, loads in AXES.items():
        print(f"\n{axis}\n{table(measured(loads, 5))}")


@dataclass(frozen=True)
class Size:
    """What it takes at one size: the times of all, and MiB of ours."""

    times: dict[str, Spent]
    memory: float


def measured(loads: dict[int, Load], rounds: int) -> dict[int, Size]:
    """What it takes at each size."""
    return {
        size: Size(measure(load, rounds, *PEERS), memory(load))
        for size, load in loads.items()
    }


def memory(load: Load) -> float:
    """The most MiB that a diagnosis has."""
    private_network()
    with loaded(load):
        command = (sys.executable, "-c", MEMORY)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-2]) / 1024


def table(found: dict[int, Size]) -> str:
    """A table in Markdown: wall time, and the memory of ours."""
    names = list(next(iter(found.values())).times)
    head = [*(f"{name}, ms" for name in names), "bindcheck, MiB"]
    lines = [f"| | {' | '.join(head)} |", f"|---:|{'---:|' * len(head)}"]
    for size, one in found.items():
        times = " | ".join(f"{one.times[name].wall:.1f}" for name in names)
        lines.append(f"| {size:,} | {times} | {one.memory:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
