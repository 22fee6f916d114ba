"""EACCES and EPERM: a privileged port, or a policy.

Policies judge before the kernel's own checks do: Landlock, seccomp, BPF programs of a
cgroup, SELinux, AppArmor.
"""

from __future__ import annotations

from enum import StrEnum

from bindcheck.model import Cause
from bindcheck.target import ANY4, ANY6
from bindcheck.words import CauseCode, Certainty, Family, Step, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.model import (
        Attempt,
        Confinement,
        Diagnosis,
        Facts,
        Snapshot,
        Target,
        Trial,
    )

CAP_NET_BIND_SERVICE = 10
REFUSED = frozenset({"EACCES", "EPERM"})
FILTERED = 2
"""The number of a seccomp filter in /proc/PID/status."""


class Mechanism(StrEnum):
    """What refuses in a sandbox."""

    FILTER = "filter"
    CGROUP = "cgroup"
    LANDLOCK = "landlock"
    APP_SANDBOX = "app-sandbox"
    UNKNOWN = "unknown"


def is_privileged(target: Target, facts: Facts) -> bool:
    """Whether this port needs a privilege that the caller has not.

    Linux: CAP_NET_BIND_SERVICE in the user namespace that owns the network namespace.
    macOS: root, and for the wildcard address nothing (in_pcbbind). Windows: nothing.
    """
    start = facts.unprivileged_port_start
    if start is None or not 0 < target.port < start:
        return False
    if facts.system == System.DARWIN:
        return facts.euid != 0 and target.packed not in (ANY4, ANY6)
    capable = bool(facts.capabilities >> CAP_NET_BIND_SERVICE & 1)
    return not capable or facts.owns_network_namespace is False


def policy(
    attempt: Attempt, trials: Sequence[Trial], snapshot: Snapshot
) -> tuple[Cause, ...]:
    """The policies that explain a refusal which the kernel's own checks do not."""
    held = snapshot.confinement
    name = attempt.error.symbol if attempt.error else None
    if held is None or name is None:
        return ()
    if snapshot.facts.system == System.WINDOWS:
        return ()
    if snapshot.facts.system == System.DARWIN:
        refused = attempt.step in (Step.SOCKET, Step.BIND) and name == "EPERM"
        return (_sandbox(Certainty.LIKELY),) if refused else ()
    if attempt.step is Step.SOCKET:
        return _at_socket(attempt, name, held, snapshot)
    if is_filtered(attempt, snapshot):
        return (_sandbox(Certainty.CERTAIN),)
    if attempt.step is not Step.BIND or name not in REFUSED:
        return ()
    if name == "EPERM":
        if held.bind_programs:
            return (_sandbox(Certainty.CERTAIN),)
        told = held.bind_programs is None or held.seccomp == FILTERED
        return (_sandbox(Certainty.LIKELY if told else Certainty.POSSIBLE),)
    any_port = refused_on_any_port(trials)
    if is_privileged(attempt.target, snapshot.facts) and not any_port:
        return ()
    if is_mandatory(held):
        module = Cause(
            code=CauseCode.SECURITY_MODULE,
            certainty=Certainty.POSSIBLE if any_port else Certainty.LIKELY,
        )
        return (module, _sandbox(Certainty.POSSIBLE)) if any_port else (module,)
    signs = any_port or works_as_datagram(trials) or held.no_new_privileges
    return (_sandbox(Certainty.LIKELY if signs else Certainty.POSSIBLE),)


def unix_policy(attempt: Attempt, snapshot: Snapshot) -> tuple[Cause, ...]:
    """The policies that refuse a path which its permissions allow."""
    held = snapshot.confinement
    name = attempt.error.symbol if attempt.error else None
    if held is None or name is None or snapshot.facts.system == System.WINDOWS:
        return ()
    if attempt.step is Step.SOCKET:
        return _at_socket(attempt, name, held, snapshot)
    if is_filtered(attempt, snapshot):
        return (_sandbox(Certainty.CERTAIN),)
    if attempt.step is not Step.BIND or name != "EACCES":
        return ()
    if is_mandatory(held):
        code = CauseCode.SECURITY_MODULE
        return (Cause(code=code, certainty=Certainty.LIKELY),)
    told = held.no_new_privileges
    return (_sandbox(Certainty.LIKELY if told else Certainty.POSSIBLE),)


def _at_socket(
    attempt: Attempt, name: str, held: Confinement, snapshot: Snapshot
) -> tuple[Cause, ...]:
    if held.socket_filter is not None and held.socket_filter.name == name:
        return (_sandbox(Certainty.CERTAIN),)
    if name in REFUSED:
        if name == "EPERM" and held.socket_programs:
            return (_sandbox(Certainty.CERTAIN),)
        if name == "EACCES" and is_mandatory(held):
            code = CauseCode.SECURITY_MODULE
            return (Cause(code=code, certainty=Certainty.LIKELY),)
        return (_sandbox(Certainty.LIKELY),)
    # The kernel has IPv6, as its sysctls show, and yet gives no socket.
    has_ipv6 = snapshot.facts.bind_v6only is not None
    inet6 = attempt.target.family is Family.INET6
    if name == "EAFNOSUPPORT" and (has_ipv6 or not inet6):
        return (_sandbox(Certainty.LIKELY),)
    return ()


def is_filtered(attempt: Attempt, snapshot: Snapshot) -> bool:
    """Whether a system call filter gives the error of this bind, whatever it is."""
    held, error = snapshot.confinement, attempt.error
    if held is None or held.bind_filter is None or attempt.step is not Step.BIND:
        return False
    return error is not None and held.bind_filter.code == error.code


def mechanism(diagnosis: Diagnosis, snapshot: Snapshot) -> Mechanism:
    """Which kind of sandbox it is, as far as it shows."""
    held, attempt = snapshot.confinement, diagnosis.attempt
    name = attempt.error.symbol if attempt.error else None
    if held is None or name is None:
        return Mechanism.UNKNOWN
    if snapshot.facts.system == System.DARWIN:
        return Mechanism.APP_SANDBOX
    at_socket = attempt.step is Step.SOCKET
    filtered = held.socket_filter if at_socket else held.bind_filter
    if filtered is not None and filtered.name == name:
        return Mechanism.FILTER
    if attempt.target.family is Family.UNIX and not at_socket:
        return Mechanism.LANDLOCK if held.no_new_privileges else Mechanism.UNKNOWN
    if name == "EPERM":
        programs = held.socket_programs if at_socket else held.bind_programs
        if programs or (programs is None and held.seccomp != FILTERED):
            return Mechanism.CGROUP
        return Mechanism.UNKNOWN
    if at_socket:
        return Mechanism.FILTER if held.seccomp == FILTERED else Mechanism.UNKNOWN
    signs = refused_on_any_port(diagnosis.trials) or works_as_datagram(diagnosis.trials)
    stream_only = works_as_datagram(diagnosis.trials) is not False
    return Mechanism.LANDLOCK if signs and stream_only else Mechanism.UNKNOWN


def is_mandatory(held: Confinement) -> bool:
    """Whether SELinux or AppArmor judges this very process."""
    label = held.label or ""
    if ":" in label:
        parts = label.split(":")
        confined = len(parts) > 2 and parts[2] != "unconfined_t"
        return confined and held.selinux_enforcing is not False
    return label.endswith("(enforce)")


def refused_on_any_port(trials: Sequence[Trial]) -> bool:
    """Whether port 0 was refused in the same way: then it is not the port."""
    return any(
        trial.changed.get("port") == 0
        and trial.error is not None
        and trial.error.symbol in REFUSED
        for trial in trials
    )


def works_as_datagram(trials: Sequence[Trial]) -> bool | None:
    """What the trial of UDP on the same port said; None where there was none."""
    for trial in trials:
        if "protocol" in trial.changed:
            return trial.ok
    return None


def _sandbox(certainty: Certainty) -> Cause:
    return Cause(code=CauseCode.SANDBOX, certainty=certainty)
