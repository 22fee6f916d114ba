"""The C core's Windows backend as a program, built with mingw-w64 and run by Wine."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

COMPILER = "x86_64-w64-mingw32-gcc"
ROOT = Path(__file__).parent.parent.parent
STREAM, DATAGRAM = 1, 2
UNSET = -1


def build(folder: Path) -> Path:
    """Compile every C file of the backend, and the program that tests drive."""
    files = runpy.run_path(str(ROOT / "csrc" / "sources.py"))
    program = folder / "probe.exe"
    libraries = [f"-l{one}" for one in files["LIBRARIES"]["win32"]]
    sources = [
        ROOT / "tests" / "wine" / "probe.c",
        *files["c_files"]("win32"),
    ]
    subprocess.run(
        [COMPILER, "-std=c11", "-Wall", "-Wextra", "-Werror", "-static"]
        + [str(one) for one in sources]
        + ["-o", str(program), *libraries],
        check=True,
    )
    return program


class Wine:
    """The program, running; a question is a line, an answer a line of JSON."""

    def __init__(self, program: Path, folder: Path) -> None:
        prefix = folder / "prefix"
        prefix.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "DISPLAY"},
            "WINEPREFIX": str(prefix),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree,mshtml=",  # nothing to install
        }
        self.process = subprocess.Popen(
            ["wine", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.process.communicate()  # its standard input ends, and so does it
        server = shutil.which("wineserver") or "/usr/lib/wine/wineserver64"
        subprocess.run([server, "-k"], env=self.environment, check=False)

    def ask(self, *words: object) -> dict[str, Any]:
        """Ask one thing."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(str(one) for one in words) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the program under Wine has ended"
        answer: dict[str, Any] = json.loads(line)
        assert "usage" not in answer, words
        return answer

    def probe(self, address: str, port: int, **options: int) -> dict[str, Any]:
        """bc_probe."""
        return self.ask("probe", *_wanted(address, port, options))

    def hold(self, address: str, port: int = 0, **options: int) -> dict[str, Any]:
        """Open a socket by Winsock itself and keep it; gives its slot and port."""
        return self.ask("hold", *_wanted(address, port, options))

    def release(self, slot: int) -> None:
        """Close what hold() opened."""
        self.ask("release", slot)


def _wanted(address: str, port: int, options: dict[str, int]) -> tuple[object, ...]:
    return (
        address,
        port,
        options.get("type", STREAM),
        options.get("listens", 0),
        options.get("reuse_address", UNSET),
        options.get("exclusive", UNSET),
        options.get("v6only", UNSET),
    )
