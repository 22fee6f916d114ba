"""The way from a target to a report: observe, attempt, look again, try, decide.

The tables come first, because they tell which calls are harmless.
"""

from __future__ import annotations

import os
import sys
import time

from bindcheck import native
from bindcheck.model import (
    Attempt,
    Diagnosis,
    NativeCode,
    Notice,
    Options,
    Report,
    Target,
    Trial,
)
from bindcheck.observe import Observer, asking_process
from bindcheck.records import replace
from bindcheck.rules.decide import decide, is_in_use
from bindcheck.rules.holders import blockers, kind_of, overlapping
from bindcheck.rules.quiet import conflicts
from bindcheck.target import ANY4, ANY6, Request, make_target, parse
from bindcheck.trials import attempt_harmlessly, could_take_datagrams, try_changes
from bindcheck.wording import explain, warn
from bindcheck.words import (
    CauseCode,
    Domain,
    Family,
    Kind,
    Protocol,
    SocketType,
    Step,
    Verdict,
    WarningCode,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bindcheck.model import Blocker, Snapshot

# Not sys.platform itself, whose branches type checkers leave out.
_SYSTEM = str(sys.platform)
_LOOKS = 4
_PAUSE_SECONDS = 0.001
_PLAIN = Options()
_NAMED = (Family.UNIX, Family.VSOCK)
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
    observer = Observer(asking_process())
    deadline = time.monotonic() + timeout
    results = tuple(examine(request, options, observer, deadline=deadline))
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
    options = _PLAIN
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
    if isinstance(target, Target):
        return native.probe(target, options)
    return probe_request(parse(target, protocol=Protocol(protocol)), options)


def parse_target(
    target: str | int | tuple[object, ...] | bytes, *, protocol: str = Protocol.TCP
) -> Target:
    """Parse a target of one literal address, for probe() in a loop.

    Raises:
        ValueError: it is no target, or a name or bare port, which stand for several.
    """
    request = parse(target, protocol=Protocol(protocol))
    if not request.packed:
        raise ValueError(f"{request.requested!r} is not a single address")
    found = _literal(request)
    if isinstance(found, Target):
        return found
    raise ValueError(f"{request.requested!r}: no interface {request.scope!r} here")


def probe_request(request: Request, options: Options) -> Attempt:
    """Probe the first address of a request."""
    check_options(options, request)
    if request.family in _NAMED:
        from bindcheck.names import probe_name

        return probe_name(request, options)
    if request.host is None:
        target = make_target(Family.INET, ANY4, request.port, request.protocol)
        return native.probe(target, options)
    first = next(iter(_targets(request)))
    if isinstance(first, Attempt):
        return replace(first, options=options)
    return native.probe(first, _fitting(options, first))


def examine(
    request: Request, options: Options, observer: Observer, *, deadline: float
) -> Iterator[Diagnosis]:
    """Diagnose each address of a request."""
    check_options(options, request)
    if request.family in _NAMED:
        from bindcheck.names import examine_name

        yield examine_name(request, options, observer)
        return
    if request.host is None:
        yield from _examine_wildcards(request, options, observer)
        return
    for target in _targets(request, deadline=deadline):
        if isinstance(target, Attempt):
            yield _unresolved(request, replace(target, options=options), observer)
        else:
            yield _examine(request, target, _fitting(options, target), observer)


def check_options(options: Options, request: Request) -> None:
    """Refuse options that cannot mean anything here.

    Raises:
        ValueError: names the option.
    """
    if options.exclusive is not None and _SYSTEM != "win32":
        raise ValueError("exclusive: SO_EXCLUSIVEADDRUSE exists on Windows only")
    if options.reuse_port is not None and _SYSTEM == "win32":
        raise ValueError("reuse_port: Windows has no SO_REUSEPORT")
    if request.family in _NAMED:
        _refuse_ip_options(options, request)
    if options.device is not None:
        if _SYSTEM != "linux":
            raise ValueError("device: SO_BINDTODEVICE exists on Linux only")
        if not 0 < len(options.device.encode()) <= 15 or "\0" in options.device:
            raise ValueError(
                f"device: {options.device!r} is no interface name (1 to 15 bytes)"
            )
    if options.freebind is not None and _SYSTEM != "linux":
        raise ValueError("freebind: IP_FREEBIND exists on Linux only")
    if options.listen and request.protocol.type is SocketType.DATAGRAM:
        raise ValueError(f"listen: {request.protocol} has no listen()")
    if options.v6only is not None and request.family is Family.INET:
        raise ValueError("v6only: IPV6_V6ONLY is an option of IPv6 addresses")


def _refuse_ip_options(options: Options, request: Request) -> None:
    chosen = {
        "reuse_address": options.reuse_address,
        "reuse_port": options.reuse_port,
        "v6only": options.v6only,
        "device": options.device,
        "freebind": options.freebind,
    }
    for name, value in chosen.items():
        if value is not None:
            raise ValueError(
                f"{name}: an option of IP addresses; {request.requested} has none"
            )


def _fitting(options: Options, target: Target) -> Options:
    """IPV6_V6ONLY is set on IPv6 sockets only: a name may stand for both families."""
    if target.family is Family.INET and options.v6only is not None:
        return replace(options, v6only=None)
    return options


def _examine_wildcards(
    request: Request, options: Options, observer: Observer
) -> Iterator[Diagnosis]:
    """A bare port: 0.0.0.0, and `::` for IPv6 alone; together they decide dual-stack."""
    no_inet6 = observer.facts.ipv6_available is False
    if request.family is not Family.INET6:
        target = make_target(Family.INET, ANY4, request.port, request.protocol)
        found = _examine(request, target, _fitting(options, target), observer)
        if no_inet6 and request.family is None:
            skipped = Notice(
                code="ipv6-skipped",
                text="this machine has no IPv6: [::] was not asked about",
            )
            found = replace(found, limits=(*found.limits, skipped))
        yield found
    if request.family is Family.INET or (no_inet6 and request.family is None):
        return
    target = make_target(Family.INET6, ANY6, request.port, request.protocol)
    if options.v6only is None:
        options = replace(options, v6only=True)
    yield _examine(request, target, options, observer)


def _literal(request: Request) -> Target | Attempt:
    """The target of a literal address; a failed attempt for an unknown zone."""
    family = request.family or Family.INET
    scope_id = None
    if request.scope is not None:
        scope_id = native.interface_index(request.scope)
        number = request.scope
        if scope_id is None and number.isascii() and number.isdigit():
            scope_id = int(number) if 0 < int(number) <= 0xFFFFFFFF else None
        if scope_id is None:
            answer = native.resolve(f"{request.host}%{request.scope}", family)
            return _failed_lookup(request, answer)
    return make_target(
        family,
        request.packed,
        request.port,
        request.protocol,
        scope_id=scope_id,
        scope=request.scope,
    )


def _targets(
    request: Request, *, deadline: float | None = None
) -> Iterator[Target | Attempt]:
    if not request.is_name:
        yield _literal(request)
        return
    answer = _resolve(request, deadline)
    if not isinstance(answer, tuple):
        yield _failed_lookup(request, answer)
        return
    for one in answer:
        yield make_target(
            one.family,
            one.packed,
            request.port,
            request.protocol,
            scope_id=one.scope_id,
        )


def _resolve(
    request: Request, deadline: float | None
) -> tuple[native.Resolved, ...] | NativeCode | None:
    """Look a name up; None when the time was over.

    A look-up cannot be interrupted, so it runs in a thread that is left alone then.
    """
    host = request.host or ""
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{request.requested!r}: {host!r} is no host name") from error
    if deadline is None or name == "localhost":
        return native.resolve(name, request.family)
    import threading

    answers: list[tuple[native.Resolved, ...] | NativeCode] = []
    worker = threading.Thread(
        target=lambda: answers.append(native.resolve(name, request.family)),
        name="bindcheck-resolve",
        daemon=True,
    )
    worker.start()
    worker.join(max(0.0, deadline - time.monotonic()))
    return answers[0] if answers else None


def _failed_lookup(request: Request, answer: object) -> Attempt:
    if isinstance(answer, NativeCode):
        answer = _descriptor_limit() or answer
    target = Target(
        text=f"{request.requested}",
        family=request.family,
        protocol=request.protocol,
        address=None,
        port=request.port,
    )
    return Attempt(
        target=target,
        options=Options(),
        ok=False,
        native=isinstance(answer, NativeCode),
        step=Step.RESOLVE,
        argument=None,
        error=answer if isinstance(answer, NativeCode) else None,
        bound=None,
    )


def _descriptor_limit() -> NativeCode | None:
    """The error of opening a file now; getaddrinfo calls it "name not known"."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return native.error(Domain.ERRNO, error.errno or 0)
    return None


def _unresolved(request: Request, attempt: Attempt, observer: Observer) -> Diagnosis:
    snapshot = observer.look(request.protocol, request.port or 1, None)
    snapshot = replace(snapshot, limits=())
    found = decide(request.requested, attempt, (), snapshot)
    if attempt.error is None:
        late = Notice(
            code="name-lookup-unfinished",
            text=f"the look-up of {request.host!r} did not finish in time",
        )
        found = replace(found, verdict=Verdict.UNKNOWN, limits=(late,))
    elif request.scope is not None:
        cause = replace(found.causes[0], code=CauseCode.SCOPE_UNKNOWN)
        found = replace(found, causes=(cause,))
    return explain(found, snapshot)


def _examine(
    request: Request,
    target: Target,
    options: Options,
    observer: Observer,
    *,
    tries: int = _LOOKS,
) -> Diagnosis:
    """Diagnose one address. The tables are read until they agree with the attempt."""
    came_free = False
    for look in range(_LOOKS):
        snapshot = observer.look(target.protocol, target.port, options.device)
        if could_take_datagrams(target, options):
            # What cannot be tried is predicted from the holders' options.
            snapshot = _with_owners(target, options, snapshot, observer)
        attempt = attempt_harmlessly(target, options, snapshot)
        if attempt.ok or not (is_in_use(attempt) or attempt.ok is None):
            came_free = look > 0 and bool(attempt.ok)
            break
        snapshot = _with_owners(target, options, snapshot, observer)
        if target.port == 0 or _is_settled(target, options, snapshot, observer):
            break
        # Somebody's short-lived socket, or a table that changed while it was read.
        time.sleep(_PAUSE_SECONDS * (look + 1))
    if attempt.ok:
        works = _finish(request, attempt, (), snapshot, came_free=came_free)
        return _with_warnings(request, works, snapshot, observer)
    if not is_in_use(attempt) and attempt.ok is False:
        snapshot = observer.with_addresses(snapshot)
        snapshot = _with_owners(target, options, snapshot, observer)
    elif not overlapping(target, options, snapshot) and target.port:
        snapshot = observer.with_bound_sockets(snapshot, target.port)
        snapshot = _with_owners(target, options, snapshot, observer)
    trials = try_changes(attempt, snapshot)
    if is_in_use(attempt) and any(one.ok and one.native for one in trials):
        # The holder may have gone between the attempt and the trial that worked. The
        # tables tell; the bind itself would not, because a trial that worked may have
        # left its mark in the kernel's cache (fastreuseport).
        found = blockers(target, options, snapshot, failed=True)
        if found and not _still_there(found, target, options, observer):
            again = attempt_harmlessly(target, options, snapshot)
            came_free = bool(again.ok)
            if not came_free and tries > 1:
                return _examine(request, target, options, observer, tries=tries - 1)
    return _finish(request, attempt, trials, snapshot, came_free=came_free)


def _with_owners(
    target: Target, options: Options, snapshot: Snapshot, observer: Observer
) -> Snapshot:
    """Look up the owners of the rows that collide with the target."""
    rows = [row.socket for row in overlapping(target, options, snapshot)]
    return observer.with_owners(snapshot, rows)


def _with_warnings(
    request: Request, found: Diagnosis, snapshot: Snapshot, observer: Observer
) -> Diagnosis:
    """Add what a bind that works does not tell."""
    options = found.attempt.options
    quiet = conflicts(found.target, options, snapshot)
    if request.host is None:
        # The other wildcard has a diagnosis of its own.
        quiet = tuple(one for one in quiet if one.code is not WarningCode.SHADOWED)
    wanted = [one.socket for one in quiet if one.socket is not None]
    snapshot = observer.with_owners(snapshot, wanted)
    inodes = {one.inode for one in wanted}
    owned = {row.inode: row for row in snapshot.sockets if row.inode in inodes}
    named = [
        replace(one, socket=owned.get(one.socket.inode, one.socket))
        if one.socket
        else one
        for one in quiet
    ]
    return replace(found, warnings=warn(named, snapshot))


def _finish(
    request: Request,
    attempt: Attempt,
    trials: tuple[Trial, ...],
    snapshot: Snapshot,
    *,
    came_free: bool = False,
) -> Diagnosis:
    limits = tuple({limit.code: limit for limit in snapshot.limits}.values())
    snapshot = replace(snapshot, limits=limits)
    found = decide(request.requested, attempt, trials, snapshot, came_free=came_free)
    return explain(found, snapshot)


def _is_settled(
    target: Target, options: Options, snapshot: Snapshot, observer: Observer
) -> bool:
    """Whether the rows explain the failure and are still there."""
    found = blockers(target, options, snapshot, failed=True)
    if not found:
        return False
    fleeting = [
        one
        for one in found
        if one.kind is Kind.BOUND or (one.socket.inode and not one.owner.processes)
    ]
    if len(fleeting) < len(found):
        return True
    return _still_there(fleeting, target, options, observer)


def _still_there(
    found: Sequence[Blocker], target: Target, options: Options, observer: Observer
) -> bool:
    """Whether the tables still show any of these blockers."""
    again = observer.look(target.protocol, target.port, options.device)
    rows = {(kind_of(row), row.inode, row.cookie) for row in again.sockets}
    return any((one.kind, one.socket.inode, one.socket.cookie) in rows for one in found)
