"""Sockets that are alike in all but their port: one record stands for them. No I/O.

A table of all ports may have thousands of them, and who has one of them may have them all:
to make and judge a record of each takes ten times as long as to read the table.
"""

from __future__ import annotations

from bindcheck.records import replace

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from bindcheck.model import Place, Snapshot, Socket


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
