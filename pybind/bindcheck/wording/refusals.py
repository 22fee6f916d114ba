"""What is said of refusals that are not "in use": each cause's summary and evidence."""

from __future__ import annotations

from bindcheck.rules.address import having, is_link_local, may_come, with_zone
from bindcheck.rules.permission import (
    CAP_NET_BIND_SERVICE,
    FILTERED,
    REFUSED,
    Mechanism,
    is_mandatory,
    mechanism,
)
from bindcheck.rules.resources import range_use
from bindcheck.sanitize import sanitize
from bindcheck.target import LOOPBACK6
from bindcheck.wording.terms import plural, who
from bindcheck.words import CauseCode, Family, OwnerKind, State, Step, System, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Blocker, Confinement, Diagnosis, Snapshot, Socket


def fixed(text: str) -> Callable[..., str]:
    """A summary that is always the same."""
    return lambda *_: text


def _privileged(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    facts = snapshot.facts
    user = (
        f"user {snapshot.user} (uid {facts.euid})"
        if snapshot.user
        else (f"uid {facts.euid}")
    )
    if facts.system == System.DARWIN:
        from bindcheck.wording.elsewhere import privileged_summary

        return privileged_summary(user)
    return f"{user} may not use ports below {facts.unprivileged_port_start}"


def _security_module(_: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    label = (snapshot.confinement.label if snapshot.confinement else None) or ""
    if ":" in label:
        return f"SELinux does not let {_domain(label)} do it"
    return f"AppArmor does not let {sanitize(label.partition(' (')[0])} do it"


def _domain(label: str) -> str:
    """The type of a SELinux context, such as httpd_t."""
    return sanitize([*label.split(":"), "", ""][2])


_REFUSERS = {
    Mechanism.FILTER: "a system call filter (seccomp) refuses it",
    Mechanism.CGROUP: "a BPF program of its cgroup refuses it",
    Mechanism.LANDLOCK: "a sandbox (Landlock) does not allow it",
    Mechanism.APP_SANDBOX: "a sandbox (App Sandbox) does not allow it",
    Mechanism.UNKNOWN: "a sandbox or policy refuses it",
}


def _sandbox(_: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot) -> str:
    return _REFUSERS[mechanism(diagnosis, snapshot)]


def _not_local(_: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot) -> str:
    target = diagnosis.target
    if any(one.packed == target.packed for one in snapshot.addresses):
        return f"the interface that it is bound to has no {target.address}"
    return f"no interface of this machine has {diagnosis.target.address}"


def _unresolved(_: Sequence[Blocker], diagnosis: Diagnosis, _s: Snapshot) -> str:
    error = diagnosis.attempt.error
    if error is not None and error.symbol == "EAI_AGAIN":
        return "no name server answered for the host name"
    return "the host name has no address"


def _no_descriptor(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> str:
    error, limits = diagnosis.attempt.error, snapshot.facts.descriptor_limits
    if error is not None and error.symbol == "ENFILE":
        return "the whole system has too many files open"
    if limits is None or limits[0] is None:
        return "no further descriptor can be opened"
    return f"all {limits[0]} descriptors of this process are in use"


def _exhausted(_: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot) -> str:
    use = range_use(diagnosis.target, diagnosis.attempt.options, snapshot)
    if use is not None and use.ports == 0:
        return "every port of the range is reserved"
    return "every port of the range is taken"


def _conflict(_: Sequence[Blocker], diagnosis: Diagnosis, _s: Snapshot) -> str:
    if diagnosis.attempt.argument is not None:
        return "SO_REUSEADDR and SO_EXCLUSIVEADDRUSE exclude each other"
    return "an IPv4 address in an IPv6 socket that is for IPv6 only"


SUMMARIES: dict[CauseCode, Callable[..., str]] = {
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: _exhausted,
    CauseCode.HOST_INTERCEPTED: fixed(
        "in use, but not in this Linux: Windows has the port"
    ),
    CauseCode.PRIVILEGED_PORT: _privileged,
    CauseCode.SECURITY_MODULE: _security_module,
    CauseCode.SANDBOX: _sandbox,
    CauseCode.OPTION_NOT_PERMITTED: fixed("a socket option is not permitted"),
    CauseCode.ADDRESS_NOT_LOCAL: _not_local,
    CauseCode.ADDRESS_TENTATIVE: fixed("the address is not ready yet (tentative)"),
    CauseCode.ADDRESS_DUPLICATE: fixed("another machine on the link has the address"),
    CauseCode.FAMILY_DISABLED: fixed("IPv6 is switched off here"),
    CauseCode.SCOPE_MISSING: fixed("a link-local address needs its interface"),
    CauseCode.SCOPE_UNKNOWN: fixed("there is no such interface here"),
    CauseCode.NAME_NOT_RESOLVED: _unresolved,
    CauseCode.INVALID_ARGUMENT: fixed("TCP has no multicast: no server can have it"),
    CauseCode.OPTION_CONFLICT: _conflict,
    CauseCode.PROTOCOL_UNAVAILABLE: fixed("this kernel does not offer the protocol"),
    CauseCode.DEVICE_UNKNOWN: fixed("there is no such network interface here"),
    CauseCode.DESCRIPTOR_LIMIT: _no_descriptor,
    CauseCode.NO_MEMORY: fixed("the kernel has no memory for a socket"),
}


def _privileged_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    facts, held = snapshot.facts, snapshot.confinement
    if facts.system == System.DARWIN:
        from bindcheck.wording.elsewhere import PRIVILEGED

        return [PRIVILEGED]
    start = f"net.ipv4.ip_unprivileged_port_start = {facts.unprivileged_port_start}"
    if facts.capabilities >> CAP_NET_BIND_SERVICE & 1:
        return [
            (
                f"{start}; this process has CAP_NET_BIND_SERVICE, but in a user namespace "
                "that does not own this network namespace"
            )
        ]
    lines = [f"{start}, and this process lacks CAP_NET_BIND_SERVICE"]
    if held is not None and held.no_new_privileges:
        lines.append("NoNewPrivs is set: neither sudo nor setcap can give it to it")
    return lines


def _module_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    held = snapshot.confinement
    if held is None:
        return []
    mode = {True: ", SELinux is enforcing", False: ", SELinux is permissive"}
    lines = [
        f"this process is {sanitize(held.label or '')}"
        + mode.get(held.selinux_enforcing, "")  # type: ignore[arg-type]
    ]
    start = snapshot.facts.unprivileged_port_start
    if diagnosis.target.path is not None:
        lines.append(_ALLOWED)
    elif start is not None and diagnosis.target.port >= start:
        lines.append(
            f"no privilege is needed (net.ipv4.ip_unprivileged_port_start = {start})"
        )
    if held.seccomp is not None and held.bind_filter is None:
        lines.append("no system call filter refuses bind()")
    return lines + _trial_evidence(diagnosis)


_ALLOWED = "the permissions of the folder would allow it"


def _sandbox_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    held = snapshot.confinement
    if held is None:
        return []
    if snapshot.facts.system == System.DARWIN:
        return ["macOS says EPERM where a sandbox profile forbids the call"]
    attempt = diagnosis.attempt
    lines = _filter_evidence(attempt.step, held)
    lines += _program_evidence(diagnosis, held)
    if attempt.step is Step.SOCKET and attempt.target.family is Family.INET6:
        if snapshot.facts.bind_v6only is not None:
            lines.append("the kernel has IPv6 (/proc/sys/net/ipv6 is there)")
        return lines
    start = snapshot.facts.unprivileged_port_start
    if attempt.error and attempt.error.symbol == "EACCES" and start is not None:
        if attempt.target.path is not None:
            lines.append(_ALLOWED)
        elif diagnosis.target.port >= start:
            lines.append(
                f"no privilege is needed (net.ipv4.ip_unprivileged_port_start = {start})"
            )
        if not is_mandatory(held):
            label = f" ({sanitize(held.label)})" if held.label else ""
            lines.append(f"neither SELinux nor AppArmor confines this process{label}")
    lines += _trial_evidence(diagnosis)
    if held.no_new_privileges:
        lines.append("NoNewPrivs is set, as sandboxes do")
    return lines


def _filter_evidence(step: Step | None, held: Confinement) -> list[str]:
    refused = held.socket_filter if step is Step.SOCKET else held.bind_filter
    if refused is not None:
        call = "an impossible socket()" if step is Step.SOCKET else "bind(-1)"
        usual = "EINVAL" if step is Step.SOCKET else "EBADF"
        text = f"{call} says {refused.name} here, where the kernel says {usual}"
        return [f"{text}: a system call filter answers first"]
    if held.seccomp == FILTERED:
        return ["Seccomp: 2, a system call filter or a supervisor judges its calls"]
    return []


def _program_evidence(diagnosis: Diagnosis, held: Confinement) -> list[str]:
    error = diagnosis.attempt.error
    at_socket = diagnosis.attempt.step is Step.SOCKET
    count = held.socket_programs if at_socket else held.bind_programs
    if error is None or held.bind_filter is not None:
        return []
    if error.symbol != "EPERM" and not count:
        return []  # their usual answer is another
    call = "socket()" if at_socket else "bind()"
    place = sanitize(held.cgroup or "")
    if count:
        return [f"{plural(count, 'BPF program')} on {call} in its cgroup {place}"]
    if count == 0:
        return [f"no BPF program on {call} in its cgroup {place}"]
    return [
        f"without CAP_NET_ADMIN the BPF programs of its cgroup {place} cannot be listed"
    ]


def _trial_evidence(diagnosis: Diagnosis) -> list[str]:
    lines = []
    for trial in diagnosis.trials:
        error = trial.error
        if "protocol" in trial.changed:
            if trial.ok:
                what = "can be bound"
            elif error is not None and error.symbol in REFUSED:
                what = "is refused too"
            else:
                continue
            lines.append(f"tried: UDP port {diagnosis.target.port} {what}")
        elif trial.changed.get("port") == 0:
            if trial.ok:
                lines.append("tried: port 0 can be bound, so it is about this port")
            elif error is not None and error.symbol in REFUSED:
                lines.append("tried: port 0 is refused too, so it is not the port")
    return lines


def _address_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    target = diagnosis.target
    family, packed = target.family, target.packed
    loopback = packed[:1] == b"\x7f" or packed == LOOPBACK6
    if loopback and snapshot.facts.loopback_up is False:
        return ["the loopback interface lo is down"]
    if is_link_local(target):
        names = dict.fromkeys(one.interface for one in having(target, snapshot))
        if names:
            return [f"{target.address} is on {', '.join(names)}"]
    local = [
        f"{one.address} ({one.interface})"
        for one in snapshot.addresses
        if one.family is family
    ]
    lines = []
    if local:
        lines.append("this machine has " + ", ".join(dict.fromkeys(local)))
    near = may_come(target, snapshot)
    if near and not isinstance(near, bool):
        lines.append(
            f"it would be in the network of {near.interface} "
            f"({near.address}/{near.prefix})"
        )
    off = [name for name in snapshot.ipv6_disabled_on if name != "lo"]
    if family is Family.INET6 and off:
        lines.append(f"IPv6 is switched off on {', '.join(off)}")
    return lines


def _tentative_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    lines = []
    for one in having(diagnosis.target, snapshot):
        flag = "dadfailed" if one.duplicate else "tentative"
        lines.append(f"{one.address} on {one.interface} is {flag}")
        if not one.up:
            lines.append(f"{one.interface} is down: the look-up begins once it is up")
        elif not one.running:
            lines.append(
                f"{one.interface} has no carrier: the look-up begins once it has one"
            )
    return lines


def _family_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    facts = snapshot.facts
    if diagnosis.attempt.step is Step.SOCKET:
        return ["the kernel makes no IPv6 socket (socket() refuses AF_INET6)"]
    names = [name for name in ("all",) if facts.ipv6_disabled]
    names += [name for name in snapshot.ipv6_disabled_on if name != "lo"]
    if diagnosis.target.packed == LOOPBACK6 and facts.ipv6_disabled_loopback:
        names.append("lo")
    return [f"net.ipv6.conf.{name}.disable_ipv6 = 1" for name in names]


def _interface_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    names = dict.fromkeys(one.interface for one in snapshot.addresses)
    return [f"interfaces with addresses: {', '.join(names)}"] if names else []


def _scope_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    options = diagnosis.attempt.options
    if with_zone(diagnosis.target, options, snapshot).scope_id is not None:
        names = dict.fromkeys(
            one.interface for one in having(diagnosis.target, snapshot)
        )
        return [f"{diagnosis.target.address} is on {', '.join(names)}"]
    names = dict.fromkeys(
        one.interface
        for one in snapshot.addresses
        if one.packed[0] == 0xFE and one.family is Family.INET6
    )
    return (
        [f"interfaces with link-local addresses: {', '.join(names)}"] if names else []
    )


def _conflict_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    if diagnosis.attempt.argument is not None:
        return []
    if diagnosis.attempt.options.v6only:
        return ["IPV6_V6ONLY was asked for"]
    if snapshot.facts.system == System.WINDOWS:
        return ["on Windows a socket has IPV6_V6ONLY until it is switched off"]
    if snapshot.facts.system == System.DARWIN:
        return ["net.inet6.ip6.v6only = 1, and IPV6_V6ONLY was not switched off"]
    return ["net.ipv6.bindv6only = 1, and IPV6_V6ONLY was not switched off"]


def _option_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    held = snapshot.confinement
    if held is None or held.seccomp != FILTERED:
        return []
    return ["Seccomp: 2, a system call filter judges its calls"]


def _descriptor_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    error, limits = diagnosis.attempt.error, snapshot.facts.descriptor_limits
    if error is not None and error.symbol == "ENFILE":
        if snapshot.open_files is None:
            return []
        count, maximum = snapshot.open_files
        return [f"{count} files are open; fs.file-max = {maximum}"]
    if limits is None:
        return []
    soft, hard = ("unlimited" if one is None else one for one in limits)
    return [f"RLIMIT_NOFILE: soft limit {soft}, hard limit {hard}"]


def _ephemeral_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    use = range_use(diagnosis.target, diagnosis.attempt.options, snapshot)
    if use is None or snapshot.facts.ephemeral_range is None:
        return []
    low, high = snapshot.facts.ephemeral_range
    if snapshot.facts.system in (System.DARWIN, System.WINDOWS):
        from bindcheck.wording.elsewhere import ephemeral_lines

        lines = ephemeral_lines(snapshot)
    else:
        lines = [f"net.ipv4.ip_local_port_range = {low} {high}"]
    if use.reserved:
        lines.append(
            f"{plural(use.reserved, 'port')} of them reserved "
            "(net.ipv4.ip_local_reserved_ports)"
        )
    place = f"{diagnosis.target.address} ({diagnosis.target.protocol})"
    if use.ports:
        ports = plural(use.ports, "port")
        lines.append(f"{len(use.taken)} of {ports} taken for {place}")
    counts: dict[str, set[int]] = {}
    for row in use.rows:
        counts.setdefault(_user_of_port(row), set()).add(row.local.port)
    most = sorted(counts.items(), key=lambda one: (-len(one[1]), one[0]))
    lines += [f"{len(ports)} by {name}" for name, ports in most[:5]]
    if len(most) > 5:
        rest = set().union(*(ports for _, ports in most[5:]))
        lines.append(f"{len(rest)} by {len(most) - 5} others")
    return lines


def _user_of_port(row: Socket) -> str:
    if row.owner.kind is OwnerKind.NONE:
        if row.state is State.TIME_WAIT:
            return "closed connections in TIME_WAIT"
        return f"connections without an owner ({row.state})"
    if Trait.SAME_PROCESS in row.owner.traits:
        return f"this process (pid {row.owner.processes[0].pid})"
    return who(row.owner)


def _intercepted_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    kernel = snapshot.confinement.kernel if snapshot.confinement else ""
    return [
        "the socket tables were read several times and show no holder",
        f"this is WSL ({sanitize(kernel)}), and a filter judges bind() (Seccomp: 2)",
        "with mirrored networking such a filter asks Windows for the port",
    ]


EVIDENCE: dict[CauseCode, Callable[[Diagnosis, Snapshot], list[str]]] = {
    CauseCode.HOST_INTERCEPTED: _intercepted_evidence,
    CauseCode.PRIVILEGED_PORT: _privileged_evidence,
    CauseCode.SECURITY_MODULE: _module_evidence,
    CauseCode.SANDBOX: _sandbox_evidence,
    CauseCode.OPTION_NOT_PERMITTED: _option_evidence,
    CauseCode.ADDRESS_NOT_LOCAL: _address_evidence,
    CauseCode.ADDRESS_TENTATIVE: _tentative_evidence,
    CauseCode.ADDRESS_DUPLICATE: _tentative_evidence,
    CauseCode.FAMILY_DISABLED: _family_evidence,
    CauseCode.SCOPE_MISSING: _scope_evidence,
    CauseCode.SCOPE_UNKNOWN: _interface_evidence,
    CauseCode.OPTION_CONFLICT: _conflict_evidence,
    CauseCode.DEVICE_UNKNOWN: _interface_evidence,
    CauseCode.DESCRIPTOR_LIMIT: _descriptor_evidence,
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: _ephemeral_evidence,
}
