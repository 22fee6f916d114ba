"""The verb `probe`: the native call and its result, no diagnosis."""

from __future__ import annotations

from bindcheck._version import __version__
from bindcheck.cli.asked import options_of, requests_of
from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.output import write
from bindcheck.diagnosis import probe_request
from bindcheck.render import native_line

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> ExitCode:
    """Probe each target once and print a line for each, or JSON.

    Raises:
        TargetError: a text is no target.
        UsageError: an option makes no sense.
    """
    options = options_of(arguments)
    requests = requests_of(arguments, options)
    attempts = [probe_request(request, options) for request in requests]
    if arguments.json:
        import json

        from bindcheck.jsonform import SCHEMA, attempt_to_dict

        answer = {
            "schema": SCHEMA,
            "version": __version__,
            "attempts": [attempt_to_dict(attempt) for attempt in attempts],
        }
        write(json.dumps(answer, indent=2) + "\n")
    else:
        for attempt in attempts:
            write(native_line(attempt) + "\n")
    return ExitCode.BINDABLE if all(one.ok for one in attempts) else ExitCode.BLOCKED
