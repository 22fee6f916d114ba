"""Waiting for a port: real sockets, the kernel's word of their end, no bind in a loop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native, waiting
from bindcheck.model import Options
from bindcheck.observe import Observer
from bindcheck.target import parse
from bindcheck.words import CauseCode, Protocol, Verdict
from tests.support import NOBODY, Holder, as_user, needs
from tests.support.destroy import destroy
from tests.support.terminal import BINDCHECK, CURSOR_SHOWN, Terminal, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bindcheck.model import Attempt, Diagnosis, Target
    from bindcheck.waiting import Waited

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]
LOOPBACK = "127.0.0.1"
PATIENCE = 30.0
NEVER = 3600.0


def wait(
    *targets: str, free: Callable[[], object], options: Options | None = None
) -> tuple[Waited, list[CauseCode]]:
    """Wait; once it sleeps `free` is called. Also what it has waited for."""
    reasons: list[CauseCode] = []

    def tell(diagnosis: Diagnosis, _: float | None) -> float:
        reasons.append(diagnosis.causes[0].code)
        if len(reasons) == 1:
            free()
        return NEVER

    waited = waiting.wait(
        [parse(one) for one in targets],
        options or Options(),
        Observer(),
        time.monotonic() + PATIENCE,
        tell,
    )
    return waited, reasons


class TestEnds:
    """What makes it look again."""

    @pytest.mark.parametrize(
        ("made", "code"),
        [
            ({"listen": True}, CauseCode.LISTENER),
            ({}, CauseCode.BOUND),
            ({"kind": "mptcp", "listen": True}, CauseCode.LISTENER),
        ],
        ids=["listener", "bound", "mptcp"],
    )
    def test_socket_is_closed(
        self, holder: Holder, made: dict[str, object], code: CauseCode
    ) -> None:
        port = holder.bind(**made)  # type: ignore[arg-type]
        waited, reasons = wait(f"{LOOPBACK}:{port}", free=holder.close)
        assert (waited.ok, waited.late, reasons) == (True, False, [code])

    @needs("IPv6")
    def test_ipv6(self, holder: Holder) -> None:
        port = holder.bind("::1", listen=True)
        waited, _ = wait(f"[::1]:{port}", free=holder.close)
        assert waited.ok

    def test_udp(self, holder: Holder) -> None:
        port = holder.bind(kind="udp")
        waited, reasons = wait(f"{LOOPBACK}:{port}/udp", free=holder.close)
        assert (waited.ok, reasons) == (True, [CauseCode.DATAGRAM])

    def test_holder_is_killed(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        assert wait(str(port), free=holder.kill)[0].ok

    def test_suspended_holder_is_killed(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        os.kill(holder.pid, signal.SIGSTOP)
        assert wait(f"{LOOPBACK}:{port}", free=holder.kill)[0].ok

    def test_one_of_two_that_share_it(self, make_holder: Callable[..., Holder]) -> None:
        """The first to exit is not the end of the socket."""
        first = make_holder()
        port = first.bind(listen=True)
        first.run(
            "import subprocess\n"
            "kept['child'] = subprocess.Popen(['cat'], stdin=subprocess.PIPE,"
            " stdout=subprocess.PIPE, pass_fds=[kept['main'].fileno()])\n"
            "result = kept['child'].pid"
        )
        first.close()  # the child keeps it
        child = first.run("result = kept['child'].pid")
        waited, reasons = wait(
            f"{LOOPBACK}:{port}", free=lambda: os.kill(child, signal.SIGKILL)
        )
        assert (waited.ok, reasons) == (True, [CauseCode.LISTENER])

    @needs("root")
    def test_hidden_holder(self, holder: Holder) -> None:
        """The kernel's word needs no right to see who has it."""
        port = holder.bind(listen=True)

        def wait_as_nobody() -> tuple[bool, list[CauseCode]]:
            waited, reasons = wait(f"{LOOPBACK}:{port}", free=holder.close)
            return waited.ok, reasons

        assert as_user(NOBODY, wait_as_nobody) == (True, [CauseCode.LISTENER])

    def test_unix_socket_whose_server_removes_it(
        self, holder: Holder, tmp_path: Path
    ) -> None:
        path = tmp_path / "s"
        holder.run(
            "one = kept['main'] = socket.socket(socket.AF_UNIX)\n"
            f"one.bind({str(path)!r}); one.listen()"
        )

        def stop() -> None:
            path.unlink()
            holder.close()

        waited, reasons = wait(f"unix:{path}", free=stop)
        assert (waited.ok, reasons) == (True, [CauseCode.UNIX_LISTENER])

    def test_unix_socket_whose_file_stays(self, holder: Holder, tmp_path: Path) -> None:
        """Waiting ends: the file will not go away by itself."""
        path = tmp_path / "s"
        holder.run(
            "one = kept['main'] = socket.socket(socket.AF_UNIX)\n"
            f"one.bind({str(path)!r}); one.listen()"
        )
        waited, _ = wait(f"unix:{path}", free=holder.close)
        assert (waited.ok, waited.late) == (False, False)
        report = waiting.report_of(waited, Observer())
        assert report.worst.causes[0].code is CauseCode.STALE_SOCKET_FILE

    @needs("root", "network namespaces")
    def test_time_wait_that_ends_before_its_time(self, holder: Holder) -> None:
        """It is noticed, although no word is said of it."""
        port, client = leave_time_wait(holder)
        waited, reasons = wait(
            f"{LOOPBACK}:{port}",
            free=lambda: destroy((LOOPBACK, port), (LOOPBACK, client)),
        )
        assert (waited.ok, reasons) == (True, [CauseCode.TIME_WAIT])

    def test_time_wait_after_the_server(self, holder: Holder) -> None:
        """A server that had set SO_REUSEADDR leaves nothing that is waited for."""
        port = holder.bind(listen=True, reuse_address=True)
        connect(holder, port)

        def stop() -> None:
            holder.close("accepted")  # first: TIME_WAIT is the server's
            holder.close("client")
            holder.close()

        waited, reasons = wait(f"{LOOPBACK}:{port}", free=stop)
        assert (waited.ok, reasons[0]) == (True, CauseCode.LISTENER)
        rows = bindcheck.sockets(port=port, owners=False)
        assert [str(one.state) for one in rows] == ["time-wait"]

    def test_connections_that_outlive_the_listener(self, holder: Holder) -> None:
        """Without SO_REUSEADDR each that is left is waited for."""
        port = holder.bind(listen=True)
        connect(holder, port)
        holder.close()

        def stop() -> None:
            holder.close("client")
            holder.close("accepted")

        waited, reasons = wait(f"{LOOPBACK}:{port}", free=stop)
        assert (waited.ok, reasons) == (True, [CauseCode.ACCEPTED_CONNECTION])

    def test_somebody_else_is_faster(self, make_holder: Callable[..., Holder]) -> None:
        """A program that is started again has the port again: it is waited for too."""
        first, second = make_holder(), make_holder()
        port = first.bind(listen=True)
        reasons: list[int] = []

        def tell(diagnosis: Diagnosis, _: float | None) -> float:
            reasons.append(diagnosis.blockers[0].owner.processes[0].pid)
            if len(reasons) == 1:
                second.run(
                    "one = kept['main'] = socket.socket()\n"
                    "one.setsockopt(socket.SOL_SOCKET, 15, 1)"
                )
                first.close()
                second.run(f"kept['main'].bind(('127.0.0.1', {port}))")
                second.run("kept['main'].listen()")
            elif reasons[-1] == second.pid:
                second.close()
            return NEVER

        waited = waiting.wait(
            [parse(f"{LOOPBACK}:{port}")],
            Options(),
            Observer(),
            time.monotonic() + PATIENCE,
            tell,
        )
        assert waited.ok
        assert reasons[0] == first.pid

    def test_several_targets(self, holder: Holder) -> None:
        ports = [holder.bind(listen=True, name=name) for name in ("one", "two")]

        def close() -> None:
            holder.close("two")
            holder.close("one")

        waited, _ = wait(*(f"{LOOPBACK}:{port}" for port in ports), free=close)
        assert waited.ok
        assert len(waited.seen) == 2

    @needs("root", "network namespaces", "ip")
    def test_tentative_address(self) -> None:
        """The kernel looks for duplicates for a second, then the address is ready."""
        for line in (
            "link add v0 type veth peer name v1",
            "link set v0 up",
            "link set v1 up",
            "address add fd00::1/64 dev v0",
        ):
            subprocess.run(["ip", *line.split()], check=True)
        waited, reasons = wait("[fd00::1]:8080", free=lambda: None)
        assert waited.ok
        assert reasons in ([], [CauseCode.ADDRESS_TENTATIVE])


def connect(holder: Holder, port: int) -> int:
    """A connection within the holder; its client's port."""
    return int(
        holder.run(
            f"kept['client'] = socket.create_connection(('127.0.0.1', {port}))\n"
            "kept['accepted'] = kept['main'].accept()[0]\n"
            "result = kept['client'].getsockname()[1]"
        )
    )


def leave_time_wait(holder: Holder) -> tuple[int, int]:
    """TIME_WAIT of a server that had not set SO_REUSEADDR: its port, the client's."""
    port = holder.bind(listen=True)
    client = connect(holder, port)
    for name in ("accepted", "client", "main"):
        holder.close(name)
    return port, client


class TestBinds:
    """Bind is not polled: a loop of binds takes the port from who waits for it."""

    def test_once_at_the_end(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = holder.bind(listen=True)
        calls: list[str] = []
        probe = native.probe

        def counted(target: Target, options: Options) -> Attempt:
            calls.append("bind")
            return probe(target, options)

        monkeypatch.setattr(native, "probe", counted)

        def free() -> None:
            calls.clear()
            for _ in range(20):  # what comes and goes on the port wakes nobody
                connect(holder, port)
                holder.close("client")
                holder.close("accepted")
            holder.close()

        waited, _ = wait(f"{LOOPBACK}:{port}", free=free)
        assert waited.ok
        assert calls == ["bind"]

    def test_the_tables_are_not_polled_either(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = holder.bind(listen=True)
        looks: list[int] = []
        listing = native.list_sockets

        def counted(protocol: Protocol, port: int) -> native.Listing:
            looks.append(port)
            return listing(protocol, port)

        def tell(*_: object) -> float:
            looks.clear()
            return NEVER

        monkeypatch.setattr(native, "list_sockets", counted)
        waited = waiting.wait(
            [parse(f"{LOOPBACK}:{port}")],
            Options(),
            Observer(),
            time.monotonic() + 1.0,
            tell,
        )
        assert waited.late
        assert len(looks) < 8  # one when it begins to listen, and the last look

    def test_reuse_address_is_assumed_as_servers_set_it(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        waited, _ = wait(f"{LOOPBACK}:{port}", free=holder.close)
        assert waited.seen[0].attempt.options.reuse_address is True
        said = Options(reuse_address=False)
        port = holder.bind(listen=True)
        waited, _ = wait(f"{LOOPBACK}:{port}", free=holder.close, options=said)
        assert waited.seen[0].attempt.options.reuse_address is False

    def test_nothing_stays_open(self, holder: Holder) -> None:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        port = holder.bind(listen=True)
        wait(f"{LOOPBACK}:{port}", free=holder.close)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


class TestPython:
    """bindcheck.wait_until_bindable()."""

    def test_free_at_once(self, holder: Holder) -> None:
        port = holder.bind()
        holder.close()
        report = bindcheck.wait_until_bindable(("127.0.0.1", port))
        assert report.ok

    def test_the_time_is_over(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        report = bindcheck.wait_until_bindable(f"{LOOPBACK}:{port}", timeout=0.05)
        assert not report.ok
        assert report.worst.causes[0].code is CauseCode.LISTENER

    @pytest.mark.parametrize("target", ["192.0.2.77:8080", "unix:/no/such/folder/s"])
    def test_it_says_at_once_that_waiting_does_not_help(self, target: str) -> None:
        report = bindcheck.wait_until_bindable(target, timeout=None)
        assert report.worst.verdict is Verdict.BLOCKED

    def test_bad_target(self) -> None:
        with pytest.raises(ValueError, match="70000"):
            bindcheck.wait_until_bindable("70000")


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
        assert err.splitlines()[-1] == "bindcheck: gave up after 0 s"

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
            assert terminal.read_all() == 130
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
