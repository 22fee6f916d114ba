"""What `stop` says and asks, as text and as JSON."""

from __future__ import annotations

import contextlib
import sys

from bindcheck._version import __version__
from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.notes import say
from bindcheck.cli.output import print_lines, write
from bindcheck.cli.report import status_of
from bindcheck.conclusion import conclude
from bindcheck.errors import UsageError
from bindcheck.model import Report
from bindcheck.render import Line, remedy_lines, report_lines
from bindcheck.sanitize import sanitize
from bindcheck.wording.owners import owner_lines
from bindcheck.wording.terms import program_of, who

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from bindcheck.model import Examination, Process, Remedy
    from bindcheck.observe import Observer
    from bindcheck.rules.stop_plan import StopPlan


class Talk:
    """The words of one run."""

    def __init__(self, requested: str, arguments: argparse.Namespace) -> None:
        self._requested = requested
        self._arguments = arguments
        self._processes: tuple[Process, ...] = ()

    def already_free(self, observer: Observer, seen: Sequence[Examination]) -> int:
        """The port is nobody's."""
        line = Line(f"{self._names(seen)} can be bound: nobody has to be stopped")
        return self._end("already-free", ExitCode.BINDABLE, observer, seen, [line])

    def no_help(self, observer: Observer, seen: Sequence[Examination]) -> int:
        """The bind fails for something else than a program."""
        note = "stopping a program does not help here"
        return self._end("no-help", None, observer, seen, note=note)

    def nobody(self, observer: Observer, seen: Sequence[Examination]) -> int:
        """What is in the way is nobody's."""
        note = "no program has it: there is nobody to stop"
        return self._end("nobody", None, observer, seen, note=note)

    def refused(
        self,
        plan: StopPlan,
        observer: Observer,
        seen: Sequence[Examination],
        privileged: Sequence[str] | None,
    ) -> int:
        """It must not be ended by a signal, or is not seen."""
        owners = dict.fromkeys(
            who(one.owner) for seen_one in seen for one in conclude(seen_one).blockers
        )
        head = f"{self._names(seen)}: {', '.join(owners)} is not stopped like this"
        lines = [Line(head, "bold yellow"), Line("why")]
        lines += [Line(one.text, indent=2) for one in plan.refusals]
        lines += self._owners(seen)
        remedies = [one for refusal in plan.refusals for one in refusal.remedies]
        lines += remedy_lines(remedies, observer.facts.system)
        if plan.hidden and privileged:
            lines += [Line("to see who has it"), _as_root(privileged)]
        unseen = plan.hidden and not remedies
        code = ExitCode.UNKNOWN if unseen else ExitCode.REFUSED
        reasons = [one.text for one in plan.refusals]
        return self._end(
            "refused", code, observer, seen, lines, remedies=remedies, reasons=reasons
        )

    def would(
        self,
        plan: StopPlan,
        number: int,
        observer: Observer,
        seen: Sequence[Examination],
    ) -> int:
        """--dry-run."""
        self._processes = plan.signalled
        head = f"would send {_signal_name(number)} to {_programs(plan.signalled)}"
        lines = [Line(head, "bold"), *self._owners(seen)]
        return self._end("would-signal", ExitCode.BINDABLE, observer, seen, lines)

    def ask(
        self,
        plan: StopPlan,
        number: int,
        observer: Observer,
        seen: Sequence[Examination],
    ) -> bool:
        """Show who it is, and ask.

        Raises:
            UsageError: there is nobody to ask.
        """
        del observer
        can_ask = sys.stdin is not None and sys.stdin.isatty()
        if self._arguments.json or not can_ask:
            raise UsageError(
                f"stop: {_programs(plan.signalled)} has the port; nobody can be asked "
                "here: add --yes, or --dry-run"
            )
        head = Line(f"{_programs(plan.signalled)} has {self._names(seen)}", "bold")
        print_lines([head, *self._owners(seen)], color=not self._arguments.no_color)
        return _answer(f"send {_signal_name(number)} to {_programs(plan.signalled)}?")

    def declined(self) -> int:
        """The answer was no."""
        write("nothing was done\n")
        return ExitCode.BLOCKED

    def changed(self, observer: Observer, seen: Sequence[Examination]) -> int:
        """Between the look and the signal."""
        note = "who has the port changed meanwhile: nothing was done"
        return self._end("changed", None, observer, seen, note=note)

    def not_signalled(self, why: str, privileged: Sequence[str] | None) -> int:
        """The system, or the process itself, was in the way."""
        lines = [Line(f"{why}; no signal was sent", "bold red")]
        if privileged:
            lines += [Line("what helps"), _as_root(privileged)]
        return self._end(
            "not-signalled", ExitCode.BLOCKED, None, (), lines, reasons=[why]
        )

    def sent(self, processes: tuple[Process, ...], number: int) -> None:
        """A signal is on its way."""
        self._processes = processes
        self._note(f"sent {_signal_name(number)} to {_programs(processes)}")

    def offer_kill(self, deaf: Sequence[Process]) -> bool:
        """Ask whether to end it for good; only a person is asked."""
        if self._arguments.yes or self._arguments.json:
            return False
        return _answer(
            f"it is still held after {self._arguments.timeout:g} s; end "
            f"{_programs(deaf)} with KILL? It cannot save anything then."
        )

    def stopped(
        self,
        plan: StopPlan,
        observer: Observer,
        seen: Sequence[Examination],
        after: float,
    ) -> int:
        """The port is free."""
        self._processes = plan.signalled
        text = f"{self._names(seen)} can be bound now (after {after:.1f} s)"
        lines = [Line(text, "bold green")]
        return self._end("stopped", ExitCode.BINDABLE, observer, seen, lines)

    def ended(self, observer: Observer, seen: Sequence[Examination]) -> int:
        """The program is gone, and something of it is left."""
        note = f"{_programs(self._processes)} ended; what is left is told above"
        return self._end("ended", None, observer, seen, note=note)

    def still_held(self, observer: Observer, seen: Sequence[Examination]) -> int:
        """It did not end, or left something."""
        note = "the port is not free yet"
        if self._arguments.signal is None:
            again = f"bindcheck stop --signal KILL {sanitize(self._requested)}"
            note += f"; a program that does not hear TERM: {again}"
        return self._end("still-held", None, observer, seen, note=note)

    def started_again(self, observer: Observer, seen: Sequence[Examination]) -> int:
        """Somebody else has it."""
        note = (
            f"{_programs(self._processes)} ended, and another process took the port: "
            f"something starts it again{_parents(seen)}; stop that"
        )
        return self._end("started-again", None, observer, seen, note=note)

    def _names(self, seen: Sequence[Examination]) -> str:
        texts = [sanitize(one.attempt.target.text) for one in seen]
        return " and ".join(dict.fromkeys(texts))

    def _owners(self, seen: Sequence[Examination]) -> list[Line]:
        found = {}
        for one in seen:
            for blocker in conclude(one).blockers:
                port = blocker.socket.local.port
                for text in owner_lines(blocker.owner, one.snapshot, port):
                    found[text] = Line(text, indent=2)
        return list(found.values())

    def _end(
        self,
        outcome: str,
        code: ExitCode | None,
        observer: Observer | None,
        seen: Sequence[Examination],
        lines: Sequence[Line] | None = None,
        *,
        note: str | None = None,
        remedies: Sequence[Remedy] = (),
        reasons: Sequence[str] = (),
    ) -> int:
        """Print it; without lines the diagnosis, whose status counts then."""
        results = tuple(conclude(one) for one in seen)
        context = (observer or _observer()).context()
        report = Report(context=context, results=results)
        if code is None:
            code = status_of(report)
        if self._arguments.json:
            write(self._json(outcome, report, remedies, reasons))
            return code
        if lines is None:
            quiet, verbose = self._arguments.quiet, self._arguments.verbose
            lines = report_lines(report, quiet=quiet, verbose=verbose)
        elif self._arguments.quiet:
            lines = lines[:1]
        print_lines(lines, color=not self._arguments.no_color)
        if note:
            sys.stdout.flush()
            self._note(note)
        return code

    def _note(self, text: str) -> None:
        if not self._arguments.quiet:
            say(text)

    def _json(
        self,
        outcome: str,
        report: Report,
        remedies: Sequence[Remedy],
        reasons: Sequence[str],
    ) -> str:
        import json

        from bindcheck.jsonform import SCHEMA, process_to_dict, remedy_to_dict, to_dict

        answer = {
            "schema": SCHEMA,
            "version": __version__,
            "requested": self._requested,
            "outcome": outcome,
            "reasons": list(reasons),
            "processes": [process_to_dict(one) for one in self._processes],
            "remedies": [remedy_to_dict(one) for one in remedies],
            "report": to_dict(report),
        }
        return json.dumps(answer, indent=2) + "\n"


def _observer() -> Observer:
    from bindcheck.observe import Observer

    return Observer()


def _as_root(command: Sequence[str]) -> Line:
    import shlex

    return Line(shlex.join(["sudo", *command]), "cyan", 2, wrap=False)


def _programs(processes: Sequence[Process]) -> str:
    return ", ".join(f"{program_of(one)} (pid {one.pid})" for one in processes)


def _parents(seen: Sequence[Examination]) -> str:
    """Above the one that has it now, where that is no program of the system's."""
    found = {
        f"{sanitize(process.parent_name)} ({process.parent})"
        for one in seen
        for blocker in conclude(one).blockers
        for process in blocker.owner.processes
        if process.parent_name and process.parent not in (None, 1)
    }
    return f", maybe {', '.join(sorted(found))}" if found else ""


def _signal_name(number: int) -> str:
    import signal

    return signal.Signals(number).name.removeprefix("SIG")


def _answer(question: str) -> bool:
    """Ask on the terminal; the end of the input is a no."""
    sys.stdout.flush()
    _forget_what_was_typed()
    with _told_of_signals() as told:
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        if told is not None:
            import select

            select.select([sys.stdin, told], [], [])
        answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")


@contextlib.contextmanager
def _told_of_signals() -> Iterator[int | None]:
    """A descriptor that a signal makes readable: Ctrl-C may come right before a read.

    That would wait on then, because only a call that has begun is interrupted.
    """
    if sys.platform == "win32":
        yield None
    else:  # type checkers leave the other system's branch out
        import os
        import signal

        told, tell = os.pipe()
        os.set_blocking(tell, False)
        before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        try:
            yield told
        finally:
            signal.set_wakeup_fd(before)
            os.close(told)
            os.close(tell)


def _forget_what_was_typed() -> None:
    """An answer that was typed before the question is none to it."""
    if sys.platform != "win32":
        import termios

        with contextlib.suppress(termios.error):
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
