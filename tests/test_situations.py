"""Random situations: what is blamed must be what the kernel objects to.

One to six holders of random family, address, options, state, protocol, user and device
on one port, then a target with random options. The kernel is asked by a plain bind of
the same kind, never through bindcheck, and its answers judge the blame: closing what was
blamed frees the address, and each blocker that is said to block does so alone.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import bindcheck
from bindcheck import native
from bindcheck.words import Blocks, CauseCode, Kind, Protocol, State, Verdict
from tests.support import NOBODY, Holder, as_user, in_private_network, needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bindcheck.model import Diagnosis

SITUATIONS = int(os.environ.get("BINDCHECK_SITUATIONS", "300"))
PORT = 7000  # in a network namespace of the test's own
ADDRESSES = ("0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1", "::ffff:127.0.0.1")  # noqa: S104
DEVICES = ("", "d0", "d1")
SO_BINDTODEVICE = 25

pytestmark = [needs("root", "network namespaces", "IPv6", "socket tables")]


@dataclass(frozen=True)
class Socket:
    """One socket to be made; `state` is what becomes of it."""

    address: str
    udp: bool
    state: str
    reuse_address: bool
    reuse_port: bool
    v6only: bool | None
    device: str
    holder: int


@dataclass(frozen=True)
class Asked:
    """What is asked about."""

    address: str
    udp: bool
    reuse_address: bool | None
    reuse_port: bool | None
    v6only: bool | None
    device: str


addresses = st.sampled_from(ADDRESSES)
devices = st.sampled_from((*DEVICES[:1] * 4, *DEVICES))
sockets = st.builds(
    Socket,
    address=addresses,
    udp=st.booleans(),
    state=st.sampled_from(("bound", "listening", "connected", "time-wait")),
    reuse_address=st.booleans(),
    reuse_port=st.booleans(),
    v6only=st.sampled_from((None, True, False)),
    device=devices,
    holder=st.integers(0, 2),
)
asked = st.builds(
    Asked,
    address=addresses,
    udp=st.booleans(),
    reuse_address=st.sampled_from((None, True, False)),
    reuse_port=st.sampled_from((None, True)),
    v6only=st.sampled_from((None, True, False)),
    device=devices,
)


class World:
    """The processes of one network; two of root's and one of nobody's."""

    def __init__(self) -> None:
        self.holders = [Holder(), Holder(), Holder(uid=NOBODY)]
        self.client = Holder()

    def close(self) -> None:
        for one in (*self.holders, self.client):
            one.kill()

    def empty(self) -> None:
        """Close everything, TIME_WAIT included."""
        for one in (*self.holders, self.client):
            one.run("[one.close() for one in kept.values()]; kept.clear()")
        destroy_time_wait()

    def make(self, number: int, one: Socket) -> bool:
        """Make a socket of a situation; False when the kernel will not have it."""
        holder = self.holders[one.holder]
        name = f"s{number}"
        linked = one.state in ("connected", "time-wait") and not one.udp
        try:
            holder.bind(
                one.address,
                PORT,
                kind="udp" if one.udp else "tcp",
                reuse_address=one.reuse_address,
                reuse_port=one.reuse_port,
                v6only=one.v6only if one.address == "::" else None,
                device=one.device or None,
                listen=not one.udp and one.state == "listening",
                name=name,
            )
            if linked:
                self._connect(holder, name, one)
        except OSError:
            holder.run(f"if {name!r} in kept: kept.pop({name!r}).close()")
            return False
        return True

    def _connect(self, holder: Holder, name: str, one: Socket) -> None:
        """Have a client; then the listener goes, and for TIME_WAIT the rest too."""
        if one.device:
            raise OSError(0, "a connection through that interface goes nowhere")
        wild = {"0.0.0.0": "127.0.0.3", "::": "::1"}  # noqa: S104
        place = wild.get(one.address, one.address)
        holder.run(f"kept[{name!r}].listen()")
        family = "socket.AF_INET6" if ":" in place else "socket.AF_INET"
        self.client.run(
            f"c = socket.socket({family}); kept[{name!r}] = c; c.settimeout(2);"
            f"c.connect(({place!r}, {PORT}))"
        )
        holder.run(
            f"l = kept[{name!r}]; l.settimeout(2); kept[{name!r}], _ = l.accept();"
            "l.close()"
        )
        if one.state == "time-wait":
            holder.close(name)
            # The end of the file tells that the FIN has come; then ours may go.
            self.client.run(f"kept[{name!r}].recv(1); kept.pop({name!r}).close()")
            wait_until_closed()

    def inodes(self, made: dict[int, Socket]) -> dict[int, int]:
        """Which situation number an inode is."""
        found = {}
        for number, one in made.items():
            if one.state != "time-wait" or one.udp:
                found[self.holders[one.holder].inode(f"s{number}")] = number
        return found

    def drop(self, number: int, one: Socket) -> None:
        if one.state == "time-wait" and not one.udp:
            return
        # With a reset: an orderly close would leave a TIME_WAIT in its place.
        self.holders[one.holder].run(
            f"kept['s{number}'].setsockopt(1, 13, struct.pack('ii', 1, 0))"
        )
        self.holders[one.holder].close(f"s{number}")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with in_private_network():
        pair = ["ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1"]
        subprocess.run(pair, check=True)
        one = World()
        yield one
        one.close()


def wait_until_closed() -> None:
    """The last FIN may still be on its way between two processors."""
    closing = (State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING)
    while any(
        row.state in closing for row in native.list_sockets(Protocol.TCP, PORT).sockets
    ):
        os.sched_yield()


def destroy_time_wait() -> None:
    subprocess.run(
        ["ss", "-K", "-H", "-t", "state", "all", "sport", "=", f":{PORT}"],
        check=False,
        capture_output=True,
    )


def kernel(asked: Asked) -> int:
    """The error number of a plain bind of that kind, 0 when it works."""
    family = socket.AF_INET6 if ":" in asked.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if asked.udp else socket.SOCK_STREAM
    with socket.socket(family, kind) as one:
        try:
            if asked.v6only is not None and asked.address == "::":
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, asked.v6only)
            if asked.reuse_address is not None:
                one.setsockopt(
                    socket.SOL_SOCKET, socket.SO_REUSEADDR, asked.reuse_address
                )
            if asked.reuse_port is not None:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, asked.reuse_port)
            if asked.device:
                one.setsockopt(
                    socket.SOL_SOCKET, SO_BINDTODEVICE, asked.device.encode()
                )
            one.bind((asked.address, PORT))
        except OSError as error:
            return error.errno or -1
    return 0


def diagnose(asked: Asked) -> Diagnosis:
    (found,) = bindcheck.diagnose(
        (asked.address, PORT),
        protocol="udp" if asked.udp else "tcp",
        reuse_address=asked.reuse_address,
        reuse_port=asked.reuse_port,
        v6only=asked.v6only if asked.address == "::" else None,
        device=asked.device or None,
    )
    return found


def blamed(
    found: Diagnosis, world: World, made: dict[int, Socket]
) -> dict[int, Blocks]:
    """Which sockets of the situation the diagnosis names, and how firmly."""
    result = {}
    for blocker in found.blockers:
        pids = {one.pid for one in blocker.owner.processes}
        members = [
            number
            for number, one in made.items()
            if is_of(one, blocker.kind)
            and (not pids or world.holders[one.holder].pid in pids)
            and same_place(one, blocker.socket.local.address)
            and same_v6only(one, blocker.socket.v6only)
        ]
        assert members, f"a blocker that nobody made: {blocker}"
        for number in members:
            result[number] = blocker.blocks
    return result


def is_of(one: Socket, kind: Kind) -> bool:
    if one.udp:
        return kind is Kind.DATAGRAM
    words = {
        "bound": Kind.BOUND,
        "listening": Kind.LISTENER,
        "connected": Kind.CONNECTION,
        "time-wait": Kind.TIME_WAIT,
    }
    return kind is words[one.state]


def same_place(one: Socket, address: str) -> bool:
    if one.udp or one.state in ("bound", "listening"):
        return one.address == address
    wild = {"0.0.0.0": ("127.0.0.3",), "::": ("::1",)}  # noqa: S104
    mapped = address.removeprefix("::ffff:")
    return mapped in (*wild.get(one.address, ()), one.address.removeprefix("::ffff:"))


def build(world: World, wanted: list[Socket]) -> dict[int, Socket]:
    world.empty()
    made: dict[int, Socket] = {}
    for number, one in enumerate(wanted):
        twin = any(other.reuse_port and not other.udp for other in made.values())
        if one.state in ("connected", "time-wait") and one.reuse_port and twin:
            continue  # the kernel would choose which of them gets the connection
        if world.make(number, one):
            made[number] = one
    return made


@settings(
    max_examples=SITUATIONS,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(wanted=st.lists(sockets, min_size=1, max_size=6), asked=asked)
def test_blame_agrees_with_the_kernel(
    world: World, wanted: list[Socket], asked: Asked
) -> None:
    made = build(world, wanted)
    judge(world, made, asked, kernel(asked), diagnose(asked))


@settings(
    max_examples=SITUATIONS // 2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(wanted=st.lists(sockets, min_size=1, max_size=6), asked=asked)
def test_blame_agrees_with_the_kernel_for_an_ordinary_user(
    world: World, wanted: list[Socket], asked: Asked
) -> None:
    """Here the holders' options and pids cannot be read, and the uid differs."""
    made = build(world, wanted)
    if asked.device:
        return  # SO_BINDTODEVICE twice would need a right
    truth, found = as_user(NOBODY, lambda: (kernel(asked), diagnose(asked)))
    judge(world, made, asked, truth, found, uid=NOBODY)


def judge(
    world: World,
    made: dict[int, Socket],
    asked: Asked,
    truth: int,
    found: Diagnosis,
    *,
    uid: int = 0,
) -> None:
    """Hold a diagnosis against what the kernel says and does."""
    event(f"{'udp' if asked.udp else 'tcp'} {found.verdict} {truth}")

    if found.attempt.ok is None:
        # A datagram bind that could take traffic is not tried; here the holders of
        # both families are in an order that only the kernel knows.
        assert asked.udp
        assert found.verdict is Verdict.UNKNOWN
        return
    assert found.attempt.ok is (truth == 0), found
    if truth == 0:
        assert found.verdict is Verdict.BINDABLE
        assert found.blockers == ()
        return
    assert found.verdict in (Verdict.BLOCKED, Verdict.CONDITIONAL)
    names = blamed(found, world, made)
    if truth == errno.EADDRNOTAVAIL:
        assert found.causes[0].code is CauseCode.ADDRESS_NOT_LOCAL
        return
    assert names, found

    firm = [number for number, blocks in names.items() if blocks is Blocks.YES]
    for number in names:
        world.drop(number, made[number])
    if any(made[one].state == "time-wait" and not made[one].udp for one in names):
        destroy_time_wait_of(made, names)

    def again() -> int:
        return kernel(asked) if uid == 0 else as_user(uid, lambda: kernel(asked))

    assert again() == 0, f"something that was not blamed blocks: {found.blockers}"

    for number in firm:
        if is_group_of_several(number, firm, made):
            continue
        world.empty()
        if world.make(number, made[number]):
            assert again() != 0, f"{made[number]} does not block alone"


def destroy_time_wait_of(made: dict[int, Socket], names: dict[int, Blocks]) -> None:
    kept = [
        one
        for number, one in made.items()
        if one.state == "time-wait" and not one.udp and number not in names
    ]
    places = {place_of(made[one]) for one in names}
    assert not places & {place_of(one) for one in kept}
    for place in places:
        subprocess.run(
            ["ss", "-K", "-H", "-t", "state", "time-wait", "src", place],
            check=False,
            capture_output=True,
        )


def same_v6only(one: Socket, v6only: bool | None) -> bool:
    """Two sockets of `::` differ in this alone."""
    return one.address != "::" or v6only is None or bool(one.v6only) is v6only


def place_of(one: Socket) -> str:
    wild = {"0.0.0.0": "127.0.0.3", "::": "::1"}  # noqa: S104
    place = wild.get(one.address, one.address)
    return f"[{place}]" if ":" in place else place


def is_group_of_several(number: int, firm: list[int], made: dict[int, Socket]) -> bool:
    """Sockets that stand together in one blocker, or that the test cannot tell apart.

    Nothing tells the options of a TIME_WAIT or whose it was: those of one address are
    one blocker, of which only some may have lacked the option.
    """

    def nature(one: Socket) -> tuple[object, ...]:
        lingers = one.state == "time-wait" and not one.udp
        state = "" if one.udp else one.state
        return (one.address, one.udp, state, None if lingers else one.holder)

    alike = [other for other in firm if nature(made[other]) == nature(made[number])]
    return len(alike) > 1
