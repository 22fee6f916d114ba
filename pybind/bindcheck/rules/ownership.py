"""Who has a socket: the kind of owner and its traits."""

from __future__ import annotations

from bindcheck.model import Owner, Process, Socket
from bindcheck.records import record
from bindcheck.rules.cgroup import (
    container_of,
    socket_unit_of,
    unit_of,
    user_of,
    user_unit_of,
)
from bindcheck.words import OwnerKind, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from bindcheck.model import KernelPort, Notice

INITIAL_PID_NAMESPACE = 4026531836  # include/linux/proc_ns.h, PROC_PID_INIT_INO
INITIAL_USER_NAMESPACE = 4026531837  # PROC_USER_INIT_INO
_PF_GOING = 0x4 | 0x200  # include/linux/sched.h: PF_EXITING, PF_DUMPCORE


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
    kernel_ports: tuple[KernelPort, ...] = (),
    socket_units: tuple[str, ...] = (),
    unmapped_uid: int | None = None,
    connected: AbstractSet[int] = frozenset(),
) -> Owner:
    """Describe the owner of a row.

    Args:
        socket: the row; without an inode nobody has it.
        processes: those that have a descriptor of it.
        everything_readable: every process of the initial pid namespace was looked at.
        cgroup: the path in which the socket was made, or that its process is in.
        user: the name of the socket's uid.
        asking: for `own-copy` and `same-process`.
        kernel_ports: what the kernel itself uses, for rows that nobody has.
        socket_units: the .socket units whose files name the port.
        unmapped_uid: what the kernel says instead of users that have no id here.
        connected: the pids that have connections of the port.
    """
    if not socket.inode:
        return Owner(kind=OwnerKind.NONE)
    # Not needed for a port that is free: imported here.
    from bindcheck.rules.kernel_sockets import kernel_user
    from bindcheck.rules.proxies import proxy_of
    from bindcheck.rules.supervisors import supervisor_of

    unit, container = unit_of(cgroup), container_of(cgroup)
    if unit is None and socket.uid == user_of(cgroup):
        unit = user_unit_of(cgroup)
    kernel = None
    if not processes and not unit and not container:
        kernel = kernel_user(socket, kernel_ports)
    if kernel is not None and kernel.port is None and not everything_readable:
        kernel = None  # that there is such a device says nothing of this port
    processes = asking_first(processes, asking)
    traits = _traits(socket, processes, asking, connected)
    if _is_activated(processes, cgroup):
        traits += (Trait.SOCKET_ACTIVATION,)
    if any(proxy_of(one) for one in processes):
        traits += (Trait.CONTAINER_PROXY,)
    if unit:
        traits += (Trait.SERVICE,)
    if container:
        traits += (Trait.CONTAINER,)
    if any(supervisor_of(one, processes) for one in processes):
        traits += (Trait.SUPERVISED,)
    if any(one.other_pid_namespace for one in processes):
        traits += (Trait.OTHER_PID_NAMESPACE,)
    own_units = tuple(one for one in [socket_unit_of(cgroup)] if one)
    told = socket.uid is not None and socket.uid != unmapped_uid
    return Owner(
        kind=_kind(processes, kernel, everything_readable=everything_readable),
        traits=traits,
        uid=socket.uid if told else None,
        user=user if told else None,
        cgroup=cgroup,
        unit=unit,
        container=container[1] if container else None,
        processes=processes,
        kernel=kernel.user if kernel else None,
        socket_units=own_units or socket_units,
    )


def asking_first(
    processes: tuple[Process, ...], asking: Asking | None
) -> tuple[Process, ...]:
    """Put the process that asks first: the first one is named."""
    if asking is None:
        return processes
    return tuple(sorted(processes, key=lambda one: one.pid != asking.pid))


def _kind(
    processes: tuple[Process, ...],
    kernel: KernelPort | None,
    *,
    everything_readable: bool,
) -> OwnerKind:
    if processes:
        return OwnerKind.PROCESS
    if not everything_readable:
        return OwnerKind.HIDDEN  # one of those that could not be read may have it
    if kernel is not None and kernel.port is not None:
        return OwnerKind.KERNEL
    return OwnerKind.IN_TRANSIT


def may_have_others(owner: Owner, limits: Sequence[Notice]) -> bool:
    """Whether programs that could not be read may have the socket as well.

    One whose user did not make it got it from somebody: a master of another user.
    """
    if not owner.processes or owner.uid is None:
        return False
    given = all(one.uid not in (None, owner.uid) for one in owner.processes)
    return given and any(one.code == "processes-unreadable" for one in limits)


def is_service_manager(process: Process) -> bool:
    """Whether it is systemd, of the system or of a user, or macOS' launchd."""
    if process.name == "launchd":
        return process.pid == 1
    if process.name != "systemd":
        return False
    return process.pid == 1 or "--user" in process.command


def given_descriptors(process: Process) -> range:
    """The descriptors that a process was given by socket activation (sd_listen_fds)."""
    told = dict(process.environment)
    count = told.get("LISTEN_FDS", "")
    if told.get("LISTEN_PID") != str(process.inner_pid or process.pid):
        return range(0)
    return range(3, 3 + int(count)) if count.isdecimal() else range(0)


def listens_on(unit: str, kind: str, port: int) -> bool:
    """Whether the text of a .socket unit has a line ListenStream= of that port."""
    for line in unit.splitlines():
        name, _, value = line.partition("=")
        place = value.strip().rpartition(":")[2]
        if name.strip() == f"Listen{kind}" and place == str(port):
            return True
    return False


def _is_activated(processes: tuple[Process, ...], cgroup: str | None) -> bool:
    if not processes:
        # systemd makes the sockets of a unit itself, as pid 1 or for its cgroup.
        return cgroup == "/init.scope" or socket_unit_of(cgroup) is not None
    from bindcheck.rules.proxies import program_name

    return any(
        is_service_manager(one)
        or program_name(one) == "systemd-socket-activate"
        or not set(one.fds).isdisjoint(given_descriptors(one))
        for one in processes
    )


def is_exiting(process: Process) -> bool:
    """Whether a process is being torn down and about to close the socket.

    Not a leader that has exited while a thread of it runs on with the socket.
    """
    if process.thread is not None:
        return False
    return process.state in ("zombie", "dead") or bool(process.flags & _PF_GOING)


def _traits(
    socket: Socket,
    processes: tuple[Process, ...],
    asking: Asking | None,
    connected: AbstractSet[int],
) -> tuple[Trait, ...]:
    from bindcheck.rules.inheritance import is_inherited

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
    if processes and all(is_exiting(one) for one in processes):
        traits.append(Trait.EXITING)
    if is_inherited(socket, processes, connected):
        traits.append(Trait.INHERITED)
    if len(processes) > 1:
        traits.append(Trait.SHARED)
    return tuple(traits)
