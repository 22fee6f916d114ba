"""Socket tables as 64-bit Windows lays them out, made of bytes.

The layouts are those of Microsoft's pages on the structures MIB_TCPROW_OWNER_MODULE,
MIB_TCP6ROW_OWNER_MODULE, MIB_UDPROW_OWNER_MODULE, MIB_UDP6ROW_OWNER_MODULE, MIB_TCPROW2
and MIB_TCP6ROW2, with C's alignment: a table is a DWORD that counts the rows, then the
rows, which begin at 8 where one holds 64-bit numbers and at 4 where none does. What no
field covers is filled with 0xEE here, since Windows leaves there what was.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOLE = b"\xee"
CREATED = 134_085_186_691_200_000  # 2025-11-24, in 100 ns since 1601


@dataclass(frozen=True, kw_only=True)
class Row:
    """A socket as one of the tables shows it; each table has some of the fields."""

    local: tuple[str, int]
    remote: tuple[str, int] = ("", 0)
    state: int = 2  # MIB_TCP_STATE_LISTEN
    pid: int = 4121
    created: int = CREATED
    tag: int = 0
    scope: bytes = bytes(4)
    remote_scope: bytes = bytes(4)
    port_rest: bytes = 2 * HOLE

    def port(self, number: int) -> bytes:
        """A DWORD; the port is in its first two bytes, as the network has it."""
        return struct.pack(">H", number) + self.port_rest

    def peer(self, size: int) -> bytes:
        """The remote address; bytes of no meaning where there is none."""
        return ip_address(self.remote[0]).packed if self.remote[0] else size * HOLE

    def module(self) -> bytes:
        """ULONGLONG OwningModuleInfo[16], of which the first is the service's tag."""
        return struct.pack("<Q", self.tag | 0xEEEEEEEE << 32) + 120 * HOLE


def tcp4(row: Row) -> bytes:
    """MIB_TCPROW_OWNER_MODULE, 160 bytes."""
    return (
        struct.pack("<I", row.state)
        + ip_address(row.local[0]).packed
        + row.port(row.local[1])
        + row.peer(4)
        + row.port(row.remote[1])
        + struct.pack("<IQ", row.pid, row.created)
        + row.module()
    )


def tcp6(row: Row) -> bytes:
    """MIB_TCP6ROW_OWNER_MODULE, 192 bytes."""
    return (
        ip_address(row.local[0]).packed
        + row.scope
        + row.port(row.local[1])
        + row.peer(16)
        + row.remote_scope
        + row.port(row.remote[1])
        + struct.pack("<IIQ", row.state, row.pid, row.created)
        + row.module()
    )


def udp4(row: Row) -> bytes:
    """MIB_UDPROW_OWNER_MODULE, 160 bytes."""
    return (
        ip_address(row.local[0]).packed
        + row.port(row.local[1])
        + struct.pack("<I", row.pid)
        + 4 * HOLE
        + struct.pack("<QI", row.created, 1)  # SpecificPortBind
        + 4 * HOLE
        + row.module()
    )


def udp6(row: Row) -> bytes:
    """MIB_UDP6ROW_OWNER_MODULE, 176 bytes."""
    return (
        ip_address(row.local[0]).packed
        + row.scope
        + row.port(row.local[1])
        + struct.pack("<I", row.pid)
        + 4 * HOLE
        + struct.pack("<QI", row.created, 1)
        + 4 * HOLE
        + row.module()
    )


def bound4(row: Row) -> bytes:
    """MIB_TCPROW2, 28 bytes; the last is TCP_CONNECTION_OFFLOAD_STATE."""
    return (
        struct.pack("<I", row.state)
        + ip_address(row.local[0]).packed
        + row.port(row.local[1])
        + row.peer(4)
        + row.port(row.remote[1])
        + struct.pack("<II", row.pid, 0)
    )


def bound6(row: Row) -> bytes:
    """MIB_TCP6ROW2, 60 bytes."""
    return (
        ip_address(row.local[0]).packed
        + row.scope
        + row.port(row.local[1])
        + row.peer(16)
        + row.remote_scope
        + row.port(row.remote[1])
        + struct.pack("<III", row.state, row.pid, 0)
    )


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One kind of table: its number in bindcheck.h, and how its rows are made."""

    number: int
    first: int
    size: int
    row: Callable[[Row], bytes]
    inet6: bool = False

    def table(self, rows: Sequence[Row], *, count: int | None = None) -> bytes:
        """A whole table; `count` lies about the number of its rows."""
        told = len(rows) if count is None else count
        head = struct.pack("<I", told).ljust(self.first, HOLE)
        return head + b"".join(self.row(one) for one in rows)

    @property
    def address(self) -> str:
        """An address of its family."""
        return "::1" if self.inet6 else "127.0.0.1"


LAYOUTS = {
    "tcp4": Layout(number=1, first=8, size=160, row=tcp4),
    "tcp6": Layout(number=2, first=8, size=192, row=tcp6, inet6=True),
    "udp4": Layout(number=3, first=8, size=160, row=udp4),
    "udp6": Layout(number=4, first=8, size=176, row=udp6, inet6=True),
    "bound4": Layout(number=5, first=4, size=28, row=bound4),
    "bound6": Layout(number=6, first=4, size=60, row=bound6, inet6=True),
}

EXAMPLES: dict[str, tuple[Row, ...]] = {
    "tcp4": (
        Row(local=("0.0.0.0", 135), pid=1092, tag=33),  # noqa: S104
        Row(local=("127.0.0.1", 8080)),
        Row(
            local=("192.168.1.5", 50123),
            remote=("203.0.113.7", 443),
            state=5,  # MIB_TCP_STATE_ESTAB
        ),
        Row(
            local=("127.0.0.1", 8080),
            remote=("127.0.0.1", 50124),
            state=11,  # MIB_TCP_STATE_TIME_WAIT: nobody's
            pid=0,
            created=0,
        ),
    ),
    "tcp6": (
        Row(local=("::", 135), pid=1092, tag=33),
        Row(
            local=("fe80::1", 8080),
            remote=("fe80::2", 50125),
            state=8,  # MIB_TCP_STATE_CLOSE_WAIT
            scope=b"\x0c\0\0\0",
            remote_scope=b"\x0c\0\0\0",
        ),
    ),
    "udp4": (
        Row(local=("0.0.0.0", 5353), pid=2044, tag=7),  # noqa: S104
        Row(local=("127.0.0.1", 8080)),
    ),
    "udp6": (
        Row(local=("::1", 8080)),
        Row(local=("fe80::1", 1900), scope=b"\0\0\0\x0c"),
    ),
    "bound4": (
        Row(local=("127.0.0.1", 8080), state=1),
        Row(local=("0.0.0.0", 50123), state=1, pid=77),  # noqa: S104
    ),
    "bound6": (
        Row(local=("::", 8080), state=1),
        Row(local=("fe80::1", 50126), state=1, pid=77, scope=b"\x0c\0\0\0"),
    ),
}


def examples() -> dict[str, bytes]:
    """The tables that tests/data/windows has as files."""
    return {name: LAYOUTS[name].table(rows) for name, rows in EXAMPLES.items()}
