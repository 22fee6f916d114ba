"""Sockets that differ in their port alone are read as one: the table stays the same."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from bindcheck import native
from bindcheck.alike import inodes_of, natures_of, part_unseen, parted, places_of
from bindcheck.model import NO_OWNER, Owner
from bindcheck.native.rows import Holder as Holding
from bindcheck.observe import Observer
from bindcheck.records import replace
from bindcheck.words import OwnerKind, Protocol
from tests.support import NOBODY, Holder, in_child, needs, seccomp
from tests.support.searches import answer_with
from tests.test_command import Answer, as_nobody, here
from tests.test_list import socket_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Snapshot

pytestmark = pytest.mark.usefixtures("network")
linux = needs("socket tables", "network namespaces")
MANY = 300  # more than of one process are read in all detail


@pytest.fixture
def one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[], Answer]], Answer]:
    """Run something where each socket is a row of its own."""
    real = native.list_sockets

    def ask(run: Callable[[], Answer]) -> Answer:
        with monkeypatch.context() as patch:
            patch.setattr(
                native,
                "list_sockets",
                lambda protocol, port, **how: real(
                    protocol, port, **how | {"alike": False}
                ),
            )
            return run()

    return ask


def told(answer: Answer) -> tuple[int, list[str]]:
    """What is said of sockets: other processes come and go."""
    lines = [line for line in answer.lines if "cannot be read by" not in line]
    return (answer.status, lines)


def listen(
    holder: Holder, ports: range, address: str = "127.0.0.1", how: str = ""
) -> None:
    holder.run(
        f"for port in {list(ports)}:\n"
        f"    one = socket.socket(socket.AF_INET6 if ':' in {address!r} else socket.AF_INET)\n"
        f"    {how or 'pass'}\n"
        f"    one.bind(({address!r}, port)); one.listen()\n"
        f"    kept[{address!r}, port] = one"
    )


def fill(make_holder: Callable[..., Holder]) -> None:
    """Sockets of many kinds, most of which are like others."""
    first, second, other = make_holder(), make_holder(), make_holder(uid=NOBODY)
    listen(first, range(20000, 20000 + MANY))
    listen(second, range(21000, 21020))
    listen(first, range(21000, 21005), "127.0.0.2")  # where another one is too
    listen(first, range(22000, 22010), "::1")
    listen(first, range(23000, 23005), "::", "one.setsockopt(41, 26, 1)")
    listen(first, range(23100, 23105), "::", "one.setsockopt(41, 26, 0)")
    listen(second, range(24000, 24005), "127.0.0.1", "one.setsockopt(1, 25, b'lo')")
    listen(other, range(25000, 25010))
    for port in range(20000, 20010):
        second.bind(port=port, kind="udp", name=f"u{port}")
    for port in range(26000, 26005):
        second.bind(port=port, name=f"b{port}")
    first.run(
        "for port in range(20000, 20003):\n"
        "    kept['c', port] = socket.create_connection(('127.0.0.1', port))\n"
        "    kept['a', port], _ = kept['127.0.0.1', port].accept()"
    )


@linux
class TestTheTableIsTheSame:
    @pytest.fixture
    def compared(
        self,
        make_holder: Callable[..., Holder],
        one_by_one: Callable[[Callable[[], Answer]], Answer],
    ) -> Callable[..., Answer]:
        """Ask for the table both ways; gives the answer."""
        fill(make_holder)

        def compare(ask: Callable[..., Answer], options: str) -> Answer:
            found = ask("list", *options.split())
            after = one_by_one(lambda: ask("list", *options.split()))
            assert told(found) == told(after)
            return found

        return compare

    @pytest.mark.parametrize("options", ["", "--all", "-q", "-t", "-6", "-4 -u", "-v"])
    def test_as_root(self, compared: Callable[..., Answer], options: str) -> None:
        found = compared(here, options)
        if not options:
            assert len(found.lines) > MANY + 70

    @needs("root")
    @pytest.mark.parametrize("options", ["", "--all"])
    def test_as_nobody(self, compared: Callable[..., Answer], options: str) -> None:
        found = compared(as_nobody, options)
        assert sum("hidden" in line for line in found.lines) > MANY

    def test_most_of_it_is_one_row(self, holder: Holder) -> None:
        listen(holder, range(20000, 20000 + MANY))
        asked = native.list_sockets(Protocol.TCP, 0, alike=True)
        (row,) = asked.sockets
        assert len(asked.alike[row.inode]) == MANY - 1
        rows = native.list_sockets(Protocol.TCP, 0).sockets
        (others,) = asked.alike.values()
        of_row = (row.local.port, row.inode, row.cookie)
        assert {of_row, *others} == {
            (one.local.port, one.inode, one.cookie) for one in rows
        }

    @needs("MPTCP")
    @pytest.mark.parametrize("listens", [True, False])
    def test_mptcp_among_more_than_are_asked(
        self, holder: Holder, *, listens: bool
    ) -> None:
        """The kernel's tables have them among those of TCP."""
        listen(holder, range(20000, 20000 + MANY))
        mptcp = ("19999", "29998", "29999")  # the first and the last to be found
        for port in mptcp:
            holder.bind(port=int(port), kind="mptcp", listen=listens, name=port)
        lines = {line.split()[0]: line.split()[1] for line in here("list").lines}
        found = {port for port, protocol in lines.items() if protocol == "mptcp"}
        assert found == set(mptcp)

    @needs("system call filters")
    def test_where_the_kernel_cannot_be_asked(
        self, holder: Holder, one_by_one: Any
    ) -> None:
        """The text tables do not tell what may differ: the descriptors do."""
        listen(holder, range(21000, 21005))
        listen(holder, range(24000, 24005), how="one.setsockopt(1, 25, b'lo')")
        listen(holder, range(23000, 23005), "::", "one.setsockopt(41, 26, 1)")
        listen(holder, range(23100, 23105), "::", "one.setsockopt(41, 26, 0)")

        def ask() -> tuple[tuple[int, list[str]], tuple[int, list[str]]]:
            return told(here("list")), told(one_by_one(lambda: here("list")))

        here("list")
        found, expected = in_child(refuse_netlink, ask)
        assert found == expected
        assert any("%lo" in line for line in found[1])

    @needs("ip")
    def test_a_port_that_the_kernel_may_use(self, one_by_one: Any) -> None:
        """A tunnel's socket is like others that nobody has, until its port is asked."""
        for number in range(3):
            for what in (
                f"add vx{number} type vxlan id {number + 1} dstport {4789 + number}",
                f"set vx{number} up",
            ):
                subprocess.run(["ip", "link", *what.split()], check=True)
        asked = here("list", "-u")
        assert told(asked) == told(one_by_one(lambda: here("list", "-u")))
        assert all(f"vx{number}" in asked.out for number in range(3))

    def test_socket_that_was_given_by_another_program(
        self, one_by_one: Any, make_holder: Callable[..., Holder]
    ) -> None:
        """Which descriptors those are tells which sockets: no two are alike."""
        holder = make_holder()
        listen(holder, range(20000, 20004))
        code = (
            "import os, sys\n"
            "os.set_inheritable(int(sys.argv[1]), False)\n"  # its end tells of exec
            "os.environ['LISTEN_PID'] = str(os.getpid())\n"
            "os.environ['LISTEN_FDS'] = '2'\n"
            "os.execvp('sleep', ['sleep', '1000'])"
        )
        child = holder.run(
            "import subprocess, sys\n"
            "moved = [os.dup2(kept['127.0.0.1', 20000 + n].fileno(), 3 + n) for n in range(4)]"
            "\n"
            "reader, writer = os.pipe()\n"
            f"line = [sys.executable, '-S', '-c', {code!r}, str(writer)]\n"
            "child = subprocess.Popen(line, pass_fds=(3, 4, 5, 6, writer))\n"
            "os.close(writer)\n"
            "result = child.pid"
        )
        try:
            assert holder.run("result = len(os.read(reader, 1))") == 0
            asked = here("list")
            assert told(asked) == told(one_by_one(lambda: here("list")))
            assert asked.out.count("socket activation") == 2
        finally:
            os.kill(child, 9)


def refuse_netlink() -> None:
    seccomp.refuse_family(socket.AF_NETLINK, errno.EPERM)


@linux
class TestWhatChangesMeanwhile:
    """Between the table and the look at who has its sockets."""

    @pytest.mark.parametrize("left", ["time-wait", "connection"])
    @pytest.mark.parametrize("option", ["", "PORT", "--json", "--all"])
    def test_listener_that_is_closed(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch, left: str, option: str
    ) -> None:
        """What came to it stays, and nobody is said to listen."""
        port = holder.bind(port=8080, listen=True)
        with socket.create_connection(("127.0.0.1", port)) as client:
            holder.run("kept['a'], _ = kept['main'].accept()")
            if left == "time-wait":
                holder.close("a")
                assert client.recv(1) == b""
                client.close()
            real = native.find_owners

            def find(inodes: Sequence[int]) -> native.Scan:
                holder.run("if 'main' in kept: kept.pop('main').close()")
                return real(inodes)

            answer_with(monkeypatch, find)
            answer = here("list", *option.replace("PORT", str(port)).split())
        assert answer.status == 0
        assert "listener" not in answer.out
        assert left in answer.out

    @needs("system call filters", "IPv6")
    def test_option_that_the_descriptor_told(self, holder: Holder) -> None:
        """A listener for IPv6 alone did not accept from an IPv4 client."""
        port = holder.bind("::", listen=True, v6only=True)
        server = holder.bind("127.0.0.2", listen=True, name="other")
        with socket.socket() as client:
            client.bind(("127.0.0.1", port))
            client.connect(("127.0.0.2", server))
            here("list", "--json")
            answer = in_child(refuse_netlink, lambda: here("list", "--json", str(port)))
        found = json.loads(answer.out)["sockets"]
        directions = {one["kind"]: one["direction"] for one in found}
        assert directions == {"listener": None, "connection": None}


def test_natures_of_sockets_with_thousands_of_descriptors() -> None:
    """They are compared, and that goes no deeper for more of them."""
    one = Holding(
        **dict.fromkeys(("device", "reuse_address", "reuse_port", "v6only")),
        inode=1,
        pid=7,
        tid=7,
        fd=3,
        close_on_exec=None,
        serves=None,
        protocol="TCP",
    )
    having = [
        replace(one, inode=inode, pid=pid, tid=pid)
        for pid in range(1, 3000)
        for inode in (18080, 10001)
    ]
    natures = natures_of(having, {row.pid for row in having}, frozenset())
    found = parted(TestParted.snapshot(1), natures)
    assert len(found.sockets) == 1


class TestParted:
    """Without any system."""

    @staticmethod
    def snapshot(*ports: int) -> Snapshot:
        """One row on 8080, which stands for others; inodes are ports and 10,000."""
        row = socket_row(inode=18080, cookie=5)
        more = tuple((port, 10000 + port, port) for port in ports)
        empty = Observer().nothing_seen()
        return replace(empty, sockets=(row,), alike={18080: more} if more else {})

    def test_those_of_another_nature_have_a_row_of_their_own(self) -> None:
        natures = {18080: "a", 10001: "b", 10002: "a", 10003: "b"}
        found = parted(self.snapshot(1, 2, 3, 4), natures)
        first, second, third = found.sockets
        assert (first.local.port, first.inode) == (8080, 18080)
        assert (second.local.port, second.inode, second.cookie) == (1, 10001, 1)
        assert (third.local.port, third.inode, third.cookie) == (4, 10004, 4)
        assert found.alike == {18080: ((2, 10002, 2),), 10001: ((3, 10003, 3),)}

    def test_who_has_no_nature_is_alone(self) -> None:
        found = parted(self.snapshot(1, 2), {})
        assert [row.local.port for row in found.sockets] == [8080, 1, 2]
        assert found.alike == {}

    def test_what_a_row_stands_for(self) -> None:
        snapshot = self.snapshot(1, 2)
        (row,) = snapshot.sockets
        assert inodes_of(row, snapshot) == {18080, 10001, 10002}
        assert list(places_of(snapshot)) == [(8080, 18080), (1, 10001), (2, 10002)]
        assert inodes_of(replace(row, inode=0), snapshot) == set()

    @pytest.mark.parametrize("gone", [{1}, {8080}, {8080, 2}, {1, 2, 3, 8080}, set()])
    def test_one_that_was_closed_meanwhile(self, gone: set[int]) -> None:
        snapshot = self.snapshot(1, 2, 3)
        (row,) = snapshot.sockets
        hidden = replace(row, owner=Owner(kind=OwnerKind.HIDDEN))
        snapshot = replace(snapshot, sockets=(hidden,))
        left = sorted({1, 2, 3, 8080} - gone)
        rows = [replace(row, local=replace(row.local, port=port)) for port in left]
        inodes = {port: 10000 + port for port in left} | {8080: 18080}
        later = replace(
            snapshot,
            sockets=tuple(replace(one, inode=inodes[one.local.port]) for one in rows),
            alike={},
        )
        found, closed = part_unseen(snapshot, later)
        assert {place[3] for place in closed} == gone
        shown = set()
        for one in found.sockets:
            ports = {port for port, _, _ in found.alike.get(one.inode, ())}
            if one.local.port not in gone:
                assert ports.isdisjoint(gone)
                shown |= {one.local.port} | ports
        assert shown == set(left)
        assert all(one.owner is not NO_OWNER for one in found.sockets)


@linux
def test_rows_are_what_the_socket_itself_says(holder: Holder) -> None:
    """A client's row has both ends; what has no value is None."""
    port = holder.bind("::1", listen=True)
    with socket.create_connection(("::1", port)) as client:
        own = client.getsockname()[1]
        (row,) = native.list_sockets(Protocol.TCP, own).sockets
        assert (row.local.address, row.local.port) == ("::1", own)
        assert row.remote is not None
        assert (row.remote.address, row.remote.port) == ("::1", port)
        assert row.packed == socket.inet_pton(socket.AF_INET6, "::1")
        assert row.inode == os.fstat(client.fileno()).st_ino
        assert (row.timer_ms, row.pid, row.created) == (None, None, None)
