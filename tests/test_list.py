"""The verb `list`: every local port and who has it, from real sockets."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import bindcheck
from bindcheck import native
from bindcheck.cli.list import _aligned
from bindcheck.model import NO_OWNER, Endpoint, Owner, Process, Socket
from bindcheck.observe import Observer
from bindcheck.port_table import judged, port_table
from bindcheck.records import replace
from bindcheck.render import cells
from bindcheck.rules import holders, overlap
from bindcheck.wording.table import HEADER, Columns
from bindcheck.words import (
    Direction,
    Domain,
    Family,
    Kind,
    OwnerKind,
    Protocol,
    State,
    Trait,
)
from tests.support import NOBODY, Holder, needs
from tests.support.namespaces import in_pid_namespace
from tests.support.searches import answer_with
from tests.support.simulated import Held, Program, Simulated
from tests.test_command import ESCAPE, Answer, as_nobody, command, here, in_terminal
from tests.test_old_kernel import blind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

pytestmark = pytest.mark.usefixtures("network")
linux = needs("socket tables")
alone = needs("socket tables", "network namespaces")
complete = needs("bound sockets in the tables", "network namespaces")

PACKAGE = Path(bindcheck.__file__).parent
DEFS: dict[str, Any] = json.loads((PACKAGE / "schema.json").read_text("utf-8"))["$defs"]
ANY = "0.0.0.0"  # noqa: S104 - an address in a table


def rows_of(answer: Answer) -> list[dict[str, str]]:
    """The lines of a table by the names of their columns."""
    if not answer.lines or answer.lines[0].split()[:1] != ["PORT"]:
        return []
    header = answer.lines[0]
    named = [name for name in HEADER if name in header.split()]
    starts = [0, *(header.index(name) for name in named[1:]), None]
    found = []
    for line in answer.lines[1:]:
        cut = [line[a:b].strip() for a, b in itertools.pairwise(starts)]
        if not cut[0].isdigit():
            break
        found.append(dict(zip(named, cut, strict=True)))
    return found


def table(*arguments: str) -> list[dict[str, str]]:
    answer = here("list", *arguments)
    assert answer.err == ""
    return rows_of(answer)


def on(port: int, *arguments: str) -> list[dict[str, str]]:
    """The lines of a port."""
    return [row for row in table(*arguments) if row["PORT"] == str(port)]


def line_of(port: int, *arguments: str) -> dict[str, str]:
    (row,) = on(port, *arguments)
    return row


def below(answer: Answer) -> list[str]:
    """The lines below the table."""
    return answer.lines[1 + len(rows_of(answer)) :]


def sockets(*arguments: str) -> list[dict[str, Any]]:
    answer = here("list", "--json", *arguments)
    assert answer.err == ""
    found: list[dict[str, Any]] = json.loads(answer.out)["sockets"]
    return found


def connected(holder: Holder, port: int, *, name: str = "child") -> socket.socket:
    """A client of a listener there, which has accepted it under `name`."""
    client = socket.create_connection(("127.0.0.1", port))
    holder.run(f"kept[{name!r}], _ = kept['main'].accept()")
    return client


def left_by_server(holder: Holder, port: int) -> None:
    """Leave a connection in TIME_WAIT on the listener's port."""
    with connected(holder, port, name="gone") as client:
        holder.close("gone")
        assert client.recv(1) == b""


def left_by_client(holder: Holder, port: int) -> int:
    """Leave a connection in TIME_WAIT on the port of a client, which is returned."""
    client = connected(holder, port, name="gone")
    own = int(client.getsockname()[1])
    client.close()
    holder.run("assert kept['gone'].recv(1) == b''")
    holder.close("gone")
    return own


@linux
class TestLines:
    def test_listener(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        row = line_of(port)
        assert (row["PROTO"], row["ADDRESS"]) == ("tcp", "127.0.0.1")
        assert (row["KIND"], row["PID"]) == ("listener", str(holder.pid))
        assert row["PROGRAM"].startswith("python")
        assert " -S -c " in row["COMMAND"]
        assert row.get("NOTE", "") == ""

    @needs("IPv6")
    def test_addresses(self, holder: Holder) -> None:
        """`*` is every address of both families, as in ss."""
        cases = [
            ("127.0.0.1", None, "127.0.0.1"),
            (ANY, None, ANY),
            ("::1", None, "::1"),
            ("::", True, "::"),
            ("::", False, "*"),
        ]
        for number, (address, v6only, shown) in enumerate(cases):
            port = holder.bind(
                address, listen=True, v6only=v6only, name=f"number {number}"
            )
            assert line_of(port)["ADDRESS"] == shown

    @needs("root")
    def test_interface(self, holder: Holder) -> None:
        port = holder.bind(listen=True, device="lo")
        assert line_of(port)["ADDRESS"] == "127.0.0.1%lo"

    @pytest.mark.parametrize(
        ("kind", "listen", "shown"),
        [
            ("udp", False, ("udp", "datagram")),
            ("tcp", False, ("tcp", "bound")),
            pytest.param(
                *("mptcp", True, ("mptcp", "listener")), marks=needs("MPTCP", "root")
            ),
        ],
    )
    def test_kinds(
        self, holder: Holder, kind: str, listen: bool, shown: tuple[str, str]
    ) -> None:
        port = holder.bind(kind=kind, listen=listen)
        row = line_of(port)
        assert (row["PROTO"], row["KIND"], row["PID"]) == (*shown, str(holder.pid))

    @needs("root")
    def test_bound_on_a_kernel_that_does_not_list_it(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = holder.bind()
        blind(monkeypatch)
        for arguments in ((), (str(port),)):
            row = line_of(port, *arguments)
            assert (row["KIND"], row["PID"]) == ("bound", str(holder.pid))
        assert [one["kind"] for one in sockets(str(port))] == ["bound"]

    def test_suspended(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        os.kill(holder.pid, 19)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
        assert line_of(port)["NOTE"] == "suspended"

    def test_shared(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        child = holder.run(
            "result = kept['child'] = os.fork()\nif result == 0:\n    time.sleep(1000)"
        )
        try:
            row = line_of(port)
            assert (row["PID"], row["NOTE"]) == (f"{holder.pid}+1", "shared by 2")
        finally:
            os.kill(child, 9)

    def test_sorted(self, make_holder: Callable[..., Holder]) -> None:
        one = make_holder()
        for number in range(12):
            kind = ("udp", "tcp")[number % 2]
            one.bind(kind=kind, listen=kind == "tcp", name=f"{number}")
        port = one.bind(ANY, listen=True, name="wide")
        one.bind("127.0.0.1", port, kind="udp", name="same")
        keys = [
            (int(row["PORT"]), row["PROTO"], socket.inet_aton(row["ADDRESS"]))
            for row in table("-4")
        ]
        assert len(keys) >= 14
        assert keys == sorted(keys)

    def test_alike_are_one_line(self, make_holder: Callable[..., Holder]) -> None:
        """Workers of one parent, each with a socket of its own."""
        first, second = make_holder(), make_holder()
        port = first.bind(listen=True, reuse_port=True)
        first.bind(port=port, listen=True, reuse_port=True, name="again")
        second.bind(port=port, listen=True, reuse_port=True)
        row = line_of(port)
        assert row["PID"] in (f"{first.pid}+1", f"{second.pid}+1")
        assert row["NOTE"] == "3 sockets"
        assert len(on(port, "--all")) == 3
        assert len(sockets(str(port))) == 3

    def test_other_programs_are_other_lines(
        self, make_holder: Callable[..., Holder]
    ) -> None:
        first, second = make_holder(), make_holder(arguments=("other",))
        port = first.bind(listen=True, reuse_port=True)
        second.bind(port=port, listen=True, reuse_port=True)
        pids = {row["PID"] for row in on(port)}
        assert pids == {str(first.pid), str(second.pid)}

    @complete
    def test_nothing_at_all(self) -> None:
        for arguments in ((), ("--all",), ("-q",)):
            answer = here("list", *arguments)
            assert (answer.status, answer.out) == (0, "nobody has a port here\n")
        assert sockets() == []

    def test_quiet_has_neither_header_nor_footer(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        client = connected(holder, port)
        answer = here("list", "-q")
        assert all(line.split()[0].isdigit() for line in answer.lines)
        assert str(port) in {line.split()[0] for line in answer.lines}
        client.close()


@linux
class TestConnections:
    def test_accepted_are_counted_with_their_listener(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        clients = [connected(holder, port, name=f"{number}") for number in range(3)]
        waiting = socket.create_connection(("127.0.0.1", port))
        assert line_of(port)["NOTE"] == "4 connections"
        clients[0].close()
        assert line_of(port)["NOTE"] == "3 connections, 1 CLOSE_WAIT"
        for one in (*clients, waiting):
            one.close()

    @alone
    def test_outgoing_are_summed_up(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        clients = [connected(holder, port, name=f"{number}") for number in range(2)]
        left_by_client(holder, port)
        answer = here("list")
        assert [row["PORT"] for row in rows_of(answer)] == [str(port)]
        assert below(answer)[:1] == [
            "and 2 outgoing connections, 1 in TIME_WAIT: --all shows each"
        ]
        for one in clients:
            one.close()

    def test_all_shows_each(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        client = connected(holder, port)
        own = client.getsockname()[1]
        left_by_server(holder, port)
        listener, accepted, left = on(port, "--all")
        assert (listener["KIND"], listener["NOTE"]) == ("listener", "")
        assert (accepted["KIND"], accepted["NOTE"]) == ("connection", "accepted")
        assert accepted["REMOTE"] == f"127.0.0.1:{own}"
        assert accepted["PID"] == str(holder.pid)
        assert left["KIND"] == "time-wait"
        assert re.fullmatch(r"accepted, ends in \d+ s", left["NOTE"])
        outgoing = line_of(own, "--all")
        assert (outgoing["PID"], outgoing["NOTE"]) == (str(os.getpid()), "outgoing")
        assert outgoing["REMOTE"] == f"127.0.0.1:{port}"
        assert "--all" not in here("list", "--all").out
        client.close()

    def test_left_over_are_summed_up_for_each_port(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        for _ in range(3):
            left_by_server(holder, port)
        note = line_of(port)["NOTE"]
        assert re.fullmatch(r"3 TIME_WAIT, last ends in [56]\d s", note)
        holder.close()
        # Without their listener they have a line of their own, where nothing but the
        # port tells who opened them: several of one client's are those of a server.
        row = line_of(port)
        assert (row["KIND"], row["PID"], row["COMMAND"]) == ("time-wait", "-", "nobody")
        assert re.fullmatch(r"accepted, 3 TIME_WAIT, last ends in \d+ s", row["NOTE"])
        assert line_of(port, str(port))["NOTE"] == row["NOTE"]

    def test_connection_whose_listener_is_gone(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        client = connected(holder, port)
        holder.close()
        row = line_of(port)
        assert (row["KIND"], row["PID"]) == ("connection", str(holder.pid))
        assert row["NOTE"] == "accepted"
        client.close()

    def test_each_line_counts_its_own(self, make_holder: Callable[..., Holder]) -> None:
        """Two programs listen on one address: whose connection it is, its owner tells."""
        first, second = make_holder(), make_holder(arguments=("other",))
        port = first.bind(listen=True, reuse_port=True)
        client = connected(first, port)
        second.bind(port=port, listen=True, reuse_port=True)
        notes = {row["PID"]: row["NOTE"] for row in on(port)}
        assert notes == {str(first.pid): "1 connection", str(second.pid): ""}
        client.close()

    def test_most_specific_listener_counts(self, holder: Holder) -> None:
        port = holder.bind(ANY, listen=True, reuse_port=True, name="wide")
        holder.bind("127.0.0.1", port, listen=True, reuse_port=True)
        with socket.create_connection(("127.0.0.1", port)):
            notes = {row["ADDRESS"]: row["NOTE"] for row in on(port)}
        assert notes == {ANY: "", "127.0.0.1": "1 connection"}

    @alone
    def test_connected_datagram(self, holder: Holder) -> None:
        port = holder.bind(kind="udp")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port))
            own = client.getsockname()[1]
            answer = here("list")
            assert [row["PORT"] for row in rows_of(answer)] == [str(port)]
            assert below(answer)[0].startswith("and 1 outgoing connection: ")
            assert line_of(own, "--all")["REMOTE"] == f"127.0.0.1:{port}"


@linux
class TestPorts:
    def test_only_these(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        other = holder.bind(kind="udp", name="other")
        left_out = holder.bind(name="left out")
        shown = {row["PORT"] for row in table(str(port), str(other), str(port))}
        assert shown == {str(port), str(other)}
        assert str(left_out) not in shown

    def test_connections_have_lines_then(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        clients = [connected(holder, port, name=f"{number}") for number in range(2)]
        left_by_server(holder, port)
        listener, accepted = table(str(port))
        assert re.fullmatch(r"1 TIME_WAIT, ends in \d+ s", listener["NOTE"])
        assert accepted["NOTE"] == "accepted, 2 connections"
        own = clients[0].getsockname()[1]
        row = line_of(own, str(own))
        assert (row["REMOTE"], row["NOTE"]) == (f"127.0.0.1:{port}", "outgoing")
        left = left_by_client(holder, port)
        row = line_of(left, str(left))
        assert (row["KIND"], row["REMOTE"]) == ("time-wait", f"127.0.0.1:{port}")
        for one in clients:
            one.close()

    @complete
    def test_nobody(self, holder: Holder) -> None:
        answer = here("list", "7")
        assert (answer.status, answer.out) == (1, "nobody has port 7\n")
        port = holder.bind(listen=True)
        both = here("list", "7", str(port), "9")
        assert both.status == 0
        assert len(rows_of(both)) == 1
        assert below(both)[0] == "nobody has port 7 or 9"
        assert here("list", "-q", "7").out == "nobody has port 7\n"
        assert len(here("list", "-q", "7", str(port)).lines) == 1
        assert here("list", "-u6", str(port)).out == (
            f"nobody has port {port} (udp, IPv6)\n"
        )
        assert here("list", "--json", "7").status == 1

    @complete
    def test_service(self) -> None:
        """A name that /etc/services has, for either protocol."""
        found = here("list", "http", "domain", "ntp")
        assert found.out == "nobody has port 53 or 80 or 123\n"

    @pytest.mark.parametrize(
        "text",
        [
            *("0", "65536", "-1", "8080/udp", "127.0.0.1:8080", "", "no-such-service"),
            *("9" * 5000, "\u0663", "a\nb", "\x1b[31m", "\ud800", "http\0"),
        ],
    )
    def test_what_is_no_port(self, text: str) -> None:
        arguments = ("--", text) if text.startswith("-") else (text,)
        answer = here("list", "8080", *arguments)
        assert (answer.status, answer.out) == (2, "")
        assert answer.err.startswith("bindcheck: ")
        assert answer.err.rstrip("\n").isprintable()
        assert "is no port: 1 to 65535, or the name of a service" in answer.err

    def test_protocols(self, holder: Holder) -> None:
        tcp = str(holder.bind(listen=True))
        udp = str(holder.bind(kind="udp", name="udp"))
        ports = {
            option: {row["PORT"] for row in table(*option.split())} & {tcp, udp}
            for option in ("", "-t", "-u", "-t -u", "--tcp", "--udp")
        }
        assert ports == {
            "": {tcp, udp},
            "-t": {tcp},
            "-u": {udp},
            "-t -u": {tcp, udp},
            "--tcp": {tcp},
            "--udp": {udp},
        }

    @needs("IPv6")
    def test_families(self, holder: Holder) -> None:
        """A socket for both families has the ports of either."""
        bound = {
            name: str(holder.bind(address, v6only=v6only, listen=True, name=name))
            for name, address, v6only in (
                ("four", "127.0.0.1", None),
                ("six", "::1", None),
                ("both", "::", False),
                ("mapped", "::ffff:127.0.0.1", False),
            )
        }
        names = {port: name for name, port in bound.items()}

        def listed(option: str) -> set[str]:
            return {names[one["PORT"]] for one in table(option) if one["PORT"] in names}

        assert listed("-4") == {"four", "both", "mapped"}
        assert listed("-6") == {"six", "both"}


@pytest.fixture
def prefix() -> Iterator[Path]:
    """A folder with a console script, which everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        script = folder / "bindcheck"
        script.touch()
        script.chmod(0o755)
        yield folder


@needs("root", "socket tables")
class TestHidden:
    def test_as_nobody(self, holder: Holder, prefix: Path) -> None:
        port = holder.bind(listen=True)
        answer = as_nobody("list", str(port), prefix=prefix)
        (row,) = rows_of(answer)
        assert answer.status == 0
        assert (row["PID"], row["USER"], row["PROGRAM"]) == ("hidden", "root", "-")
        assert row["COMMAND"].startswith("a socket of root (uid 0)")
        unread, heading, sudo = below(answer)
        assert re.fullmatch(
            r"\d+ of \d+ processes cannot be read by (nobody|uid 65534)", unread
        )
        assert heading == "to see the pids"
        assert sudo == f"  sudo {prefix}/bindcheck list {port}"
        quiet = as_nobody("list", "-q", str(port), prefix=prefix).lines
        assert [one.split() for one in quiet] == [answer.lines[1].split()]

    @needs("network namespaces")
    def test_not_where_nothing_is_hidden(
        self, make_holder: Callable[..., Holder], prefix: Path
    ) -> None:
        holder = make_holder(uid=NOBODY)
        port = holder.bind(listen=True)
        answer = as_nobody("list", prefix=prefix)
        (row,) = rows_of(answer)
        assert (row["PORT"], row["PID"]) == (str(port), str(holder.pid))
        assert below(answer) == []
        verbose = as_nobody("list", "-v", prefix=prefix)
        assert any("cannot be read by" in line for line in below(verbose))
        assert "sudo" not in verbose.out

    @needs("mount")
    def test_in_a_container(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        answer = in_pid_namespace(lambda: here("list", str(port)))
        (row,) = rows_of(answer)
        assert (row["PID"], row["USER"]) == ("hidden", "root")
        assert "processes outside of this pid namespace (container) cannot be seen" in (
            below(answer)
        )

    @needs("network namespaces")
    def test_old_kernel_says_what_it_could_not_ask(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = holder.bind()
        blind(monkeypatch)
        answer = as_nobody("list", str(port))
        assert answer.status == 1
        assert answer.lines[0] == f"nobody is seen to have port {port}"
        holder.bind(listen=True, name="hidden")
        for shown in (answer, as_nobody("list")):
            unread = [one for one in shown.lines[1:] if "cannot be read by" in one]
            assert len(unread) == 1


def refusing(*protocols: Protocol) -> Callable[..., native.Listing]:
    """The tables, but for those that the kernel does not have."""
    real = native.list_sockets

    def list_sockets(protocol: Protocol, port: int, **how: bool) -> native.Listing:
        if protocol not in protocols:
            return real(protocol, port, **how)
        refused = native.error(Domain.ERRNO, 13)
        return native.Listing(source=None, sockets=(), refused=refused, bound=None)

    return list_sockets


@linux
class TestTables:
    def test_rare_protocols_may_be_missing(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = holder.bind(listen=True)
        missing = refusing(Protocol.SCTP, Protocol.UDPLITE)
        monkeypatch.setattr(native, "list_sockets", missing)
        answer = here("list", str(port))
        assert (answer.status, len(rows_of(answer))) == (0, 1)
        assert "sctp" not in here("list", "-v").out

    def test_rare_protocols_are_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = {
            Protocol.SCTP: socket_row(protocol=Protocol.SCTP, port=5060),
            Protocol.UDPLITE: socket_row(
                protocol=Protocol.UDPLITE, port=5061, state=State.CLOSE
            ),
        }

        def list_sockets(protocol: Protocol, _: int, **__: bool) -> native.Listing:
            found = (rows[protocol],) if protocol in rows else ()
            return native.Listing(
                source="sock_diag", sockets=found, refused=None, bound=None
            )

        monkeypatch.setattr(native, "list_sockets", list_sockets)
        found = [(row["PORT"], row["PROTO"], row["KIND"]) for row in table()]
        assert found == [
            ("5060", "sctp", "listener"),
            ("5061", "udplite", "datagram"),
        ]
        assert table("-t", "-u") == []

    @pytest.mark.parametrize("option", ["", "-q", "--json"])
    def test_table_that_cannot_be_read(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch, option: str
    ) -> None:
        """What could be read is printed all the same."""
        port = holder.bind(kind="udp")
        monkeypatch.setattr(native, "list_sockets", refusing(Protocol.TCP))
        answer = here("list", *option.split(), str(port), "7")
        assert answer.status == 3
        assert "the kernel lists no tcp sockets (Permission denied)" in answer.out
        assert re.search(rf"\b{port}\b", answer.out)
        assert "nobody has" not in answer.out
        assert "nobody is seen" not in answer.out

    def test_what_is_closed_meanwhile_is_left_out(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is no socket that nobody is seen to have."""
        kept = holder.bind(listen=True, name="kept")
        port = holder.bind(listen=True)
        real = native.find_owners

        def find(inodes: Sequence[int]) -> native.Scan:
            holder.run("'main' in kept and kept.pop('main').close()")
            return real(inodes)

        answer_with(monkeypatch, find)
        shown = {row["PORT"] for row in table()}
        assert str(kept) in shown
        assert str(port) not in shown

    @needs("ss", "root")
    def test_as_ss(self, make_holder: Callable[..., Holder]) -> None:
        """Every socket that ss lists is listed, with the same pids."""
        one, other = make_holder(), make_holder(uid=NOBODY)
        port = one.bind(listen=True)
        clients = [connected(one, port, name=f"{number}") for number in range(2)]
        one.bind("127.0.0.3", kind="udp", name="udp")
        other.bind(ANY, kind="udp", name="udp")
        other.bind(listen=True)
        left_by_server(one, port)
        child = other.run(
            "result = kept['child'] = os.fork()\nif result == 0:\n    time.sleep(1000)"
        )
        try:
            theirs = {**listed_by_ss("-Htanp"), **listed_by_ss("-Huanp")}
            ours = {
                (
                    socket["protocol"],
                    socket["local"]["port"],
                    (socket["remote"] or {"port": 0})["port"],
                ): {one["pid"] for one in socket["owner"]["processes"]}
                for socket in sockets()
            }
            shown = {(row["PROTO"], row["PORT"]): row["PID"] for row in table()}
        finally:
            os.kill(child, 9)
            for client in clients:
                client.close()
        assert len(theirs) >= 9
        for key, pids in theirs.items():
            assert ours[key] == pids, key
            if not key[2] and pids:
                first, _, more = shown[key[0], str(key[1])].partition("+")
                assert int(first) in pids
                assert int(more or 0) == len(pids) - 1


def listed_by_ss(options: str) -> dict[tuple[str, int, int], set[int]]:
    """Protocol, local and remote port of each socket, and the pids that have it."""
    done = subprocess.run(["ss", options], capture_output=True, text=True, check=True)
    protocol = "tcp" if "t" in options else "udp"
    found = {}
    for line in done.stdout.splitlines():
        local, remote = line.split()[3:5]
        far = remote.rpartition(":")[2]
        key = (protocol, int(local.rpartition(":")[2]), int(far) if far != "*" else 0)
        found[key] = {int(pid) for pid in re.findall(r"pid=(\d+)", line)}
    return found


WIDE_NAME = "\u65e5\u672c\u8a9e\u30b5\u30fc"
HOSTILE = ("[/x]", "\x1b[31mred", "a\nb", "\u202egnp", "\u65e5" * 40)


@linux
class TestText:
    @pytest.fixture
    def busy(self, make_holder: Callable[..., Holder]) -> Holder:
        """A program of a strange name with sockets of each kind."""
        holder = make_holder(arguments=(*HOSTILE, "x" * 100))
        name = f"{WIDE_NAME}".encode()
        holder.run(f"import ctypes; ctypes.CDLL(None).prctl(15, {name!r})")
        port = holder.bind(listen=True)
        for _ in range(2):
            left_by_server(holder, port)
        holder.bind(name="bound")
        holder.bind(kind="udp", name="udp")
        return holder

    @alone
    @pytest.mark.parametrize("width", [20, 40, 61, 80, 81, 100, 150])
    @pytest.mark.parametrize("option", ["", "--all"])
    def test_no_line_is_longer_than_the_terminal(
        self, busy: Holder, width: int, option: str
    ) -> None:
        answer = in_terminal("list", *option.split(), width=width)
        assert answer.status == 0
        lines = ESCAPE.sub("", answer.out).splitlines()
        assert len(lines) > 3
        assert max(map(cells, lines)) <= width
        assert all(line.isprintable() for line in lines)
        assert (f"  {busy.pid}  " in answer.out) == (width >= 61)
        assert WIDE_NAME in answer.out or width < 80

    def test_command_is_cut_on_a_terminal_alone(self, busy: Holder) -> None:
        shown = ESCAPE.sub("", in_terminal("list", width=150).out).splitlines()
        cut = [line for line in shown if f"  {busy.pid}  " in line]
        assert cut
        assert all(line.endswith("...") for line in cut)
        piped = command("list", env={"COLUMNS": "40"})
        rows = [row for row in rows_of(piped) if row["PID"] == str(busy.pid)]
        assert len(rows) == 3
        assert all(len(line) > 100 for line in piped.lines if str(busy.pid) in line)

    def test_columns_stand_below_each_other(self, busy: Holder) -> None:
        piped = command("list")
        header = piped.lines[0]
        assert header.split()[:3] == ["PORT", "PROTO", "ADDRESS"]
        lines = [line for line in piped.lines if f"  {busy.pid}  " in line]
        assert {line.index(str(busy.pid)) for line in lines} == {header.index("PID")}
        # Wide characters take two columns.
        note = next(line for line in lines if "TIME_WAIT" in line)
        before = note[: note.index("2 TIME_WAIT")]
        assert cells(before) == header.index("NOTE")

    def test_foreign_text_is_escaped(self, make_holder: Callable[..., Holder]) -> None:
        holder = make_holder(arguments=HOSTILE)
        name = b"[/x]\x1b[1m\nz\xe2\x80\xae"
        holder.run(f"import ctypes; ctypes.CDLL(None).prctl(15, {name!r})")
        port = holder.bind(listen=True)
        piped = here("list", str(port))
        assert all(line.isprintable() for line in piped.lines)
        (row,) = rows_of(piped)
        assert row["PROGRAM"] == r"[/x]\x1b[1m\x0az\u202e"
        shown = in_terminal("list", str(port), width=800)
        assert "\x1b[31mred" not in shown.out
        assert ESCAPE.sub("", shown.out).splitlines()[1] == piped.lines[1].rstrip()
        encoded = here("list", "--json", str(port)).out
        assert encoded.isascii()
        (process,) = json.loads(encoded)["sockets"][0]["owner"]["processes"]
        assert process["command"][4:] == list(HOSTILE)

    def test_colours(self, busy: Holder) -> None:
        left = left_by_client(busy, busy.bind(listen=True))
        shown = in_terminal("list", "--all", width=150)
        assert re.match(r"\x1b\[1m +PORT  PROTO .* COMMAND\x1b\[0m\n", shown.out)
        assert re.search(rf"\n\x1b\[2m *{left}  .*\x1b\[0m\n", shown.out)  # dim
        assert "\x1b" not in in_terminal("list", "--no-color", width=150).out
        assert "\x1b" not in command("list").out

    @alone
    def test_long_name_pushes_its_own_line_alone(
        self, make_holder: Callable[..., Holder]
    ) -> None:
        """Somebody else's name must not drive the columns off the terminal."""
        long, plain = make_holder(), make_holder()
        name = b"\xe2\x80\xae" * 5
        long.run(f"import ctypes; ctypes.CDLL(None).prctl(15, {name!r})")
        ports = [str(one.bind(kind="udp")) for one in (long, plain)]
        note = plain.bind(listen=True, name="listener")
        with socket.create_connection(("127.0.0.1", note)):
            lines = ESCAPE.sub("", in_terminal("list", width=88).out).splitlines()
        assert any(r"\u202e" * 4 in line for line in lines if ports[0] in line)
        assert any("1 connection" in line for line in lines if str(note) in line)


class TestJson:
    @linux
    def test_form(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        client = connected(holder, port)
        left_by_server(holder, port)
        own = client.getsockname()[1]
        answer = json.loads(here("list", "--json").out)
        assert list(answer) == ["schema", "version", "context", "sockets", "limits"]
        assert (answer["schema"], answer["version"]) == (1, bindcheck.__version__)
        check("context", answer["context"])
        for one in answer["limits"]:
            check("notice", one)
        for one in answer["sockets"]:
            assert list(one)[-3:] == ["kind", "direction", "owner"]
            check("owner", one["owner"])
            check("socket", {name: one[name] for name in DEFS["socket"]["required"]})
            assert len(one) == 3 + len(DEFS["socket"]["required"])
        kinds = [
            (one["kind"], one["direction"], one["owner"]["kind"])
            for one in answer["sockets"]
            if one["local"]["port"] == port
        ]
        assert kinds == [
            ("listener", None, "process"),
            ("connection", "accepted", "process"),
            ("time-wait", "accepted", "none"),
        ]
        # The kernel gives a client's port to several of them, of other servers.
        there = [one for one in answer["sockets"] if one["remote"] is not None]
        (outgoing,) = (
            one
            for one in there
            if (one["local"]["port"], one["remote"]["port"]) == (own, port)
        )
        assert outgoing["direction"] == "outgoing"
        assert outgoing["owner"]["processes"][0]["pid"] == os.getpid()
        ports = [one["local"]["port"] for one in answer["sockets"]]
        assert ports == sorted(ports)
        client.close()


def check(name: str, value: object) -> None:
    """Hold a value against a part of the schema, which must know all of it."""
    described = {**DEFS[name], "additionalProperties": False, "$defs": DEFS}
    jsonschema.Draft202012Validator(described).validate(value)


def socket_row(**changes: Any) -> Socket:
    """A listener on 127.0.0.1:8080, or what the changes make of it."""
    port = changes.pop("port", 8080)
    local = Endpoint(address=changes.pop("address", "127.0.0.1"), port=port)
    plain = Socket(
        family=Family.INET,
        protocol=Protocol.TCP,
        state=State.LISTEN,
        local=local,
        remote=None,
        packed=socket.inet_aton(local.address),
        inode=1,
        cookie=None,
        uid=1000,
        cgroup_id=None,
        device=0,
        timer_ms=None,
        opened=None,
        v6only=None,
    )
    return replace(plain, **changes)


def peer(number: int) -> Endpoint:
    return Endpoint(address="192.0.2.7", port=number)


def time_wait(number: int, **changes: Any) -> Socket:
    gone = {"state": State.TIME_WAIT, "remote": peer(number), "inode": 0, "uid": None}
    return socket_row(**gone, **changes)


PROCESS = Process(
    pid=4121,
    start_id=1,
    fds=(3,),
    name="node",
    command=("/usr/bin/node", "server.js"),
    command_truncated=False,
    uid=1000,
    user="ada",
    started=None,
    parent=1,
    parent_name=None,
    state="sleeping",
    folder=None,
    program=(1, 2),
)


class TestGrouping:
    """Without any system: rows that were made up."""

    def test_ephemeral_port_tells_who_opened_it(self) -> None:
        low = judged([time_wait(9, port=8080)], (32768, 60999))
        high = judged([time_wait(9, port=40000)], (32768, 60999))
        assert (low[0].outgoing, high[0].outgoing) == (False, True)
        assert judged([time_wait(9, port=40000)], (49152, 65535))[0].outgoing is False
        table = port_table([*low, *high])
        assert len(table.entries) == table.outgoing_time_wait == 1

    def test_listener_on_an_ephemeral_port_is_a_server(self) -> None:
        rows = judged([socket_row(port=40000), time_wait(9, port=40000)], None)
        table = port_table(rows)
        assert table.outgoing_time_wait == 0
        (entry,) = table.entries
        assert entry.counted == {Kind.TIME_WAIT: 1}

    def test_listener_of_another_protocol_accepts_nothing(self) -> None:
        rows = judged([socket_row(protocol=Protocol.SCTP), time_wait(9)], None)
        assert [one.kind for one in port_table(rows).entries] == [
            Kind.LISTENER,
            Kind.TIME_WAIT,
        ]

    def test_last_one_is_the_last(self) -> None:
        left = [
            time_wait(7 + seconds % 40, timer_ms=1000 * seconds)
            for seconds in (7, 41, 9)
        ]
        for rows in (left, [socket_row(), *left]):
            (entry,) = port_table(judged(rows, None)).entries
            assert entry.last_ends_ms == 41000

    @pytest.mark.parametrize(
        ("opened", "listens", "outgoing"),
        [
            (None, True, False),
            (None, False, True),
            (Direction.ACCEPTED, False, False),
            (Direction.OUTGOING, True, True),
        ],
    )
    def test_closing_connection_on_an_ephemeral_port(
        self, opened: Direction | None, listens: bool, outgoing: bool
    ) -> None:
        closing = socket_row(
            port=40000, state=State.FIN_WAIT_1, remote=peer(9), opened=opened
        )
        rows = judged([closing, *[socket_row(port=40000)] * listens], None)
        assert [one.outgoing for one in rows if one.socket is closing] == [outgoing]

    @pytest.mark.parametrize("turn", [1, -1])
    def test_most_specific_listener(self, turn: int) -> None:
        listeners = [socket_row(address=one) for one in (ANY, "127.0.0.1")][::turn]
        rows = judged([*listeners, time_wait(9)], None)
        (left,) = (one for one in rows if one.kind is Kind.TIME_WAIT)
        assert [one.local.address for one in left.listeners] == ["127.0.0.1"]

    def test_it_does_not_grow_with_the_square(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def collide(*arguments: Any) -> Any:
            asked.append(arguments)
            return overlap.collide(*arguments)

        monkeypatch.setattr(holders, "collide", collide)
        listeners = [socket_row(inode=number) for number in range(1, 301)]
        left = [time_wait(1 + number) for number in range(1000)]
        (entry,) = port_table(judged([*listeners, *left], None)).entries
        assert (entry.count, entry.counted) == (300, {Kind.TIME_WAIT: 1000})
        assert len(asked) <= 1001


class TestWords:
    """What each column says of owners that are hard to come by."""

    @staticmethod
    def cells_of(**changes: Any) -> dict[str, str]:
        owner = changes.pop("owner", NO_OWNER)
        row = socket_row(owner=owner, **changes)
        (entry,) = port_table(judged([row], None), each=True).entries
        snapshot = Observer().nothing_seen()
        columns = Columns(snapshot, {7: "eth\x1b0"})
        return dict(zip(HEADER, columns.of(entry), strict=True))

    def test_service(self) -> None:
        owner = Owner(kind=OwnerKind.PROCESS, unit="shop.service", processes=(PROCESS,))
        row = self.cells_of(owner=owner)
        assert (row["PID"], row["USER"], row["PROGRAM"]) == ("4121", "ada", "node")
        assert row["COMMAND"] == "in shop.service: node server.js"

    def test_command_of_another_name(self) -> None:
        """A program may write over its arguments; where it lies is shown then."""
        for first, shown in (
            ("/opt/bin/other", "/opt/bin/other server.js"),
            ("nginx: worker", "'nginx: worker' server.js"),
        ):
            process = replace(PROCESS, command=(first, "server.js"))
            owner = Owner(kind=OwnerKind.PROCESS, processes=(process,))
            row = self.cells_of(owner=owner)
            assert (row["PROGRAM"], row["COMMAND"]) == ("node", shown)

    def test_hidden_in_a_container(self) -> None:
        owner = Owner(
            kind=OwnerKind.HIDDEN, uid=999, user=None, container="3f2a" + "0" * 60
        )
        row = self.cells_of(owner=owner)
        assert (row["PID"], row["USER"], row["PROGRAM"]) == ("hidden", "999", "-")
        assert row["COMMAND"] == "a socket of uid 999 in container 3f2a00000000"

    def test_kernel(self) -> None:
        certain = Owner(kind=OwnerKind.KERNEL, uid=0, user="root", kernel="NFS server")
        row = self.cells_of(owner=certain)
        assert (row["PID"], row["PROGRAM"]) == ("-", "the kernel")
        assert row["COMMAND"] == "NFS server"
        doubtful = replace(certain, kind=OwnerKind.HIDDEN)
        row = self.cells_of(owner=doubtful)
        assert row["COMMAND"] == (
            "a socket of root (uid 0), maybe the kernel's NFS server"
        )

    def test_in_transit(self) -> None:
        row = self.cells_of(owner=Owner(kind=OwnerKind.IN_TRANSIT, uid=0))
        assert (row["PID"], row["USER"]) == ("-", "0")
        assert row["COMMAND"] == "a socket that no process has a descriptor of"

    @pytest.mark.parametrize(
        ("changes", "note"),
        [
            ({"traits": (Trait.SUSPENDED, Trait.INHERITED)}, "suspended, inherited"),
            ({"traits": (Trait.EXITING,)}, "ending"),
            (
                {"traits": (Trait.SOCKET_ACTIVATION,), "socket_units": ("a.socket",)},
                "a.socket",
            ),
            ({"traits": (Trait.SOCKET_ACTIVATION,)}, "socket activation"),
            ({"services": ("Dhcp", "Dnscache")}, "one of Dhcp, Dnscache"),
        ],
    )
    def test_notes(self, changes: Mapping[str, Any], note: str) -> None:
        owner = Owner(kind=OwnerKind.PROCESS, processes=(PROCESS,), **changes)
        assert self.cells_of(owner=owner)["NOTE"] == note

    def test_proxy(self) -> None:
        command = ("docker-proxy", "-container-ip", "172.17.0.2", "-container-port")
        proxy = replace(PROCESS, name="docker-proxy", command=(*command, "80"))
        owner = Owner(
            kind=OwnerKind.PROCESS,
            traits=(Trait.CONTAINER_PROXY,),
            processes=(proxy,),
        )
        assert self.cells_of(owner=owner)["NOTE"] == "forwards to 172.17.0.2:80"
        bare = replace(owner, processes=(replace(proxy, command=("docker-proxy",)),))
        assert self.cells_of(owner=bare)["NOTE"] == "container proxy"

    def test_interface(self) -> None:
        assert self.cells_of(device=7)["ADDRESS"] == r"127.0.0.1%eth\x1b0"
        assert self.cells_of(device=8)["ADDRESS"] == "127.0.0.1%8"

    def test_remote(self) -> None:
        row = self.cells_of(
            state=State.ESTABLISHED,
            remote=Endpoint(address="2001:db8::7", port=9),
            opened=Direction.OUTGOING,
        )
        assert (row["REMOTE"], row["NOTE"]) == ("[2001:db8::7]:9", "outgoing")


class TestLayout:
    LINE = ("8080", "tcp", "::1", "bound", "7", "ada", "", "node", "", "node server.js")

    @pytest.mark.parametrize(
        ("width", "shown"),
        [
            (None, "  node     node server.js"),
            (70, "  node     node server.js"),
            (60, "  node     node ser..."),
            (57, "  node     node ..."),
            (56, "  node"),
            (47, "  node"),
            (44, "  node"),
            (43, "  ..."),
        ],
    )
    def test_last_column_has_the_room_that_is_left(
        self, width: int | None, shown: str
    ) -> None:
        """Or none, where that would show nothing."""
        used = [index for index, text in enumerate(self.LINE) if text]
        header, line = _aligned([HEADER, self.LINE], used, width)
        assert line == "8080  tcp    ::1      bound  7    ada " + shown
        assert header.endswith(("COMMAND", "PROGRAM", "..."))


class TestElsewhere:
    """Windows and macOS, simulated."""

    @pytest.mark.parametrize("system", ["win32", "darwin"])
    def test_table(self, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
        node = Program(pid=4121, name="node", command=("node", "server.js"))
        simulated = Simulated(
            system=system,
            held=[
                Held(address=ANY, port=8080, pid=4121, uid=501),
                Held(
                    address="127.0.0.1",
                    port=8080,
                    pid=4121,
                    uid=501,
                    state=State.ESTABLISHED,
                    remote=("127.0.0.1", 51000),
                ),
                Held(
                    address="127.0.0.1",
                    port=5353,
                    protocol=Protocol.UDP,
                    state=State.CLOSE,
                    pid=77,
                    uid=502,
                    holders=(77,),
                ),
            ],
            programs=[node, Program(pid=77, name="mdns", user=None, uid=502)],
        )
        simulated.install(monkeypatch)
        datagram, listener = table()
        assert (listener["PORT"], listener["PID"]) == ("8080", "4121")
        assert listener["NOTE"] == "1 connection"
        assert listener["COMMAND"] == "node server.js"
        assert (datagram["PORT"], datagram["PROTO"]) == ("5353", "udp")
        assert here("list", "7").status == 1
        found = json.loads(here("list", "--json").out)
        assert [one["local"]["port"] for one in found["sockets"]] == [5353, 8080, 8080]

    def test_system_without_tables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        missing = refusing(*Protocol)
        monkeypatch.setattr(native, "list_sockets", missing)
        answer = here("list", "8080")
        assert answer.status == 3
        assert "nobody" not in answer.out
        assert len(answer.lines) == 2


@linux
def test_start_is_quick() -> None:
    """What a pipe does not need is not imported."""
    code = (
        "import sys\n"
        "from bindcheck.cli.main import run\n"
        "run(['list'])\n"
        "slow = {'rich', 'json', 'dataclasses', 'typing', 'psutil', 'socket'}\n"
        "sys.exit(str(slow & set(sys.modules)) if slow & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
