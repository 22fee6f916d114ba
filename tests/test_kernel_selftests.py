"""What the kernel's own tests expect of bind(), asked of the kernel and of bindcheck.

The facts are those of tools/testing/selftests/net in the Linux sources, in tables of
our own. Each is asked three times: of the table, of a plain socket, and of bindcheck,
which must say the same and blame the sockets that are there.
"""

from __future__ import annotations

import errno
import itertools
import re
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import bindcheck
from bindcheck.words import (
    Blocks,
    CauseCode,
    Kind,
    Overlap,
    OwnerKind,
    ReleaseHow,
    Sharing,
    Verdict,
    WarningCode,
)
from tests.support import NOBODY, Holder, as_user, in_private_network, needs
from tests.test_truth_tables import (
    ADDRESSES,
    ANY,
    LOOPBACK,
    NONE,
    REUSES,
    TCP_CLOSE,
    TCP_INFO,
    WORDS,
    Reuse,
    Spelling,
    answer,
    bindcheck_says,
    close_all,
    expect_free,
    kernel_says,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _pytest.mark import ParameterSet

    from bindcheck.model import Diagnosis

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    needs("socket tables"),
]

IN_USE = errno.EADDRINUSE
# What a socket in the way is, in the words that are compared.
Blame = tuple[Kind, Overlap, bool]


@pytest.fixture(scope="module")
def place() -> Iterator[bool]:
    """One private network for all rows that need no sysctl of their own."""
    with in_private_network() as private:
        yield private


@pytest.fixture(scope="module")
def keeper(place: bool) -> Iterator[Holder]:
    """One process that has the sockets of all rows."""
    del place  # it must be there first
    with Holder() as one:
        yield one


@pytest.fixture
def tidy(keeper: Holder) -> Iterator[Holder]:
    """The keeper, whose sockets are closed after the row."""
    yield keeper
    close_all(keeper)


def blamed(found: Diagnosis) -> Counter[Blame]:
    """How many sockets of each kind are blamed; every one must be named by a cause."""
    named = [index for cause in found.causes for index in cause.blockers]
    assert sorted(named) == list(range(len(found.blockers)))
    counts: Counter[Blame] = Counter()
    for one in found.blockers:
        assert one.blocks is Blocks.YES
        counts[one.kind, one.overlap, one.dual_stack] += one.count
    return counts


def expect_refused(found: Diagnosis, expected: Counter[Blame]) -> None:
    assert (answer(found), found.attempt.native) == (IN_USE, True)
    assert blamed(found) == expected


# bind_wildcard. Rows: the address of a first socket; columns: of a second on the same
# port. In a cell: whether the second bind works without options (`.`) or not (X), and
# which of SIX_MORE follows then; with SO_REUSEADDR on both, or SO_REUSEPORT on both,
# the second always works, and the last sign tells what follows.
PAIRS = """
0.0.0.0          -   X44 X4* .** .** X44 X44
127.0.0.1        X44 -   X4* .** .** X44 X44
::               X** X** X** X** X** X** X**
::/v6only        .** .** X6* X66 X66 .** .**
::1              .** .** X6* X66 -   .** .**
::ffff:0.0.0.0   X44 X44 X4* .** .** -   X44
::ffff:127.0.0.1 X44 X44 X4* .** .** X44 -
"""
# Plain sockets that are bound one after the other, and kept where that works.
NEXT = (ANY, LOOPBACK, "::", "::1", "::ffff:0.0.0.0", "::ffff:127.0.0.1")
SIX_MORE = {"4": "XXX.XX", "6": ".XXXXX", "*": "XXXXXX"}
SPELLINGS = tuple(Spelling(line.split()[0]) for line in PAIRS.strip().split("\n"))
COLLISIONS = {
    (row[0], target.text): cell
    for row in (line.split() for line in ADDRESSES.strip().split("\n"))
    for target, cell in zip(SPELLINGS, row[1:], strict=True)
}
BOTH = {one.name: one for one in REUSES if one.name != "RA+RP"}


def wildcard_pairs() -> list[ParameterSet]:
    rows = [line.split()[1:] for line in PAIRS.strip().split("\n")]
    return [
        pytest.param(first, second, cell, both, id=f"{first.text}-{second.text}-{name}")
        for first, row in zip(SPELLINGS, rows, strict=True)
        for second, cell in zip(SPELLINGS, row, strict=True)
        for name, both in BOTH.items()
        if cell != "-"
    ]


MAPPED_ANY, MAPPED = "::ffff:0.0.0.0", "::ffff:127.0.0.1"


@pytest.fixture(scope="module")
def misses_mapped(place: bool) -> bool:
    """Whether this kernel lets ::ffff:127.0.0.1 pass ::ffff:0.0.0.0.

    Linux 6.1 does, depending on what was bound before it; 6.18 does not.
    """
    del place
    with socket.socket(socket.AF_INET6) as one:
        one.bind((MAPPED_ANY, 0))
        return kernel_says("tcp", MAPPED, one.getsockname()[1]) == 0


def in_the_way(held: dict[str, Spelling], target: Spelling) -> Counter[Blame]:
    """Which of the held sockets a plain bind meets."""
    counts: Counter[Blame] = Counter()
    for one in held.values():
        cell = COLLISIONS[one.text, target.text]
        if cell != ".":
            counts[Kind.BOUND, WORDS[cell[0]], cell.endswith("+")] += 1
    return counts


@needs("IPv6")
@pytest.mark.parametrize(("first", "second", "cell", "both"), wildcard_pairs())
def test_bind_wildcard(
    *,
    tidy: Holder,
    misses_mapped: bool,
    first: Spelling,
    second: Spelling,
    cell: str,
    both: Reuse,
) -> None:
    shares = bool(both.asked)
    fates = [(second, both, "." if shares else cell[0])]
    fates += [
        (Spelling(address), NONE, fate)
        for address, fate in zip(NEXT, SIX_MORE[cell[2 if shares else 1]], strict=True)
    ]
    port = tidy.bind(
        first.address,
        v6only=first.v6only,
        reuse_address=both.address,
        reuse_port=both.port,
        name="first",
    )
    held = {"first": first}
    for place, (target, reuse, fate) in enumerate(fates):
        expected = IN_USE if fate == "X" else 0
        asked = ("tcp", target.address, port)
        really = kernel_says(*asked, v6only=target.v6only, reuse=reuse)
        if (
            misses_mapped
            and target.text == MAPPED
            and Spelling(MAPPED_ANY) in held.values()
        ):
            expected = really
        assert really == expected
        found = bindcheck_says(*asked, v6only=target.v6only, reuse=reuse)
        if expected:
            expect_refused(found, in_the_way(held, target))
            expect_owned(found, tidy, held)
            expect_verdict(found, target, port)
            continue
        assert found.attempt.native
        expect_free(found)
        name = f"number {place}"
        tidy.bind(
            target.address,
            port,
            v6only=target.v6only,
            reuse_address=reuse.address,
            reuse_port=reuse.port,
            name=name,
        )
        held[name] = target


def expect_owned(found: Diagnosis, holder: Holder, names: dict[str, Spelling]) -> None:
    inodes = {holder.inode(name) for name in names}
    assert [cause.code for cause in found.causes] == [CauseCode.BOUND]
    for one in found.blockers:
        assert one.socket.inode in inodes
        assert {process.pid for process in one.owner.processes} == {holder.pid}
        assert one.sharing is Sharing.NOT_REQUESTED


def expect_verdict(found: Diagnosis, target: Spelling, port: int) -> None:
    """SO_REUSEADDR helps where the kernel says so, and where no caller said."""
    asked = ("tcp", target.address, port)
    with_address = kernel_says(*asked, v6only=target.v6only, reuse=BOTH["RA"])
    conditional = found.attempt.options.reuse_address is None and with_address == 0
    assert found.verdict is (Verdict.CONDITIONAL if conditional else Verdict.BLOCKED)
    assert found.works_with == ({"reuse_address": True} if conditional else None)


# bind_timewait


def leave_time_wait(address: str) -> int:
    """A server without options closes first, its client next, the listener last."""
    with socket.socket() as server:
        server.bind((address, 0))
        server.listen(1)
        port = int(server.getsockname()[1])
        with socket.create_connection((address, port)) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""
            client.shutdown(socket.SHUT_WR)
            # Closed here means that its FIN was acknowledged: the other end waits.
            deadline = time.monotonic() + 10
            while client.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1)[0] != TCP_CLOSE:
                assert time.monotonic() < deadline
    return port


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("address", "overlap"),
    [(LOOPBACK, Overlap.SAME_ADDRESS), (ANY, Overlap.TARGET_WILDCARD)],
)
def test_bind_timewait(address: str, overlap: Overlap) -> None:
    port = leave_time_wait(address)
    assert kernel_says("tcp", address, port) == IN_USE
    found = bindcheck_says("tcp", address, port)
    expect_refused(found, Counter({(Kind.TIME_WAIT, overlap, False): 1}))
    assert [cause.code for cause in found.causes] == [CauseCode.TIME_WAIT]
    assert found.verdict is Verdict.BLOCKED  # the server had not set SO_REUSEADDR
    (blocker,) = found.blockers
    assert blocker.owner.kind is OwnerKind.NONE
    assert blocker.release.how is ReleaseHow.AFTER


# reuseaddr_conflict


@needs("IPv6")
@pytest.mark.parametrize("reuse", [NONE, BOTH["RA"]], ids=["cleared", "set"])
def test_reuseaddr_conflict(tidy: Holder, reuse: Reuse) -> None:
    """SO_REUSEADDR never passes a listener, also after a socket of IPv6 alone."""
    port = tidy.bind(
        LOOPBACK, listen=True, reuse_address=reuse.address, name="listener"
    )

    def expect_wildcard_refused() -> None:
        assert kernel_says("tcp", ANY, port, reuse=reuse) == IN_USE
        found = bindcheck_says("tcp", ANY, port, reuse=reuse)
        blame = (Kind.LISTENER, Overlap.TARGET_WILDCARD, False)
        expect_refused(found, Counter({blame: 1}))
        assert [cause.code for cause in found.causes] == [CauseCode.LISTENER]
        assert found.verdict is Verdict.BLOCKED
        (blocker,) = found.blockers
        assert blocker.socket.inode == tidy.inode("listener")
        listening = Sharing.HOLDER_LISTENING
        assert blocker.sharing is (listening if reuse.asked else Sharing.NOT_REQUESTED)

    expect_wildcard_refused()
    assert kernel_says("tcp", "::", port, v6only=True, reuse=reuse) == 0
    expect_free(bindcheck_says("tcp", "::", port, v6only=True, reuse=reuse))
    tidy.bind("::", port, v6only=True, reuse_address=reuse.address, name="inet6")
    expect_wildcard_refused()
    tidy.close("inet6")
    expect_wildcard_refused()


# reuseaddr_ports_exhausted: a range of one port, and ip_autobind_reuse = 1.

ONLY_PORT = 32768
FIRST_USER, SECOND_USER = NOBODY - 1, NOBODY - 2
REUSE_PAIRS = [
    pytest.param(first, second, id=f"{first.name}/{second.name}")
    for first, second in itertools.product(REUSES, REUSES)
]


def sysctl(name: str, value: str) -> None:
    with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as file:
        file.write(value)


@pytest.fixture
def one_port(network: bool) -> None:
    """A network whose ephemeral range is one port."""
    assert network
    sysctl("ip_local_port_range", f"{ONLY_PORT} {ONLY_PORT}")
    sysctl("ip_autobind_reuse", "1")


def shares_last_port(first: Reuse, second: Reuse, *, same_user: bool) -> bool:
    """Rules 1 to 6 of that test: SO_REUSEADDR on both, SO_REUSEPORT not on both."""
    if not (first.address and second.address):
        return False
    return not (same_user and first.port and second.port)


def expect_exhausted(found: Diagnosis) -> None:
    assert (answer(found), found.attempt.native) == (IN_USE, True)
    assert [cause.code for cause in found.causes] == [
        CauseCode.EPHEMERAL_PORTS_EXHAUSTED
    ]
    assert found.causes[0].evidence[0] == (
        f"net.ipv4.ip_local_port_range = {ONLY_PORT} {ONLY_PORT}"
    )


@needs("network namespaces")
@pytest.mark.usefixtures("one_port")
@pytest.mark.parametrize(("first", "second"), REUSE_PAIRS)
def test_ports_exhausted_by_the_same_user(
    holder: Holder, first: Reuse, second: Reuse
) -> None:
    port = holder.bind(reuse_address=first.address, reuse_port=first.port)
    assert port == ONLY_PORT
    works = shares_last_port(first, second, same_user=True)
    assert kernel_says("tcp", LOOPBACK, 0, reuse=second) == (0 if works else IN_USE)
    found = bindcheck_says("tcp", LOOPBACK, 0, reuse=second)
    if not works:
        expect_exhausted(found)
        return
    expect_free(found)
    assert found.attempt.bound is not None
    assert found.attempt.bound.port == ONLY_PORT


@needs("network namespaces")
@pytest.mark.usefixtures("one_port")
@pytest.mark.parametrize(("first", "second"), REUSE_PAIRS)
def test_ports_exhausted_without_autobind_reuse(
    holder: Holder, first: Reuse, second: Reuse
) -> None:
    """The default of ip_autobind_reuse: no option helps."""
    sysctl("ip_autobind_reuse", "0")
    holder.bind(reuse_address=first.address, reuse_port=first.port)
    assert kernel_says("tcp", LOOPBACK, 0, reuse=second) == IN_USE
    found = bindcheck_says("tcp", LOOPBACK, 0, reuse=second)
    expect_exhausted(found)
    assert found.verdict is Verdict.BLOCKED


@needs("network namespaces")
@pytest.mark.usefixtures("one_port")
@pytest.mark.parametrize(
    ("first", "second"),
    [pair for pair in REUSE_PAIRS if all(one.address for one in pair.values[:2])],  # type: ignore[union-attr]
)
def test_ports_exhausted_by_another_user(
    make_holder: Callable[..., Holder], first: Reuse, second: Reuse
) -> None:
    """Both may bind the port; one of them may listen."""
    one, other = make_holder(uid=FIRST_USER), make_holder(uid=SECOND_USER)
    one.bind(reuse_address=first.address, reuse_port=first.port)

    def ask(port: int) -> tuple[int, Diagnosis]:
        return as_user(
            SECOND_USER,
            lambda: (
                kernel_says("tcp", LOOPBACK, port, reuse=second),
                bindcheck_says("tcp", LOOPBACK, port, reuse=second),
            ),
        )

    for port in (0, ONLY_PORT):
        really, found = ask(port)
        assert (really, answer(found)) == (0, 0)
        expect_free(found)
    other.bind(reuse_address=second.address, reuse_port=second.port)
    one.run("kept['main'].listen(5)")
    with pytest.raises(OSError, match=r"\[Errno 98\]"):
        other.run("kept['main'].listen(5)")
    really, found = ask(ONLY_PORT)
    assert really == IN_USE
    expect_refused(found, Counter({(Kind.LISTENER, Overlap.SAME_ADDRESS, False): 1}))
    assert found.blockers[0].socket.inode == one.inode()
    assert found.blockers[0].owner.uid == FIRST_USER
    really, found = ask(0)
    assert really == IN_USE
    expect_exhausted(found)


# ip_local_port_range: the socket option IP_LOCAL_PORT_RANGE, Linux 6.3; the range of
# the network is 40000 to 49999.

IP_BIND_ADDRESS_NO_PORT, IP_LOCAL_PORT_RANGE = 24, 51
LOW, HIGH = 40000, 49999


def packed_range(low: int, high: int) -> bytes:
    return struct.pack("=I", high << 16 | low)


def has_port_range_option() -> bool:
    try:
        with socket.socket() as one:
            one.getsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, 4)
    except OSError:
        return False
    return True


has_port_range = pytest.mark.skipif(
    not has_port_range_option(), reason="needs IP_LOCAL_PORT_RANGE (Linux 6.3)"
)
each_socket = pytest.mark.parametrize(
    ("address", "protocol"),
    [
        pytest.param(address, protocol, marks=[needs("IPv6")] if ":" in address else [])
        for address in (LOOPBACK, "::1")
        for protocol in ("tcp", "udp")
    ],
)


@pytest.fixture
def ten_thousand_ports(network: bool) -> None:
    assert network
    sysctl("ip_local_port_range", f"{LOW} {HIGH}")


class Ranged:
    """Sockets with a port range of their own, closed at the end."""

    def __init__(self, address: str, protocol: str) -> None:
        self.address = address
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        stream = protocol == "tcp"
        self.type = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        self.kept: list[socket.socket] = []

    def make(self, low: int, high: int) -> socket.socket:
        one = socket.socket(self.family, self.type)
        self.kept.append(one)
        one.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, packed_range(low, high))
        return one

    def bind(self, low: int, high: int) -> int:
        """Bind to port 0; the port that the kernel chose."""
        one = self.make(low, high)
        one.bind((self.address, 0))
        return int(one.getsockname()[1])


@pytest.fixture
def ranged(address: str, protocol: str) -> Iterator[Ranged]:
    sockets = Ranged(address, protocol)
    yield sockets
    for one in sockets.kept:
        one.close()


@needs("network namespaces")
@has_port_range
@each_socket
@pytest.mark.usefixtures("ten_thousand_ports", "protocol")
class TestIpLocalPortRange:
    def test_values_that_are_refused(self, ranged: Ranged) -> None:
        one = ranged.make(0, 0)
        wrong = (struct.pack("=H", LOW), packed_range(40222, 40111), bytes(8))
        for value in wrong:
            with pytest.raises(OSError, match=r"\[Errno 22\]"):
                one.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, value)

    @pytest.mark.parametrize(("low", "high"), [(30000, 39999), (50000, 59999)])
    def test_range_outside_of_the_networks_is_ignored(
        self, ranged: Ranged, low: int, high: int
    ) -> None:
        ports = {ranged.bind(low, high), ranged.bind(low, high)}
        assert len(ports) == 2
        assert all(LOW <= port <= HIGH for port in ports)

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [(45000, 45000, 45000), (0, LOW, LOW), (HIGH, 0, HIGH)],
    )
    def test_range_of_one_port(
        self, ranged: Ranged, protocol: str, low: int, high: int, expected: int
    ) -> None:
        assert ranged.bind(low, high) == expected
        expect_one_holder(protocol, ranged.address, expected)
        # The second has no port left, although the network has.
        with pytest.raises(OSError, match=r"\[Errno 98\]"):
            ranged.bind(low, high)
        assert kernel_says(protocol, ranged.address, 0) == 0
        expect_free(bindcheck_says(protocol, ranged.address, 0))

    def test_eight_ports_exhausted(self, ranged: Ranged, protocol: str) -> None:
        ports = {ranged.bind(LOW, LOW + 7) for _ in range(8)}
        assert ports == set(range(LOW, LOW + 8))
        with pytest.raises(OSError, match=r"\[Errno 98\]"):
            ranged.bind(LOW, LOW + 7)
        # A socket without the option is asked for the whole range.
        expect_free(bindcheck_says(protocol, ranged.address, 0))
        for port in ports:
            expect_one_holder(protocol, ranged.address, port)
        sysctl("ip_local_port_range", f"{LOW} {LOW + 7}")
        assert kernel_says(protocol, ranged.address, 0) == IN_USE
        found = bindcheck_says(protocol, ranged.address, 0)
        assert (answer(found), found.attempt.native) == (IN_USE, True)
        assert [cause.code for cause in found.causes] == [
            CauseCode.EPHEMERAL_PORTS_EXHAUSTED
        ]

    def test_port_that_is_chosen_by_connect(
        self, ranged: Ranged, protocol: str
    ) -> None:
        one = ranged.make(40100, 40199)
        one.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        one.bind((ranged.address, 0))
        assert one.getsockname()[1] == 0
        # It need not work: a wildcard and port 0 are no destination.
        one.connect_ex(("::" if ":" in ranged.address else ANY, 0))
        port = int(one.getsockname()[1])
        assert 40100 <= port <= 40199
        # TCP gives the port back, and still tells its number.
        really = kernel_says(protocol, ranged.address, port)
        assert really == (0 if protocol == "tcp" else IN_USE)
        if really:
            expect_one_holder(protocol, ranged.address, port)
        else:
            expect_free(bindcheck_says(protocol, ranged.address, port))

    def test_range_is_told(self, ranged: Ranged) -> None:
        one = ranged.make(0, 0)
        for low, high in ((0, 0), (12345, 54321), (0, 0)):
            value = packed_range(low, high)
            one.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, value)
            told = one.getsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, 4)
            assert told == value


def expect_one_holder(protocol: str, address: str, port: int) -> None:
    """This process has the port, and is blamed for it."""
    assert kernel_says(protocol, address, port) == IN_USE
    kind = Kind.BOUND if protocol == "tcp" else Kind.DATAGRAM
    found = bindcheck_says(protocol, address, port)
    expect_refused(found, Counter({(kind, Overlap.SAME_ADDRESS, False): 1}))
    assert [cause.code.value for cause in found.causes] == [kind.value]


# bind_bhash: so many sockets on one port that the kernel's lists of them grow long.

MANY = 300


def hold_many(holder: Holder, address: str) -> int:
    """A listener and many bound sockets on one port, by SO_REUSEPORT."""
    port = holder.bind(address, reuse_port=True, listen=True)
    code = f"""
        family = socket.AF_INET6 if ":" in {address!r} else socket.AF_INET
        for number in range({MANY}):
            one = socket.socket(family, socket.SOCK_STREAM)
            kept[number] = one
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(({address!r}, {port}))
    """
    holder.run(re.sub(r"^ {8}", "", code, flags=re.MULTILINE))
    return port


@pytest.mark.parametrize(
    ("address", "unused", "wildcard"),
    [
        (LOOPBACK, "127.0.0.2", ANY),
        pytest.param("::1", "2001:db8:0:f101::1", "::", marks=needs("IPv6", "ip")),
    ],
)
@needs("network namespaces")
@pytest.mark.usefixtures("network")
def test_bind_bhash(holder: Holder, address: str, unused: str, wildcard: str) -> None:
    if ":" in unused:
        command = ["ip", "address", "add", f"{unused}/64", "dev", "lo", "nodad"]
        subprocess.run(command, check=True)
    port = hold_many(holder, address)
    # A plain socket on another address is not in their way.
    assert kernel_says("tcp", unused, port) == 0
    expect_free(bindcheck_says("tcp", unused, port))
    for target, overlap in (
        (address, Overlap.SAME_ADDRESS),
        (wildcard, Overlap.TARGET_WILDCARD),
    ):
        assert kernel_says("tcp", target, port) == IN_USE
        found = bindcheck_says("tcp", target, port)
        expected = {
            (Kind.LISTENER, overlap, False): 1,
            (Kind.BOUND, overlap, False): MANY,
        }
        expect_refused(found, Counter(expected))
        assert found.causes[0].code is CauseCode.LISTENER
        for blocker in found.blockers:
            assert {one.pid for one in blocker.owner.processes} == {holder.pid}
    asked: dict[str, Any] = {"reuse": BOTH["RP"]}
    assert kernel_says("tcp", address, port, **asked) == 0
    found = bindcheck_says("tcp", address, port, **asked)
    expect_free(found)
    assert WarningCode.SHARED_PORT in {one.code for one in found.warnings}


@pytest.mark.usefixtures("place")
def test_many_addresses_on_one_port(tidy: Holder) -> None:
    """Each on an address of its own: the wildcard meets them all, an address one."""
    port = tidy.bind("127.1.0.0", name="0")
    for number in range(1, MANY):
        address = f"127.1.{number // 256}.{number % 256}"
        assert tidy.bind(address, port, name=str(number)) == port
    for number in (0, 1, MANY - 1):
        found = bindcheck_says("tcp", f"127.1.{number // 256}.{number % 256}", port)
        expect_refused(found, Counter({(Kind.BOUND, Overlap.SAME_ADDRESS, False): 1}))
        assert found.blockers[0].socket.inode == tidy.inode(str(number))
    assert kernel_says("tcp", "127.2.0.0", port) == 0
    expect_free(bindcheck_says("tcp", "127.2.0.0", port))
    for target, dual_stack in ((ANY, False), ("::", True)):
        assert kernel_says("tcp", target, port) == IN_USE
        found = bindcheck.diagnose((target, port)).results[0]
        blame = (Kind.BOUND, Overlap.TARGET_WILDCARD, dual_stack)
        expect_refused(found, Counter({blame: MANY}))
