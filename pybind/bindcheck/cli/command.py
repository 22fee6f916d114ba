"""Running the user's command in our place, for `wait` and `free --hold`."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys

from bindcheck.errors import UsageError

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn


def find_command(command: Sequence[str]) -> str:
    """The program that a command would run.

    Raises:
        UsageError: there is none of that name, or it may not be run.
    """
    found = shutil.which(command[0])
    if found is None:
        raise UsageError(f"--: no program {command[0]!r} that can be run")
    return found


def run_command(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> int:
    """Become the command; on Windows run it and give its status.

    Raises:
        UsageError: it cannot be run.
    """
    variables = {**os.environ, **(environment or {})}
    program = find_command(command)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    if sys.platform == "win32":
        import subprocess

        return subprocess.call(  # noqa: S603 - what the user asked for
            list(command), executable=program, env=variables
        )
    else:  # noqa: RET505 - type checkers leave the other system's branch out
        # Python ignores them, and what is ignored stays so across execve(2).
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        try:
            _become(program, command, variables)
        except OSError as error:
            raise UsageError(f"--: {program}: {error.strerror}") from None


def _become(
    program: str, command: Sequence[str], variables: Mapping[str, str]
) -> NoReturn:
    """As execvp(3): what is neither a program nor says what runs it is for the shell."""
    try:
        os.execve(program, list(command), variables)  # noqa: S606 - no shell, as meant
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        words = ["sh", program, *command[1:]]
        os.execve("/bin/sh", words, variables)  # noqa: S606 - as env(1) does
