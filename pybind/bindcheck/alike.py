"""Sockets that are alike in all but their port: one record stands for them. No I/O.

A table of all ports may have thousands of them, and who has one of them may have them all:
to make and judge a record of each takes ten times as long as to read the table.
"""

from __future__ import annotations

from bindcheck.records import replace
from bindcheck.words import OwnerKind

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from bindcheck.model import Endpoint, Place, Snapshot, Socket
    from bindcheck.native.rows import Holder
    from bindcheck.words import Protocol

    Identity = tuple[Protocol, bytes, int | None, int, Endpoint | None, int]

UNSEEN = (OwnerKind.HIDDEN, OwnerKind.IN_TRANSIT)


def inodes_of(row: Socket, snapshot: Snapshot) -> set[int]:
    """The inodes of the sockets that a record stands for."""
    others = snapshot.alike.get(row.inode, ())
    return {row.inode, *[inode for _, inode, _ in others]} - {0}


def places_of(snapshot: Snapshot) -> Iterator[tuple[int, int]]:
    """Port and inode of each socket that is like another one, and of that."""
    for row in snapshot.sockets:
        if row.inode in snapshot.alike:
            yield row.local.port, row.inode
            for port, inode, _ in snapshot.alike[row.inode]:
                yield port, inode


def parted(snapshot: Snapshot, natures: Mapping[int, Hashable]) -> Snapshot:
    """Give those a record of their own, at the end, that differ in something after all.

    Args:
        snapshot: what was seen.
        natures: what is to be alike too, by inode; who has none is like no other.
    """
    sockets = list(snapshot.sockets)
    alike: dict[int, tuple[Place, ...]] = {}
    for row in snapshot.sockets:
        others = snapshot.alike.get(row.inode)
        if others is None:
            continue
        groups: dict[Hashable, list[Place]] = {}
        for place in ((row.local.port, row.inode, row.cookie), *others):
            groups.setdefault(natures.get(place[1], place), []).append(place)
        for first, *rest in groups.values():
            if first[1] != row.inode:
                sockets.append(_at(row, first))
            if rest:
                alike[first[1]] = tuple(rest)
    return replace(snapshot, sockets=tuple(sockets), alike=alike)


def _at(row: Socket, place: Place) -> Socket:
    port, inode, cookie = place
    local = replace(row.local, port=port)
    return replace(row, local=local, inode=inode, cookie=cookie)


def natures_of(
    holders: Sequence[Holder], plain: set[int], mptcp: frozenset[int]
) -> dict[int, Hashable]:
    """What the holders of sockets have in common that stand in one line, by inode.

    Without those that some holder has for a certain port.
    """
    natures: dict[int, Hashable] = {}
    several: dict[int, set[Hashable]] = {}
    for one in holders:
        inode = one.inode
        nature = (
            one.pid,
            one.tid,
            one.fd is None,
            one.close_on_exec,
            one.serves,
            inode in mptcp or one.protocol.startswith("MPTCP"),
        )
        first = natures.setdefault(inode, nature)
        if first is not nature:
            several.setdefault(inode, {first}).add(nature)
    natures.update((inode, frozenset(found)) for inode, found in several.items())
    for one in holders:
        if one.pid not in plain:
            natures.pop(one.inode, None)
    return natures


def part_unseen(snapshot: Snapshot, later: Snapshot) -> tuple[Snapshot, set[Identity]]:
    """Find what nobody was seen to have because it was closed meanwhile.

    In the snapshot it does not stand for others, nor others for it.
    """
    unseen = [row for row in snapshot.sockets if row.owner.kind in UNSEEN]
    there = {one for row in later.sockets for one in _identities(row, later)}
    gone = {one for row in unseen for one in _identities(row, snapshot)} - there
    if gone and snapshot.alike:
        places = (one for row in snapshot.sockets for one in _identities(row, snapshot))
        snapshot = parted(snapshot, {one[-1]: one in gone for one in places})
    return snapshot, gone


def _identities(row: Socket, snapshot: Snapshot) -> Iterator[Identity]:
    """What tells sockets apart, of a row and of those that it stands for."""
    one = identity_of(row)
    yield one
    for port, inode, _ in snapshot.alike.get(row.inode, ()):
        yield (*one[:3], port, None, inode)


def identity_of(row: Socket) -> Identity:
    """What tells a socket from others in two looks at the tables."""
    return (
        row.protocol.table,
        row.packed,
        row.local.scope_id,
        row.local.port,
        row.remote,
        row.inode,
    )
