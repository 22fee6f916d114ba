"""Small C libraries beside this file that make calls of a program fail (LD_PRELOAD)."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.faults import Answer

COMPILER = "gcc"
_SECONDS = 60  # a net under what would not end


@functools.cache
def library(name: str) -> str:
    """Compile one; it goes with this process."""
    folder = tempfile.mkdtemp(prefix="bindcheck-preload-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    source = Path(__file__).with_name(f"{name}.c")
    made = Path(folder, f"{name}.so")
    flags = ("-std=c11", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")
    subprocess.run([COMPILER, *flags, "-o", made, source, "-ldl"], check=True)
    return str(made)


def preload(name: str, **variables: str) -> dict[str, str]:
    """The environment of a program that has one; behind what it has already."""
    before = os.environ.get("LD_PRELOAD", "")
    return {
        **os.environ,
        "LD_PRELOAD": f"{before} {library(name)}".strip(),
        **variables,
    }


def run_preloaded(
    arguments: list[str], environment: dict[str, str], descriptors: tuple[int, ...] = ()
) -> Answer:
    """Run the command so."""
    done = subprocess.run(
        [sys.executable, "-m", "bindcheck", *arguments],
        env=environment,
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr, frozenset())
