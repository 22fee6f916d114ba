"""Who has a socket: the kind of owner and its traits."""

from __future__ import annotations

from bindcheck.model import Owner, Process, Socket
from bindcheck.records import record
from bindcheck.rules.cgroup import container_of, unit_of
from bindcheck.words import OwnerKind, Trait

INITIAL_PID_NAMESPACE = 4026531836  # include/linux/proc_ns.h, PROC_PID_INIT_INO


@record(frozen=True, slots=True, kw_only=True)
class Asking:
    """The program on whose behalf is asked, where there is one."""

    pid: int
    program: tuple[object, ...] | None


def owner_of(
    socket: Socket,
    processes: tuple[Process, ...],
    *,
    everything_readable: bool,
    cgroup: str | None,
    user: str | None,
    asking: Asking | None,
) -> Owner:
    """Describe the owner of a row.

    Args:
        socket: the row; without an inode nobody has it.
        processes: those that have a descriptor of it.
        everything_readable: every process of the initial pid namespace was looked at.
        cgroup: the path in which the socket was made, or that its process is in.
        user: the name of the socket's uid.
        asking: for `own-copy` and `same-process`.
    """
    if not socket.inode:
        return Owner(kind=OwnerKind.NONE)
    if processes:
        kind = OwnerKind.PROCESS
    elif everything_readable:
        kind = OwnerKind.IN_TRANSIT
    else:
        kind = OwnerKind.HIDDEN
    unit, container = unit_of(cgroup), container_of(cgroup)
    traits = _traits(processes, asking)
    if unit:
        traits += (Trait.SERVICE,)
    if container:
        traits += (Trait.CONTAINER,)
    return Owner(
        kind=kind,
        traits=traits,
        uid=socket.uid,
        user=user,
        cgroup=cgroup,
        unit=unit,
        container=container[1] if container else None,
        processes=processes,
    )


def _traits(processes: tuple[Process, ...], asking: Asking | None) -> tuple[Trait, ...]:
    traits: list[Trait] = []
    if asking is not None:
        if any(one.pid == asking.pid for one in processes):
            traits.append(Trait.SAME_PROCESS)
        if asking.program is not None and any(
            one.program == asking.program and one.pid != asking.pid for one in processes
        ):
            traits.append(Trait.OWN_COPY)
    if processes and all(one.state == "stopped" for one in processes):
        traits.append(Trait.SUSPENDED)
    if len(processes) > 1:
        traits.append(Trait.SHARED)
    return tuple(traits)
