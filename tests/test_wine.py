"""The C core and its Windows backend, run by Wine.

Wine is not Windows: where it answers otherwise than Microsoft's pages say, its own answer
is expected, by name.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bindcheck._native import lib
from tests.support import needs
from tests.support.wine import COMPILER, DATAGRAM, STREAM, Wine, build

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs("wine", COMPILER)
DATA = Path(__file__).parent / "data" / "windows"
MICROSOFT: dict[str, dict[str, str]] = json.loads(
    (DATA / "bind.json").read_text("utf-8")
)["same user"]
WINE: dict[str, dict[str, dict[str, str]]] = json.loads(
    (DATA / "bind-wine.json").read_text("utf-8")
)["differs"]
NUMBERS = {"ok": 0, "WSAEACCES": 10013, "WSAEADDRINUSE": 10048}
ANY, LOOPBACK = "0.0.0.0", "127.0.0.1"  # noqa: S104
TCP, UDP = 6, 17


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wine]:
    folder = tmp_path_factory.mktemp("wine")
    with Wine(build(folder), folder) as started:
        yield started


def options_of(mode: str) -> dict[str, int]:
    names = {
        "default": {},
        "reuse": {"reuse_address": 1},
        "exclusive": {"exclusive": 1},
    }
    return names[mode]


CELLS = [(holder, new) for holder, row in MICROSOFT.items() for new in row]


@pytest.mark.parametrize("state", ["bound", "listening"])
@pytest.mark.parametrize(("holder", "new"), CELLS)
def test_cell_of_the_table(wine: Wine, holder: str, new: str, state: str) -> None:
    """bc_probe beside a socket that Winsock itself has made."""
    mode, place = holder.split()
    new_mode, new_place = new.split()
    address = {"W": ANY, "S": LOOPBACK}
    listens = int(state == "listening")
    held = wine.hold(address[place], listens=listens, **options_of(mode))
    assert held["code"] == 0
    told = wine.probe(address[new_place], held["port"], **options_of(new_mode))
    wine.release(held["slot"])
    expected = WINE[state].get(holder, {}).get(new, MICROSOFT[holder][new])
    assert (told["status"], told["code"]) == (lib.BC_OK, NUMBERS[expected])
    failed = lib.BC_STEP_BIND if expected != "ok" else lib.BC_STEP_NONE
    assert told["step"] == failed


def test_wine_differs_where_it_is_said_to() -> None:
    """An answer of Wine that is Microsoft's too is no difference."""
    for holders in WINE.values():
        for holder, row in holders.items():
            for new, answer in row.items():
                assert MICROSOFT[holder][new] != answer


def test_foreign_address_is_10049(wine: Wine) -> None:
    told = wine.probe("203.0.113.9", 0)
    assert (told["step"], told["code"]) == (lib.BC_STEP_BIND, 10049)
    assert told["domain"] == lib.BC_DOMAIN_WINSOCK


@pytest.mark.parametrize(
    ("call", "code"),
    [("twice", 10022), ("unbound", 10022), ("short", 10014), ("no-socket", 10038)],
)
def test_misuse_has_its_code(wine: Wine, call: str, code: int) -> None:
    assert wine.ask("misuse", call)["code"] == code


def test_both_options_exclude_each_other(wine: Wine) -> None:
    told = wine.probe(LOOPBACK, 0, reuse_address=1, exclusive=1)
    assert (told["step"], told["option"]) == (
        lib.BC_STEP_SETSOCKOPT,
        lib.BC_OPTION_EXCLUSIVE,
    )
    assert told["code"] == 10022


def test_free_port_is_bound_and_released(wine: Wine) -> None:
    port = wine.probe(LOOPBACK, 0, listens=1)["port"]
    assert port > 0
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((LOOPBACK, port))


def rows_of(wine: Wine, protocol: int, port: int) -> list[dict[str, Any]]:
    listing = wine.ask("list", protocol, port)
    assert listing["status"] == lib.BC_OK
    assert listing["source"] == lib.BC_SOURCE_IP_HELPER
    rows: list[dict[str, Any]] = listing["rows"]
    assert listing["count"] == len(rows)
    return rows


@pytest.mark.parametrize(
    ("address", "kind", "protocol"),
    [
        (LOOPBACK, STREAM, TCP),
        (ANY, STREAM, TCP),
        ("::1", STREAM, TCP),
        (LOOPBACK, DATAGRAM, UDP),
        ("::1", DATAGRAM, UDP),
    ],
)
def test_own_socket_is_in_the_table(
    wine: Wine, address: str, kind: int, protocol: int
) -> None:
    listens = int(kind == STREAM)
    held = wine.hold(address, type=kind, listens=listens)
    (row,) = rows_of(wine, protocol, held["port"])
    wine.release(held["slot"])
    state = lib.BC_STATE_LISTEN if listens else lib.BC_STATE_CLOSE
    assert (row["address"], row["port"]) == (address, held["port"])
    assert (row["state"], row["protocol"]) == (state, protocol)
    assert rows_of(wine, protocol, held["port"]) == []


def test_wine_names_no_pid_and_no_time(wine: Wine) -> None:
    """Its tables are made of /proc/net/tcp; the pid is 0, the time of creation too."""
    held = wine.hold(LOOPBACK, listens=1)
    (row,) = rows_of(wine, TCP, held["port"])
    wine.release(held["slot"])
    assert (row["pid"], row["created"]) == (0, 0)


def test_wine_shows_no_bound_socket(wine: Wine) -> None:
    """It has no InternalGetBoundTcpEndpointTable, and the listing says so."""
    held = wine.hold(LOOPBACK)
    listing = wine.ask("list", TCP, held["port"])
    wine.release(held["slot"])
    assert (listing["bound"], listing["rows"]) == (0, [])


def test_linux_server_is_in_the_table_of_wine(wine: Wine) -> None:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        one.listen()
        port = one.getsockname()[1]
        (row,) = rows_of(wine, TCP, port)
        assert (row["address"], row["state"]) == (LOOPBACK, lib.BC_STATE_LISTEN)


def test_too_little_room_is_told(wine: Wine) -> None:
    held = [wine.hold(LOOPBACK, listens=1) for _ in range(3)]
    listing = wine.ask("list", TCP, 0, 1)
    for one in held:
        wine.release(one["slot"])
    assert listing["status"] == lib.BC_E_TRUNCATED
    assert listing["count"] >= 3
    assert len(listing["rows"]) == 1


def test_texts_are_those_of_wine(wine: Wine) -> None:
    """FormatMessageW, without the line end and with the full stop."""
    told = wine.ask("message", lib.BC_DOMAIN_WINSOCK, 10013)
    assert (told["status"], told["text"]) == (lib.BC_OK, "Access denied.")
    told = wine.ask("message", lib.BC_DOMAIN_WIN32, 122)
    assert (told["status"], told["name"]) == (lib.BC_OK, "ERROR_INSUFFICIENT_BUFFER")


@pytest.mark.parametrize("code", [10038, 10047, 10048, 10049, 10093])
def test_missing_text_is_said_to_be_missing(wine: Wine, code: int) -> None:
    """Wine 8 has none for these; there is one of ours, and it is not the system's."""
    told = wine.ask("message", lib.BC_DOMAIN_WINSOCK, code)
    assert (told["status"], told["text"]) == (lib.BC_E_UNSUPPORTED, "")
    assert told["name"].startswith("WSA")
    assert told["reference"]


def test_text_that_does_not_fit_is_cut(wine: Wine) -> None:
    told = wine.ask("message", lib.BC_DOMAIN_WINSOCK, 10013, 5)
    assert told["status"] == lib.BC_E_TRUNCATED
    assert len(told["text"]) < 5


def test_no_child_can_inherit_a_probe(wine: Wine) -> None:
    assert wine.ask("inheritable") == {"known": 1, "inheritable": 0}


@pytest.mark.parametrize(
    "question",
    [
        ("probe", LOOPBACK, 0, STREAM, 1, -1, -1, -1),
        ("probe", "203.0.113.9", 0, STREAM, 0, -1, -1, -1),
        ("probe", LOOPBACK, 0, STREAM, 0, 1, 1, -1),
        ("list", TCP, 0),
        ("list", UDP, 0),
        ("addresses",),
        ("facts",),
        ("kept", TCP),
        ("unix", "C:\\bindcheck.sock"),
        ("service", 4, 1),
        ("resolve", "localhost"),
    ],
    ids=str,
)
def test_no_handle_is_left(wine: Wine, question: tuple[object, ...]) -> None:
    """A new handle gets the lowest free number: it must not have moved."""
    for _ in range(3):
        wine.ask(*question)
    before = wine.ask("handles")["next"]
    for _ in range(60):
        wine.ask(*question)
    assert wine.ask("handles")["next"] - before <= 4 * 4  # numbers go by four


def test_wine_has_no_unix_sockets(wine: Wine) -> None:
    told = wine.ask("unix", "C:\\bindcheck.sock")
    assert (told["step"], told["code"]) == (lib.BC_STEP_SOCKET, 10047)


def test_facts_are_those_of_windows(wine: Wine) -> None:
    told = wine.ask("facts")
    assert told["status"] == lib.BC_OK
    assert (told["privileged"], told["v6only"]) == (0, 1)
    assert told["euid"] == 0xFFFFFFFF
    assert told["elevated"] in (0, 1)


def test_addresses_are_the_machine_s(wine: Wine) -> None:
    told = wine.ask("addresses")
    assert told["status"] == lib.BC_OK
    (loopback,) = (row for row in told["rows"] if row["address"] == LOOPBACK)
    assert (loopback["up"], loopback["prefix"]) == (1, 8)
    assert loopback["index"] > 0
    assert loopback["interface"]


def test_registry_without_exclusions_has_none(wine: Wine) -> None:
    for protocol in (TCP, UDP):
        told = wine.ask("kept", protocol)
        assert (told["status"], told["rows"]) == (lib.BC_OK, [])


def test_unknown_service_is_not_named(wine: Wine) -> None:
    assert wine.ask("service", 4, 1)["status"] == lib.BC_E_UNSUPPORTED


def test_names_are_resolved(wine: Wine) -> None:
    assert LOOPBACK in wine.ask("resolve", "localhost")["rows"]
    told = wine.ask("resolve", "no-such-host.invalid")
    assert (told["status"], told["code"]) == (lib.BC_E_SYSTEM, 11001)
