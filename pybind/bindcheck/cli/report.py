"""Printing a report, and what exit status it means."""

from __future__ import annotations

from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.output import print_lines, write
from bindcheck.words import Verdict

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bindcheck.model import Report

_CODES = {
    Verdict.BINDABLE: ExitCode.BINDABLE,
    Verdict.TRANSIENT: ExitCode.BINDABLE,
    Verdict.CONDITIONAL: ExitCode.BLOCKED,
    Verdict.BLOCKED: ExitCode.BLOCKED,
    Verdict.UNKNOWN: ExitCode.UNKNOWN,
}


def print_report(
    report: Report,
    arguments: argparse.Namespace,
    *,
    privileged_command: Sequence[str] | None = None,
) -> ExitCode:
    """Print it as text or JSON; of several results the worst of 3, 1, 0 counts."""
    if arguments.json:
        from bindcheck.jsonform import dumps

        write(dumps(report) + "\n")
    else:
        from bindcheck.render import report_lines

        lines = report_lines(
            report,
            privileged_command=privileged_command,
            verbose=arguments.verbose,
            quiet=arguments.quiet,
        )
        print_lines(lines, color=not arguments.no_color)
    return status_of(report)


def status_of(report: Report) -> ExitCode:
    """The exit status that a report means."""
    return max((_CODES[one.verdict] for one in report), default=ExitCode.UNKNOWN)
