"""The verb `check`: diagnose targets, as text or JSON."""

from __future__ import annotations

import sys
import time

from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.output import print_lines, privileged_command, write
from bindcheck.conclusion import conclude
from bindcheck.examination import examine
from bindcheck.model import Report
from bindcheck.observe import Observer
from bindcheck.words import Verdict

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bindcheck.model import Diagnosis, Options
    from bindcheck.target import Request

_TIMEOUT_SECONDS = 10.0
_CODES = {
    Verdict.BINDABLE: ExitCode.BINDABLE,
    Verdict.TRANSIENT: ExitCode.BINDABLE,
    Verdict.CONDITIONAL: ExitCode.BLOCKED,
    Verdict.BLOCKED: ExitCode.BLOCKED,
    Verdict.UNKNOWN: ExitCode.UNKNOWN,
}


def run(
    requests: Sequence[Request], options: Options, arguments: argparse.Namespace
) -> ExitCode:
    """Diagnose, print, and say how it went; the worst of 3, 1, 0 counts."""
    observer = Observer()
    results: list[Diagnosis] = []
    for request in requests:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        seen = examine(request, options, observer, deadline=deadline)
        results += [conclude(one) for one in seen]
    report = Report(context=observer.context(), results=tuple(results))
    if arguments.json:
        from bindcheck.jsonform import dumps

        write(dumps(report) + "\n")
    else:
        from bindcheck.render import report_lines

        lines = report_lines(
            report,
            privileged_command=privileged_command(sys.argv[1:]),
            verbose=arguments.verbose,
            quiet=arguments.quiet,
        )
        print_lines(lines, color=not arguments.no_color)
    return max(_CODES[one.verdict] for one in results)
