"""`bindcheck wait` as people and scripts meet it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import NOBODY, Holder, as_user, needs
from tests.support.leftovers import leave_time_wait
from tests.support.terminal import BINDCHECK, CURSOR_SHOWN, Terminal, environment

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]
LOOPBACK = "127.0.0.1"

if TYPE_CHECKING:
    from pathlib import Path


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*BINDCHECK, *arguments],
        env=environment({"COLUMNS": "400"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


class TestCommand:
    """`bindcheck wait`."""

    def test_one_line_then_the_answer(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        target = f"{LOOPBACK}:{port}"
        with started("wait", target) as process:
            said = first_line(process)
            holder.close()
            out, err = process.communicate()
        assert said.startswith(f"bindcheck: waiting for {target}/tcp: ")
        assert f"(pid {holder.pid}) listens there" in said
        assert (process.returncode, out, err) == (0, f"{target}/tcp can be bound\n", "")

    def test_each_thing_that_is_waited_for_has_a_line(self, holder: Holder) -> None:
        ports = [holder.bind(listen=True, name=name) for name in ("one", "two")]
        targets = [f"{LOOPBACK}:{port}" for port in ports]
        with started("wait", *targets) as process:
            assert targets[0] in first_line(process)
            holder.close("one")
            assert targets[1] in first_line(process)
            holder.close("two")
            process.communicate()
        assert process.returncode == 0

    def test_script_without_a_first_line(self, holder: Holder, tmp_path: Path) -> None:
        """As env(1) runs it: by the shell."""
        port = holder.bind()
        holder.close()
        script = tmp_path / "script"
        script.write_text('echo "$1"')
        script.chmod(0o755)
        done = started("wait", f"{LOOPBACK}:{port}", "--", str(script), "a b")
        assert done.communicate() == ("a b\n", "")

    def test_command_takes_its_place(self, holder: Holder) -> None:
        """With its pid, its streams and its status."""
        port = holder.bind(listen=True)
        shell = 'echo "$$ $1"; trap "" PIPE; kill -s PIPE $$; exit 7'
        with started(
            *("wait", f"{LOOPBACK}:{port}", "--", "sh", "-c", shell, "sh", "a  b")
        ) as process:
            first_line(process)
            holder.close()
            out, err = process.communicate()
        assert (process.returncode, out, err) == (7, f"{process.pid} a  b\n", "")

    def test_command_dies_of_a_closed_pipe(self, holder: Holder) -> None:
        """Python ignores SIGPIPE; what it becomes must not."""
        port = holder.bind()
        holder.close()
        done = started(
            *("wait", f"{LOOPBACK}:{port}", "--", "sh", "-c", "kill -s PIPE $$")
        )
        done.communicate()
        assert done.returncode == -signal.SIGPIPE

    def test_command_that_is_not_there_is_said_first(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        done = started("wait", f"{LOOPBACK}:{port}", "--", "no-such-program")
        out, err = done.communicate()
        assert (done.returncode, out) == (2, "")
        assert err == "bindcheck: --: no program 'no-such-program' that can be run\n"

    def test_timeout_gives_the_diagnosis(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        done = started("wait", "--timeout", "0.05", f"{LOOPBACK}:{port}", "--", "true")
        out, err = done.communicate()
        assert done.returncode == 1
        assert f"{LOOPBACK}:{port}/tcp cannot be bound: " in out
        assert f"kill {holder.pid}" in out
        assert err.splitlines()[-1] == "bindcheck: gave up after 0.05 s"

    @needs("root")
    def test_privileged_port_is_said_at_once(self) -> None:
        from bindcheck.cli.main import run

        def as_nobody() -> int:
            return run(["wait", f"{LOOPBACK}:81"])

        assert as_user(NOBODY, as_nobody) == 1

    def test_json(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        with started("wait", "--json", f"{LOOPBACK}:{port}") as process:
            first_line(process)
            holder.close()
            out, _ = process.communicate()
        answer = json.loads(out)
        assert (answer["ok"], answer["timed_out"]) == (True, False)
        assert answer["report"]["results"][0]["verdict"] == "bindable"
        assert isinstance(answer["waited_ms"], int)

    def test_quiet(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        done = started("wait", "-q", "--timeout", "0", f"{LOOPBACK}:{port}")
        out, err = done.communicate()
        assert (done.returncode, err) == (1, "")
        assert len(out.splitlines()) == 1

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            (["--timeout", "soon", "8080"], "'soon' is no number of seconds"),
            (["--timeout", "nan", "8080"], "'nan'"),
            (["--timeout", "-1", "8080"], "--timeout"),
            (["8080", "--"], "the command to run is missing"),
            (["--", "true"], "no target"),
            (["70000"], "70000"),
        ],
    )
    def test_bad_input(self, arguments: list[str], part: str) -> None:
        done = started("wait", *arguments)
        out, err = done.communicate()
        assert (done.returncode, out) == (2, "")
        assert part in err
        assert err.count("\n") == 1


class TestTerminal:
    """What a person sees while waiting."""

    @pytest.mark.parametrize("width", [80, 30])
    def test_reason_and_time_in_one_row(self, holder: Holder, width: int) -> None:
        port = holder.bind(listen=True)
        with Terminal("wait", f"{LOOPBACK}:{port}", width=width) as terminal:
            terminal.read_until("1 s")
            holder.close()
            assert terminal.read_all() == 0
            rows = terminal.plain.split("\r")
        assert any(row.startswith("waiting for ") for row in rows)
        assert all(len(row.rstrip("\n")) <= width for row in rows[:-1])
        answer = re.escape(f"{LOOPBACK}:{port}/tcp can be bound")
        assert re.search(rf"{answer} \(after \d+ s\)$", " ".join(rows[-1].split()))
        assert terminal.shown.index(CURSOR_SHOWN)

    def test_bar_with_the_remaining_time(self, holder: Holder) -> None:
        port, _ = leave_time_wait(holder)
        with Terminal("wait", f"{LOOPBACK}:{port}", width=80) as terminal:
            terminal.read_until("59 s left")
            terminal.type("\x03")
            assert terminal.read_all() == -signal.SIGINT
        assert "TIME_WAIT" in terminal.plain
        assert "━" in terminal.plain
        assert terminal.shown.rindex(CURSOR_SHOWN) > terminal.shown.rindex("\x1b[?25l")
        assert "Traceback" not in terminal.plain

    def test_sigterm_leaves_the_cursor(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        with Terminal("wait", f"{LOOPBACK}:{port}", width=80) as terminal:
            terminal.read_until("listens there")
            os.kill(terminal.pid, signal.SIGTERM)
            assert terminal.read_all() == 128 + signal.SIGTERM
        assert terminal.shown.rindex(CURSOR_SHOWN) > terminal.shown.rindex("\x1b[?25l")

    def test_no_colours_where_none_are_wanted(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        with Terminal("wait", "--no-color", f"{LOOPBACK}:{port}") as terminal:
            terminal.read_until("listens there")
            holder.close()
            assert terminal.read_all() == 0
        assert "\x1b[3" not in terminal.shown
        assert "\x1b[1m" not in terminal.shown
