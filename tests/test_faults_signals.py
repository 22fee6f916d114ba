"""A signal every 100 microseconds, whose handler restarts no system call (EINTR)."""

from __future__ import annotations

import io
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support import Holder, needs
from tests.support.faults import Answer, blames, call_in_child, run_here

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]

_PERIOD = 0.0001
_TIMES = 10


def in_a_storm(function: Callable[[], list[Answer]]) -> list[Answer]:
    """Call a function in a child that hardly gets through a system call."""
    came = 0

    def count(*_: object) -> None:
        nonlocal came
        came += 1

    def call() -> list[Answer]:
        # Python's handlers are without SA_RESTART.
        signal.signal(signal.SIGALRM, count)
        signal.setitimer(signal.ITIMER_REAL, _PERIOD, _PERIOD)
        answers = function()
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert came > _TIMES
        return answers

    return call_in_child(call)


def verdicts(answer: Answer) -> list[str]:
    return [one["verdict"] for one in answer.results]


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_check(holder: Holder, kind: str) -> None:
    port = holder.bind(kind=kind, listen=kind == "tcp")
    arguments = ["--json", f"127.0.0.1:{port}/{kind}"]
    true = run_here(arguments)
    for answer in in_a_storm(lambda: [run_here(arguments) for _ in range(_TIMES)]):
        assert verdicts(answer) == ["blocked"]
        assert blames(answer) == blames(true)
        assert answer.left == frozenset()


def test_check_of_what_is_free(holder: Holder) -> None:
    port = holder.bind()
    holder.close()
    arguments = ["--json", f"127.0.0.1:{port}", f"localhost:{port}"]
    true = run_here(arguments)
    for answer in in_a_storm(lambda: [run_here(arguments) for _ in range(_TIMES)]):
        assert set(verdicts(answer)) == {"bindable"}
        assert answer.status == true.status == 0


def test_probe(holder: Holder) -> None:
    port = holder.bind(listen=True)
    arguments = ["probe", "--json", "--listen", f"127.0.0.1:{port}", "127.0.0.1:0"]
    for answer in in_a_storm(lambda: [run_here(arguments) for _ in range(_TIMES)]):
        assert [one["ok"] for one in answer.form["attempts"]] == [False, True]


def test_list(holder: Holder) -> None:
    port = holder.bind(listen=True)
    holder.bind(name="udp", kind="udp", port=port)
    arguments = ["list", "--json", str(port)]
    for answer in in_a_storm(lambda: [run_here(arguments) for _ in range(_TIMES)]):
        assert blames(answer) == [
            ("listener", "process", (holder.pid,)),
            ("datagram", "process", (holder.pid,)),
        ]


def test_wait_until_the_time_is_over(holder: Holder) -> None:
    port = holder.bind(listen=True)
    arguments = ["wait", "--json", "--timeout", "0.2", f"127.0.0.1:{port}"]
    (answer,) = in_a_storm(lambda: [run_here(arguments)])
    assert answer.status == 1
    assert answer.form["timed_out"] is True


def test_wait_until_it_is_free(holder: Holder) -> None:
    """The holder is ended when it is said that it is waited for."""
    port = holder.bind(listen=True)

    class Ending(io.StringIO):
        def write(self, text: str) -> int:
            if "waiting for" in text:
                os.kill(holder.pid, signal.SIGKILL)
            return super().write(text)

    arguments = ["wait", "--json", f"127.0.0.1:{port}"]
    (answer,) = in_a_storm(lambda: [run_here(arguments, Ending())])
    assert answer.status == 0
    assert answer.form["timed_out"] is False
