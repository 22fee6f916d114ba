"""What helps on macOS, as commands that can be pasted."""

from __future__ import annotations

from bindcheck.model import Remedy
from bindcheck.rules.ownership import is_service_manager
from bindcheck.rules.proxies import proxy_of
from bindcheck.rules.remedies import linux, refusals
from bindcheck.rules.remedies.stopping import as_root, stop_owner
from bindcheck.target import ANY4, ANY6
from bindcheck.words import CauseCode, Direction, Family, Kind, OwnerKind, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Blocker, Diagnosis, Owner, Snapshot

AIRPLAY_PORTS = (5000, 7000)
_AIRPLAY = ("ControlCenter", "ControlCe", "AirPlayXPCHelper")
_LAUNCHD_FOLDERS = ("/Library/LaunchDaemons", "/Library/LaunchAgents")


def is_airplay(name: str | None, port: int) -> bool:
    """Whether it is the AirPlay Receiver, which ControlCenter has since macOS 12."""
    return port in AIRPLAY_PORTS and name in _AIRPLAY


def _stop_holders(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    found: list[Remedy] = []
    for blocker in blockers:
        found += stop_holder(blocker.owner, snapshot, diagnosis.target.port)
    if diagnosis.works_with and any(one.kind is Kind.LISTENER for one in blockers):
        address = diagnosis.target.address
        found.append(
            Remedy(
                action="set-reuse-address",
                text="or set SO_REUSEADDR before bind: then what arrives for "
                f"{address} goes to the new socket, the rest stays where it is",
            )
        )
    elif diagnosis.works_with:
        found.insert(0, _use_reuse_address())
    return list(dict.fromkeys(found))


def stop_holder(owner: Owner, snapshot: Snapshot, port: int) -> list[Remedy]:
    """How to end an owner: what is not a plain program first."""
    names = [one.name for one in owner.processes] or [owner.opener_name or ""]
    if any(is_airplay(name, port) for name in names):
        return [
            Remedy(
                action="switch-off",
                text="switch AirPlay Receiver off: System Settings > General > "
                "AirDrop & Handoff (killed, it comes back)",
            )
        ]
    if Trait.SAME_PROCESS not in owner.traits:
        if any(is_service_manager(one) for one in owner.processes):
            return _remove_job(snapshot)
        proxies = [proxy_of(one, port) for one in owner.processes]
        if any(one is not None and one.engine == "docker" for one in proxies):
            return [
                Remedy(
                    action="stop-what-is-behind",
                    text="it holds the port for a container: find and stop that, not it",
                    command=("docker", "ps", "--filter", f"publish={port}"),
                )
            ]
    if not owner.processes:
        return _ask_root(owner, snapshot)
    return stop_owner(owner, snapshot, port)


def _remove_job(snapshot: Snapshot) -> list[Remedy]:
    return [
        Remedy(
            action="stop-socket-unit",
            text="launchd holds the port for a job: the files of jobs that have sockets",
            command=("grep", "-rl", "SockServiceName", *_LAUNCHD_FOLDERS),
        ),
        Remedy(
            action="stop-socket-unit",
            text="then take the job out with its file",
            command=as_root(snapshot, "launchctl", "bootout", "system", "FILE"),
        ),
    ]


def _ask_root(owner: Owner, snapshot: Snapshot) -> list[Remedy]:
    if owner.kind is not OwnerKind.HIDDEN:
        return []
    if owner.opener is not None and owner.opener_name is None:
        return [
            Remedy(
                action="ask-elsewhere",
                text="the program that had it is gone; if nobody else has it, only a "
                "restart of the system frees the port",
            )
        ]
    if snapshot.facts.euid == 0:
        return []
    text = "root sees which process has it: sudo lsof -nP, or bindcheck with sudo"
    return [Remedy(action="ask-elsewhere", text=text)]


def _use_reuse_address() -> Remedy:
    return Remedy(
        action="set-reuse-address",
        text="set SO_REUSEADDR before bind, on every start (most servers do); on macOS "
        "the old server need not have set it",
        tried=True,
    )


def _lingering(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    lifetime = snapshot.facts.segment_lifetime_ms
    about = f" at most {2 * lifetime / 1000:.0f} s" if lifetime else " half a minute"
    wait = Remedy(action="wait", text=f"now: wait{about} (2 x net.inet.tcp.msl)")
    if diagnosis.works_with:
        return [_use_reuse_address()]
    return [wait]


def _connection(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    found = [_use_reuse_address()] if diagnosis.works_with else []
    if all(one.direction is Direction.OUTGOING for one in blockers):
        text = "the client closes it when it is done; it is no server to stop"
        return [*found, Remedy(action="wait-for-client", text=text)]
    return found + _stop_holders(blockers, diagnosis, snapshot)[len(found) :]


def _outgoing(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    found = [_use_reuse_address()] if diagnosis.works_with else []
    text = "the client closes it when it is done; it is no server, so there is nothing to stop"
    found.append(Remedy(action="wait-for-client", text=text))
    if snapshot.facts.ephemeral_range:
        low, high = snapshot.facts.ephemeral_range
        if low <= diagnosis.target.port <= high:
            text = (
                f"so that it does not come back: use a port outside of {low} to {high}"
            )
            found.append(Remedy(action="use-other-port", text=text))
    return found


def _privileged(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    target = diagnosis.target
    wildcard = "0.0.0.0" if target.family is Family.INET else "[::]"  # noqa: S104
    taken = any(
        row.local.port == target.port and row.packed in (ANY4, ANY6)
        for row in snapshot.sockets
    )
    found = []
    if not taken:
        free = Remedy(
            action="use-wildcard-address",
            text=f"bind {wildcard}:{target.port}: since macOS 10.14 that needs no root; "
            f"then refuse what did not arrive for {target.address}",
        )
        found.append(free)
    for trial in diagnosis.trials:
        other = trial.changed.get("port")
        if other and trial.ok:
            text = f"another port: {other} (tried: bind works)"
            found.append(Remedy(action="use-other-port", text=text, tried=True))
    text = (
        "or start it as root, by launchd: with a Sockets key in its job it need not be"
    )
    return [*found, Remedy(action="run-as-root", text=text)]


def _address(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    target = diagnosis.target
    if target.packed[:1] != b"\x7f":
        return refusals.REMEDIES[CauseCode.ADDRESS_NOT_LOCAL](
            blockers, diagnosis, snapshot
        )[:1]  # type: ignore[return-value]
    command = as_root(snapshot, "ifconfig", "lo0", "alias", target.address or "", "up")
    return [
        Remedy(
            action="add-loopback-alias",
            text="add it, until the next start of the system",
            command=command,
        ),
        Remedy(action="use-local-address", text="or use 127.0.0.1 with another port"),
    ]


def _restricted(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    text = "use another port: no setting and no privilege gives this one away"
    return [Remedy(action="use-other-port", text=text)]


def _sandbox(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    text = (
        "if it is a program in the App Sandbox: give it the entitlement "
        "com.apple.security.network.server and sign it again"
    )
    return [Remedy(action="change-sandbox", text=text)]


def _ephemeral(_: Sequence[Blocker], __: Diagnosis, snapshot: Snapshot) -> list[Remedy]:
    low, high = snapshot.facts.ephemeral_range or (49152, 65535)
    return [
        Remedy(
            action="use-other-address",
            text=f"bind a fixed port outside of {low} to {high}, or another address",
        ),
        Remedy(
            action="widen-port-range",
            text="a wider range, until the next start of the system",
            command=as_root(snapshot, "sysctl", "net.inet.ip.portrange.first=32768"),
        ),
    ]


def _unseen(_: Sequence[Blocker], __: Diagnosis, snapshot: Snapshot) -> list[Remedy]:
    text = (
        "it may be a flow of Network.framework, which has no socket in the kernel: "
        "look for it with"
    )
    command = as_root(snapshot, "lsof", "-nP", "-i")
    return [Remedy(action="ask-elsewhere", text=text, command=command)]


def _descriptors(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    text = "close files, or raise the limit: ulimit -n, and launchctl limit maxfiles"
    return [Remedy(action="raise-descriptor-limit", text=text)]


def _family(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    return [Remedy(action="use-ipv4", text="bind an IPv4 address")]


_SHARED = (
    *(CauseCode.SCOPE_MISSING, CauseCode.SCOPE_UNKNOWN, CauseCode.NAME_NOT_RESOLVED),
    *(CauseCode.INVALID_ARGUMENT, CauseCode.OPTION_CONFLICT),
    CauseCode.OPTION_NOT_PERMITTED,
)
REMEDIES: dict[
    CauseCode, Callable[[Sequence[Blocker], Diagnosis, Snapshot], Sequence[Remedy]]
] = {
    **{code: linux.REMEDIES[code] for code in _SHARED},
    CauseCode.LISTENER: _stop_holders,
    CauseCode.BOUND: _stop_holders,
    CauseCode.DATAGRAM: _stop_holders,
    CauseCode.OUTGOING_CONNECTION: _outgoing,
    CauseCode.ACCEPTED_CONNECTION: _connection,
    CauseCode.CLOSE_WAIT: _connection,
    CauseCode.CLOSING_CONNECTION: _lingering,
    CauseCode.TIME_WAIT: _lingering,
    CauseCode.PRIVILEGED_PORT: _privileged,
    CauseCode.ADDRESS_NOT_LOCAL: _address,
    CauseCode.RESERVED_BY_SYSTEM: _restricted,
    CauseCode.SANDBOX: _sandbox,
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: _ephemeral,
    CauseCode.UNSEEN_BLOCKER: _unseen,
    CauseCode.DESCRIPTOR_LIMIT: _descriptors,
    CauseCode.FAMILY_DISABLED: _family,
}
