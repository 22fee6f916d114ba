"""How to stop who has a socket, by the manager that it has.

Never offered: to kill pid 1, a daemon that others depend on, or a proxy of containers.
"""

from __future__ import annotations

from bindcheck.model import Remedy
from bindcheck.rules.cgroup import container_of, user_of
from bindcheck.rules.ownership import INITIAL_USER_NAMESPACE, is_service_manager
from bindcheck.sanitize import is_plain, sanitize
from bindcheck.words import OwnerKind, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.model import Owner, Process, Snapshot
    from bindcheck.rules.proxies import Proxy

# Others depend on them: stopping them stops more than was meant.
_DAEMONS = frozenset(
    [
        *("systemd", "systemd-resolve", "systemd-network", "init", "supervisord"),
        *("dbus-daemon", "dbus-broker", "rpcbind", "kubelet", "crio", "NetworkManager"),
        *("Xorg", "Xwayland", "tmux: server", "screen", "inetd", "xinetd", "libvirtd"),
        *("incusd", "lxd", "aardvark-dns", "containerd-shim", "systemd-machine"),
        *("systemd-journal",),
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
        "dbus-broker.service",
        "gnome-terminal-server.service",
    ]
)
_MANY = 20


def stop_owner(
    owner: Owner, snapshot: Snapshot, port: int | None = None
) -> list[Remedy]:
    """How to stop an owner, by the manager that it has."""
    if snapshot.foreign_pids:
        return [
            Remedy(
                action="stop-from-outside",
                text="these pids are of another pid namespace: stop it from there",
            )
        ]
    if Trait.SAME_PROCESS in owner.traits:
        text = (
            "this process has the port already: close that socket, or use it instead of "
            "binding again"
        )
        if Trait.SHARED in owner.traits:
            text += "; the other processes that share it must close it as well"
        return [Remedy(action="close-own-socket", text=text)]
    return (
        _ownerless(owner)
        or _stop_container(owner, snapshot)
        or _stop_socket_unit(owner, snapshot)
        or _guarded(owner, snapshot, port)
        or _stop_unit(owner, snapshot)
        or _stop_supervised(owner, snapshot)
        or _stop_processes(owner, snapshot)
    )


def _ownerless(owner: Owner) -> list[Remedy]:
    """Nobody to stop: the kernel's own sockets, and those on their way."""
    if owner.kernel and not owner.processes:
        certain = owner.kind is OwnerKind.KERNEL
        return [
            Remedy(
                action="stop-kernel-user",
                text=f"{'' if certain else 'if so: '}no process can be stopped for the "
                f"{sanitize(owner.kernel)}; remove or reconfigure that, or take "
                "another port",
            )
        ]
    if owner.kind is OwnerKind.IN_TRANSIT:
        return [
            Remedy(
                action="wait-for-transfer",
                text="no process can be stopped for it: if it is being passed over a "
                "unix socket, ending the programs at both ends of that closes it",
            )
        ]
    return []


def _stop_container(owner: Owner, snapshot: Snapshot) -> list[Remedy]:
    container = container_of(owner.cgroup)
    if container is None:
        return []
    engine, identifier = container
    user = user_of(owner.cgroup)
    if user not in (None, snapshot.facts.euid):
        text = f"stop the {engine} container {identifier[:12]} as its user, uid {user}"
        return [Remedy(action="stop-container", text=text)]
    command: tuple[str, ...] = (engine, "stop", identifier[:12])
    text = "stop the container"
    if engine == "lxc-stop":
        command = (engine, "-n", identifier)
        text = "stop the container (with LXD or Incus by their own commands)"
    if user is None:
        command = as_root(snapshot, *command)
    return [Remedy(action="stop-container", text=text, command=command)]


def _stop_socket_unit(owner: Owner, snapshot: Snapshot) -> list[Remedy]:
    """The socket belongs to a .socket unit, which would start the service again."""
    managers = [one for one in owner.processes if is_service_manager(one)]
    by_unit = Trait.SOCKET_ACTIVATION in owner.traits and owner.unit is not None
    if not (managers or by_unit or owner.socket_units):
        if Trait.SOCKET_ACTIVATION in owner.traits and not owner.processes:
            return [_find_socket_unit(())]
        return []
    user = [one for one in managers if one.pid != 1]
    scope: tuple[str, ...] = ()
    if user or user_of(owner.cgroup) is not None:
        scope = ("--user",)
    units = [one for one in owner.socket_units if is_plain(one)]
    if len(units) == 1 and not units[0].startswith("-") and not scope:
        return [
            Remedy(
                action="stop-socket-unit",
                text="systemd holds the port for this unit: stop it, not the service",
                command=as_root(snapshot, "systemctl", "stop", units[0]),
            )
        ]
    return [_find_socket_unit(scope)]


def _find_socket_unit(scope: tuple[str, ...]) -> Remedy:
    return Remedy(
        action="stop-socket-unit",
        text="systemd holds the port for a .socket unit: find it, then stop that, "
        "not the service",
        command=("systemctl", *scope, "list-sockets", "--all"),
    )


def _guarded(owner: Owner, snapshot: Snapshot, port: int | None) -> list[Remedy]:
    """What to do where the holder itself must not be stopped."""
    if any(one.pid == 1 for one in owner.processes):
        return [
            Remedy(
                action="stop-container",
                text="pid 1 holds the port: stop the container or machine whose "
                "first program it is",
            )
        ]
    from bindcheck.rules.proxies import proxy_of

    for one in owner.processes:
        proxy = proxy_of(one, port)
        if proxy is not None:
            return [_stop_behind(proxy, one, snapshot, port)]
    names = [one.name for one in owner.processes if one.name in _DAEMONS]
    if owner.unit in _SHARED_UNITS:
        names.append(owner.unit or "")
    return [_behind(names[0])] if names else []


def _behind(name: str) -> Remedy:
    return Remedy(
        action="stop-what-is-behind",
        text=f"{name} holds the port for somebody else: stop the container, session "
        "or socket unit behind it, not it",
    )


def _stop_behind(
    proxy: Proxy, process: Process, snapshot: Snapshot, port: int | None
) -> Remedy:
    if proxy.engine is None:
        text = f"{proxy.name} forwards the port: end that session where it was started"
        if proxy.name.startswith("sshd"):
            text = "sshd holds the port for a session: end that, not sshd"
        return Remedy(action="stop-what-is-behind", text=text)
    if not proxy.engine:
        return _behind(proxy.name)
    find: tuple[str, ...] = (proxy.engine, "ps")
    if proxy.engine == "docker" and port:
        find = ("docker", "ps", "--filter", f"publish={port}")
    if process.uid != snapshot.facts.euid:
        find = as_root(snapshot, *find)
    return Remedy(
        action="stop-what-is-behind",
        text=f"{proxy.name} holds the port for a container: find and stop that, not it",
        command=find,
    )


def _stop_unit(owner: Owner, snapshot: Snapshot) -> list[Remedy]:
    if owner.unit is None or not is_plain(owner.unit):
        return []
    command = ["systemctl", "stop"]
    user = user_of(owner.cgroup)
    if user is not None:
        command.insert(1, "--user")
    if owner.unit.startswith("-"):
        command.append("--")
    command.append(owner.unit)
    text = "stop the service (killed, it may be started again)"
    if user is None:
        return [
            Remedy(action="stop-unit", text=text, command=as_root(snapshot, *command))
        ]
    if user != snapshot.facts.euid:
        command.insert(2, f"--machine={user}@")
    return [
        Remedy(
            action="stop-unit",
            text=text,
            command=tuple(command)
            if user == snapshot.facts.euid
            else as_root(snapshot, *command),
        )
    ]


def _stop_supervised(owner: Owner, snapshot: Snapshot) -> list[Remedy]:
    from bindcheck.rules.supervisors import supervisor_of

    for one in owner.processes:
        supervisor = supervisor_of(one, owner.processes)
        if supervisor is None:
            continue
        again = f"(killed, {supervisor.name} may start it again)"
        if supervisor.stop and all(is_plain(word) for word in supervisor.stop):
            return [
                Remedy(
                    action="stop-supervised",
                    text=f"stop it there {again}",
                    command=supervisor.stop,
                )
            ]
        if supervisor.status:
            return [
                Remedy(
                    action="stop-supervised",
                    text=f"find its name there, then stop it there {again}",
                    command=supervisor.status,
                )
            ]
        if supervisor.pid != 1:
            return [
                Remedy(
                    action="stop-supervisor",
                    text=f"stop {supervisor.name} itself (it may start the program "
                    "again): Ctrl-C in its terminal, or",
                    command=_kill_pid(supervisor.pid, owner, snapshot),
                )
            ]
    return []


def _stop_processes(owner: Owner, snapshot: Snapshot) -> list[Remedy]:
    if not owner.processes:
        return []
    if Trait.EXITING in owner.traits:
        return [
            Remedy(
                action="wait-for-exit",
                text="it is ending already: wait a moment; it closes the socket then",
            )
        ]
    found: list[Remedy] = []
    first = _first_of_a_namespace(owner.processes, snapshot)
    if first is not None:
        return [first]
    masters = roots(owner.processes)
    if len(masters) > _MANY:
        text = f"stop the {len(masters)} programs that share the socket"
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
            text="or stop it, which it sees once it is continued" if found else "",
            command=_kill(masters, snapshot),
        )
    )
    if Trait.SUSPENDED in owner.traits:
        # A stopped process leaves SIGTERM pending (signal(7)).
        found.append(
            Remedy(
                action="stop-holder",
                text="",
                command=_kill(owner.processes[:1], snapshot, "-CONT"),
            )
        )
    children = [one for one in owner.processes if one not in masters]
    if 0 < len(children) <= _MANY:
        found.append(
            Remedy(
                action="stop-children",
                text="if its children keep the port then",
                command=_kill(children, snapshot),
            )
        )
    stopped = [one for one in owner.processes if one.state == "stopped"]
    if stopped and Trait.SUSPENDED not in owner.traits:
        found.append(
            Remedy(
                action="stop-holder",
                text="what is suspended of them ends only when it is continued",
                command=_kill(stopped, snapshot, "-CONT"),
            )
        )
    if Trait.INHERITED in owner.traits:
        found.append(
            Remedy(
                action="close-on-exec",
                text="so that it does not come back: close-on-exec sockets; in Python "
                "subprocess(close_fds=True)",
            )
        )
    return found


def _first_of_a_namespace(
    processes: Sequence[Process], snapshot: Snapshot
) -> Remedy | None:
    """The pid 1 of another pid namespace hears only what it has a handler for.

    pid_namespaces(7): of signals from outside SIGKILL and SIGSTOP alone always work.
    """
    firsts = [one for one in processes if one.inner_pid == 1]
    if not firsts:
        return None
    return Remedy(
        action="stop-container",
        text="it is pid 1 of a container or pid namespace: stop that with its own "
        "command; if there is none, all of it ends with",
        command=_kill(firsts, snapshot, "-KILL"),
    )


def roots(processes: Sequence[Process]) -> list[Process]:
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


def _kill_pid(pid: int, owner: Owner, snapshot: Snapshot) -> tuple[str, ...]:
    own = all(one.uid == snapshot.facts.euid for one in owner.processes)
    return ("kill", str(pid)) if own else as_root(snapshot, "kill", str(pid))


def is_confined_root(snapshot: Snapshot) -> bool:
    """Whether the caller is root of a user namespace only."""
    facts = snapshot.facts
    return facts.euid == 0 and facts.user_namespace not in (
        None,
        INITIAL_USER_NAMESPACE,
    )


def as_root(snapshot: Snapshot, *command: str) -> tuple[str, ...]:
    """Put sudo before a command that needs root, where the caller is not."""
    return command if snapshot.facts.euid == 0 else ("sudo", *command)
