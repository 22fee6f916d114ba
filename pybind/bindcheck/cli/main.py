"""From arguments to exit status."""

from __future__ import annotations

import errno
import os
import sys

from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.notes import say
from bindcheck.cli.parser import parse_arguments
from bindcheck.errors import BindcheckError, TargetError, UsageError
from bindcheck.sanitize import sanitize

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence


_NOT_OF_WRITING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
INTERRUPTED = 130
"""The exit status of Ctrl-C: 128 and the number of SIGINT."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    try:
        try:
            return _run(arguments)
        finally:  # after --help too, which leaves by SystemExit
            if sys.stdout is not None:
                sys.stdout.flush()
    except BindcheckError as error:
        return _trouble(str(error), ExitCode.UNKNOWN)
    except BrokenPipeError:
        # The reader has gone (`| head`): nothing is left to say.
        _discard_output()
        return ExitCode.UNKNOWN
    except OSError as error:
        what = "cannot go on"
        if error.errno not in _NOT_OF_WRITING:
            _discard_output()
            what = "cannot write the answer"
        return _trouble(f"{what}: {error.strerror}", ExitCode.UNKNOWN)
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    try:
        parsed = parse_arguments(arguments)
        return _run_verb(parsed)
    except (TargetError, UsageError) as error:
        return _trouble(str(error), ExitCode.USAGE)


def _run_verb(parsed: argparse.Namespace) -> int:
    from importlib import import_module

    run_it: Callable[[argparse.Namespace], int]
    run_it = import_module(f"bindcheck.cli.{parsed.verb}").run
    return run_it(parsed)


def _trouble(text: str, code: ExitCode) -> ExitCode:
    say(sanitize(text))
    return code


def _discard_output() -> None:
    """Let Python's own flush at exit succeed: what is buffered cannot be written."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
