"""One address: observe, attempt, look again, try.

The tables come first, because they tell which calls are harmless; they are read until
they agree with what the system says.
"""

from __future__ import annotations

import time

from bindcheck.conclusion import quiet
from bindcheck.lookup import targets_of
from bindcheck.model import Attempt, Examination, Notice
from bindcheck.options import NAMED, check_options, fitting
from bindcheck.records import replace
from bindcheck.rules.decide import is_taken
from bindcheck.rules.holders import (
    blockers,
    in_the_way,
    kind_of,
    meeting,
    neighbourhood,
    overlapping,
)
from bindcheck.rules.refusals import repaired
from bindcheck.rules.resources import range_rows
from bindcheck.target import ANY4, ANY6, make_target
from bindcheck.trials import attempt_harmlessly, could_take_datagrams, try_changes
from bindcheck.words import Family, Kind, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bindcheck.model import Blocker, Options, Snapshot, Socket, Target, Trial
    from bindcheck.observe import Observer
    from bindcheck.target import Request

_LOOKS = 4
_PAUSE_SECONDS = 0.001


def examine(
    request: Request, options: Options, observer: Observer, *, deadline: float
) -> Iterator[Examination]:
    """Examine each address of a request."""
    check_options(options, request)
    if request.family in NAMED:
        from bindcheck.names import examine_name

        yield examine_name(request, options, observer)
        return
    if request.host is None:
        yield from _examine_wildcards(request, options, observer)
        return
    for target in targets_of(request, deadline=deadline):
        if isinstance(target, Attempt):
            yield _unresolved(request, replace(target, options=options), observer)
        else:
            suited = fitting(options, target)
            found = examine_target(request.requested, target, suited, observer)
            if suited is not options:
                dropped = Notice(
                    code="v6only-not-applied",
                    text=f"IPV6_V6ONLY is an option of IPv6 sockets: {target.address} "
                    "was asked about without it",
                )
                found = _with_limit(found, dropped)
            yield found


def _with_limit(found: Examination, limit: Notice) -> Examination:
    snapshot = found.snapshot
    limits = (*snapshot.limits, limit)
    return replace(found, snapshot=replace(snapshot, limits=limits))


def _examine_wildcards(
    request: Request, options: Options, observer: Observer
) -> Iterator[Examination]:
    """A bare port: 0.0.0.0, and `::` for IPv6 alone; together they decide dual-stack."""
    no_inet6 = observer.facts.ipv6_available is False
    if request.family is not Family.INET6:
        target = make_target(Family.INET, ANY4, request.port, request.protocol)
        suited = fitting(options, target)
        found = examine_target(request.requested, target, suited, observer, paired=True)
        if no_inet6 and request.family is None:
            skipped = Notice(
                code="ipv6-skipped",
                text="no IPv6 socket can be made here: [::] was not asked about",
            )
            found = _with_limit(found, skipped)
        yield found
    if request.family is Family.INET or (no_inet6 and request.family is None):
        return
    target = make_target(Family.INET6, ANY6, request.port, request.protocol)
    if options.v6only is None:
        options = replace(options, v6only=True)
    yield examine_target(request.requested, target, options, observer, paired=True)


def _unresolved(request: Request, attempt: Attempt, observer: Observer) -> Examination:
    snapshot = observer.nothing_seen()
    if attempt.error is None:
        late = Notice(
            code="name-lookup-unfinished",
            text=f"the look-up of {request.host!r} did not finish in time",
        )
        snapshot = replace(snapshot, limits=(late,))
    return Examination(requested=request.requested, attempt=attempt, snapshot=snapshot)


def examine_target(
    requested: str,
    target: Target,
    options: Options,
    observer: Observer,
    *,
    paired: bool = False,
    tries: int = _LOOKS,
) -> Examination:
    """Examine one address. The tables are read until they agree with the attempt."""
    try:
        return _examine_target(
            requested, target, options, observer, paired=paired, tries=tries
        )
    finally:
        observer.settle()


def _examine_target(
    requested: str,
    target: Target,
    options: Options,
    observer: Observer,
    *,
    paired: bool,
    tries: int,
) -> Examination:
    came_free = False
    for look in range(_LOOKS):
        snapshot = observer.look(
            target.protocol,
            target.port,
            options.device,
            tries_bound=True,
            ahead=meeting(target, options) if look == 0 else None,
        )
        if could_take_datagrams(target, options) or _is_windows(snapshot):
            # What cannot be tried is predicted from the holders' options, on Windows
            # from their users too.
            snapshot = _with_owners(target, options, snapshot, observer)
        attempt = attempt_harmlessly(target, options, snapshot)
        if attempt.error is not None and attempt.error.symbol == "EADDRNOTAVAIL":
            # With port 0 macOS says so as well when no port is left.
            snapshot = observer.with_addresses(snapshot)
        if attempt.ok or not (is_taken(attempt, snapshot) or attempt.ok is None):
            came_free = look > 0 and bool(attempt.ok)
            break
        snapshot = _with_owners(target, options, snapshot, observer)
        if target.port == 0 or _is_settled(target, options, snapshot, observer):
            break
        # Somebody's short-lived socket, or a table that changed while it was read.
        time.sleep(_PAUSE_SECONDS * (look + 1))
    if attempt.ok:
        works = _finish(
            requested, attempt, (), snapshot, came_free=came_free, paired=paired
        )
        return _with_what_is_quiet(works, observer)
    snapshot = _with_what_explains(attempt, snapshot, observer)
    # Not while the owners are looked up: a trial that works tells that one has gone.
    trials = try_changes(attempt, snapshot)
    if is_taken(attempt, snapshot) and any(one.ok and one.native for one in trials):
        # The holder may have gone between the attempt and the trial that worked. The
        # tables tell; the bind itself would not, because a trial that worked may have
        # left its mark in the kernel's cache (fastreuseport).
        found = blockers(target, options, snapshot, failed=True)
        if found and not _still_there(found, target, options, observer):
            again = attempt_harmlessly(target, options, snapshot)
            came_free = bool(again.ok)
            if not came_free and tries > 1:
                return examine_target(
                    requested,
                    target,
                    options,
                    observer,
                    paired=paired,
                    tries=tries - 1,
                )
    return _finish(
        requested, attempt, trials, snapshot, came_free=came_free, paired=paired
    )


def observe_holders(target: Target, options: Options, observer: Observer) -> Snapshot:
    """Observe who has the port, without any bind of the target."""
    snapshot = observer.look(
        target.protocol, target.port, options.device, tries_bound=True
    )
    snapshot = observer.with_bound_sockets(snapshot, target.protocol, target.port)
    return _with_owners(target, options, snapshot, observer)


def _is_windows(snapshot: Snapshot) -> bool:
    return snapshot.facts.system == System.WINDOWS


def _with_what_explains(
    attempt: Attempt, snapshot: Snapshot, observer: Observer
) -> Snapshot:
    """Observe what a bind that fails may fail for."""
    target, options = attempt.target, attempt.options
    if not is_taken(attempt, snapshot) and attempt.ok is False:
        return _with_refusal(attempt, snapshot, observer)
    if target.port == 0:
        snapshot = observer.with_bound_sockets(snapshot, target.protocol, 0)
        rows = range_rows(target, options, snapshot)
        snapshot = observer.with_owners(snapshot, rows)
        return observer.with_confinement(snapshot, target.family)
    # Also beside those that are seen: each that is in the way is to be named.
    more = observer.with_bound_sockets(snapshot, target.protocol, target.port)
    if more is not snapshot:
        snapshot = _with_owners(target, options, more, observer)
    if not overlapping(target, options, snapshot):
        snapshot = observer.with_confinement(snapshot, target.family)
        snapshot = observer.with_kept_ports(snapshot, target, options)
    return snapshot


def _with_what_is_quiet(works: Examination, observer: Observer) -> Examination:
    """Observe what a bind that works does not tell."""
    target, options = works.attempt.target, works.attempt.options
    snapshot = works.snapshot
    if target.port and (options.reuse_address or options.reuse_port):
        # What it may share the port with, also where the tables do not show it.
        snapshot = observer.with_bound_sockets(snapshot, target.protocol, target.port)
    snapshot = observer.with_redirections(snapshot, target.protocol, target.port)
    works = replace(works, snapshot=snapshot)
    wanted = [one.socket for one in quiet(works) if one.socket is not None]
    return replace(works, snapshot=observer.with_owners(snapshot, wanted))


def _finish(
    requested: str,
    attempt: Attempt,
    trials: tuple[Trial, ...],
    snapshot: Snapshot,
    *,
    came_free: bool,
    paired: bool,
) -> Examination:
    limits = tuple({limit.code: limit for limit in snapshot.limits}.values())
    return Examination(
        requested=requested,
        attempt=attempt,
        trials=trials,
        snapshot=replace(snapshot, limits=limits),
        came_free=came_free,
        paired=paired,
    )


def _with_refusal(attempt: Attempt, snapshot: Snapshot, observer: Observer) -> Snapshot:
    """Observe what explains another refusal than "in use", and what comes after it."""
    name = attempt.error.symbol if attempt.error else None
    if name in ("EMFILE", "ENFILE"):
        return observer.with_open_files(snapshot) if name == "ENFILE" else snapshot
    target, options = attempt.target, attempt.options
    snapshot = observer.with_addresses(snapshot)
    snapshot = observer.with_confinement(snapshot, target.family)
    snapshot = observer.with_kept_ports(snapshot, target, options)
    complete = repaired(target, options, snapshot)
    if target.port:
        # Who has it comes next, also where the tables do not show it.
        snapshot = observer.with_bound_sockets(snapshot, target.protocol, target.port)
    return _with_owners(complete, options, snapshot, observer)


def _with_owners(
    target: Target, options: Options, snapshot: Snapshot, observer: Observer
) -> Snapshot:
    """Look up the owners of the rows that collide with the target."""
    rows = [row.socket for row in overlapping(target, options, snapshot)]
    return observer.with_owners(snapshot, rows)


def _is_settled(
    target: Target, options: Options, snapshot: Snapshot, observer: Observer
) -> bool:
    """Whether the rows explain the failure and are still there."""
    rows = in_the_way(neighbourhood(target, options, snapshot), failed=True)
    if not rows:
        return False
    if not all(_is_fleeting(row.socket) for row, _ in rows):
        return True
    found = blockers(target, options, snapshot, failed=True)
    return _still_there(found, target, options, observer)


def _is_fleeting(row: Socket) -> bool:
    """Whether it may be one of those that are gone a moment later."""
    without_owner = row.inode != 0 and not row.owner.processes
    return kind_of(row) is Kind.BOUND or without_owner


def _still_there(
    found: Sequence[Blocker], target: Target, options: Options, observer: Observer
) -> bool:
    """Whether the tables still show any of these blockers."""
    again = observer.look(target.protocol, target.port, options.device)
    rows = {(kind_of(row), row.inode, row.cookie) for row in again.sockets}
    return any((one.kind, one.socket.inode, one.socket.cookie) in rows for one in found)
