"""From parsed arguments to requests and options."""

from __future__ import annotations

from bindcheck.errors import TargetError, UsageError
from bindcheck.model import Options

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse

    from bindcheck.target import Request


def requests_of(parsed: argparse.Namespace, options: Options) -> list[Request]:
    """What the targets ask for, each with options that it can have.

    Raises:
        TargetError: a text is no target.
        UsageError: an option makes no sense for a target.
    """
    requests = [_request(one, parsed) for one in parsed.targets]
    for request in requests:
        refuse_senseless(options, request)
    return requests


def refuse_senseless(options: Options, request: Request) -> None:
    """Refuse options that cannot mean anything for a request.

    Raises:
        UsageError: names the option.
    """
    from bindcheck.options import check_options

    try:
        check_options(options, request)
    except ValueError as error:
        raise UsageError(str(error)) from None


def options_of(parsed: argparse.Namespace) -> Options:
    """The socket options that were chosen.

    Raises:
        UsageError: there is no such interface.
    """
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


def _check_device(device: str) -> None:
    from bindcheck import native

    if native.interface_index(device) is None:
        names = dict.fromkeys(one.interface for one in native.list_addresses())
        there = f": there are {', '.join(names)}" if names else ""
        raise UsageError(f"--device: no interface {device!r} here{there}")
