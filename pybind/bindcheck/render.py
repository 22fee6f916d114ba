"""A report as text for a person in trouble: the answer, the error, why, what helps.

Builds plain lines with a style each. The same lines go to a terminal in colour and to a
pipe without. Prose is wrapped, commands never.
"""

from __future__ import annotations

from bindcheck.options import option_name
from bindcheck.records import record
from bindcheck.rules.ownership import may_have_others
from bindcheck.sanitize import sanitize
from bindcheck.wording.terms import duration, endpoint_of, quoted, who
from bindcheck.words import CauseCode, Certainty, Family, OwnerKind, Verdict

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bindcheck.model import Attempt, Cause, Diagnosis, NativeCode, Remedy, Report

# What an unreadable process table hides is worth a line only where it hides the answer.
_QUIET_LIMITS = frozenset(
    {"processes-unreadable", "pid-namespace", "sockets-not-asked", "nat-rules-unread"}
)
_MOST_ALIKE = 4
_COLOURS = {
    Verdict.BINDABLE: "bold green",
    Verdict.TRANSIENT: "bold green",
    Verdict.CONDITIONAL: "bold yellow",
    Verdict.BLOCKED: "bold red",
    Verdict.UNKNOWN: "bold magenta",
}


@record(frozen=True, slots=True)
class Line:
    """One line of output, or where `wrap` is False several with line ends between.

    `wrap` is False for what will be pasted, and for tables.
    """

    text: str
    style: str = ""
    indent: int = 0
    wrap: bool = True


def report_lines(
    report: Report,
    *,
    privileged_command: Sequence[str] | None = None,
    verbose: bool = False,
    quiet: bool = False,
) -> list[Line]:
    """Lay a report out.

    Args:
        report: what to show.
        privileged_command: the command that would show hidden pids when run as root,
            without "sudo".
        verbose: show every limit and all remedies.
        quiet: only the answers.
    """
    lines: list[Line] = []
    for group in _merged(report.results):
        if lines and not quiet:
            lines.append(Line(""))
        head = _headline(group)
        lines.append(Line(head.text, head.style, wrap=not quiet))
        if not quiet:
            lines += _body(group, report, privileged_command, verbose=verbose)
    return lines


def native_line(attempt: Attempt) -> str:
    """An attempt in one line, as the verb `probe` prints it."""
    text = attempt.target.text
    if attempt.error is None:
        chosen = _chosen(attempt)
        return f"{text} ok" + (f" ({chosen})" if chosen else "")
    argument = f" {attempt.argument}" if attempt.argument else ""
    return f"{text} {attempt.step}{argument}: {native_error(attempt.error)}"


def wrap(line: Line, width: int) -> list[str]:
    """Break a line at blanks; continuation lines are indented two further."""
    indent = " " * line.indent
    if not line.wrap or line.indent + cells(line.text) <= width:
        return [indent + line.text]
    rows: list[str] = []
    row, room = "", width - line.indent
    for word in line.text.split(" "):
        longer = f"{row} {word}" if row else word
        if row and cells(longer) > room:
            rows.append(row)
            row, room = word, width - line.indent - 2
        else:
            row = longer
    rows.append(row)
    return [indent + ("  " if number else "") + one for number, one in enumerate(rows)]


def cells(text: str) -> int:
    """How many columns a text takes; wide characters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(one) else 1 + (east_asian_width(one) in "WF") for one in text
    )


def _merged(results: Sequence[Diagnosis]) -> Iterator[list[Diagnosis]]:
    """Put together what says the same of several addresses of one request."""
    groups: dict[tuple[object, ...], list[Diagnosis]] = {}
    for one in results:
        groups.setdefault(_same(one), []).append(one)
    yield from groups.values()


def _same(one: Diagnosis) -> tuple[object, ...]:
    return (
        one.requested,
        one.verdict,
        one.attempt.step,
        one.attempt.error,
        tuple(cause.code for cause in one.causes),
        tuple(
            (
                blocker.kind,
                blocker.socket.inode,
                blocker.socket.cookie,
                blocker.socket.pid,
            )
            for blocker in one.blockers
        ),
        tuple((*trial.changed.items(), trial.ok) for trial in one.trials),
        one.target.address is None,
        tuple(notice.code for notice in one.limits),
        one.next_errors == (),
    )


def _headline(group: Sequence[Diagnosis]) -> Line:
    first = group[0]
    name = " and ".join(_short(group))
    style = _COLOURS[first.verdict]
    text = {
        Verdict.BINDABLE: f"{name} can be bound",
        Verdict.TRANSIENT: f"{name} can be bound now; a moment ago it could not",
        Verdict.CONDITIONAL: f"{name} can be bound only with SO_REUSEADDR",
        Verdict.UNKNOWN: f"could not find out whether {name} can be bound",
        Verdict.BLOCKED: f"{name} cannot be bound",
    }[first.verdict]
    if first.verdict is Verdict.BLOCKED:
        text += _because(first)
    elif first.verdict is Verdict.BINDABLE and _chosen(first.attempt):
        text += f" (the system chose {_chosen(first.attempt)}, which is free again)"
    if first.verdict is Verdict.BINDABLE and not first.attempt.native:
        how = "predicted: trying could take traffic from the holder"
        text += f" ({_how_asked(first.attempt) or how})"
    return Line(text, style)


def _how_asked(attempt: Attempt) -> str:
    """How a path was asked about that was not called."""
    if attempt.target.path is None:
        return ""
    from bindcheck.wording.unix import how_asked

    return how_asked(attempt)


def _chosen(attempt: Attempt) -> str:
    """What the system chose where the caller left it to it."""
    target, bound = attempt.target, attempt.bound
    if bound is None or target.port or (target.packed.strip(b"\0") and target.path):
        return ""
    return bound.address if target.path else f"port {bound.port}"


def _short(group: Sequence[Diagnosis]) -> list[str]:
    """The targets; the protocol is said once."""
    texts = [sanitize(one.target.text) for one in group]
    if group[0].target.family in (Family.UNIX, Family.VSOCK):
        return texts
    suffix = f"/{group[0].target.protocol}"
    return [text.removesuffix(suffix) for text in texts[:-1]] + texts[-1:]


def _because(one: Diagnosis) -> str:
    cause = one.causes[0]
    if cause.code is CauseCode.TIME_WAIT:
        after = one.blockers[cause.blockers[0]].release.after_ms
        if after is not None:
            return f" for about {duration(after / 1000)}: {cause.summary}"
    return f": {cause.summary}"


def _body(
    group: Sequence[Diagnosis],
    report: Report,
    privileged_command: Sequence[str] | None,
    *,
    verbose: bool,
) -> list[Line]:
    first = group[0]
    lines: list[Line] = []
    attempt = first.attempt
    if attempt.error is not None:
        step = str(attempt.step) + (f" {attempt.argument}" if attempt.argument else "")
        how = _how_asked(attempt) or "predicted, not called"
        predicted = "" if attempt.native else f" ({how})"
        lines.append(
            Line(f"{step}: {native_error(attempt.error)}{predicted}", "dim", 2)
        )
    lines += _why(group)
    lines += _next_errors(first)
    lines += _remedies(first, report.context.platform)
    lines += _limits(first, verbose=verbose)
    # A socket of another network namespace is hidden from root as well.
    hidden = any(
        (one.owner.kind is OwnerKind.HIDDEN and one.socket.inode)
        or may_have_others(one.owner, first.limits)
        for one in first.blockers
    )
    if hidden and privileged_command:
        import shlex

        lines.append(Line("to see the pid"))
        command = shlex.join(["sudo", *privileged_command])
        lines.append(Line(command, "cyan", 2, wrap=False))
    return lines


def _why(group: Sequence[Diagnosis]) -> list[Line]:
    first = group[0]
    lines: list[str] = []
    for index, cause in enumerate(first.causes):
        if index:
            lines.append(f"also: {cause.summary}{_doubt(cause)}")
        # What differs between the addresses stands together: their first lines do.
        evidence = [one.causes[index].evidence for one in group]
        longest = max(len(one) for one in evidence)
        lines += [
            one[row] for row in range(longest) for one in evidence if row < len(one)
        ]
    tried = _tried(first)
    if tried:
        lines.append(tried)
    if not lines:
        return []
    doubt = _doubt(first.causes[0]) if first.causes else ""
    return [
        Line(f"why{doubt}"),
        *(Line(text, "", 2) for text in dict.fromkeys(lines)),
    ]


def _doubt(cause: Cause) -> str:
    return "" if cause.certainty is Certainty.CERTAIN else f" ({cause.certainty})"


def _tried(one: Diagnosis) -> str:
    """The trials of options in one line, with their native results."""
    parts = []
    for trial in one.trials:
        if "address" in trial.changed:
            continue  # it tells of the holder
        for name, value in trial.changed.items():
            if name in ("port", "protocol") or trial.ok is None:
                continue
            result = (
                "works" if trial.ok else f"{trial.error.code if trial.error else ''}"
            )
            predicted = "" if trial.native else " (predicted)"
            without = "without " if value is False else ""
            parts.append(f"{without}{option_name(name)} {result}{predicted}")
    if not parts:
        return ""
    text = f"tried: {', '.join(parts)}"
    lingering = (CauseCode.TIME_WAIT, CauseCode.CLOSING_CONNECTION)
    refuted = any(
        dict(trial.changed) == {"reuse_address": True} and trial.ok is False
        for trial in one.trials
    )
    if refuted and all(cause.code in lingering for cause in one.causes):
        text += " (SO_REUSEADDR would help only if the old server had set it too)"
    return text


def _next_errors(one: Diagnosis) -> list[Line]:
    lines = []
    for following in one.next_errors:
        why = "" if following.blockers else f" ({following.cause})"
        lines.append(Line(f"and then: {native_error(following.error)}{why}", "yellow"))
        seen = set()
        for index in following.blockers:
            blocker = one.blockers[index]
            text = (
                f"{blocker.kind} on {endpoint_of(blocker.socket)}: {who(blocker.owner)}"
            )
            if text not in seen:
                seen.add(text)
                lines.append(Line(text, "", 2))
    return lines


def _remedies(one: Diagnosis, system: str) -> list[Line]:
    return remedy_lines(
        [remedy for cause in one.causes for remedy in cause.remedies], system
    )


def remedy_lines(remedies: Iterable[Remedy], system: str) -> list[Line]:
    """Lay out what helps, each remedy once; nothing where there is none."""
    unique = tuple(dict.fromkeys(remedies))
    # Each of many programs may have a connection, and a command of its own.
    alike = [one for one in unique if one.action == "stop-holder" and not one.text]
    left_out = set(alike[_MOST_ALIKE:])
    lines: list[Line] = []
    for remedy in unique:
        if remedy in left_out:
            continue
        lines += _remedy(remedy, system)
        if left_out and remedy is alike[_MOST_ALIKE - 1]:
            lines.append(Line(f"and {len(left_out)} more like these", "", 2))
    return [Line("what helps"), *lines] if lines else []


def _remedy(remedy: Remedy, system: str) -> list[Line]:
    if remedy.command is None:
        return [Line(remedy.text, "", 2)]
    command = Line(quoted(remedy.command, system), "cyan", 2, wrap=False)
    if not remedy.text:
        return [command]  # says itself what it does
    return [Line(remedy.text.rstrip(":") + ":", "", 2), command]


def _limits(one: Diagnosis, *, verbose: bool) -> list[Line]:
    hidden = any(
        blocker.owner.kind in (OwnerKind.HIDDEN, OwnerKind.IN_TRANSIT)
        or may_have_others(blocker.owner, one.limits)
        for blocker in one.blockers
    ) or any(cause.code is CauseCode.UNSEEN_BLOCKER for cause in one.causes)
    shown = [
        notice
        for notice in one.limits
        if verbose or hidden or notice.code not in _QUIET_LIMITS
    ]
    if not shown and not one.warnings:
        return []
    return [
        Line("note"),
        *(Line(notice.text, "", 2) for notice in (*one.warnings, *shown)),
    ]


def native_error(error: NativeCode) -> str:
    """An error with its number, name and text."""
    name = f" {error.name}" if error.name else ""
    ours = " (reference text)" if error.reference else ""
    return f'{error.code}{name} "{sanitize(error.message)}"{ours}'
