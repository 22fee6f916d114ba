"""bind(): a bound socket, or an error that says why not."""

from __future__ import annotations

from bindcheck.errors import UsageError
from bindcheck.model import Attempt, Options
from bindcheck.options import check_options, fitting
from bindcheck.target import ANY4, make_target, parse
from bindcheck.words import Family, Protocol

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import socket

    from bindcheck.model import Report, Target
    from bindcheck.target import Request


class BindError(OSError):
    """A bind or listen that failed, diagnosed. `errno` is the system's own.

    Its text is the system's, and the reason; the whole diagnosis is its note, and
    `report` has it for programs.
    """

    report: Report


class BindPermissionError(BindError, PermissionError):
    """EACCES or EPERM: also a PermissionError, as the system's own error is."""


def bind(
    target: str | int | tuple[object, ...] | bytes,
    *,
    protocol: str = Protocol.TCP,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    v6only: bool | None = None,
    exclusive: bool | None = None,
    device: str | None = None,
    freebind: bool | None = None,
    listen: bool = False,
    backlog: int = 128,
) -> socket.socket:
    """Make a socket and bind it to one address.

    A bare port means 0.0.0.0; of a host name the first address is taken.

    Args:
        target: as diagnose() takes it.
        protocol: for a target that names none: tcp, udp, mptcp, sctp, udplite.
        reuse_address: SO_REUSEADDR; servers of TCP set it, on POSIX.
        reuse_port: SO_REUSEPORT.
        v6only: IPV6_V6ONLY, of IPv6 addresses only.
        exclusive: SO_EXCLUSIVEADDRUSE, Windows only.
        device: SO_BINDTODEVICE, a network interface; Linux only.
        freebind: IP_FREEBIND or IPV6_FREEBIND, Linux only.
        listen: also call listen().
        backlog: for listen().

    Returns:
        The bound socket, blocking and closed on exec; close it.

    Raises:
        BindError: the system refused; `report` says why.
        ValueError: the target or an option makes no sense here.
    """
    options = Options(
        reuse_address=reuse_address,
        reuse_port=reuse_port,
        v6only=v6only,
        exclusive=exclusive,
        device=device,
        freebind=freebind,
        listen=listen,
        backlog=backlog,
    )
    request = parse(target, protocol=Protocol(protocol))
    check_options(options, request)
    from bindcheck.opening import open_socket

    found = _target_of(request, options)
    if isinstance(found, Attempt):
        raise _error(OSError(_code(found), _text(found)), request, options)
    suited = fitting(options, found)
    try:
        return open_socket(found, suited)
    except OSError as error:
        raise _error(error, request, suited) from error


def _target_of(request: Request, options: Options) -> Target | Attempt:
    from bindcheck.lookup import targets_of
    from bindcheck.target import make_unix_target, make_vsock_target

    if request.family is Family.UNIX:
        return make_unix_target(request.packed, request.protocol)
    if request.family is Family.VSOCK:
        return make_vsock_target(request)
    if request.host is None:
        if options.v6only is not None:
            raise UsageError("v6only: name an IPv6 address, [::] for all of them")
        return make_target(Family.INET, ANY4, request.port, request.protocol)
    return next(iter(targets_of(request)))


def _code(failed: Attempt) -> int:
    return failed.error.code if failed.error is not None else 0


def _text(failed: Attempt) -> str:
    return failed.error.message if failed.error is not None else "not looked up in time"


def _error(error: OSError, request: Request, options: Options) -> BindError:
    """The error with its diagnosis."""
    from bindcheck.explaining import note_of_report
    from bindcheck.own_failure import report_on

    report = report_on(request, options, error)
    kind = BindPermissionError if isinstance(error, PermissionError) else BindError
    summary = next((f": {cause.summary}" for cause in report.worst.causes[:1]), "")
    text = f"{request.requested}: {error.strerror}{summary}"
    made = kind(error.errno, text)
    made.report = report
    made.add_note(note_of_report(report))
    return made
