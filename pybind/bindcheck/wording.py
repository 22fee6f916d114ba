"""The sentences: what a cause is called and what backs it.

Chooses words for what the rules decided; decides nothing. Foreign texts are escaped
here, so that every reader of a report is safe.
"""

from __future__ import annotations

from bindcheck.model import (
    Blocks,
    CauseCode,
    Kind,
    Notice,
    Overlap,
    OwnerKind,
    Remedy,
    Sharing,
    Trait,
    WarningCode,
)
from bindcheck.records import replace
from bindcheck.rules.refusals import CAP_NET_BIND_SERVICE
from bindcheck.rules.remedies import linux
from bindcheck.sanitize import sanitize
from bindcheck.target import LOOPBACK6, format_endpoint

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import (
        Blocker,
        Cause,
        Diagnosis,
        Options,
        Owner,
        Process,
        Snapshot,
        Socket,
    )
    from bindcheck.rules.quiet import Conflict


def explain(diagnosis: Diagnosis, snapshot: Snapshot) -> Diagnosis:
    """Give each cause its summary, evidence and remedies."""
    causes: list[Cause] = []
    for cause in diagnosis.causes:
        chosen = [diagnosis.blockers[index] for index in cause.blockers]
        causes.append(
            replace(
                cause,
                summary=summary(cause, chosen, diagnosis, snapshot),
                evidence=evidence(cause, chosen, diagnosis, snapshot),
                remedies=linux.remedies(cause, chosen, diagnosis, snapshot),
            )
        )
        if cause.code in _LINGERING and causes[0].code not in _LINGERING:
            # Waiting helps nobody while somebody else has the port.
            causes[-1] = replace(causes[-1], remedies=_afterwards(chosen, diagnosis))
    return replace(diagnosis, causes=tuple(causes))


_LINGERING = frozenset({CauseCode.TIME_WAIT, CauseCode.CLOSING_CONNECTION})


def _afterwards(
    lingering: Sequence[Blocker], diagnosis: Diagnosis
) -> tuple[Remedy, ...]:
    """What the leftovers mean once the one who has the port is gone."""
    if diagnosis.attempt.options.reuse_address:
        return ()
    after = max(one.release.after_ms or 0 for one in lingering)
    about = f" for about {duration(after / 1000)}" if after else ""
    text = (
        "after that the closed connections may still block a bind without "
        f"SO_REUSEADDR{about}"
    )
    return (Remedy(action="set-reuse-address", text=text),)


def warn(conflicts: Sequence[Conflict], snapshot: Snapshot) -> tuple[Notice, ...]:
    """Say quiet conflicts, each in a sentence."""
    return tuple(
        dict.fromkeys(
            Notice(code=one.code, text=_warning(one, snapshot)) for one in conflicts
        )
    )


def _warning(conflict: Conflict, snapshot: Snapshot) -> str:
    socket = conflict.socket
    if socket is None:
        low, high = snapshot.facts.ephemeral_range or (0, 0)
        return (
            f"the kernel gives ports {low} to {high} to outgoing connections: one may "
            "take this port before the next start, unless it is added to "
            "net.ipv4.ip_local_reserved_ports"
        )
    whose = f"{endpoint_of(socket)} belongs to {who(socket.owner)}"
    if conflict.code is WarningCode.SHADOWED:
        return f"{whose}: a client that asks for localhost may reach it instead"
    return f"{whose}: what arrives goes to one of the two, and you cannot say to which"


def summary(
    cause: Cause,
    blockers: Sequence[Blocker],
    diagnosis: Diagnosis,
    snapshot: Snapshot,
) -> str:
    """Say a cause in half a sentence, to stand after "cannot be bound:"."""
    return _SUMMARIES[cause.code](blockers, diagnosis, snapshot)


def evidence(
    cause: Cause,
    blockers: Sequence[Blocker],
    diagnosis: Diagnosis,
    snapshot: Snapshot,
) -> tuple[str, ...]:
    """List the observations that a cause rests on, a line each."""
    lines: list[str] = []
    for blocker in _summed(blockers):
        lines += _blocker_lines(blocker, diagnosis, snapshot)
    own = _EVIDENCE.get(cause.code)
    return tuple(dict.fromkeys(lines + (own(diagnosis, snapshot) if own else [])))


def _summed(blockers: Sequence[Blocker]) -> Sequence[Blocker]:
    """Ownerless leftovers of several addresses are counted together."""
    ownerless = [one for one in blockers if one.owner.kind is OwnerKind.NONE]
    if len(ownerless) < 2 or len(ownerless) < len(blockers):
        return blockers
    last = max(ownerless, key=lambda one: one.release.after_ms or 0)
    return [replace(last, count=sum(one.count for one in ownerless))]


def duration(seconds: float) -> str:
    """Write a time span with the unit that people would use."""
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def endpoint_of(socket: Socket) -> str:
    """Write the local address of a row."""
    scope = str(socket.local.scope_id) if socket.local.scope_id else None
    return format_endpoint(socket.family, socket.packed, socket.local.port, scope)


def who(owner: Owner) -> str:
    """Name an owner: "node (pid 4121)", or what is known of a hidden one."""
    if owner.processes:
        first = owner.processes[0]
        name = sanitize(first.name) or "a program"
        if Trait.SAME_PROCESS in owner.traits:
            return f"this process (pid {first.pid}, fd {_numbers(first.fds)})"
        more = len(owner.processes) - 1
        rest = f" and {more} more" if more else ""
        if Trait.OWN_COPY in owner.traits:
            return f"another copy of this program (pid {first.pid}{rest})"
        return f"{name} (pid {first.pid}{rest})"
    if owner.kind is OwnerKind.IN_TRANSIT:
        return f"a socket that no process has a descriptor of{_origin(owner)}"
    if owner.kind is OwnerKind.NONE:
        return "nobody"
    # Not "a program": the kernel has sockets of its own.
    return f"a socket of {_user(owner)}{_origin(owner)}"


def _user(owner: Owner) -> str:
    if owner.uid is None:
        return "an unknown user"
    return f"{owner.user} (uid {owner.uid})" if owner.user else f"uid {owner.uid}"


def _origin(owner: Owner) -> str:
    if owner.container:
        return f" in container {owner.container[:12]}"
    return f" in {sanitize(owner.unit)}" if owner.unit else ""


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(str(one) for one in numbers)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _holder(pattern: str) -> Callable[..., str]:
    def words(blockers: Sequence[Blocker], *_: object) -> str:
        first = blockers[0]
        text = pattern.format(who=who(first.owner))
        others = {who(one.owner) for one in blockers} - {who(first.owner)}
        also = f", and {', '.join(sorted(others))}" if others else ""
        possibly = "" if first.blocks is Blocks.YES else ", which may block"
        return text + also + possibly

    return words


def _fixed(text: str) -> Callable[..., str]:
    return lambda *_: text


def _time_wait(blockers: Sequence[Blocker], *_: object) -> str:
    return "TIME_WAIT" if blockers[0].blocks is Blocks.YES else "possibly TIME_WAIT"


def _closing(blockers: Sequence[Blocker], *_: object) -> str:
    held = [one for one in blockers if one.owner.processes]
    if held:
        return f"{who(held[0].owner)} still has a connection that is being closed"
    count = sum(one.count for one in blockers)
    verb = "is" if count == 1 else "are"
    return f"{_plural(count, 'connection')} {verb} still being closed"


def _privileged(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    facts = snapshot.facts
    user = (
        f"user {snapshot.user} (uid {facts.euid})"
        if snapshot.user
        else (f"uid {facts.euid}")
    )
    return f"{user} may not use ports below {facts.unprivileged_port_start}"


def _not_local(_: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot) -> str:
    target = diagnosis.target
    if any(one.packed == target.packed for one in snapshot.addresses):
        return f"the interface that it is bound to has no {target.address}"
    return f"no interface of this machine has {diagnosis.target.address}"


def _unresolved(_: Sequence[Blocker], diagnosis: Diagnosis, _s: Snapshot) -> str:
    error = diagnosis.attempt.error
    if error is not None and error.name == "EAI_AGAIN":
        return "no name server answered for the host name"
    return "the host name has no address"


_SUMMARIES: dict[CauseCode, Callable[..., str]] = {
    CauseCode.LISTENER: _holder("{who} listens there"),
    CauseCode.BOUND: _holder("{who} has bound it without listening"),
    CauseCode.DATAGRAM: _holder("{who} has that port"),
    CauseCode.OUTGOING_CONNECTION: _holder(
        "an outgoing connection of {who} uses that port"
    ),
    CauseCode.ACCEPTED_CONNECTION: _holder("{who} still has a connection on that port"),
    CauseCode.CLOSE_WAIT: _holder(
        "{who} does not close a connection whose other end is gone"
    ),
    CauseCode.CLOSING_CONNECTION: _closing,
    CauseCode.TIME_WAIT: _time_wait,
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: _fixed("every port of the range is taken"),
    CauseCode.LISTEN_CONFLICT: _fixed("another socket began to listen there first"),
    CauseCode.UNSEEN_BLOCKER: _fixed(
        "in use, but nothing that can be seen here holds it"
    ),
    CauseCode.PRIVILEGED_PORT: _privileged,
    CauseCode.OPTION_NOT_PERMITTED: _fixed("a socket option is not permitted"),
    CauseCode.ADDRESS_NOT_LOCAL: _not_local,
    CauseCode.FAMILY_DISABLED: _fixed("IPv6 is switched off here"),
    CauseCode.SCOPE_MISSING: _fixed("a link-local address needs its interface"),
    CauseCode.SCOPE_UNKNOWN: _fixed("there is no such interface here"),
    CauseCode.NAME_NOT_RESOLVED: _unresolved,
    CauseCode.PROTOCOL_UNAVAILABLE: _fixed("this kernel does not offer the protocol"),
    CauseCode.DEVICE_UNKNOWN: _fixed("there is no such network interface here"),
    CauseCode.DESCRIPTOR_LIMIT: _fixed("no further descriptor can be opened"),
    CauseCode.UNKNOWN: _fixed("the reason is not known"),
}


def _blocker_lines(
    blocker: Blocker, diagnosis: Diagnosis, snapshot: Snapshot
) -> list[str]:
    lines = []
    owned = blocker.owner.kind is not OwnerKind.NONE
    if owned or blocker.overlap is not Overlap.SAME_ADDRESS:
        lines.append(_overlap_line(blocker, diagnosis))
    if blocker.kind is Kind.BOUND:
        lines.append("lsof -i, netstat and ss before 6.8 do not show such sockets")
    if blocker.kind in (Kind.CONNECTION, Kind.CLOSE_WAIT):
        lines.append(_connection_line(blocker.socket, blocker.count))
    if blocker.kind in (Kind.TIME_WAIT, Kind.CLOSING_CONNECTION):
        lines.append(_lingering_line(blocker))
    if blocker.kind is Kind.DATAGRAM and blocker.socket.remote:
        lines.append(_connection_line(blocker.socket, blocker.count))
    lines += _sharing_lines(blocker, diagnosis.attempt.options)
    lines += _owner_lines(blocker.owner, snapshot)
    return lines


def _sharing_lines(blocker: Blocker, asked: Options) -> list[str]:
    """Why the options that were asked for do not help, where that was seen."""
    if blocker.sharing is Sharing.OTHER_UID:
        return ["SO_REUSEPORT shares a port only between sockets of the same user"]
    if blocker.sharing is not Sharing.HOLDER_LACKS_OPTION:
        return []
    missing = []
    if asked.reuse_address and blocker.socket.reuse_address is False:
        missing.append("SO_REUSEADDR")
    if asked.reuse_port and blocker.socket.reuse_port is False:
        missing.append("SO_REUSEPORT")
    return [f"its socket has no {' and no '.join(missing)}"] if missing else []


def _overlap_line(blocker: Blocker, diagnosis: Diagnosis) -> str:
    socket = blocker.socket
    owned = blocker.owner.kind is not OwnerKind.NONE
    place = ("its socket " if owned else "a connection on ") + endpoint_of(socket)
    wanted = diagnosis.target.address or ""
    if blocker.overlap is Overlap.SAME_ADDRESS:
        return f"{place} has the same address"
    if blocker.overlap is Overlap.HOLDER_WILDCARD:
        dual = ", IPv4 included" if blocker.dual_stack else ""
        return f"{place} covers {wanted}{dual}"
    if blocker.dual_stack and ":" not in wanted:
        has = "has" if blocker.blocks is Blocks.YES else "may have"
        return f"{wanted} meets {place}, which {has} no IPV6_V6ONLY"
    dual = " without IPV6_V6ONLY" if blocker.dual_stack else ""
    return f"{wanted}{dual} would cover {place}"


def _connection_line(socket: Socket, count: int) -> str:
    remote = socket.remote
    if remote is None:
        return f"{_plural(count, 'connection')}, {socket.state}"
    place = f"[{remote.address}]" if ":" in remote.address else remote.address
    more = f", and {count - 1} more" if count > 1 else ""
    return f"connected with {place}:{remote.port} ({socket.state}){more}"


def _lingering_line(blocker: Blocker) -> str:
    count, after = blocker.count, blocker.release.after_ms
    owned = blocker.owner.kind is not OwnerKind.NONE
    verb = "linger in" if count > 1 else "lingers in"
    state = str(blocker.socket.state).upper().replace("-", "_")
    text = f"{count} closed connection{'s' if count > 1 else ''} {verb} {state}"
    if not owned:
        text += "; no process owns " + ("them" if count > 1 else "it")
    if after is not None:
        last = "the last ends" if count > 1 else "it ends"
        text += f"; {last} in about {duration(after / 1000)}"
    return text


def _owner_lines(owner: Owner, snapshot: Snapshot) -> list[str]:
    lines = []
    for process in owner.processes[:3]:
        lines.append(_process_line(process, owner, snapshot))
        command = command_line(process)
        if command:
            lines.append(command)
    if len(owner.processes) > 3:
        rest = _numbers([one.pid for one in owner.processes[3:13]])
        more = " ..." if len(owner.processes) > 13 else ""
        lines.append(f"shared with pid {rest}{more}")
    if owner.kind is OwnerKind.HIDDEN:
        made = f"made by {_user(owner)}{_origin(owner)}"
        lines.append(f"{made}; no process that can be read has it")
    elif owner.unit or owner.container:
        lines.append(f"it runs{_origin(owner)}")
    return lines


def _process_line(process: Process, owner: Owner, snapshot: Snapshot) -> str:
    text = f"pid {process.pid}"
    if process.user or process.uid is not None:
        text += f" of {process.user or f'uid {process.uid}'}"
    if Trait.SUSPENDED in owner.traits:
        text += ", suspended"
    if process.started is not None:
        text += f", running for {duration(snapshot.observed_at - process.started)}"
    if process.parent == 1:
        text += ", parent is pid 1"
    elif process.parent_name:
        text += f", started by {sanitize(process.parent_name)} ({process.parent})"
    if process.folder:
        text += f", in {sanitize(process.folder)}"
    return text


def command_line(process: Process) -> str:
    """The command line as it could be typed, escaped, at most 300 characters."""
    if not process.command:
        return ""
    import shlex

    text = sanitize(shlex.join(process.command))
    return text if len(text) <= 300 else text[:297] + "..."


def _privileged_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    facts = snapshot.facts
    start = f"net.ipv4.ip_unprivileged_port_start = {facts.unprivileged_port_start}"
    if facts.capabilities >> CAP_NET_BIND_SERVICE & 1:
        return [
            (
                f"{start}; this process has CAP_NET_BIND_SERVICE, but in a user namespace "
                "that does not own this network namespace"
            )
        ]
    return [f"{start}, and this process lacks CAP_NET_BIND_SERVICE"]


def _address_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    family = diagnosis.target.family
    packed = diagnosis.target.packed
    loopback = packed[:1] == b"\x7f" or packed == LOOPBACK6
    if loopback and snapshot.facts.loopback_up is False:
        return ["the loopback interface lo is down"]
    local = [
        f"{one.address} ({one.interface})"
        for one in snapshot.addresses
        if one.family is family
    ]
    if not local:
        return []
    return ["this machine has " + ", ".join(dict.fromkeys(local))]


def _family_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    facts = snapshot.facts
    if facts.ipv6_available is False:
        return ["the kernel makes no IPv6 socket (socket() refuses AF_INET6)"]
    names = {"all": facts.ipv6_disabled, "lo": facts.ipv6_disabled_loopback}
    return [
        f"net.ipv6.conf.{name}.disable_ipv6 = 1"
        for name, value in names.items()
        if value
    ]


def _interface_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    names = dict.fromkeys(one.interface for one in snapshot.addresses)
    return [f"interfaces with addresses: {', '.join(names)}"] if names else []


def _scope_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    names = dict.fromkeys(
        one.interface for one in snapshot.addresses if one.packed[:1] == b"\xfe"
    )
    return (
        [f"interfaces with link-local addresses: {', '.join(names)}"] if names else []
    )


def _unseen_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    if not snapshot.listed:
        return ["no socket table could be read"]
    lines = ["the socket tables were read several times and show no holder"]
    from_text = any(one.code == "bound-sockets-not-listed" for one in snapshot.limits)
    if snapshot.bound_sockets_listed is False and not from_text:
        lines.append(
            "this kernel does not list TCP sockets that are bound and not listening: "
            "such a socket may be it"
        )
    return lines


def _ephemeral_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    if snapshot.facts.ephemeral_range is None:
        return []
    low, high = snapshot.facts.ephemeral_range
    return [f"net.ipv4.ip_local_port_range = {low} {high}"]


def _outgoing_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    if snapshot.facts.ephemeral_range is None:
        return []
    low, high = snapshot.facts.ephemeral_range
    if not low <= diagnosis.target.port <= high:
        return []
    return [f"the kernel gives ports {low} to {high} to outgoing connections"]


_EVIDENCE: dict[CauseCode, Callable[[Diagnosis, Snapshot], list[str]]] = {
    CauseCode.PRIVILEGED_PORT: _privileged_evidence,
    CauseCode.ADDRESS_NOT_LOCAL: _address_evidence,
    CauseCode.FAMILY_DISABLED: _family_evidence,
    CauseCode.SCOPE_MISSING: _scope_evidence,
    CauseCode.SCOPE_UNKNOWN: _interface_evidence,
    CauseCode.DEVICE_UNKNOWN: _interface_evidence,
    CauseCode.UNSEEN_BLOCKER: _unseen_evidence,
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: _ephemeral_evidence,
    CauseCode.OUTGOING_CONNECTION: _outgoing_evidence,
}
