"""The verb `list`: every local port and who has it, as a table or as JSON."""

from __future__ import annotations

import gc
import sys
from itertools import groupby

from bindcheck.alike import UNSEEN, identity_of, part_unseen
from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.output import print_lines, privileged_command, terminal_width, write
from bindcheck.errors import UsageError
from bindcheck.observe import Observer
from bindcheck.port_table import in_order, judged, needs_owner, port_table, seated
from bindcheck.records import replace
from bindcheck.render import Line, cells
from bindcheck.rules.overlap import holder_coverage
from bindcheck.rules.ownership import may_have_others
from bindcheck.wording.table import HEADER, Columns
from bindcheck.wording.terms import plural
from bindcheck.words import Family, Kind, OwnerKind, Protocol

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bindcheck.alike import Identity
    from bindcheck.model import Snapshot, Socket
    from bindcheck.port_table import Entry, PortTable, Row


_PORT, _REMOTE = HEADER.index("PORT"), HEADER.index("REMOTE")
_LONG = (HEADER.index("PROGRAM"), HEADER.index("NOTE"))
_WIDE = 280  # of a pipe, which has no width
_LEAST = 8  # columns that are worth showing
# Worth a line only where an owner could not be seen.
_OF_OWNERS = frozenset({"processes-unreadable", "pid-namespace"})
_OF_TABLES = frozenset({"no-socket-table", "tables-unsupported"})
_OF_BOUND = frozenset({"bound-sockets-not-listed", "sockets-not-asked"})


def run(arguments: argparse.Namespace) -> ExitCode:
    """Print the table.

    Raises:
        UsageError: an argument is no port.
    """
    ports = frozenset(port for text in arguments.targets for port in _ports(text))
    collects = gc.isenabled()
    gc.disable()  # thousands of records that stay: to look for garbage finds none
    try:
        return _run(arguments, ports)
    finally:
        if collects:
            gc.enable()


def _run(arguments: argparse.Namespace, ports: frozenset[int]) -> ExitCode:
    observer = Observer()
    snapshot, rows = _with_owners(observer, arguments, ports)
    if arguments.json:
        write(_json(in_order(rows), snapshot, observer))
    else:
        table = port_table(
            rows, connections=bool(ports), each=arguments.all, alike=snapshot.alike
        )
        missing = sorted(ports - {row.socket.local.port for row in rows})
        lines = _lines(table, snapshot, missing, arguments)
        print_lines(lines, color=not arguments.no_color)
    if not snapshot.listed:
        return ExitCode.UNKNOWN
    return ExitCode.BLOCKED if ports and not rows else ExitCode.BINDABLE


def _ports(text: str) -> set[int]:
    """The port that a text is, or those that a service has."""
    if text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) < 65536:
        return {int(text)}
    import _socket

    found = set()
    for protocol in ("tcp", "udp"):
        try:
            found.add(_socket.getservbyname(text, protocol))
        except (OSError, ValueError):  # ValueError: no text that C can take
            continue
    if not found:
        raise UsageError(f"{text!r} is no port: 1 to 65535, or the name of a service")
    return found


def _with_owners(
    observer: Observer, arguments: argparse.Namespace, ports: frozenset[int]
) -> tuple[Snapshot, Sequence[Row]]:
    """What is there, and its rows with the owners that will be shown."""
    ephemeral = observer.facts.ephemeral_range
    alike = not (ports or arguments.json)
    snapshot = _look(observer, arguments, ports, alike=alike)
    rows = judged(snapshot.sockets, ephemeral)
    wanted = rows
    if alike and not arguments.all:
        wanted = tuple(row for row in rows if needs_owner(row))
    snapshot = observer.with_owners(snapshot, [row.socket for row in wanted])
    gone: set[Identity] = set()
    if any(one.owner.kind in UNSEEN for one in snapshot.sockets):
        later = _look(observer, arguments, ports, alike=alike)
        snapshot, gone = part_unseen(snapshot, later)
    if gone or _knows_more(snapshot.sockets, rows):
        left = [one for one in snapshot.sockets if identity_of(one) not in gone]
        rows = judged(left, ephemeral)
    else:
        rows = seated(rows, snapshot.sockets, ephemeral)
    # Each of several tables may have said the same, of other processes by then.
    limits = {
        one.code if one.code in _OF_OWNERS else one: one for one in snapshot.limits
    }
    return replace(snapshot, limits=tuple(limits.values())), rows


def _look(
    observer: Observer,
    arguments: argparse.Namespace,
    ports: frozenset[int],
    *,
    alike: bool = False,
) -> Snapshot:
    """The rows that are asked for; rare protocols may have no tables."""
    asked = [one for one in (Protocol.TCP, Protocol.UDP) if getattr(arguments, one)]
    rare = [] if asked else [Protocol.SCTP, Protocol.UDPLITE]
    asked = asked or [Protocol.TCP, Protocol.UDP]
    port = next(iter(ports)) if len(ports) == 1 else 0
    seen = []
    for protocol in (*asked, *rare):
        one = observer.look(protocol, port, None, alike=alike)
        if one.listed or protocol in asked:
            all_of_it = observer.with_bound_sockets(one, protocol, port)
            if alike and len(all_of_it.sockets) > len(one.sockets):
                # Those that are alike may not be alone on their ports.
                return _look(observer, arguments, ports)
            seen.append(all_of_it)
    return replace(
        seen[0],
        listed=all(one.listed for one in seen),
        limits=tuple(limit for one in seen for limit in one.limits),
        sockets=tuple(
            row
            for one in seen
            for row in one.sockets
            if (not ports or row.local.port in ports) and _is_of(row, arguments.family)
        ),
        alike={inode: more for one in seen for inode, more in one.alike.items()},
    )


def _knows_more(sockets: Sequence[Socket], rows: Sequence[Row]) -> bool:
    """Whether a descriptor told for which addresses a listener accepts."""
    return any(
        row.socket.v6only is not one.v6only
        for row, one in zip(rows, sockets, strict=False)
    )


def _is_of(row: Socket, family: str | None) -> bool:
    """Whether a row is of a family; a socket for both has the ports of either."""
    if family is None:
        return True
    covered = holder_coverage(row)
    return (covered.inet if family == Family.INET else covered.inet6) is not None


def _json(rows: Sequence[Row], snapshot: Snapshot, observer: Observer) -> str:
    import json

    from bindcheck import jsonform
    from bindcheck._version import __version__

    answer = {
        "schema": jsonform.SCHEMA,
        "version": __version__,
        "context": jsonform.context_to_dict(observer.context()),
        "sockets": [],
        "limits": [jsonform.notice_to_dict(one) for one in snapshot.limits],
    }
    sockets = [
        {
            **jsonform.socket_to_dict(row.socket),
            "kind": str(row.kind),
            "direction": None if row.direction is None else str(row.direction),
            "owner": jsonform.owner_to_dict(row.socket.owner),
        }
        for row in rows
    ]
    whole = json.dumps(answer, indent=2) + "\n"
    if not sockets:
        return whole
    # A line each: to indent thousands takes longer than all that comes before.
    lines = ",\n".join(f"    {json.dumps(one)}" for one in sockets)
    return whole.replace('"sockets": []', f'"sockets": [\n{lines}\n  ]', 1)


def _lines(
    table: PortTable,
    snapshot: Snapshot,
    missing: Sequence[int],
    arguments: argparse.Namespace,
) -> list[Line]:
    quiet = arguments.quiet
    lines = _rows(table.entries, snapshot, arguments)
    if snapshot.listed and not (quiet and table.entries):
        lines += _nobody(table, snapshot, missing, arguments)
    if not quiet:
        lines += _footer(table)
    return lines + _limits(table.entries, snapshot, arguments)


def _nobody(
    table: PortTable,
    snapshot: Snapshot,
    missing: Sequence[int],
    arguments: argparse.Namespace,
) -> list[Line]:
    """Say of which ports nobody has a socket."""
    asked = [one for one in ("tcp", "udp") if getattr(arguments, one)]
    if arguments.family is not None:
        asked.append("IPv4" if arguments.family == Family.INET else "IPv6")
    among = f" ({', '.join(asked)})" if asked else ""
    if missing:
        nobody = "nobody has" if _sees_bound(snapshot) else "nobody is seen to have"
        return [Line(f"{nobody} port {' or '.join(map(str, missing))}{among}")]
    if table.entries or table.outgoing or table.outgoing_time_wait:
        return []
    return [Line(f"nobody has a port here{among}")]


def _sees_bound(snapshot: Snapshot) -> bool:
    """Whether a socket that is only bound would have been seen."""
    codes = {one.code for one in snapshot.limits}
    unread = snapshot.bound_sockets_listed is False and codes & _OF_OWNERS
    return not (unread or codes & _OF_BOUND)


def _footer(table: PortTable) -> list[Line]:
    """Sum up the connections that have no lines."""
    parts = []
    if table.outgoing:
        parts.append(plural(table.outgoing, "outgoing connection"))
    if table.outgoing_time_wait:
        outgoing = "" if parts else " outgoing"
        parts.append(f"{table.outgoing_time_wait}{outgoing} in TIME_WAIT")
    if not parts:
        return []
    lead = "and " if table.entries else ""
    return [Line(f"{lead}{', '.join(parts)}: --all shows each")]


def _limits(
    entries: Sequence[Entry], snapshot: Snapshot, arguments: argparse.Namespace
) -> list[Line]:
    """What could not be seen, and the command that sees it."""
    if arguments.quiet:
        return [Line(one.text) for one in snapshot.limits if one.code in _OF_TABLES]
    hidden = any(
        one.socket.owner.kind is OwnerKind.HIDDEN
        or may_have_others(one.socket.owner, snapshot.limits)
        for one in entries
    )
    shown = arguments.verbose or hidden or not _sees_bound(snapshot)
    lines = [
        Line(one.text) for one in snapshot.limits if shown or one.code not in _OF_OWNERS
    ]
    command = privileged_command(sys.argv[1:])
    if hidden and command:
        import shlex

        lines.append(Line("to see the pids"))
        lines.append(Line(shlex.join(["sudo", *command]), "cyan", 2, wrap=False))
    return lines


def _rows(
    entries: Sequence[Entry], snapshot: Snapshot, arguments: argparse.Namespace
) -> list[Line]:
    if not entries:
        return []
    columns = Columns(snapshot, _interfaces(entries))
    highest = max(
        port for one in entries for port in (one.socket.local.port, *one.other_ports)
    )
    head = "" if arguments.quiet else HEADER[_PORT]
    room = max(len(head), len(str(highest)))
    table = [columns.of(one) for one in entries]
    used = [index for index in range(len(HEADER)) if any(row[index] for row in table)]
    if not (arguments.all or arguments.targets):
        used = [index for index in used if index != _REMOTE]
    if not arguments.quiet:
        table.append(HEADER)
    table = [(row[_PORT].rjust(room), *row[_PORT + 1 :]) for row in table]
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    texts = _aligned(table, used, terminal_width() if on_terminal else None)
    header = [] if arguments.quiet else [Line(texts.pop(), "bold", wrap=False)]
    return header + _each_port(entries, texts, room)


def _each_port(entries: Sequence[Entry], texts: Sequence[str], room: int) -> list[Line]:
    """The lines of entries, and of the other ports that they stand for."""
    lines = []
    for number, (one, text) in enumerate(zip(entries, texts, strict=True)):
        protocol, rest = one.socket.protocol, text[room:]
        lines.append((one.socket.local.port, protocol, number, text))
        lines += [
            (port, protocol, number, f"{port:>{room}}{rest}")
            for port in one.other_ports
        ]
    lines.sort()
    styles = ["dim" if one.kind is Kind.TIME_WAIT else "" for one in entries]
    return [
        # Of thousands of lines one text takes a tenth of the time.
        Line("\n".join(text for *_, text in run), style, wrap=False)
        for style, run in groupby(lines, key=lambda line: styles[line[2]])
    ]


def _interfaces(entries: Sequence[Entry]) -> dict[int, str]:
    """The names of the interfaces that sockets are tied to."""
    import _socket

    rows = [one.socket for one in entries]
    names = {}
    for index in {row.device or row.local.scope_id or 0 for row in rows} - {0}:
        try:
            names[index] = _socket.if_indextoname(index)
        except OSError:
            continue  # gone
    return names


def _aligned(
    table: Sequence[Sequence[str]], used: Sequence[int], width: int | None
) -> list[str]:
    """Lay columns out; the last one takes what room is left, or has none."""
    # A long name or note pushes its own line to the right, not all of them.
    most = (width or _WIDE) // 4
    columns, taken = [], 0
    for index in used:
        texts = [row[index] for row in table]
        room = max(map(cells, texts))
        if index == used[-1]:
            if width is None or taken + min(room, _LEAST) <= width:
                columns.append(texts)
            break
        room = min(room, most) if index in _LONG else room
        columns.append([_padded(one, room) for one in texts])
        taken += room + 2
    lines = ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
    return [_cut(one, width) for one in lines] if width else lines


def _padded(text: str, room: int) -> str:
    return text.ljust(room) if text.isascii() else text + " " * (room - cells(text))


def _cut(text: str, width: int) -> str:
    """Cut a line to the width of the terminal, in columns."""
    if cells(text) <= width:
        return text
    kept = text[: width - 3]
    while cells(kept) > width - 3:
        kept = kept[:-1]
    return f"{kept}..."
