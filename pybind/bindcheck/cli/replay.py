"""The verb `replay`: diagnose again what `check --record` wrote."""

from __future__ import annotations

import sys

from bindcheck.cli.output import write
from bindcheck.cli.report import print_report
from bindcheck.conclusion import conclude
from bindcheck.errors import RecordingError, UsageError
from bindcheck.model import Report
from bindcheck.recording import loads

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse

    from bindcheck.cli.exit_codes import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """Replay each file; the worst exit status counts.

    Raises:
        UsageError: a file cannot be read, or is no recording.
    """
    reports = [_replay(path) for path in arguments.targets]
    codes = []
    for number, report in enumerate(reports):
        if number and not arguments.quiet:
            write("\n")
        codes.append(print_report(report, arguments))
    return max(codes)


def _replay(path: str) -> Report:
    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
        context, seen = loads(data)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except RecordingError as error:
        raise UsageError(f"{path}: {error}") from None
    return Report(context=context, results=tuple(conclude(one) for one in seen))
