"""What helps where the bind is refused for another reason than "in use"."""

from __future__ import annotations

from bindcheck.model import Remedy
from bindcheck.rules.remedies.stopping import as_root
from bindcheck.target import LOOPBACK6
from bindcheck.words import CauseCode, Family

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
            command=as_root(
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
        command = as_root(snapshot, "ip", "link", "set", "lo", "up")
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
                    command=as_root(snapshot, *command),
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


def _ephemeral(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    return [
        Remedy(
            action="use-other-address",
            text="bind a fixed port outside of the range, or another address; or widen "
            "net.ipv4.ip_local_port_range",
        )
    ]


REMEDIES: dict[
    CauseCode, Callable[[Sequence[Blocker], Diagnosis, Snapshot], Sequence[Remedy]]
] = {
    CauseCode.PRIVILEGED_PORT: _privileged,
    CauseCode.ADDRESS_NOT_LOCAL: _address,
    CauseCode.SCOPE_MISSING: _scope,
    CauseCode.DESCRIPTOR_LIMIT: _descriptors,
    CauseCode.FAMILY_DISABLED: _family,
    CauseCode.NAME_NOT_RESOLVED: _name,
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: _ephemeral,
}
