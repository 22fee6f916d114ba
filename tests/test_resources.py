"""What can run out: ports to choose from, descriptors, memory."""

from __future__ import annotations

import errno
import resource
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.model import Attempt, NativeCode, Options, Snapshot
from bindcheck.rules.decide import decide
from bindcheck.target import make_target
from bindcheck.wording import explain
from bindcheck.words import CauseCode, Domain, Family, Protocol, Step, Verdict
from tests.support import Holder, in_child, needs
from tests.support.interfaces import sysctl

if TYPE_CHECKING:
    from bindcheck.model import Diagnosis

pytestmark = pytest.mark.usefixtures("network")
in_own_network = needs("network namespaces", "socket tables")


def check(target: str) -> Diagnosis:
    (one,) = bindcheck.diagnose(target)
    return one


def codes(found: Diagnosis) -> list[CauseCode]:
    return [cause.code for cause in found.causes]


def actions(found: Diagnosis) -> list[str]:
    return [remedy.action for cause in found.causes for remedy in cause.remedies]


class TestEphemeralPorts:
    """A range of four ports in a network of the test's own."""

    @in_own_network
    def test_who_has_them_is_counted(self, holder: Holder) -> None:
        sysctl("net.ipv4.ip_local_port_range", "40000 40003")
        server = holder.bind(port=8080, listen=True)
        for name in ("a", "b"):
            holder.bind(name=name)
        holder.bind(address="0.0.0.0", name="c", listen=True)  # noqa: S104
        # The client closes first: its port stays in TIME_WAIT.
        client = socket.create_connection(("127.0.0.1", server))
        holder.run("kept['child'], _ = kept['main'].accept()")
        client.close()
        holder.run("kept['child'].recv(1); kept.pop('child').close()")

        found = check("127.0.0.1:0")
        program = Path(f"/proc/{holder.pid}/comm").read_text("utf-8").strip()
        assert codes(found) == [CauseCode.EPHEMERAL_PORTS_EXHAUSTED]
        assert found.causes[0].evidence == (
            "net.ipv4.ip_local_port_range = 40000 40003",
            "4 of 4 ports taken for 127.0.0.1 (tcp)",
            f"3 by {program} (pid {holder.pid})",
            "1 by closed connections in TIME_WAIT",
        )
        # Not on another address, where only the wildcard counts, nor in UDP.
        assert check("127.0.0.2:0").verdict is Verdict.BINDABLE
        assert check("127.0.0.1:0/udp").verdict is Verdict.BINDABLE
        assert codes(check("0.0.0.0:0")) == [CauseCode.EPHEMERAL_PORTS_EXHAUSTED]

    @in_own_network
    def test_reserved_ports_are_none_to_choose(self, holder: Holder) -> None:
        sysctl("net.ipv4.ip_local_port_range", "40000 40003")
        sysctl("net.ipv4.ip_local_reserved_ports", "40001-40002,50000")
        holder.bind(name="a", kind="udp")
        holder.bind(name="b", kind="udp")
        found = check("127.0.0.1:0/udp")
        assert found.causes[0].evidence[1:3] == (
            "2 ports of them reserved (net.ipv4.ip_local_reserved_ports)",
            "2 of 2 ports taken for 127.0.0.1 (udp)",
        )
        assert check("127.0.0.1:40001/udp").verdict is Verdict.BINDABLE

    @in_own_network
    def test_every_port_reserved(self) -> None:
        sysctl("net.ipv4.ip_local_port_range", "40000 40003")
        sysctl("net.ipv4.ip_local_reserved_ports", "40000-40003")
        found = check("127.0.0.1:0")
        assert codes(found) == [CauseCode.EPHEMERAL_PORTS_EXHAUSTED]
        assert found.causes[0].summary == "every port of the range is reserved"
        assert not any("taken" in line for line in found.causes[0].evidence)
        (command,) = [
            one.command
            for one in found.causes[0].remedies
            if one.action == "free-reserved-ports"
        ]
        assert command is not None
        subprocess.run(command, check=True, capture_output=True)
        assert check("127.0.0.1:0").verdict is Verdict.BINDABLE

    @in_own_network
    def test_what_helps_does_help(self, holder: Holder) -> None:
        sysctl("net.ipv4.ip_local_port_range", "40000 40000")
        holder.bind()
        found = check("127.0.0.1:0")
        assert actions(found) == [
            "use-other-address",
            "bind-address-no-port",
            "widen-port-range",
        ]
        assert check("127.0.0.1:39999").verdict is Verdict.BINDABLE
        command = found.causes[0].remedies[-1].command
        assert command is not None
        name, _, value = command[-1].partition("=")
        sysctl(name, value)
        assert check("127.0.0.1:0").verdict is Verdict.BINDABLE


class TestDescriptors:
    """RLIMIT_NOFILE of a child, and the system's limit laid out."""

    def test_the_limit_of_the_process_with_its_numbers(self) -> None:
        import os

        def use_up() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
            try:
                while True:
                    os.dup(0)
            except OSError as error:
                assert error.errno == errno.EMFILE  # noqa: PT017

        found = in_child(use_up, lambda: check("127.0.0.1:8080"))
        assert found.verdict is Verdict.UNKNOWN
        assert codes(found) == [CauseCode.DESCRIPTOR_LIMIT]
        assert found.causes[0].summary == (
            "all 64 descriptors of this process are in use"
        )
        assert found.causes[0].evidence == (
            "RLIMIT_NOFILE: soft limit 64, hard limit 128",
        )
        assert "up to 128 without root" in found.causes[0].remedies[0].text
        assert found.next_errors == ()

    @pytest.mark.parametrize(
        ("open_files", "evidence"),
        [((9000, 9000), ("9000 files are open; fs.file-max = 9000",)), (None, ())],
    )
    def test_the_limit_of_the_system(
        self, open_files: tuple[int, int] | None, evidence: tuple[str, ...]
    ) -> None:
        """Laid out: lowering fs.file-max would hit every program."""
        found = laid_out("ENFILE", open_files=open_files)
        assert codes(found) == [CauseCode.DESCRIPTOR_LIMIT]
        assert "the whole system" in found.causes[0].summary
        assert found.causes[0].evidence == evidence
        assert "fs.file-max" in found.causes[0].remedies[0].text


@pytest.mark.parametrize("name", ["ENOMEM", "ENOBUFS"])
@pytest.mark.parametrize("step", [Step.SOCKET, Step.BIND])
def test_no_memory(name: str, step: Step) -> None:
    """Laid out: the kernel would take the memory of other programs first."""
    found = laid_out(name, step=step)
    assert codes(found) == [CauseCode.NO_MEMORY]
    assert actions(found) == ["free-memory"]
    # Nothing was learnt about the address where there was no socket.
    expected = Verdict.UNKNOWN if step is Step.SOCKET else Verdict.BLOCKED
    assert found.verdict is expected


def laid_out(
    name: str,
    *,
    step: Step = Step.SOCKET,
    open_files: tuple[int, int] | None = None,
) -> Diagnosis:
    attempt = Attempt(
        target=make_target(Family.INET, b"\x7f\0\0\1", 8080, Protocol.TCP),
        options=Options(),
        ok=False,
        native=True,
        step=step,
        argument=None,
        error=native.error(Domain.ERRNO, getattr(errno, name)),
        bound=None,
    )
    snapshot = Snapshot(facts=native.read_facts(), open_files=open_files)
    return explain(decide("127.0.0.1:8080", attempt, (), snapshot), snapshot)


@needs("socket tables")
def test_devices_that_cannot_be_listed_are_not_none() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        found = native.list_tunnels()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert isinstance(found, NativeCode)
    assert found.name == "EMFILE"
