"""What is told of an owner beyond its pid: each trait from real processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bindcheck
from bindcheck import native
from bindcheck.model import Ancestor, Endpoint, KernelPort, Process, Snapshot, Socket
from bindcheck.records import replace
from bindcheck.rules.cgroup import (
    container_of,
    socket_unit_of,
    unit_of,
    user_of,
    user_unit_of,
)
from bindcheck.rules.inheritance import is_inherited
from bindcheck.rules.ownership import listens_on, owner_of
from bindcheck.rules.proxies import proxy_of
from bindcheck.rules.remedies.stopping import stop_owner
from bindcheck.rules.supervisors import supervised_name, supervisor_name
from bindcheck.words import (
    Certainty,
    Family,
    Kind,
    OwnerKind,
    Protocol,
    State,
    Trait,
    Verdict,
)
from tests.support import Holder, as_user, needs
from tests.support.fuse import stuck_file
from tests.support.namespaces import CLONE_NEWNS, in_pid_namespace, mount, unshare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bindcheck.model import Diagnosis, Owner, Remedy

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    needs("socket tables"),
    pytest.mark.usefixtures("network"),
]

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
PROCESS = Process(
    pid=900,
    start_id=1,
    fds=(3,),
    name="server",
    command=("server",),
    command_truncated=False,
    uid=0,
    user="root",
    started=0.0,
    parent=800,
    parent_name="sh",
    state="sleeping",
    folder="/",
    program=None,
)
ROW = Socket(
    family=Family.INET,
    protocol=Protocol.TCP,
    state=State.LISTEN,
    local=Endpoint(address="127.0.0.1", port=8080),
    remote=None,
    packed=b"\x7f\0\0\1",
    inode=4711,
    cookie=1,
    uid=0,
    cgroup_id=None,
    device=0,
    timer_ms=None,
    opened=None,
    v6only=None,
)


def diagnose(port: int) -> Diagnosis:
    (found,) = bindcheck.diagnose(("127.0.0.1", port))
    return found


def owner_in(found: Diagnosis) -> Owner:
    assert found.verdict is Verdict.BLOCKED
    (blocker,) = found.blockers
    return blocker.owner


def told(found: Diagnosis) -> str:
    return "\n".join(found.causes[0].evidence)


def actions(found: Diagnosis) -> list[str]:
    return [one.action for one in about_the_holder(found)]


def commands(found: Diagnosis) -> list[tuple[str, ...]]:
    return [one.command for one in about_the_holder(found) if one.command]


def about_the_holder(found: Diagnosis) -> list[Remedy]:
    """All but another port, which always comes last."""
    *others, last = found.causes[0].remedies
    return others if last.action == "use-other-port" else [*others, last]


def laid_out(*processes: Process, row: Socket = ROW, **more: Any) -> Owner:
    return owner_of(
        row,
        processes,
        everything_readable=more.pop("everything_readable", True),
        cgroup=more.pop("cgroup", None),
        user="root",
        asking=None,
        **more,
    )


def remedies_of(owner: Owner, euid: int = 0) -> list[Any]:
    facts = replace(native.read_facts(), euid=euid)
    return stop_owner(owner, Snapshot(facts=facts), 8080)


def wait_for_exit(process: int) -> None:
    """Wait until a process that is no child of ours has closed its files."""
    handle = os.pidfd_open(process)
    import select

    assert select.select([handle], [], [], 30)[0]
    os.close(handle)


# The opener has a session of its own, as a service or a terminal's program has; when it
# ends, its children go to the holder, which stands in for pid 1.
OPENER = """
import ctypes, signal, subprocess
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
reader, writer = os.pipe()
opener = os.fork()
if opener == 0:
    os.setsid()
    one = socket.socket({kind})
    one.bind(("127.0.0.1", 0))
    {listen}
    os.set_inheritable(one.fileno(), {inheritable})
    child = subprocess.Popen({command}, close_fds=False, stdin=subprocess.PIPE)
    os.write(writer, b"%d %d\\n" % (one.getsockname()[1], child.pid))
    {then}
    os._exit(0)
os.close(writer)
with os.fdopen(reader) as pipe:
    port, child = map(int, pipe.readline().split())
kept["group"] = opener
result = [port, opener, child]
"""
SLEEP = ["sleep", "1000"]


class Household:
    """An opener, its child, and the one who takes orphans over."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.port = self.opener = self.child = 0

    def start(
        self,
        command: list[str] | str,
        *,
        then: str = "pass",
        kind: str = "",
        inheritable: bool = True,
    ) -> None:
        listen = "pass" if kind else "one.listen()"
        self.port, self.opener, self.child = self.holder.run(
            OPENER.format(
                command=command,
                then=then,
                kind=kind,
                listen=listen,
                inheritable=inheritable,
            )
        )
        if then == "pass":
            self.holder.run("os.waitpid(kept['group'], 0)")

    def end(self) -> None:
        """Kill the opener's whole session; all of it is the holder's now."""
        self.holder.run(
            "try:\n"
            "    os.killpg(kept['group'], 9)\n"
            "except (KeyError, ProcessLookupError):\n"
            "    pass\n"
            "while True:\n"
            "    try:\n"
            "        os.wait()\n"
            "    except ChildProcessError:\n"
            "        break\n"
        )

    def wait_for_call(self, *names: str) -> None:
        """Wait until the child sleeps in one of these kernel functions."""
        deadline = time.monotonic() + 30
        while True:
            with open(f"/proc/{self.child}/wchan") as file:
                name = file.read()
            if any(one in name for one in names):
                return
            assert time.monotonic() < deadline, name
            time.sleep(0.001)


@pytest.fixture
def family(network: bool, holder: Holder) -> Iterator[Household]:
    del network
    one = Household(holder)
    yield one
    one.end()


PYTHON = f"[{sys.executable!r}, '-S', '-c', {{}}, str(one.fileno())]"


def python(program: str) -> str:
    """A command for an interpreter that is given the number of the descriptor."""
    return PYTHON.format(repr(program))


SERVING = {
    "accept": "import socket, sys\nsocket.socket(fileno=int(sys.argv[1])).accept()",
    "epoll": """
import select, sys
one = select.epoll()
one.register(int(sys.argv[1]))
one.poll()
""",
    "select": "import select, sys\nselect.select([int(sys.argv[1])], [], [])",
    "poll": """
import select, sys
one = select.poll()
one.register(int(sys.argv[1]))
one.poll()
""",
    "thread": """
import socket, sys, threading, time
one = socket.socket(fileno=int(sys.argv[1]))
threading.Thread(target=one.accept).start()
time.sleep(1000)
""",
}


@needs("sleep")
class TestInherited:
    def test_opener_is_gone(self, family: Household) -> None:
        family.start(SLEEP)
        family.wait_for_call("nanosleep")
        found = diagnose(family.port)
        owner = owner_in(found)
        assert [one.pid for one in owner.processes] == [family.child]
        assert Trait.INHERITED in owner.traits
        assert Trait.SHARED not in owner.traits
        (cause,) = found.causes
        assert cause.certainty is Certainty.LIKELY
        assert (
            cause.summary == f"sleep (pid {family.child}) inherited a listening socket"
        )
        (fd,) = owner.processes[0].fds
        assert (
            "the program that opened it is gone; its child sleep keeps "
            f"fd {fd} and never serves it" in told(found)
        )
        assert "started by" not in told(found)
        assert actions(found) == ["stop-holder", "close-on-exec"]
        assert commands(found) == [("kill", str(family.child))]
        os.kill(family.child, signal.SIGTERM)
        wait_for_exit(family.child)
        assert diagnose(family.port).verdict is Verdict.BINDABLE

    @needs("root", "mount")
    def test_parent_is_pid_1(self) -> None:
        def call() -> Diagnosis:
            reader, writer = os.pipe()
            if os.fork() == 0:
                one = socket.create_server(("127.0.0.1", 0))
                one.set_inheritable(True)
                subprocess.Popen(SLEEP, close_fds=False)
                os.write(writer, b"%d" % one.getsockname()[1])
                os._exit(0)
            os.wait()
            port = int(os.read(reader, 16))
            names = [one.name for one in Path("/proc").iterdir()]
            pid = next(int(one) for one in names if one.isdecimal() and one != "1")
            deadline = time.monotonic() + 30
            while "nanosleep" not in Path(f"/proc/{pid}/wchan").read_text():
                assert time.monotonic() < deadline
            return diagnose(port)

        found = in_pid_namespace(call)
        assert Trait.INHERITED in owner_in(found).traits
        assert "parent is pid 1" in told(found)

    def test_opener_is_alive(self, family: Household) -> None:
        """They share it: the parent is the one to stop, and the child after it."""
        family.start(SLEEP, then="time.sleep(1000)")
        found = diagnose(family.port)
        owner = owner_in(found)
        assert {one.pid for one in owner.processes} == {family.opener, family.child}
        assert Trait.INHERITED not in owner.traits
        assert Trait.SHARED in owner.traits
        assert found.causes[0].certainty is Certainty.CERTAIN
        assert commands(found) == [
            ("kill", str(family.opener)),
            ("kill", str(family.child)),
        ]

    def test_whole_chain_is_left(self, family: Household) -> None:
        """The opener's child and grandchild have it: the upper one is an orphan."""
        # The shell must not become the last program of its line.
        family.start(["sh", "-c", "sleep 1000; true"])
        deadline = time.monotonic() + 30
        while True:
            found = diagnose(family.port)
            processes = owner_in(found).processes
            waiting = [one for one in processes if one.serves is False]
            if [one.name for one in waiting] == ["sh", "sleep"]:
                break
            assert time.monotonic() < deadline, processes
        shell, sleep = processes
        assert (shell.pid, sleep.parent) == (family.child, family.child)
        assert {Trait.INHERITED, Trait.SHARED} <= set(owner_in(found).traits)
        assert commands(found)[0] == ("kill", str(family.child))

    def test_datagrams_for_a_program_that_never_serves(self, family: Household) -> None:
        family.start(SLEEP, kind="type=socket.SOCK_DGRAM")
        family.wait_for_call("nanosleep")
        (found,) = bindcheck.diagnose(("127.0.0.1", family.port), protocol="udp")
        assert Trait.INHERITED in owner_in(found).traits
        assert "inherited the socket" in found.causes[0].summary

    @pytest.mark.parametrize("name", ["accept", "epoll", "select", "poll", "thread"])
    def test_orphan_that_serves(self, family: Household, name: str) -> None:
        """A server that was given its socket, as by inetd, or that was left over."""
        family.start(python(SERVING[name]))
        if name == "thread":
            wait_for_accept(family.child)
        else:
            family.wait_for_call("accept", "poll", "select")
        found = diagnose(family.port)
        assert [one.pid for one in owner_in(found).processes] == [family.child]
        assert Trait.INHERITED not in owner_in(found).traits
        assert found.causes[0].certainty is Certainty.CERTAIN

    def test_orphan_that_is_busy_with_a_client(self, family: Household) -> None:
        """It serves one client after the other: nobody waits for the next one now."""
        program = (
            "import socket, sys, time\n"
            "one = socket.socket(fileno=int(sys.argv[1]))\n"
            "client, _ = one.accept()\ntime.sleep(1000)"
        )
        family.start(python(program))
        with socket.create_connection(("127.0.0.1", family.port)):
            family.wait_for_call("nanosleep")
            found = diagnose(family.port)
        (listener,) = (one for one in found.blockers if one.kind is Kind.LISTENER)
        assert [one.pid for one in listener.owner.processes] == [family.child]
        assert Trait.INHERITED not in listener.owner.traits
        assert found.causes[0].certainty is Certainty.CERTAIN

    def test_orphan_that_waits_for_something_else(self, family: Household) -> None:
        """An event loop that does not know of the descriptor, and a reader of a pipe."""
        program = (
            "import os, select\nreader, writer = os.pipe()\none = select.epoll()\n"
            "one.register(reader)\none.poll()"
        )
        family.start(python(program))
        family.wait_for_call("poll")
        assert Trait.INHERITED in owner_in(diagnose(family.port)).traits

    @needs("root", "mount")
    @pytest.mark.parametrize("name", ["accept", "epoll", "poll", "sleep", "pipe"])
    def test_call_that_may_not_be_read(
        self, family: Household, name: str, tmp_path: Path
    ) -> None:
        """Where Yama forbids to trace: the kernel function tells nearly the same."""
        programs = {**SERVING, "pipe": "import os\nos.read(os.pipe()[0], 1)"}
        family.start(python(programs[name]) if name != "sleep" else SLEEP)
        family.wait_for_call("accept", "poll", "nanosleep", "pipe")
        empty = tmp_path / "empty"
        empty.touch()

        def call() -> Diagnosis:
            unshare(CLONE_NEWNS)
            mount("--make-rprivate", "/")
            child = family.child
            mount("--bind", str(empty), f"/proc/{child}/task/{child}/syscall")
            return diagnose(family.port)

        inherited = Trait.INHERITED in owner_in(as_user(0, call)).traits
        assert inherited is (name in ("sleep", "pipe"))

    def test_reader_of_a_pipe(self, family: Household) -> None:
        family.start(python("import os\nos.read(os.pipe()[0], 1)"))
        family.wait_for_call("pipe")
        assert Trait.INHERITED in owner_in(diagnose(family.port)).traits

    def test_orphan_that_opened_it_itself(self, family: Household) -> None:
        """Close-on-exec: an execve would have closed it, so it is its own."""
        program = (
            "import os, socket, time\none = socket.create_server(('127.0.0.1', 0))\n"
            "time.sleep(1000)"
        )
        family.start(python(program), inheritable=False)
        family.wait_for_call("nanosleep")
        opened = Path(f"/proc/{family.child}/fd").iterdir()
        inodes = {one.stat().st_ino for one in opened}
        port = next(
            row.local.port
            for row in native.list_sockets(Protocol.TCP, 0).sockets
            if row.state is State.LISTEN and row.inode in inodes
        )
        owner = owner_in(diagnose(port))
        assert [one.pid for one in owner.processes] == [family.child]
        assert owner.processes[0].close_on_exec is True
        assert Trait.INHERITED not in owner.traits

    def test_server_that_went_to_the_background(self, holder: Holder) -> None:
        """bind(), then daemon(3): two forks, no execve, and it serves."""
        port, pid = holder.run(
            "one = socket.create_server(('127.0.0.1', 0))\n"
            "reader, writer = os.pipe()\n"
            "first = os.fork()\n"
            "if first == 0:\n"
            "    os.setsid()\n"
            "    if os.fork() == 0:\n"
            "        os.write(writer, b'%d\\n' % os.getpid())\n"
            "        one.accept()\n"
            "    os._exit(0)\n"
            "os.waitpid(first, 0)\n"
            "result = [one.getsockname()[1], int(os.read(reader, 16))]\n"
            "one.close()"
        )
        try:
            owner = owner_in(diagnose(port))
            assert [one.pid for one in owner.processes] == [pid]
            assert Trait.INHERITED not in owner.traits
        finally:
            os.kill(pid, signal.SIGKILL)

    def test_suspended_or_activated_holders_are_not_inherited(self) -> None:
        left = replace(
            PROCESS, parent=1, serves=False, close_on_exec=False, name="sleep"
        )
        assert is_inherited(ROW, [left])
        for change in (
            {"state": "stopped"},
            {"serves": None},
            {"serves": True},
            {"close_on_exec": True},
            {"close_on_exec": None},
            {"parent": 800},
            {"environment": (("LISTEN_PID", "900"), ("LISTEN_FDS", "1"))},
        ):
            assert not is_inherited(ROW, [replace(left, **change)]), change
        bound = replace(ROW, state=State.CLOSE)
        assert is_inherited(bound, [left])
        assert not is_inherited(bound, [replace(left, name="reserver")])
        assert not is_inherited(ROW, [])


def wait_for_accept(pid: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        threads = Path(f"/proc/{pid}/task").iterdir()
        if any("accept" in (one / "wchan").read_text() for one in threads):
            return
        assert time.monotonic() < deadline


class TestSocketActivation:
    @needs("systemd-socket-activate")
    def test_before_and_after_the_first_client(self, tmp_path: Path) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        program = "import sys, time; print('up', flush=True); time.sleep(1000)"
        command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}"]
        with (tmp_path / "log").open("w") as log:
            server = subprocess.Popen(
                [*command, sys.executable, "-S", "-c", program],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + 30
            # Not by asking for a diagnosis, which could be what it collides with.
            while not native.list_sockets(Protocol.TCP, port).sockets:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.001)
            found = diagnose(port)
            owner = owner_in(found)
            assert Trait.SOCKET_ACTIVATION in owner.traits
            assert found.causes[0].summary.startswith("systemd-socket-activate (pid ")
            with socket.create_connection(("127.0.0.1", port), 30):
                assert server.stdout is not None
                assert server.stdout.readline() == b"up\n"
                listener = diagnose(port).blockers[0]
            (process,) = listener.owner.processes
            assert ("LISTEN_PID", str(server.pid)) in process.environment
            assert {Trait.SOCKET_ACTIVATION} == {
                one for one in listener.owner.traits if one is not Trait.SUPERVISED
            }
        finally:
            server.kill()
            server.communicate()

    @needs("socket tables")
    @pytest.mark.parametrize("padding", [0, 40_000])
    def test_variables_that_tell_are_read(self, padding: int) -> None:
        """No others, and none in part; also of a long environment."""
        told = {
            "LISTEN_FDS": "1",
            "pm_id": "7\n",
            "SUPERVISOR_PROCESS_NAME": "w" * 2048,
        }
        others = {"PADDING": "x" * padding, "LISTEN_FDNAMES": "web", "LISTEN": "1"}
        program = (
            "import socket\n"
            "with socket.create_server(('127.0.0.1', 0)) as server:\n"
            "    print(server.getsockname()[1], flush=True)\n"
            "    input()"
        )
        with subprocess.Popen(
            [sys.executable, "-S", "-c", program],
            env={**os.environ, **others, **told},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as server:
            assert server.stdout is not None
            (process,) = owner_in(diagnose(int(server.stdout.readline()))).processes
            server.communicate(b"\n")
        assert dict(process.environment) == {"LISTEN_FDS": "1", "pm_id": "7\n"}

    def test_unit_is_stopped_not_the_service(self) -> None:
        """pid 1 and its service, as systemd shares a socket; both are root's."""
        manager = replace(PROCESS, pid=1, name="systemd", command=("/sbin/init",))
        service = replace(PROCESS, parent=1)
        owner = laid_out(manager, service, socket_units=("ssh.socket",))
        assert Trait.SOCKET_ACTIVATION in owner.traits
        (remedy,) = remedies_of(owner, euid=1000)
        assert remedy.action == "stop-socket-unit"
        assert remedy.command == ("sudo", "systemctl", "stop", "ssh.socket")
        (remedy,) = remedies_of(laid_out(manager, service))
        assert remedy.command == ("systemctl", "list-sockets", "--all")

    def test_manager_of_a_user(self) -> None:
        manager = replace(
            PROCESS, name="systemd", command=("/lib/systemd/systemd", "--user")
        )
        (remedy,) = remedies_of(laid_out(manager))
        assert remedy.command == ("systemctl", "--user", "list-sockets", "--all")

    def test_service_whose_manager_may_not_be_read(self) -> None:
        service = replace(
            PROCESS, environment=(("LISTEN_PID", "900"), ("LISTEN_FDS", "1"))
        )
        owner = laid_out(service, cgroup="/system.slice/web.service")
        assert {Trait.SOCKET_ACTIVATION, Trait.SERVICE} <= set(owner.traits)
        assert remedies_of(owner)[0].action == "stop-socket-unit"
        other_fd = replace(service, fds=(7,))
        owner = laid_out(other_fd, cgroup="/system.slice/web.service")
        assert Trait.SOCKET_ACTIVATION not in owner.traits
        assert remedies_of(owner)[0].action == "stop-unit"

    @pytest.mark.parametrize(
        ("cgroup", "units"),
        [("/init.scope", ()), ("/system.slice/web.socket", ("web.socket",))],
    )
    def test_hidden_holder_is_told_by_where_it_was_made(
        self, cgroup: str, units: tuple[str, ...]
    ) -> None:
        owner = laid_out(everything_readable=False, cgroup=cgroup)
        assert owner.kind is OwnerKind.HIDDEN
        assert Trait.SOCKET_ACTIVATION in owner.traits
        assert owner.socket_units == units
        (remedy,) = remedies_of(owner)
        assert remedy.action == "stop-socket-unit"
        assert remedy.command is not None
        assert remedy.command[-1] == (units[0] if units else "--all")

    @pytest.mark.parametrize(
        ("line", "listens"),
        [
            ("ListenStream=8080", True),
            ("ListenStream = 127.0.0.1:8080", True),
            ("ListenStream=[::]:8080", True),
            ("ListenStream=18080", False),
            ("ListenDatagram=8080", False),
            ("#ListenStream=8080", False),
            ("ListenStream=/run/8080", False),
        ],
    )
    def test_text_of_a_unit(self, line: str, *, listens: bool) -> None:
        text = f"[Unit]\nDescription=x\n[Socket]\n{line}\n"
        assert listens_on(text, "Stream", 8080) is listens


class TestProxy:
    def named(self, name: str, *arguments: str) -> Holder:
        """A process of that name, as the kernel and its command line have it."""
        holder = Holder(arguments=arguments)
        holder.run(
            "import ctypes\n"
            f"ctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0)"  # PR_SET_NAME
        )
        return holder

    def test_docker_proxy(self) -> None:
        arguments = "-proto tcp -host-ip 127.0.0.1 -host-port 0 -container-ip"
        with self.named(
            "docker-proxy", *arguments.split(), "172.17.0.2", "-container-port", "80"
        ) as holder:
            port = holder.bind(listen=True)
            found = diagnose(port)
            assert Trait.CONTAINER_PROXY in owner_in(found).traits
            assert "docker-proxy forwards it to the container at 172.17.0.2:80" in told(
                found
            )
            (remedy,) = about_the_holder(found)
            assert remedy.action == "stop-what-is-behind"
            assert remedy.command == ("docker", "ps", "--filter", f"publish={port}")

    @pytest.mark.parametrize(
        "name",
        [
            *("rootlessport", "rootlesskit", "slirp4netns", "pasta", "pasta.avx2"),
            *("passt", "conmon", "dockerd", "sshd", "containerd", "gvproxy"),
        ],
    )
    def test_others_are_never_killed(self, name: str) -> None:
        with self.named(name) as holder:
            found = diagnose(holder.bind(listen=True))
            assert Trait.CONTAINER_PROXY in owner_in(found).traits
            assert actions(found) == ["stop-what-is-behind"]
            assert not any("kill" in command for command in commands(found))

    def test_ssh_that_forwards(self) -> None:
        with self.named("ssh", "-N", "-L", "127.0.0.1:1:db.example:5432") as holder:
            found = diagnose(holder.bind(listen=True))
            assert Trait.CONTAINER_PROXY in owner_in(found).traits
            assert actions(found) == ["stop-what-is-behind"]

    @pytest.mark.parametrize(
        ("arguments", "target"),
        [
            (("-L", "8080:db:5432", "host"), "db:5432"),
            (("-L8080:db:5432", "host"), "db:5432"),
            (("-NfL", "127.0.0.1:8080:[::1]:80", "host"), "[::1]:80"),
            (("-L", "[::1]:8080:db:5432", "host"), "db:5432"),
            (("-p", "8080", "-D", "8080", "host"), "any place (SOCKS)"),
            (("-o", "-L8080:x:1", "-L", "9:db:1", "host"), None),
        ],
    )
    def test_target_of_ssh(self, arguments: tuple[str, ...], target: str) -> None:
        process = replace(PROCESS, name="ssh", command=("/usr/bin/ssh", *arguments))
        proxy = proxy_of(process, 8080)
        assert proxy is not None
        assert proxy.target == target

    @pytest.mark.parametrize(
        ("name", "command"),
        [
            ("ssh", ("ssh", "host")),
            ("python3", ("python3", "docker-proxy.py")),
            ("mydocker-proxy", ("mydocker-proxy",)),
        ],
    )
    def test_no_proxy(self, name: str, command: tuple[str, ...]) -> None:
        assert proxy_of(replace(PROCESS, name=name, command=command), 8080) is None

    def test_address_of_ipv6(self) -> None:
        command = ("docker-proxy", "-container-ip=fd00::2", "-container-port=80")
        proxy = proxy_of(replace(PROCESS, name="docker-proxy", command=command))
        assert proxy is not None
        assert proxy.target == "[fd00::2]:80"


SERVER = """
import socket, sys, time
one = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(one.getsockname()[1]))
import os
os.rename(sys.argv[1] + ".new", sys.argv[1])
one.accept()
"""


def port_in(file: Path, process: subprocess.Popen[Any]) -> int:
    deadline = time.monotonic() + 30
    while not file.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(file.read_text())


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


class TestSupervised:
    @needs("root", "supervisord")
    def test_supervisord(self, tmp_path: Path) -> None:
        program = shutil.which("supervisord", path=PATH)
        assert program is not None
        (tmp_path / "server.py").write_text(SERVER)
        (tmp_path / "conf").write_text(
            "[supervisord]\nnodaemon=true\nuser=root\n"
            f"pidfile={tmp_path}/pid\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
            f"[program:web]\ncommand={sys.executable} server.py {tmp_path}/port\n"
        )
        with running([program, "-c", "conf"], tmp_path) as supervisor:
            port = port_in(tmp_path / "port", supervisor)
            found = diagnose(port)
            assert Trait.SUPERVISED in owner_in(found).traits
            assert (
                f"supervised by supervisord (pid {supervisor.pid}): killed, it may be "
                "started again" in told(found)
            )
            assert actions(found) == ["stop-supervised"]
            assert commands(found) == [("supervisorctl", "stop", "web")]

    def test_nodemon_is_stopped_itself(self, tmp_path: Path) -> None:
        """A script of that name below an interpreter, as npm installs it."""
        (tmp_path / "server.py").write_text(SERVER)
        (tmp_path / "nodemon").write_text(
            "import subprocess, sys\n"
            f"subprocess.run([sys.executable, 'server.py', '{tmp_path}/port'])"
        )
        with running([sys.executable, "-S", "nodemon"], tmp_path) as supervisor:
            found = diagnose(port_in(tmp_path / "port", supervisor))
            assert Trait.SUPERVISED in owner_in(found).traits
            assert f"supervised by nodemon (pid {supervisor.pid})" in told(found)
            assert actions(found) == ["stop-supervisor"]
            assert commands(found) == [("kill", str(supervisor.pid))]

    def test_pm2(self, tmp_path: Path) -> None:
        (tmp_path / "server.py").write_text(SERVER)
        (tmp_path / "daemon.py").write_text(
            "import ctypes, os, subprocess, sys\n"
            "ctypes.CDLL(None).prctl(15, b'PM2 v5.3.0: God', 0, 0, 0)\n"
            f"subprocess.run([sys.executable, 'server.py', '{tmp_path}/port'],"
            " env={**os.environ, 'pm_id': '7', 'name': 'web'})"
        )
        with running([sys.executable, "-S", "daemon.py"], tmp_path) as supervisor:
            found = diagnose(port_in(tmp_path / "port", supervisor))
            assert Trait.SUPERVISED in owner_in(found).traits
            assert commands(found) == [("pm2", "stop", "7")]

    @pytest.mark.parametrize(
        ("name", "command", "expected"),
        [
            (
                "supervisord",
                ("/usr/bin/python3", "/usr/bin/supervisord"),
                "supervisord",
            ),
            ("runsv", ("runsv", "web"), "runsv"),
            ("gunicorn", ("gunicorn: master [app]",), "gunicorn"),
            ("node", ("node", "/usr/bin/nodemon.js", "app.js"), "nodemon"),
            ("python3", ("python3", "-m", "honcho", "start"), "honcho"),
            ("node", ("node", "app.js", "nodemon"), None),
            ("bash", ("bash", "supervisord"), None),
            ("vim", ("vim", "nodemon"), None),
        ],
    )
    def test_names(
        self, name: str, command: tuple[str, ...], expected: str | None
    ) -> None:
        assert supervisor_name(name, command) == expected

    def test_main_process_of_the_holder_is_none(self) -> None:
        """The master of gunicorn has the socket too: it is stopped as any other."""
        master = replace(PROCESS, pid=700, name="gunicorn", command=("gunicorn",))
        above = Ancestor(pid=700, session=700, supervisor="gunicorn")
        worker = replace(PROCESS, parent=700, ancestors=(above,))
        owner = laid_out(master, worker)
        assert Trait.SUPERVISED not in owner.traits
        assert remedies_of(owner)[0].command == ("kill", "700")

    def test_runit(self) -> None:
        command = ("runsv", "web")
        assert supervised_name(supervisor_name("runsv", command), command) == "web"
        above = Ancestor(pid=700, session=700, supervisor="runsv", supervises="web")
        shell = Ancestor(pid=800, session=700)
        owner = laid_out(replace(PROCESS, ancestors=(shell, above)))
        assert remedies_of(owner)[0].command == ("sv", "stop", "web")
        hostile = replace(above, supervises="-x\n")
        owner = laid_out(replace(PROCESS, ancestors=(hostile,)))
        assert remedies_of(owner)[0].command == ("sv", "status")


LEAVES = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 5]
libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    file = os.open({path!r}, os.O_RDONLY)
    page = libc.mmap(None, 4096, 3, 2, file, 0)  # MAP_PRIVATE
    stack = libc.mmap(None, 65536, 3, 0x22, 2**64 - 1, 0)
    pause = ctypes.cast(libc.pause, ctypes.c_void_p)
    other = libc.clone(pause, stack + 65536, 0x100, None)  # CLONE_VM
    number = 218 if os.uname().machine == "x86_64" else 96
    libc.syscall(number, ctypes.c_void_p(page))
    one = socket.create_server(("127.0.0.1", 0))
    os.write(writer, b"%d %d" % (other, one.getsockname()[1]))
    os._exit(0)
result = [pid, *map(int, os.read(reader, 32).split())]
"""


class TestExiting:
    @pytest.mark.parametrize(
        ("change", "exiting"),
        [
            ({"state": "zombie"}, True),
            ({"state": "dead"}, True),
            ({"flags": 0x4}, True),  # PF_EXITING
            ({"flags": 0x200}, True),  # PF_DUMPCORE
            ({"flags": 0x400040}, False),
            ({"state": "zombie", "flags": 0x4, "thread": 901}, False),
        ],
    )
    def test_rule(self, change: dict[str, Any], *, exiting: bool) -> None:
        owner = laid_out(replace(PROCESS, **change))
        assert (Trait.EXITING in owner.traits) is exiting
        action = "wait-for-exit" if exiting else "stop-holder"
        assert [one.action for one in remedies_of(owner)] == [action]

    @needs("root", "FUSE")
    def test_real_one(self, holder: Holder, tmp_path: Path) -> None:
        """It has called exit(2), and waits in the kernel before its files are closed.

        There the kernel clears the word that set_tid_address(2) named, if others share
        the memory (kernel/fork.c, mm_release): in a page that does not come.
        """
        with contextlib.ExitStack() as stack:
            stuck = stack.enter_context(stuck_file(tmp_path))
            pid, other, port = holder.run(LEAVES.format(path=str(stuck.path)))
            stack.callback(os.kill, other, signal.SIGKILL)
            assert stuck.waiting.acquire(timeout=30)
            found = diagnose(port)
            owner = owner_in(found)
            assert [one.pid for one in owner.processes] == [pid]
            assert owner.processes[0].flags & 0x4
            assert owner.processes[0].state != "zombie"
            assert Trait.EXITING in owner.traits
            assert "it is ending" in told(found)
            assert (actions(found), commands(found)) == (["wait-for-exit"], [])
            stuck.let_go()
            wait_for_exit(pid)
            assert diagnose(port).verdict is Verdict.BINDABLE

    def test_not_while_another_holder_lives(self) -> None:
        owner = laid_out(replace(PROCESS, state="zombie"), replace(PROCESS, pid=901))
        assert Trait.EXITING not in owner.traits


ID = "0123456789abcdef" * 4


class TestManagers:
    @pytest.mark.parametrize(
        ("path", "unit", "container"),
        [
            ("/system.slice/nginx.service", "nginx.service", None),
            ("/system.slice/system-web.slice/web@1.service", "web@1.service", None),
            (f"/system.slice/docker-{ID}.scope", None, ("docker", ID)),
            (f"/docker/{ID}", None, ("docker", ID)),
            (f"/machine.slice/libpod-{ID}.scope/container", None, ("podman", ID)),
            (f"/kubepods/burstable/pod1/{ID}", None, ("crictl", ID)),
            (
                f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope",
                None,
                ("crictl", ID),
            ),
            (
                f"/system.slice/containerd.service/kubepods-p.slice:cri-containerd:{ID}",
                "containerd.service",
                ("crictl", ID),
            ),
            ("/lxc.payload.web/system.slice/nginx.service", None, ("lxc-stop", "web")),
            ("/lxc/web", None, ("lxc-stop", "web")),
            ("/lxc/-rf", None, None),
            (f"/user.slice/user-1000.slice/session-1.scope/docker/{ID}", None, None),
            ("/", None, None),
            (None, None, None),
        ],
    )
    def test_paths(
        self, path: str | None, unit: str | None, container: tuple[str, str] | None
    ) -> None:
        assert container_of(path) == container
        assert unit_of(path) == unit

    USER = "/user.slice/user-1000.slice/user@1000.service"

    @pytest.mark.parametrize(
        ("below", "unit"),
        [
            ("/app.slice/web.service", "web.service"),
            ("/app.slice/app-web.slice/web@1.service", "web@1.service"),
            ("/init.scope", None),
            ("/app.slice/app-terminal-1.scope/web.service", None),
            ("", None),
        ],
    )
    def test_service_of_a_user(self, below: str, unit: str | None) -> None:
        path = self.USER + below
        assert (user_of(path), user_unit_of(path)) == (1000, unit)
        assert unit_of(path) is None
        mine = replace(ROW, uid=1000)
        holder = replace(PROCESS, uid=1000)
        owner = laid_out(holder, row=mine, cgroup=path)
        assert owner.unit == unit
        if unit:
            assert remedies_of(owner, 1000)[0].command == (
                *("systemctl", "--user", "stop"),
                unit,
            )
            assert remedies_of(owner)[0].command == (
                *("systemctl", "--user", "--machine=1000@", "stop"),
                unit,
            )

    def test_folder_of_a_user_says_nothing_of_others(self) -> None:
        path = f"{self.USER}/app.slice/nginx.service"
        assert laid_out(PROCESS, cgroup=path).unit is None

    def test_rootless_container(self) -> None:
        path = f"{self.USER}/user.slice/libpod-{ID}.scope/container"
        owner = laid_out(PROCESS, cgroup=path)
        assert Trait.CONTAINER in owner.traits
        (own,) = remedies_of(owner, 1000)
        assert own.command == ("podman", "stop", ID[:12])
        (other,) = remedies_of(owner)
        assert other.command is None
        assert "uid 1000" in other.text

    def test_socket_unit(self) -> None:
        assert socket_unit_of("/system.slice/ssh.socket") == "ssh.socket"
        assert socket_unit_of("/system.slice/ssh.service") is None
        assert socket_unit_of(f"{self.USER}/app.slice/x.socket") is None


class TestNobody:
    VXLAN = KernelPort(user="vxlan device vx0", port=8080, datagram=True)
    UDP = replace(ROW, protocol=Protocol.UDP, state=State.CLOSE)

    def test_kernel_only_when_all_was_read(self) -> None:
        owner = laid_out(row=self.UDP, kernel_ports=(self.VXLAN,))
        assert (owner.kind, owner.kernel) == (OwnerKind.KERNEL, "vxlan device vx0")
        (remedy,) = remedies_of(owner)
        assert (remedy.action, remedy.command) == ("stop-kernel-user", None)
        assert "vxlan device vx0" in remedy.text
        hidden = laid_out(
            row=self.UDP, kernel_ports=(self.VXLAN,), everything_readable=False
        )
        assert (hidden.kind, hidden.kernel) == (OwnerKind.HIDDEN, "vxlan device vx0")

    @pytest.mark.parametrize(
        "other",
        [
            replace(VXLAN, port=4789),
            replace(VXLAN, datagram=False),
        ],
    )
    def test_in_transit_without_a_reason(self, other: KernelPort) -> None:
        owner = laid_out(row=self.UDP, kernel_ports=(other,))
        assert (owner.kind, owner.kernel) == (OwnerKind.IN_TRANSIT, None)
        (remedy,) = remedies_of(owner)
        assert (remedy.action, remedy.command) == ("wait-for-transfer", None)

    def test_port_that_is_not_told_is_no_proof(self) -> None:
        """A WireGuard device tells its port to root by another protocol."""
        device = KernelPort(user="wireguard device wg0", port=None, datagram=True)
        owner = laid_out(row=self.UDP, kernel_ports=(device,))
        assert (owner.kind, owner.kernel) == (
            OwnerKind.IN_TRANSIT,
            "wireguard device wg0",
        )
        hidden = laid_out(
            row=self.UDP, kernel_ports=(device,), everything_readable=False
        )
        assert (hidden.kind, hidden.kernel) == (OwnerKind.HIDDEN, None)
        both = laid_out(row=self.UDP, kernel_ports=(device, self.VXLAN))
        assert both.kernel == "vxlan device vx0"

    def test_hidden_service_is_not_the_kernel(self) -> None:
        owner = laid_out(
            row=self.UDP,
            kernel_ports=(self.VXLAN,),
            everything_readable=False,
            cgroup="/system.slice/dns.service",
        )
        assert owner.kernel is None
        assert remedies_of(owner)[0].action == "stop-unit"

    def test_process_is_never_the_kernel(self) -> None:
        owner = laid_out(PROCESS, row=self.UDP, kernel_ports=(self.VXLAN,))
        assert (owner.kind, owner.kernel) == (OwnerKind.PROCESS, None)


def test_started_by_is_said_of_the_one_who_did(holder: Holder) -> None:
    """A child in our own session was started by us."""
    found = diagnose(holder.bind(listen=True))
    name = Path("/proc/self/comm").read_text().strip()
    assert f"started by {name} ({os.getpid()})" in told(found)
