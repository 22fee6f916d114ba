"""Settings that explain what bind is told here. They hide nothing."""

from __future__ import annotations

from bindcheck.doctor.checks import Answer, Group, Question
from bindcheck.doctor.here import CAP_NET_BIND_SERVICE
from bindcheck.machine import CAPABILITIES, ipv6_disabled_on, reserved_ports
from bindcheck.sanitize import sanitize
from bindcheck.words import Family

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.doctor.here import Here

_NOT_TOLD = Answer(ok=None, text="not told")


def _privileged(here: Here) -> Answer:
    start = here.facts.unprivileged_port_start
    if start is None:
        return _NOT_TOLD
    if start == 0:
        return Answer(ok=True, text="none (ip_unprivileged_port_start = 0)")
    ours = here.has(CAP_NET_BIND_SERVICE)
    if here.facts.owns_network_namespace is False:
        ours = False
    has = "which is there" if ours else "which is missing here"
    return Answer(ok=True, text=f"below {start}: they need CAP_NET_BIND_SERVICE, {has}")


def _ephemeral(here: Here) -> Answer:
    ports = here.facts.ephemeral_range
    if ports is None:
        return _NOT_TOLD
    return Answer(ok=True, text=f"{ports[0]} to {ports[1]}: for clients and port 0")


def _reserved(_: Here) -> Answer:
    ranges = [
        str(low) if low == high else f"{low}-{high}" for low, high in reserved_ports()
    ]
    return Answer(ok=True, text=", ".join(ranges) or "none")


def _nonlocal(here: Here) -> Answer:
    known = {
        name: here.facts.nonlocal_bind.get(family)
        for name, family in (("IPv4", Family.INET), ("IPv6", Family.INET6))
    }
    if all(one is None for one in known.values()):
        return _NOT_TOLD
    allowed = [name for name, one in known.items() if one]
    text = f"{' and '.join(allowed)} can be bound" if allowed else "cannot be bound"
    return Answer(ok=True, text=f"{text} (ip_nonlocal_bind)")


def _v6only(here: Here) -> Answer:
    alone = here.facts.bind_v6only
    if alone is None:
        return _NOT_TOLD
    means = "IPv6 alone" if alone else "IPv4 as well"
    return Answer(ok=True, text=f":: is {means}, unless IPV6_V6ONLY is set otherwise")


def _ipv6(here: Here) -> Answer:
    facts = here.facts
    if facts.ipv6_available is None:
        return _NOT_TOLD
    if not facts.ipv6_available:
        return Answer(ok=True, text="not in this kernel")
    off = ", ".join(sanitize(one) for one in ipv6_disabled_on())
    return Answer(ok=True, text=f"disabled on {off}" if off else "enabled")


def _capabilities(here: Here) -> Answer:
    held = here.observer.context().capabilities
    missing = [one for one in CAPABILITIES if one not in held]
    if len(missing) < len(held):
        but = f" but {', '.join(missing)}" if missing else ""
        return Answer(ok=True, text=f"all{but}")
    return Answer(ok=True, text=", ".join(held) or "none")


def _modules(here: Here) -> Answer:
    held = here.confinement
    if not held.modules and held.label is None and held.selinux_enforcing is None:
        return _NOT_TOLD
    said = [sanitize(", ".join(held.modules))] if held.modules else []
    if held.selinux_enforcing is not None:
        state = "enforcing" if held.selinux_enforcing else "permissive"
        said.append(f"SELinux is {state}")
    if held.label:
        said.append(f"this process is {sanitize(held.label)}")
    return Answer(ok=True, text="; ".join(said))


EPHEMERAL = Question(
    name="ephemeral-range",
    group=Group.SETTINGS,
    title="ephemeral ports",
    ask=_ephemeral,
)
QUESTIONS = (
    Question(
        name="privileged-ports",
        group=Group.SETTINGS,
        title="privileged ports",
        ask=_privileged,
    ),
    EPHEMERAL,
    Question(
        name="reserved-ports",
        group=Group.SETTINGS,
        title="reserved ports",
        ask=_reserved,
    ),
    Question(
        name="nonlocal-bind",
        group=Group.SETTINGS,
        title="foreign addresses",
        ask=_nonlocal,
    ),
    Question(
        name="v6only-default",
        group=Group.SETTINGS,
        title="IPV6_V6ONLY",
        ask=_v6only,
    ),
    Question(name="ipv6", group=Group.SETTINGS, title="IPv6", ask=_ipv6),
    Question(
        name="capabilities",
        group=Group.SETTINGS,
        title="capabilities",
        ask=_capabilities,
    ),
    Question(
        name="security-modules",
        group=Group.SETTINGS,
        title="security modules",
        ask=_modules,
    ),
)
