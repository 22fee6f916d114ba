"""What helps on Linux, as commands that can be pasted.

Never offered: to kill pid 1, a daemon that others depend on, a proxy of containers, or
a program that is only a client; nor an option that a trial refuted.
"""

from __future__ import annotations

from bindcheck.model import (
    Blocker,
    CauseCode,
    Diagnosis,
    Direction,
    Family,
    Process,
    Remedy,
    SocketType,
    Trait,
)
from bindcheck.rules.cgroup import container_of
from bindcheck.sanitize import is_plain
from bindcheck.target import LOOPBACK6

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Cause, Owner, Snapshot

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
_OPTIONS = {
    "reuse_address": "SO_REUSEADDR",
    "reuse_port": "SO_REUSEPORT",
    "v6only": "IPV6_V6ONLY",
}


def remedies(
    cause: Cause,
    blockers: Sequence[Blocker],
    diagnosis: Diagnosis,
    snapshot: Snapshot,
) -> tuple[Remedy, ...]:
    """Choose the remedies of a cause, the best first."""
    found = list(_REMEDIES.get(cause.code, _none)(blockers, diagnosis, snapshot))
    options = _tried_options(cause, diagnosis)
    # Where an option is the answer it comes before stopping somebody.
    both = options + found if diagnosis.works_with else found + options
    return tuple(dict.fromkeys(both))


def option_name(name: str) -> str:
    """The socket option behind a keyword."""
    return _OPTIONS.get(name, name)


def tried(diagnosis: Diagnosis, name: str) -> bool | None:
    """What the trial of an option said; None when there was none."""
    for trial in diagnosis.trials:
        if dict(trial.changed) == {name: True}:
            return trial.ok
    return None


def _none(*_: object) -> tuple[Remedy, ...]:
    return ()


def _sudo(snapshot: Snapshot, *command: str) -> tuple[str, ...]:
    return command if snapshot.facts.euid == 0 else ("sudo", *command)


def _stop_holders(
    blockers: Sequence[Blocker], _: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    found: list[Remedy] = []
    for blocker in blockers:
        found += stop_owner(blocker.owner, snapshot)
    return list(dict.fromkeys(found))


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
                command=_sudo(snapshot, engine, "stop", identifier[:12]),
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
                command=_sudo(snapshot, "systemctl", "stop", "--", owner.unit)
                if owner.unit.startswith("-")
                else _sudo(snapshot, "systemctl", "stop", owner.unit),
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
    return _sudo(snapshot, *command)


def _time_wait(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, _: Snapshot
) -> list[Remedy]:
    after = max(one.release.after_ms or 0 for one in blockers)
    wait = Remedy(
        action="wait",
        text=f"now: wait about {after / 1000:.0f} s (the kernel may take 2 s longer)",
    )
    if diagnosis.works_with:
        return []
    if diagnosis.attempt.options.reuse_address:
        return [wait]
    return [wait, _set_reuse_address()]


def _set_reuse_address() -> Remedy:
    return Remedy(
        action="set-reuse-address",
        text="from now on: set SO_REUSEADDR before bind, on every start",
    )


def _closing(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    if diagnosis.works_with:
        return []
    held = [one for one in blockers if one.owner.processes]
    if held:
        return _stop_holders(held, diagnosis, snapshot)
    after = max(one.release.after_ms or 0 for one in blockers)
    about = f" about {after / 1000:.0f} s" if after else ""
    wait = Remedy(
        action="wait",
        text=f"now: wait{about}; the kernel gives such connections up in time",
    )
    if diagnosis.attempt.options.reuse_address:
        return [wait]
    return [wait, _set_reuse_address()]


def _outgoing(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    port, ephemeral = diagnosis.target.port, snapshot.facts.ephemeral_range
    found = [
        Remedy(
            action="wait-for-client",
            text="the client closes it when it is done; it is no server, "
            "so there is nothing to stop",
        )
    ]
    if ephemeral and ephemeral[0] <= port <= ephemeral[1]:
        found.append(
            Remedy(
                action="use-other-port",
                text="so that it does not come back: use a port outside of "
                f"{ephemeral[0]} to {ephemeral[1]}, or add {port} to "
                "net.ipv4.ip_local_reserved_ports",
            )
        )
    return found


def _datagram(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    if all(one.socket.remote is not None for one in blockers):
        return [
            Remedy(
                action="wait-for-client",
                text="it is connected to one place, as clients are: it closes when it "
                "is done; there may be nothing to stop",
            )
        ]
    return _stop_holders(blockers, diagnosis, snapshot)


def _connection(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    if all(one.direction is Direction.OUTGOING for one in blockers):
        return [
            Remedy(
                action="wait-for-client",
                text="it is a client that does not close a connection whose other end "
                "is gone: have it close, or use another port",
            )
        ]
    found = _stop_holders(blockers, diagnosis, snapshot)
    if not diagnosis.works_with and not diagnosis.attempt.options.reuse_address:
        found.append(_set_reuse_address())
    return found


def _privileged(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    port = diagnosis.target.port
    found = []
    for trial in diagnosis.trials:
        other = trial.changed.get("port")
        if other is not None and trial.ok:
            found.append(
                Remedy(
                    action="use-other-port",
                    text=f"another port: {other} (tried: bind works)",
                    tried=True,
                )
            )
    if snapshot.facts.owns_network_namespace is False:
        return found
    return [
        *found,
        Remedy(
            action="grant-capability",
            text="in a systemd unit: AmbientCapabilities=CAP_NET_BIND_SERVICE",
        ),
        Remedy(
            action="lower-port-start",
            text="for every user:",
            command=_sudo(
                snapshot, "sysctl", f"net.ipv4.ip_unprivileged_port_start={port}"
            ),
        ),
    ]


def _address(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    packed = diagnosis.target.packed
    loopback = packed[:1] == b"\x7f" or packed == LOOPBACK6
    if loopback and snapshot.facts.loopback_up is False:
        command = _sudo(snapshot, "ip", "link", "set", "lo", "up")
        return [Remedy(action="raise-loopback", text="raise it", command=command)]
    wildcard = "0.0.0.0" if diagnosis.target.family is Family.INET else "::"  # noqa: S104
    return [
        Remedy(
            action="use-local-address",
            text="use one of these addresses, or "
            f"{wildcard} for all of them; an address that a router or cloud translates "
            "to this machine cannot be bound here",
        )
    ]


def _scope(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    target = diagnosis.target
    names = dict.fromkeys(
        one.interface for one in snapshot.addresses if one.packed == target.packed
    )
    name = next(iter(names), "INTERFACE")
    return [
        Remedy(
            action="add-scope",
            text=f"name the interface: [{target.address}%{name}]:{target.port}",
        )
    ]


def _descriptors(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    return [
        Remedy(
            action="raise-descriptor-limit",
            text="close files, or raise the limit (ulimit -n; LimitNOFILE= in a unit)",
        )
    ]


def _ephemeral(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    return [
        Remedy(
            action="use-other-address",
            text="bind a fixed port outside of the range, or another address; or widen "
            "net.ipv4.ip_local_port_range",
        )
    ]


def _family(_: Sequence[Blocker], __: Diagnosis, snapshot: Snapshot) -> list[Remedy]:
    found = [Remedy(action="use-ipv4", text="bind an IPv4 address")]
    names = {
        "all": snapshot.facts.ipv6_disabled,
        "lo": snapshot.facts.ipv6_disabled_loopback,
    }
    for name, off in names.items():
        if off:
            command = ("sysctl", f"net.ipv6.conf.{name}.disable_ipv6=0")
            found.append(
                Remedy(
                    action="enable-ipv6",
                    text="or switch IPv6 on",
                    command=_sudo(snapshot, *command),
                )
            )
            break
    return found


def _name(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    return [
        Remedy(
            action="check-name",
            text="check the spelling, /etc/hosts and the name server; or use an address",
        )
    ]


def _tried_options(cause: Cause, diagnosis: Diagnosis) -> list[Remedy]:
    """Options whose trial worked. SO_REUSEPORT is none: it would share the traffic."""
    if not cause.blockers:
        return []
    found = []
    if diagnosis.works_with:
        stream = diagnosis.target.protocol.type is SocketType.STREAM
        found.append(
            Remedy(
                action="set-reuse-address",
                text="set SO_REUSEADDR before bind, on every start (most servers do)"
                + (
                    "; no need to wait"
                    if stream and cause.code is CauseCode.TIME_WAIT
                    else ""
                ),
                tried=True,
            )
        )
    if tried(diagnosis, "v6only"):
        found.append(
            Remedy(
                action="set-v6only",
                text="set IPV6_V6ONLY before bind, for IPv6 alone (tried: bind works)",
                tried=True,
            )
        )
    return found


_REMEDIES: dict[
    CauseCode, Callable[[Sequence[Blocker], Diagnosis, Snapshot], Sequence[Remedy]]
] = {
    CauseCode.LISTENER: _stop_holders,
    CauseCode.BOUND: _stop_holders,
    CauseCode.DATAGRAM: _datagram,
    CauseCode.OUTGOING_CONNECTION: _outgoing,
    CauseCode.ACCEPTED_CONNECTION: _connection,
    CauseCode.CLOSE_WAIT: _connection,
    CauseCode.CLOSING_CONNECTION: _closing,
    CauseCode.TIME_WAIT: _time_wait,
    CauseCode.PRIVILEGED_PORT: _privileged,
    CauseCode.ADDRESS_NOT_LOCAL: _address,
    CauseCode.DESCRIPTOR_LIMIT: _descriptors,
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: _ephemeral,
    CauseCode.FAMILY_DISABLED: _family,
    CauseCode.SCOPE_MISSING: _scope,
    CauseCode.NAME_NOT_RESOLVED: _name,
}
