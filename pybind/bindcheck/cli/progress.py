"""What is shown while something is waited for: a bar on a terminal, a line elsewhere.

On stderr: stdout belongs to the answer, or to the command that is run then.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

from bindcheck.cli.notes import say
from bindcheck.cli.output import is_terminal
from bindcheck.sanitize import sanitize
from bindcheck.wording.terms import duration

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import Self, TextIO

    from rich.progress import Progress, ProgressColumn, TaskID

    from bindcheck.model import Diagnosis

    Tell = Callable[[Diagnosis, float | None], float]

_REDRAW_SECONDS = 1.0
_NEVER = 3600.0


@contextlib.contextmanager
def reporter(arguments: argparse.Namespace) -> Iterator[Tell]:
    """What `wait` tells its progress to; leaves a terminal as it was."""
    if arguments.quiet or sys.stderr is None:
        yield lambda *_: _NEVER
    elif not is_terminal(sys.stderr) or _is_in_the_background(sys.stderr):
        yield _Lines()
    else:
        with _ends_orderly(), _Bar(color=not arguments.no_color) as bar:
            yield bar


def _is_in_the_background(stream: TextIO) -> bool:
    """Whether the terminal belongs to another program just now: `wait 8080 &`."""
    if sys.platform == "win32":
        return False
    else:  # noqa: RET505 - type checkers leave the other system's branch out
        try:
            return os.tcgetpgrp(stream.fileno()) != os.getpgrp()
        except OSError:
            return False


def reason(diagnosis: Diagnosis) -> str:
    """What is waited for, in one line."""
    summary = diagnosis.causes[0].summary if diagnosis.causes else "it is in use"
    return f"waiting for {sanitize(diagnosis.target.text)}: {summary}"


class _Lines:
    """A line for each reason: when the server is gone its TIME_WAIT may be next."""

    def __init__(self) -> None:
        self._told: object = None

    def __call__(self, diagnosis: Diagnosis, ends_at: float | None) -> float:
        what = reason(diagnosis)
        if what != self._told:
            self._told = what
            left = ""
            if ends_at is not None:
                left = f", about {duration(ends_at - time.monotonic())}"
            say(f"{what}{left}")
        return _NEVER


class _Bar:
    """A bar that fills while the kernel's timer runs; without a timer the time so far."""

    def __init__(self, *, color: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._console = Console(stderr=True, no_color=not color)
        self._progress: Progress = Progress(
            *self._columns(timer=False),
            console=self._console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        self._task: TaskID | None = None
        self._reason = ""
        self._begun = time.monotonic()

    def _columns(self, *, timer: bool) -> list[ProgressColumn]:
        from rich.progress import BarColumn, TextColumn
        from rich.table import Column

        text = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", markup=False, table_column=text),
            TextColumn("{task.fields[left]}", markup=False, justify="right"),
        ]
        if timer:
            columns.insert(1, BarColumn(bar_width=max(5, self._console.width // 5)))
        return columns

    def __enter__(self) -> Self:
        self._progress.start()
        # Rich hides it; whatever ends this program, the shell is to have it.
        self._console.show_cursor(True)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, diagnosis: Diagnosis, ends_at: float | None) -> float:
        now = time.monotonic()
        text = reason(diagnosis)
        if text != self._reason or self._task is None:
            self._begin(text, None if ends_at is None else ends_at - now)
        if ends_at is None:
            left = duration(now - self._begun)
        else:
            left = f"{duration(ends_at - now)} left" if ends_at > now else "any moment"
        assert self._task is not None  # noqa: S101 - _begin() made it
        self._progress.update(
            self._task, completed=now - self._begun, left=left, refresh=True
        )
        return _REDRAW_SECONDS

    def _begin(self, text: str, seconds: float | None) -> None:
        """A new reason has a bar of its own."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._reason, self._begun = text, time.monotonic()
        self._progress.columns = tuple(self._columns(timer=seconds is not None))
        total = None if seconds is None else max(0.001, seconds)
        self._task = self._progress.add_task(text, total=total, left="")


@contextlib.contextmanager
def _ends_orderly() -> Iterator[None]:
    """Leave by SystemExit when told to end, so that the cursor is shown again."""
    import signal

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
