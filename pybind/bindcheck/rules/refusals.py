"""Refusals that are not "in use": permission, address, family, argument, resources.

What bind would object to is worked out from the facts in the order of the kernel's own
checks (__inet_bind, __inet6_bind). The first objection explains the error, the others
come next once the first is gone. A refusal that none of them explains is a policy's:
those are asked before the kernel's own checks.
"""

from __future__ import annotations

from bindcheck.model import Cause
from bindcheck.records import replace
from bindcheck.rules.address import (
    address_refusal,
    having,
    is_broadcast4,
    is_link_local,
    is_mapped,
    is_multicast4,
    is_multicast6,
    with_zone,
)
from bindcheck.rules.permission import is_privileged, policy
from bindcheck.rules.resources import exhausted
from bindcheck.words import CauseCode, Certainty, Family, SocketType, Step, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.model import Attempt, NativeCode, Options, Snapshot, Target, Trial

_ERRORS = {
    CauseCode.PRIVILEGED_PORT: "EACCES",
    CauseCode.ADDRESS_NOT_LOCAL: "EADDRNOTAVAIL",
    CauseCode.ADDRESS_TENTATIVE: "EADDRNOTAVAIL",
    CauseCode.ADDRESS_DUPLICATE: "EADDRNOTAVAIL",
    CauseCode.FAMILY_DISABLED: "EADDRNOTAVAIL",
    CauseCode.INVALID_ARGUMENT: "EINVAL",
    CauseCode.OPTION_CONFLICT: "EINVAL",
    CauseCode.SCOPE_MISSING: "EINVAL",
}
# What macOS or Windows may call it.
_ELSEWHERE = {
    CauseCode.INVALID_ARGUMENT: "EAFNOSUPPORT",
    CauseCode.SCOPE_MISSING: "EADDRNOTAVAIL",
}
_ABOUT_THE_ADDRESS = frozenset(
    code for code, name in _ERRORS.items() if name == "EADDRNOTAVAIL"
)
_POLICIES = frozenset({CauseCode.SANDBOX, CauseCode.SECURITY_MODULE})
_BEFORE_BIND = frozenset({*_POLICIES, CauseCode.OPTION_NOT_PERMITTED})


def causes(
    attempt: Attempt, trials: Sequence[Trial], snapshot: Snapshot
) -> tuple[Cause, ...]:
    """Explain a failed attempt by its step, its error and the facts; never empty."""
    name = attempt.error.symbol if attempt.error else None
    policies = policy(attempt, trials, snapshot)
    if policies:
        return policies
    code = exhausted(name)
    if code is None and attempt.step is Step.RESOLVE:
        # A literal address fails by its zone.
        zone = attempt.target.address is not None
        code = CauseCode.SCOPE_UNKNOWN if zone else CauseCode.NAME_NOT_RESOLVED
    elif code is None and attempt.step is Step.SOCKET:
        code = _at_socket(name, attempt.target)
    elif code is None and attempt.step is Step.SETSOCKOPT:
        code = _at_option(name, attempt.argument)
    elif code is None and attempt.step is Step.BIND:
        if snapshot.facts.system == System.WINDOWS and name == "EACCES":
            return (_forbidden_on_windows(attempt, snapshot),)
        code = _at_bind(name, attempt, snapshot)
    if code is None:
        return (Cause(code=CauseCode.UNKNOWN, certainty=Certainty.POSSIBLE),)
    certainty = Certainty.LIKELY if name == "EAI_AGAIN" else Certainty.CERTAIN
    return (Cause(code=code, certainty=certainty),)


def objections(
    target: Target, options: Options, snapshot: Snapshot
) -> tuple[CauseCode, ...]:
    """What bind objects to, in the kernel's order, but "in use"."""
    privileged = is_privileged(target, snapshot.facts)
    port = (CauseCode.PRIVILEGED_PORT,) if privileged else ()
    if target.family not in (Family.INET, Family.INET6):
        return ()
    darwin = snapshot.facts.system == System.DARWIN
    for_many = is_multicast6(target) or (darwin and is_multicast4(target))
    if for_many and target.protocol.type is SocketType.STREAM:
        return (CauseCode.INVALID_ARGUMENT,)
    if target.family is Family.INET:
        code = address_refusal(target, options, snapshot)
        return (code, *port) if code else port
    found: list[CauseCode] = []
    if is_mapped(target) and is_v6only(options, snapshot):
        found.append(CauseCode.OPTION_CONFLICT)
    complete = with_zone(target, options, snapshot)
    lacks = is_link_local(target) and target.scope_id is None
    if lacks and options.device is None:
        found.append(CauseCode.SCOPE_MISSING)
    code = address_refusal(complete, options, snapshot)
    found += [code] if code else []
    # Linux looks at the port first, macOS last.
    return (*found, *port) if darwin else (*port, *found)


def later_refusals(
    attempt: Attempt, code: CauseCode, trials: Sequence[Trial], snapshot: Snapshot
) -> tuple[CauseCode, ...]:
    """What the kernel objects to next, once the cause `code` is gone; not "in use"."""
    if attempt.target.family is None:
        return ()
    found = objections(attempt.target, attempt.options, snapshot)
    if attempt.step is not Step.BIND:
        found = found if code in _BEFORE_BIND else ()
    elif code is CauseCode.SCOPE_UNKNOWN:
        complete = repaired(attempt.target, attempt.options, snapshot)
        address = address_refusal(complete, attempt.options, snapshot)
        found = (address,) if address else ()
    elif code in found:
        found = found[found.index(code) + 1 :]
    elif code not in _POLICIES:
        found = ()
    if any(trial.ok and "port" in trial.changed for trial in trials):
        # The address is fine: it could be bound with another port.
        found = tuple(one for one in found if one not in _ABOUT_THE_ADDRESS)
    return found


def asks_who_has_it(attempt: Attempt, code: CauseCode) -> bool:
    """Whether the port counts once this cause is gone."""
    if code in (CauseCode.INVALID_ARGUMENT, CauseCode.UNKNOWN):
        return False
    return attempt.step is Step.BIND or code in _BEFORE_BIND


def repaired(target: Target, options: Options, snapshot: Snapshot) -> Target:
    """The target with the zone that the remedy names, where it has none or a wrong one."""
    elsewhere = is_link_local(target) and not having(
        target, snapshot, target.scope_id or 0
    )
    if elsewhere and target.scope_id is not None:
        target = replace(target, scope_id=None)
    return with_zone(target, options, snapshot)


def error_of(code: CauseCode, snapshot: Snapshot) -> NativeCode | None:
    """The native error that an objection of bind gives."""
    known = (
        snapshot.permission_denied,
        snapshot.address_not_available,
        snapshot.invalid_argument,
    )
    return next((one for one in known if one and one.symbol == _ERRORS.get(code)), None)


def is_v6only(options: Options, snapshot: Snapshot) -> bool:
    """Whether an IPv6 socket of this attempt is for IPv6 alone."""
    if options.v6only is not None:
        return options.v6only
    return bool(snapshot.facts.bind_v6only)


def _at_socket(name: str | None, target: Target) -> CauseCode | None:
    if name == "EAFNOSUPPORT" and target.path is not None:
        return CauseCode.PROTOCOL_UNAVAILABLE
    if name == "EAFNOSUPPORT":
        return CauseCode.FAMILY_DISABLED
    if name in ("EPROTONOSUPPORT", "ENOPROTOOPT", "ESOCKTNOSUPPORT"):
        return CauseCode.PROTOCOL_UNAVAILABLE
    return None


def _forbidden_on_windows(attempt: Attempt, snapshot: Snapshot) -> Cause:
    """WSAEACCES with nobody on the port: a range that is kept, or a driver."""
    target, run = attempt.target, snapshot.refused_run
    datagram = target.protocol.type is SocketType.DATAGRAM
    if datagram and is_broadcast4(target, snapshot):
        code = CauseCode.BROADCAST_ADDRESS
        return Cause(code=code, certainty=Certainty.CERTAIN)
    named = any(one.first <= target.port <= one.last for one in snapshot.kept_ports)
    if named or (run is not None and run[1] > run[0]):
        several = run is not None and run[1] > run[0]
        certainty = Certainty.CERTAIN if named and several else Certainty.LIKELY
        return Cause(code=CauseCode.EXCLUDED_PORT_RANGE, certainty=certainty)
    code = CauseCode.RESERVED_BY_SYSTEM
    return Cause(code=code, certainty=Certainty.POSSIBLE)


def _at_option(name: str | None, argument: str | None) -> CauseCode | None:
    if argument == "SO_BINDTODEVICE" and name == "ENODEV":
        return CauseCode.DEVICE_UNKNOWN
    if argument in ("SO_EXCLUSIVEADDRUSE", "SO_REUSEADDR") and name == "EINVAL":
        return CauseCode.OPTION_CONFLICT  # Windows: the one excludes the other
    return CauseCode.OPTION_NOT_PERMITTED if name in ("EPERM", "EACCES") else None


def _at_bind(
    name: str | None, attempt: Attempt, snapshot: Snapshot
) -> CauseCode | None:
    found = objections(attempt.target, attempt.options, snapshot)
    for code in found:
        if name in (_ERRORS[code], _ELSEWHERE.get(code)):
            return code
    if name == "ENODEV" and attempt.target.scope_id is not None:
        return CauseCode.SCOPE_UNKNOWN
    if name == "EADDRNOTAVAIL" and not snapshot.addresses:
        return CauseCode.ADDRESS_NOT_LOCAL  # the error says it alone
    return None
