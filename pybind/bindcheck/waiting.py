"""Waiting until a bind works, without ever polling bind.

Of the sockets in the way one is chosen, the one that is surest to stay; when it is gone
the tables are read, and when they show nothing more that is sure to be in the way, bind
is called once. A bind in a loop would take the port from the program that waits for it.
"""

from __future__ import annotations

import time

from bindcheck import native
from bindcheck.conclusion import conclude
from bindcheck.ends import AddressReady, PortEnd, SocketEnd
from bindcheck.examination import examine, examine_target, observe_holders
from bindcheck.model import Options, Report
from bindcheck.observe import Observer
from bindcheck.options import NAMED
from bindcheck.records import record, replace
from bindcheck.rules.holders import blockers
from bindcheck.target import parse
from bindcheck.trials import attempt_harmlessly
from bindcheck.words import (
    Blocks,
    CauseCode,
    Kind,
    Protocol,
    SocketType,
    State,
    System,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.ends import End
    from bindcheck.model import Blocker, Diagnosis, Examination
    from bindcheck.target import Request

    Tell = Callable[[Diagnosis, float | None], float]

_LOOKUP_SECONDS = 10.0
_HELD = frozenset(
    {
        CauseCode.LISTENER,
        CauseCode.BOUND,
        CauseCode.OUTGOING_CONNECTION,
        CauseCode.ACCEPTED_CONNECTION,
        CauseCode.CLOSE_WAIT,
        CauseCode.CLOSING_CONNECTION,
        CauseCode.TIME_WAIT,
        CauseCode.DATAGRAM,
        CauseCode.UNIX_LISTENER,
        CauseCode.UNIX_DATAGRAM,
    }
)
_UNSEEN = frozenset({CauseCode.UNSEEN_BLOCKER, CauseCode.LISTEN_CONFLICT})


@record(frozen=True, slots=True, kw_only=True)
class Waited:
    """How waiting went: `seen` is the last look at each address."""

    seen: tuple[Examination, ...]
    ok: bool
    late: bool
    """The time was over; else, where it is not ok, waiting does not help."""


def wait_until_bindable(
    target: str | int | tuple[object, ...] | bytes,
    *,
    timeout: float | None = 60.0,
    protocol: str = Protocol.TCP,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    v6only: bool | None = None,
    exclusive: bool | None = None,
    device: str | None = None,
    freebind: bool | None = None,
    listen: bool = False,
    backlog: int = 128,
) -> Report:
    """Wait until every address of a target can be bound; the port is not kept.

    Driven by the kernel's word of the end of a socket, its TIME_WAIT timers, and the
    tables; bind is called once at the end. Blocks: in asyncio use asyncio.to_thread().

    Args:
        target: as diagnose() takes it.
        timeout: seconds, None for as long as it takes.
        protocol: for a target that names none.
        reuse_address: SO_REUSEADDR; None is True for TCP on POSIX, as servers set it.
        reuse_port: SO_REUSEPORT.
        v6only: IPV6_V6ONLY, of IPv6 addresses only.
        exclusive: SO_EXCLUSIVEADDRUSE, Windows only.
        device: SO_BINDTODEVICE, Linux only.
        freebind: IP_FREEBIND, Linux only.
        listen: also call listen().
        backlog: for listen().

    Returns:
        A report whose `ok` is True, or the diagnosis of what is still in the way, when
        the time was over, and at once where waiting cannot help.

    Raises:
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
    observer = Observer(for_caller=True)
    deadline = None if timeout is None else time.monotonic() + timeout
    waited = wait(
        [parse(target, protocol=Protocol(protocol))], options, observer, deadline
    )
    return report_of(waited, observer)


def report_of(waited: Waited, observer: Observer) -> Report:
    """The last look as a report."""
    results = tuple(conclude(one) for one in waited.seen)
    return Report(context=observer.context(), results=results)


def as_servers_do(request: Request, options: Options, system: str) -> Options:
    """Set SO_REUSEADDR where nothing is said of it: servers on POSIX do, for TCP.

    Without it TIME_WAIT would be waited for that stops no server.
    """
    plain = request.family not in NAMED and system != System.WINDOWS
    stream = request.protocol.type is SocketType.STREAM
    if options.reuse_address is None and plain and stream:
        return replace(options, reuse_address=True)
    return options


def wait(
    requests: Sequence[Request],
    options: Options,
    observer: Observer,
    deadline: float | None,
    tell: Tell = lambda *_: 3600.0,
) -> Waited:
    """Wait until every address can be bound, one after the other.

    Args:
        requests: what is to be bound.
        options: of the binds.
        observer: reads the system.
        deadline: in seconds of time.monotonic(); None: without end.
        tell: told what is waited for and when it ends, before each sleep; says how
            many seconds may be slept until it is to be told again.
    """
    system = observer.facts.system
    pairs = [
        (request, one)
        for request in requests
        for one in examine(
            request,
            as_servers_do(request, options, system),
            observer,
            deadline=time.monotonic() + _LOOKUP_SECONDS,
        )
    ]
    waited_for = 0
    while True:
        place = next((i for i, (_, one) in enumerate(pairs) if not _works(one)), None)
        if place is None:
            if waited_for and len(pairs) > 1:
                # While one was waited for another may have been taken.
                waited_for = 0
                pairs = [
                    (request, _again(request, one, observer)) for request, one in pairs
                ]
                continue
            return _result(pairs, late=False)
        request, blocked = pairs[place]
        slept = _sleep(blocked, deadline, tell)
        if slept is None:
            return _result(pairs, late=False)
        waited_for += 1
        pairs[place] = (request, _again(request, blocked, observer))
        if not slept and not _works(pairs[place][1]):
            return _result(pairs, late=True)


def _result(pairs: Sequence[tuple[Request, Examination]], *, late: bool) -> Waited:
    seen = tuple(one for _, one in pairs)
    return Waited(seen=seen, ok=all(map(_works, seen)), late=late)


def _works(seen: Examination) -> bool:
    return bool(seen.attempt.ok) or seen.came_free


def _sleep(blocked: Examination, deadline: float | None, tell: Tell) -> bool | None:
    """Sleep until something changed; False: the time is over, None: no use."""
    diagnosis = conclude(blocked)
    end = _end_of(diagnosis, blocked)
    if end is None:
        return None
    with end:
        while True:
            most = tell(diagnosis, end.ends_at)
            if deadline is not None:
                most = min(most, deadline - time.monotonic())
            if most <= 0:
                return False
            if end.sleep(most):
                return True


def _end_of(diagnosis: Diagnosis, blocked: Examination) -> End | None:
    """What is to be waited for; None where waiting does not help."""
    cause = diagnosis.causes[0] if diagnosis.causes else None
    if cause is None:
        return None
    if cause.code in _HELD and cause.blockers:
        blocker = diagnosis.blockers[cause.blockers[0]]
        unseen = blocked.snapshot.bound_sockets_listed is False
        return SocketEnd(
            blocker, listed=not (unseen and blocker.socket.state is State.CLOSE)
        )
    if cause.code in _UNSEEN and diagnosis.target.port:
        end = PortEnd(diagnosis.target.port)
        return end if end.possible else None
    if cause.code is CauseCode.ADDRESS_TENTATIVE:
        return AddressReady(diagnosis.target.packed)
    return None


def _again(request: Request, before: Examination, observer: Observer) -> Examination:
    """Look again, and bind where nothing stands against it that is sure to."""
    target, options = before.attempt.target, before.attempt.options
    if request.family in NAMED:
        from bindcheck.names import examine_name

        return examine_name(request, options, observer)
    quick = _bound_at_once(before, observer)
    if quick is not None:
        return quick
    snapshot = observe_holders(target, options, observer)
    found = blockers(target, options, snapshot, failed=False)
    gone = _natures(conclude(before).blockers) - _natures(found)
    if found and (not gone or any(one.blocks is Blocks.YES for one in found)):
        return replace(before, snapshot=snapshot)
    attempt = attempt_harmlessly(target, options, snapshot)
    if attempt.ok:
        return replace(
            before, attempt=attempt, snapshot=snapshot, trials=(), came_free=False
        )
    return examine_target(
        before.requested, target, options, observer, paired=before.paired
    )


def _bound_at_once(before: Examination, observer: Observer) -> Examination | None:
    """Bind where the one that was surely in the way has gone; None: look first.

    A busy server leaves thousands of rows on its port, which take their time. Only
    where the call can take nobody's clients.
    """
    target, options = before.attempt.target, before.attempt.options
    first = conclude(before).blockers[:1]
    plain = target.protocol.type is SocketType.STREAM and not options.reuse_port
    if not first or first[0].kind not in _STAYING or not plain or options.listen:
        return None
    if observer.facts.system != System.LINUX:
        return None
    attempt = native.probe(target, options)
    if not attempt.ok:
        return None
    snapshot = replace(before.snapshot, sockets=())
    return replace(
        before, attempt=attempt, snapshot=snapshot, trials=(), came_free=False
    )


_STAYING = frozenset({Kind.LISTENER, Kind.BOUND, Kind.TIME_WAIT})


def _natures(found: Sequence[Blocker]) -> frozenset[tuple[object, ...]]:
    """What kinds of sockets of whom are in the way."""
    return frozenset(
        (
            one.kind,
            one.direction,
            one.socket.packed,
            one.owner.uid,
            tuple(process.pid for process in one.owner.processes),
        )
        for one in found
    )
