"""What helps where the bind is refused for another reason than "in use"."""

from __future__ import annotations

from bindcheck.model import Remedy
from bindcheck.records import replace
from bindcheck.rules.address import having, is_link_local, may_come
from bindcheck.rules.cgroup import unit_of
from bindcheck.rules.permission import Mechanism, mechanism
from bindcheck.rules.remedies.stopping import as_root
from bindcheck.sanitize import is_plain, sanitize
from bindcheck.target import LOOPBACK6
from bindcheck.words import CauseCode, Family, Protocol, SocketType, Step, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Blocker, Diagnosis, Snapshot


def _privileged(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    port = diagnosis.target.port
    found = []
    for trial in diagnosis.trials:
        other = trial.changed.get("port")
        if other and trial.ok:
            found.append(
                Remedy(
                    action="use-other-port",
                    text=f"another port: {other} (tried: bind works)",
                    tried=True,
                )
            )
    setting = f"net.ipv4.ip_unprivileged_port_start={port}"
    if snapshot.facts.owns_network_namespace is False:
        return [
            *found,
            Remedy(
                action="lower-port-start",
                text="outside of this user namespace, where the network belongs (on the "
                f"host, if it is the host's network): sudo sysctl {setting}",
            ),
        ]
    found.append(
        Remedy(
            action="grant-capability",
            text="in a systemd unit: AmbientCapabilities=CAP_NET_BIND_SERVICE",
        )
    )
    held = snapshot.confinement
    if held is None or not held.no_new_privileges:
        found.append(
            Remedy(
                action="grant-capability",
                text="for one compiled program (no script): "
                "sudo setcap cap_net_bind_service=+ep PROGRAM",
            )
        )
    return [
        *found,
        Remedy(
            action="lower-port-start",
            text="for every user:",
            command=as_root(snapshot, "sysctl", setting),
        ),
    ]


def _security_module(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    label = (snapshot.confinement.label if snapshot.confinement else None) or ""
    port = diagnosis.target.port
    if ":" not in label:
        return [
            Remedy(
                action="see-denials",
                text="what was denied:",
                command=as_root(snapshot, "journalctl", "-k", "-g", "apparmor=.DENIED"),
            ),
            Remedy(
                action="change-policy",
                text="allow it in that profile (network rules), and load it again with "
                "apparmor_parser -r FILE",
            ),
        ]
    denials = Remedy(
        action="see-denials",
        text="what was denied:",
        command=as_root(snapshot, "ausearch", "-m", "avc", "-ts", "recent"),
    )
    if diagnosis.target.path is not None:
        text = (
            "label the folder for it (semanage fcontext, restorecon), or take another"
        )
        return [denials, Remedy(action="change-policy", text=text)]
    transport = (
        "udp" if diagnosis.target.protocol.type is SocketType.DATAGRAM else "tcp"
    )
    return [
        denials,
        Remedy(
            action="change-policy",
            text="the types of port that its domain may bind: sesearch -A -p name_bind -s "
            f"{sanitize(label.split(':')[2]) if label.count(':') > 1 else 'DOMAIN'}",
        ),
        Remedy(
            action="change-policy",
            text="give the port one of them: "
            f"sudo semanage port -a -t TYPE -p {transport} {port} (-m in place of -a where "
            "the port has a type)",
        ),
    ]


def _sandbox(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    kind = mechanism(diagnosis, snapshot)
    held = snapshot.confinement
    unit = unit_of(held.cgroup) if held is not None else None
    port, protocol = diagnosis.target.port, diagnosis.target.protocol.table
    found = []
    settings = {
        Mechanism.FILTER: ("SystemCallFilter", "RestrictAddressFamilies"),
        Mechanism.CGROUP: ("SocketBindDeny", "SocketBindAllow"),
    }.get(kind)
    if unit is not None and is_plain(unit) and settings is not None:
        options = [part for name in settings for part in ("-p", name)]
        found.append(
            Remedy(
                action="show-sandbox",
                text="what the unit says:",
                command=("systemctl", "show", *options, unit),
            )
        )
    if kind is Mechanism.CGROUP and diagnosis.attempt.step is Step.BIND:
        text = (
            "systemd makes such programs of SocketBindDeny=: allow the port in the unit, "
            f"SocketBindAllow={protocol}:{port} (sudo systemctl edit UNIT)"
        )
    elif kind is Mechanism.LANDLOCK and diagnosis.target.path is not None:
        text = (
            "allow making sockets in that folder in the settings of what started it: "
            "Landlock rules cannot be changed from inside"
        )
    elif kind is Mechanism.LANDLOCK:
        text = (
            f"allow binding TCP port {port} in the settings of what started it: Landlock "
            "rules cannot be changed from inside"
        )
    elif kind is Mechanism.FILTER:
        text = (
            "allow it in the settings of what started it (systemd: SystemCallFilter=, "
            "RestrictAddressFamilies=; docker: --security-opt seccomp=FILE): a filter "
            "cannot be taken off from inside"
        )
    else:
        text = (
            "look at the settings of what started it (systemd unit, container, sandbox): "
            "no way from inside is known"
        )
    return [*found, Remedy(action="change-sandbox", text=text)]


def _address(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    target = diagnosis.target
    loopback = target.packed[:1] == b"\x7f" or target.packed == LOOPBACK6
    if loopback and snapshot.facts.loopback_up is False:
        command = as_root(snapshot, "ip", "link", "set", "lo", "up")
        return [Remedy(action="raise-loopback", text="raise it", command=command)]
    if is_link_local(target) and having(target, snapshot):
        return _scope(_, diagnosis, snapshot)
    wildcard = "0.0.0.0" if target.family is Family.INET else "::"  # noqa: S104
    coming = may_come(target, snapshot)
    advice = "use one of these addresses, or " + f"{wildcard} for all of them"
    if not coming and not is_link_local(target):
        advice += (
            "; an address that a router or cloud translates "
            "to this machine cannot be bound here"
        )
    found = [Remedy(action="use-local-address", text=advice)]
    freebind = [one for one in diagnosis.trials if "freebind" in one.changed]
    if any(one.ok for one in freebind):
        found += _before_its_address(diagnosis, snapshot)
    return found


def _before_its_address(diagnosis: Diagnosis, snapshot: Snapshot) -> list[Remedy]:
    """A server that must be ready before its address is here."""
    version = 4 if diagnosis.target.family is Family.INET else 6
    option = "IP_FREEBIND" if version == 4 else "IPV6_FREEBIND"
    return [
        Remedy(
            action="set-freebind",
            text="if the address comes later (failover, keepalived, a slow network at "
            f"boot): set {option} before bind (tried: bind works); FreeBind=yes in a "
            "socket unit",
            tried=True,
        ),
        _by_sysctl(
            Remedy(
                action="allow-nonlocal-bind",
                text="or, for programs that cannot set it",
            ),
            f"net.ipv{version}.ip_nonlocal_bind=1",
            snapshot,
        ),
    ]


def _by_sysctl(remedy: Remedy, setting: str, snapshot: Snapshot) -> Remedy:
    """Change a setting of the network, where that may be done."""
    if snapshot.facts.owns_network_namespace is False:
        where = "outside of this user namespace, where the network belongs"
        return replace(remedy, text=f"{remedy.text} {where}: sudo sysctl '{setting}'")
    return replace(remedy, command=as_root(snapshot, "sysctl", setting))


def _tentative(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    here = having(diagnosis.target, snapshot)
    waiting = [one for one in here if not (one.up and one.running)]
    if waiting and len(waiting) == len(here):
        name = waiting[0].interface
        if not waiting[0].up:
            first = Remedy(
                action="raise-interface",
                text="raise the interface",
                command=as_root(snapshot, "ip", "link", "set", name, "up"),
            )
        else:
            first = Remedy(
                action="raise-interface",
                text=f"connect {name}: without a carrier the address stays like that",
            )
    else:
        first = Remedy(action="wait", text="now: wait a second or two and bind again")
    return [
        first,
        Remedy(
            action="skip-duplicate-detection",
            text="from now on: start after network-online.target, set IPV6_FREEBIND "
            "before bind, or add the address with nodad",
        ),
    ]


def _duplicate(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    here = having(diagnosis.target, snapshot)
    name = here[0].interface if here else "INTERFACE"
    prefix = (here[0].prefix if here else None) or 64
    address = f"{diagnosis.target.address}/{prefix}"
    return [
        Remedy(
            action="change-address",
            text="give one of the two machines another address",
        ),
        Remedy(
            action="see-neighbour",
            text=f"who has it: look for its link-layer address with "
            f"ndisc6 {diagnosis.target.address} {name}",
        ),
        Remedy(
            action="add-address-again",
            text="once the other one is gone: the kernel does not look again by itself",
            command=as_root(snapshot, "ip", "-6", "addr", "del", address, "dev", name),
        ),
        Remedy(
            action="add-address-again",
            text="",
            command=as_root(snapshot, "ip", "-6", "addr", "add", address, "dev", name),
        ),
    ]


def _scope(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    target = diagnosis.target
    there = having(target, snapshot)
    names = dict.fromkeys(one.interface for one in there)
    name = next(iter(names), "INTERFACE")
    if there and snapshot.facts.system == System.WINDOWS:
        name = str(there[0].index)  # names have spaces there, and zones are numbers
    return [
        Remedy(
            action="add-scope",
            text=f"name the interface: [{target.address}%{name}]:{target.port}",
        )
    ]


def _scope_unknown(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    if having(diagnosis.target, snapshot):
        return _scope(blockers, diagnosis, snapshot)
    listing: dict[str, str] = {System.DARWIN: "ifconfig", System.WINDOWS: "ipconfig"}
    command = listing.get(snapshot.facts.system, "ip -br addr")
    return [Remedy(action="add-scope", text=f"name an interface of {command}")]


def _device(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    return [
        Remedy(
            action="use-other-device",
            text="name an interface of ip -br link, or do without the option",
        )
    ]


def _protocol(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    error, protocol = diagnosis.attempt.error, diagnosis.target.protocol
    if error is not None and error.symbol == "ENOPROTOOPT":
        command = as_root(snapshot, "sysctl", "net.mptcp.enabled=1")
        return [Remedy(action="enable-protocol", text="switch it on", command=command)]
    if protocol is Protocol.SCTP:
        command = as_root(snapshot, "modprobe", "sctp")
        return [
            Remedy(
                action="enable-protocol",
                text="load it, where the kernel has it as a module",
                command=command,
            )
        ]
    return []


def _descriptors(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    error = diagnosis.attempt.error
    if error is not None and error.symbol == "ENFILE":
        return [
            Remedy(
                action="raise-descriptor-limit",
                text="find who has so many (lsof -n), or raise fs.file-max with sysctl",
            )
        ]
    limits = snapshot.facts.descriptor_limits
    hard = limits[1] if limits else None
    up_to = f", up to {hard} without root" if hard is not None else ""
    return [
        Remedy(
            action="raise-descriptor-limit",
            text=f"close files, or raise the limit (ulimit -n{up_to}; LimitNOFILE= in a "
            "unit)",
        )
    ]


def _memory(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    return [
        Remedy(
            action="free-memory",
            text="look at the memory of the machine (free -h) and of the container or "
            "unit (memory.max, MemoryMax=), and at net.ipv4.tcp_mem",
        )
    ]


def _family(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    found = [Remedy(action="use-ipv4", text="bind an IPv4 address")]
    if diagnosis.attempt.step is Step.SOCKET:
        found.append(
            Remedy(
                action="enable-ipv6",
                text="or boot the kernel without ipv6.disable=1 (cat /proc/cmdline); no "
                "command switches it on",
            )
        )
        return found
    loopback = diagnosis.target.packed == LOOPBACK6
    name = "all" if snapshot.facts.ipv6_disabled else "lo"
    if not snapshot.facts.ipv6_disabled and not loopback:
        name = next((one for one in snapshot.ipv6_disabled_on if one != "lo"), "all")
    again = "" if loopback else " (its addresses must be added again)"
    setting = f"net.ipv6.conf.{name}.disable_ipv6=0"
    remedy = Remedy(action="enable-ipv6", text=f"or switch IPv6 on{again}")
    found.append(_by_sysctl(remedy, setting, snapshot))
    return found


def _name(_: Sequence[Blocker], __: Diagnosis, snapshot: Snapshot) -> list[Remedy]:
    hosts = "/etc/hosts"
    if snapshot.facts.system == System.WINDOWS:
        hosts = "%SystemRoot%\\System32\\drivers\\etc\\hosts"
    return [
        Remedy(
            action="check-name",
            text=f"check the spelling, {hosts} and the name server; or use an address",
        )
    ]


def _multicast(
    _: Sequence[Blocker], diagnosis: Diagnosis, __: Snapshot
) -> list[Remedy]:
    inet = diagnosis.target.family is Family.INET
    option = "IP_ADD_MEMBERSHIP" if inet else "IPV6_JOIN_GROUP"
    return [
        Remedy(
            action="use-udp",
            text="use UDP, bound to the wildcard address, and join the group "
            f"({option}); or an address of one machine",
        )
    ]


def _conflict(_: Sequence[Blocker], diagnosis: Diagnosis, __: Snapshot) -> list[Remedy]:
    address = (diagnosis.target.address or "").removeprefix("::ffff:")
    found = [
        Remedy(
            action="use-ipv4",
            text=f"bind the IPv4 address itself: {address}:{diagnosis.target.port}",
        )
    ]
    if any(
        trial.ok and trial.changed.get("v6only") is False for trial in diagnosis.trials
    ):
        found.append(
            Remedy(
                action="clear-v6only",
                text="or switch IPV6_V6ONLY off before bind (tried: bind works)",
                tried=True,
            )
        )
    return found


def _option(_: Sequence[Blocker], diagnosis: Diagnosis, ___: Snapshot) -> list[Remedy]:
    found = [
        Remedy(
            action="drop-option",
            text=f"do without {diagnosis.attempt.argument or 'the option'}, if the program "
            "can",
        )
    ]
    if diagnosis.attempt.argument == "SO_BINDTODEVICE":
        found.append(
            Remedy(
                action="grant-capability",
                text="before Linux 5.7 it needs CAP_NET_RAW (AmbientCapabilities= in a "
                "unit)",
            )
        )
    return found


def _ephemeral(_: Sequence[Blocker], __: Diagnosis, snapshot: Snapshot) -> list[Remedy]:
    low, high = snapshot.facts.ephemeral_range or (32768, 60999)
    found = [
        Remedy(
            action="use-other-address",
            text=f"bind a fixed port outside of {low} to {high}, or another address",
        ),
        Remedy(
            action="bind-address-no-port",
            text="for clients that bind before they connect: IP_BIND_ADDRESS_NO_PORT, "
            "then one port serves several connections",
        ),
    ]
    lowest = min(low, 16384)  # below it many servers have their port
    if (low, high) != (lowest, 65535):
        setting = f"net.ipv4.ip_local_port_range={lowest} 65535"
        remedy = Remedy(action="widen-port-range", text="a wider range")
        found.append(_by_sysctl(remedy, setting, snapshot))
    if snapshot.reserved_ports:
        remedy = Remedy(
            action="free-reserved-ports", text="or fewer reserved ports (none)"
        )
        setting = "net.ipv4.ip_local_reserved_ports="
        found.append(_by_sysctl(remedy, setting, snapshot))
    return found


def _intercepted(
    _: Sequence[Blocker], diagnosis: Diagnosis, ___: Snapshot
) -> list[Remedy]:
    port = diagnosis.target.port
    transport = (
        "udp" if diagnosis.target.protocol.type is SocketType.DATAGRAM else "tcp"
    )
    excluded = ("interface", "ipv4", "show", "excludedportrange", transport)
    return [
        Remedy(
            action="look-at-host",
            text=f"who has it in Windows: netstat.exe -ano | findstr.exe :{port}",
        ),
        Remedy(
            action="look-at-host",
            text="or Windows keeps a range for itself",
            command=("netsh.exe", *excluded),
        ),
        Remedy(
            action="change-host-network",
            text="or use networkingMode=nat in .wslconfig of Windows, then "
            "wsl.exe --shutdown: Linux has its own ports then",
        ),
    ]


REMEDIES: dict[
    CauseCode, Callable[[Sequence[Blocker], Diagnosis, Snapshot], Sequence[Remedy]]
] = {
    CauseCode.HOST_INTERCEPTED: _intercepted,
    CauseCode.PRIVILEGED_PORT: _privileged,
    CauseCode.SECURITY_MODULE: _security_module,
    CauseCode.SANDBOX: _sandbox,
    CauseCode.OPTION_NOT_PERMITTED: _option,
    CauseCode.ADDRESS_NOT_LOCAL: _address,
    CauseCode.ADDRESS_TENTATIVE: _tentative,
    CauseCode.ADDRESS_DUPLICATE: _duplicate,
    CauseCode.SCOPE_MISSING: _scope,
    CauseCode.SCOPE_UNKNOWN: _scope_unknown,
    CauseCode.DEVICE_UNKNOWN: _device,
    CauseCode.PROTOCOL_UNAVAILABLE: _protocol,
    CauseCode.INVALID_ARGUMENT: _multicast,
    CauseCode.OPTION_CONFLICT: _conflict,
    CauseCode.DESCRIPTOR_LIMIT: _descriptors,
    CauseCode.NO_MEMORY: _memory,
    CauseCode.FAMILY_DISABLED: _family,
    CauseCode.NAME_NOT_RESOLVED: _name,
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: _ephemeral,
}
