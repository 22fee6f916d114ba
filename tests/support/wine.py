"""The C core of Windows as a program (tests/wine/probe.c), run by Wine."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runpy import run_path
from typing import Any

TESTS = Path(__file__).parent.parent
CSRC = TESTS.parent / "csrc"
COMPILER = "x86_64-w64-mingw32-gcc"
# What probe.c plays instead of Windows.
WRAPPED = (
    *("bc__find_function", "GetExtendedTcpTable"),
    *("__imp_WSASocketW", "__imp_WSACleanup"),
)
FLAGS = (
    *("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion"),
    *("-Wvla", "-Werror", f"-I{CSRC}"),
)


def compile_program(folder: Path) -> Path:
    """Compile and link probe.c and all files that Windows compiles."""
    sources = run_path(str(CSRC / "sources.py"))
    files = [TESTS / "wine" / "probe.c", *sources["c_files"]("win32")]
    objects = [str(folder / f"{number}.o") for number in range(len(files))]
    environment = clean_environment(folder)

    def run(*arguments: str) -> None:
        subprocess.run([COMPILER, *arguments], env=environment, check=True)

    def compile_one(source: Path, made: str) -> None:
        run(*FLAGS, "-c", "-o", made, str(source))

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        list(workers.map(compile_one, files, objects))
    program = folder / "probe.exe"
    wrapped = [f"-Wl,--wrap={name}" for name in WRAPPED]
    libraries = [f"-l{name}" for name in sources["LIBRARIES"]["win32"]]
    run("-static", *wrapped, "-o", str(program), *objects, *libraries)
    return program


def clean_environment(home: Path) -> dict[str, str]:
    """Neither a display nor what sanitizers preload, and a home that is ours.

    Wine makes links into the home folder, and refuses one of another user.
    """
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "WINEPREFIX": str(home / "prefix"),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        # Neither Mono nor Gecko is asked for when the prefix is made.
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
        "LC_ALL": "C.UTF-8",
    }


class Wine:
    """A prefix with the program in it; the first start makes it and takes seconds."""

    def __init__(self, folder: Path) -> None:
        self.environment = clean_environment(folder)
        # It stays a minute after each command: by itself it ends after seconds, and
        # resets the connection of a command that comes just then.
        Path(self.environment["WINEPREFIX"]).mkdir()
        subprocess.run(["wineserver", "-p60"], env=self.environment, check=True)
        # The prefix is made while the compiler works.
        with ThreadPoolExecutor(1) as worker:
            made = worker.submit(self.start, "wineboot", "--init")
            self.program = compile_program(folder)
            made.result()

    def start(self, *command: str) -> str:
        """Run a program of Windows that must succeed; returns what it printed."""
        # Files, not pipes: what Wine leaves running for a while would keep those open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as trouble:
            done = subprocess.run(
                ["wine", *command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=trouble,
                timeout=180,
                check=False,
            )
            for one in (out, trouble):
                one.seek(0)
            printed, troubles = out.read(), trouble.read()
        assert done.returncode == 0, (command, printed, troubles)
        return printed.decode("utf-8")

    def run(self, *arguments: str) -> dict[str, Any]:
        """What probe.c prints for a command."""
        found = json.loads(self.start(str(self.program), *arguments))
        assert isinstance(found, dict)
        return found

    def stop(self) -> None:
        """End what the prefix has running."""
        subprocess.run(["wineserver", "-k"], env=self.environment, check=False)
        subprocess.run(["wineserver", "-w"], env=self.environment, check=False)
