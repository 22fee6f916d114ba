"""The table of what bind() says beside a listener, by system (tests/data/platforms/overlap.txt)."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from bindcheck.model import Options

FILE = Path(__file__).parent.parent / "data" / "platforms" / "overlap.txt"
SYSTEMS = ("linux", "darwin", "win32")


@dataclass(frozen=True)
class Side:
    """A socket: its address, and the option that is set before bind."""

    address: str
    option: str | None

    @property
    def host(self) -> str:
        return self.address.partition("/")[0]

    @property
    def v6only(self) -> bool | None:
        if ":" not in self.address:
            return None
        return self.address.endswith("/v6only")

    @property
    def options(self) -> Options:
        return Options(
            reuse_address=True if self.option == "reuseaddr" else None,
            reuse_port=True if self.option == "reuseport" else None,
            exclusive=True if self.option == "exclusive" else None,
            v6only=self.v6only,
        )

    def open(self, port: int = 0) -> socket.socket:
        """Make and bind it, as a program would.

        Raises:
            OSError: bind said so.
        """
        inet6 = ":" in self.address
        made = socket.socket(socket.AF_INET6 if inet6 else socket.AF_INET)
        try:
            if inet6:
                level = socket.IPPROTO_IPV6
                made.setsockopt(level, socket.IPV6_V6ONLY, bool(self.v6only))
            names = {"reuseaddr": "SO_REUSEADDR", "reuseport": "SO_REUSEPORT"}
            names["exclusive"] = "SO_EXCLUSIVEADDRUSE"
            if self.option is not None:
                number = getattr(socket, names[self.option])
                made.setsockopt(socket.SOL_SOCKET, number, 1)
            made.bind((self.host, port))
        except BaseException:
            made.close()
            raise
        return made

    def __str__(self) -> str:
        return self.address + (f"+{self.option}" if self.option else "")


@dataclass(frozen=True)
class Row:
    """What the systems say to `new` beside `holder`; None: not to be had there."""

    holder: Side
    new: Side
    says: dict[str, int | str | None]

    def __str__(self) -> str:
        return f"{self.holder}-{self.new}"


def rows() -> list[Row]:
    """Read the table."""
    found = []
    for line in FILE.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        holder, held, new, asked, *cells = line.split()
        says = {
            system: None if cell == "none" else cell if cell == "ok" else int(cell)
            for system, cell in zip(SYSTEMS, cells, strict=True)
        }
        sides = (Side(holder, _option(held)), Side(new, _option(asked)))
        found.append(Row(*sides, says))
    return found


def _option(cell: str) -> str | None:
    return None if cell == "-" else cell


def asked(row: Row) -> int | str:
    """What this system says, with real sockets: "ok" or the native number."""
    with row.holder.open() as holder:
        holder.listen()
        try:
            row.new.open(holder.getsockname()[1]).close()
        except OSError as error:
            windows = sys.platform == "win32"
            return getattr(error, "winerror") if windows else error.errno or 0  # noqa: B009
    return "ok"


def markdown() -> str:
    """The table as docs/platforms.md shows it: plain binds, then options."""
    text = "| The listener | The new socket | Linux | macOS | Windows |\n|---|---|---|---|---|\n"
    for row in rows():
        cells = (
            "no such option" if row.says[one] is None else str(row.says[one])
            for one in SYSTEMS
        )
        text += f"| {_cell(row.holder)} | {_cell(row.new)} | {' | '.join(cells)} |\n"
    return text


def _cell(side: Side) -> str:
    names = {
        "reuseaddr": "SO_REUSEADDR",
        "reuseport": "SO_REUSEPORT",
        "exclusive": "SO_EXCLUSIVEADDRUSE",
    }
    address = side.address.replace("/v6only", " V6ONLY")
    return address + (f" + {names[side.option]}" if side.option else "")
