"""Where lines go: colour on a terminal, plain text elsewhere."""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from bindcheck.render import Line

_DEFAULT_WIDTH = 80
_NARROWEST = 20


def write(text: str) -> None:
    """Write to stdout; what its encoding cannot show becomes an escape.

    Raises:
        OSError: stdout is closed, or its disk is full.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed")
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def print_lines(lines: Sequence[Line], *, color: bool) -> None:
    """Print lines wrapped to the width, in colour where that is wanted and possible."""
    from bindcheck.render import wrap

    width = terminal_width()
    rows = [(row, line.style) for line in lines for row in wrap(line, width)]
    if not (color and is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")):
        write("".join(f"{row}\n" for row, _ in rows))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for row, style in rows:
        # A Text is never read as markup: "[/x]" in a command line stays what it is.
        console.print(Text(row, style=style))


def privileged_command(arguments: Sequence[str]) -> list[str] | None:
    """The command that root would run: the script by its absolute path.

    Never `python -m`: as root that would run what lies in the current folder.
    """
    if getattr(os, "geteuid", lambda: 0)() == 0:
        return None
    script = _console_script()
    if script is None or not all(one.isprintable() for one in (script, *arguments)):
        return None
    return [script, *arguments]


def _console_script() -> str | None:
    import shutil

    beside = os.path.join(os.path.dirname(sys.executable), "bindcheck")  # noqa: PTH118, PTH120
    if os.access(beside, os.X_OK):
        return os.path.abspath(beside)  # noqa: PTH100
    found = shutil.which("bindcheck")
    # A relative entry of PATH would name a file of whoever owns the current folder.
    return found if found and os.path.isabs(found) else None  # noqa: PTH117


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that understands more than text."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def terminal_width() -> int:
    """The columns of the terminal, or what COLUMNS says."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return max(_NARROWEST, int(columns))
    try:
        found = os.get_terminal_size(sys.stdout.fileno()).columns
    except (AttributeError, OSError, ValueError):
        found = 0
    # Some terminals say 0 for "not known".
    return max(_NARROWEST, found) if found else _DEFAULT_WIDTH
