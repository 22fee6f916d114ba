"""The C core of Windows, run by Wine: real calls, real tables, and what is played.

Wine answers as Windows does for a good part of bind(). Where it does not, the test says
that it is Wine's own answer; what Wine lacks altogether (functions that list bound
sockets, tables that are refused) is played by tests/wine/probe.c.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bindcheck._native import lib
from tests.support import needs
from tests.support.capabilities import has
from tests.support.wine import Wine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs("wine", "x86_64-w64-mingw32-gcc")
MATRIX = Path(__file__).parent / "data" / "windows" / "matrix.toml"
CELLS: list[dict[str, Any]] = tomllib.loads(MATRIX.read_text("utf-8"))["cell"]
NSI = r"HKLM\SYSTEM\CurrentControlSet\Control\Nsi"
ACCESS, IN_USE, NOT_LOCAL, INVALID = 10013, 10048, 10049, 10022


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wine]:
    """One prefix for all tests, because making it takes seconds."""
    made = Wine(tmp_path_factory.mktemp("wine"))
    yield made
    made.stop()


def failed(code: int, step: int, option: int = 0) -> dict[str, int]:
    """A bc_error of Winsock's."""
    domain = lib.BC_DOMAIN_WINSOCK
    return {"code": code, "domain": domain, "step": step, "option": option}


NOTHING = {"code": 0, "domain": 0, "step": 0, "option": 0}


@pytest.fixture(scope="module")
def codes(wine: Wine) -> dict[str, Any]:
    return wine.run("codes")


class TestCodes:
    @pytest.mark.parametrize(
        ("what", "expected"),
        [
            ("in_use", failed(IN_USE, lib.BC_STEP_BIND)),
            ("reuse_of_another", failed(ACCESS, lib.BC_STEP_BIND)),
            ("free", NOTHING),
            ("free_and_listening", NOTHING),
            ("unknown_protocol", failed(10043, lib.BC_STEP_SOCKET)),
            (
                "reuse_port",
                failed(10042, lib.BC_STEP_SETSOCKOPT, lib.BC_OPTION_REUSE_PORT),
            ),
            (
                "freebind",
                failed(10042, lib.BC_STEP_SETSOCKOPT, lib.BC_OPTION_FREEBIND),
            ),
            ("device", failed(10042, lib.BC_STEP_SETSOCKOPT, lib.BC_OPTION_DEVICE)),
            (
                "reuse_and_exclusive",
                failed(INVALID, lib.BC_STEP_SETSOCKOPT, lib.BC_OPTION_EXCLUSIVE),
            ),
            ("bind_twice", INVALID),
            ("listen_unbound", INVALID),
            ("closed_handle", 10038),
        ],
    )
    def test_native_code(
        self, codes: dict[str, Any], what: str, expected: object
    ) -> None:
        assert codes[what] == expected

    def test_address_that_is_not_local(self, codes: dict[str, Any]) -> None:
        assert codes["not_local"] == failed(NOT_LOCAL, lib.BC_STEP_BIND)

    def test_probe_is_not_inherited(self, codes: dict[str, Any]) -> None:
        assert codes["inherited"] == 0

    def test_system_that_must_be_told_afterwards(self, wine: Wine) -> None:
        """WSASocketW without the flag, as before Windows 7 SP1; that is played."""
        found = wine.run("old")
        assert (found["inherited"], found["free"]) == (0, NOTHING)
        # The error of the socket, not that of the WSACleanup that follows.
        refused = failed(10043, lib.BC_STEP_SOCKET)
        assert found["unknown_protocol"] == refused
        assert found["unknown_to_new"] == refused


class TestMatrix:
    @staticmethod
    def key(cell: dict[str, Any]) -> tuple[str, ...]:
        return (*cell["holder"], *cell["new"])

    @pytest.fixture(scope="class")
    @staticmethod
    def found(wine: Wine) -> dict[tuple[str, ...], int]:
        cells = wine.run("matrix")["cells"]
        assert {one["step"] for one in cells} == {lib.BC_STEP_NONE, lib.BC_STEP_BIND}
        return {TestMatrix.key(one): one["code"] for one in cells}

    def test_is_whole(self, found: dict[tuple[str, ...], int]) -> None:
        assert len(CELLS) == 36
        assert {self.key(one) for one in CELLS} == set(found)

    @pytest.mark.parametrize(
        "cell", CELLS, ids=lambda one: "-".join(TestMatrix.key(one))
    )
    def test_cell(
        self, found: dict[tuple[str, ...], int], cell: dict[str, Any]
    ) -> None:
        """Where Wine has its own answer, a Wine that has learned better may differ."""
        answers = {cell["microsoft"], cell.get("wine", cell["microsoft"])}
        assert found[self.key(cell)] in answers

    def test_wine_has_its_own_answer_only_where_it_is_exclusive(self) -> None:
        own = {self.key(one) for one in CELLS if "wine" in one}
        assert own == {
            ("exclusive", "wildcard", "default", "wildcard"),
            ("exclusive", "wildcard", "exclusive", "wildcard"),
        }


@pytest.fixture(scope="module")
def tables(wine: Wine) -> dict[str, Any]:
    return wine.run("tables", *(["inet6"] if has("IPv6") else []))


class TestTables:
    @staticmethod
    def rows(tables: dict[str, Any], name: str) -> list[dict[str, Any]]:
        listing = tables[name]
        assert listing["status"] == lib.BC_OK
        assert listing["source"] == lib.BC_SOURCE_IP_HELPER
        assert listing["refused"] == NOTHING
        rows: list[dict[str, Any]] = listing["rows"]
        for row in rows:
            # Wine's own: it tells a process or nobody, and neither time nor service.
            assert row["pid"] in (0, tables["pid"])
            assert (row["created"], row["service_tag"]) == (0, 0)
        return rows

    @staticmethod
    def essence(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
        names = ("local", "remote", "state", "protocol")
        return {
            tuple(tuple(one) if isinstance(one, list) else one for one in found)
            for found in ([row[name] for name in names] for row in rows)
        }

    def test_listener_and_what_it_accepted(self, tables: dict[str, Any]) -> None:
        port, client = tables["listener_port"], tables["client_port"]
        rows = self.rows(tables, "listener")
        here = ("127.0.0.1", port, 0)
        assert self.essence(rows) == {
            (here, ("0.0.0.0", 0, 0), lib.BC_STATE_LISTEN, 6),  # noqa: S104
            (here, ("127.0.0.1", client, 0), lib.BC_STATE_ESTABLISHED, 6),
        }
        assert len(rows) == 2

    def test_client(self, tables: dict[str, Any]) -> None:
        port, client = tables["listener_port"], tables["client_port"]
        here, there = ("127.0.0.1", client, 0), ("127.0.0.1", port, 0)
        found = self.essence(self.rows(tables, "client"))
        assert (here, there, lib.BC_STATE_ESTABLISHED, 6) in found
        # Connections of others to elsewhere may share the port, and nothing else may.
        assert {local[1] for local, *_ in found} == {client}
        assert lib.BC_STATE_LISTEN not in {state for _, _, state, _ in found}

    def test_datagram_socket(self, tables: dict[str, Any]) -> None:
        (row,) = self.rows(tables, "datagram")
        assert row["local"] == ["127.0.0.1", tables["datagram_port"], 0]
        assert (row["state"], row["protocol"]) == (lib.BC_STATE_CLOSE, 17)

    @needs("IPv6")
    def test_inet6(self, tables: dict[str, Any]) -> None:
        """Wine has a number where the scope stands, which is none of ::1."""
        (row,) = self.rows(tables, "inet6")
        assert row["local"] == ["::1", tables["inet6_port"], 0]
        assert (row["remote"], row["state"]) == (["::", 0, 0], lib.BC_STATE_LISTEN)

    def test_bound_socket_is_told_or_is_said_to_be_missing(
        self, tables: dict[str, Any]
    ) -> None:
        """Wine 8.0 has no function that lists them."""
        local = [row["local"] for row in self.rows(tables, "bound")]
        here = ["127.0.0.1", tables["bound_port"], 0]
        assert local == {0: [], 1: [here]}[tables["bound"]["bound"]]

    def test_all_ports(self, tables: dict[str, Any]) -> None:
        assert tables["all"]["status"] == lib.BC_OK
        found = self.essence(tables["all"]["rows"])
        assert self.essence(self.rows(tables, "listener")) <= found
        assert self.essence(self.rows(tables, "client")) <= found

    def test_room_and_protocols(self, tables: dict[str, Any]) -> None:
        assert tables["no_room"] == [lib.BC_E_TRUNCATED, 2]
        assert tables["sctp"] == [lib.BC_E_UNSUPPORTED, 0]
        assert tables["no_protocol"] == [lib.BC_E_INVALID, 0]


class TestPlayedTables:
    @pytest.mark.parametrize(
        ("how", "calls"), [("busy", 5), ("growing", 5), ("no inet6", 2)]
    )
    def test_listing_that_works_in_the_end(
        self, wine: Wine, how: str, calls: int
    ) -> None:
        found = wine.run("play", "tables", how)
        assert found["calls"] == calls
        assert found["listener"] == found["before"]
        assert len(found["listener"]["rows"]) == 1

    @pytest.mark.parametrize(
        ("how", "code", "calls"),
        [
            ("denied", 5, 1),
            ("no inet", 50, 1),
            ("lying", 13, 1),
            ("huge", 8, 1),
            ("always growing", 122, 6),
            ("always busy", 0xC0000001 - (1 << 32), 6),
        ],
    )
    def test_listing_that_is_refused(
        self, wine: Wine, how: str, code: int, calls: int
    ) -> None:
        found = wine.run("play", "tables", how)
        assert found["listener"]["status"] == lib.BC_E_UNSUPPORTED
        refused = found["listener"]["refused"]
        assert (refused["code"], refused["domain"]) == (code, lib.BC_DOMAIN_WIN32)
        assert found["listener"]["source"] == lib.BC_SOURCE_NONE
        assert (found["calls"], found["no_room"]) == (calls, [lib.BC_E_UNSUPPORTED, 0])


class TestPlayedBoundSockets:
    @staticmethod
    def rows(listing: dict[str, Any]) -> list[tuple[str, int, int, int]]:
        assert (listing["status"], listing["bound"]) == (lib.BC_OK, 1)
        return [
            (row["local"][0], row["local"][1], row["pid"], row["state"])
            for row in listing["rows"]
        ]

    def test_rows_of_sockets_that_are_known_are_left_out(self, wine: Wine) -> None:
        found = wine.run("play", "bound", "rows")
        port, pid = found["port"], found["pid"]
        assert self.rows(found["listener"]) == [
            ("127.0.0.1", port, pid, lib.BC_STATE_LISTEN),
            # Not its address, not its process, not its family.
            ("127.0.0.2", port, pid, lib.BC_STATE_CLOSE),
            ("127.0.0.1", port, pid + 1, lib.BC_STATE_CLOSE),
            ("::", port, pid, lib.BC_STATE_CLOSE),
        ]
        other = found["other_port"]
        assert self.rows(found["other"]) == [
            ("127.0.0.1", other, pid, lib.BC_STATE_CLOSE)
        ]
        # Enough for all, also for those that are left out afterwards.
        assert found["no_room"] == [lib.BC_E_TRUNCATED, 6]

    def test_inet_alone(self, wine: Wine) -> None:
        found = wine.run("play", "bound", "inet")
        assert len(self.rows(found["listener"])) == 3

    def test_nothing_is_bound(self, wine: Wine) -> None:
        found = wine.run("play", "bound", "empty")
        assert len(self.rows(found["listener"])) == 1
        assert self.rows(found["other"]) == []

    @pytest.mark.parametrize("how", ["absent", "refused", "lying"])
    def test_bound_sockets_are_not_told(self, wine: Wine, how: str) -> None:
        found = wine.run("play", "bound", how)
        assert found["listener"]["bound"] == 0
        assert found["listener"]["status"] == lib.BC_OK
        assert len(found["listener"]["rows"]) == 1


class TestTexts:
    @staticmethod
    def texts(wine: Wine, domain: int, *codes: int) -> dict[str, Any]:
        numbers = [str(one) for one in codes]
        found: dict[str, Any] = wine.run("messages", str(domain), *numbers)["texts"]
        assert list(found) == numbers
        return found

    @pytest.mark.parametrize(
        "domain", [lib.BC_DOMAIN_WINSOCK, lib.BC_DOMAIN_EAI, lib.BC_DOMAIN_WIN32]
    )
    def test_text_of_the_system(self, wine: Wine, domain: int) -> None:
        """Wine's wording; the full stop stays, the line end does not."""
        one = self.texts(wine, domain, ACCESS)[str(ACCESS)]
        assert (one["status"], one["message"]) == (lib.BC_OK, "Access denied.")
        # Eight bytes and the NUL: told that it was cut.
        assert one["little_status"] == lib.BC_E_TRUNCATED
        assert one["little"] == "Access d"

    def test_number_that_the_system_has_no_text_for(self, wine: Wine) -> None:
        """Wine 8.0 has none for 10048. Windows has."""
        found = self.texts(wine, lib.BC_DOMAIN_WINSOCK, IN_USE, 10038, 4_000_000)
        one = found[str(IN_USE)]
        assert (one["status"], one["message"]) == (lib.BC_E_UNSUPPORTED, "")
        assert one["name"] == "WSAEADDRINUSE"
        assert one["reference"].startswith("Only one usage of each socket address")
        assert found["10038"]["name"] == "WSAENOTSOCK"
        nonsense = found["4000000"]
        assert nonsense["status"] == lib.BC_E_UNSUPPORTED
        assert (nonsense["name"], nonsense["reference"]) == (None, None)

    def test_look_up_errors_are_winsock_numbers(self, wine: Wine) -> None:
        one = self.texts(wine, lib.BC_DOMAIN_EAI, 11001)["11001"]
        assert one["name"] == "EAI_NONAME"
        assert one["reference"] == "The host is not known."

    def test_numbers_of_other_functions(self, wine: Wine) -> None:
        one = self.texts(wine, lib.BC_DOMAIN_WIN32, 5)["5"]
        assert (one["status"], one["name"]) == (lib.BC_OK, "ERROR_ACCESS_DENIED")
        assert one["reference"] is None

    def test_errno(self, wine: Wine) -> None:
        one = self.texts(wine, lib.BC_DOMAIN_ERRNO, 2)["2"]
        assert (one["name"], one["message"]) == ("ENOENT", "No such file or directory")
        assert (one["little_status"], one["little"]) == (-2, "No such ")

    def test_domain_that_is_none(self, wine: Wine) -> None:
        assert self.texts(wine, 9, 5)["5"]["status"] == lib.BC_E_INVALID


class TestTheRest:
    def test_nothing_is_left_open(self, wine: Wine) -> None:
        """Handles, and Winsock itself: each WSAStartup has its WSACleanup."""
        found = wine.run("leaks")
        assert found["after"] == found["before"]
        assert (found["still_started"], found["error"]) == (0, 10093)

    def test_program_that_has_not_started_winsock(self, wine: Wine) -> None:
        found = wine.run("bare")
        assert found["probe"] == NOTHING
        assert (found["resolve"], found["found"]) == (lib.BC_OK, 1)
        assert found["unknown"] == lib.BC_E_SYSTEM
        assert found["unknown_error"]["domain"] == lib.BC_DOMAIN_EAI
        assert found["name"] in ("EAI_NONAME", "EAI_AGAIN")

    def test_unix_socket(self, wine: Wine) -> None:
        """Wine 8.0 has no AF_UNIX, Windows 10 has; no system here has AF_VSOCK."""
        found = wine.run("unix", r"C:\bindcheck.sock")
        missing = failed(10047, lib.BC_STEP_SOCKET)
        assert found["unix"] in (missing, NOTHING)
        assert found["vsock"] == missing

    def test_facts(self, wine: Wine) -> None:
        found = wine.run("facts")
        assert found.pop("elevated") in (0, 1)
        assert found.pop("ipv6_available") in (0, 1)
        assert found == {
            "euid": 0xFFFFFFFF,
            "unprivileged_port_start": 0,
            "bind_v6only": 1,
            "ephemeral_low": -1,
            "nonlocal_bind4": -1,
            "clock_ticks": 100,
            "loopback_up": -1,
            "owns_network_namespace": -1,
        }

    def test_addresses(self, wine: Wine) -> None:
        found = wine.run("addresses")
        assert (found["status"], found["error"]) == (lib.BC_OK, NOTHING)
        rows = {row["address"][0]: row for row in found["rows"]}
        assert found["no_room"] == [lib.BC_E_TRUNCATED, len(found["rows"])]
        loopback = rows["127.0.0.1"]
        assert (loopback["prefix"], loopback["up"]) == (8, 1)
        for row in found["rows"]:
            # The name leads back to the interface.
            assert row["interface"]
            assert row["index"] == row["named"] != 0
            assert row["address"][1] == 0
        assert found["nonsense"] == 0

    def test_excluded_ports(self, wine: Wine) -> None:
        absent = wine.run("kept")
        for protocol in ("tcp", "udp"):
            assert absent[protocol]["status"] == lib.BC_OK
            assert absent[protocol]["ranges"] == []
        tcp = NSI + r"\{eb004a03-9b1a-11d4-9123-0050047759bc}\29"
        udp = NSI + r"\{eb004a02-9b1a-11d4-9123-0050047759bc}\5"
        for key, name, word, data in (
            (tcp, "cc570100", "REG_BINARY", "1200ffff"),
            (tcp, "c3506400", "REG_BINARY", "1200ffff0000"),
            (tcp, "00500100", "REG_BINARY", "1200"),
            (tcp, "00510100", "REG_BINARY", "1300ffff"),
            (tcp, "00520100", "REG_SZ", "1200ffff"),
            (tcp, "0053010", "REG_BINARY", "1200ffff"),
            (tcp, "ffff0200", "REG_BINARY", "1200ffff"),
            (tcp, "00550100" * 20, "REG_BINARY", "1200ffff"),
            (tcp, "\u0660\u0660560100", "REG_BINARY", "1200ffff"),
            (udp, "00350100", "REG_BINARY", "1200ffff"),
        ):
            add = ("reg", "add", key, "/v", name, "/t", word, "/d", data, "/f")
            wine.start(*add)
        found = wine.run("kept")
        kind = lib.BC_KEPT_EXCLUDED
        assert found["tcp"]["status"] == lib.BC_OK
        assert sorted(found["tcp"]["ranges"]) == [
            [50000, 50099, kind],
            [52311, 52311, kind],
        ]
        assert found["tcp"]["no_room"] == [lib.BC_E_TRUNCATED, 2]
        assert found["udp"]["ranges"] == [[53, 53, kind]]
        assert found["sctp"]["status"] == lib.BC_E_UNSUPPORTED
        # The key, now that there is one to open.
        handles = wine.run("leaks")
        assert handles["after"] == handles["before"]

    def test_services(self, wine: Wine) -> None:
        """Wine has none; a system that has them is played."""
        found = wine.run("service")
        assert found["real"] == [lib.BC_E_UNSUPPORTED, ""]
        assert found["played"] == [lib.BC_OK, "Dnsc\u00e4che"]
        # Six bytes would end within a character.
        assert found["cut"] == [lib.BC_E_TRUNCATED, "Dnsc"]
        assert found["no_room"][0] == lib.BC_E_TRUNCATED
        assert found["unknown"] == [lib.BC_E_UNSUPPORTED, ""]
        assert found["none"] == [lib.BC_E_UNSUPPORTED, ""]
