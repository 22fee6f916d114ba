"""What is said of refusals that are not "in use": each cause's summary and evidence."""

from __future__ import annotations

from bindcheck.rules.refusals import CAP_NET_BIND_SERVICE
from bindcheck.target import LOOPBACK6
from bindcheck.words import CauseCode

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Blocker, Diagnosis, Snapshot


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


SUMMARIES: dict[CauseCode, Callable[..., str]] = {
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: fixed("every port of the range is taken"),
    CauseCode.PRIVILEGED_PORT: _privileged,
    CauseCode.OPTION_NOT_PERMITTED: fixed("a socket option is not permitted"),
    CauseCode.ADDRESS_NOT_LOCAL: _not_local,
    CauseCode.FAMILY_DISABLED: fixed("IPv6 is switched off here"),
    CauseCode.SCOPE_MISSING: fixed("a link-local address needs its interface"),
    CauseCode.SCOPE_UNKNOWN: fixed("there is no such interface here"),
    CauseCode.NAME_NOT_RESOLVED: _unresolved,
    CauseCode.PROTOCOL_UNAVAILABLE: fixed("this kernel does not offer the protocol"),
    CauseCode.DEVICE_UNKNOWN: fixed("there is no such network interface here"),
    CauseCode.DESCRIPTOR_LIMIT: fixed("no further descriptor can be opened"),
}


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


def _ephemeral_evidence(_: Diagnosis, snapshot: Snapshot) -> list[str]:
    if snapshot.facts.ephemeral_range is None:
        return []
    low, high = snapshot.facts.ephemeral_range
    return [f"net.ipv4.ip_local_port_range = {low} {high}"]


EVIDENCE: dict[CauseCode, Callable[[Diagnosis, Snapshot], list[str]]] = {
    CauseCode.PRIVILEGED_PORT: _privileged_evidence,
    CauseCode.ADDRESS_NOT_LOCAL: _address_evidence,
    CauseCode.FAMILY_DISABLED: _family_evidence,
    CauseCode.SCOPE_MISSING: _scope_evidence,
    CauseCode.SCOPE_UNKNOWN: _interface_evidence,
    CauseCode.DEVICE_UNKNOWN: _interface_evidence,
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: _ephemeral_evidence,
}
