"""One table of overlaps for three systems: asked of the one that runs, ruled for all."""

from __future__ import annotations

import re
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bindcheck.model import Endpoint, Facts, Owner, Process, Snapshot, Socket
from bindcheck.rules import windows
from bindcheck.rules.holders import blockers
from bindcheck.target import make_target
from bindcheck.words import Blocks, Family, OwnerKind, Protocol, State
from tests.support import needs
from tests.support.overlaps import SYSTEMS, Row, Side, asked, markdown, rows
from tests.support.simulated import ANY, MICROSOFT

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = rows()
PORT = 8080


def facts(system: str) -> Facts:
    return Facts(
        euid=None if system == "win32" else 501,
        capabilities=0,
        network_namespace=None,
        pid_namespace=None,
        user_namespace=None,
        owns_network_namespace=None,
        unprivileged_port_start=1024,
        ephemeral_range=(49152, 65535),
        bind_v6only=system == "win32",
        nonlocal_bind={},
        ipv6_available=True,
        ipv6_disabled=None,
        ipv6_disabled_loopback=None,
        loopback_up=True,
        clock_ticks=100,
        system=system,
    )


def listeners(side: Side, system: str) -> Iterator[Socket]:
    """The rows that the system's tables have for a listener."""
    both = system == "win32" and side.address == "::"
    for address in (side.host, ANY) if both else (side.host,):
        packed = ip_address(address).packed
        inet6 = len(packed) == 16
        known = system != "win32"
        yield Socket(
            family=Family.INET6 if inet6 else Family.INET,
            protocol=Protocol.TCP,
            state=State.LISTEN,
            local=Endpoint(address=address, port=PORT),
            remote=None,
            packed=packed,
            inode=7,
            cookie=None,
            uid=501 if known else None,
            cgroup_id=None,
            device=0,
            timer_ms=None,
            opened=None,
            v6only=(side.v6only if known else True) if inet6 else None,
            reuse_address=side.option == "reuseaddr" if known else None,
            reuse_port=side.option == "reuseport" if known else None,
            owner=Owner(kind=OwnerKind.PROCESS, processes=(OWN,)),
        )


OWN = Process(
    pid=1,
    start_id=None,
    fds=(),
    name="server",
    command=(),
    command_truncated=False,
    uid=501,
    user="ada",
    started=None,
    parent=None,
    parent_name=None,
    state="running",
    folder=None,
    program=None,
)


HERE = [row for row in ROWS if row.says.get(sys.platform) is not None]
EVERYWHERE = [
    (row, system) for row in ROWS for system in SYSTEMS if row.says[system] is not None
]


@pytest.mark.parametrize("row", HERE, ids=str)
@needs("IPv6")
def test_this_system_says_so(row: Row) -> None:
    """With real sockets."""
    assert asked(row) == row.says[sys.platform]


@pytest.mark.parametrize(("row", "system"), EVERYWHERE, ids=str)
def test_rules_say_so(row: Row, system: str) -> None:
    """Who blocks, by the tables of the system; on Windows as far as these tell."""
    expected = row.says[system]
    packed = ip_address(row.new.host).packed
    family = Family.INET6 if len(packed) == 16 else Family.INET
    target = make_target(family, packed, PORT, Protocol.TCP)
    held = tuple(listeners(row.holder, system))
    snapshot = Snapshot(facts=facts(system), sockets=held, user="ada")
    found = blockers(target, row.new.options, snapshot, failed=False)
    blocks = {one.blocks for one in found}
    if system != "win32":
        assert blocks == (set() if expected == "ok" else {Blocks.YES})
    elif expected == "ok":
        # How a holder was bound is in no table: it may block.
        assert Blocks.YES not in blocks
    else:
        assert blocks


@pytest.mark.parametrize("user", [True, False], ids=["same user", "other user"])
def test_tables_of_microsoft_are_those_of_the_rules(*, user: bool) -> None:
    written = {key: told.removeprefix("WSA") for key, told in MICROSOFT[user].items()}
    assert {(*key,): answer for key, answer in windows.MATRIX[user].items()} == written
    assert len(windows.MATRIX[user]) == 36


INET_ON_WINDOWS = [
    row
    for row, system in EVERYWHERE
    if system == "win32" and ":" not in row.holder.address + row.new.address
]


@pytest.mark.parametrize("row", INET_ON_WINDOWS, ids=str)
def test_windows_column_is_that_of_microsoft(row: Row) -> None:
    """Of IPv4; `::` for both families is in the page's text alone."""
    mode = {None: "default", "reuseaddr": "reuse", "exclusive": "exclusive"}
    holder, new = (
        (mode[one.option], one.address == ANY) for one in (row.holder, row.new)
    )
    answers = {"ok": "ok", 10048: "WSAEADDRINUSE", 10013: "WSAEACCES"}
    assert answers[row.says["win32"]] == MICROSOFT[True][*holder, *new]


def test_documentation_shows_the_table() -> None:
    text = (Path(__file__).parent.parent / "docs" / "platforms.md").read_text("utf-8")
    shown = re.search(r"<!-- overlap -->\n(.*?)\n\n", text, re.DOTALL)
    assert shown is not None
    assert shown[1] + "\n" == markdown()
