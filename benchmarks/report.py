"""Every benchmark in one run; `--write` keeps it in docs/benchmarks.md, with plots.

python benchmarks/report.py [--rounds N] [--write]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import calls
import command
import growth

if TYPE_CHECKING:
    from growth import Size

DOCS = Path(__file__).resolve().parent.parent / "docs"
MARK = "<!-- measured -->"
COLOURS = {"bindcheck": "#0072b2", "ss": "#d55e00", "lsof": "#999999"}


def main() -> None:
    """Measure, print, and keep it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="into docs/")
    given = parser.parse_args()

    parts = [f"## The machine\n\n{machine()}"]
    parts += [f"## Calls inside a program\n\n{calls.table(calls.measure())}"]
    for name, load in command.POINTS.items():
        found = command.measure(load, given.rounds)
        parts.append(f"## {name}: {load.name}\n\n{command.table(found)}")
        print(parts[-1], file=sys.stderr)
    for axis, loads in growth.AXES.items():
        sizes = growth.measured(loads, given.rounds)
        picture = ""
        if given.write:
            draw(axis, sizes)
            picture = f"\n\n![time over {axis}](benchmarks-{axis}.svg)"
        parts.append(f"## Growth with {axis}\n\n{growth.table(sizes)}{picture}")
    whole = "\n\n".join(parts) + "\n"
    print(whole)
    if given.write:
        page = DOCS / "benchmarks.md"
        head, _, _ = page.read_text("utf-8").partition(MARK)
        page.write_text(f"{head}{MARK}\n\n{whole}", "utf-8")


def machine() -> str:
    """What it was measured on."""
    info = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    model = next((one for one in info if one.startswith("model name")), "?: ?")
    bytes_of = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{os.cpu_count()} processors ({model.split(': ')[1]}), {bytes_of >> 30} GiB, "
        f"Linux {kernel}, CPython {platform.python_version()}, "
        f"{datetime.now(UTC):%Y-%m-%d}; load average at the start "
        f"{os.getloadavg()[0]:.1f}."
    )


def draw(axis: str, sizes: dict[int, Size]) -> None:
    """Plot wall time over size."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = axis  # the same ids in every run
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    for name in next(iter(sizes.values())).times:
        times = [one.times[name].wall for one in sizes.values()]
        axes.plot(list(sizes), times, marker="o", color=COLOURS[name], label=name)
    axes.set(xlabel=axis, ylabel="ms", xlim=(0, None), ylim=(0, None))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(DOCS / f"benchmarks-{axis}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
