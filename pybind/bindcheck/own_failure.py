"""The diagnosis of a call that failed in this process: its address, options, code."""

from __future__ import annotations

import os
import time

from bindcheck import native
from bindcheck.conclusion import conclude
from bindcheck.examination import examine
from bindcheck.explaining import code_of
from bindcheck.failed_call import FailedCall, failed_call
from bindcheck.machine import SYSTEM
from bindcheck.model import Options, Report
from bindcheck.observe import Observer
from bindcheck.options import NAMED, check_options
from bindcheck.records import record, replace
from bindcheck.target import parse
from bindcheck.words import Domain, Family, Protocol

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from bindcheck.error_text import ErrorText
    from bindcheck.model import NativeCode
    from bindcheck.target import Request

_LOOKUP_SECONDS = 1.5
_NOTE_WIDTH = 86
_INVALID = ("EINVAL", "WSAEINVAL")
_MPTCP, _SCTP, _UDPLITE = 262, 132, 136
_PROTOCOLS = {_MPTCP: Protocol.MPTCP, _SCTP: Protocol.SCTP, _UDPLITE: Protocol.UDPLITE}


@record(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is known of a call that failed."""

    request: Request | None
    options: Options
    inode: int | None = None
    """Of the program's own socket, where it is still open."""
    bound_to: str | None = None
    """The address of a socket that had one before the call."""


def diagnose_failure(
    error: BaseException | int | str,
    target: object,
    sock: object,
    protocol: str | None,
) -> Report:
    """Diagnose a failed call of this process; see explaining.explain().

    Raises:
        ValueError: the number, name or target is none, or the socket has an address.
    """
    reported = reported_by(error)
    failure = failure_of(error, target, sock, protocol)
    if failure.bound_to is not None and reported and reported.symbol in _INVALID:
        raise ValueError(
            f"this socket is bound to {failure.bound_to} already, and a socket can be "
            "bound only once: make a new one"
        )
    if failure.request is None:
        return Report(context=Observer().context(), results=(), reported=reported)
    check_options(failure.options, failure.request)
    own = frozenset() if failure.inode is None else frozenset({failure.inode})
    return _report(failure.request, failure.options, reported, own)


def report_on(request: Request, options: Options, error: OSError) -> Report:
    """Diagnose a request that failed with an error."""
    return _report(request, options, reported_by(error), frozenset())


def _report(
    request: Request,
    options: Options,
    reported: NativeCode | None,
    own: frozenset[int],
) -> Report:
    observer = Observer(for_caller=True, leave_out=own)
    seen = examine(
        request, options, observer, deadline=time.monotonic() + _LOOKUP_SECONDS
    )
    results = tuple(conclude(one) for one in seen)
    return Report(context=observer.context(), results=results, reported=reported)


def reported_by(error: BaseException | int | str) -> NativeCode | None:
    """The code that the program was told."""
    if isinstance(error, BaseException):
        found = code_of(error) if isinstance(error, OSError) else None
        return None if found is None else native.error(*found)
    if isinstance(error, int):
        from bindcheck.public import native_code

        return native_code(error)
    from bindcheck.error_text import read_error_text

    for one in read_error_text(error).meanings:
        if one.system == SYSTEM:
            windows = SYSTEM == "win32"
            return native.error(Domain.WINSOCK if windows else Domain.ERRNO, one.code)
    return None


def failure_of(
    error: BaseException | int | str,
    target: object,
    sock: object,
    protocol: str | None,
) -> Failure:
    """Find the address and the options of the call that failed."""
    call = failed_call(error) if isinstance(error, BaseException) else None
    used = sock if sock is not None else (call.socket if call is not None else None)
    options = _options_of(used, call)
    if call is not None and call.name == "listen":
        options = replace(options, listen=True)
    address = target
    if address is None and call is not None:
        address = call.address
    if address is None:
        address = _own_address(used)
    if address is None and not isinstance(error, int):
        named = _named_in(str(error))
        if named is not None:
            address = named.target
            if named.protocol is not Protocol.TCP and used is None:
                protocol = protocol or named.protocol
    if address is None:
        return Failure(request=None, options=options)
    request = _request(address, used, call, protocol)
    if request.family in NAMED:
        options = Options(listen=options.listen, backlog=options.backlog)
    return Failure(
        request=request,
        options=options,
        inode=_inode_of(used),
        bound_to=None if options.listen else _text_of(_own_address(used)),
    )


def _request(
    address: object, sock: object, call: FailedCall | None, protocol: str | None
) -> Request:
    """What was to be bound, with the family and the protocol of the socket."""
    import socket

    family = getattr(sock, "family", None)
    chosen = Protocol(protocol) if protocol else _protocol_of(sock, call)
    if isinstance(address, (tuple, list)):
        return _of_tuple(tuple(address), family, chosen)
    unix = family == getattr(socket, "AF_UNIX", None) and family is not None
    if unix and isinstance(address, (str, bytes)) and not _says_unix(address):
        return parse(os.fsencode(address), protocol=_unix_kind(sock))
    if not isinstance(address, (str, int, bytes)):
        raise TypeError(f"a target is text, a port or an address tuple: {address!r}")
    return parse(address, protocol=chosen)


def _says_unix(address: str | bytes) -> bool:
    return isinstance(address, str) and address.startswith("unix")


def _of_tuple(address: tuple[Any, ...], family: object, protocol: Protocol) -> Request:
    import socket

    if family == getattr(socket, "AF_VSOCK", object()):
        return parse(f"vsock:{address[0]}:{address[1]}")
    words = {socket.AF_INET: Family.INET, socket.AF_INET6: Family.INET6}
    known = words.get(family)  # type: ignore[call-overload]
    if known is not None and address[:1] == ("",):
        address = ("0.0.0.0" if known is Family.INET else "::", *address[1:])  # noqa: S104
    request = parse(address, protocol=protocol)
    if known is not None and not request.packed:
        return replace(request, family=known)
    return request


def _protocol_of(sock: object, call: FailedCall | None) -> Protocol:
    import socket

    kind = getattr(sock, "type", None)
    found = _PROTOCOLS.get(getattr(sock, "proto", 0))
    if kind is not None and found is not None:
        return found
    if kind is None and call is not None:
        kind = getattr(type(call.owner), "socket_type", None)  # of socketserver
        if "UDPTransport" in call.function:  # of uvloop, whose frames have no names
            kind = socket.SOCK_DGRAM
    return Protocol.UDP if kind == socket.SOCK_DGRAM else Protocol.TCP


def _unix_kind(sock: object) -> Protocol:
    import socket

    kinds = {
        socket.SOCK_DGRAM: Protocol.UNIX_DATAGRAM,
        socket.SOCK_SEQPACKET: Protocol.UNIX_SEQPACKET,
    }
    return kinds.get(getattr(sock, "type", None), Protocol.UNIX)  # type: ignore[arg-type]


def _own_address(sock: object) -> object:
    """Where a socket is bound that could not listen; None for one that is not bound."""
    try:
        address: object = sock.getsockname()  # type: ignore[attr-defined]
    except (OSError, AttributeError):
        return None
    if isinstance(address, tuple):
        return address if len(address) > 1 and address[1] else None
    return address or None


def _text_of(address: object) -> str | None:
    from bindcheck.sanitize import sanitize

    if isinstance(address, tuple):
        host, port = map(str, address[:2])
        return sanitize(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    if isinstance(address, (str, bytes)):
        return sanitize(os.fsdecode(address))
    return None


def named_beside(error: OSError, sock: object, outer: BaseException) -> str | None:
    """The address that the exception around an error names, if the error has none."""
    if outer is error or failure_of(error, None, sock, None).request is not None:
        return None
    named = _named_in(f"{outer}: {error}")
    return None if named is None else named.target


def _named_in(text: str) -> ErrorText | None:
    from bindcheck.error_text import read_error_text
    from bindcheck.errors import UsageError

    try:
        return read_error_text(text)
    except UsageError:
        return None


def _inode_of(sock: object) -> int | None:
    try:
        return os.fstat(sock.fileno()).st_ino  # type: ignore[attr-defined]
    except (OSError, AttributeError, TypeError, ValueError):
        return None


def _options_of(sock: object, call: FailedCall | None) -> Options:
    """The options that the socket had; of one that is closed those that its maker sets."""
    from bindcheck.socket_options import options_of_socket

    found = options_of_socket(sock)
    if found is not None:
        return found
    if call is None:
        return Options()
    if call.function == "create_server" and call.module == "asyncio.base_events":
        told = (call.names.get("reuse_address"), call.names.get("reuse_port"))
    else:
        kind = type(call.owner)
        told = (
            getattr(kind, "allow_reuse_address", None),
            getattr(kind, "allow_reuse_port", None),
        )
    return Options(reuse_address=_set(told[0]), reuse_port=_set(told[1]))


def _set(told: object) -> bool | None:
    """True where an option was set; an option that was not set is not said."""
    return True if told else None


def note_lines(report: Report) -> Iterator[str]:
    """The text of a note, the answer first."""
    from bindcheck.render import native_error, report_lines, wrap

    reported = report.reported
    if not report.results:
        code = native_error(reported) if reported else "it failed"
        yield f"{code}: the address is unknown; pass target= or sock= to have it diagnosed"
        return
    first, *rest = report_lines(report)
    yield first.text
    yield from (f"  {row}" for one in rest for row in wrap(one, _NOTE_WIDTH))
    now = report.results[0].attempt.error
    if reported is not None and (now is None or now.code != reported.code):
        yield f"  your program was told {native_error(reported)} a moment before"
