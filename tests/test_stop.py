"""`stop`: ends plain programs and nobody else; the pid that was seen, and no other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bindcheck.conclusion import conclude
from bindcheck.diagnosis import diagnose
from bindcheck.recording import loads
from bindcheck.records import replace
from bindcheck.rules.stop_plan import is_same, stop_plan
from bindcheck.signalling import NotSignalledError, Signalled, above_us, signal_number
from tests.support import NOBODY, Holder, as_user, needs
from tests.support.namespaces import in_pid_namespace
from tests.support.terminal import BINDCHECK, Terminal, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bindcheck.model import Process

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]
LOOPBACK = "127.0.0.1"
DATA = Path(__file__).parent / "data"
LISTEN = (
    "import os, signal, socket, sys, time\n"
    "one = socket.socket()\n"
    "one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
    "one.bind(('127.0.0.1', int(sys.argv[1])))\n"
    "one.listen()\n"
)


def stop(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BINDCHECK, "stop", *arguments],
        env=environment({"COLUMNS": "400"}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def target(port: int) -> str:
    return f"{LOOPBACK}:{port}"


class Programs:
    """Programs that tell on their output that they are ready, and end with the test."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self, code: str, port: int = 0, *, name: str = sys.executable
    ) -> tuple[subprocess.Popen[str], int]:
        """Run code that listens on `one` and says so; the program and its port."""
        tell = "print(one.getsockname()[1], flush=True)\n"
        process = subprocess.Popen(
            [name, "-S", "-c", code.replace("TELL\n", tell), str(port)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    def end(self) -> None:
        for one in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()
            assert one.stdout is not None
            one.stdout.close()


@pytest.fixture
def programs() -> Iterator[Programs]:
    made = Programs()
    yield made
    made.end()


@pytest.fixture
def server(programs: Programs) -> tuple[subprocess.Popen[str], int]:
    """A plain server and its port."""
    return programs.start(LISTEN + "TELL\ntime.sleep(1000)")


def owner_of(port: int) -> Process:
    return diagnose(target(port)).worst.blockers[0].owner.processes[0]


class TestPlain:
    """What may be ended."""

    def test_it_ends_by_term_and_the_port_is_free(
        self, server: tuple[subprocess.Popen[str], int]
    ) -> None:
        process, port = server
        done = stop("--yes", target(port))
        assert done.returncode == 0
        assert done.stdout.startswith(f"{target(port)}/tcp can be bound now")
        assert "sent TERM to " in done.stderr
        assert f"(pid {process.pid})" in done.stderr
        assert process.wait() == -signal.SIGTERM

    @pytest.mark.parametrize("name", ["INT", "SIGINT", "2"])
    def test_other_signal(
        self, server: tuple[subprocess.Popen[str], int], name: str
    ) -> None:
        process, port = server
        assert stop("--yes", "--signal", name, target(port)).returncode == 0
        assert process.wait() in (1, -signal.SIGINT)

    def test_dry_run_does_nothing(
        self, server: tuple[subprocess.Popen[str], int]
    ) -> None:
        process, port = server
        done = stop("--dry-run", target(port))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("would send TERM to ")
        assert f"(pid {process.pid})" in done.stdout
        assert process.poll() is None

    def test_nobody_has_it(self, holder: Holder) -> None:
        port = holder.bind()
        holder.close()
        done = stop(target(port))
        assert done.returncode == 0
        assert "nobody has to be stopped" in done.stdout

    def test_bare_port_of_both_families(self, programs: Programs) -> None:
        code = LISTEN.replace("socket.socket()", "socket.socket(socket.AF_INET6)")
        code = code.replace("'127.0.0.1'", "'::'")
        process, port = programs.start(code + "TELL\ntime.sleep(1000)")
        assert stop("--yes", str(port)).returncode == 0
        assert process.wait() == -signal.SIGTERM

    def test_udp_and_unix(self, programs: Programs, tmp_path: Path) -> None:
        udp = "import socket, sys, time\none = socket.socket(type=socket.SOCK_DGRAM)\n"
        process, port = programs.start(
            udp + "one.bind(('127.0.0.1', 0))\nTELL\ntime.sleep(1000)"
        )
        assert stop("--yes", f"{target(port)}/udp").returncode == 0
        assert process.wait() == -signal.SIGTERM
        path = tmp_path / "s"
        process, _ = programs.start(
            "import socket, time\none = socket.socket(socket.AF_UNIX)\n"
            f"one.bind({str(path)!r})\none.listen()\nprint(0, flush=True)\n"
            "time.sleep(1000)"
        )
        done = stop("--yes", f"unix:{path}")
        assert process.wait() == -signal.SIGTERM
        assert done.returncode == 1  # its file stays, which the diagnosis says
        assert f"rm {path}" in done.stdout

    def test_main_process_of_a_prefork_server(self, programs: Programs) -> None:
        """Its workers are its own to end."""
        code = (
            "reader, writer = os.pipe()\n"
            "pids = []\n"
            "for _ in range(3):\n"
            "    pid = os.fork()\n"
            "    if not pid:\n"
            "        signal.signal(signal.SIGTERM, lambda *_: os.write(writer, b'x'))\n"
            "        time.sleep(1000)\n"
            "    pids.append(pid)\n"
            "def leave(*_):\n"
            "    for pid in pids: os.kill(pid, signal.SIGKILL)\n"
            "    for pid in pids: os.waitpid(pid, 0)\n"
            "    os.set_blocking(reader, False)\n"
            "    try: told = os.read(reader, 9)\n"
            "    except BlockingIOError: told = b''\n"
            "    os._exit(len(told))\n"
            "signal.signal(signal.SIGTERM, leave)\n"
        )
        process, port = programs.start(LISTEN + code + "TELL\ntime.sleep(1000)")
        assert stop("--yes", target(port)).returncode == 0
        assert process.wait() == 0  # no worker was told anything

    def test_json(self, server: tuple[subprocess.Popen[str], int]) -> None:
        process, port = server
        would = json.loads(stop("--json", "--dry-run", target(port)).stdout)
        assert would["outcome"] == "would-signal"
        answer = json.loads(stop("--json", "--yes", target(port)).stdout)
        assert answer["outcome"] == "stopped"
        assert [one["pid"] for one in answer["processes"]] == [process.pid]
        assert answer["report"]["results"][0]["verdict"] in ("bindable", "transient")


class TestNotEnough:
    """A program that does not hear, and one that comes back."""

    DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nTELL\ntime.sleep(1000)"

    def test_without_a_person_it_is_not_killed(self, programs: Programs) -> None:
        process, port = programs.start(LISTEN + self.DEAF)
        done = stop("--yes", "--timeout", "0.2", target(port))
        assert done.returncode == 1
        assert f"kill {process.pid}" in done.stdout
        assert f"bindcheck stop --signal KILL {target(port)}" in done.stderr
        assert process.poll() is None
        assert stop("--yes", "--signal", "KILL", target(port)).returncode == 0
        assert process.wait() == -signal.SIGKILL

    def test_kill_is_offered(self, programs: Programs) -> None:
        process, port = programs.start(LISTEN + self.DEAF)
        with Terminal("stop", "--timeout", "0.2", target(port)) as terminal:
            terminal.read_until("[y/N] ")
            terminal.type("y\n")
            terminal.read_until("with KILL? It cannot save anything then. [y/N] ")
            assert process.poll() is None
            terminal.type("y\n")
            assert terminal.read_all() == 0
        assert process.wait() == -signal.SIGKILL

    def test_started_again_by_a_loop(self, programs: Programs) -> None:
        """The new one is not ended in a race that nobody wins."""
        port = free_port()
        script = f"{LISTEN}print(os.getpid(), flush=True)\ntime.sleep(1000)\n"
        loop = (
            "import os, subprocess, sys\n"
            f"script = {script!r}\n"
            "while True:\n"
            "    subprocess.run([sys.executable, '-S', '-c', script, sys.argv[1]])\n"
        )
        parent, first = programs.start(loop, port)
        done = stop("--yes", target(port))
        assert done.returncode == 1
        assert "something starts it again, maybe " in done.stderr
        assert f"({parent.pid})" in done.stderr
        assert parent.stdout is not None
        second = int(parent.stdout.readline())
        assert second != first
        assert owner_of(port).pid == second

    def test_datagrams_are_started_again_too(self, programs: Programs) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.bind((LOOPBACK, 0))
            port = one.getsockname()[1]
        server = (
            "import socket, sys, time\none = socket.socket(type=socket.SOCK_DGRAM)\n"
            "one.bind(('127.0.0.1', int(sys.argv[1])))\nprint(1, flush=True)\n"
            "time.sleep(1000)\n"
        )
        loop = (
            "import subprocess, sys\n"
            f"script = {server!r}\n"
            "while True:\n"
            "    subprocess.run([sys.executable, '-S', '-c', script, sys.argv[1]])\n"
        )
        programs.start(loop, port)
        done = stop("--yes", f"{target(port)}/udp")
        assert done.returncode == 1
        assert "something starts it again" in done.stderr

    def test_left_over_socket_file_is_told(
        self, programs: Programs, tmp_path: Path
    ) -> None:
        path = tmp_path / "s"
        programs.start(
            "import socket, time\none = socket.socket(socket.AF_UNIX)\n"
            f"one.bind({str(path)!r})\none.listen()\nprint(0, flush=True)\n"
            "time.sleep(1000)"
        )
        with Terminal("stop", f"unix:{path}", width=200) as terminal:
            terminal.read_until("[y/N] ")
            terminal.type("y\n")
            assert terminal.read_all() == 1
            assert "ended; what is left is told above" in terminal.plain
            assert "KILL" not in terminal.plain

    def test_what_lingers_after_it_is_told(self, programs: Programs) -> None:
        """TIME_WAIT of a server that had not set SO_REUSEADDR."""
        code = LISTEN.replace("SO_REUSEADDR, 1", "SO_REUSEADDR, 0")
        code += (
            "client = socket.create_connection(one.getsockname())\n"
            "accepted = one.accept()[0]\n"
            "def leave(*_):\n"
            "    accepted.close(); client.close(); os._exit(0)\n"
            "signal.signal(signal.SIGTERM, leave)\n"
        )
        _, port = programs.start(code + "TELL\ntime.sleep(1000)")
        done = stop("--yes", "--timeout", "0.5", target(port))
        assert done.returncode == 1
        assert "TIME_WAIT" in done.stdout
        assert "ended; what is left is told above" in done.stderr
        assert "KILL" not in done.stderr
        done = stop("--yes", target(port))
        assert done.returncode == 1
        assert f"bindcheck wait {target(port)}" in done.stdout
        assert "no program has it: there is nobody to stop" in done.stderr


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as one:
        return int(one.getsockname()[1])


class TestIdentity:
    """The program that was seen, and no other that has its pid or its port."""

    @needs("root", "network namespaces")
    def test_a_pid_that_is_used_again(self) -> None:
        """A real one: the kernel is told which pid comes next."""

        def call() -> tuple[bool, str, bool]:
            first = fork_server()
            seen = owner_of(first[1])
            os.kill(first[0], signal.SIGKILL)
            os.waitpid(first[0], 0)
            last = Path("/proc/sys/kernel/ns_last_pid")
            last.write_text(str(first[0] - 1))
            second = fork_server()
            try:
                with Signalled(seen) as held:
                    held.send(signal.SIGKILL)
                said = "sent"
            except NotSignalledError as error:
                said = str(error)
            alive = os.waitpid(second[0], os.WNOHANG) == (0, 0)
            os.kill(second[0], signal.SIGKILL)
            return first[0] == second[0], said, alive

        same, said, alive = in_pid_namespace(call)
        assert same
        assert alive
        assert said.endswith("is another program now: nothing was sent to it")

    def test_start_time_tells(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        seen = owner_of(port)
        assert seen.start_id is not None
        with pytest.raises(NotSignalledError, match="another program now"):
            Signalled(replace(seen, start_id=seen.start_id + 1))
        with Signalled(seen) as held:
            held.send(0)

    def test_one_that_ended_by_itself(self, holder: Holder) -> None:
        seen = owner_of(holder.bind(listen=True))
        holder.kill()
        with pytest.raises(NotSignalledError, match=r"ended by itself|another"):
            Signalled(seen)

    def test_it_is_held_on_to(self, holder: Holder) -> None:
        """What ends between the check and the signal gets none, nor who comes then."""
        seen = owner_of(holder.bind(listen=True))
        with Signalled(seen) as held:
            holder.kill()
            held.send(signal.SIGTERM)

    @needs("root")
    def test_not_permitted(self, holder: Holder) -> None:
        seen = owner_of(holder.bind(listen=True))

        def as_nobody() -> str:
            with Signalled(seen) as held:
                try:
                    held.send(signal.SIGTERM)
                except NotSignalledError as error:
                    return str(error)
            return "sent"

        assert "needs its user, or root" in as_user(NOBODY, as_nobody)
        assert holder.process.poll() is None

    def test_port_that_changes_hands_while_the_question_stands(
        self, programs: Programs, make_holder: Callable[..., Holder]
    ) -> None:
        process, port = programs.start(LISTEN + "TELL\ntime.sleep(1000)")
        other = make_holder()
        with Terminal("stop", target(port), width=200) as terminal:
            terminal.read_until("[y/N] ")
            process.kill()
            process.wait()
            other.bind(LOOPBACK, port, listen=True, reuse_address=True)
            terminal.type("y\n")
            assert terminal.read_all() == 1
            assert "changed meanwhile: nothing was done" in terminal.plain
        assert other.process.poll() is None

    def test_another_that_joins_while_the_question_stands(
        self, programs: Programs, make_holder: Callable[..., Holder]
    ) -> None:
        """To end the first would not free the port."""
        code = LISTEN.replace("SO_REUSEADDR", "SO_REUSEPORT")
        process, port = programs.start(code + "TELL\ntime.sleep(1000)")
        other = make_holder()
        with Terminal("stop", target(port), width=200) as terminal:
            terminal.read_until("[y/N] ")
            other.bind(LOOPBACK, port, listen=True, reuse_port=True)
            terminal.type("y\n")
            assert terminal.read_all() == 1
            assert "changed meanwhile: nothing was done" in terminal.plain
        assert (process.poll(), other.process.poll()) == (None, None)

    def test_another_program_in_the_same_process(self, holder: Holder) -> None:
        """execve(2) keeps the pid, the start time and the socket."""
        seen = owner_of(holder.bind(listen=True))
        assert is_same(seen, seen)
        assert not is_same(seen, replace(seen, name="sleep"))


def fork_server() -> tuple[int, int]:
    """A child that listens; its pid and port."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        one = socket.create_server((LOOPBACK, 0))
        os.write(writer, str(one.getsockname()[1]).encode())
        while True:
            signal.pause()
    os.close(writer)
    with os.fdopen(reader) as pipe:
        return pid, int(os.read(pipe.fileno(), 16))


class TestRefused:
    """Exit status 4: it must not be ended by a signal, and it is not."""

    def test_suspended(self, server: tuple[subprocess.Popen[str], int]) -> None:
        process, port = server
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        done = stop("--yes", target(port))
        assert done.returncode == 4
        assert f"kill -CONT {process.pid}" in done.stdout
        os.kill(process.pid, signal.SIGCONT)
        assert process.poll() is None

    def test_proxy_of_a_container(self, programs: Programs, tmp_path: Path) -> None:
        proxy = tmp_path / "docker-proxy"
        proxy.symlink_to(sys.executable)
        process, port = programs.start(
            LISTEN + "TELL\ntime.sleep(1000)", name=str(proxy)
        )
        done = stop("--yes", target(port))
        assert done.returncode == 4
        assert f"docker ps --filter publish={port}" in done.stdout
        assert process.poll() is None

    def test_supervised(self, programs: Programs, tmp_path: Path) -> None:
        watcher = tmp_path / "watchexec"
        watcher.symlink_to(sys.executable)
        script = LISTEN + "print(one.getsockname()[1], flush=True)\ntime.sleep(1000)\n"
        parent, port = programs.start(
            "import subprocess\n"
            f"subprocess.run([{sys.executable!r}, '-S', '-c', {script!r}, '0'])",
            name=str(watcher),
        )
        done = stop("--yes", target(port))
        assert done.returncode == 4
        assert f"kill {parent.pid}" in done.stdout
        assert owner_of(port).parent == parent.pid

    def test_program_that_asks(self, holder: Holder) -> None:
        """To end an ancestor would end this command, or who waits for its answer."""
        port = holder.bind(listen=True)
        status, out = holder.run(
            "import subprocess\n"
            f"done = subprocess.run({[*BINDCHECK, 'stop', '--yes', target(port)]!r},"
            " capture_output=True, text=True)\n"
            "result = done.returncode, done.stdout"
        )
        assert status == 4
        assert f"pid {holder.pid} runs this very command" in out

    def test_socket_that_it_inherited_itself(self) -> None:
        with socket.create_server((LOOPBACK, 0)) as one:
            port = one.getsockname()[1]
            done = subprocess.run(
                [*BINDCHECK, "stop", "--yes", target(port)],
                pass_fds=[one.fileno()],
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 4
        assert "runs this very command" in done.stdout

    def test_client(self, holder: Holder, make_holder: Callable[..., Holder]) -> None:
        """It is nobody's server."""
        server = make_holder()
        port = server.bind(listen=True)
        mine = holder.run(
            f"kept['main'] = socket.create_connection(('127.0.0.1', {port}))\n"
            "result = kept['main'].getsockname()[1]"
        )
        done = stop("--yes", "--no-reuseaddr", target(mine))
        assert done.returncode == 4
        assert "it is only a client" in done.stdout
        assert holder.process.poll() is None

    def test_one_refusal_refuses_all(
        self, server: tuple[subprocess.Popen[str], int], holder: Holder
    ) -> None:
        """Nobody is ended where that would not free the port."""
        process, port = server
        holder.bind("::1", port, listen=True)
        os.kill(holder.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
        done = stop("--yes", str(port))
        os.kill(holder.pid, signal.SIGCONT)
        assert done.returncode == 4
        assert (process.poll(), holder.process.poll()) == (None, None)

    @needs("root", "network namespaces")
    def test_first_process_of_a_namespace(self) -> None:
        def call() -> tuple[int, int]:
            with socket.create_server((LOOPBACK, 0)) as one:
                port = one.getsockname()[1]
                done = stop("--yes", target(port))
            return done.returncode, os.getpid()

        assert in_pid_namespace(call) == (4, 1)

    def test_json(self, server: tuple[subprocess.Popen[str], int]) -> None:
        process, port = server
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        answer = json.loads(stop("--json", "--yes", target(port)).stdout)
        assert (answer["outcome"], answer["processes"]) == ("refused", [])
        commands = [one["command"] for one in answer["remedies"]]
        assert ["kill", "-CONT", str(process.pid)] in commands

    @pytest.mark.parametrize(
        ("name", "ended"),
        [
            ("listener", True),
            ("bound", True),
            ("prefork", True),
            ("inherited", True),
            ("suspended", False),
            ("docker-proxy", False),
            ("outgoing-connection", False),
            ("bare-port-hidden-holder", False),
        ],
    )
    def test_recorded_situations(self, name: str, *, ended: bool) -> None:
        _, seen = loads((DATA / f"{name}.json").read_bytes())
        plan = stop_plan([(conclude(one), one.snapshot) for one in seen], [])
        assert bool(plan.signalled) is ended
        assert bool(plan.refusals) is not ended

    @needs("root")
    def test_main_process_that_cannot_be_seen(self, holder: Holder) -> None:
        """Its worker is seen, and to end that frees nothing."""
        port = holder.bind(listen=True)
        pid = holder.run(
            "import subprocess\n"
            "kept['child'] = subprocess.Popen(['cat'], stdin=subprocess.PIPE,"
            f" user={NOBODY}, group={NOBODY}, extra_groups=[],"
            " pass_fds=[kept['main'].fileno()])\n"
            "result = kept['child'].pid"
        )

        def as_nobody() -> int:
            from bindcheck.cli.main import run

            return run(["stop", "--yes", target(port)])

        assert as_user(NOBODY, as_nobody) == 3
        os.kill(pid, 0)
        assert holder.run("result = kept['child'].poll()") is None

    @needs("root")
    def test_command_to_see_more_ends_nothing(
        self,
        holder: Holder,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """It is pasted to see, with the rights of root."""
        from bindcheck.cli import output
        from bindcheck.cli.main import run

        port = holder.bind(listen=True)
        monkeypatch.setattr(output, "_console_script", lambda: "/opt/bindcheck")

        def as_nobody() -> None:
            run(["stop", "--yes", target(port)])
            run(["wait", "-q", "--timeout", "0", target(port), "--", "rm", "-rf"])
            sys.stdout.flush()

        as_user(NOBODY, as_nobody)
        lines = capfd.readouterr().out.splitlines()
        assert [line.strip() for line in lines if "sudo" in line] == [
            f"sudo /opt/bindcheck stop --dry-run {target(port)}"
        ]

    @needs("root")
    def test_holder_that_cannot_be_seen(self, holder: Holder) -> None:
        port = holder.bind(listen=True)

        def as_nobody() -> Any:
            from bindcheck.cli.main import run

            return run(["stop", "--yes", target(port)])

        assert as_user(NOBODY, as_nobody) == 3
        assert holder.process.poll() is None


class TestQuestion:
    """What a person is asked."""

    def test_yes(self, server: tuple[subprocess.Popen[str], int]) -> None:
        process, port = server
        with Terminal("stop", target(port), width=60) as terminal:
            shown = terminal.read_until("[y/N] ")
            assert f"(pid {process.pid})" in shown
            assert "running for" in shown
            assert "\n  pid " in shown
            terminal.type("y\n")
            assert terminal.read_all() == 0
        assert process.wait() == -signal.SIGTERM

    @pytest.mark.parametrize("answer", ["n\n", "\n", "yess\n", "\x04"])
    def test_no(self, server: tuple[subprocess.Popen[str], int], answer: str) -> None:
        process, port = server
        with Terminal("stop", target(port)) as terminal:
            terminal.read_until("[y/N] ")
            terminal.type(answer)
            assert terminal.read_all() == 1
            assert terminal.plain.endswith("nothing was done\n")
        assert process.poll() is None

    def test_ctrl_c(self, server: tuple[subprocess.Popen[str], int]) -> None:
        process, port = server
        with Terminal("stop", target(port)) as terminal:
            terminal.read_until("[y/N] ")
            terminal.type("\x03")
            assert terminal.read_all() == -signal.SIGINT
            assert "Traceback" not in terminal.plain
        assert process.poll() is None

    def test_nobody_to_ask(self, server: tuple[subprocess.Popen[str], int]) -> None:
        process, port = server
        for options in ([], ["--json"]):
            done = stop(*options, target(port))
            assert (done.returncode, done.stdout) == (2, "")
            assert "add --yes, or --dry-run" in done.stderr
        assert process.poll() is None

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            (["--signal", "NONE", "8080"], "--signal: 'NONE' is no signal"),
            (["--signal", "0", "8080"], "'0'"),
            (["8080", "8081"], "'8081' is one too many"),
            ([], "no target"),
            (["70000"], "70000"),
        ],
    )
    def test_bad_input(self, arguments: list[str], part: str) -> None:
        done = stop(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert part in done.stderr
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("where", ["192.0.2.77:8080", "unix:/no/such/folder/s"])
    def test_it_does_not_help(self, where: str) -> None:
        done = stop(where)
        assert done.returncode == 1
        assert "stopping a program does not help here" in done.stderr


def test_above_us() -> None:
    above = list(above_us())
    assert above[:2] == [os.getpid(), os.getppid()]


def test_signal_names() -> None:
    assert signal_number("term") == signal_number("SIGTERM") == signal_number("15")
    with pytest.raises(ValueError, match="NOPE"):
        signal_number("NOPE")
