"""Addresses that cannot be bound: not here, not ready, incomplete, of a family that is off."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.model import Attempt, Options, Snapshot
from bindcheck.records import replace
from bindcheck.rules.address import is_foreign, may_come
from bindcheck.rules.decide import decide
from bindcheck.target import make_target
from bindcheck.wording import explain
from bindcheck.words import CauseCode, Domain, Family, Protocol, Step, Verdict
from tests.support import NOBODY, Holder, as_user, needs
from tests.support.interfaces import add_duplicate, ip, make_pair, raise_pair, sysctl

if TYPE_CHECKING:
    from bindcheck.model import Diagnosis

pytestmark = pytest.mark.usefixtures("network")
in_own_network = needs("network namespaces", "IPv6", "ip")


def check(target: str, **options: bool | str) -> Diagnosis:
    (one,) = bindcheck.diagnose(target, **options)  # type: ignore[arg-type]
    return one


def codes(found: Diagnosis) -> list[CauseCode]:
    return [cause.code for cause in found.causes]


def foretold(found: Diagnosis) -> list[CauseCode]:
    return [one.cause for one in found.next_errors]


def numbers(found: Diagnosis) -> list[str | None]:
    """The error of the attempt and those that are foretold."""
    first = [found.attempt.error] if found.attempt.error else []
    return [one.name for one in (*first, *(each.error for each in found.next_errors))]


def texts(found: Diagnosis) -> str:
    return "\n".join(line for cause in found.causes for line in cause.evidence)


def actions(found: Diagnosis) -> list[str]:
    return [remedy.action for cause in found.causes for remedy in cause.remedies]


def commands(found: Diagnosis) -> list[tuple[str, ...]]:
    return [
        remedy.command
        for cause in found.causes
        for remedy in cause.remedies
        if remedy.command is not None
    ]


def follow(command: tuple[str, ...]) -> None:
    """Do what a remedy says."""
    import subprocess

    subprocess.run(command, check=True, capture_output=True)


class TestNotReady:
    """Duplicate address detection: real links, real duplicates."""

    @in_own_network
    def test_tentative_without_a_carrier(self) -> None:
        make_pair()
        ip("link", "set", "pair0", "up")
        ip("-6", "addr", "add", "2001:db8::7/64", "dev", "pair0")
        found = check("[2001:db8::7]:8080")
        assert codes(found) == [CauseCode.ADDRESS_TENTATIVE]
        assert "2001:db8::7 on pair0 is tentative" in texts(found)
        assert "pair0 has no carrier" in texts(found)
        assert "connect pair0" in found.causes[0].remedies[0].text
        # What the remedies say is so.
        assert check("[2001:db8::7]:8080", freebind=True).verdict is Verdict.BINDABLE
        ip("-6", "addr", "add", "2001:db8::8/64", "dev", "pair0", "nodad")
        assert check("[2001:db8::8]:8080").verdict is Verdict.BINDABLE

    @in_own_network
    def test_tentative_on_an_interface_that_is_down(self) -> None:
        make_pair()
        ip("-6", "addr", "add", "2001:db8::7/64", "dev", "pair0")
        found = check("[2001:db8::7]:8080/udp")
        assert codes(found) == [CauseCode.ADDRESS_TENTATIVE]
        assert "pair0 is down" in texts(found)
        assert commands(found) == [("ip", "link", "set", "pair0", "up")]

    @in_own_network
    def test_tentative_while_the_kernel_asks(self) -> None:
        make_pair()
        sysctl("net.ipv6.conf.pair0.dad_transmits", "100")
        raise_pair()
        ip("-6", "addr", "add", "2001:db8::7/64", "dev", "pair0")
        found = check("[2001:db8::7]:8080")
        assert codes(found) == [CauseCode.ADDRESS_TENTATIVE]
        assert found.causes[0].remedies[0].action == "wait"

    @in_own_network
    def test_duplicate_of_another_machine(self) -> None:
        make_pair()
        raise_pair()
        ip("-6", "addr", "add", "2001:db8::5/64", "dev", "pair1", "nodad")
        add_duplicate("2001:db8::5", "pair0")
        # The other interface has it and is here as well: any of them will do.
        assert check("[2001:db8::5]:8080", device="pair0").verdict is Verdict.BINDABLE
        ip("-6", "addr", "del", "2001:db8::5/64", "dev", "pair1")
        found = check("[2001:db8::5]:8080")
        assert codes(found) == [CauseCode.ADDRESS_DUPLICATE]
        assert texts(found) == "2001:db8::5 on pair0 is dadfailed"
        assert "add-address-again" in actions(found)
        for command in commands(found):
            follow(command)
        assert codes(check("[2001:db8::5]:8080")) in ([CauseCode.ADDRESS_TENTATIVE], [])

    @in_own_network
    def test_who_has_the_port_comes_after_it(self, holder: Holder) -> None:
        make_pair()
        ip("-6", "addr", "add", "2001:db8::7/64", "dev", "pair0")
        port = holder.bind(address="::", listen=True)
        found = check(f"[2001:db8::7]:{port}")
        assert codes(found) == [CauseCode.ADDRESS_TENTATIVE]
        assert foretold(found) == [CauseCode.LISTENER]
        ip("-6", "addr", "add", "2001:db8::8/64", "dev", "pair0", "nodad")
        assert codes(check(f"[2001:db8::8]:{port}")) == [CauseCode.LISTENER]


class TestFamilyOff:
    """IPv6 is off in one of its forms."""

    @in_own_network
    def test_loopback_switched_off(self) -> None:
        sysctl("net.ipv6.conf.lo.disable_ipv6", "1")
        found = check("[::1]:8080")
        assert codes(found) == [CauseCode.FAMILY_DISABLED]
        follow(commands(found)[0])
        assert check("[::1]:8080").verdict is Verdict.BINDABLE

    @in_own_network
    def test_loopback_down(self) -> None:
        ip("link", "set", "lo", "down")
        found = check("[::1]:8080")
        assert codes(found) == [CauseCode.ADDRESS_NOT_LOCAL]
        assert texts(found) == "the loopback interface lo is down"
        follow(commands(found)[0])
        assert check("[::1]:8080").verdict is Verdict.BINDABLE

    @in_own_network
    def test_every_interface_switched_off(self) -> None:
        make_pair()
        raise_pair()
        ip("-6", "addr", "add", "2001:db8::7/64", "dev", "pair0", "nodad")
        sysctl("net.ipv6.conf.all.disable_ipv6", "1")
        for target in ("[2001:db8::7]:8080", "[::1]:8080"):
            found = check(target)
            assert codes(found) == [CauseCode.FAMILY_DISABLED]
            assert "net.ipv6.conf.all.disable_ipv6 = 1" in texts(found)
        follow(commands(found)[0])
        assert check("[::1]:8080").verdict is Verdict.BINDABLE
        ip("-6", "addr", "add", "2001:db8::7/64", "dev", "pair0", "nodad")
        assert check("[2001:db8::7]:8080").verdict is Verdict.BINDABLE

    @in_own_network
    def test_one_interface_switched_off(self) -> None:
        make_pair()
        sysctl("net.ipv6.conf.pair0.disable_ipv6", "1")
        found = check("[2001:db8::7]:8080")
        assert codes(found) == [CauseCode.ADDRESS_NOT_LOCAL]
        assert "IPv6 is switched off on pair0" in texts(found)
        found = check("[fe80::7%pair0]:8080")
        assert codes(found) == [CauseCode.FAMILY_DISABLED]
        assert ("sysctl", "net.ipv6.conf.pair0.disable_ipv6=0") in commands(found)

    @in_own_network
    def test_all_is_only_what_new_interfaces_get(self) -> None:
        make_pair()
        sysctl("net.ipv6.conf.all.disable_ipv6", "1")
        sysctl("net.ipv6.conf.pair0.disable_ipv6", "0")
        raise_pair()
        ip("-6", "addr", "add", "2001:db8::7/64", "dev", "pair0", "nodad")
        assert check("[2001:db8::7]:8080").verdict is Verdict.BINDABLE
        assert codes(check("[2001:db8::8]:80")) == [CauseCode.ADDRESS_NOT_LOCAL]

    def test_kernel_without_ipv6(self) -> None:
        """ipv6.disable=1, laid out: it takes a boot."""
        facts = replace(native.read_facts(), bind_v6only=None, ipv6_available=False)
        attempt = Attempt(
            target=make_target(Family.INET6, bytes(15) + b"\1", 8080, Protocol.TCP),
            options=Options(),
            ok=False,
            native=True,
            step=Step.SOCKET,
            argument=None,
            error=native.error(Domain.ERRNO, errno.EAFNOSUPPORT),
            bound=None,
        )
        snapshot = Snapshot(facts=facts)
        found = explain(decide("[::1]:8080", attempt, (), snapshot), snapshot)
        assert codes(found) == [CauseCode.FAMILY_DISABLED]
        assert "socket() refuses AF_INET6" in texts(found)
        assert "ipv6.disable=1" in found.causes[0].remedies[-1].text


class TestScope:
    """Zones of link-local addresses."""

    @in_own_network
    def test_missing_zone_names_the_interface_that_is_judged(
        self, holder: Holder
    ) -> None:
        """The same address on two interfaces; the port is taken on one of them."""
        make_pair()
        raise_pair()
        for name in ("pair0", "pair1"):
            ip("-6", "addr", "add", "fe80::7/64", "dev", name, "nodad")
        second = socket.if_nametoindex("pair1")
        holder.run(
            "one = kept['main'] = socket.socket(socket.AF_INET6)\n"
            f"one.bind(('fe80::7', 0, 0, {second})); one.listen()\n"
            "result = one.getsockname()[1]"
        )
        port = holder.run("result = kept['main'].getsockname()[1]")
        found = check(f"[fe80::7]:{port}")
        assert codes(found) == [CauseCode.SCOPE_MISSING]
        assert texts(found) in (
            "fe80::7 is on pair0, pair1",
            "fe80::7 is on pair1, pair0",
        )
        named = found.causes[0].remedies[0].text.partition(": ")[2]
        assert codes(check(named)) == foretold(found)
        assert foretold(found) == ([CauseCode.LISTENER] if "pair1" in named else [])
        assert codes(check(f"[fe80::7%pair1]:{port}")) == [CauseCode.LISTENER]

    @in_own_network
    def test_missing_zone_of_an_address_that_nobody_has(self) -> None:
        found = check("[fe80::99]:8080")
        assert codes(found) == [CauseCode.SCOPE_MISSING]
        assert numbers(found) == ["EINVAL", "EADDRNOTAVAIL"]
        assert codes(check("[fe80::99%lo]:8080")) == foretold(found)

    @in_own_network
    def test_zone_of_an_interface_that_has_not_the_address(
        self, holder: Holder
    ) -> None:
        make_pair()
        raise_pair()
        ip("-6", "addr", "add", "fe80::7/64", "dev", "pair0", "nodad")
        port = holder.bind(address="::", listen=True)
        found = check(f"[fe80::7%pair1]:{port}")
        assert codes(found) == [CauseCode.ADDRESS_NOT_LOCAL]
        assert found.causes[0].summary == (
            "the interface that it is bound to has no fe80::7"
        )
        assert texts(found) == "fe80::7 is on pair0"
        assert f"[fe80::7%pair0]:{port}" in found.causes[0].remedies[0].text
        assert foretold(found) == codes(check(f"[fe80::7%pair0]:{port}"))

    @in_own_network
    def test_unknown_zone(self) -> None:
        found = check("[fe80::1%4000]:8080")
        assert codes(found) == [CauseCode.SCOPE_UNKNOWN]
        assert numbers(found) == ["ENODEV", "EADDRNOTAVAIL"]
        assert foretold(found) == codes(check("[fe80::1%lo]:8080"))
        make_pair()
        raise_pair()
        ip("-6", "addr", "add", "fe80::1/64", "dev", "pair0", "nodad")
        found = check("[fe80::1%4000]:8080")
        assert numbers(found) == ["ENODEV"]
        named = found.causes[0].remedies[0].text.partition(": ")[2]
        assert check(named).verdict is Verdict.BINDABLE

    @in_own_network
    def test_multicast_is_nothing_for_tcp(self) -> None:
        for target in ("[ff02::1]:8080", "[ff02::1%lo]:8080", "[ff05::1:3]:8080"):
            found = check(target)
            assert numbers(found) == ["EINVAL"]
            assert codes(found) == [CauseCode.INVALID_ARGUMENT]
            assert actions(found) == ["use-udp"]
        assert codes(check("[ff02::1]:8080/udp")) == [CauseCode.SCOPE_MISSING]
        assert check("[ff02::1%lo]:8080/udp").verdict is Verdict.BINDABLE

    @needs("IPv6")
    def test_ipv4_address_in_a_socket_for_ipv6_only(self, holder: Holder) -> None:
        port = holder.bind()
        found = check(f"[::ffff:127.0.0.1]:{port}", v6only=True)
        assert codes(found) == [CauseCode.OPTION_CONFLICT]
        assert "clear-v6only" not in actions(found)  # it would be in use
        assert foretold(found) == [CauseCode.BOUND]
        assert foretold(found) == codes(check(f"[::ffff:127.0.0.1]:{port}"))
        holder.close()
        found = check(f"[::ffff:127.0.0.1]:{port}", v6only=True)
        assert "clear-v6only" in actions(found)
        assert f"127.0.0.1:{port}" in found.causes[0].remedies[0].text

    @in_own_network
    def test_ipv6_only_by_the_system(self) -> None:
        sysctl("net.ipv6.bindv6only", "1")
        found = check("[::ffff:127.0.0.1]:8080")
        assert codes(found) == [CauseCode.OPTION_CONFLICT]
        assert "net.ipv6.bindv6only = 1" in texts(found)
        assert check("[::ffff:127.0.0.1]:8080", v6only=False).verdict == "bindable"


class TestAddressThatMayCome:
    """IP_FREEBIND is advised where the address may come, and only if it works."""

    @in_own_network
    def test_address_in_the_network_of_an_interface(self, holder: Holder) -> None:
        make_pair()
        ip("addr", "add", "198.51.100.5/24", "dev", "pair0")
        found = check("198.51.100.9:8080")
        assert codes(found) == [CauseCode.ADDRESS_NOT_LOCAL]
        assert "in the network of pair0 (198.51.100.5/24)" in texts(found)
        assert actions(found) == [
            "use-local-address",
            "set-freebind",
            "allow-nonlocal-bind",
        ]
        assert check("198.51.100.9:8080", freebind=True).verdict is Verdict.BINDABLE
        # Where the port is taken it would not work and is not offered.
        port = holder.bind(address="0.0.0.0", listen=True)  # noqa: S104
        taken = check(f"198.51.100.9:{port}")
        assert actions(taken) == ["use-local-address"]
        assert foretold(taken) == [CauseCode.LISTENER]
        follow(commands(found)[0])
        assert check("198.51.100.9:8080").verdict is Verdict.BINDABLE

    @in_own_network
    def test_ipv6_address_in_the_network_of_an_interface(self) -> None:
        make_pair()
        ip("-6", "addr", "add", "2001:db8::5/64", "dev", "pair0", "nodad")
        found = check("[2001:db8::9]:8080")
        assert "set-freebind" in actions(found)
        assert "IPV6_FREEBIND" in found.causes[0].remedies[1].text
        follow(commands(found)[0])
        assert check("[2001:db8::9]:8080").verdict is Verdict.BINDABLE

    @needs("network namespaces")
    def test_public_address_is_a_router_s(self) -> None:
        found = check("203.0.113.9:8080")
        assert actions(found) == ["use-local-address"]
        assert "a router or cloud translates" in found.causes[0].remedies[0].text
        assert found.trials == ()

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("10.1.2.3", True),
            ("172.16.0.1", True),
            ("172.32.0.1", False),
            ("192.168.7.7", True),
            ("100.64.0.1", True),
            ("8.8.8.8", False),
            ("fd12::1", True),
            ("2001:db8::1", False),
            ("fe80::1", False),
            ("::ffff:10.1.2.3", True),
        ],
    )
    def test_private_addresses(self, address: str, expected: bool) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        word = Family.INET6 if ":" in address else Family.INET
        target = make_target(word, packed, 80, Protocol.TCP)
        snapshot = Snapshot(facts=native.read_facts())
        assert bool(may_come(target, snapshot)) is expected


@in_own_network
@pytest.mark.parametrize("up", [True, False])
def test_which_addresses_the_kernel_calls_local(up: bool) -> None:
    """The rule agrees with the kernel, address for address."""
    make_pair()
    ip("addr", "add", "198.51.100.5/24", "dev", "pair0")
    ip("addr", "add", "10.9.0.1/31", "dev", "pair0")
    if up:
        raise_pair()
    snapshot = Snapshot(facts=native.read_facts(), addresses=native.list_addresses())
    for address in (
        *("198.51.100.5", "198.51.100.0", "198.51.100.255", "198.51.100.9"),
        *("10.9.0.0", "10.9.0.1", "10.9.0.2", "127.0.0.1", "127.9.9.9"),
        *("0.0.0.0", "0.0.0.1", "255.255.255.255", "224.0.0.1", "240.0.0.1"),  # noqa: S104
    ):
        packed = socket.inet_pton(socket.AF_INET, address)
        target = make_target(Family.INET, packed, 0, Protocol.TCP)
        made = native.probe(target, Options())
        assert made.ok is not is_foreign(target, snapshot), address


class TestOrderOfErrors:
    """Each foretold error comes next, once the one before it is gone."""

    @in_own_network
    @needs("root", "socket tables")
    def test_ipv4_asks_for_the_address_first(self, holder: Holder) -> None:
        holder.bind(address="0.0.0.0", port=80, listen=True)  # noqa: S104
        first = as_user(NOBODY, lambda: check("198.51.100.9:80"))
        assert numbers(first) == ["EADDRNOTAVAIL", "EACCES", "EADDRINUSE"]
        make_pair()
        ip("addr", "add", "198.51.100.9/24", "dev", "pair0")
        second = as_user(NOBODY, lambda: check("198.51.100.9:80"))
        assert numbers(second) == numbers(first)[1:]
        third = check("198.51.100.9:80")
        assert numbers(third) == numbers(first)[2:]
        assert codes(third) == foretold(second)[-1:] == foretold(first)[-1:]
        holder.close()
        assert check("198.51.100.9:80").verdict is Verdict.BINDABLE

    @in_own_network
    @needs("root", "socket tables")
    def test_ipv6_asks_for_the_port_first(self, holder: Holder) -> None:
        holder.bind(address="::", port=80, listen=True)
        first = as_user(NOBODY, lambda: check("[2001:db8::9]:80"))
        assert numbers(first) == ["EACCES", "EADDRNOTAVAIL", "EADDRINUSE"]
        second = check("[2001:db8::9]:80")
        assert numbers(second) == numbers(first)[1:]
        make_pair()
        ip("-6", "addr", "add", "2001:db8::9/64", "dev", "pair0", "nodad")
        assert numbers(check("[2001:db8::9]:80")) == numbers(first)[2:]

    @in_own_network
    @needs("root", "socket tables")
    def test_a_missing_zone_comes_after_the_port(self, holder: Holder) -> None:
        make_pair()
        ip("-6", "addr", "add", "fe80::7/64", "dev", "pair0")
        holder.bind(address="::", port=80, listen=True)
        first = as_user(NOBODY, lambda: check("[fe80::7]:80"))
        assert numbers(first) == ["EACCES", "EINVAL", "EADDRNOTAVAIL", "EADDRINUSE"]
        assert foretold(first) == [
            CauseCode.SCOPE_MISSING,
            CauseCode.ADDRESS_TENTATIVE,
            CauseCode.LISTENER,
        ]
        second = check("[fe80::7]:80")
        assert numbers(second) == numbers(first)[1:]
        third = check("[fe80::7%pair0]:80")
        assert numbers(third) == numbers(first)[2:]
        ip("-6", "addr", "del", "fe80::7/64", "dev", "pair0")
        ip("-6", "addr", "add", "fe80::7/64", "dev", "pair0", "nodad")
        assert numbers(check("[fe80::7%pair0]:80")) == numbers(first)[3:]


def test_a_name_of_both_families_says_where_v6only_was_not_set() -> None:
    results = tuple(bindcheck.diagnose("localhost:0", v6only=True))
    for one in results:
        told = "v6only-not-applied" in [limit.code for limit in one.limits]
        assert told is (one.target.family is Family.INET)
    assert any(one.target.family is Family.INET for one in results)


@in_own_network
def test_flags_of_an_address_are_those_of_its_own_interface() -> None:
    """The same address may be ready on one interface and not on another."""
    make_pair()
    ip("-6", "addr", "add", "fe80::7/64", "dev", "pair0")
    ip("-6", "addr", "add", "fe80::7/64", "dev", "pair1", "nodad")
    assert codes(check("[fe80::7%pair0]:8080")) == [CauseCode.ADDRESS_TENTATIVE]
    assert check("[fe80::7%pair1]:8080").verdict is Verdict.BINDABLE


@in_own_network
def test_which_addresses_an_interface_must_have_itself() -> None:
    """The rule agrees with the kernel: link-local ones and ::1, no others."""
    make_pair()
    raise_pair()
    ip("-6", "addr", "add", "2001:db8::7/64", "dev", "pair1", "nodad")
    ip("addr", "add", "198.51.100.5/24", "dev", "pair1")
    for target in ("[2001:db8::7]:0", "198.51.100.5:0", "[::ffff:198.51.100.5]:0"):
        assert check(target, device="pair0").verdict is Verdict.BINDABLE
    found = check("[::1]:0", device="pair0")
    assert codes(found) == [CauseCode.ADDRESS_NOT_LOCAL]
    assert found.causes[0].summary == "the interface that it is bound to has no ::1"
