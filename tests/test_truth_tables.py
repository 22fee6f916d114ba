"""Which binds may share a port on Linux: every cell asked of the kernel.

The tables below are what the kernel was seen to do. Each cell is asked three times: of
the table, of a plain socket of the test's own, and of bindcheck, which must agree and
blame the one socket that is there.
"""

from __future__ import annotations

import errno
import itertools
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
)
from tests.support import NOBODY, Holder, as_user, in_private_network, needs
from tests.support.capabilities import has

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark import ParameterSet

    from bindcheck.model import Blocker, Diagnosis

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    needs("socket tables"),
    pytest.mark.usefixtures("place"),
]

LOOPBACK, ANY = "127.0.0.1", "0.0.0.0"  # noqa: S104
SO_BINDTODEVICE, TCP_INFO, TCP_CLOSE = 25, 11, 7


@dataclass(frozen=True)
class Way:
    """How the holder has its port, and what its socket is called then."""

    name: str
    protocol: str
    listens: bool
    kind: Kind
    cause: CauseCode


WAYS = (
    Way("tcp-bound", "tcp", False, Kind.BOUND, CauseCode.BOUND),
    Way("tcp-listening", "tcp", True, Kind.LISTENER, CauseCode.LISTENER),
    Way("udp", "udp", False, Kind.DATAGRAM, CauseCode.DATAGRAM),
)


@dataclass(frozen=True)
class Reuse:
    """The reuse options of one side."""

    name: str
    address: bool
    port: bool

    @property
    def asked(self) -> dict[str, bool]:
        """As arguments; what is not set is not said."""
        said = {"reuse_address": self.address, "reuse_port": self.port}
        return {name: True for name, value in said.items() if value}

    def changed(self, changes: dict[str, bool]) -> Reuse:
        return Reuse(
            "changed",
            self.address or changes.get("reuse_address", False),
            self.port or changes.get("reuse_port", False),
        )


NONE = Reuse("none", False, False)
REUSES = (
    NONE,
    Reuse("RA", True, False),
    Reuse("RP", False, True),
    Reuse("RA+RP", True, True),
)
PAIRS = [
    pytest.param(one, other, id=f"{one.name}/{other.name}")
    for one, other in itertools.product(REUSES, REUSES)
]


@pytest.fixture(scope="module")
def place() -> Iterator[bool]:
    """One private network for all cells; every cell has a port of its own."""
    with in_private_network() as private:
        yield private


@pytest.fixture(scope="module")
def keeper(place: bool) -> Iterator[Holder]:
    """One process for all cells, of our own user."""
    del place  # it must be there first
    with Holder() as one:
        yield one


@pytest.fixture
def tidy(keeper: Holder) -> Iterator[Holder]:
    """The keeper, whose sockets are closed after the cell."""
    yield keeper
    close_all(keeper)


def close_all(holder: Holder) -> None:
    holder.run("while kept: kept.popitem()[1].close()")


@pytest.fixture(scope="module")
def nobodys_keeper(place: bool) -> Iterator[Holder]:
    """One process for all cells, of another user."""
    del place
    with Holder(uid=NOBODY) as one:
        yield one


@pytest.fixture
def nobodys(nobodys_keeper: Holder) -> Iterator[Holder]:
    yield nobodys_keeper
    close_all(nobodys_keeper)


def hold(
    holder: Holder,
    way: Way,
    address: str,
    *,
    reuse: Reuse = NONE,
    v6only: bool | None = None,
    device: str | None = None,
) -> int:
    """Bind a socket there on a port that the kernel chooses."""
    return holder.bind(
        address,
        kind=way.protocol,
        listen=way.listens,
        reuse_address=reuse.address,
        reuse_port=reuse.port,
        v6only=v6only,
        device=device,
    )


def kernel_says(
    protocol: str,
    address: str,
    port: int,
    *,
    reuse: Reuse = NONE,
    v6only: bool | None = None,
    device: str | None = None,
) -> int:
    """Bind a plain socket; 0 or the errno."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as one:
        if reuse.address:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse.port:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if v6only is not None:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        if device is not None:
            one.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
        try:
            one.bind((address, port))
        except OSError as error:
            return error.errno or -1
    return 0


def bindcheck_says(
    protocol: str,
    address: str,
    port: int,
    *,
    reuse: Reuse = NONE,
    v6only: bool | None = None,
    device: str | None = None,
) -> Diagnosis:
    (one,) = bindcheck.diagnose(
        (address, port),
        protocol=protocol,
        v6only=v6only,
        device=device,
        timeout=30,
        **reuse.asked,
    )
    return one


def answer(found: Diagnosis) -> int | None:
    """What bindcheck's attempt says: 0, the errno, or None for "not known"."""
    if found.attempt.ok is None:
        return None
    if found.attempt.ok:
        assert found.attempt.error is None
        return 0
    assert found.attempt.error is not None
    return found.attempt.error.code


def expect_free(found: Diagnosis) -> None:
    assert found.verdict is Verdict.BINDABLE
    assert (found.causes, found.blockers, found.trials) == ((), (), ())


def expect_blamed(found: Diagnosis, holder: Holder, way: Way) -> Blocker:
    """Exactly the holder's socket is blamed, and exactly its process."""
    assert [one.code for one in found.causes] == [way.cause]
    (blocker,) = found.blockers
    assert found.causes[0].blockers == (0,)
    assert (blocker.kind, blocker.count) == (way.kind, 1)
    assert blocker.socket.inode == holder.inode()
    assert blocker.socket.local.port == found.target.port
    return blocker


def expect_owner(blocker: Blocker, holder: Holder) -> None:
    assert blocker.owner.kind is OwnerKind.PROCESS
    assert {one.pid for one in blocker.owner.processes} == {holder.pid}
    assert blocker.owner.processes[0].fds == (holder.fd(),)


# Rows: holder; columns: the same addresses as target. `.` the bind works; else it
# fails, through the same address (s), the holder's wildcard (h) or the target's (t);
# `+`: one side is `::` for both families or v4-mapped, and the other IPv4.
ADDRESSES = """
0.0.0.0          s   h   t+  .   .   s+  h+
127.0.0.1        t   s   t+  .   .   t+  s+
::               h+  h+  s   s   h   h+  h+
::/v6only        .   .   s   s   h   .   .
::1              .   .   t   t   s   .   .
::ffff:0.0.0.0   s+  h+  t+  .   .   s   h
::ffff:127.0.0.1 t+  s+  t+  .   .   t   s
"""
WORDS = {
    "s": Overlap.SAME_ADDRESS,
    "h": Overlap.HOLDER_WILDCARD,
    "t": Overlap.TARGET_WILDCARD,
}


@dataclass(frozen=True)
class Spelling:
    """An address, and IPV6_V6ONLY where it is set."""

    text: str

    @property
    def address(self) -> str:
        return self.text.removesuffix("/v6only")

    @property
    def v6only(self) -> bool | None:
        return True if self.text.endswith("/v6only") else None


def address_cells() -> list[ParameterSet]:
    rows = [line.split() for line in ADDRESSES.strip().split("\n")]
    return [
        pytest.param(
            way,
            Spelling(row[0]),
            Spelling(target[0]),
            cell,
            id=f"{way.name}-{row[0]}-{target[0]}",
            marks=[needs("IPv6")] if ":" in row[0] + target[0] else [],
        )
        for way, row in itertools.product(WAYS, rows)
        for target, cell in zip(rows, row[1:], strict=True)
    ]


@pytest.mark.parametrize(("way", "holds", "target", "cell"), address_cells())
def test_addresses(
    tidy: Holder, way: Way, holds: Spelling, target: Spelling, cell: str
) -> None:
    port = hold(tidy, way, holds.address, v6only=holds.v6only)
    expected = 0 if cell == "." else errno.EADDRINUSE
    asked = (way.protocol, target.address, port)
    really = kernel_says(*asked, v6only=target.v6only)
    if is_sometimes_missed(way, holds, target):
        expected = really
    assert really == expected
    found = bindcheck_says(*asked, v6only=target.v6only)
    assert (answer(found), found.attempt.native) == (expected, True)
    if expected == 0:
        expect_free(found)
        return
    assert found.verdict is Verdict.BLOCKED
    assert found.works_with is None
    blocker = expect_blamed(found, tidy, way)
    expect_owner(blocker, tidy)
    assert blocker.overlap is WORDS[cell[0]]
    assert blocker.dual_stack is cell.endswith("+")
    assert (blocker.sharing, blocker.blocks) == (Sharing.NOT_REQUESTED, Blocks.YES)
    assert blocker.release.how is ReleaseHow.WHEN_OWNER_CLOSES


def is_sometimes_missed(way: Way, holds: Spelling, target: Spelling) -> bool:
    """Older kernels do not always see that a v4-mapped wildcard covers the others.

    Linux 6.1 looks for it in the wrong bucket (net/ipv4/inet_hashtables.c,
    inet_bind2_bucket_match_addr_any), unless the port is already searched as a whole.
    """
    mapped = (holds.text, target.text) == ("::ffff:0.0.0.0", "::ffff:127.0.0.1")
    return mapped and way.protocol == "tcp" and not has("bound sockets in the tables")


def may_share(way: Way, holder: Reuse, asker: Reuse, *, same_uid: bool = True) -> bool:
    """SO_REUSEADDR on both, but not beside a listener; or SO_REUSEPORT of one user."""
    by_address = holder.address and asker.address and not way.listens
    return by_address or (holder.port and asker.port and same_uid)


def expected_verdict(*, works: bool, works_with_reuse_address: bool) -> Verdict:
    if works:
        return Verdict.BINDABLE
    return Verdict.CONDITIONAL if works_with_reuse_address else Verdict.BLOCKED


def expect_verdict_and_trials(
    found: Diagnosis, way: Way, holder: Reuse, asker: Reuse, *, same_uid: bool = True
) -> None:
    """Every trial says what the table says, and the verdict follows from them."""
    for trial in found.trials:
        changes = {name: value is True for name, value in trial.changed.items()}
        changed = asker.changed(changes)
        assert trial.ok is may_share(way, holder, changed, same_uid=same_uid)
        # With both options it would be remembered in the port's bucket.
        both = changed.address and changed.port
        assert trial.native is (way.protocol == "tcp" and not both)
    tried = [set(trial.changed) for trial in found.trials]
    missing = {"reuse_address", "reuse_port"} - set(asker.asked)
    assert tried == [{name} for name in sorted(missing)]
    with_address = asker.changed({"reuse_address": True})
    assert found.verdict is expected_verdict(
        works=False,
        works_with_reuse_address=way.protocol == "tcp"
        and may_share(way, holder, with_address, same_uid=same_uid),
    )


def why_not_shared(way: Way, asker: Reuse) -> Sharing:
    """Between sockets of one user, whose options can be read."""
    if not asker.asked:
        return Sharing.NOT_REQUESTED
    if way.listens and not asker.port:
        return Sharing.HOLDER_LISTENING
    # Of two sockets that are not listening any common option would have done.
    return Sharing.HOLDER_LACKS_OPTION


PLACES = [
    pytest.param(LOOPBACK, Overlap.SAME_ADDRESS, id="same"),
    pytest.param(ANY, Overlap.HOLDER_WILDCARD, id="wildcard"),
]
each_way = pytest.mark.parametrize("way", WAYS, ids=[one.name for one in WAYS])
each_place = pytest.mark.parametrize(("address", "overlap"), PLACES)
each_pair = pytest.mark.parametrize(("holds", "asks"), PAIRS)


@each_way
@each_place
@each_pair
def test_options(
    *, tidy: Holder, way: Way, address: str, overlap: Overlap, holds: Reuse, asks: Reuse
) -> None:
    port = hold(tidy, way, address, reuse=holds)
    works = may_share(way, holds, asks)
    expected = 0 if works else errno.EADDRINUSE
    asked = (way.protocol, LOOPBACK, port)
    assert kernel_says(*asked, reuse=asks) == expected
    found = bindcheck_says(*asked, reuse=asks)
    assert answer(found) == expected
    # A datagram socket that might coexist is not made: it would take datagrams.
    assert found.attempt.native is not (way.protocol == "udp" and bool(asks.asked))
    if works:
        expect_free(found)
        return
    expect_verdict_and_trials(found, way, holds, asks)
    blocker = expect_blamed(found, tidy, way)
    expect_owner(blocker, tidy)
    assert (blocker.overlap, blocker.dual_stack) == (overlap, False)
    assert (blocker.sharing, blocker.blocks) == (why_not_shared(way, asks), Blocks.YES)
    known = (blocker.socket.reuse_address, blocker.socket.reuse_port)
    assert known == (holds.address, holds.port)


def why_not_shared_with_another(way: Way, asker: Reuse) -> set[Sharing]:
    """Against a holder of another user, whose options cannot be read.

    That SO_REUSEADDR failed shows that the holder lacks it, or listens. Of SO_REUSEPORT
    nothing can be shown: it never works between users.
    """
    if not asker.asked:
        return {Sharing.NOT_REQUESTED}
    if not asker.address:
        return {Sharing.OTHER_UID, Sharing.UNKNOWN}
    words = {Sharing.HOLDER_LISTENING if way.listens else Sharing.HOLDER_LACKS_OPTION}
    return words | {Sharing.OTHER_UID} if asker.port else words


@needs("root")
@each_way
@each_place
@each_pair
def test_options_asked_by_another_user(
    *, tidy: Holder, way: Way, address: str, overlap: Overlap, holds: Reuse, asks: Reuse
) -> None:
    port = hold(tidy, way, address, reuse=holds)
    works = may_share(way, holds, asks, same_uid=False)
    expected = 0 if works else errno.EADDRINUSE
    asked = (way.protocol, LOOPBACK, port)
    really, found = as_user(
        NOBODY,
        lambda: (kernel_says(*asked, reuse=asks), bindcheck_says(*asked, reuse=asks)),
    )
    assert really == expected
    assert answer(found) == expected
    assert found.attempt.native is not (way.protocol == "udp" and bool(asks.asked))
    if works:
        expect_free(found)
        return
    if way.kind is Kind.BOUND and not has("bound sockets in the tables"):
        # What nobody can see is tried all the same, but nothing is predicted of it.
        assert [cause.code for cause in found.causes] == [CauseCode.UNSEEN_BLOCKER]
        assert found.blockers == ()
        assert all(trial.ok is not None for trial in found.trials if trial.native)
        return
    expect_verdict_and_trials(found, way, holds, asks, same_uid=False)
    blocker = expect_blamed(found, tidy, way)
    assert blocker.owner.kind is OwnerKind.HIDDEN
    assert (blocker.owner.uid, blocker.owner.processes) == (0, ())
    assert blocker.overlap is overlap
    assert blocker.sharing in why_not_shared_with_another(way, asks)
    assert blocker.blocks is Blocks.YES


def why_not_shared_with_readable(way: Way, holder: Reuse, asker: Reuse) -> set[Sharing]:
    """Against a holder of another user, whose options can be read."""
    if not asker.asked:
        return {Sharing.NOT_REQUESTED}
    words = set()
    if asker.port:
        words.add(Sharing.OTHER_UID if holder.port else Sharing.HOLDER_LACKS_OPTION)
    if asker.address and not words:
        listens = way.listens
        words.add(Sharing.HOLDER_LISTENING if listens else Sharing.HOLDER_LACKS_OPTION)
    return words


@needs("root")
@each_way
@each_pair
def test_options_of_another_user(
    nobodys: Holder, way: Way, holds: Reuse, asks: Reuse
) -> None:
    port = hold(nobodys, way, LOOPBACK, reuse=holds)
    works = may_share(way, holds, asks, same_uid=False)
    expected = 0 if works else errno.EADDRINUSE
    asked = (way.protocol, LOOPBACK, port)
    assert kernel_says(*asked, reuse=asks) == expected
    found = bindcheck_says(*asked, reuse=asks)
    assert answer(found) == expected
    if works:
        expect_free(found)
        return
    expect_verdict_and_trials(found, way, holds, asks, same_uid=False)
    blocker = expect_blamed(found, nobodys, way)
    expect_owner(blocker, nobodys)
    assert blocker.owner.uid == NOBODY
    assert blocker.sharing in why_not_shared_with_readable(way, holds, asks)
    assert blocker.blocks is Blocks.YES


def leave_time_wait(address: str, reuse: Reuse) -> int:
    """A server that closes first, and whose listener is gone; returns its port."""
    with socket.socket() as server:
        if reuse.address:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse.port:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind((address, 0))
        server.listen()
        port = int(server.getsockname()[1])
        with socket.create_connection((LOOPBACK, port)) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""
            client.shutdown(socket.SHUT_WR)
            # Closed here means that its FIN was acknowledged: the other end waits.
            deadline = time.monotonic() + 10
            while client.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1)[0] != TCP_CLOSE:
                assert time.monotonic() < deadline
    return port


# Rows: what the server had; columns: what the new socket has. X: EADDRINUSE.
TIME_WAITS = {
    "none": "XXXX",
    "RA": "X.X.",
    "RP": "XX..",
    "RA+RP": "X...",
}


@pytest.mark.parametrize("address", [LOOPBACK, ANY])
@each_pair
def test_time_wait(address: str, holds: Reuse, asks: Reuse) -> None:
    row = dict(zip((one.name for one in REUSES), TIME_WAITS[holds.name], strict=True))
    expected = errno.EADDRINUSE if row[asks.name] == "X" else 0
    port = leave_time_wait(address, holds)
    assert kernel_says("tcp", address, port, reuse=asks) == expected
    found = bindcheck_says("tcp", address, port, reuse=asks)
    assert (answer(found), found.attempt.native) == (expected, True)
    if not expected:
        expect_free(found)
        return
    helps = "RA+RP" if asks.port else "RA"
    verdict = expected_verdict(
        works=False, works_with_reuse_address=not asks.address and row[helps] == "."
    )
    assert found.verdict is verdict
    assert [one.code for one in found.causes] == [CauseCode.TIME_WAIT]
    (blocker,) = found.blockers
    assert (blocker.kind, blocker.count) == (Kind.TIME_WAIT, 1)
    assert blocker.owner.kind is OwnerKind.NONE
    assert blocker.socket.local.port == port
    assert blocker.release.how is ReleaseHow.AFTER
    assert blocker.release.after_ms is not None
    assert 0 < blocker.release.after_ms <= 60_000
    same = address == LOOPBACK
    overlap = Overlap.SAME_ADDRESS if same else Overlap.TARGET_WILDCARD
    assert (blocker.overlap, blocker.dual_stack) == (overlap, False)
    # It is the only one there, so what cannot be read follows from the failure.
    lacks = Sharing.HOLDER_LACKS_OPTION if asks.asked else Sharing.NOT_REQUESTED
    assert (blocker.sharing, blocker.blocks) == (lacks, Blocks.YES)


def test_time_wait_leaves_other_addresses_alone() -> None:
    port = leave_time_wait(LOOPBACK, NONE)
    assert kernel_says("tcp", "127.0.0.2", port) == 0
    expect_free(bindcheck_says("tcp", "127.0.0.2", port))


def ip_link(arguments: str) -> bool:
    try:
        command = ["ip", "link", *arguments.split()]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def interfaces(place: bool) -> dict[str | None, int]:
    """Two interfaces beside loopback; name to index."""
    if not place:
        pytest.skip("needs network namespaces")
    for commands in (
        ["add one0 type veth peer name other0"],
        ["add one0 type dummy", "add other0 type dummy"],
    ):
        if all(ip_link(command) for command in commands):
            names = ("lo", "one0", "other0")
            return {None: 0} | {name: socket.if_nametoindex(name) for name in names}
    return pytest.skip("needs ip and dummy or veth interfaces")


@each_way
@pytest.mark.parametrize("address", [LOOPBACK, ANY])
@pytest.mark.parametrize(
    ("holds", "asks", "works"),
    [
        (None, "one0", False),
        ("one0", None, False),
        ("one0", "one0", False),
        ("one0", "other0", True),
        ("lo", "one0", True),
        ("one0", "lo", True),
    ],
)
def test_interfaces(
    *,
    tidy: Holder,
    interfaces: dict[str | None, int],
    way: Way,
    address: str,
    holds: str | None,
    asks: str | None,
    works: bool,
) -> None:
    port = hold(tidy, way, address, device=holds)
    expected = 0 if works else errno.EADDRINUSE
    asked = (way.protocol, LOOPBACK, port)
    assert kernel_says(*asked, device=asks) == expected
    found = bindcheck_says(*asked, device=asks)
    assert (answer(found), found.attempt.native) == (expected, True)
    if works:
        expect_free(found)
        return
    assert found.verdict is Verdict.BLOCKED
    blocker = expect_blamed(found, tidy, way)
    expect_owner(blocker, tidy)
    assert blocker.socket.device == interfaces[holds]
