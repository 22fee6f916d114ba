"""A command in a pseudo-terminal, as a person meets it: read, typed to, interrupted."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BINDCHECK = (sys.executable, "-m", "bindcheck")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CURSOR_HIDDEN, CURSOR_SHOWN = "\x1b[?25l", "\x1b[?25h"
_OURS = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE")


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would change the output, and with `changes`."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {**kept, "TERM": "xterm", **changes}


class Terminal:
    """A command whose three streams are one terminal of `width` columns (0: not told).

    It is the terminal's foreground program: Ctrl-C reaches it.
    """

    def __init__(
        self,
        *arguments: str,
        width: int = 0,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        pty, termios, fcntl = map(importlib.import_module, ("pty", "termios", "fcntl"))
        self._ours, theirs = pty.openpty()
        if width:
            termios.tcsetwinsize(theirs, (24, width))
        self._process = subprocess.Popen(
            [*BINDCHECK, *arguments],
            env=environment(env or {}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one thread
        )
        os.close(theirs)
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    def read_until(self, text: str) -> str:
        """What is shown until this is; the end of the program is an error."""
        while text not in self.plain:
            assert self._read(), f"{text!r} is not in {self.plain!r}"
        return self.plain

    def read_all(self) -> int:
        """Read to the end; returns the exit status."""
        while self._read():
            pass
        return self._process.wait()

    def type(self, text: str) -> None:
        """Type something; "\\x03" is Ctrl-C."""
        os.write(self._ours, text.encode())

    @property
    def plain(self) -> str:
        """What was shown, without control sequences."""
        return CONTROL.sub("", self.shown).replace("\r\n", "\n")

    def _read(self) -> bool:
        data = b""
        # On Linux the end of a terminal whose programs are gone is an error, EIO.
        with contextlib.suppress(OSError):
            data = os.read(self._ours, 4096)
        self.shown += data.decode()
        return bool(data)
