"""Refusals that are not "in use": permission, address, family, argument, resources.

The order of the kernel's own checks (__inet_bind, __inet6_bind) tells which refusal
comes next once the present one is gone.
"""

from __future__ import annotations

from bindcheck.model import Cause
from bindcheck.target import ANY4, ANY6, LOOPBACK6, MAPPED_PREFIX
from bindcheck.words import CauseCode, Certainty, Family, SocketType, Step

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Attempt, Facts, Snapshot, Target

CAP_NET_BIND_SERVICE = 10


def causes(attempt: Attempt, snapshot: Snapshot) -> tuple[Cause, ...]:
    """Explain a failed attempt by its step and error name; never empty."""
    name = attempt.error.name if attempt.error else None
    code = None
    if name in ("EMFILE", "ENFILE"):
        code = CauseCode.DESCRIPTOR_LIMIT
    elif attempt.step is Step.RESOLVE:
        # A literal address fails by its zone.
        zone = attempt.target.address is not None
        code = CauseCode.SCOPE_UNKNOWN if zone else CauseCode.NAME_NOT_RESOLVED
    elif attempt.step is Step.SOCKET:
        code = _at_socket(name)
    elif attempt.step is Step.SETSOCKOPT:
        code = _at_option(name, attempt.argument)
    elif attempt.step is Step.BIND:
        code = _at_bind(name, attempt, snapshot)
    if code is None:
        return (Cause(code=CauseCode.UNKNOWN, certainty=Certainty.POSSIBLE),)
    certainty = Certainty.LIKELY if name == "EAI_AGAIN" else Certainty.CERTAIN
    return (Cause(code=code, certainty=certainty),)


def is_privileged(target: Target, facts: Facts) -> bool:
    """Whether this port needs a capability that the caller has not.

    CAP_NET_BIND_SERVICE counts in the user namespace that owns the network namespace.
    """
    start = facts.unprivileged_port_start
    if start is None or not 0 < target.port < start:
        return False
    capable = bool(facts.capabilities >> CAP_NET_BIND_SERVICE & 1)
    return not capable or facts.owns_network_namespace is False


def is_foreign(target: Target, snapshot: Snapshot, device: int = 0) -> bool:
    """Whether no interface has the target's address (and none is needed to).

    An IPv6 address must be one of the interface that the socket is bound to.
    """
    packed = target.packed
    if packed.startswith(MAPPED_PREFIX):
        packed = packed[12:]
    if packed in (ANY4, ANY6) or not snapshot.addresses:
        return False
    if len(packed) == len(ANY4) and packed[0] == 127:
        return False
    if target.family is Family.INET or not device:
        return all(one.packed != packed for one in snapshot.addresses)
    here = (one.packed for one in snapshot.addresses if one.index == device)
    return packed not in here


def later_refusals(attempt: Attempt, snapshot: Snapshot) -> tuple[CauseCode, ...]:
    """What the kernel would object to next, except "in use"."""
    name = attempt.error.name if attempt.error else None
    if attempt.step is not Step.BIND:
        return ()
    target = attempt.target
    if name == "EADDRNOTAVAIL" and target.family is Family.INET:
        privileged = is_privileged(target, snapshot.facts)
        return (CauseCode.PRIVILEGED_PORT,) if privileged else ()
    if name == "EACCES" and target.family is Family.INET6:
        foreign = is_foreign(target, snapshot)
        return (CauseCode.ADDRESS_NOT_LOCAL,) if foreign else ()
    return ()


def is_link_local(target: Target) -> bool:
    """Whether it is an IPv6 address that needs a zone: fe80::/10, or ff02::/16 for UDP."""
    packed = target.packed
    if len(packed) != len(ANY6):
        return False
    multicast = packed[0] == 0xFF and packed[1] & 0x0F in (1, 2)
    if multicast and target.protocol.type is SocketType.DATAGRAM:
        return True
    return packed[0] == 0xFE and packed[1] & 0xC0 == 0x80


def _at_socket(name: str | None) -> CauseCode | None:
    if name == "EAFNOSUPPORT":
        return CauseCode.FAMILY_DISABLED
    if name in ("EPROTONOSUPPORT", "ENOPROTOOPT", "ESOCKTNOSUPPORT"):
        return CauseCode.PROTOCOL_UNAVAILABLE
    return None


def _at_option(name: str | None, argument: str | None) -> CauseCode | None:
    if argument == "SO_BINDTODEVICE" and name == "ENODEV":
        return CauseCode.DEVICE_UNKNOWN
    return CauseCode.OPTION_NOT_PERMITTED if name == "EPERM" else None


def _at_bind(
    name: str | None, attempt: Attempt, snapshot: Snapshot
) -> CauseCode | None:
    target, facts = attempt.target, snapshot.facts
    if name == "EACCES" and is_privileged(target, facts):
        return CauseCode.PRIVILEGED_PORT
    if name == "EADDRNOTAVAIL":
        if _lost_family(target, facts):
            return CauseCode.FAMILY_DISABLED
        # Without the list of addresses the error says it alone.
        device = snapshot.devices.get(attempt.options.device or "", 0)
        device = device or target.scope_id or 0
        foreign = is_foreign(target, snapshot, device) or not snapshot.addresses
        return CauseCode.ADDRESS_NOT_LOCAL if foreign else None
    if name == "EINVAL" and is_link_local(target) and target.scope_id is None:
        return CauseCode.SCOPE_MISSING
    if name == "ENODEV" and target.scope_id is not None:
        return CauseCode.SCOPE_UNKNOWN
    return None


def _lost_family(target: Target, facts: Facts) -> bool:
    """An IPv6 address is missing because IPv6 is off here."""
    if target.family is not Family.INET6 or target.packed.startswith(MAPPED_PREFIX):
        return False
    loopback = target.packed == LOOPBACK6
    return bool(facts.ipv6_disabled_loopback if loopback else facts.ipv6_disabled)
