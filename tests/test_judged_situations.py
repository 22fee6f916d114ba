"""Situations in which a careless answer blames or stops the wrong one."""

from __future__ import annotations

import ctypes
import errno
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.model import Facts, Owner, Process, Snapshot
from bindcheck.rules.remedies.stopping import stop_owner
from bindcheck.words import CauseCode, Kind, OwnerKind, Protocol, State
from tests.support import NOBODY, Holder, as_user, in_private_network, needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from bindcheck.model import Diagnosis

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]


def only(report: bindcheck.Report) -> Diagnosis:
    (one,) = report
    return one


@needs("network namespaces")
def test_bound_socket_of_another_network_is_not_found(holder: Holder) -> None:
    port = holder.bind()
    holder.bind(listen=True, name="listens")
    listening = int(holder.run("result = kept['listens'].getsockname()[1]"))
    assert [row.inode for row in native.find_bound(port, []).sockets] == [
        holder.inode()
    ]
    assert native.find_bound(listening, []).sockets == ()
    with in_private_network():
        assert native.find_bound(port, []).sockets == ()


@needs("root", "network namespaces", "mount")
def test_invisible_processes_are_not_nobody(holder: Holder) -> None:
    port = holder.bind(listen=True)

    def as_nobody_with_hidepid() -> Diagnosis:
        """In a child, which has a mount namespace of its own."""
        if ctypes.CDLL(None).unshare(0x00020000) != 0:
            raise OSError("unshare")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        proc = ["mount", "-t", "proc", "-o", "hidepid=2", "proc", "/proc"]
        subprocess.run(proc, check=True)
        target = ("127.0.0.1", port)
        return as_user(NOBODY, lambda: only(bindcheck.diagnose(target)))

    found = as_user(0, as_nobody_with_hidepid)
    (blocker,) = found.blockers
    assert (blocker.owner.kind, blocker.owner.uid) == (OwnerKind.HIDDEN, 0)
    assert "processes-invisible" in {limit.code for limit in found.limits}


def process(pid: int, name: str, parent: int = 4000) -> Process:
    return Process(
        pid=pid,
        start_id=1,
        fds=(3,),
        name=name,
        command=(name,),
        command_truncated=False,
        uid=0,
        user="root",
        started=0.0,
        parent=parent,
        parent_name="sh",
        state="sleeping",
        folder="/",
        program=None,
    )


@pytest.mark.parametrize(
    ("name", "pid", "unit", "action"),
    [
        ("docker-proxy", 900, "docker.service", "stop-what-is-behind"),
        ("sshd", 900, "ssh.service", "stop-what-is-behind"),
        ("systemd", 1, None, "stop-socket-unit"),
        ("python3", 1, None, "stop-container"),
        ("nginx", 900, "nginx.service", "stop-unit"),
        ("nginx", 900, None, "stop-holder"),
    ],
)
def test_who_may_be_stopped(name: str, pid: int, unit: str | None, action: str) -> None:
    facts: Facts = native.read_facts()
    owner = Owner(kind=OwnerKind.PROCESS, unit=unit, processes=(process(pid, name),))
    (remedy, *_) = stop_owner(owner, Snapshot(facts=facts))
    assert remedy.action == action
    for one in stop_owner(owner, Snapshot(facts=facts)):
        assert not (one.command and one.command[-1] == "docker.service")


def test_unit_of_a_hidden_daemon_is_guarded_too() -> None:
    owner = Owner(kind=OwnerKind.HIDDEN, unit="docker.service")
    remedies = stop_owner(owner, Snapshot(facts=native.read_facts()))
    assert [one.action for one in remedies] == ["stop-what-is-behind"]


def test_client_that_does_not_close_is_not_killed(holder: Holder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        holder.run(
            f"c = socket.create_connection(('127.0.0.1', {port})); kept['c'] = c"
        )
        local = int(holder.run("result = kept['c'].getsockname()[1]"))
        server.accept()[0].close()
        holder.run("kept['c'].recv(1)")
        found = only(bindcheck.diagnose(("127.0.0.1", local)))
    assert [cause.code for cause in found.causes] == [CauseCode.CLOSE_WAIT]
    assert [one.action for one in found.causes[0].remedies] == ["wait-for-client"]


def test_connected_datagram_client_is_not_killed(holder: Holder) -> None:
    holder.bind(kind="udp")
    holder.run("kept['main'].connect(('127.0.0.1', 9))")
    port = int(holder.run("result = kept['main'].getsockname()[1]"))
    found = only(bindcheck.diagnose(("127.0.0.1", port), protocol="udp"))
    assert [one.action for one in found.causes[0].remedies] == [
        "wait-for-client",
        "use-other-port",
    ]


def test_half_closed_connection_of_a_live_process_is_its_own(holder: Holder) -> None:
    port = holder.bind(listen=True)
    with socket.create_connection(("127.0.0.1", port)) as client:
        holder.run(
            "kept['child'], _ = kept['main'].accept(); kept.pop('main').close();"
            "kept['child'].shutdown(socket.SHUT_WR)"
        )
        client.recv(1)
        found = only(bindcheck.diagnose(("127.0.0.1", port)))
    (blocker,) = found.blockers
    assert blocker.kind is Kind.CLOSING_CONNECTION
    assert f"(pid {holder.pid})" in found.causes[0].summary
    assert found.causes[0].remedies[0].command == ("kill", str(holder.pid))


@needs("root", "network namespaces")
def test_device_of_a_bound_socket_is_read_from_it(
    make_holder: Callable[..., Holder],
) -> None:
    pair = ["ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1"]
    subprocess.run(pair, check=True)
    holder = make_holder()
    port = holder.bind("0.0.0.0", device="d0")  # noqa: S104
    index = native.interface_index("d0")
    (held,) = native.find_owners([holder.inode()]).holders
    assert held.device == index
    (row,) = native.find_bound(port, []).sockets
    assert (row.device, row.state, row.protocol) == (index, State.CLOSE, Protocol.TCP)


@needs("root", "network namespaces")
def test_diagnosis_does_not_change_what_the_next_bind_is_told(holder: Holder) -> None:
    """A bind with both options would leave SO_REUSEPORT in the port's bucket."""
    port = holder.bind(reuse_address=True)

    def plain() -> int:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError as error:
                return error.errno or -1
        return 0

    assert plain() == errno.EADDRINUSE
    found = only(bindcheck.diagnose(("127.0.0.1", port), reuse_port=True))
    (trial,) = found.trials
    assert (dict(trial.changed), trial.native) == ({"reuse_address": True}, False)
    assert trial.ok is True
    assert found.works_with == {"reuse_address": True}
    assert plain() == errno.EADDRINUSE


@needs("root", "network namespaces")
def test_predicted_datagram_bind_fails_in_the_order_of_the_kernel(
    holder: Holder,
) -> None:
    """Of two reasons an IPv4 bind is told the address first, an IPv6 bind the port."""
    holder.bind("0.0.0.0", 700, kind="udp")  # noqa: S104
    holder.bind("::", 701, kind="udp", v6only=True, name="other")

    def ask(address: str, port: int) -> tuple[int, int]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError) as caught:  # noqa: PT011
                one.bind((address, port))
        (found,) = bindcheck.diagnose((address, port), protocol="udp", reuse_port=True)
        assert found.attempt.error is not None
        return caught.value.errno or -1, found.attempt.error.code

    for target in (("192.0.2.1", 700), ("2001:db8::1", 701)):
        truth, told = as_user(NOBODY, lambda target=target: ask(*target))  # type: ignore[misc]
        assert told == truth


@needs("root", "network namespaces", "IPv6")
def test_foretold_address_is_one_of_the_interface_asked_for() -> None:
    """Behind a privileged port: ::1 is an address here, but not of that interface."""
    pair = ["ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1"]
    subprocess.run(pair, check=True)
    target = ("::1", 700)
    found = as_user(NOBODY, lambda: only(bindcheck.diagnose(target, device="d0")))
    assert [cause.code for cause in found.causes] == [CauseCode.PRIVILEGED_PORT]
    (upcoming,) = found.next_errors
    assert upcoming.cause is CauseCode.ADDRESS_NOT_LOCAL
