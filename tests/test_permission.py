"""Binds that are refused for lack of a right: privileged ports, sandboxes, policies."""

from __future__ import annotations

import ctypes
import errno
import socket
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.model import Attempt, Confinement, Options, Snapshot, Trial
from bindcheck.records import replace
from bindcheck.rules.decide import decide
from bindcheck.target import make_target
from bindcheck.wording import explain
from bindcheck.words import (
    CauseCode,
    Certainty,
    Domain,
    Family,
    Protocol,
    Step,
    Verdict,
)
from tests.support import (
    NOBODY,
    Holder,
    as_user,
    bpf,
    in_child,
    in_user_namespace,
    landlock,
    needs,
    seccomp,
)
from tests.support.network import CLONE_NEWNET, raise_loopback
from tests.support.users import CAP_NET_BIND_SERVICE

if TYPE_CHECKING:
    from bindcheck.model import Diagnosis

pytestmark = pytest.mark.usefixtures("network")


def only(report: bindcheck.Report) -> Diagnosis:
    (one,) = report
    return one


def codes(found: Diagnosis) -> list[CauseCode]:
    return [cause.code for cause in found.causes]


def actions(found: Diagnosis) -> list[str]:
    return [remedy.action for cause in found.causes for remedy in cause.remedies]


def texts(found: Diagnosis) -> str:
    return "\n".join(line for cause in found.causes for line in cause.evidence)


def foretold(found: Diagnosis) -> list[CauseCode]:
    return [one.cause for one in found.next_errors]


def error_of(found: Diagnosis) -> str | None:
    return found.attempt.error.name if found.attempt.error else None


def sysctl(name: str, value: str) -> None:
    path = f"/proc/sys/{name.replace('.', '/')}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(value)


def check(target: str) -> Diagnosis:
    return only(bindcheck.diagnose(target))


def free_port(*kinds: socket.SocketKind) -> int:
    """A port that is free for each of these kinds."""
    with socket.socket(socket.AF_INET, kinds[0]) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        for kind in kinds[1:]:
            with socket.socket(socket.AF_INET, kind) as other:
                other.bind(("127.0.0.1", port))
        return port


class TestPrivilegedPort:
    """net.ipv4.ip_unprivileged_port_start, and who may go below it."""

    @needs("root", "network namespaces")
    def test_ordinary_user_is_offered_a_port_that_was_tried(self) -> None:
        found = as_user(NOBODY, lambda: check("127.0.0.1:80"))
        assert codes(found) == [CauseCode.PRIVILEGED_PORT]
        assert "lacks CAP_NET_BIND_SERVICE" in texts(found)
        first = found.causes[0].remedies[0]
        assert (first.action, first.tried) == ("use-other-port", True)
        assert "8080" in first.text
        assert "lower-port-start" in actions(found)

    @needs("root", "network namespaces")
    def test_a_taken_port_is_not_offered(self, holder: Holder) -> None:
        holder.bind(port=8080, listen=True)
        found = as_user(NOBODY, lambda: check("127.0.0.1:80"))
        assert [dict(one.changed) for one in found.trials] == [
            {"port": 8080},
            {"port": 9080},
        ]
        assert [one.ok for one in found.trials] == [False, True]
        assert "9080" in found.causes[0].remedies[0].text

    @needs("root", "network namespaces")
    @pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
    def test_the_capability_alone_is_enough(self, address: str) -> None:
        found = as_user(
            NOBODY, lambda: check(f"{address}:80"), capability=CAP_NET_BIND_SERVICE
        )
        assert found.verdict is Verdict.BINDABLE

    @needs("root", "network namespaces")
    def test_the_limit_of_this_network_counts(self) -> None:
        sysctl("net.ipv4.ip_unprivileged_port_start", "80")
        assert as_user(NOBODY, lambda: check("127.0.0.1:80")).verdict == "bindable"
        below = as_user(NOBODY, lambda: check("[::1]:79"))
        assert codes(below) == [CauseCode.PRIVILEGED_PORT]
        assert "ip_unprivileged_port_start = 80" in texts(below)
        sysctl("net.ipv4.ip_unprivileged_port_start", "9000")
        above = as_user(NOBODY, lambda: check("127.0.0.1:8080"))
        assert codes(above) == [CauseCode.PRIVILEGED_PORT]
        assert [dict(one.changed) for one in above.trials] == [{"port": 16080}]

    @needs("network namespaces", "user namespaces")
    def test_root_of_a_user_namespace_on_the_network_of_another(self) -> None:
        found = in_user_namespace(lambda: check("127.0.0.1:80"))
        assert codes(found) == [CauseCode.PRIVILEGED_PORT]
        assert "does not own this network namespace" in texts(found)
        # The sysctl of this network can be written where the network belongs.
        remedy = found.causes[0].remedies[-1]
        assert remedy.action == "lower-port-start"
        assert "outside of this user namespace" in remedy.text
        assert "grant-capability" not in actions(found)

    @needs("root", "network namespaces", "user namespaces")
    def test_nobody_as_root_of_a_user_namespace(self, holder: Holder) -> None:
        holder.bind(port=80, listen=True)

        def ask() -> Diagnosis:
            return in_user_namespace(lambda: check("127.0.0.1:80"))

        found = as_user(NOBODY, ask)
        assert codes(found) == [CauseCode.PRIVILEGED_PORT]
        assert "does not own this network namespace" in texts(found)
        assert foretold(found) == [CauseCode.LISTENER]

    @needs("network namespaces", "user namespaces")
    def test_root_of_a_user_namespace_with_a_network_of_its_own(self) -> None:
        def ask() -> Diagnosis:
            raise_loopback()
            return check("127.0.0.1:80")

        assert in_user_namespace(ask, flags=CLONE_NEWNET).verdict is Verdict.BINDABLE

    @needs("root", "network namespaces", "user namespaces")
    def test_root_in_a_network_that_a_user_namespace_below_owns(
        self, holder: Holder
    ) -> None:
        """The capability counts in every namespace below the one that has it."""
        holder.run(
            "import ctypes\n"
            "if ctypes.CDLL(None).unshare(0x50000000):\n"
            "    raise OSError(1, 'unshare')"
        )

        def enter() -> None:
            with open(f"/proc/{holder.pid}/ns/net", "rb") as network:
                libc = ctypes.CDLL(None, use_errno=True)
                assert libc.setns(network.fileno(), CLONE_NEWNET) == 0
            raise_loopback()

        found, facts = in_child(
            enter, lambda: (check("127.0.0.1:80"), native.read_facts())
        )
        assert found.verdict is Verdict.BINDABLE
        assert facts.owns_network_namespace is True


class TestLandlock:
    """A real Landlock domain that forbids binds of TCP ports."""

    @needs("Landlock for the network")
    @pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "[::1]"])  # noqa: S104
    def test_every_tcp_port_is_forbidden(self, address: str) -> None:
        port = free_port(socket.SOCK_STREAM, socket.SOCK_DGRAM)
        found = in_child(landlock.allow_ports, lambda: check(f"{address}:{port}"))
        assert (error_of(found), found.verdict) == ("EACCES", Verdict.BLOCKED)
        assert codes(found) == [CauseCode.SANDBOX]
        assert found.causes[0].certainty is Certainty.LIKELY
        assert "Landlock" in found.causes[0].summary
        assert "tried: port 0 is refused too" in texts(found)
        assert f"tried: UDP port {port} can be bound" in texts(found)
        assert "NoNewPrivs" in texts(found)
        assert actions(found) == ["change-sandbox"]
        assert foretold(found) == []

    @needs("Landlock for the network")
    def test_one_port_is_allowed_and_udp_is_not_judged(self) -> None:
        port = free_port(socket.SOCK_STREAM, socket.SOCK_DGRAM)
        assert in_child(
            lambda: landlock.allow_ports(port),
            lambda: check(f"127.0.0.1:{port}").verdict,
        ) == (Verdict.BINDABLE)
        assert in_child(
            landlock.allow_ports, lambda: check(f"127.0.0.1:{port}/udp").verdict
        ) == (Verdict.BINDABLE)

    @needs("Landlock for the network")
    def test_port_0_may_be_allowed_where_the_port_is_not(self) -> None:
        port = free_port(socket.SOCK_STREAM, socket.SOCK_DGRAM)
        found = in_child(
            lambda: landlock.allow_ports(0), lambda: check(f"127.0.0.1:{port}")
        )
        assert codes(found) == [CauseCode.SANDBOX]
        assert "it is about this port" in texts(found)
        assert "Landlock" in found.causes[0].summary

    @needs("Landlock for the network")
    def test_a_udp_receiver_is_left_alone(self, holder: Holder) -> None:
        port = holder.bind(kind="udp")
        found = in_child(landlock.allow_ports, lambda: check(f"127.0.0.1:{port}"))
        assert [dict(one.changed) for one in found.trials] == [{"port": 0}]
        assert codes(found) == [CauseCode.SANDBOX]

    @needs("Landlock for the network", "socket tables")
    def test_what_comes_after_the_sandbox_comes(self, holder: Holder) -> None:
        port = holder.bind(address="0.0.0.0", listen=True)  # noqa: S104
        target = f"192.0.2.77:{port}"
        found = in_child(landlock.allow_ports, lambda: check(target))
        assert codes(found) == [CauseCode.SANDBOX]
        assert foretold(found) == [CauseCode.ADDRESS_NOT_LOCAL, CauseCode.LISTENER]
        assert foretold(found)[:1] == codes(check(target))
        assert foretold(check(target)) == [CauseCode.LISTENER]

    @needs("Landlock for the network", "root", "network namespaces")
    def test_a_privileged_port_comes_after_the_sandbox(self) -> None:
        def ask() -> Diagnosis:
            landlock.allow_ports()
            return check("127.0.0.1:80")

        found = as_user(NOBODY, ask)
        assert codes(found) == [CauseCode.SANDBOX]
        assert foretold(found) == [CauseCode.PRIVILEGED_PORT]
        assert codes(as_user(NOBODY, lambda: check("127.0.0.1:80"))) == foretold(found)


class TestSystemCallFilter:
    """A real seccomp filter."""

    @needs("system call filters")
    @pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
    @pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0/udp"])
    def test_bind_is_refused(self, code: int, address: str) -> None:
        found = in_child(lambda: seccomp.refuse_bind(code), lambda: check(address))
        assert found.attempt.error is not None
        assert (found.attempt.step, found.attempt.error.code) == (Step.BIND, code)
        assert codes(found) == [CauseCode.SANDBOX]
        assert found.causes[0].certainty is Certainty.CERTAIN
        name = errno.errorcode[code]
        assert texts(found).startswith(f"bind(-1) says {name} here, where the kernel")
        assert found.trials == ()

    @needs("system call filters", "socket tables")
    @pytest.mark.parametrize("name", ["EINVAL", "EADDRNOTAVAIL", "EADDRINUSE", "EIO"])
    @pytest.mark.parametrize("port", [0, 8080])
    def test_a_filter_may_say_anything(self, name: str, port: int) -> None:
        found = in_child(
            lambda: seccomp.refuse_bind(getattr(errno, name)),
            lambda: check(f"127.0.0.1:{port}"),
        )
        assert (error_of(found), codes(found)) == (name, [CauseCode.SANDBOX])
        assert found.causes[0].certainty is Certainty.CERTAIN

    @needs("system call filters", "socket tables")
    def test_what_comes_after_the_filter_comes(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        found = in_child(
            lambda: seccomp.refuse_bind(errno.EPERM),
            lambda: check(f"127.0.0.1:{port}"),
        )
        assert codes(found) == [CauseCode.SANDBOX]
        assert foretold(found) == [CauseCode.LISTENER]

    @needs("system call filters", "IPv6")
    @pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EPERM, errno.EACCES])
    def test_a_family_is_refused(self, code: int) -> None:
        """RestrictAddressFamilies= says EAFNOSUPPORT, as a kernel without IPv6 does."""
        found, inet = in_child(
            lambda: seccomp.refuse_family(socket.AF_INET6, code),
            lambda: (check("[::1]:0"), check("127.0.0.1:0")),
        )
        assert inet.verdict is Verdict.BINDABLE
        assert found.attempt.step is Step.SOCKET
        assert codes(found) == [CauseCode.SANDBOX]
        assert found.causes[0].certainty is Certainty.CERTAIN
        assert "an impossible socket() says" in texts(found)
        assert "the kernel has IPv6" in texts(found)

    @needs("system call filters", "IPv6")
    def test_a_bare_port_does_not_claim_that_the_kernel_has_no_ipv6(self) -> None:
        limits = in_child(
            lambda: seccomp.refuse_family(socket.AF_INET6, errno.EAFNOSUPPORT),
            lambda: [one.limits for one in bindcheck.diagnose(0)],
        )
        assert [[one.code for one in each] for each in limits] == [["ipv6-skipped"]]
        assert "no IPv6 socket can be made here" in limits[0][0].text

    @needs("system call filters", "root", "network namespaces", "socket tables")
    @pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES])
    def test_an_option_is_refused(self, holder: Holder, code: int) -> None:
        holder.bind(port=80, listen=True)

        def ask() -> Diagnosis:
            seccomp.refuse_options(code)
            return only(bindcheck.diagnose("127.0.0.1:80", reuse_address=True))

        found = as_user(NOBODY, ask)
        assert (found.attempt.step, error_of(found)) == (
            Step.SETSOCKOPT,
            errno.errorcode[code],
        )
        assert codes(found) == [CauseCode.OPTION_NOT_PERMITTED]
        assert texts(found).startswith("Seccomp: 2")
        assert "do without SO_REUSEADDR" in found.causes[0].remedies[0].text
        assert foretold(found) == [CauseCode.PRIVILEGED_PORT, CauseCode.LISTENER]
        assert foretold(found)[:1] == codes(
            as_user(NOBODY, lambda: check("127.0.0.1:80"))
        )


class TestCgroupProgram:
    """A real BPF program on a cgroup, as SocketBindDeny= of systemd makes it."""

    @needs("root", "cgroup BPF")
    def test_root_finds_the_program(self) -> None:
        with bpf.refusing_cgroup() as folder:
            found, inet6, mapped = in_child(
                lambda: bpf.enter(folder),
                lambda: (check("192.0.2.77:0"), check("[::1]:0"), check("127.0.0.1:0")),
            )
        assert inet6.verdict is Verdict.BINDABLE
        assert error_of(mapped) == error_of(found) == "EPERM"
        assert codes(found) == [CauseCode.SANDBOX]
        assert found.causes[0].certainty is Certainty.CERTAIN
        name = folder.rpartition("/")[2]
        assert f"1 BPF program on bind() in its cgroup /{name}" in texts(found)
        assert "SocketBindAllow=" in found.causes[0].remedies[-1].text
        assert foretold(found) == [CauseCode.ADDRESS_NOT_LOCAL]

    @needs("root", "cgroup BPF")
    @pytest.mark.parametrize("suffix", ["", "/udp", "/mptcp"])
    def test_one_port_is_denied(self, suffix: str) -> None:
        port = free_port(socket.SOCK_STREAM, socket.SOCK_DGRAM)
        with bpf.refusing_cgroup(port) as folder:
            found, other = in_child(
                lambda: bpf.enter(folder),
                lambda: (check(f"127.0.0.1:{port}{suffix}"), check("127.0.0.1:0")),
            )
        assert other.verdict is Verdict.BINDABLE
        assert codes(found) == [CauseCode.SANDBOX]
        assert "tried: port 0 can be bound, so it is about this port" in texts(found)
        protocol = "udp" if suffix == "/udp" else "tcp"
        assert f"SocketBindAllow={protocol}:{port}" in (
            found.causes[0].remedies[-1].text
        )

    @needs("root", "cgroup BPF")
    def test_others_are_told_that_it_is_likely(self) -> None:
        def ask() -> Diagnosis:
            return as_user(NOBODY, lambda: check("127.0.0.1:8080"))

        with bpf.refusing_cgroup() as folder:
            found = in_child(lambda: bpf.enter(folder), ask)
        assert codes(found) == [CauseCode.SANDBOX]
        assert found.causes[0].certainty is Certainty.LIKELY
        assert "without CAP_NET_ADMIN" in texts(found)
        assert "tried: port 0 is refused too" in texts(found)


SELINUX = Confinement(
    seccomp=0,
    no_new_privileges=False,
    bind_programs=0,
    socket_programs=0,
    selinux_enforcing=True,
    label="system_u:system_r:httpd_t:s0",
)


def laid_out(
    held: Confinement, *trials: Trial, name: str = "EACCES", step: Step = Step.BIND
) -> Diagnosis:
    """A refusal by what this machine cannot be made to have."""
    facts = replace(
        native.read_facts(), capabilities=(1 << 41) - 1, owns_network_namespace=True
    )
    attempt = Attempt(
        target=make_target(Family.INET, b"\x7f\0\0\1", 9001, Protocol.TCP),
        options=Options(),
        ok=False,
        native=True,
        step=step,
        argument=None,
        error=native.error(Domain.ERRNO, getattr(errno, name)),
        bound=None,
    )
    snapshot = Snapshot(facts=facts, confinement=held)
    found = decide("127.0.0.1:9001", attempt, trials, snapshot)
    return explain(found, snapshot)


def tried(name: str | None, **changed: int | str) -> Trial:
    error = native.error(Domain.ERRNO, getattr(errno, name)) if name else None
    return Trial(changed=changed, native=True, ok=name is None, error=error)


class TestSecurityModule:
    """SELinux and AppArmor, laid out: no machine of the tests has them."""

    def test_selinux_judges_ports_outside_of_the_ephemeral_range(self) -> None:
        found = laid_out(SELINUX, tried(None, port=0), tried(None, protocol="udp"))
        assert codes(found) == [CauseCode.SECURITY_MODULE]
        assert found.causes[0].certainty is Certainty.LIKELY
        assert "httpd_t" in found.causes[0].summary
        assert "system_u:system_r:httpd_t:s0, SELinux is enforcing" in texts(found)
        assert "it is about this port" in texts(found)
        commands = [one.command for one in found.causes[0].remedies]
        assert any(one and "ausearch" in one for one in commands)
        assert "semanage port -a -t TYPE -p tcp 9001" in (
            found.causes[0].remedies[-1].text
        )

    def test_two_readings_where_every_port_is_refused(self) -> None:
        found = laid_out(SELINUX, tried("EACCES", port=0))
        assert codes(found) == [CauseCode.SECURITY_MODULE, CauseCode.SANDBOX]
        assert {one.certainty for one in found.causes} == {Certainty.POSSIBLE}

    def test_apparmor_by_the_name_of_its_profile(self) -> None:
        held = replace(SELINUX, selinux_enforcing=None, label="tcpserver (enforce)")
        found = laid_out(held, tried(None, port=0))
        assert codes(found) == [CauseCode.SECURITY_MODULE]
        assert "AppArmor does not let tcpserver" in found.causes[0].summary
        assert "change-policy" in actions(found)

    @pytest.mark.parametrize(
        ("label", "enforcing"),
        [
            (None, None),
            ("unconfined", None),
            ("tcpserver (complain)", None),
            ("unconfined_u:unconfined_r:unconfined_t:s0", True),
            ("system_u:system_r:httpd_t:s0", False),
        ],
    )
    def test_modules_that_do_not_judge_this_process(
        self, label: str | None, enforcing: bool | None
    ) -> None:
        held = replace(SELINUX, selinux_enforcing=enforcing, label=label)
        found = laid_out(held, tried("EACCES", port=0), tried(None, protocol="udp"))
        assert codes(found) == [CauseCode.SANDBOX]
        assert "neither SELinux nor AppArmor" in texts(found)

    def test_a_label_cannot_write_to_the_terminal(self) -> None:
        held = replace(SELINUX, label="a:b:c\x1b[2J:s0")
        found = laid_out(held, tried(None, port=0))
        assert "\x1b" not in texts(found) + found.causes[0].summary

    def test_without_any_sign_a_refusal_stays_possible(self) -> None:
        found = laid_out(Confinement(seccomp=0), tried(None, port=0))
        assert codes(found) == [CauseCode.SANDBOX]
        assert found.causes[0].certainty is Certainty.POSSIBLE
        assert "a sandbox or policy" in found.causes[0].summary

    def test_a_socket_that_selinux_refuses(self) -> None:
        found = laid_out(SELINUX, step=Step.SOCKET)
        assert codes(found) == [CauseCode.SECURITY_MODULE]

    def test_nothing_is_claimed_of_what_was_not_read(self) -> None:
        snapshot = Snapshot(facts=native.read_facts())
        attempt = laid_out(SELINUX).attempt
        found = decide("127.0.0.1:9001", attempt, (), snapshot)
        assert codes(found) == [CauseCode.UNKNOWN]


def test_a_supervisor_behind_a_filter_is_likely() -> None:
    """EPERM, no program on the cgroup, and the filter lets bind(-1) pass."""
    found = laid_out(Confinement(seccomp=2), tried("EPERM", port=0), name="EPERM")
    assert codes(found) == [CauseCode.SANDBOX]
    assert found.causes[0].certainty is Certainty.LIKELY
    assert "a supervisor" in texts(found)


def test_the_unit_of_the_cgroup_is_named() -> None:
    held = Confinement(seccomp=0, cgroup="/system.slice/shop.service")
    found = laid_out(held, name="EPERM")
    assert found.causes[0].remedies[0].command == (
        *("systemctl", "show", "-p", "SocketBindDeny", "-p", "SocketBindAllow"),
        "shop.service",
    )


class TestInterceptedByWindows:
    """WSL2 with mirrored networking asks Windows, by a seccomp filter."""

    HELD = Confinement(seccomp=2, kernel="6.6.87.2-microsoft-standard-WSL2")

    def test_in_use_without_a_holder(self) -> None:
        found = laid_out(self.HELD, name="EADDRINUSE")
        assert codes(found) == [CauseCode.HOST_INTERCEPTED]
        assert found.causes[0].certainty is Certainty.LIKELY
        assert "microsoft" in texts(found)
        commands = [one.command for one in found.causes[0].remedies]
        assert (
            *("netsh.exe", "interface", "ipv4", "show", "excludedportrange"),
            "tcp",
        ) in commands

    @pytest.mark.parametrize(
        "held",
        [
            replace(HELD, seccomp=0),
            replace(HELD, kernel="6.1.0-18-amd64"),
        ],
    )
    def test_else_the_blocker_is_unseen(self, held: Confinement) -> None:
        found = laid_out(held, name="EADDRINUSE")
        assert codes(found) == [CauseCode.UNSEEN_BLOCKER]
