"""What is there on macOS, beyond the tables.

libproc names the processes of one's own user, of all for root. For the rest the tables
have a user and the process that used the socket last, which may be gone or another one.
"""

from __future__ import annotations

from bindcheck.records import replace
from bindcheck.rules.darwin_owner import with_last_user

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bindcheck.model import Owner, Snapshot, Socket
    from bindcheck.users import UserNames


def with_last_users(
    snapshot: Snapshot, wanted: Iterable[Socket], users: UserNames
) -> Snapshot:
    """Name the last user of each wanted socket that is not seen to have it."""
    keys = {_key(row) for row in wanted}
    sockets = tuple(
        replace(row, owner=_with_last_user(row, users)) if _key(row) in keys else row
        for row in snapshot.sockets
    )
    return replace(snapshot, sockets=sockets)


def _key(row: Socket) -> tuple[object, ...]:
    return (row.packed, row.inode, row.pid, row.state, row.remote)


def _with_last_user(row: Socket, users: UserNames) -> Owner:
    seen = {one.pid for one in row.owner.processes}
    if row.pid is None or row.pid in seen:
        return row.owner
    return with_last_user(row, _name(row.pid), users.name_of(row.uid))


def _name(pid: int) -> str | None:
    """What has a pid now; of other users the name alone may be asked."""
    import psutil

    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return None
