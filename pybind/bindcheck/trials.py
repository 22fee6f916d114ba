"""The attempt and its variations, made only where they can hurt nobody.

Measured on Linux: listen() with SO_REUSEPORT beside a live server takes its clients; a
UDP bind that coexists with a receiver takes its datagrams. Such calls are replaced: by a
stand-in that asks the same question of the kernel where no traffic goes, or by what the
rules predict.
"""

from __future__ import annotations

from bindcheck import native
from bindcheck.model import Attempt, NativeCode, Options, Snapshot, Target, Trial
from bindcheck.records import replace
from bindcheck.rules.address import is_mapped, may_come
from bindcheck.rules.decide import is_in_use, is_taken
from bindcheck.rules.holders import Overlapping, asker, overlapping
from bindcheck.rules.overlap import coverage, holder_coverage
from bindcheck.rules.permission import REFUSED, is_privileged
from bindcheck.rules.refusals import is_v6only, objections
from bindcheck.rules.sharing import Asker, conflicts
from bindcheck.target import ANY4, ANY6, MAPPED_PREFIX, make_target
from bindcheck.words import (
    Blocks,
    CauseCode,
    Family,
    Protocol,
    SocketType,
    Step,
    System,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# 127.0.0.0/8 is all local, and nobody sends to an address that nobody was told.
_UNUSED_LOOPBACK = bytes((127, 201, 94, 113))
_ELSEWHERE = (System.DARWIN, System.WINDOWS)


def attempt_harmlessly(target: Target, options: Options, snapshot: Snapshot) -> Attempt:
    """Make the attempt, or what comes closest to it without taking traffic."""
    if snapshot.facts.system in _ELSEWHERE:
        from bindcheck.trials_elsewhere import attempt_elsewhere

        return attempt_elsewhere(target, options, snapshot)
    if could_take_datagrams(target, options):
        rows = overlapping(target, options, snapshot)
        if rows:
            return _stand_in(target, options, snapshot, rows)
    elif options.listen and overlapping(target, options, snapshot):
        # A bind alone takes no connection; if it coexists, listen() would too (a
        # listening holder shares with nobody but SO_REUSEPORT twins), and is not called.
        bound = native.probe(target, replace(options, listen=False))
        return replace(bound, options=options, native=not bound.ok)
    return native.probe(target, options)


def could_take_datagrams(target: Target, options: Options) -> bool:
    """Whether a bind beside a receiver may succeed and share its datagrams."""
    reuse = bool(options.reuse_address or options.reuse_port)
    return reuse and target.protocol.type is SocketType.DATAGRAM


def try_changes(attempt: Attempt, snapshot: Snapshot) -> tuple[Trial, ...]:
    """Repeat a failed attempt with one thing changed at a time."""
    target, options = attempt.target, attempt.options
    if attempt.step is not Step.BIND or attempt.ok is not False:
        return ()
    if not is_taken(attempt, snapshot):
        return _try_refused(attempt, snapshot)
    if target.port == 0:
        return ()
    if snapshot.facts.system in _ELSEWHERE:
        from bindcheck.trials_elsewhere import changes_elsewhere

        return changes_elsewhere(target, options, snapshot)
    trials = []
    if options.reuse_address is None:
        trials.append(_try(attempt, snapshot, {"reuse_address": True}))
    if options.reuse_port is None:
        trials.append(_try(attempt, snapshot, {"reuse_port": True}))
    if options.v6only is None and _meets_only_inet(target, options, snapshot):
        trials.append(_try(attempt, snapshot, {"v6only": True}))
    return tuple(trials)


def _try(
    attempt: Attempt, snapshot: Snapshot, changed: dict[str, bool | int | str]
) -> Trial:
    options = replace(attempt.options, **changed)  # type: ignore[arg-type]
    if attempt.target.protocol.type is SocketType.STREAM:
        options = replace(options, listen=False)
    if _would_be_remembered(attempt.target, options, changed):
        made = _without_port_sharing(attempt.target, options, changed, snapshot)
    else:
        made = attempt_harmlessly(attempt.target, options, snapshot)
    return Trial(
        changed=changed,
        native=made.native,
        ok=made.ok,
        step=made.step,
        error=made.error,
    )


def _would_be_remembered(
    target: Target, options: Options, changed: dict[str, bool | int | str]
) -> bool:
    """Whether a bind that worked would change what a later one is told.

    Beside a holder without SO_REUSEPORT, one with it that shares by SO_REUSEADDR or has
    less to share leaves it in the port's bucket (inet_csk_update_fastreuse): the next
    plain SO_REUSEPORT bind of that user then works, until the holder is gone.
    """
    stream = target.protocol.type is SocketType.STREAM
    otherwise = bool(options.reuse_address) or "v6only" in changed
    return stream and bool(options.reuse_port) and otherwise


def _without_port_sharing(
    target: Target,
    options: Options,
    changed: dict[str, bool | int | str],
    snapshot: Snapshot,
) -> Attempt:
    """Tell what such a bind would be told, without making it.

    What one of two options allows, both allow; and a holder alone that objects to each
    objects to both. Several may each share by another one: there their options tell.
    """
    rows = overlapping(target, options, snapshot)
    less = [replace(options, reuse_port=None)]
    if "v6only" not in changed:
        less.append(replace(options, reuse_address=None))
    tried = [native.probe(target, one) for one in less]
    ok: bool | None = None
    if any(made.ok for made in tried):
        ok = True
    elif len(rows) == 1 and len(tried) == 2 and all(is_in_use(made) for made in tried):
        ok = False
    else:
        answers = _answers(asker(target, options, snapshot), rows)
        if Blocks.YES in answers:
            ok = False
        elif answers == {None}:
            ok = True
    error = snapshot.address_in_use if ok is False else None
    return _predicted(target, options, ok=ok, error=error)


def _try_refused(attempt: Attempt, snapshot: Snapshot) -> tuple[Trial, ...]:
    """What tells one refusal from another, or helps."""
    target, options = attempt.target, attempt.options
    name = attempt.error.symbol if attempt.error else None
    found = objections(target, options, snapshot)
    if name in REFUSED:
        return _try_policy(attempt, snapshot)
    linux = snapshot.facts.system == System.LINUX
    foreign = found == (CauseCode.ADDRESS_NOT_LOCAL,)
    if linux and foreign and may_come(target, snapshot):
        # Nothing arrives for an address that is not here.
        return (_try(attempt, snapshot, {"freebind": True}),)
    if name == "EINVAL" and is_mapped(target) and is_v6only(options, snapshot):
        return (_try(attempt, snapshot, {"v6only": False}),)
    return ()


def _try_policy(attempt: Attempt, snapshot: Snapshot) -> tuple[Trial, ...]:
    """Is it the port, the protocol, or every bind that is refused?"""
    target, held = attempt.target, snapshot.confinement
    if target.port == 0 or (held is not None and held.bind_filter is not None):
        return ()
    trials: list[Trial] = []
    privileged = is_privileged(target, snapshot.facts)
    if privileged:
        trials += _other_ports(attempt, snapshot)
    if not any(trial.ok or _is_address_refused(trial) for trial in trials):
        trials.append(_try_elsewhere(attempt, port=0))
    linux = snapshot.facts.system == System.LINUX
    if linux and not privileged and target.protocol is Protocol.TCP:
        # Only where nobody receives: the bind could take his datagrams.
        listing = native.list_sockets(Protocol.UDP, target.port)
        if listing.source is not None and not listing.sockets:
            trials.append(_try_elsewhere(attempt, protocol=Protocol.UDP))
    return tuple(trials)


def _other_ports(attempt: Attempt, snapshot: Snapshot) -> list[Trial]:
    """Ports that need no privilege: 80 becomes 8080, 443 becomes 8443; else others."""
    trials: list[Trial] = []
    start = snapshot.facts.unprivileged_port_start or 0
    for base in (8000, 9000, 10000):
        port = base + attempt.target.port
        if not start <= port <= 65535:
            continue
        trials.append(_try_elsewhere(attempt, port=port))
        if trials[-1].error is None or trials[-1].error.symbol != "EADDRINUSE":
            break
    return trials


def _try_elsewhere(
    attempt: Attempt, *, port: int | None = None, protocol: Protocol | None = None
) -> Trial:
    """The same address with another port or protocol.

    Plain options, without listen(): such a bind never shares a port.
    """
    target, options = attempt.target, attempt.options
    if port is not None:
        target = replace(target, port=port)
    if protocol is not None:
        target = replace(target, protocol=protocol)
    plain = Options(
        v6only=options.v6only, device=options.device, freebind=options.freebind
    )
    made = native.probe(target, plain)
    changed: dict[str, bool | int | str]
    changed = {"port": port} if port is not None else {"protocol": str(protocol)}
    return Trial(
        changed=changed, native=True, ok=made.ok, step=made.step, error=made.error
    )


def _is_address_refused(trial: Trial) -> bool:
    """The other port got past what judges ports: no policy forbids every bind."""
    return trial.error is not None and trial.error.symbol not in REFUSED


def _meets_only_inet(target: Target, options: Options, snapshot: Snapshot) -> bool:
    """Whether `::` collides with IPv4 holders alone."""
    if target.packed != ANY6:
        return False
    rows = overlapping(target, options, snapshot)
    return bool(rows) and all(
        coverage(row.socket.packed, v6only=row.socket.v6only).inet6 is None
        for row in rows
    )


def _stand_in(
    target: Target,
    options: Options,
    snapshot: Snapshot,
    rows: Sequence[Overlapping],
) -> Attempt:
    """Predict a datagram bind that could coexist with a receiver."""
    refusal = _earlier_refusal(target, options, snapshot)
    if refusal is not None:
        return _predicted(target, options, ok=False, error=refusal)
    who = asker(target, options, snapshot)
    ok = _shares_with_all(who, rows)
    if ok is None:
        twin = _quiet_twin(target, rows)
        if twin is not None:
            made = native.probe(twin, replace(options, v6only=None))
            ok = made.ok if made.ok or is_in_use(made) else None
    error = snapshot.address_in_use if ok is False else None
    return _predicted(target, options, ok=ok, error=error)


def _predicted(
    target: Target, options: Options, *, ok: bool | None, error: NativeCode | None
) -> Attempt:
    return Attempt(
        target=target,
        options=options,
        ok=ok,
        native=False,
        step=Step.BIND if ok is False else None,
        argument=None,
        error=error,
        bound=None,
    )


def _earlier_refusal(
    target: Target, options: Options, snapshot: Snapshot
) -> NativeCode | None:
    """What the kernel objects to before it looks who has the port.

    Asked on a port of the kernel's choice, where nobody receives.
    """
    plain = replace(options, reuse_address=None, reuse_port=None)
    made = native.probe(replace(target, port=0), plain)
    refused = None if _got_there(made) else made.error
    if refused and target.family is Family.INET:
        return refused  # __inet_bind looks at the address first, __inet6_bind last
    if is_privileged(target, snapshot.facts):
        return snapshot.permission_denied
    return refused


def _got_there(made: Attempt) -> bool:
    """Whether the kernel had nothing to object to before it looked who has the port."""
    return bool(made.ok) or is_in_use(made) or made.step is Step.GETSOCKNAME


def _shares_with_all(who: Asker, rows: Sequence[Overlapping]) -> bool | None:
    """Whether every holder would share; None where that cannot be told.

    udp_lib_lport_inuse stops at the first holder that shares by SO_REUSEPORT: beside
    one that does not, the order in the kernel's table decides.
    """
    answers = _answers(who, rows)
    if not answers - {None}:
        return True
    if Blocks.POSSIBLY in answers:
        return None
    by_port = who.reuse_port and any(row.socket.reuse_port for row in rows)
    return None if by_port else False


def _answers(who: Asker, rows: Iterable[Overlapping]) -> set[Blocks | None]:
    """What holders object with; one that may not collide at all objects possibly."""
    met = [(conflicts(who, row.socket), row.collision.certain) for row in rows]
    return {
        Blocks.POSSIBLY if found and not certain else found for found, certain in met
    }


def _quiet_twin(target: Target, rows: Sequence[Overlapping]) -> Target | None:
    """An address that collides with the same holders and receives nothing.

    Where only wildcards hold the port, any unused loopback address asks the same. Else
    the v4-mapped form of the address: the kernel's look-up prefers sockets of the exact
    address, and among equals those of AF_INET (compute_score in net/ipv4/udp.c).
    """
    if target.family is not Family.INET:
        return None
    mapped_any = MAPPED_PREFIX + ANY4
    held = [row.socket.packed for row in rows]
    if any(holder_coverage(row.socket).inet is None for row in rows):
        return None  # 0.0.0.0 meets an IPv6 connection too, and no twin of it does
    if all(packed in (ANY4, ANY6, mapped_any) for packed in held):
        return make_target(Family.INET, _UNUSED_LOOPBACK, target.port, target.protocol)
    if target.packed == ANY4:
        quiet = ANY6 not in held and mapped_any not in held
    else:
        quiet = target.packed in held
    if not quiet:
        return None
    mapped = MAPPED_PREFIX + target.packed
    return make_target(Family.INET6, mapped, target.port, target.protocol)
