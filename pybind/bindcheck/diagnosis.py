"""The public doors: diagnose(), probe(), parse_target()."""

from __future__ import annotations

import time

from bindcheck import native
from bindcheck.conclusion import conclude
from bindcheck.examination import examine
from bindcheck.lookup import literal, targets_of
from bindcheck.model import PLAIN, Attempt, Options, Report, Target
from bindcheck.observe import Observer
from bindcheck.options import NAMED, check_options, check_values, fitting
from bindcheck.records import replace
from bindcheck.target import ANY4, make_target, parse
from bindcheck.words import Family, Protocol

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.target import Request

_NOTHING_CHOSEN = (None,) * 6


def diagnose(
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
    timeout: float = 2.0,
) -> Report:
    """Find out whether a target can be bound, and if not, why and what helps.

    Makes the native calls with the given options (None: the option is not set), unless
    they could take traffic from somebody; then it predicts and says so. Everything is
    closed again. Needs no privilege; without it the pids of other users' sockets stay
    hidden, and the report says how many processes could not be read.

    Args:
        target: a text such as "127.0.0.1:8080" or "unix:/run/app.sock", a port number,
            or an address as Python writes it: a tuple, or bytes of a unix socket.
        protocol: for a target that names none: tcp, udp, mptcp, sctp, udplite.
        reuse_address: SO_REUSEADDR.
        reuse_port: SO_REUSEPORT.
        v6only: IPV6_V6ONLY, of IPv6 addresses only.
        exclusive: SO_EXCLUSIVEADDRUSE, Windows only.
        device: SO_BINDTODEVICE, a network interface; Linux only.
        freebind: IP_FREEBIND or IPV6_FREEBIND, Linux only.
        listen: also call listen().
        backlog: for listen().
        timeout: seconds for the whole call; what was not finished is a limit.

    Returns:
        One diagnosis for each address of the target. A failed bind is in it.

    Raises:
        ValueError: the target or an option makes no sense here.
        TypeError: the target is of a wrong type.
        BindcheckError: bindcheck itself cannot work.
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
    observer = Observer(for_caller=True)
    deadline = time.monotonic() + timeout
    seen = examine(request, options, observer, deadline=deadline)
    results = tuple(conclude(one) for one in seen)
    return Report(context=observer.context(), results=results)


def probe(
    target: str | int | tuple[object, ...] | bytes | Target,
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
) -> Attempt:
    """Make the native calls for one address: socket, setsockopt, bind, close.

    Unlike diagnose() it always makes exactly the calls that are asked for, also where
    a listener or receiver on the same port could lose traffic to them. A host name is
    looked up and its first address taken; a bare port means 0.0.0.0.

    Raises:
        ValueError: the target or an option makes no sense.
    """
    options = PLAIN
    chosen = (reuse_address, reuse_port, v6only, exclusive, device, freebind)
    if listen or chosen != _NOTHING_CHOSEN:
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
    elif isinstance(target, Target) and (attempt := native.probe_plain(target)):
        return attempt
    if isinstance(target, Target):
        check_values(options)
        if target.family not in NAMED:
            return native.probe(target, options)
        from bindcheck.names import probe_name

        return probe_name(target, options)
    return probe_request(parse(target, protocol=Protocol(protocol)), options)


def parse_target(
    target: str | int | tuple[object, ...] | bytes, *, protocol: str = Protocol.TCP
) -> Target:
    """Parse a target of one literal address, for probe() in a loop.

    Raises:
        ValueError: it is no target, or a host name or bare port, which stand for several.
    """
    request = parse(target, protocol=Protocol(protocol))
    if not request.packed:
        raise ValueError(f"{request.requested!r} is not a single address")
    if request.family in NAMED:
        from bindcheck.names import target_of

        return target_of(request)
    found = literal(request)
    if isinstance(found, Target):
        return found
    raise ValueError(f"{request.requested!r}: no interface {request.scope!r} here")


def probe_request(request: Request, options: Options) -> Attempt:
    """Probe the first address of a request."""
    check_options(options, request)
    if request.family in NAMED:
        from bindcheck.names import probe_name, target_of

        return probe_name(target_of(request), options)
    if request.host is None:
        target = make_target(Family.INET, ANY4, request.port, request.protocol)
        return native.probe(target, options)
    first = next(iter(targets_of(request)))
    if isinstance(first, Attempt):
        return replace(first, options=options)
    return native.probe(first, fitting(options, first))
