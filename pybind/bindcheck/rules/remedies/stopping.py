"""How to stop who has a socket, by the manager that it has.

Never offered: to kill pid 1, a daemon that others depend on, or a proxy of containers.
"""

from __future__ import annotations

from bindcheck.model import Remedy
from bindcheck.rules.cgroup import container_of
from bindcheck.sanitize import is_plain
from bindcheck.words import Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.model import Owner, Process, Snapshot

# They hold ports for somebody else; stopping them stops more than was meant.
_PROXIES = frozenset(
    [
        "docker-proxy",
        "dockerd",
        "containerd",
        "rootlessport",
        "rootlesskit",
        "slirp4netns",
        "pasta",
        "systemd",
        "systemd-resolve",
        "sshd",
    ]
)


# Units whose stop would take more with it than the port.
_SHARED_UNITS = frozenset(
    [
        "docker.service",
        "containerd.service",
        "podman.service",
        "ssh.service",
        "sshd.service",
        "systemd-resolved.service",
        "systemd-networkd.service",
        "dbus.service",
    ]
)


_MANY = 20


def stop_owner(owner: Owner, snapshot: Snapshot) -> list[Remedy]:
    """How to stop an owner, by the manager that it has."""
    container = container_of(owner.cgroup)
    if snapshot.foreign_pids:
        return [
            Remedy(
                action="stop-from-outside",
                text="these pids are of another pid namespace: stop it from there",
            )
        ]
    if Trait.SAME_PROCESS in owner.traits:
        return [
            Remedy(
                action="close-own-socket",
                text="this process has the port already: close that socket, "
                "or use it instead of binding again",
            )
        ]
    if container is not None:
        engine, identifier = container
        return [
            Remedy(
                action="stop-container",
                text="stop the container",
                command=as_root(snapshot, engine, "stop", identifier[:12]),
            )
        ]
    guarded = _guarded(owner)
    if guarded:
        return guarded
    if owner.unit is not None and is_plain(owner.unit):
        return [
            Remedy(
                action="stop-unit",
                text="stop the service (killed, it may be started again)",
                command=as_root(snapshot, "systemctl", "stop", "--", owner.unit)
                if owner.unit.startswith("-")
                else as_root(snapshot, "systemctl", "stop", owner.unit),
            )
        ]
    return _stop_processes(owner, snapshot)


def _guarded(owner: Owner) -> list[Remedy]:
    """What to do where the holder itself must not be stopped."""
    for one in owner.processes:
        if one.pid == 1 and one.name == "systemd":
            return [
                Remedy(
                    action="stop-socket-unit",
                    text="pid 1 holds the port, as systemd does for .socket units: "
                    "find the unit, then stop it",
                    command=("systemctl", "list-sockets", "--all"),
                )
            ]
        if one.pid == 1:
            return [
                Remedy(
                    action="stop-container",
                    text="pid 1 holds the port: stop the container or machine whose "
                    "first program it is",
                )
            ]
    names = [one.name for one in owner.processes if one.name in _PROXIES]
    if owner.unit in _SHARED_UNITS:
        names.append(owner.unit or "")
    if not names:
        return []
    return [
        Remedy(
            action="stop-what-is-behind",
            text=f"{names[0]} holds the port for somebody else: stop the "
            "container, session or socket unit behind it, not it",
        )
    ]


def _stop_processes(owner: Owner, snapshot: Snapshot) -> list[Remedy]:
    if not owner.processes:
        return []
    found: list[Remedy] = []
    roots = _roots(owner.processes)
    if len(roots) > _MANY:
        text = f"stop the {len(roots)} programs that share the socket"
        return [Remedy(action="stop-holder", text=text)]
    if Trait.SUSPENDED in owner.traits:
        found.append(
            Remedy(
                action="continue-holder",
                text="it is suspended (Ctrl-Z): continue it with fg in its terminal, or",
                command=_kill(owner.processes[:1], snapshot, "-CONT"),
            )
        )
    found.append(
        Remedy(
            action="stop-holder",
            text="or stop it" if found else "",
            command=_kill(roots, snapshot),
        )
    )
    children = [one for one in owner.processes if one not in roots]
    if 0 < len(children) <= _MANY:
        found.append(
            Remedy(
                action="stop-children",
                text="if its children keep the port then",
                command=_kill(children, snapshot),
            )
        )
    return found


def _roots(processes: Sequence[Process]) -> list[Process]:
    """The processes whose parents do not share the socket: the masters."""
    pids = {one.pid for one in processes}
    return [one for one in processes if one.parent not in pids]


def _kill(
    processes: Sequence[Process], snapshot: Snapshot, *flags: str
) -> tuple[str, ...]:
    command = ("kill", *flags, *(str(one.pid) for one in processes))
    if all(one.uid == snapshot.facts.euid for one in processes):
        return command
    return as_root(snapshot, *command)


def as_root(snapshot: Snapshot, *command: str) -> tuple[str, ...]:
    """Put sudo before a command that needs root, where the caller is not."""
    return command if snapshot.facts.euid == 0 else ("sudo", *command)
