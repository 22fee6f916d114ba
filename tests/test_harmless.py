"""A diagnosis takes nothing from the owner of the port: no datagram, no connection.

Streams run in a process of their own and end when they are told to, never before a
least number was sent. What was sent and never came is counted as lost.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

import pytest

import bindcheck
from bindcheck.words import Verdict
from tests.support import NOBODY, Holder, as_user, needs

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    needs("socket tables"),
    pytest.mark.usefixtures("network"),
]

LOOPBACK, ANY = "127.0.0.1", "0.0.0.0"  # noqa: S104
LEAST_DATAGRAMS, LEAST_CONNECTIONS = 20_000, 1_000
REUSES: tuple[dict[str, bool], ...] = (
    {},
    {"reuse_address": True},
    {"reuse_port": True},
    {"reuse_address": True, "reuse_port": True},
)
# The number of listen(2), from asm/unistd.h.
MACHINE, LISTEN = platform.machine(), {"x86_64": 50, "aarch64": 201}
Result = TypeVar("Result")
Answers = Counter[tuple[bool | None, bool]]

# Both ends are in one thread: it sends a handful, then waits for that handful, so
# nothing overflows however slow the machine is. Many source ports, because among
# SO_REUSEPORT sockets the kernel chooses by source and destination.
DATAGRAMS = """
import threading
stop, lost, errors, done = threading.Event(), [], [], 0
family = kept["main"].family if host != "127.0.0.1" else socket.AF_INET
sources = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(32)]
for source in sources:
    source.connect((host, kept["main"].getsockname()[1]))
kept["main"].settimeout(patience)

def stream():
    global done
    while not errors and len(lost) < 100 and (done < least or not stop.is_set()):
        due = set()
        for source in sources:
            source.send(b"%d" % done)
            due.add(done)
            done += 1
        try:
            while due:
                due.discard(int(kept["main"].recv(32)))
        except TimeoutError:
            lost.extend(due)
        except OSError as error:
            errors.append(str(error))
"""
# Connections end with a reset by the client, so that no TIME_WAIT fills the ports.
CONNECTIONS = """
import threading
stop, lost, errors, done = threading.Event(), [], [], 0
place = (host, kept["main"].getsockname()[1])
reset = struct.pack("ii", 1, 0)
kept["main"].settimeout(patience)

def exchange():
    global done
    clients = []
    for _ in range(4):
        clients.append(socket.create_connection(place, 1))
        clients[-1].send(b"%d" % done)
        done += 1
    for _ in clients:
        server, _ = kept["main"].accept()
        server.send(server.recv(32))
        server.close()
    for back, client in enumerate(clients):
        if int(client.recv(32)) != done - len(clients) + back:
            lost.append(done)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        client.close()

def stream():
    while not errors and (done < least or not stop.is_set()):
        try:
            exchange()
        except OSError as error:
            errors.append(str(error))
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a stream."""

    done: int
    lost: int
    errors: list[str]


class Stream:
    """Traffic to the socket that a holder has; use it as a context manager.

    Args:
        holder: whose socket "main" is the receiver or listener.
        program: DATAGRAMS or CONNECTIONS.
        host: where to send.
        least: how many to send at least.
        patience: seconds after which what has not come is lost.
    """

    def __init__(
        self,
        holder: Holder,
        program: str,
        *,
        host: str,
        least: int,
        patience: float = 2,
    ) -> None:
        self.holder = holder
        self.outcome = Outcome(0, 0, [])
        holder.run(f"host, least, patience = {host!r}, {least}, {patience}")
        holder.run(program)

    def __enter__(self) -> Self:
        self.holder.run("thread = threading.Thread(target=stream); thread.start()")
        while not self.so_far().done:
            pass
        return self

    def __exit__(self, *_: object) -> None:
        self.holder.run("stop.set(); thread.join()")
        self.outcome = self.so_far()

    def so_far(self) -> Outcome:
        done, lost, errors = self.holder.run("result = [done, len(lost), errors]")
        return Outcome(done, lost, errors)


def datagrams(holder: Holder, host: str = LOOPBACK, *, patience: float = 2) -> Stream:
    least = LEAST_DATAGRAMS
    return Stream(holder, DATAGRAMS, host=host, least=least, patience=patience)


def connections(holder: Holder, host: str = LOOPBACK) -> Stream:
    return Stream(holder, CONNECTIONS, host=host, least=LEAST_CONNECTIONS)


def asked_by(user: str, function: Callable[[], Result]) -> Result:
    return as_user(NOBODY, function) if user == "nobody" else function()


def said(target: tuple[str, int], rounds: int, **asked: object) -> Answers:
    """Diagnose again and again; counts what the attempts said, and whether natively."""
    answers: Answers = Counter()
    for _ in range(rounds):
        (found,) = bindcheck.diagnose(target, timeout=30, **asked)  # type: ignore[arg-type]
        answers[found.attempt.ok, found.attempt.native] += 1
    return answers


users = pytest.mark.parametrize(
    "user", ["same-user", pytest.param("nobody", marks=needs("root"))]
)


def test_stream_without_diagnosis_loses_nothing(holder: Holder) -> None:
    holder.bind(kind="udp", reuse_address=True, reuse_port=True)
    with datagrams(holder) as stream:
        pass
    assert stream.outcome.done >= LEAST_DATAGRAMS
    assert (stream.outcome.lost, stream.outcome.errors) == (0, [])


def test_stream_notices_a_thief(holder: Holder) -> None:
    """The measure itself: a socket that shares the port does take datagrams."""
    port = holder.bind(kind="udp", reuse_address=True, reuse_port=True)
    with (
        datagrams(holder, patience=0.1) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief,
    ):
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        thief.bind((LOOPBACK, port))
        deadline = time.monotonic() + 30
        while not stream.so_far().lost:
            assert time.monotonic() < deadline
    assert stream.outcome.lost > 0


each_receiver = pytest.mark.parametrize(
    ("receives", "target"),
    [
        (LOOPBACK, LOOPBACK),
        (LOOPBACK, ANY),
        (ANY, ANY),
        (ANY, LOOPBACK),
        pytest.param("::", LOOPBACK, marks=needs("IPv6")),
        pytest.param("::", "::", marks=needs("IPv6")),
        pytest.param("::1", "::", marks=needs("IPv6")),
        pytest.param("::1", "::1", marks=needs("IPv6")),
    ],
)


def said_of_receiver(target: tuple[str, int], rounds: int) -> list[Answers]:
    return [said(target, rounds, protocol="udp", **reuse) for reuse in REUSES]


@users
@each_receiver
def test_receiver_loses_no_datagram(
    holder: Holder, user: str, receives: str, target: str
) -> None:
    port = holder.bind(receives, kind="udp", reuse_address=True, reuse_port=True)
    host = "::1" if receives == "::1" else LOOPBACK
    with datagrams(holder, host) as stream:
        answers = asked_by(user, lambda: said_of_receiver((target, port), 25))
    assert stream.outcome.done >= LEAST_DATAGRAMS
    assert (stream.outcome.lost, stream.outcome.errors) == (0, [])
    plain: Answers = Counter({(False, True): 25})
    fails: Answers = Counter({(False, False): 25})
    shares: Answers = Counter({(True, False): 25})
    expected = [plain, shares, shares, shares]
    if user == "nobody":
        # Another user shares by SO_REUSEADDR alone. It cannot read the receiver's
        # options, and of an IPv6 address the kernel cannot be asked harmlessly.
        unknown: Answers = Counter({(None, False): 25})
        asked = unknown if ":" in target else shares
        expected = [plain, asked, fails, asked]
    assert answers == expected


class Graveyard:
    """Every UDP socket of this network that ends, as the kernel announces it.

    sock_diag(7), SKNLGRP_INET_UDP_DESTROY: family, address and port of each.
    """

    def __init__(self) -> None:
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)
        self._netlink.bind((0, 0))
        self._netlink.settimeout(10)
        for group in (2, 4):  # of AF_INET, of AF_INET6
            self._netlink.setsockopt(270, 1, group)  # SOL_NETLINK, ADD_MEMBERSHIP

    def __enter__(self) -> Self:
        self.on(0)  # what ended before is announced first
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.close()

    def on(self, port: int) -> set[tuple[int, str]]:
        """Family and address of the sockets that ended on a port until now."""
        found = set()
        for _ in range(3):  # one that ends later is announced later, mostly
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.bind((LOOPBACK, 0))
                end = (socket.AF_INET, LOOPBACK, last.getsockname()[1])
            while (one := self._next()) != end:
                if one[2] == port:
                    found.add(one[:2])
        return found

    def _next(self) -> tuple[int, str, int]:
        family, port, raw = struct.unpack_from("!16xB3xH2x16s", self._netlink.recv(512))
        address = socket.inet_ntop(family, raw[: 4 if family == socket.AF_INET else 16])
        return family, address, port


def test_graveyard_shows_a_thief(holder: Holder) -> None:
    """The measure itself: probe() makes exactly the socket that it is asked for."""
    port = holder.bind(kind="udp", reuse_address=True)
    with Graveyard() as graveyard:
        for _ in range(20):
            bindcheck.probe((LOOPBACK, port), protocol="udp", reuse_address=True)
        assert graveyard.on(port) == {(socket.AF_INET, LOOPBACK)}


@users
@each_receiver
def test_no_socket_is_ever_made_that_could_receive(
    holder: Holder, user: str, receives: str, target: str
) -> None:
    port = holder.bind(receives, kind="udp", reuse_address=True, reuse_port=True)
    with Graveyard() as graveyard:
        asked_by(user, lambda: said_of_receiver((target, port), 3))
        for family, address in graveyard.on(port):
            # An IPv4 address that nobody uses; or a v4-mapped one, after which the
            # kernel prefers the receiver's.
            unused = address.startswith("127.") and address != LOOPBACK
            mapped = address.startswith("::ffff:") and ":" not in receives
            assert unused if family == socket.AF_INET else mapped


@users
@pytest.mark.parametrize(
    ("listens", "target"), [(LOOPBACK, LOOPBACK), (LOOPBACK, ANY), (ANY, LOOPBACK)]
)
def test_server_loses_no_connection(
    holder: Holder, user: str, listens: str, target: str
) -> None:
    port = holder.bind(listens, listen=True, reuse_port=True)
    with connections(holder) as stream:
        answers = asked_by(user, lambda: said_of_server((target, port)))
    assert stream.outcome.done >= LEAST_CONNECTIONS
    assert (stream.outcome.lost, stream.outcome.errors) == (0, [])
    assert answers == expected_of_server(same_user=user != "nobody")


def said_of_server(target: tuple[str, int]) -> list[Answers]:
    return [said(target, 20, listen=True, **reuse) for reuse in REUSES]


def expected_of_server(*, same_user: bool) -> list[Answers]:
    """Where listen() would have worked, the answer is not the system's own."""
    fails: Answers = Counter({(False, True): 20})
    shares: Answers = Counter({(True, False): 20})
    by_port = shares if same_user else fails
    return [fails, fails, by_port, by_port]


@needs("root")
@pytest.mark.skipif(MACHINE not in LISTEN, reason=f"needs listen() of {MACHINE}")
def test_listen_is_not_called_beside_a_server(holder: Holder) -> None:
    """Asked where the kernel refuses every listen(), nothing changes."""
    port = holder.bind(listen=True, reuse_port=True)

    def ask() -> list[Answers]:
        refuse_listen()
        with socket.socket() as one, pytest.raises(PermissionError):
            one.listen()
        return said_of_server((LOOPBACK, port))

    assert as_user(0, ask) == expected_of_server(same_user=True)


def refuse_listen() -> None:
    """Let every listen() of this process fail with EPERM from now on (seccomp(2))."""
    load, jump_if_equal, give = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | 1
    program = b"".join(
        struct.pack("=HBBI", *one)
        for one in (
            (load, 0, 0, 0),
            (jump_if_equal, 0, 1, LISTEN[MACHINE]),
            (give, 0, 0, refuse),
            (give, 0, 0, allow),
        )
    )
    code = ctypes.create_string_buffer(program)
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, filtered = 38, 22, 2
    assert libc.prctl(no_new_privileges, 1, 0, 0, 0) == 0
    assert libc.prctl(seccomp, filtered, header) == 0


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_a_thousand_diagnoses_leave_nothing_open(holder: Holder) -> None:
    tcp = holder.bind(listen=True, reuse_address=True)
    udp = holder.bind(
        kind="udp", port=tcp, reuse_address=True, reuse_port=True, name="udp"
    )
    count = "result = len(os.listdir('/proc/self/fd'))"
    said((LOOPBACK, tcp), 1)  # what is read once for all stays open from here on
    ours, theirs = open_descriptors(), holder.run(count)
    with ThreadPoolExecutor(4) as pool:
        work = [
            pool.submit(said, (LOOPBACK, udp), 200, protocol="udp", reuse_port=True),
            pool.submit(said, (ANY, udp), 500, protocol="udp", reuse_address=True),
            pool.submit(said, (LOOPBACK, udp), 150, protocol="udp"),
            pool.submit(said, (LOOPBACK, tcp), 150, listen=True),
        ]
        answers = [one.result() for one in work]
    assert answers == [
        {(True, False): 200},
        {(True, False): 500},
        {(False, True): 150},
        {(False, True): 150},
    ]
    assert (open_descriptors(), holder.run(count)) == (ours, theirs)
    pending = "kept[%r].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)"
    assert holder.run(f"result = [{pending % 'main'}, {pending % 'udp'}]") == [0, 0]
    with socket.create_connection((LOOPBACK, tcp), 10) as client:
        holder.run("kept['main'].accept()[0].send(b'still here')")
        assert client.recv(32) == b"still here"


def test_refused_diagnoses_leave_nothing_open() -> None:
    said((LOOPBACK, 0), 1)
    before = open_descriptors()
    assert said(("192.0.2.77", 8080), 200) == {(False, True): 200}
    (found,) = bindcheck.diagnose(f"{LOOPBACK}:0", device="no-such-device")
    assert found.verdict is Verdict.BLOCKED
    assert said((LOOPBACK, 0), 200) == {(True, True): 200}
    assert open_descriptors() == before


def test_programs_started_meanwhile_inherit_nothing(holder: Holder) -> None:
    tcp = holder.bind(listen=True)
    udp = holder.bind(kind="udp", reuse_address=True)
    stop = threading.Event()

    def diagnose() -> int:
        rounds = 0
        while not stop.is_set():
            said((LOOPBACK, tcp), 1)
            said((LOOPBACK, udp), 1, protocol="udp", reuse_address=True)
            rounds += 1
        return rounds

    def inherited() -> list[str]:
        command = ["ls", "/proc/self/fd"]
        return subprocess.check_output(command, text=True, close_fds=False).split()

    expected = inherited()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(diagnose)
        try:
            meanwhile = [inherited() for _ in range(100)]
        finally:
            stop.set()
    assert work.result() > 0
    assert meanwhile == [expected] * 100
