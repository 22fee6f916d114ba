"""Our rows and owners beside those of `ss`, psutil and pyroute2, socket by socket.

Every row that one of them shows must be among ours and say the same; a row of ours that
it lacks must be of a kind that it cannot show. The tables are read before and after the
other tool, and again while they changed meanwhile.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

import bindcheck
from bindcheck import native
from bindcheck.observe import shows_bound
from bindcheck.words import (
    CauseCode,
    Family,
    Overlap,
    OwnerKind,
    Protocol,
    SocketType,
    State,
    Verdict,
)
from tests.support import NOBODY, Holder, as_user, in_private_network, needs
from tests.support.capabilities import has
from tests.test_real_servers import (
    POSTGRES,
    free_port,
    has_user,
    nginx,
    ready,
    running,
    says,
)
from tests.test_real_servers import cluster as cluster  # noqa: PLC0414 - a fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bindcheck.model import Endpoint, Socket

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    needs("socket tables"),
]

LOOPBACK, ANY = "127.0.0.1", "0.0.0.0"  # noqa: S104
IPPROTO_MPTCP, IPPROTO_UDPLITE = 262, 136
ROOT = 0
ATTEMPTS = 100
# Process and descriptor: who has a socket.
Holders = frozenset[tuple[int, int]]
Address = tuple[str, int]
Theirs = TypeVar("Theirs")


@dataclass(frozen=True)
class Row:
    """What our table and another tool's can be compared in."""

    protocol: str
    family: int
    state: State
    local: Address
    remote: Address | None
    inode: int
    uid: int | None
    cookie: int
    device: int


Rows = dict[Row, "Socket"]


def number_of(family: Family) -> int:
    return int(socket.AF_INET if family is Family.INET else socket.AF_INET6)


def place_of(endpoint: Endpoint) -> Address:
    return endpoint.address, endpoint.port


def row_of(one: Socket, protocol: Protocol) -> Row:
    """A row of ours; `protocol` is whose table it is in."""
    assert one.cookie is not None
    return Row(
        protocol=str(protocol),
        family=number_of(one.family),
        state=one.state,
        local=place_of(one.local),
        remote=place_of(one.remote) if one.remote else None,
        inode=one.inode,
        uid=one.uid,
        cookie=one.cookie,
        device=one.device,
    )


def ours() -> Rows:
    """Every TCP and UDP socket here, with its owner."""
    return {
        row_of(one, protocol): one
        for protocol in (Protocol.TCP, Protocol.UDP)
        for one in bindcheck.sockets(protocol=protocol)
    }


def holders_of(one: Socket) -> Holders:
    return frozenset(
        (process.pid, fd) for process in one.owner.processes for fd in process.fds
    )


def shape(rows: Rows) -> dict[Row, Holders]:
    """What must not change between two looks: anything but timers and the like."""
    return {row: holders_of(one) for row, one in rows.items()}


def between_looks(read: Callable[[], Theirs]) -> tuple[Rows, Theirs, Rows]:
    """What another tool says while our tables stay as they are."""
    for _ in range(ATTEMPTS):
        before, theirs, after = ours(), read(), ours()
        if shape(before) == shape(after):
            return before, theirs, after
    raise AssertionError("the tables never stayed the same")


def is_bound_only(row: Row) -> bool:
    """In the bind table alone: /proc/net does not show it, `ss` only with -B."""
    return row.protocol == "tcp" and row.state is State.CLOSE


# ss

SS_STATES = {
    "ESTAB": State.ESTABLISHED,
    "SYN-SENT": State.SYN_SENT,
    "SYN-RECV": State.SYN_RECV,
    "FIN-WAIT-1": State.FIN_WAIT_1,
    "FIN-WAIT-2": State.FIN_WAIT_2,
    "TIME-WAIT": State.TIME_WAIT,
    "UNCONN": State.CLOSE,
    "CLOSE-WAIT": State.CLOSE_WAIT,
    "LAST-ACK": State.LAST_ACK,
    "LISTEN": State.LISTEN,
    "CLOSING": State.CLOSING,
}


def listed_by_ss() -> dict[Row, Holders]:
    """What `ss -tuape` lists, and who has it, threads included where it can tell."""
    threads = ["-T"] if "--threads" in output_of("ss", "--help") else []
    found = {}
    for line in output_of("ss", "-H", "-Otunape", *threads).splitlines():
        protocol, state, _, _, local, remote, rest = line.split(None, 6)
        address, device = ss_address(local)
        inode = ss_number(rest, " ino:", r"(\d+)")
        row = Row(
            protocol=protocol,
            family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET,
            state=SS_STATES[state],
            local=address,
            remote=None if remote.endswith(":*") else ss_address(remote)[0],
            inode=inode,
            # 0 is not printed.
            uid=ss_number(rest, " uid:", r"(\d+)") if inode else None,
            cookie=ss_number(rest, " sk:", r"([0-9a-f]+)", 16),
            device=device,
        )
        assert row not in found
        pairs = re.findall(r"pid=(\d+),(?:tid=\d+,)?fd=(\d+)", rest)
        found[row] = frozenset((int(pid), int(fd)) for pid, fd in pairs)
    return found


def output_of(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def ss_number(text: str, name: str, pattern: str, base: int = 10) -> int:
    found = re.search(name + pattern, " " + text)
    return int(found[1], base) if found else 0


def ss_address(text: str) -> tuple[Address, int]:
    """`[::1]%lo:80`, `127.0.0.1%lo:80`, `*:80` (both families); and the interface."""
    address, _, port = text.rpartition(":")
    address, _, device = address.partition("%")
    address = "::" if address == "*" else address.strip("[]")
    return (address, int(port)), socket.if_nametoindex(device) if device else 0


def differences_from_ss() -> list[str]:
    before, theirs, _ = between_looks(listed_by_ss)
    found = []
    for row, holders in theirs.items():
        if row in before:
            # Without an inode the owner is inferred: see the waiting connections.
            mine = holders_of(before[row]) if row.inode else frozenset()
            if mine != holders:
                found.append(f"{row}: {mine} and {holders}")
        elif not is_request(row):
            found.append(f"{row} is not among ours")
    found += [
        f"{row} is ours alone"
        for row in before
        if row not in theirs and not is_bound_only(row)
    ]
    return found + unexplained_owners(before)


def is_request(row: Row) -> bool:
    """A half-open connection: not in the bind table, so never in the way."""
    return row.state is State.SYN_RECV and not row.inode


def unexplained_owners(rows: Rows) -> list[str]:
    """Rows that no process has, without the word for it."""
    words = (OwnerKind.HIDDEN, OwnerKind.KERNEL, OwnerKind.IN_TRANSIT)
    return [
        f"{row}: {one.owner}"
        for row, one in rows.items()
        if row.inode and not one.owner.processes and one.owner.kind not in words
    ]


# psutil

PSUTIL_STATES = {
    "ESTABLISHED": State.ESTABLISHED,
    "SYN_SENT": State.SYN_SENT,
    "SYN_RECV": State.SYN_RECV,
    "FIN_WAIT1": State.FIN_WAIT_1,
    "FIN_WAIT2": State.FIN_WAIT_2,
    "TIME_WAIT": State.TIME_WAIT,
    "CLOSE": State.CLOSE,
    "CLOSE_WAIT": State.CLOSE_WAIT,
    "LAST_ACK": State.LAST_ACK,
    "LISTEN": State.LISTEN,
    "CLOSING": State.CLOSING,
}
# Type, family, local and remote address, and state of TCP.
Ends = tuple[int, int, Address, Address | None, State | None]


def ends_of(row: Row) -> Ends:
    stream = Protocol(row.protocol).type is SocketType.STREAM
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    state = row.state if stream else None
    return int(kind), row.family, row.local, row.remote, state


def listed_by_psutil() -> set[tuple[Ends, tuple[int, int] | None]]:
    import psutil

    found = set()
    for one in psutil.net_connections(kind="inet"):
        stream = one.type == socket.SOCK_STREAM
        assert one.laddr
        ends: Ends = (
            int(one.type),
            int(one.family),
            (one.laddr.ip, one.laddr.port),
            (one.raddr.ip, one.raddr.port) if one.raddr else None,
            PSUTIL_STATES[one.status] if stream else None,
        )
        found.add((ends, None if one.pid is None else (one.pid, one.fd)))
    return found


def in_main_table(holders: Holders, inode: int) -> Holders:
    """Without the descriptors that only a thread has: psutil does not look there."""
    found = set()
    for pid, fd in holders:
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]":  # noqa: PTH115
                found.add((pid, fd))
        except FileNotFoundError:
            continue
    return frozenset(found)


def differences_from_psutil() -> list[str]:
    """It tells one process of each socket, and no inode: sockets may look the same."""
    before, theirs, _ = between_looks(listed_by_psutil)
    known: dict[Ends, list[Holders]] = {}
    for row, one in before.items():
        holders = in_main_table(holders_of(one), row.inode)
        known.setdefault(ends_of(row), []).append(holders)
    found = []
    for ends, holder in theirs:
        candidates = known.get(ends, [])
        if not candidates and holder is None and ends[-1] is State.SYN_RECV:
            continue  # a half-open connection
        if not any(holder in one if holder else not one for one in candidates):
            found.append(f"{ends}: {holder} is not among {candidates}")
    shown = {ends for ends, _ in theirs}
    found += [
        f"{row} is ours alone"
        for row in before
        if ends_of(row) not in shown and not is_bound_only(row)
    ]
    return found


# pyroute2

DUMPED = (Protocol.TCP, Protocol.UDP, Protocol.MPTCP, Protocol.UDPLITE)
NUMBERS = {
    Protocol.TCP: socket.IPPROTO_TCP,
    Protocol.UDP: socket.IPPROTO_UDP,
    Protocol.MPTCP: IPPROTO_MPTCP,
    Protocol.UDPLITE: IPPROTO_UDPLITE,
}
ALL_STATES = 0xFFFFFFFF
TIMER_TIME_WAIT = 3
KERNEL_STATES = (
    State.UNKNOWN,
    State.ESTABLISHED,
    State.SYN_SENT,
    State.SYN_RECV,
    State.FIN_WAIT_1,
    State.FIN_WAIT_2,
    State.TIME_WAIT,
    State.CLOSE,
    State.CLOSE_WAIT,
    State.LAST_ACK,
    State.LISTEN,
    State.CLOSING,
)


@dataclass(frozen=True)
class More:
    """What sock_diag tells of a row beyond what the other tools show."""

    timer_ms: int | None
    v6only: bool | None
    cgroup_id: int | None


def dumped_by_pyroute2(protocol: Protocol) -> dict[Row, More]:
    """The dumps of both families, without half-open connections."""
    diag = importlib.import_module("pyroute2.netlink.diag")
    netlink = importlib.import_module("pyroute2.netlink")

    class Request(diag.inet_diag_req):  # type: ignore[name-defined,misc]
        """With the attribute for a protocol number that takes more than a byte."""

        nla_map = (
            ("INET_DIAG_REQ_NONE", "none"),
            ("INET_DIAG_REQ_BYTECODE", "hex"),
            ("INET_DIAG_REQ_SK_BPF_STORAGES", "hex"),
            ("INET_DIAG_REQ_PROTOCOL", "uint32"),
        )

    found = {}
    with diag.DiagSocket() as kernel:
        kernel.bind()
        for family in (socket.AF_INET, socket.AF_INET6):
            request = Request()
            request["sdiag_family"] = family
            request["sdiag_protocol"] = NUMBERS[protocol] & 0xFF
            request["idiag_states"] = ALL_STATES
            if NUMBERS[protocol] > 0xFF:
                number = ("INET_DIAG_REQ_PROTOCOL", NUMBERS[protocol])
                request["attrs"] = [number]
            flags = netlink.NLM_F_REQUEST | netlink.NLM_F_ROOT | netlink.NLM_F_MATCH
            answer = kernel.nlm_request(request, diag.SOCK_DIAG_BY_FAMILY, flags)
            for message in answer:
                row, more = read_message(message, protocol)
                if not (is_request(row) and shutdown_of(message) is None):
                    found[row] = more
    return found


def shutdown_of(message: Any) -> int | None:
    value: int | None = message.get_attr("INET_DIAG_SHUTDOWN")
    return value


def read_message(message: Any, protocol: Protocol) -> tuple[Row, More]:
    port = message["idiag_dport"]
    inode = message["idiag_inode"]
    waits = message["idiag_timer"] == TIMER_TIME_WAIT
    v6only = message.get_attr("INET_DIAG_SKV6ONLY")
    row = Row(
        protocol=str(protocol),
        family=message["idiag_family"],
        state=KERNEL_STATES[message["idiag_state"]],
        local=(message["idiag_src"], message["idiag_sport"]),
        remote=(message["idiag_dst"], port) if port else None,
        inode=inode,
        uid=message["idiag_uid"] if inode else None,
        cookie=message["idiag_cookie"],
        device=message["idiag_if"],
    )
    more = More(
        timer_ms=message["idiag_expires"] if waits else None,
        v6only=None if v6only is None else bool(v6only),
        cgroup_id=message.get_attr("INET_DIAG_CGROUP_ID"),
    )
    return row, more


def table(protocol: Protocol, port: int = 0) -> dict[Row, More]:
    """Our table as it comes from the kernel."""
    return {
        row_of(one, protocol): More(one.timer_ms, one.v6only, one.cgroup_id)
        for one in native.list_sockets(protocol, port).sockets
    }


def differences_from_pyroute2(protocol: Protocol) -> list[str]:
    for _ in range(ATTEMPTS):
        before, theirs = table(protocol), dumped_by_pyroute2(protocol)
        ports = {row.local[1] for row in before}
        by_port: dict[Row, More] = {}
        for port in ports:
            by_port |= table(protocol, port)
        after = table(protocol)
        if before.keys() == after.keys():
            break
    else:
        raise AssertionError("the table never stayed the same")
    found = [f"{row} is not in all" for row in theirs.keys() ^ before.keys()]
    found += [f"{row}: not by its port" for row in by_port.keys() ^ before.keys()]
    for row in theirs.keys() & before.keys():
        first, their, last = before[row], theirs[row], after[row]
        if (first.v6only, first.cgroup_id) != (their.v6only, their.cgroup_id):
            found.append(f"{row}: {first} and {their}")
        times = (last.timer_ms, their.timer_ms, first.timer_ms)
        if None in times:
            if set(times) != {None}:
                found.append(f"{row}: {times}")
        elif list(times) != sorted(times, key=int):  # type: ignore[arg-type]
            found.append(f"{row}: {times}")
    return found


# The situations


PREFORK = """
reader, writer = os.pipe()
result = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)  # ends with the last that could write
        os._exit(0)
    result.append(pid)
os.close(reader)
"""
THREAD = """
import ctypes, threading
ready, end = threading.Event(), threading.Event()
def hold():
    ctypes.CDLL(None).unshare(0x400)  # CLONE_FILES
    kept["thread"] = socket.create_server(("127.0.0.1", 0))
    ready.set()
    end.wait()
threading.Thread(target=hold, daemon=True).start()
ready.wait()
"""


@dataclass(frozen=True)
class Actors:
    """Who holds the sockets: two users, two processes of one of them."""

    one: Holder
    other: Holder
    nobody: Holder


def connect(client: Holder, name: str, address: str, port: int, kind: str) -> None:
    """Connect without waiting for accept()."""
    family = "socket.AF_INET6" if ":" in address else "socket.AF_INET"
    protocol = IPPROTO_MPTCP if kind == "mptcp" else 0
    client.run(
        f"kept[{name!r}] = one = socket.socket({family}, socket.SOCK_STREAM, {protocol})\n"
        f"one.connect(({address!r}, {port}))"
    )


def accept(server: Holder, listener: str, name: str) -> None:
    server.run(f"kept[{name!r}] = kept[{listener!r}].accept()[0]")


def exchange(client: Holder, said: bytes, hears: bytes) -> None:
    """Wait for an answer."""
    answer = f"kept['client'].recv({len(hears)}).decode()"
    told = client.run(f"kept['client'].sendall({said!r}); result = {answer}")
    assert told == hears.decode()


def hold_bound(actors: Actors) -> None:
    """Sockets that talk to nobody: listening, bound, shared and tied to interfaces."""
    for who, holder in (("one", actors.one), ("nobody", actors.nobody)):
        for address, v6only in (
            (LOOPBACK, None),
            (ANY, None),
            ("::1", None),
            ("::", True),
            ("::", False),
            ("::ffff:127.0.0.1", None),
        ):
            for kind, listen in (("tcp", True), ("tcp", False), ("udp", False)):
                name = f"{who} {address} {v6only} {kind} {listen}"
                holder.bind(address, kind=kind, listen=listen, v6only=v6only, name=name)
    one = actors.one
    port = one.bind(reuse_port=True, listen=True, name="twin")
    actors.other.bind(port=port, reuse_port=True, listen=True, name="twin")
    for kind, listen in (("tcp", True), ("tcp", False), ("udp", False)):
        one.bind(kind=kind, listen=listen, device="lo", name=f"lo {kind} {listen}")
    one.run("kept['twice'] = kept['twin'].dup()")
    one.bind(listen=True, name="inherited")


def hold_connections(actors: Actors) -> None:
    """Connections in every state that stays for a while."""
    server, client = actors.one, actors.nobody
    for address in (LOOPBACK, "::1"):
        port = server.bind(address, listen=True, name=f"for {address}")
        for what in ("open", "half", "left", "gone", "waits"):
            connect(client, f"{what} {address}", address, port, "tcp")
            if what != "waits":
                accept(server, f"for {address}", f"{what} {address}")
        client.run(f"kept['half {address}'].shutdown(1)")
        client.close(f"left {address}")  # the other end in CLOSE_WAIT, ours orphaned
        server.close(f"gone {address}")
        client.run(f"assert kept['gone {address}'].recv(1) == b''")
        client.close(f"gone {address}")  # TIME_WAIT
    # A dual-stack listener's child has a v4-mapped address.
    port = server.bind("::", v6only=False, listen=True, name="dual")
    connect(client, "mapped", LOOPBACK, port, "tcp")
    accept(server, "dual", "mapped")
    # Nobody is accepted until data come: a half-open connection.
    port = server.bind(name="deferred")
    server.run("kept['deferred'].setsockopt(6, 9, 60); kept['deferred'].listen()")
    connect(client, "deferred", LOOPBACK, port, "tcp")
    # One place in the queue: the second SYN is not answered.
    port = server.bind(name="full")
    server.run("kept['full'].listen(0)")
    connect(client, "first", LOOPBACK, port, "tcp")
    client.run(
        "kept['second'] = socket.socket()\n"
        "kept['second'].setblocking(False)\n"
        f"kept['second'].connect_ex(('127.0.0.1', {port}))"
    )
    for address in (LOOPBACK, "::1"):
        port = server.bind(address, kind="udp", name=f"receiver {address}")
        family = "socket.AF_INET6" if ":" in address else "socket.AF_INET"
        client.run(
            f"kept['sender {address}'] = socket.socket({family}, socket.SOCK_DGRAM)\n"
            f"kept['sender {address}'].connect(({address!r}, {port}))"
        )


def joined(server: Holder, client: Holder, name: str) -> int:
    """Wait for the second subflow of a connection; returns the server's inode.

    It is made behind the back of both after data were acknowledged.
    """
    server.run(f"kept['{name} accepted'].sendall(b'x')")
    client.run(f"kept[{name!r}].recv(1); kept[{name!r}].sendall(b'y')")
    server.run(f"kept['{name} accepted'].recv(1)")
    inode = server.inode(f"{name} accepted")
    deadline = time.monotonic() + 30
    while len(subflows(inode)) < 2:
        assert time.monotonic() < deadline
    return inode


def subflows(inode: int) -> list[Socket]:
    return [
        row
        for row in native.list_sockets(Protocol.TCP, 0).sockets
        if row.inode == inode and row.state is State.ESTABLISHED
    ]


def ip_mptcp(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", "mptcp", *command.split()], check=True)


def hold_other_protocols(actors: Actors) -> None:
    """MPTCP with a second subflow, and UDP-Lite, where the kernel has them."""
    server, client = actors.one, actors.other
    try:
        port = server.bind(ANY, kind="mptcp", listen=True, name="mptcp")
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT):
            raise
    else:
        server.bind(kind="mptcp", name="mptcp bound")
        actors.nobody.bind(kind="mptcp", listen=True, name="mptcp")
        ip_mptcp("limits set subflow 2", "endpoint add 127.0.0.9 dev lo subflow")
        connect(client, "mptcp", LOOPBACK, port, "mptcp")
        accept(server, "mptcp", "mptcp accepted")
        joined(server, client, "mptcp")
    try:
        client.run(
            "kept['lite'] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136)\n"
            "kept['lite'].bind(('127.0.0.1', 0))"
        )
    except OSError as error:
        if error.errno != errno.EPROTONOSUPPORT:
            raise


@pytest.fixture(scope="class")
def variety() -> Iterator[Actors]:
    """Sockets of all kinds in a network of their own."""
    with (
        in_private_network() as private,
        Holder() as one,
        Holder() as other,
        Holder(uid=NOBODY) as nobody,
    ):
        assert private
        actors = Actors(one, other, nobody)
        hold_bound(actors)
        hold_connections(actors)
        hold_other_protocols(actors)
        one.run(PREFORK)
        for name in ("twice", "inherited"):
            one.close(name)  # its children keep it
        nobody.run(PREFORK)
        other.run(THREAD)
        yield actors


def users() -> list[int]:
    """Who can ask here: root also as somebody else."""
    uid = os.geteuid() if hasattr(os, "geteuid") else ROOT
    # Root of a user namespace cannot become another user.
    return [ROOT, NOBODY] if has("root") else [uid]


by_whom = pytest.mark.parametrize("uid", users())


def asked_by(uid: int, question: Callable[[], list[str]]) -> list[str]:
    return question() if uid == os.geteuid() else as_user(uid, question)


@needs("network namespaces", "IPv6", "ip")
@pytest.mark.usefixtures("variety")
class TestPrivateNetwork:
    def test_the_situation_is_rich(self) -> None:
        """What the comparisons below are about is really there."""
        rows = ours()
        states = {row.state for row in rows if row.protocol == "tcp"}
        expected = {
            State.LISTEN,
            State.ESTABLISHED,
            State.SYN_SENT,
            State.CLOSE_WAIT,
            State.FIN_WAIT_2,
            State.TIME_WAIT,
        }
        if shows_bound():
            expected.add(State.CLOSE)
        assert states == expected
        datagrams = {row.state for row in rows if row.protocol == "udp"}
        assert datagrams == {State.CLOSE, State.ESTABLISHED}
        owners = {one.owner.kind for one in rows.values()}
        assert owners == {OwnerKind.PROCESS, OwnerKind.NONE}
        holders = [holders_of(one) for one in rows.values()]
        assert {len({pid for pid, _ in one}) for one in holders} == {0, 1, 2, 3}
        assert {row.uid for row in rows} == {ROOT, NOBODY, None}
        assert any(row.device for row in rows)
        threads = [
            row
            for row, one in rows.items()
            if holders_of(one) and not in_main_table(holders_of(one), row.inode)
        ]
        assert threads

    @needs("ss")
    def test_half_open_connections_are_not_ours(self) -> None:
        requests = [row for row in listed_by_ss() if is_request(row)]
        assert requests
        assert not {row.cookie for row in requests} & {row.cookie for row in ours()}

    def test_subflows_of_one_connection_stay_apart(self) -> None:
        """They have one inode and one owner, and each its own addresses."""
        mptcp = native.list_sockets(Protocol.MPTCP, 0).sockets
        inodes = {row.inode for row in mptcp if row.state is State.ESTABLISHED}
        if not inodes:
            pytest.skip("needs MPTCP in the kernel")
        for inode in inodes - {0}:
            rows = [row for row in ours() if row.inode == inode]
            assert {row.local[0] for row in rows} | {
                row.remote[0] for row in rows if row.remote
            } == {LOOPBACK, "127.0.0.9"}
            assert len({row.local + (row.remote or ()) for row in rows}) == 2

    @needs("ss")
    @by_whom
    def test_ss_shows_the_same(self, uid: int) -> None:
        assert asked_by(uid, differences_from_ss) == []

    @by_whom
    def test_psutil_shows_the_same(self, uid: int) -> None:
        assert asked_by(uid, differences_from_psutil) == []

    @by_whom
    @pytest.mark.parametrize("protocol", DUMPED)
    def test_pyroute2_shows_the_same(self, uid: int, protocol: Protocol) -> None:
        found = asked_by(uid, lambda: differences_from_pyroute2(protocol))
        assert found == []

    @by_whom
    def test_waiting_connections_are_their_listeners(self, uid: int) -> None:
        """Without an inode no tool names an owner; ours is the listener's, or nobody."""

        def differences() -> list[str]:
            rows = ours()
            owners: dict[int, list[Holders]] = {}
            for row, one in rows.items():
                if row.state is State.LISTEN:
                    owners.setdefault(row.local[1], []).append(holders_of(one))
            return [
                f"{row}: {one.owner}"
                for row, one in rows.items()
                if not row.inode
                and one.owner.kind is not OwnerKind.NONE
                and holders_of(one) not in owners.get(row.local[1], [])
            ]

        assert asked_by(uid, differences) == []

    def test_hidden_sockets_are_named_by_protocol_too(self, variety: Actors) -> None:
        """MPTCP is told from TCP on every port, whoever asks."""
        listening = {
            row.inode
            for row in native.list_sockets(Protocol.MPTCP, 0).sockets
            if row.state is State.LISTEN
        }

        def protocols() -> set[tuple[int, Protocol]]:
            rows = bindcheck.sockets()
            return {(one.inode, one.protocol) for one in rows if one.inode in listening}

        assert variety.one.pid != variety.nobody.pid
        expected = {(inode, Protocol.MPTCP) for inode in listening}
        assert protocols() == expected
        assert as_user(NOBODY, protocols) == expected


# The machine's own network: what runs there comes and goes.


@needs("ss")
@by_whom
@pytest.mark.parametrize(
    "question",
    [differences_from_ss, differences_from_psutil],
    ids=["ss", "psutil"],
)
def test_this_machine(uid: int, question: Callable[[], list[str]]) -> None:
    """A process may fork or go between two looks that agree, so one that agrees counts."""
    found: list[str] = []
    for _ in range(ATTEMPTS):
        found = asked_by(uid, question)
        if not found:
            return
    assert found == []


@by_whom
@pytest.mark.parametrize("protocol", DUMPED)
def test_tables_of_this_machine(uid: int, protocol: Protocol) -> None:
    found: list[str] = []
    for _ in range(ATTEMPTS):
        found = asked_by(uid, lambda: differences_from_pyroute2(protocol))
        if not found:
            return
    assert found == []


# Servers that people run


def expect_the_same() -> None:
    """Clients are other processes: what a test itself has, `ss` cannot see for nobody."""
    for uid in users():
        for question in (differences_from_ss, differences_from_psutil):
            assert asked_by(uid, question) == []


@needs("network namespaces", "ss", "nginx")
@pytest.mark.usefixtures("network")
def test_nginx(tmp_path: Path, holder: Holder) -> None:
    port = free_port()
    place = f"{LOOPBACK}:{port} reuseport"
    with running(*nginx(tmp_path, place), folder=tmp_path) as master:
        ready(master, port, processes=3)
        connect(holder, "client", LOOPBACK, port, "tcp")
        expect_the_same()


@needs("network namespaces", "ss", "redis-server")
@pytest.mark.usefixtures("network")
def test_redis(tmp_path: Path, holder: Holder) -> None:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", LOOPBACK, "--save", ""]
    with running(*command, folder=tmp_path) as server:
        ready(server, port)
        connect(holder, "client", LOOPBACK, port, "tcp")
        exchange(holder, b"PING\r\n", b"+PONG\r\n")  # accepted
        expect_the_same()


@needs("network namespaces", "ss", "socat")
@pytest.mark.usefixtures("network")
def test_socat(tmp_path: Path, holder: Holder) -> None:
    port, other = free_port(), free_port(socket.SOCK_DGRAM)
    place = f"TCP-LISTEN:{port},bind={LOOPBACK},fork"
    datagrams = ("socat", "-u", f"UDP-RECV:{other},bind={LOOPBACK}", "CREATE:received")
    folder = tmp_path / "datagrams"
    folder.mkdir()
    with (
        running("socat", place, "PIPE", folder=tmp_path) as server,
        running(*datagrams, folder=folder) as receiver,
    ):
        ready(server, port)
        ready(receiver, other, udp=True)
        connect(holder, "client", LOOPBACK, port, "tcp")
        exchange(holder, b"who?", b"who?")  # its child is there
        expect_the_same()


@needs("network namespaces", "ss")
@pytest.mark.skipif(POSTGRES is None, reason="needs postgres")
@pytest.mark.skipif(not has_user("postgres"), reason="needs the user postgres")
@pytest.mark.usefixtures("network")
def test_postgres(cluster: Path, holder: Holder) -> None:
    assert POSTGRES is not None
    port = free_port()
    place = ["-h", LOOPBACK, "-p", str(port), "-c", "unix_socket_directories="]
    command: list[str | Path] = [POSTGRES / "postgres", "-D", cluster / "data", *place]
    with running(*command, folder=cluster, user="postgres") as server:
        says(server, cluster, "ready to accept connections")
        ready(server, port)
        connect(holder, "client", LOOPBACK, port, "tcp")
        expect_the_same()
        holder.close("client")  # it waits for its clients to go


# Two addresses of one connection on one port


@needs("network namespaces", "ip")
@pytest.mark.usefixtures("network")
def test_each_subflow_is_blamed_at_its_own_address(
    make_holder: Callable[..., Holder],
) -> None:
    server, client = make_holder(), make_holder()
    try:
        port = server.bind(ANY, kind="mptcp", listen=True)
    except OSError:
        pytest.skip("needs MPTCP in the kernel")
    ip_mptcp(
        "limits set subflow 2 add_addr_accepted 2",
        "endpoint add 127.0.0.9 dev lo signal",
    )
    connect(client, "mptcp", LOOPBACK, port, "mptcp")
    accept(server, "main", "mptcp accepted")
    inode = joined(server, client, "mptcp")
    server.close()
    for address in (LOOPBACK, "127.0.0.9"):
        (found,) = bindcheck.diagnose((address, port))
        assert found.verdict is Verdict.BLOCKED
        assert [one.code for one in found.causes] == [CauseCode.ACCEPTED_CONNECTION]
        (blocker,) = found.blockers
        assert (blocker.socket.inode, blocker.count) == (inode, 1)
        assert blocker.socket.local.address == address
        assert blocker.overlap is Overlap.SAME_ADDRESS
        assert holders_of(blocker.socket) == {(server.pid, server.fd("mptcp accepted"))}
    (found,) = bindcheck.diagnose((ANY, port))
    assert {one.socket.local.address for one in found.blockers} == {
        LOOPBACK,
        "127.0.0.9",
    }
    (found,) = bindcheck.diagnose(("127.0.0.8", port))
    assert found.verdict is Verdict.BINDABLE
