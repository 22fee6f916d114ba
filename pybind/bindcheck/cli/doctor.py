"""The verb `doctor`: what can be seen here, and what would widen it."""

from __future__ import annotations

from bindcheck._version import __version__
from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.output import print_lines, privileged_command, write
from bindcheck.doctor.checks import Group
from bindcheck.doctor.examine import examine_here
from bindcheck.observe import Observer
from bindcheck.render import Line

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from typing import Any

    from bindcheck.doctor.checks import Check
    from bindcheck.model import Context

_MARKS = {True: "ok", False: "no", None: "? "}
_STYLES = {True: "", False: "yellow", None: ""}


def run(arguments: argparse.Namespace) -> ExitCode:
    """Try everything, and print what works and what does not."""
    observer = Observer()
    checks = examine_here(observer)
    if arguments.json:
        import json

        write(json.dumps(_to_dict(observer.context(), checks), indent=2) + "\n")
    else:
        lines = [_headline(checks)]
        if not arguments.quiet:
            lines += _everything(checks) if arguments.verbose else _missing(checks)
            lines += _to_see_more(checks)
        print_lines(lines, color=not arguments.no_color)
    return ExitCode.BLOCKED if _count(checks) else ExitCode.BINDABLE


def _count(checks: Sequence[Check]) -> int:
    """How many things that matter cannot be seen."""
    return sum(one.ok is False for one in checks)


def _headline(checks: Sequence[Check]) -> Line:
    from bindcheck.wording.terms import plural

    count = _count(checks)
    if count:
        calls = any(one.ok is False and one.group is Group.CALL for one in checks)
        what = "see or do" if calls else "see"
        return Line(
            f"bindcheck cannot {what} {plural(count, 'thing')} here", "bold yellow"
        )
    if not all(one.tried for one in checks):
        return Line("bindcheck sees everything that could be tried here", "bold yellow")
    partly = any(one.ok is None and not one.is_setting for one in checks)
    what = "everything that matters" if partly else "everything"
    return Line(f"bindcheck sees {what} here", "bold green")


def _missing(checks: Sequence[Check]) -> list[Line]:
    """What is missing, and in a few words what works."""
    lines: list[Line] = []
    for ok in (False, None):
        for one in checks:
            if one.ok is ok and not one.is_setting:
                lines += _lines(one)
    works = [one.summary for one in checks if one.ok and one.summary]
    if works:
        lines.append(Line(f"ok  {', '.join(works)}", "", 2))
    more = "-v shows every check, and the settings that explain results"
    lines.append(Line(more, "dim"))
    return lines


def _everything(checks: Sequence[Check]) -> list[Line]:
    lines: list[Line] = []
    for group in dict.fromkeys(one.group for one in checks):
        lines.append(Line(str(group)))
        for one in checks:
            if one.group is group:
                lines += _lines(one)
    return lines


def _lines(check: Check) -> Iterator[Line]:
    text = f"{check.title}: {check.text}"
    if check.is_setting:
        yield Line(text, "", 2)
        return
    yield Line(f"{_MARKS[check.ok]}  {text}", _STYLES[check.ok], 2)
    if check.widen and not check.ok:
        yield Line(check.widen, "", 6)


def _to_see_more(checks: Sequence[Check]) -> list[Line]:
    """The commands, to be pasted one after the other."""
    import shlex

    missing = [one for one in checks if not one.ok]
    commands = [shlex.join(one.command) for one in missing if one.command]
    privileged = privileged_command(["doctor"])
    if privileged and any(one.as_root for one in missing):
        commands.append(shlex.join(["sudo", *privileged]))
    if not commands:
        return []
    lines = [Line(one, "cyan", 2, wrap=False) for one in dict.fromkeys(commands)]
    return [Line("to see more"), *lines]


def _to_dict(context: Context, checks: Sequence[Check]) -> dict[str, Any]:
    from bindcheck.jsonform import SCHEMA, context_to_dict

    return {
        "schema": SCHEMA,
        "version": __version__,
        "context": context_to_dict(context),
        "checks": [
            {"name": one.name, "ok": one.ok, "text": one.text, "widen": one.widen}
            for one in checks
        ],
    }
