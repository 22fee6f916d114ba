"""The three classic causes and their neighbours, each a real situation."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck.words import (
    CauseCode,
    Direction,
    Kind,
    OwnerKind,
    ReleaseHow,
    Sharing,
    Trait,
    Verdict,
)
from tests.support import NOBODY, Holder, as_user, needs
from tests.test_command import here

if TYPE_CHECKING:
    from collections.abc import Callable

    from bindcheck.model import Diagnosis

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]


def only(report: bindcheck.Report) -> Diagnosis:
    (one,) = report
    return one


def pids(diagnosis: Diagnosis) -> set[int]:
    return {
        process.pid
        for blocker in diagnosis.blockers
        for process in blocker.owner.processes
    }


def connected(
    server: Holder, *, reuse_address: bool = False
) -> tuple[int, socket.socket]:
    """A server with one accepted connection, and the client's end here."""
    port = server.bind(listen=True, reuse_address=reuse_address)
    client = socket.create_connection(("127.0.0.1", port))
    server.run("kept['child'], _ = kept['main'].accept()")
    return port, client


def test_listener_of_another_program_is_named(holder: Holder) -> None:
    port = holder.bind(listen=True)
    found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
    assert found.verdict is Verdict.BLOCKED
    assert found.attempt.error is not None
    assert (found.attempt.error.code, found.attempt.error.name) == (98, "EADDRINUSE")
    assert [cause.code for cause in found.causes] == [CauseCode.LISTENER]
    (blocker,) = found.blockers
    assert blocker.kind is Kind.LISTENER
    assert blocker.sharing is Sharing.NOT_REQUESTED
    assert blocker.release.how is ReleaseHow.WHEN_OWNER_CLOSES
    assert blocker.socket.inode == holder.inode()
    (process,) = blocker.owner.processes
    assert (process.pid, process.fds) == (holder.pid, (holder.fd(),))
    assert process.parent == os.getpid()
    assert process.command[0] == sys.executable


def test_bound_only_socket_is_named(holder: Holder) -> None:
    port = holder.bind()
    found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
    assert found.verdict is Verdict.BLOCKED
    assert [cause.code for cause in found.causes] == [CauseCode.BOUND]
    assert pids(found) == {holder.pid}


def test_udp_receiver_is_named(holder: Holder) -> None:
    port = holder.bind(kind="udp")
    found = only(bindcheck.diagnose(f"127.0.0.1:{port}/udp"))
    assert [cause.code for cause in found.causes] == [CauseCode.DATAGRAM]
    assert pids(found) == {holder.pid}
    assert only(bindcheck.diagnose(f"127.0.0.1:{port}/tcp")).verdict is Verdict.BINDABLE


def test_own_socket_is_the_same_process() -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        found = only(bindcheck.diagnose(own.getsockname()))
        (blocker,) = found.blockers
        assert Trait.SAME_PROCESS in blocker.owner.traits
        assert blocker.owner.processes[0].fds == (own.fileno(),)
        assert found.causes[0].remedies[0].action == "close-own-socket"


COPY = """
import socket, sys, bindcheck
if sys.argv[1] == "serve":
    s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
    print(s.getsockname()[1], flush=True)
    sys.stdin.read()
else:
    (one,) = bindcheck.diagnose(("127.0.0.1", int(sys.argv[1])))
    print(*one.blockers[0].owner.traits)
"""


def test_second_start_recognises_the_first(tmp_path: os.PathLike[str]) -> None:
    script = os.path.join(tmp_path, "server.py")  # noqa: PTH118
    with open(script, "w", encoding="utf-8") as file:
        file.write(COPY)
    with subprocess.Popen(
        [sys.executable, script, "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        port = first.stdout.readline().strip()
        second = subprocess.run(
            [sys.executable, script, port], capture_output=True, text=True, check=True
        )
        # The test itself is not a copy of that program.
        found = only(bindcheck.diagnose(("127.0.0.1", int(port))))
        assert found.blockers[0].owner.traits == ()
        first.terminate()
    assert second.stdout.split() == ["own-copy"]


def test_time_wait_without_reuse_address_blocks_both_ways(holder: Holder) -> None:
    port, client = connected(holder)
    holder.kill()  # the server closes first and keeps TIME_WAIT
    client.close()
    found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
    assert found.verdict is Verdict.BLOCKED
    assert [cause.code for cause in found.causes] == [CauseCode.TIME_WAIT]
    (blocker,) = found.blockers
    assert (blocker.kind, blocker.owner.kind) == (Kind.TIME_WAIT, OwnerKind.NONE)
    assert blocker.release.how is ReleaseHow.AFTER
    assert blocker.release.after_ms is not None
    assert 50_000 < blocker.release.after_ms <= 60_000
    assert found.trials[0].ok is False


def test_time_wait_with_reuse_address_is_conditional(holder: Holder) -> None:
    port, client = connected(holder, reuse_address=True)
    holder.kill()
    client.close()
    found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
    assert found.verdict is Verdict.CONDITIONAL
    assert found.works_with == {"reuse_address": True}
    assert bindcheck.diagnose(f"127.0.0.1:{port}", reuse_address=True).ok


def test_outgoing_connection_is_told_from_an_accepted_one(holder: Holder) -> None:
    port, client = connected(holder)
    with client:
        local = client.getsockname()[1]
        outgoing = only(bindcheck.diagnose(f"127.0.0.1:{local}"))
        assert [c.code for c in outgoing.causes] == [CauseCode.OUTGOING_CONNECTION]
        assert outgoing.blockers[0].direction is Direction.OUTGOING
        assert pids(outgoing) == {os.getpid()}

        holder.close()
        accepted = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
        assert [c.code for c in accepted.causes] == [CauseCode.ACCEPTED_CONNECTION]
        assert accepted.blockers[0].direction is Direction.ACCEPTED
        assert pids(accepted) == {holder.pid}


def test_close_wait_names_who_does_not_close(holder: Holder) -> None:
    port, client = connected(holder)
    holder.close()
    client.close()
    found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
    assert [cause.code for cause in found.causes] == [CauseCode.CLOSE_WAIT]
    assert pids(found) == {holder.pid}


def test_closing_connection_without_owner(holder: Holder) -> None:
    port, client = connected(holder)
    with client:
        holder.kill()  # FIN_WAIT2: the client has not closed
        found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
        assert [c.code for c in found.causes] == [CauseCode.CLOSING_CONNECTION]
        assert found.blockers[0].owner.kind is OwnerKind.NONE


def test_connection_that_waits_for_accept_belongs_to_the_listener(
    holder: Holder,
) -> None:
    port = holder.bind(listen=True)
    with socket.create_connection(("127.0.0.1", port)):
        found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
        kinds = {one.kind: one for one in found.blockers}
        assert kinds[Kind.CONNECTION].direction is Direction.ACCEPTED
        assert kinds[Kind.CONNECTION].owner == kinds[Kind.LISTENER].owner


@needs("root")
def test_another_user_sees_uid_but_no_pid(holder: Holder) -> None:
    port = holder.bind(listen=True)
    found = only(as_user(NOBODY, lambda: bindcheck.diagnose(f"127.0.0.1:{port}")))
    (blocker,) = found.blockers
    assert blocker.owner.kind is OwnerKind.HIDDEN
    assert (blocker.owner.uid, blocker.owner.processes) == (0, ())
    assert "processes-unreadable" in {limit.code for limit in found.limits}


@needs("root")
def test_several_processes_share_one_socket(holder: Holder) -> None:
    port = holder.bind(listen=True)
    child = holder.run(
        "r, w = os.pipe()\n"
        "result = os.fork()\n"
        "if result == 0:\n    os.close(w)\n    os.read(r, 1)\n    os._exit(0)"
    )
    found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
    assert pids(found) == {holder.pid, child}
    assert Trait.SHARED in found.blockers[0].owner.traits
    assert found.causes[0].remedies[0].command == ("kill", str(holder.pid))


@needs("root")
def test_suspended_holder_is_continued_or_ended(holder: Holder) -> None:
    port = holder.bind(listen=True)
    os.kill(holder.pid, 19)  # SIGSTOP
    os.waitpid(holder.pid, os.WUNTRACED)
    found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
    assert Trait.SUSPENDED in found.blockers[0].owner.traits
    commands = [remedy.command for remedy in found.causes[0].remedies[:-1]]
    go_on = ("kill", "-CONT", str(holder.pid))
    assert commands == [go_on, ("kill", str(holder.pid)), go_on]
    for command in commands[1:]:  # asked to end alone, it would not hear of it
        assert command is not None
        subprocess.run(command, check=True)
    assert holder.process.wait() == -15


def test_mptcp_and_its_subflow_are_one_blocker(
    make_holder: Callable[..., Holder],
) -> None:
    holder = make_holder()
    try:
        port = holder.bind(kind="mptcp", listen=True)
    except OSError:
        pytest.skip("needs MPTCP in the kernel")
    found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
    (blocker,) = found.blockers
    assert (blocker.count, blocker.socket.protocol) == (1, "mptcp")
    assert pids(found) == {holder.pid}


@needs("root", "network namespaces")
def test_privileged_port(holder: Holder) -> None:
    found = only(as_user(NOBODY, lambda: bindcheck.diagnose("127.0.0.1:80")))
    assert [cause.code for cause in found.causes] == [CauseCode.PRIVILEGED_PORT]
    assert found.next_errors == ()
    holder.bind(port=80, listen=True)
    found = only(as_user(NOBODY, lambda: bindcheck.diagnose("127.0.0.1:80")))
    assert [one.cause for one in found.next_errors] == [CauseCode.LISTENER]
    assert "".join(c.evidence[0] for c in found.causes).startswith(
        "net.ipv4.ip_unprivileged_port_start = 1024"
    )


def test_address_of_another_machine() -> None:
    found = only(bindcheck.diagnose("192.0.2.77:8080"))
    assert [cause.code for cause in found.causes] == [CauseCode.ADDRESS_NOT_LOCAL]
    assert "127.0.0.1" in found.causes[0].evidence[0]


@needs("IPv6")
def test_link_local_address_without_zone() -> None:
    found = only(bindcheck.diagnose("[fe80::1]:8080"))
    assert [cause.code for cause in found.causes] == [CauseCode.SCOPE_MISSING]


def test_unknown_host_is_a_diagnosis() -> None:
    found = only(bindcheck.diagnose("no-such-host.invalid:8080", timeout=30))
    assert [cause.code for cause in found.causes] == [CauseCode.NAME_NOT_RESOLVED]
    assert found.attempt.error is not None
    assert found.attempt.error.domain == "eai"
    assert found.target.address is None


def test_many_programs_with_connections_are_not_all_told(
    make_holder: Callable[..., Holder],
) -> None:
    """A server that gave each of its connections to a program of its own."""
    server = make_holder()
    port = server.bind(listen=True, reuse_address=True)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(7)]
    pids = server.run(
        "import ctypes\n"
        "result = []\n"
        "for _ in range(7):\n"
        "    one, _ = kept['main'].accept()\n"
        "    reader, writer = os.pipe()\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)\n"  # PR_SET_PDEATHSIG, SIGKILL
        "        kept['main'].close()\n"
        "        os.write(writer, b'x')\n"
        "        time.sleep(1000)\n"
        "    os.read(reader, 1)\n"
        "    one.close(); os.close(reader); os.close(writer)\n"
        "    result.append(pid)"
    )
    out = here(f"127.0.0.1:{port}").out
    lines = [line.strip() for line in out.splitlines()]
    assert f"kill {server.pid}" in lines
    assert [f"kill {pid}" in lines for pid in pids].count(True) == 3
    assert "more like these" in out
    assert " and 3 more" in out
    found = only(bindcheck.diagnose(f"127.0.0.1:{port}"))
    commands = [one.command for cause in found.causes for one in cause.remedies]
    assert {("kill", str(pid)) for pid in pids} <= set(commands)
    for one in clients:
        one.close()
