"""The verb `free`: ports that can be bound, printed, or held for a command."""

from __future__ import annotations

import sys

from bindcheck._version import __version__
from bindcheck.cli.asked import options_of, refuse_senseless
from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.notes import say
from bindcheck.cli.output import write
from bindcheck.errors import TargetError, UsageError
from bindcheck.free_ports import (
    candidates,
    is_of_this_port,
    request_of,
    taken_ports,
    try_port,
    wanted_of,
)
from bindcheck.machine import reserved_ports
from bindcheck.model import Attempt
from bindcheck.observe import Observer
from bindcheck.render import native_line
from bindcheck.sanitize import sanitize
from bindcheck.words import Family, Protocol

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from bindcheck.free_ports import Wanted
    from bindcheck.model import Facts, Options
    from bindcheck.target import Request


def run(arguments: argparse.Namespace) -> int:
    """Find ports, and print them or become the command that gets them.

    Raises:
        TargetError: the host is none.
        UsageError: options that make no sense together.
    """
    _check(arguments)
    request = _request(arguments)
    options = _options(arguments, request)
    facts = Observer().facts
    wanted = wanted_of(request, options, facts)
    if isinstance(wanted, Attempt):
        return _no_port(wanted, request, arguments)
    if arguments.hold:
        from bindcheck.cli.held import Held

        held = Held()
        found, refused = _find(arguments, wanted, facts, held.take)
        if not refused and len(found) == arguments.count:
            return held.give_to(arguments.command, quiet=arguments.quiet)
    else:
        found, refused = _find(arguments, wanted, facts, try_port)
    if refused is not None:
        return _no_port(refused, request, arguments)
    if arguments.hold:
        return _too_few(found, arguments)
    _print(found, wanted, arguments)
    if len(found) < arguments.count:
        return _too_few(found, arguments)
    return ExitCode.BINDABLE


def _check(arguments: argparse.Namespace) -> None:
    if arguments.hold and not arguments.command:
        raise UsageError("--hold: needs the command that gets the sockets: -- CMD")
    if arguments.command and not arguments.hold:
        raise UsageError("-- CMD: only --hold runs a command, and gives it the sockets")
    if arguments.hold and sys.platform == "win32":
        raise UsageError("--hold: sockets cannot be passed on like this on Windows")
    if arguments.hold and arguments.json:
        raise UsageError("--json: the output is the command's with --hold")


def _request(arguments: argparse.Namespace) -> Request:
    host = arguments.targets[0] if arguments.targets else None
    if host is not None and host.isdecimal():
        raise TargetError(
            f"{host!r} is no host: for a port near it bindcheck free --near {host}"
        )
    protocol = Protocol.UDP if arguments.udp else Protocol.TCP
    family = None if arguments.family is None else Family(arguments.family)
    try:
        request = request_of(host, protocol, family)
    except TargetError:
        raise TargetError(
            f"{host!r} is no host: write an address or a name, without a port"
        ) from None
    if request.family not in (None, Family.INET, Family.INET6):
        raise TargetError(f"{host!r} has no ports")
    if request.packed and family not in (None, _family_of(request.packed)):
        number = "4" if family is Family.INET else "6"
        raise TargetError(
            f"{host!r} is no IPv{number} address, which -{number} asks for"
        )
    return request


def _family_of(packed: bytes) -> Family:
    return Family.INET if len(packed) == 4 else Family.INET6


def _options(arguments: argparse.Namespace, request: Request) -> Options:
    options = options_of(arguments)
    refuse_senseless(options, request)
    return options


def _find(
    arguments: argparse.Namespace,
    wanted: list[Wanted],
    facts: Facts,
    take: Callable[[list[Wanted], int], Attempt | None],
) -> tuple[list[int], Attempt | None]:
    """The ports; and the refusal that no other port would change."""
    protocol = wanted[0].target.protocol
    taken = taken_ports(protocol)
    found: list[int] = []
    for port in candidates(
        facts, near=arguments.near, among=arguments.range, reserved=reserved_ports()
    ):
        if len(found) == arguments.count:
            break
        if port in taken:
            continue
        failed = take(wanted, port)
        if failed is None:
            found.append(port)
        elif not is_of_this_port(failed):
            return found, failed
    return found, None


def _print(
    found: list[int], wanted: list[Wanted], arguments: argparse.Namespace
) -> None:
    if not arguments.json:
        write("".join(f"{port}\n" for port in found))
        return
    import json

    from bindcheck.jsonform import SCHEMA, target_to_dict

    answer = {
        "schema": SCHEMA,
        "version": __version__,
        "ports": [
            {
                "port": port,
                "targets": [target_to_dict(one.on(port)) for one in wanted],
            }
            for port in found
        ],
    }
    write(json.dumps(answer, indent=2) + "\n")


def _no_port(
    attempt: Attempt, request: Request, arguments: argparse.Namespace
) -> ExitCode:
    """The address itself cannot be bound, whatever the port."""
    if arguments.json:
        _print([], [], arguments)
    where = attempt.target.address or request.host or "this machine"
    why = native_line(attempt).partition(" ")[2]
    say(f"no port can be bound on {sanitize(where)}: {why}")
    return ExitCode.BLOCKED


def _too_few(found: list[int], arguments: argparse.Namespace) -> ExitCode:
    where = (
        f" from {arguments.range[0]} to {arguments.range[1]}" if arguments.range else ""
    )
    say(f"{len(found)} of {arguments.count} ports can be bound{where}")
    return ExitCode.BLOCKED
