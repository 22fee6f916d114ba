"""Who has a socket on Windows, from the pid that its table names."""

from __future__ import annotations

from bindcheck.model import Owner, Process, Socket
from bindcheck.words import OwnerKind, SocketType, State, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.rules.ownership import Asking

SYSTEM_PID = 4
"""The kernel: its drivers have their sockets under this pid."""

# Drivers that are known by their ports. What else listens with pid 4 is mostly http.sys,
# which serves IIS, WinRM, SQL Server Reporting Services and others; SMB Direct, NFS and
# VPN servers are drivers too.
_FILE_SHARING = frozenset({137, 138, 139, 445})


def windows_owner(
    row: Socket,
    processes: tuple[Process, ...],
    *,
    opener: int | None = None,
    services: tuple[str, ...] = (),
    asking: Asking | None = None,
) -> Owner:
    """Describe the owner of a row.

    Args:
        row: the row; pid 0 has nobody (TIME_WAIT), pid 4 is the kernel.
        processes: the one that made it; where that is gone its children.
        opener: the pid of the one that made it, where it is gone.
        services: the services in the process.
        asking: for `own-copy` and `same-process`.
    """
    if not row.pid:
        # Wine names no programs of the system below it.
        gone = row.state is State.TIME_WAIT
        return Owner(kind=OwnerKind.NONE if gone else OwnerKind.HIDDEN)
    if row.pid == SYSTEM_PID:
        return Owner(kind=OwnerKind.KERNEL, kernel=_kernel_user(row))
    from bindcheck.rules.ownership import asking_first

    traits: tuple[Trait, ...] = ()
    if asking is not None:
        processes = asking_first(processes, asking)
        if processes and processes[0].pid == asking.pid:
            traits += (Trait.SAME_PROCESS,)
        elif asking.program and any(one.program == asking.program for one in processes):
            traits += (Trait.OWN_COPY,)
    if any(one.state == "stopped" for one in processes):
        traits += (Trait.SUSPENDED,)
    if opener is not None and processes:
        traits += (Trait.INHERITED,)
    if len(processes) > 1:
        traits += (Trait.SHARED,)
    from bindcheck.rules.proxies import proxy_of

    if any(proxy_of(one) for one in processes):
        traits += (Trait.CONTAINER_PROXY,)
    if services:
        traits += (Trait.SERVICE,)
    return Owner(
        kind=OwnerKind.PROCESS if processes else OwnerKind.HIDDEN,
        traits=traits,
        user=processes[0].user if processes else None,
        unit=services[0] if len(services) == 1 else None,
        services=services if len(services) > 1 else (),
        processes=processes,
        opener=opener,
    )


def _kernel_user(row: Socket) -> str:
    if row.local.port in _FILE_SHARING:
        return "file sharing of Windows (SMB, NetBIOS)"
    if row.protocol.type is SocketType.STREAM and row.state is State.LISTEN:
        return "HTTP service of Windows (http.sys)"
    return "driver of Windows"
