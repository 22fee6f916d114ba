"""How the command's time grows with the descriptors and the sockets of a machine.

python benchmarks/growth.py
"""

from __future__ import annotations

from command import Spent, measure
from load import Load, private_network

PEERS = ("bindcheck", "ss", "lsof")
DESCRIPTORS = {
    processes * 50: Load(processes=processes, descriptors=50)
    for processes in (500, 1000, 2000, 4000)
}
SOCKETS = {
    count: Load(time_waits=count // 2, connections=count // 4)
    for count in (10_000, 20_000, 40_000, 80_000)
}
AXES = {"descriptors": DESCRIPTORS, "sockets": SOCKETS}


def main() -> None:
    """Print the medians."""
    private_network()
    for axis, loads in AXES.items():
        print(f"\n{axis}\n{table(measured(loads, 5))}")


def measured(loads: dict[int, Load], rounds: int) -> dict[int, dict[str, Spent]]:
    """The times at each size."""
    return {size: measure(load, rounds, *PEERS) for size, load in loads.items()}


def table(found: dict[int, dict[str, Spent]]) -> str:
    """A table in Markdown: milliseconds of wall time."""
    names = list(next(iter(found.values())))
    lines = [f"| | {' | '.join(names)} |", f"|---:|{'---:|' * len(names)}"]
    for size, spent in found.items():
        times = " | ".join(f"{spent[name].wall:.1f}" for name in names)
        lines.append(f"| {size:,} | {times} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
