"""The verb `explain`: what a number, a name or a line of a log means, here and now."""

from __future__ import annotations

import sys

from bindcheck._version import __version__
from bindcheck.cli.asked import options_of, refuse_senseless
from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.notes import say
from bindcheck.cli.output import print_lines, privileged_command, write
from bindcheck.error_text import read_error_text
from bindcheck.errors import TargetError, UsageError
from bindcheck.known_errors import SYSTEM_NAMES, meanings_of
from bindcheck.records import replace
from bindcheck.render import Line
from bindcheck.sanitize import sanitize
from bindcheck.target import MAPPED_PREFIX
from bindcheck.words import Family, Protocol, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse

    from bindcheck.error_text import ErrorText
    from bindcheck.known_errors import Meaning
    from bindcheck.model import Options, Report
    from bindcheck.target import Request

_LONGEST = 65536  # bytes of standard input


def run(arguments: argparse.Namespace) -> ExitCode:
    """Explain a text, and diagnose the address that it names.

    Raises:
        UsageError: nothing in the text is an error of bind, or it cannot be read.
    """
    options = options_of(arguments)
    if arguments.family is not None:
        raise UsageError("explain: the text says which address, without -4 or -6")
    text = " ".join(arguments.targets)
    if text == "-":
        text = _standard_input()
    found = read_error_text(text)
    request = _request(found, arguments)
    if request is None:  # none is named, or what looks like an address cannot be one
        found = replace(found, target=None)
    obstacle = None if request is None else _why_not(found, request)
    report = None
    if request is not None and obstacle is None:
        report = _diagnose(request, options)
    if arguments.json:
        write(_json(found, report))
    else:
        lines = _lines(found, obstacle, quiet=arguments.quiet)
        print_lines(lines, color=not arguments.no_color)
    if report is None:
        return ExitCode.BINDABLE
    from bindcheck.cli.report import print_report, status_of

    if arguments.json:
        return status_of(report)
    return print_report(
        report,
        arguments,
        privileged_command=privileged_command([_written(found)]),
    )


def _standard_input() -> str:
    if sys.stdin is None:
        raise UsageError("explain -: standard input is closed")
    try:
        text = sys.stdin.buffer.read(_LONGEST + 1)
    except OSError as error:
        raise UsageError(f"explain -: {error.strerror}") from None
    if len(text) > _LONGEST:
        say(f"only the first {_LONGEST} bytes of standard input were read")
    return text[:_LONGEST].decode("utf-8", "replace")


def _written(found: ErrorText) -> str:
    """The target with its protocol, as a command would name it."""
    return f"{found.target}{'/udp' if found.protocol is Protocol.UDP else ''}"


def _request(found: ErrorText, arguments: argparse.Namespace) -> Request | None:
    if found.target is None:
        return None
    from bindcheck.target import parse

    protocol = Protocol.UDP if arguments.udp else found.protocol
    try:
        return parse(found.target, protocol=protocol)
    except TargetError:
        return None


def _why_not(found: ErrorText, request: Request) -> str | None:
    """Why this machine is not asked; None when it is."""
    here = dict.fromkeys(one.system for one in found.meanings)
    if here and sys.platform not in here:
        names = " or ".join(SYSTEM_NAMES[one] for one in here)
        return f"it is an error of {names}: ask bindcheck on the machine that had it"
    if request.family not in (None, Family.INET, Family.INET6):
        return None
    if request.packed and not _is_local(request.packed) and not _says_so(found):
        return f"{found.target} is no address of this machine: ask bindcheck there"
    if request.host and not request.packed and not _is_here(request.host):
        return f"whether {request.host} is this machine is not known: bindcheck {found.target}"
    return None


def _says_so(found: ErrorText) -> bool:
    return {one.error.name for one in found.meanings} == {"EADDRNOTAVAIL"}


def _is_here(name: str) -> bool:
    """Whether a name is this machine's own; others are not looked up."""
    from _socket import gethostname

    return name.lower() in ("localhost", gethostname().lower())


def _is_local(packed: bytes) -> bool:
    from bindcheck import native

    packed = packed.removeprefix(MAPPED_PREFIX)
    if not any(packed) or (len(packed) == 4 and packed[0] == 127):
        return True
    return any(one.packed == packed for one in native.list_addresses())


def _diagnose(request: Request, options: Options) -> Report:
    from bindcheck.cli.check import look
    from bindcheck.conclusion import conclude
    from bindcheck.model import Report

    refuse_senseless(options, request)
    seen, context = look([request], options)
    return Report(context=context, results=tuple(conclude(one) for one in seen))


def _lines(found: ErrorText, obstacle: str | None, *, quiet: bool) -> list[Line]:
    lines = []
    for error in dict.fromkeys(one.error for one in found.meanings):
        these = [one for one in found.meanings if one.error is error]
        lines.append(Line(f"{error.name} ({_numbers(these)}): {error.meaning}", "bold"))
        others = [one for one in meanings_of([error]) if one not in these]
        if others and not quiet:
            lines.append(Line(f"elsewhere: {_numbers(others)}", indent=2))
    if not found.meanings:
        lines.append(
            Line("bind failed; the text does not say with which error", "bold")
        )
    elif found.supposed and not quiet:
        lines.append(Line("the text only supposes that it was this", indent=2))
    if quiet and found.target is None:
        return lines
    if found.target is None:
        lines.append(Line("no address is named: bindcheck HOST:PORT finds out why"))
    elif obstacle is not None:
        lines.append(Line(obstacle))
    else:
        lines += [Line(""), Line(f"{sanitize(found.target)} on this machine, now:")]
    return lines


def _numbers(meanings: list[Meaning]) -> str:
    said: dict[str, list[str]] = {}
    for one in meanings:
        windows = one.system is System.WINDOWS
        number = f"{one.code} {one.name}" if windows else str(one.code)
        said.setdefault(number, []).append(SYSTEM_NAMES[one.system])
    return ", ".join(
        f"{number} on {' and '.join(names)}" for number, names in said.items()
    )


def _json(found: ErrorText, report: Report | None) -> str:
    import json

    from bindcheck.jsonform import SCHEMA, to_dict

    answer = {
        "schema": SCHEMA,
        "version": __version__,
        "errors": [
            {
                "system": one.system,
                "code": one.code,
                "name": one.name,
                "meaning": one.error.meaning,
            }
            for one in found.meanings
        ],
        "named": found.target,
        "report": None if report is None else to_dict(report),
    }
    return json.dumps(answer, indent=2) + "\n"
