"""The command in a child in which something fails, compared with what is true."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pickle
import select
import signal
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.child import Result, import_everything

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.holder import Holder

_PIPE = 3
_MOST_DESCRIPTORS = 64


@dataclass(frozen=True)
class Answer:
    """What one run of the command gave."""

    status: int
    out: str
    err: str
    left: frozenset[int]
    """Descriptors that were not closed."""

    @property
    def form(self) -> dict[str, Any]:
        """The JSON that it printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def results(self) -> list[dict[str, Any]]:
        """The diagnoses in it."""
        form = self.form
        found: list[dict[str, Any]] = form.get("report", form)["results"]
        return found

    @property
    def limits(self) -> list[dict[str, Any]]:
        """What it says that it could not see."""
        if "limits" in self.form:
            return list(self.form["limits"])
        return [limit for one in self.results for limit in one["limits"]]


@dataclass(frozen=True)
class Asked:
    """What is true, and what is said where something fails."""

    before: Answer
    after: Answer


def ask(
    arguments: Sequence[str], prepare: Callable[[], object], *, seconds: float = 60.0
) -> Asked:
    """Run the command here, and in a child after `prepare`."""
    before = run_here(arguments)
    (after,) = run_in_child([arguments], prepare, seconds=seconds)
    return Asked(before, after)


def run_in_child(
    commands: Sequence[Sequence[str]],
    prepare: Callable[[], object],
    *,
    seconds: float = 60.0,
) -> list[Answer]:
    """Run commands in a child after `prepare`; see call_in_child()."""

    def run_them() -> list[Answer]:
        prepare()
        return [run_here(one) for one in commands]

    return call_in_child(run_them, seconds=seconds)


def call_in_child(function: Callable[[], Result], *, seconds: float = 60.0) -> Result:
    """Call a function in a child that has the standard descriptors and one more, 3.

    `seconds` are a net under a test that would not end. What is imported when it is
    first needed is to be imported before: run the commands once with run_here().
    """
    import_everything()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, _PIPE)
        os.closerange(_PIPE + 1, 1 << 16)
        os.write(_PIPE, _result_of(function))
        os._exit(0)
    os.close(writer)
    raw = bytearray()
    while select.select([reader], [], [], seconds)[0]:
        part = os.read(reader, 1 << 16)
        if not part:
            break
        raw += part
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"bindcheck hung or crashed: {status}"
    ok, result = pickle.loads(raw)  # noqa: S301 - our own child
    assert ok, result
    return result  # type: ignore[no-any-return]


def _result_of(function: Callable[[], object]) -> bytes:
    try:
        return pickle.dumps((True, function()))
    except BaseException:  # noqa: BLE001 - all of it goes to the parent
        return pickle.dumps((False, traceback.format_exc()))


def run_here(arguments: Sequence[str], err: io.StringIO | None = None) -> Answer:
    """Run the command in this process."""
    from bindcheck.cli.main import run

    out, err = io.StringIO(), err or io.StringIO()
    open_before = _descriptors()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(arguments)
    left = _descriptors() - open_before
    return Answer(int(status), out.getvalue(), err.getvalue(), left)


def _descriptors() -> frozenset[int]:
    return frozenset(filter(_is_open, range(_MOST_DESCRIPTORS)))


def _is_open(number: int) -> bool:
    try:
        fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def blames(answer: Answer) -> list[tuple[str, str, tuple[int, ...]]]:
    """Who is said to have what: kind, kind of owner, pids."""
    form = answer.form
    if "sockets" in form:
        found = form["sockets"]
    else:
        found = [blocker for one in answer.results for blocker in one["blockers"]]
    return [
        (
            one["kind"],
            one["owner"]["kind"],
            tuple(process["pid"] for process in one["owner"]["processes"]),
        )
        for one in found
    ]


def nobody_is_wronged(asked: Asked, holder: Holder) -> None:
    """Who is named is the holder, under its name; who is not may be hidden."""
    named = {
        process["name"]
        for one in _owners(asked.before)
        for process in one["processes"]
        if process["pid"] == holder.pid
    }
    for owner in _owners(asked.after):
        assert owner["kind"] in ("process", "hidden")
        for process in owner["processes"]:
            assert process["pid"] == holder.pid
            assert process["name"] in (*named, "")  # or it could not be read


def _owners(answer: Answer) -> list[dict[str, Any]]:
    form = answer.form
    if "sockets" in form:
        return [one["owner"] for one in form["sockets"]]
    return [
        blocker["owner"]
        for one in answer.results
        for blocker in one["blockers"]
        if blocker["kind"] != "stale-socket-file"  # not a claim about anybody
    ]
