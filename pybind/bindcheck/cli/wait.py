"""The verb `wait`: until a target can be bound; then end, or run a command."""

from __future__ import annotations

import sys
import time

from bindcheck.cli.asked import options_of, requests_of
from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.notes import say
from bindcheck.cli.output import print_lines, privileged_command, write
from bindcheck.cli.progress import reporter
from bindcheck.cli.report import print_report, status_of
from bindcheck.errors import UsageError
from bindcheck.observe import Observer
from bindcheck.render import Line
from bindcheck.sanitize import sanitize
from bindcheck.waiting import report_of, wait
from bindcheck.wording.terms import duration

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse

    from bindcheck.model import Report
    from bindcheck.waiting import Waited


def run(arguments: argparse.Namespace) -> int:
    """Wait, say how it went, and run the command where there is one.

    Raises:
        TargetError: a text is no target.
        UsageError: an option makes no sense, or the command cannot be found.
    """
    if arguments.json and arguments.command:
        raise UsageError("--json: the output is the command's with -- CMD")
    options = options_of(arguments)
    requests = requests_of(arguments, options)
    if arguments.command:
        from bindcheck.cli.command import find_command

        find_command(arguments.command)  # not after an hour of waiting
    begun = time.monotonic()
    deadline = None if arguments.timeout is None else begun + arguments.timeout
    observer = Observer()
    with reporter(arguments) as tell:
        waited = wait(requests, options, observer, deadline, tell)
    after = time.monotonic() - begun
    if waited.ok and arguments.command:
        from bindcheck.cli.command import run_command

        return run_command(arguments.command)
    report = report_of(waited, observer)
    if arguments.json:
        write(_json(report, waited, after))
        return status_of(report)
    if waited.ok:
        print_lines(_lines(report, after), color=not arguments.no_color)
        return ExitCode.BINDABLE
    return _explain(report, waited, arguments)


def _lines(report: Report, after: float) -> list[Line]:
    """One line for each target that can be bound now."""
    how_long = f" (after {duration(after)})" if after >= 1 else ""
    return [
        Line(f"{sanitize(one.target.text)} can be bound{how_long}", "bold green")
        for one in report
    ]


def _explain(report: Report, waited: Waited, arguments: argparse.Namespace) -> ExitCode:
    # Who has it is all that root is to see: not the waiting, and never the command.
    code = print_report(
        report, arguments, privileged_command=privileged_command(arguments.targets)
    )
    why = (
        f"gave up after {arguments.timeout:g} s"
        if waited.late
        else "waiting does not help here"
    )
    if not arguments.quiet:
        sys.stdout.flush()
        say(why)
    return code


def _json(report: Report, waited: Waited, after: float) -> str:
    import json

    from bindcheck._version import __version__
    from bindcheck.jsonform import SCHEMA, to_dict

    answer = {
        "schema": SCHEMA,
        "version": __version__,
        "ok": waited.ok,
        "timed_out": waited.late,
        "waited_ms": int(after * 1000),
        "report": to_dict(report),
    }
    return json.dumps(answer, indent=2) + "\n"
