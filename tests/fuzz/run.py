"""Give the decoders and the readers of texts what libFuzzer makes up.

`nox -s fuzz -- [SECONDS] [--jobs N] [--only TARGET] [--keep]`: so many seconds for each
target. What is kept in tests/data/fuzz is where it begins; `--keep` puts there the few
inputs that reach as much as all that were found. A finding stays in build/fuzz.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
KEPT = DATA / "fuzz"
OUT = ROOT / "build" / "fuzz"
PROGRAM = OUT / "decoders"
# tests/native/decoders.c knows them by these names.
DECODERS = (
    *("sock_diag", "unix_diag", "procnet", "procstat", "uring_files", "rtnl_link"),
    *("pcblist", "port_bitmap", "procargs", "ip_helper", "excluded_range"),
)
TEXTS = ("target", "error_text", "recording")  # tests/fuzz/texts.py
TARGETS = (*DECODERS, "sockaddr", *TEXTS)
MOST_FILES, MOST_BYTES = 40, 60_000  # that are kept of a target
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")
SANITIZERS = ("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")


def compile_decoders() -> None:
    """Build libFuzzer's program."""
    files = [ROOT / "tests" / "fuzz" / "decoders.c", ROOT / "csrc" / "address.c"]
    files += sorted((ROOT / "csrc" / "decode").glob("*.c"))
    flags = (*WARNINGS, "-g", "-O1", *SANITIZERS, f"-I{ROOT / 'csrc'}")
    subprocess.run(["clang", *flags, "-o", PROGRAM, *files], check=True)


def seeds(target: str) -> Path:
    """A folder of what other tests have of a target."""
    folder = OUT / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    for file in DATA.glob(f"*/{target}-*.bin"):
        # In front of the bytes what tests/native/decoders.c wants to be told.
        (folder / file.name).write_bytes(b"\x00\x07" + file.read_bytes())
    if target == "error_text":
        lines = (DATA / "lines" / "understood.txt").read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            (folder / str(number)).write_text(line, "utf-8")
    if target == "recording":
        for file in DATA.glob("*.json"):
            short = json.dumps(
                json.loads(file.read_text("utf-8")), separators=(",", ":")
            )
            (folder / file.name).write_text(short, "utf-8")
    return folder


def run(target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run libFuzzer on a target."""
    program = [sys.executable, "-m", "tests.fuzz.texts"]
    return subprocess.run(
        [*(program if target in TEXTS else [str(PROGRAM)]), *arguments],
        cwd=ROOT,
        env={**os.environ, "BINDCHECK_FUZZ": target},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def fuzz(target: str, seconds: int) -> bool:
    """Fuzz one target; print what came out, and return whether nothing was found."""
    corpus = OUT / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    begin = [str(one) for one in (corpus, KEPT / target, seeds(target)) if one.is_dir()]
    limits = (f"-max_total_time={seconds}", "-timeout=10")
    done = run(target, *limits, f"-artifact_prefix={OUT}/{target}-", *begin)
    told = re.findall(r"cov: \d+ ft: \d+ corp: \S+|Done \d+ runs", done.stdout)
    print(f"{target}: {', '.join(told[-2:])}", flush=True)
    if done.returncode != 0:
        print(done.stdout[-8000:], flush=True)
    return done.returncode == 0


def keep(target: str) -> bool:
    """Replace what is kept of a target by few inputs that reach as much.

    First those that reach every place, then such as reach some of them more often, until
    it is as much as a repository should hold.
    """
    kept = KEPT / target
    found = [OUT / "corpus" / target, kept, seeds(target)]
    chosen: dict[str, Path] = {}
    for how in ("-use_counters=0", "-use_counters=1"):
        new = OUT / f"new{how}" / target
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        folders = [str(one) for one in (new, *found) if one.is_dir()]
        done = run(target, "-set_cover_merge=1", how, "-timeout=10", *folders)
        if done.returncode != 0:
            return False
        files = sorted(new.iterdir(), key=lambda file: (file.stat().st_size, file.name))
        chosen |= {one.name: one for one in files if one.name not in chosen}
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    room = MOST_BYTES
    for one in [*chosen.values()][:MOST_FILES]:
        if one.stat().st_size <= room:
            room -= one.stat().st_size
            shutil.copy(one, kept)
    count = len([*kept.iterdir()])
    print(f"{target}: kept {count} of {len(chosen)}", flush=True)
    return True


def main() -> int:
    """Fuzz the targets, some at once; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--only", action="append", choices=TARGETS)
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    targets = asked.only or TARGETS
    OUT.mkdir(parents=True, exist_ok=True)
    compile_decoders()
    with ThreadPoolExecutor(asked.jobs) as pool:
        fine = [*pool.map(lambda one: fuzz(one, asked.seconds), targets)]
        if asked.keep:
            fine += pool.map(keep, targets)
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
