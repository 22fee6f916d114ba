"""(Attempt, trials, snapshot) to a diagnosis."""

from __future__ import annotations

from bindcheck.model import Diagnosis, NextError
from bindcheck.rules import in_use, refusals
from bindcheck.rules.address import is_foreign
from bindcheck.rules.holders import blockers, overlapping
from bindcheck.rules.resources import is_our_own_limit, range_use
from bindcheck.words import SocketType, State, Step, System, Verdict

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Attempt, Blocker, Snapshot, Trial
    from bindcheck.rules.windows import Heard


def is_in_use(attempt: Attempt) -> bool:
    """Whether the attempt failed because the address is taken."""
    return attempt.error is not None and attempt.error.symbol == "EADDRINUSE"


def is_taken(attempt: Attempt, snapshot: Snapshot) -> bool:
    """Whether the attempt failed because of other sockets, by whatever name.

    Windows says WSAEACCES where a holder does not share; with port 0 macOS and Windows
    have names of their own for a range that is used up.
    """
    symbol = attempt.error.symbol if attempt.error is not None else None
    system = snapshot.facts.system
    if symbol is None or attempt.step is not Step.BIND:
        return is_in_use(attempt)
    if attempt.target.port == 0:
        if system == System.DARWIN and symbol == "EADDRNOTAVAIL":
            return not is_foreign(attempt.target, snapshot)
        if system == System.WINDOWS and symbol == "ENOBUFS":
            # Said of memory as well: then the range is not used up.
            use = range_use(attempt.target, attempt.options, snapshot)
            return use is not None and len(use.taken) >= use.ports * _NEARLY_ALL
        return is_in_use(attempt)
    if system == System.WINDOWS and symbol == "EACCES":
        rows = overlapping(attempt.target, attempt.options, snapshot)
        return any(row.socket.state is not State.TIME_WAIT for row in rows)
    return is_in_use(attempt)


_NEARLY_ALL = 0.9  # some may have come free while the table was read


def decide(
    requested: str,
    attempt: Attempt,
    trials: tuple[Trial, ...],
    snapshot: Snapshot,
    *,
    came_free: bool = False,
) -> Diagnosis:
    """Decide the verdict, the causes and what comes next.

    `came_free` tells that the same bind worked moments after it had failed.
    """
    target, options = attempt.target, attempt.options
    if attempt.ok or came_free:
        return Diagnosis(
            requested=requested,
            target=target,
            attempt=attempt,
            verdict=Verdict.TRANSIENT if came_free else Verdict.BINDABLE,
            trials=trials,
            limits=snapshot.limits,
        )
    if attempt.ok is None or is_taken(attempt, snapshot):
        # Also when a stand-in was asked: the kernel said so of the same holders.
        failed = attempt.ok is False and attempt.step is Step.BIND
        heard: tuple[tuple[bytes, Heard], ...] = ()
        if snapshot.facts.system == System.WINDOWS:
            from bindcheck.rules.windows import heard_of

            heard = heard_of(attempt, trials)
        found = blockers(target, options, snapshot, failed=failed, heard=heard)
        causes = in_use.causes(attempt, found, snapshot)
        works_with = _works_with(attempt, trials, snapshot)
        verdict = Verdict.CONDITIONAL if works_with else Verdict.BLOCKED
        if attempt.ok is None:
            verdict = Verdict.UNKNOWN
        return Diagnosis(
            requested=requested,
            target=target,
            attempt=attempt,
            verdict=verdict,
            works_with=works_with,
            causes=causes,
            blockers=found,
            trials=trials,
            limits=snapshot.limits,
        )
    return _refused(requested, attempt, trials, snapshot)


def _works_with(
    attempt: Attempt, trials: tuple[Trial, ...], snapshot: Snapshot
) -> dict[str, bool] | None:
    """SO_REUSEADDR decides when the caller did not say and the kernel would allow it.

    Not for datagrams, and never on Windows: there it would share or steal the traffic
    of the holder.
    """
    if attempt.target.protocol.type is not SocketType.STREAM:
        return None
    if snapshot.facts.system == System.WINDOWS:
        return None
    for trial in trials:
        if trial.ok and dict(trial.changed) == {"reuse_address": True}:
            return {"reuse_address": True}
    return None


def _refused(
    requested: str, attempt: Attempt, trials: tuple[Trial, ...], snapshot: Snapshot
) -> Diagnosis:
    target, options = attempt.target, attempt.options
    causes = refusals.causes(attempt, trials, snapshot)
    code = causes[0].code
    found: tuple[Blocker, ...] = ()
    upcoming = [
        NextError(cause=later, error=error)
        for later in refusals.later_refusals(attempt, code, trials, snapshot)
        if (error := refusals.error_of(later, snapshot)) is not None
    ]
    if refusals.asks_who_has_it(attempt, code) and snapshot.address_in_use:
        complete = refusals.repaired(target, options, snapshot)
        found = blockers(complete, options, snapshot, failed=False)
        upcoming += [
            NextError(
                cause=cause.code,
                error=snapshot.address_in_use,
                blockers=cause.blockers,
            )
            for cause in (in_use.causes(attempt, found, snapshot) if found else ())
        ]
    unanswered = attempt.error is None or is_our_own_limit(attempt)
    return Diagnosis(
        requested=requested,
        target=target,
        attempt=attempt,
        verdict=Verdict.UNKNOWN if unanswered else Verdict.BLOCKED,
        causes=causes,
        blockers=found,
        trials=trials,
        next_errors=tuple(upcoming),
        limits=snapshot.limits,
    )
