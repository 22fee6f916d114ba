"""The attempt and its variations on Windows and macOS, made only where they can hurt nobody.

A socket of one address takes from one of the wildcard what arrives for that address, and
what two of one address get is nobody's to say. So beside a socket that receives only a
bind that the rules say will fail is called; the rest is asked on a loopback address that
nobody uses, or predicted.
"""

from __future__ import annotations

from bindcheck import native
from bindcheck.model import Attempt, Options, Trial
from bindcheck.records import replace
from bindcheck.rules.holders import kind_of, neighbourhood, overlapping
from bindcheck.rules.permission import is_privileged
from bindcheck.rules.windows import IN_USE, REFUSED, heard_of
from bindcheck.target import ANY4, make_target
from bindcheck.words import Blocks, Family, Kind, SocketType, Step, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.model import Snapshot, Target
    from bindcheck.rules.holders import Overlapping

# 127.0.0.0/8 is all local on Windows, and nobody sends to what nobody was told.
UNUSED_LOOPBACK = bytes((127, 201, 94, 113))
_RECEIVING = frozenset({Kind.LISTENER, Kind.BOUND, Kind.DATAGRAM})


def attempt_elsewhere(target: Target, options: Options, snapshot: Snapshot) -> Attempt:
    """Make the attempt, or what comes closest to it without taking traffic."""
    rows = overlapping(target, options, snapshot)
    receiving = [row for row in rows if kind_of(row.socket) in _RECEIVING]
    if not receiving or target.port == 0:
        return native.probe(target, options)
    beside = neighbourhood(target, options, snapshot)
    answers = {beside.conflicts(row.socket) for row in rows}
    if Blocks.YES in answers and not _may_take_datagrams(target, options, snapshot):
        # It fails; should the rules be wrong, nothing is lost without listen().
        made = native.probe(target, replace(options, listen=False))
        return replace(made, options=options, native=not (made.ok and options.listen))
    refused = _earlier_refusal(target, options, snapshot)
    if refused is not None:
        return refused
    if Blocks.YES in answers:
        attempt = _predicted(target, options, ok=False)
        return replace(attempt, step=Step.BIND, error=snapshot.address_in_use)
    if answers == {None}:
        return _predicted(target, options, ok=True)
    return _inferred(target, options, snapshot, rows)


def _may_take_datagrams(target: Target, options: Options, snapshot: Snapshot) -> bool:
    """Whether a bind that should fail would take datagrams if it did not.

    macOS lets users share who have set SO_REUSESHAREUID, which no table shows.
    """
    shares = options.reuse_address or options.reuse_port
    darwin = snapshot.facts.system == System.DARWIN
    return bool(darwin and shares and target.protocol.type is not SocketType.STREAM)


def _earlier_refusal(
    target: Target, options: Options, snapshot: Snapshot
) -> Attempt | None:
    """What the system objects to before it looks who has the port.

    Asked on a port of its choice, where nobody receives.
    """
    plain = replace(
        options, listen=False, reuse_address=None, reuse_port=None, exclusive=None
    )
    made = native.probe(replace(target, port=0), plain)
    error = made.error
    local = any(one.packed == target.packed for one in snapshot.addresses)
    # With no port left macOS says of an address that it is not there.
    exhausted = error and (
        error.symbol == "ENOBUFS" or (error.symbol == "EADDRNOTAVAIL" and local)
    )
    if error and not exhausted:
        return replace(made, target=target, options=options, native=False)
    if is_privileged(target, snapshot.facts):
        attempt = _predicted(target, options, ok=False)
        return replace(attempt, step=Step.BIND, error=snapshot.permission_denied)
    return None


def _inferred(
    target: Target,
    options: Options,
    snapshot: Snapshot,
    rows: Sequence[Overlapping],
) -> Attempt:
    """Conclude what Windows would say, from what it says beside the same holders."""
    attempt = _predicted(target, options, ok=None)
    trials = _how_it_was_bound(target, options, snapshot)
    heard = heard_of(attempt, trials)
    if not heard:
        return attempt
    beside = neighbourhood(target, options, snapshot, heard)
    answers = {answer for row in rows for answer in beside.answers(row.socket)}
    if len(answers) != 1:
        return attempt
    errors = {
        IN_USE: snapshot.address_in_use,
        REFUSED: snapshot.permission_denied,
    }
    error = errors.get(answers.pop())
    return replace(
        attempt, ok=error is None, step=Step.BIND if error else None, error=error
    )


def changes_elsewhere(
    target: Target, options: Options, snapshot: Snapshot
) -> tuple[Trial, ...]:
    """Repeat a bind that others are in the way of, with something changed."""
    if snapshot.facts.system == System.WINDOWS:
        return _how_it_was_bound(target, options, snapshot)
    changes: list[dict[str, bool | int | str]] = []
    if options.reuse_address is None:
        changes.append({"reuse_address": True})
    if options.reuse_port is None:
        changes.append({"reuse_port": True})
    trials = []
    for changed in changes:
        tried = replace(options, listen=False, **changed)  # type: ignore[arg-type]
        made = attempt_elsewhere(target, tried, snapshot)
        trials.append(_trial(changed, made))
    return tuple(trials)


def _how_it_was_bound(
    target: Target, options: Options, snapshot: Snapshot
) -> tuple[Trial, ...]:
    """Ask what Microsoft's tables tell a holder's mode by: two binds below its wildcard."""
    rows = overlapping(target, options, snapshot)
    twin = _quiet_twin(target, rows, snapshot)
    if (
        twin is None
        or options.exclusive
        or target.protocol.type is not SocketType.STREAM
    ):
        return ()
    trials = []
    for reuse in (None, True):
        changed: dict[str, bool | int | str] = {"address": twin.address or ""}
        if bool(reuse) != bool(options.reuse_address):
            changed["reuse_address"] = bool(reuse)
        tried = replace(options, listen=False, reuse_address=reuse)
        trials.append(_trial(changed, native.probe(twin, tried)))
    return tuple(trials)


def _quiet_twin(
    target: Target, rows: Sequence[Overlapping], snapshot: Snapshot
) -> Target | None:
    """An address that meets the same holders of the wildcard and receives nothing."""
    fits = snapshot.facts.system == System.WINDOWS and target.family is Family.INET
    if not fits or not rows or any(row.socket.packed != ANY4 for row in rows):
        return None
    return make_target(Family.INET, UNUSED_LOOPBACK, target.port, target.protocol)


def _trial(changed: dict[str, bool | int | str], made: Attempt) -> Trial:
    return Trial(
        changed=changed,
        native=made.native,
        ok=made.ok,
        step=made.step,
        error=made.error,
    )


def _predicted(target: Target, options: Options, *, ok: bool | None) -> Attempt:
    return Attempt(
        target=target,
        options=options,
        ok=ok,
        native=False,
        step=None,
        argument=None,
        error=None,
        bound=None,
    )
