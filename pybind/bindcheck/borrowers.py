"""Processes that have a socket for a moment only: another diagnosis that borrows it.

To read the options of somebody's socket bindcheck borrows its descriptor (pidfd_getfd(2)),
for microseconds, or for as long as it is kept from running just then. To another one that
looks in that moment it has the socket, and it would be named.
"""

from __future__ import annotations

import os
import time

from bindcheck.records import replace

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.native import Scan
    from bindcheck.native.rows import Holder

_LOOKS = 6
_PAUSE_SECONDS = 0.004


def without_borrowers(scan: Scan) -> Scan:
    """Leave out those of several holders that have it no more a moment later.

    Only who may have borrowed is looked at again: what is borrowed is close-on-exec, and
    a family shares its sockets for good.
    """
    doubtful = _doubtful(scan)
    for _ in range(_LOOKS if doubtful else 0):
        time.sleep(_PAUSE_SECONDS)
        gone = {one for one in doubtful if not _has(one)}
        if gone:
            scan = _without(scan, gone)
            doubtful -= gone
        if not doubtful:
            break
    return scan


def _doubtful(scan: Scan) -> set[Holder]:
    by_inode: dict[int, set[int]] = {}
    for one in scan.holders:
        by_inode.setdefault(one.inode, set()).add(one.pid)
    parents = {one.pid: one.parent for one in scan.processes}
    return {
        one
        for one in scan.holders
        if one.close_on_exec
        and one.fd is not None
        and len(by_inode[one.inode]) > 1
        and not any(
            parents.get(one.pid) == other or parents.get(other) == one.pid
            for other in by_inode[one.inode]
        )
    }


def _has(holder: Holder) -> bool:
    """Whether a holder has the socket still; where that cannot be seen it may."""
    path = f"/proc/{holder.pid}/task/{holder.tid}/fd/{holder.fd}"
    try:
        return os.readlink(path) == f"socket:[{holder.inode}]"  # noqa: PTH115
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return True


def _without(scan: Scan, gone: set[Holder]) -> Scan:
    """Leave holders out; what their descriptors told of the socket stays."""
    told = {one.inode: one for one in gone if one.reuse_address is not None}
    holders = []
    for one in scan.holders:
        if one in gone:
            continue
        source = told.pop(one.inode, None)
        if source is not None:
            one = replace(  # noqa: PLW2901
                one,
                reuse_address=source.reuse_address,
                reuse_port=source.reuse_port,
                v6only=source.v6only,
                device=source.device,
            )
        holders.append(one)
    having = {one.pid for one in holders}
    processes = tuple(one for one in scan.processes if one.pid in having)
    return replace(scan, holders=tuple(holders), processes=processes)
