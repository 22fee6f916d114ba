"""The verb `stop`: end the program that has a port, where that is safe; then wait for it."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

from bindcheck.cli.asked import options_of, requests_of
from bindcheck.cli.output import privileged_command
from bindcheck.cli.stop_talk import Talk
from bindcheck.conclusion import conclude
from bindcheck.errors import UsageError
from bindcheck.examination import examine
from bindcheck.observe import Observer
from bindcheck.options import NAMED
from bindcheck.rules.decide import is_taken
from bindcheck.rules.holders import overlapping
from bindcheck.rules.stop_plan import StopPlan, stop_plan
from bindcheck.signalling import NotSignalledError, Signalled, above_us, signal_number
from bindcheck.waiting import wait
from bindcheck.words import State, Verdict

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bindcheck.model import Diagnosis, Examination, Options, Process
    from bindcheck.target import Request

_LOOK_SECONDS = 10.0
_PATIENCE_AFTER_KILL = 5.0
# So long a program may take that is started again by a loop or a supervisor.
_GRACE_SECONDS, _PAUSE_SECONDS = 0.5, 0.025


class _StartedAgainError(Exception):
    """Another process has the port, while the one that was ended is gone."""


def run(arguments: argparse.Namespace) -> int:
    """Look, ask, check again, signal, and wait for the port.

    Raises:
        TargetError: the text is no target.
        UsageError: an option makes no sense, or nobody can be asked.
    """
    number = _signal(arguments)
    options = options_of(arguments)
    (request,) = requests_of(arguments, options)
    stop = _Stop(request, options, arguments, number)
    return stop.run()


def _signal(arguments: argparse.Namespace) -> int:
    try:
        number = signal_number(arguments.signal or "TERM")
    except ValueError:
        raise UsageError(
            f"--signal: {arguments.signal!r} is no signal: for example TERM, INT, KILL"
        ) from None
    if sys.platform == "win32" and arguments.signal not in (None, "TERM", "KILL"):
        raise UsageError("--signal: Windows can only end a program (TERM)")
    return number


class _Stop:
    """One run of the verb: what is looked at, who was signalled."""

    def __init__(
        self,
        request: Request,
        options: Options,
        arguments: argparse.Namespace,
        number: int,
    ) -> None:
        self._request = request
        self._options = options
        self._arguments = arguments
        self._number = number
        self._talk = Talk(request.requested, arguments)

    def run(self) -> int:
        """All of it; returns the exit status."""
        talk = self._talk
        observer, seen = self._look()
        diagnoses = [conclude(one) for one in seen]
        if all(
            one.verdict in (Verdict.BINDABLE, Verdict.TRANSIENT) for one in diagnoses
        ):
            return talk.already_free(observer, seen)
        others = [one for one in seen if not _is_held(one)]
        if others:
            return talk.no_help(observer, seen)
        plan = self._plan(seen, diagnoses)
        if plan.refusals:
            return talk.refused(plan, observer, seen, self._privileged("--dry-run"))
        if not plan.signalled:
            return talk.nobody(observer, seen)
        if self._arguments.dry_run:
            return talk.would(plan, self._number, observer, seen)
        if not self._arguments.yes and not talk.ask(plan, self._number, observer, seen):
            return talk.declined()
        return self._end(plan)

    def _look(self) -> tuple[Observer, list[Examination]]:
        observer = Observer()
        deadline = time.monotonic() + _LOOK_SECONDS
        found = examine(self._request, self._options, observer, deadline=deadline)
        return observer, list(found)

    def _plan(self, seen: list[Examination], diagnoses: list[Diagnosis]) -> StopPlan:
        pairs = [
            (diagnosis, one.snapshot)
            for diagnosis, one in zip(diagnoses, seen, strict=True)
        ]
        return stop_plan(pairs, above_us())

    def _privileged(self, *options: str) -> list[str] | None:
        """What shows more as root. Never what ends something: it is only to be seen."""
        return privileged_command(["stop", *options, self._request.requested])

    def _end(self, plan: StopPlan) -> int:
        """Look again, because the answer may have taken a while; then signal."""
        talk = self._talk
        observer, seen = self._look()
        again = self._plan(seen, [conclude(one) for one in seen])
        same = all(again.knows(one) for one in plan.signalled)
        if not same or not all(plan.knows(one) for one in again.signalled):
            return talk.changed(observer, seen)
        try:
            with ExitStack() as stack:
                held = [stack.enter_context(Signalled(one)) for one in plan.signalled]
                for one in held:
                    one.send(0)  # whether it is permitted, for all before the first
                for one in held:
                    one.send(self._number)
                return self._wait(plan, held)
        except NotSignalledError as error:
            return talk.not_signalled(str(error), self._privileged())

    def _wait(self, plan: StopPlan, held: list[Signalled]) -> int:
        """Wait for the port, not for the process."""
        talk = self._talk
        talk.sent(plan.signalled, self._number)
        begun = time.monotonic()
        status = self._wait_once(plan, begun, self._arguments.timeout)
        if status is not None:
            return status
        alive = [one for one in held if one.is_alive]
        if not alive:
            return talk.ended(*self._look())
        deaf = tuple(one.process for one in alive)
        if self._arguments.signal is None and talk.offer_kill(deaf):
            for one in alive:
                one.send(_kill())
            talk.sent(deaf, _kill())
            status = self._wait_once(plan, begun, _PATIENCE_AFTER_KILL)
            if status is not None:
                return status
            if not any(one.is_alive for one in held):
                return talk.ended(*self._look())
        return talk.still_held(*self._look())

    def _wait_once(self, plan: StopPlan, begun: float, seconds: float) -> int | None:
        """None: the port is still held."""
        from bindcheck.cli.progress import reporter

        observer = Observer()
        with reporter(self._arguments) as tell:

            def watch(diagnosis: Diagnosis, ends_at: float | None) -> float:
                _check_who_has_it(diagnosis, plan)
                return tell(diagnosis, ends_at)

            try:
                waited = wait(
                    [self._request],
                    self._options,
                    observer,
                    time.monotonic() + seconds,
                    watch,
                )
            except _StartedAgainError:
                return self._talk.started_again(*self._look())
        if not waited.ok:
            return None
        after = time.monotonic() - begun
        if self._comes_back(waited.seen, observer):
            return self._talk.started_again(*self._look())
        return self._talk.stopped(plan, observer, waited.seen, after)

    def _comes_back(self, seen: Sequence[Examination], observer: Observer) -> bool:
        """Whether somebody has the port again within moments, by the tables."""
        over = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < over:
            time.sleep(_PAUSE_SECONDS)
            for one in seen:
                target, options = one.attempt.target, one.attempt.options
                if target.family in NAMED:
                    continue
                snapshot = observer.look(target.protocol, target.port, options.device)
                rows = overlapping(target, options, snapshot)
                if any(
                    row.socket.inode and row.socket.state in (State.LISTEN, State.CLOSE)
                    for row in rows
                ):
                    return True
        if self._request.family in NAMED:
            _, again = self._look()
            return any(not one.attempt.ok and not one.came_free for one in again)
        return False


def _is_held(seen: Examination) -> bool:
    """Whether the address works, or is in use."""
    attempt = seen.attempt
    return (
        bool(attempt.ok)
        or seen.came_free
        or attempt.ok is None
        or is_taken(attempt, seen.snapshot)
    )


def _check_who_has_it(diagnosis: Diagnosis, plan: StopPlan) -> None:
    """A supervisor starts its program again: that is not ended a second time."""
    now: list[Process] = [
        process for one in diagnosis.blockers for process in one.owner.processes
    ]
    if now and not any(plan.knows(one) for one in now):
        raise _StartedAgainError


def _kill() -> int:
    import signal

    return int(getattr(signal, "SIGKILL", signal.SIGTERM))
