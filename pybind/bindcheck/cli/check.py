"""The verb `check`: diagnose targets, as text or JSON."""

from __future__ import annotations

import os
import stat
import sys
import time

from bindcheck.cli.asked import options_of, requests_of
from bindcheck.cli.notes import say
from bindcheck.cli.output import privileged_command
from bindcheck.cli.report import print_report
from bindcheck.conclusion import conclude
from bindcheck.errors import UsageError
from bindcheck.examination import examine
from bindcheck.model import Report
from bindcheck.observe import Observer

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bindcheck.cli.exit_codes import ExitCode
    from bindcheck.model import Context, Examination, Options
    from bindcheck.target import Request

_TIMEOUT_SECONDS = 10.0


def run(arguments: argparse.Namespace) -> ExitCode:
    """Diagnose, print, and say how it went.

    Raises:
        TargetError: a text is no target.
        UsageError: an option makes no sense, or the file to record in cannot be written.
    """
    options = options_of(arguments)
    requests = requests_of(arguments, options)
    file = _open(arguments.record) if arguments.record is not None else None
    seen, context = look(requests, options)
    report = Report(context=context, results=tuple(conclude(one) for one in seen))
    code = print_report(
        report, arguments, privileged_command=privileged_command(sys.argv[1:])
    )
    if file is not None:
        _record(file, seen, context, arguments)
    return code


def look(
    requests: Sequence[Request], options: Options
) -> tuple[list[Examination], Context]:
    """Examine targets, each for a limited time."""
    observer = Observer()
    seen: list[Examination] = []
    for request in requests:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        seen += examine(request, options, observer, deadline=deadline)
    return seen, observer.context()


def _open(path: str) -> int:
    """Open the file before anything is done; only its owner may read it."""
    if path == "-":
        raise UsageError("--record: name a file, standard output has the answer")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        file = os.open(path, flags, 0o600)
        # One that was there may be open to others; a device is for all, /dev/null too.
        if hasattr(os, "fchmod") and stat.S_ISREG(os.fstat(file).st_mode):
            os.fchmod(file, 0o600)
    except OSError as error:
        raise UsageError(f"--record: {path}: {error.strerror}") from None
    return file


def _record(
    file: int,
    seen: Sequence[Examination],
    context: Context,
    arguments: argparse.Namespace,
) -> None:
    from bindcheck.recording import dumps

    with open(file, "w", encoding="ascii") as out:
        out.write(dumps(seen, context, commands=arguments.record_commands))
    if not arguments.quiet:
        from bindcheck.sanitize import sanitize

        say(
            f"recorded; `bindcheck replay {sanitize(arguments.record)}` "
            "shows it again anywhere"
        )
