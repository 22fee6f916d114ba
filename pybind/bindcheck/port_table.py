"""The table of ports: which rows of the socket tables stand in which line. No I/O.

Sockets that are the same stand in one line; connections and what lingers are counted in
the line of the listener that they came to.
"""

from __future__ import annotations

from types import MappingProxyType

from bindcheck.records import record, replace
from bindcheck.rules.holders import (
    Neighbours,
    covering_listener,
    direction_of,
    kind_of,
)
from bindcheck.words import Direction, Kind, OwnerKind, Protocol, State

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bindcheck.model import Endpoint, Owner, Place, Process, Socket

CONNECTIONS = frozenset(
    {Kind.CONNECTION, Kind.CLOSE_WAIT, Kind.CLOSING_CONNECTION, Kind.TIME_WAIT}
)
_NO_NEIGHBOURS = Neighbours((), {})
_USUAL_EPHEMERAL = (32768, 60999)
_KIND_ORDER = {kind: number for number, kind in enumerate(Kind)}


@record(frozen=True, slots=True)
class Row:
    """A row of the tables, judged among the others of its port."""

    socket: Socket
    kind: Kind
    direction: Direction | None
    outgoing: bool
    """A client's: connected, and not to one of our listeners."""
    listeners: tuple[Socket, ...]
    """Those of the most specific address that accept for a connection's."""


@record(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line: `count` sockets that are the same; `socket` is the one that stays longest."""

    socket: Socket
    kind: Kind
    direction: Direction | None
    count: int
    processes: tuple[Process, ...]
    """All that have one of them, the oldest first."""
    remote: Endpoint | None
    """Their peer; None: without one, or of several."""
    counted: Mapping[Kind, int]
    """What came to this listener and has no line of its own."""
    last_ends_ms: int | None
    """When the last TIME_WAIT ends, of its own and of those that are counted."""
    other_ports: tuple[int, ...] = ()
    """Those that have nothing but one like it, each: lines that differ in the port."""


@record(frozen=True, slots=True)
class PortTable:
    """The lines, and how many outgoing connections have none."""

    entries: tuple[Entry, ...]
    outgoing: int
    outgoing_time_wait: int


def judged(
    sockets: Sequence[Socket], ephemeral: tuple[int, int] | None
) -> tuple[Row, ...]:
    """Judge rows, whether their owners are known or not; in the order of the sockets.

    Args:
        sockets: all rows of each port.
        ephemeral: the ports that connect() takes, for connections of which nothing
            tells who opened them.
    """
    low, high = ephemeral or _USUAL_EPHEMERAL
    ports: dict[tuple[Protocol, int], _Port] = {}
    places = []
    for one in sockets:
        place = (one.protocol.table, one.local.port)
        port = ports.get(place)
        if port is None:
            port = ports[place] = _Port()
        port.sockets.append(one)
        places.append(port)
    rows = {
        id(port): port.rows(ephemeral=low <= number <= high)
        for (_, number), port in ports.items()
    }
    return tuple([next(rows[id(port)]) for port in places])


def seated(
    rows: Iterable[Row],
    sockets: Sequence[Socket],
    ephemeral: tuple[int, int] | None,
) -> tuple[Row, ...]:
    """Put the sockets with their owners in the place of those that were judged.

    Args:
        rows: as judged() gave them.
        sockets: the same in the same order, and more that are alone on their ports.
        ephemeral: as for judged().
    """
    rows = tuple(rows)
    owned = {
        id(row.socket): one
        for row, one in zip(rows, sockets, strict=False)
        if row.socket is not one
    }
    moved: dict[int, tuple[Socket, ...]] = {}
    for row in rows:
        if id(row.listeners) not in moved:
            moved[id(row.listeners)] = tuple(
                [owned.get(id(one), one) for one in row.listeners]
            )
    same = tuple(
        [
            replace(
                row,
                socket=owned.get(id(row.socket), row.socket),
                listeners=moved[id(row.listeners)],
            )
            if row.listeners or id(row.socket) in owned
            else row
            for row in rows
        ]
    )
    return same + judged(sockets[len(rows) :], ephemeral)


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Sort rows by port, protocol and address."""
    return sorted(rows, key=_position)


def needs_owner(row: Row) -> bool:
    """Whether its owner is shown where connections have no lines of their own.

    Of several listeners on an address the owner of a connection tells which one it is.
    """
    if row.outgoing:
        return False
    return row.kind not in CONNECTIONS or len(row.listeners) != 1


def port_table(
    rows: Iterable[Row],
    *,
    connections: bool = False,
    each: bool = False,
    alike: Mapping[int, tuple[Place, ...]] = MappingProxyType({}),
) -> PortTable:
    """Put rows together to lines.

    Args:
        rows: with their owners.
        connections: connections that somebody has get lines too, those alike one.
        each: every row gets a line.
        alike: where there are more that are like a row's, as Snapshot.alike.
    """
    lines: list[Row] = []
    counted: list[Row] = []
    outgoing = lingering = 0
    for row in rows:
        shown = each or (connections and row.socket.owner.kind is not OwnerKind.NONE)
        if row.outgoing and not (shown or connections):
            lingering += row.kind is Kind.TIME_WAIT
            outgoing += row.kind is not Kind.TIME_WAIT
        elif row.listeners and not shown:
            counted.append(row)
        else:
            lines.append(row)
    groups: dict[tuple[object, ...], _Group] = {}
    places: dict[int, _Group] = {}
    for number, row in enumerate(in_order(lines)):
        group = groups.setdefault((number,) if each else _nature(row), _Group())
        group.rows.append(row)
        places[id(row.socket)] = group
    _count(counted, places)
    entries = tuple(one.entry(alike) for one in groups.values())
    return PortTable(entries, outgoing, lingering)


def _count(rows: Iterable[Row], places: Mapping[int, _Group]) -> None:
    """Count rows in the lines of the listeners that they came to."""
    accepting: dict[int, list[_Group]] = {}
    for row in rows:
        found = accepting.get(id(row.listeners))
        if found is None:
            lines = {id(places[id(one)]): places[id(one)] for one in row.listeners}
            found = accepting[id(row.listeners)] = list(lines.values())
        _accepting(row, found).count(row)


class _Port:
    """The sockets of one port, and what they tell about each other, found once."""

    def __init__(self) -> None:
        self.sockets: list[Socket] = []
        self._accepting: dict[bytes, tuple[Socket, ...]] = {}

    def rows(self, *, ephemeral: bool) -> Iterator[Row]:
        neighbours = _NO_NEIGHBOURS
        if len(self.sockets) > 1:
            connected = [one for one in self.sockets if one.remote is not None]
            # Of many that listen on one address one is enough.
            listeners = {
                (one.packed, one.v6only): one
                for one in self.sockets
                if connected and one.state is State.LISTEN
            }
            neighbours = Neighbours.of([*listeners.values(), *connected])
        for one in self.sockets:
            kind = kind_of(one)
            if kind not in CONNECTIONS:
                client = kind is Kind.DATAGRAM and one.remote is not None
                yield Row(one, kind, None, client and ephemeral, ())
                continue
            found = self._listeners(one, neighbours) if neighbours.listeners else ()
            direction = direction_of(one, neighbours, covered=bool(found))
            known = direction or one.opened
            if known is not None:
                outgoing = known is Direction.OUTGOING
            else:
                outgoing = ephemeral and not found
            yield Row(one, kind, direction, outgoing, () if outgoing else found)

    def _listeners(self, one: Socket, neighbours: Neighbours) -> tuple[Socket, ...]:
        found = self._accepting.get(one.packed)
        if found is None:
            covering = [
                listener
                for listener in neighbours.listeners
                if covering_listener(one, (listener,))
            ]
            exact = [listener.packed for listener in covering if any(listener.packed)]
            best = set(exact or [listener.packed for listener in covering])
            found = self._accepting[one.packed] = tuple(
                listener
                for listener in self.sockets
                if listener.state is State.LISTEN and listener.packed in best
            )
        return found


class _Group:
    """A line in the making."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.counted: dict[Kind, int] = {}
        self.last_ends_ms: int | None = None
        self._pids: set[int] | None = None

    def count(self, row: Row) -> None:
        self.counted[row.kind] = self.counted.get(row.kind, 0) + 1
        self._wait_for(row)

    def _wait_for(self, row: Row) -> None:
        left = row.socket.timer_ms
        if left is not None and row.kind is Kind.TIME_WAIT:
            self.last_ends_ms = max(left, self.last_ends_ms or 0)

    def has_any(self, processes: Iterable[Process]) -> bool:
        if self._pids is None:
            self._pids = {one.pid for row in self.rows for one in _processes(row)}
        return any(one.pid in self._pids for one in processes)

    def entry(self, alike: Mapping[int, tuple[Place, ...]]) -> Entry:
        for row in self.rows:
            self._wait_for(row)
        last = max(self.rows, key=lambda row: row.socket.timer_ms or 0)
        remotes = {row.socket.remote for row in self.rows}
        processes = {one.pid: one for row in self.rows for one in _processes(row)}
        return Entry(
            socket=last.socket,
            kind=last.kind,
            direction=last.direction,
            count=len(self.rows),
            processes=tuple(
                sorted(processes.values(), key=lambda one: (one.start_id or 0, one.pid))
            ),
            remote=remotes.pop() if len(remotes) == 1 else None,
            counted=self.counted,
            last_ends_ms=self.last_ends_ms,
            other_ports=tuple(
                [port for port, _, _ in alike.get(last.socket.inode, ())]
            ),
        )


def _processes(row: Row) -> tuple[Process, ...]:
    return row.socket.owner.processes


def _accepting(row: Row, groups: Sequence[_Group]) -> _Group:
    """The line that a connection is counted in: of several that of its program."""
    if len(groups) == 1:
        return groups[0]
    own = (one for one in groups if one.has_any(_processes(row)))
    return next(own, groups[0])


def _nature(row: Row) -> tuple[object, ...]:
    """What sockets of one line have in common."""
    one = row.socket
    return (
        one.protocol,
        one.packed,
        one.local.scope_id,
        one.local.port,
        one.device,
        one.v6only,
        row.kind,
        row.direction,
        row.outgoing,
        one.remote is None,
        _who(one.owner),
    )


def _who(owner: Owner) -> tuple[object, ...]:
    """What owners of one line have in common: workers of one server are alike."""
    return (
        owner.kind,
        owner.uid,
        owner.traits,
        owner.unit,
        owner.container,
        owner.kernel,
        owner.opener,
        owner.services,
        tuple(_crew(one) for one in owner.processes),
    )


def _crew(process: Process) -> object:
    """The same for programs that one parent has started in the same way."""
    if process.program is None:
        return process.pid
    return (process.program, process.command, process.uid, process.parent)


def _position(row: Row) -> tuple[object, ...]:
    one, remote = row.socket, row.socket.remote
    return (
        one.local.port,
        one.protocol,
        len(one.packed),
        one.packed,
        _KIND_ORDER[row.kind],
        (remote.address, remote.port) if remote else ("", 0),
    )
