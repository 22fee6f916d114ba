"""Refusals that are not "in use", and the rarer reasons for "in use"."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.conclusion import conclude
from bindcheck.examination import examine
from bindcheck.model import Attempt, Facts, Options, Snapshot
from bindcheck.observe import Observer
from bindcheck.records import replace
from bindcheck.rules.decide import decide
from bindcheck.target import make_target, parse
from bindcheck.wording import explain
from bindcheck.words import CauseCode, Domain, Family, Protocol, Step, Verdict
from tests.support import needs

if TYPE_CHECKING:
    from bindcheck.model import Diagnosis

pytestmark = [pytest.mark.usefixtures("network")]


def only(report: bindcheck.Report) -> Diagnosis:
    (one,) = report
    return one


def codes(found: Diagnosis) -> list[CauseCode]:
    return [cause.code for cause in found.causes]


def sysctl(name: str, value: str) -> None:
    path = f"/proc/sys/{name.replace('.', '/')}"
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


@needs("network namespaces", "IPv6")
def test_disabled_ipv6_is_told_from_a_foreign_address() -> None:
    sysctl("net.ipv6.conf.lo.disable_ipv6", "1")
    found = only(bindcheck.diagnose("[::1]:8080"))
    assert codes(found) == [CauseCode.FAMILY_DISABLED]
    assert found.causes[0].evidence == ("net.ipv6.conf.lo.disable_ipv6 = 1",)
    foreign = only(bindcheck.diagnose("[2001:db8::1]:8080"))
    assert codes(foreign) == [CauseCode.ADDRESS_NOT_LOCAL]


@needs("network namespaces")
def test_exhausted_ephemeral_range() -> None:
    sysctl("net.ipv4.ip_local_port_range", "40000 40001")
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        found = only(bindcheck.diagnose("127.0.0.1:0"))
        assert codes(found) == [CauseCode.EPHEMERAL_PORTS_EXHAUSTED]
        assert found.causes[0].evidence == (
            "net.ipv4.ip_local_port_range = 40000 40001",
            "2 of 2 ports taken for 127.0.0.1 (tcp)",
            f"2 by this process (pid {os.getpid()})",
        )
        assert only(bindcheck.diagnose("127.0.0.2:0")).verdict is Verdict.BINDABLE


def test_unknown_zone_and_unknown_device() -> None:
    zone = only(bindcheck.diagnose("[fe80::1%nope0]:8080"))
    assert codes(zone) == [CauseCode.SCOPE_UNKNOWN]
    assert zone.attempt.step is Step.RESOLVE
    number = only(bindcheck.diagnose("[fe80::1%4000]:8080"))
    assert codes(number) == [CauseCode.SCOPE_UNKNOWN]
    assert number.attempt.step is Step.BIND
    device = only(bindcheck.diagnose("127.0.0.1:8080", device="nope0"))
    assert codes(device) == [CauseCode.DEVICE_UNKNOWN]
    assert device.attempt.argument == "SO_BINDTODEVICE"


def test_protocol_that_the_kernel_does_not_have() -> None:
    """DCCP has no word here; a number that no kernel has stands for it."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
    except OSError:
        found = only(bindcheck.diagnose("127.0.0.1:8080/sctp"))
        assert codes(found) == [CauseCode.PROTOCOL_UNAVAILABLE]
    else:
        assert bindcheck.diagnose("127.0.0.1:0/sctp").ok


@needs("network namespaces", "MPTCP")
def test_mptcp_that_is_switched_off() -> None:
    sysctl("net.mptcp.enabled", "0")
    found = only(bindcheck.diagnose("127.0.0.1:0/mptcp"))
    assert codes(found) == [CauseCode.PROTOCOL_UNAVAILABLE]
    (remedy,) = found.causes[0].remedies
    assert remedy.command is not None
    name, _, value = remedy.command[-1].partition("=")
    sysctl(name, value)
    assert bindcheck.diagnose("127.0.0.1:0/mptcp").ok


def failed(name: str, step: Step, argument: str | None = None) -> Attempt:
    return Attempt(
        target=make_target(Family.INET, b"\x7f\0\0\1", 8080, Protocol.TCP),
        options=Options(),
        ok=False,
        native=True,
        step=step,
        argument=argument,
        error=native.error(Domain.ERRNO, getattr(errno, name)),
        bound=None,
    )


@pytest.fixture
def facts() -> Facts:
    return native.read_facts()


@pytest.mark.parametrize(
    ("name", "step", "argument", "code"),
    [
        ("EADDRINUSE", Step.LISTEN, None, CauseCode.LISTEN_CONFLICT),
        ("EADDRINUSE", Step.BIND, None, CauseCode.UNSEEN_BLOCKER),
        ("EPERM", Step.SETSOCKOPT, "SO_BINDTODEVICE", CauseCode.OPTION_NOT_PERMITTED),
        ("EMFILE", Step.SOCKET, None, CauseCode.DESCRIPTOR_LIMIT),
        ("EPERM", Step.BIND, None, CauseCode.UNKNOWN),
        ("EIO", Step.LISTEN, None, CauseCode.UNKNOWN),
    ],
)
def test_laid_out_failures(
    facts: Facts, name: str, step: Step, argument: str | None, code: CauseCode
) -> None:
    """Situations that this machine cannot be brought into."""
    snapshot = Snapshot(facts=facts, bound_sockets_listed=False)
    attempt = failed(name, step, argument)
    found = explain(decide("127.0.0.1:8080", attempt, (), snapshot), snapshot)
    assert codes(found) == [code]
    assert found.causes[0].summary
    assert found.attempt.error is not None
    assert found.attempt.error.name == name
    if code is CauseCode.UNSEEN_BLOCKER:
        assert "bound and not listening" in found.causes[0].evidence[1]


def test_our_own_descriptor_limit_says_nothing_of_the_address(facts: Facts) -> None:
    attempt = failed("EMFILE", Step.SOCKET)
    found = decide("127.0.0.1:8080", attempt, (), Snapshot(facts=facts))
    assert found.verdict is Verdict.UNKNOWN


def test_bare_port_skips_ipv6_with_a_note_where_there_is_none() -> None:
    observer = Observer()
    observer.facts = replace(observer.facts, ipv6_available=False)
    seen = examine(parse("0"), Options(), observer, deadline=0.0)
    results = [conclude(one) for one in seen]
    assert [one.target.family for one in results] == ["inet"]
    assert [limit.code for limit in results[0].limits] == ["ipv6-skipped"]


def test_bare_port_asks_both_wildcards() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    report = bindcheck.diagnose(port)
    assert [one.target.address for one in report] == ["0.0.0.0", "::"]  # noqa: S104
    assert {one.requested for one in report} == {str(port)}
    assert [one.attempt.options.v6only for one in report] == [None, True]
