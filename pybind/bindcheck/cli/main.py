"""From arguments to exit status."""

from __future__ import annotations

import os
import sys

from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.parser import parse_arguments
from bindcheck.errors import BindcheckError, TargetError, UsageError
from bindcheck.sanitize import sanitize

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from bindcheck.model import Options
    from bindcheck.target import Request

    Verb = Callable[[Sequence[Request], Options, argparse.Namespace], ExitCode]


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
        _discard_output()
        return _trouble(f"cannot write the answer: {error.strerror}", ExitCode.UNKNOWN)
    except KeyboardInterrupt:
        return 130


def _run(arguments: Sequence[str]) -> int:
    try:
        parsed = parse_arguments(arguments)
        if parsed.verb == "replay":
            from bindcheck.cli import replay

            return replay.run(parsed)
        if parsed.verb == "explain":
            from bindcheck.cli import explain

            return explain.run(parsed, _options(parsed))
        requests = [_request(one, parsed) for one in parsed.targets]
        options = _options(parsed)
        for request in requests:
            from bindcheck.options import check_options

            check_options(options, request)
    except ValueError as error:  # a TargetError is one
        return _trouble(str(error), ExitCode.USAGE)
    try:
        return _verb(parsed)(requests, options, parsed)
    except (TargetError, UsageError) as error:
        return _trouble(str(error), ExitCode.USAGE)


def _verb(parsed: argparse.Namespace) -> Verb:
    if parsed.verb == "probe":
        from bindcheck.cli import probe

        return probe.run
    from bindcheck.cli import check

    return check.run


def _request(text: str, parsed: argparse.Namespace) -> Request:
    from bindcheck.records import replace
    from bindcheck.target import parse
    from bindcheck.words import Family, Protocol

    protocol = Protocol.UDP if parsed.udp else Protocol.TCP
    request = parse(text, protocol=protocol)
    if parsed.family is None:
        return request
    family = Family(parsed.family)
    if request.packed and request.family is not family:
        number = "4" if family is Family.INET else "6"
        raise TargetError(
            f"{text!r} is no IPv{number} address, which -{number} asks for"
        )
    return replace(request, family=family)


def _options(parsed: argparse.Namespace) -> Options:
    from bindcheck.model import Options

    if parsed.device is not None:
        _check_device(parsed.device)
    return Options(
        reuse_address=parsed.reuseaddr,
        reuse_port=parsed.reuseport,
        exclusive=parsed.exclusive,
        v6only=parsed.v6only,
        device=parsed.device,
        freebind=parsed.freebind,
        listen=parsed.listen,
    )


def _check_device(device: str) -> None:
    from bindcheck import native

    if native.interface_index(device) is None:
        names = dict.fromkeys(one.interface for one in native.list_addresses())
        there = f": there are {', '.join(names)}" if names else ""
        raise ValueError(f"--device: no interface {device!r} here{there}")


def _trouble(text: str, code: ExitCode) -> ExitCode:
    if sys.stderr is not None:
        sys.stderr.write(f"bindcheck: {sanitize(text)}\n")
    return code


def _discard_output() -> None:
    """Let Python's own flush at exit succeed: what is buffered cannot be written."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
