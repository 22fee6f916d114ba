"""From rows of the tables to blockers: kind, direction, owner, release."""

from __future__ import annotations

from bindcheck.model import Blocker, Release, Snapshot, Socket
from bindcheck.records import record, replace
from bindcheck.rules.address import is_link_local
from bindcheck.rules.coexistence import Neighbourhood
from bindcheck.rules.overlap import (
    Collision,
    Coverage,
    collide,
    coverage,
    holder_coverage,
)
from bindcheck.rules.sharing import Asker, devices_meet
from bindcheck.words import (
    Blocks,
    Direction,
    Kind,
    OwnerKind,
    ReleaseHow,
    SocketType,
    State,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bindcheck.model import Options, Owner, Target
    from bindcheck.rules.windows import Heard

_KINDS = {
    State.LISTEN: Kind.LISTENER,
    State.CLOSE: Kind.BOUND,
    State.ESTABLISHED: Kind.CONNECTION,
    State.SYN_SENT: Kind.CONNECTION,
    State.SYN_RECV: Kind.CONNECTION,
    State.CLOSE_WAIT: Kind.CLOSE_WAIT,
    State.FIN_WAIT_1: Kind.CLOSING_CONNECTION,
    State.FIN_WAIT_2: Kind.CLOSING_CONNECTION,
    State.CLOSING: Kind.CLOSING_CONNECTION,
    State.LAST_ACK: Kind.CLOSING_CONNECTION,
    State.TIME_WAIT: Kind.TIME_WAIT,
}
_DIRECTED = frozenset({Kind.CONNECTION, Kind.CLOSE_WAIT, Kind.TIME_WAIT})


@record(frozen=True, slots=True)
class Overlapping:
    """A row whose address and interface collide with the target's."""

    socket: Socket
    collision: Collision


def target_coverage(target: Target, options: Options, snapshot: Snapshot) -> Coverage:
    """What the attempt's address covers, with the system's default for IPV6_V6ONLY."""
    v6only = options.v6only
    if v6only is None:
        v6only = bool(snapshot.facts.bind_v6only)
    return coverage(target.packed, v6only=v6only)


def asker(target: Target, options: Options, snapshot: Snapshot) -> Asker:
    """Describe the new socket. A link-local scope binds it to that interface."""
    device = snapshot.devices.get(options.device or "", 0)
    if is_link_local(target) and target.scope_id is not None:
        device = target.scope_id  # bind() ties it to that interface, whatever it had
    return Asker.of(
        options,
        device=device,
        uid=-1 if snapshot.facts.euid is None else snapshot.facts.euid,
    )


def meeting(target: Target, options: Options) -> Callable[[Socket], bool]:
    """Tell of rows whether they collide with the target's address, by that alone.

    Before anything is known of the machine: as if new sockets for `::` were for both
    families, and all interfaces one.
    """
    mine = coverage(target.packed, v6only=options.v6only)
    return lambda row: collide(mine, holder_coverage(row)) is not None


def overlapping(
    target: Target, options: Options, snapshot: Snapshot
) -> tuple[Overlapping, ...]:
    """Find the rows that collide with the target's address, whatever their options."""
    if target.port == 0:
        return ()
    mine = target_coverage(target, options, snapshot)
    who = asker(target, options, snapshot)
    found = []
    # Thousands of connections have one address: what it collides with is found once.
    known: dict[tuple[object, ...], Collision | None] = {}
    for socket in snapshot.sockets:
        if not devices_meet(who.device, socket.device):
            continue
        key = (socket.packed, socket.v6only, socket.state)
        if key not in known:
            known[key] = collide(mine, holder_coverage(socket))
        collision = known[key]
        if collision is not None:
            found.append(Overlapping(socket, collision))
    return tuple(found)


def neighbourhood(
    target: Target,
    options: Options,
    snapshot: Snapshot,
    heard: tuple[tuple[bytes, Heard], ...] = (),
) -> Neighbourhood:
    """The new socket beside those that are there."""
    who = asker(target, options, snapshot)
    return Neighbourhood(target, options, snapshot, who, heard)


def in_the_way(
    beside: Neighbourhood, *, failed: bool
) -> list[tuple[Overlapping, Blocks]]:
    """Find the rows that do not share, or may not; `failed` as blockers() has it."""
    target, who = beside.target, beside.asker
    met = [
        (row, beside.conflicts(row.socket))
        for row in overlapping(target, beside.options, beside.snapshot)
    ]
    # udp_lib_lport_inuse stops at the first holder that shares by SO_REUSEPORT: whether
    # that stands before one which does not only the kernel knows.
    twin = target.protocol.type is SocketType.DATAGRAM and who.reuse_port
    twin = twin and any(row.socket.reuse_port and blocks is None for row, blocks in met)
    sure = failed or not twin
    return [
        (row, blocks if row.collision.certain and sure else Blocks.POSSIBLY)
        for row, blocks in met
        if blocks is not None
    ]


def blockers(
    target: Target,
    options: Options,
    snapshot: Snapshot,
    *,
    failed: bool,
    heard: tuple[tuple[bytes, Heard], ...] = (),
) -> tuple[Blocker, ...]:
    """Name the sockets in the way, those of the same nature together.

    `failed` tells that the system was asked and said "in use": where a single group
    could explain that, it does. `heard` is what Windows told to binds.
    """
    beside = neighbourhood(target, options, snapshot, heard)
    rows = in_the_way(beside, failed=failed)
    neighbours = Neighbours.of(snapshot.sockets)
    groups: dict[tuple[object, ...], list[tuple[Overlapping, Blocks]]] = {}
    for row, blocks in rows:
        direction = direction_of(row.socket, neighbours)
        nature = (direction, *_nature(row, blocks))
        groups.setdefault(nature, []).append((row, blocks))
    alone = failed and len(groups) == 1
    made = [
        _blocker(group, beside, neighbours, alone=alone) for group in groups.values()
    ]
    return tuple(sorted(made, key=_rank))


def kind_of(socket: Socket) -> Kind:
    """What kind of socket a row is; datagram sockets have no other state."""
    if socket.protocol.type is SocketType.DATAGRAM:
        return Kind.DATAGRAM
    return _KINDS.get(socket.state, Kind.CONNECTION)


@record(frozen=True, slots=True)
class Neighbours:
    """What the rows of a port tell about each other."""

    listeners: tuple[Socket, ...]
    remote_ports: Mapping[str, frozenset[int]]
    """The ports from which each remote address is connected."""

    @classmethod
    def of(cls, sockets: Iterable[Socket]) -> Neighbours:
        """Collect them once: there may be many rows."""
        listeners = []
        ports: dict[str, set[int]] = {}
        for row in sockets:
            if row.state is State.LISTEN:
                listeners.append(row)
            elif row.remote is not None:
                ports.setdefault(row.remote.address, set()).add(row.remote.port)
        frozen = {address: frozenset(found) for address, found in ports.items()}
        return cls(tuple(listeners), frozen)


def direction_of(
    socket: Socket, neighbours: Neighbours, *, covered: bool | None = None
) -> Direction | None:
    """Who opened a connection, None where nothing shows it.

    `covered`: whether one of the listeners accepts for its address, where that is known.
    """
    if kind_of(socket) not in _DIRECTED:
        return None
    if socket.state is State.SYN_SENT:
        return Direction.OUTGOING
    if socket.state is State.SYN_RECV:
        return Direction.ACCEPTED
    if socket.opened is not None:
        return socket.opened
    if covered is None:
        covered = covering_listener(socket, neighbours.listeners) is not None
    if covered:
        return Direction.ACCEPTED
    # One place that is connected from several of its ports is a client of ours:
    # connect() gives one of our ports to one connection to a place.
    remote = socket.remote
    several = remote and len(neighbours.remote_ports.get(remote.address, ())) > 1
    return Direction.ACCEPTED if several else None


def covering_listener(socket: Socket, rows: Iterable[Socket]) -> Socket | None:
    """The listener on the same port that would accept for this row's address."""
    mine = coverage(socket.packed, v6only=None)
    for row in rows:
        if (
            row.state is State.LISTEN
            and row.local.port == socket.local.port
            and collide(mine, coverage(row.packed, v6only=row.v6only))
        ):
            return row
    return None


def _nature(row: Overlapping, blocks: Blocks) -> tuple[object, ...]:
    socket = row.socket
    owner = socket.owner
    return (
        kind_of(socket),
        row.collision,
        blocks,
        socket.protocol,
        socket.packed,
        socket.v6only,
        socket.device,
        socket.reuse_address,
        socket.reuse_port,
        owner.kind,
        owner.uid,
        owner.cgroup,
        tuple(one.pid for one in owner.processes),
    )


def _blocker(
    group: Sequence[tuple[Overlapping, Blocks]],
    beside: Neighbourhood,
    neighbours: Neighbours,
    *,
    alone: bool,
) -> Blocker:
    # The one that goes last stands for all.
    row, blocks = max(group, key=lambda one: one[0].socket.timer_ms or 0)
    socket = row.socket
    return Blocker(
        kind=kind_of(socket),
        direction=direction_of(socket, neighbours),
        overlap=row.collision.overlap,
        dual_stack=row.collision.dual_stack,
        sharing=beside.sharing(socket, alone=alone),
        # Of several that cannot be read one may be enough.
        blocks=Blocks.YES if alone and len(group) == 1 else blocks,
        count=len(group),
        release=_release(socket),
        owner=_owner_of_all(socket.owner, [one.socket.owner for one, _ in group]),
        socket=socket,
    )


def _owner_of_all(owner: Owner, all_of_them: Sequence[Owner]) -> Owner:
    """The owner with the descriptors of every socket of the group."""
    fds: dict[int, set[int]] = {}
    for one in all_of_them:
        for process in one.processes:
            fds.setdefault(process.pid, set()).update(process.fds)
    processes = tuple(
        replace(one, fds=tuple(sorted(fds.get(one.pid, one.fds))))
        for one in owner.processes
    )
    return replace(owner, processes=processes)


def _release(socket: Socket) -> Release:
    if socket.owner.kind is OwnerKind.NONE:
        return Release(how=ReleaseHow.AFTER, after_ms=socket.timer_ms)
    return Release(how=ReleaseHow.WHEN_OWNER_CLOSES)


_KIND_ORDER = tuple(Kind)


def _rank(blocker: Blocker) -> tuple[bool, int, int]:
    return (
        blocker.blocks is not Blocks.YES,
        _KIND_ORDER.index(blocker.kind),
        -blocker.count,
    )
