"""Random situations: what is blamed must be what the kernel objects to.

One to six holders of random family, address, options, state, protocol, user and device
on one port, some closed again, some inherited by a child; then a target with random
options. The kernel is asked by plain calls of the same kind, never through bindcheck,
and its answers judge the blame: closing what was blamed frees the address or shows the
next foretold error, and each blocker that is said to block does so alone.

Left out is what the kernel remembers in the port's bucket (tb->fastreuse and
tb->fastreuseport, inet_csk_update_fastreuse in net/ipv4/inet_connection_sock.c), so that
its answer depends on who was bound before: a holder that clears its option after bind,
and one with both options that shares by SO_REUSEADDR alone. Beside the latter a plain
SO_REUSEPORT bind of its user works, whatever the other holders lack.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, event, given, seed, settings
from hypothesis import strategies as st

import bindcheck
from bindcheck.words import Blocks, CauseCode, Kind, OwnerKind, Protocol, Verdict
from tests.support import NOBODY, in_private_network, needs
from tests.support.capabilities import has
from tests.support.world import IPPROTO_MPTCP, NOBODYS, Fork, Made, World, options_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bindcheck.model import Blocker, Diagnosis
    from tests.support.world import There

SITUATIONS = int(os.environ.get("BINDCHECK_SITUATIONS", "2000"))
SEED = int(os.environ.get("BINDCHECK_SEED", "1"))
PORTS = (7000, 700)  # in a network namespace of the test's own
HELD = (
    *("0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1"),  # noqa: S104
    *("::ffff:127.0.0.1", "::ffff:0.0.0.0"),
)
FOREIGN = ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1")
LISTS_BOUND = has("bound sockets in the tables")
DEVICES = ("", "lo", "d0", "d1")

pytestmark = [needs("root", "network namespaces", "IPv6", "socket tables")]


@dataclass(frozen=True)
class Asked:
    """What is asked about."""

    address: str
    port: int
    protocol: str
    reuse_address: bool | None
    reuse_port: bool | None
    v6only: bool | None
    device: str
    listen: bool


PROTOCOLS = ("tcp", "udp", "tcp", "mptcp") if has("MPTCP") else ("tcp", "udp")
devices = st.sampled_from((*DEVICES[:1] * 6, *DEVICES))


def mostly(protocol: str) -> st.SearchStrategy[tuple[list[Made], Asked]]:
    """Holders and what is asked, mostly of one protocol."""
    protocols = st.sampled_from((protocol,) * 4 + PROTOCOLS)
    holders = st.builds(
        Made,
        address=st.sampled_from(HELD),
        protocol=protocols,
        state=st.sampled_from(
            ("bound", "listening", "connected", "time-wait", "orphan")
        ),
        fate=st.sampled_from(("kept",) * 4 + ("closed", "shared", "inherited")),
        reuse_address=st.booleans(),
        reuse_port=st.booleans(),
        v6only=st.sampled_from((None, True, False)),
        device=devices,
        holder=st.integers(0, 2),
    )
    asked = st.builds(
        Asked,
        address=st.sampled_from(HELD * 2 + FOREIGN),
        port=st.sampled_from(PORTS[:1] * 3 + PORTS),
        protocol=protocols,
        reuse_address=st.sampled_from((None, True, False)),
        reuse_port=st.sampled_from((None, True)),
        v6only=st.sampled_from((None, True, False)),
        device=devices,
        listen=st.booleans(),
    )
    return st.tuples(st.lists(holders, min_size=1, max_size=6), asked)


situations = st.one_of([mostly(one) for one in PROTOCOLS])


@dataclass(frozen=True)
class Network:
    """A network of the test's own, and who is asked in it."""

    world: World
    nobody: Fork


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with in_private_network():
        pair = ["ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1"]
        subprocess.run(pair, check=True)
        nobody = Fork(NOBODY)  # first: it must not have the holders' pipes
        world = World()
        try:
            yield Network(world, nobody)
        finally:
            world.close()
            nobody.close()


def kernel(asked: Asked) -> int:
    """The error number of plain calls of that kind, 0 when they work."""
    family = socket.AF_INET6 if ":" in asked.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if asked.protocol == "udp" else socket.SOCK_STREAM
    number = IPPROTO_MPTCP if asked.protocol == "mptcp" else 0
    with socket.socket(family, kind, number) as one:
        try:
            for level, option, value in options_of(asked):
                given = value.encode() if isinstance(value, str) else value
                one.setsockopt(level, option, given)
            one.bind((asked.address, asked.port))
            if asked.listen and kind == socket.SOCK_STREAM:
                one.listen()
        except OSError as error:
            return error.errno or -1
    return 0


def diagnose(asked: Asked) -> Diagnosis:
    (found,) = bindcheck.diagnose(
        (asked.address, asked.port),
        protocol=asked.protocol,
        reuse_address=asked.reuse_address,
        reuse_port=asked.reuse_port,
        v6only=asked.v6only if asked.address == "::" else None,
        device=asked.device or None,
        listen=asked.listen and asked.protocol != "udp",
    )
    return found


def build(
    world: World, wanted: list[Made], port: int, *, asker: int = 0
) -> dict[int, There]:
    """Make what the kernel will have, under the number in `wanted`."""
    world.empty()
    there: dict[int, There] = {}
    for number, one in enumerate(wanted):
        linked = one.protocol != "udp" and one.state in (
            "connected",
            "time-wait",
            "orphan",
        )
        twin = any(
            other.made.reuse_port and other.made.protocol != "udp"
            for other in there.values()
        )
        unseen = asker not in (0, world.uids[one.holder]) and not LISTS_BOUND
        if unseen and one.state == "bound" and one.protocol != "udp":
            continue  # no table shows it, and that user may not ask its holder
        if is_remembered(one, there.values()):
            continue
        if linked and one.protocol == "mptcp":
            continue  # its subflows are sockets of the kernel's own making
        if linked and one.reuse_port and twin:
            continue  # the kernel would choose which of them gets the connection
        made = world.make(number, one, port)
        if made is not None:
            there[number] = made
    return there


def is_remembered(one: Made, there: Iterable[There]) -> bool:
    """Whether its SO_REUSEPORT would stay in the bucket although it does not count."""
    both = one.reuse_address and one.reuse_port and one.protocol != "udp"
    uid = NOBODY if one.holder == NOBODYS else 0
    return both and any(
        not other.made.reuse_port or other.uid != uid
        for other in there
        if other.made.protocol != "udp"
    )


@seed(SEED)
@settings(
    max_examples=SITUATIONS * 2 // 3,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(situation=situations)
def test_blame_agrees_with_the_kernel(
    network: Network, situation: tuple[list[Made], Asked]
) -> None:
    wanted, asked = situation
    there = build(network.world, wanted, asked.port)
    Judge(network, asked, uid=0).judge(there)


@seed(SEED)
@settings(
    max_examples=SITUATIONS // 3,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(situation=situations)
def test_blame_agrees_with_the_kernel_for_an_ordinary_user(
    network: Network, situation: tuple[list[Made], Asked]
) -> None:
    """Here the holders' options and pids cannot be read, and the uid differs."""
    wanted, asked = situation
    there = build(network.world, wanted, asked.port, asker=NOBODY)
    Judge(network, asked, uid=NOBODY).judge(there)


class Judge:
    """Holds a diagnosis against what the kernel says and does."""

    def __init__(self, network: Network, asked: Asked, *, uid: int) -> None:
        self.world, self.asked, self.uid = network.world, asked, uid
        self.nobody = network.nobody

    def kernel(self) -> int:
        if self.uid:
            return self.nobody.call(kernel, self.asked)
        return kernel(self.asked)

    def judge(self, there: dict[int, There]) -> None:
        asked = self.asked
        truth = self.kernel()
        found = self.nobody.call(diagnose, asked) if self.uid else diagnose(asked)
        event(f"{asked.protocol} {found.verdict} {errno.errorcode.get(truth, truth)}")
        if found.attempt.ok is None:
            # A datagram bind that could take traffic is not tried; here the holders of
            # both families are in an order that only the kernel knows.
            assert asked.protocol == "udp"
            assert asked.reuse_address or asked.reuse_port
            assert found.verdict is Verdict.UNKNOWN
            return
        assert found.attempt.ok is (truth == 0), found
        if truth == 0:
            assert found.verdict is Verdict.BINDABLE
            assert found.blockers == ()
            return
        assert found.attempt.error is not None
        assert found.attempt.error.code == truth
        assert found.verdict in (Verdict.BLOCKED, Verdict.CONDITIONAL)
        members = [self.members(blocker, there) for blocker in found.blockers]
        # Of several of one nature the inode of one is told.
        blamed = {number for group in members for number in group}
        total = sum(one.count for one in found.blockers)
        several = total > len(found.blockers)
        assert len(blamed) == total or (several and len(blamed) > total), found
        self.clear_the_way(found, truth, there, members)
        self.check_each_alone(found, there, members)

    def clear_the_way(
        self,
        found: Diagnosis,
        truth: int,
        there: dict[int, There],
        members: list[list[int]],
    ) -> None:
        """Take one cause after the other away, as they are told."""
        (first, *_) = found.causes
        steps = [(first.code, truth)]
        for one in found.next_errors:
            if one.error.code != steps[-1][1]:  # several causes may share an error
                steps.append((one.cause, one.error.code))
        firm = any(one.blocks is Blocks.YES for one in found.blockers)
        for code, error in steps:
            answer = self.kernel()
            if answer == 0 and error == errno.EADDRINUSE and error != truth:
                assert not firm, (found.next_errors, found.blockers)
                return  # what is foretold from options that nobody could read
            assert answer == error, [code, found.next_errors, found.trials]
            if error == errno.EADDRINUSE:
                assert found.blockers, found.causes
                for number in {number for group in members for number in group}:
                    self.world.drop(number, there[number])
            elif code is CauseCode.PRIVILEGED_PORT:
                self.world.allow("ipv4/ip_unprivileged_port_start")
            else:
                assert code is CauseCode.ADDRESS_NOT_LOCAL
                inet6 = ":" in self.asked.address
                self.world.allow(f"ipv{6 if inet6 else 4}/ip_nonlocal_bind")
                self.world.allow("ipv4/ip_nonlocal_bind")
        assert self.kernel() == 0, f"something that was not blamed blocks: {found}"

    def check_each_alone(
        self, found: Diagnosis, there: dict[int, There], members: list[list[int]]
    ) -> None:
        """What is said to block must do so with nothing else there."""
        firm = [
            group
            for blocker, group in zip(found.blockers, members, strict=True)
            if blocker.blocks is Blocks.YES
        ]
        if len(members) == 1:
            return  # that is what was just seen
        for group in firm:
            changed = set(self.world.changed)
            self.world.empty()
            for name in changed:
                self.world.allow(name)
            for number in group:
                made = replace(there[number].made, fate="kept")
                again = self.world.make(number, made, self.asked.port)
                if again is None or again.is_gone():
                    break
            else:
                assert self.kernel() == errno.EADDRINUSE, [there[one] for one in group]

    def members(self, blocker: Blocker, there: dict[int, There]) -> list[int]:
        """Which sockets of the situation a blocker stands for."""
        found = [number for number, one in there.items() if self.is_meant(blocker, one)]
        inode = blocker.socket.inode
        if inode:
            assert inode in {there[number].inode for number in found}, [blocker, there]
        if inode and blocker.count == 1:
            found = [number for number in found if there[number].inode == inode]
        assert len(found) >= blocker.count, [blocker, there]
        return found

    def is_meant(self, blocker: Blocker, one: There) -> bool:
        row, made = blocker.socket, one.made
        known = (
            (row.v6only if made.address == "::" else None, bool(made.v6only)),
            (row.reuse_address, made.reuse_address),
            (row.reuse_port, made.reuse_port),
        )
        return (
            blocker.kind is kind_of(made)
            and self.is_protocol(blocker, made)
            and row.local.address == one.local
            and row.device == (socket.if_nametoindex(made.device) if made.device else 0)
            and self.is_owned(blocker, one)
            and all(told in (None, real) for told, real in known)
        )

    def is_protocol(self, blocker: Blocker, made: Made) -> bool:
        """The tables of TCP show MPTCP too; only its descriptor tells a bound one."""
        told = blocker.socket.protocol
        hidden = blocker.owner.kind is OwnerKind.HIDDEN and told is Protocol.TCP
        return told == made.protocol or (hidden and made.protocol == "mptcp")

    def is_owned(self, blocker: Blocker, one: There) -> bool:
        """Exactly the processes that have it, or hidden from who may not see them."""
        owner = blocker.owner
        if one.made.is_left:
            return owner.kind is OwnerKind.NONE
        if owner.kind is OwnerKind.PROCESS:
            return {process.pid for process in owner.processes} == one.pids
        may_see = self.uid in (0, one.uid)
        return owner.kind is OwnerKind.HIDDEN and not may_see and owner.uid == one.uid


def kind_of(one: Made) -> Kind:
    if one.protocol == "udp":
        return Kind.DATAGRAM
    return {
        "bound": Kind.BOUND,
        "listening": Kind.LISTENER,
        "connected": Kind.CONNECTION,
        "time-wait": Kind.TIME_WAIT,
        "orphan": Kind.CLOSING_CONNECTION,
    }[one.state]
