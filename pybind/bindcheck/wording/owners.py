"""What is known of the owner of a socket, a line each."""

from __future__ import annotations

from bindcheck.rules.inheritance import is_orphan, was_adopted
from bindcheck.rules.ownership import may_have_others
from bindcheck.rules.proxies import proxy_of
from bindcheck.rules.supervisors import supervisor_of
from bindcheck.sanitize import sanitize
from bindcheck.wording.terms import (
    command_line,
    duration,
    numbers,
    origin_of,
    user_of,
)
from bindcheck.words import OwnerKind, System, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Owner, Process, Snapshot


def owner_lines(owner: Owner, snapshot: Snapshot, port: int) -> list[str]:
    """Say what is known of an owner, a line each."""
    lines = []
    if Trait.INHERITED in owner.traits and owner.processes:
        lines.append(_inherited_line(owner))
    for process in owner.processes[:3]:
        lines.append(_process_line(process, snapshot))
        command = command_line(process, snapshot.facts.system)
        if command:
            lines.append(command)
        lines += _descriptor_lines(process)
    if len(owner.processes) > 3:
        rest = numbers([one.pid for one in owner.processes[3:13]])
        more = " ..." if len(owner.processes) > 13 else ""
        lines.append(f"shared with pid {rest}{more}")
    lines += _trait_lines(owner, port)
    if owner.services:
        named = ", ".join(sanitize(one) for one in owner.services)
        lines.append(f"one of the services in it: {named}")
    if may_have_others(owner, snapshot.limits):
        lines.append(
            f"made by {user_of(owner)}: programs that cannot be read may have it too"
        )
    if not owner.processes:
        lines += _nobody_lines(owner, snapshot)
    elif owner.unit or owner.container:
        lines.append(f"it runs{origin_of(owner)}")
    return lines


def _process_line(process: Process, snapshot: Snapshot) -> str:
    text = f"pid {process.pid}"
    if process.user or process.uid is not None:
        text += f" of {process.user or f'uid {process.uid}'}"
    if process.state == "stopped":
        text += ", suspended"
    if process.started is not None:
        text += f", running for {duration(snapshot.observed_at - process.started)}"
    if process.parent == 1:
        text += ", parent is pid 1"
    elif process.parent_name:
        # A process that took orphans over, and one that opened a terminal, did not
        # start it, or not by itself.
        leads = process.session == process.pid
        relation = "parent is" if leads or was_adopted(process) else "started by"
        text += f", {relation} {sanitize(process.parent_name)} ({process.parent})"
    if process.folder:
        text += f", in {sanitize(process.folder)}"
    return text


def _descriptor_lines(process: Process) -> list[str]:
    """Where the socket is, if it is no plain descriptor of the process."""
    if process.thread is not None:
        fds = numbers(process.fds)
        return [f"only its thread {process.thread} has the descriptor (fd {fds})"]
    if process.registered:
        return ["it is registered with io_uring; the descriptor itself is closed"]
    return []


def _inherited_line(owner: Owner) -> str:
    if owner.opener is not None:
        names = dict.fromkeys(sanitize(one.name) for one in owner.processes[:3])
        several = len(owner.processes) > 1
        keeps = "one or more of its children may keep" if several else "a child keeps"
        return (
            f"the program that opened it (pid {owner.opener}) is gone; {keeps} it: "
            + ", ".join(names)
        )
    first = next((one for one in owner.processes if is_orphan(one)), owner.processes[0])
    return (
        f"the program that opened it is gone; its child {sanitize(first.name)} keeps "
        f"fd {numbers(first.fds)} and never serves it"
    )


def _trait_lines(owner: Owner, port: int) -> list[str]:
    lines = []
    if Trait.EXITING in owner.traits:
        lines.append("it is ending: the kernel is closing what it had")
    if any(one.name == "launchd" and one.pid == 1 for one in owner.processes):
        lines.append("launchd opened it for a job, which it starts when a client comes")
    elif Trait.SOCKET_ACTIVATION in owner.traits:
        named = [sanitize(one) for one in owner.socket_units]
        which = f"the unit {' or '.join(named)}" if named else "a .socket unit"
        by_systemd = not owner.processes or owner.unit or named
        lines.append(
            f"systemd opened it for {which}"
            if by_systemd or any(one.pid == 1 for one in owner.processes)
            else "it was opened by socket activation"
        )
    for process in owner.processes:
        proxy = proxy_of(process, port)
        if proxy is not None and proxy.target is not None:
            what = "" if proxy.engine is None else "the container at "
            name, target = sanitize(proxy.name), sanitize(proxy.target)
            lines.append(f"{name} forwards it to {what}{target}")
        supervisor = supervisor_of(process, owner.processes)
        if supervisor is not None:
            lines.append(
                f"supervised by {supervisor.name} (pid {supervisor.pid}): "
                "killed, it may be started again"
            )
        if process.other_pid_namespace:
            inside = f", where its pid is {process.inner_pid}"
            lines.append(
                f"pid {process.pid} is in another pid namespace (a container)"
                + (inside if process.inner_pid else "")
            )
    return list(dict.fromkeys(lines))


def _nobody_lines(owner: Owner, snapshot: Snapshot) -> list[str]:
    kernel = sanitize(owner.kernel or "")
    if owner.kind is OwnerKind.KERNEL:
        if snapshot.facts.system == System.WINDOWS:
            return ["pid 4 is the kernel: a driver has the socket, not a program"]
        return [f"a socket of the kernel's own: the {kernel} uses this port"]
    lines = []
    if owner.opener is not None:
        if owner.opener_name is None:
            gone = f"the system names pid {owner.opener}, which is gone"
            windows = snapshot.facts.system == System.WINDOWS
            seen = (
                "no child of it was found" if windows else "nobody is seen to have it"
            )
            return [f"{gone}; {seen}"]
        return ["which process has it now may be seen by root alone"]
    if owner.kind is OwnerKind.HIDDEN:
        made = f"made by {user_of(owner)}{origin_of(owner)}"
        lines.append(f"{made}; no process that can be read has it")
    elif owner.kind is OwnerKind.IN_TRANSIT:
        lines.append(
            f"made by {user_of(owner)}; all processes were read, and none has it: it is "
            "being passed over a unix socket (SCM_RIGHTS), or it is the kernel's own"
        )
    if owner.kernel:
        lines.append(f"it may be the kernel's own: there is the {kernel}")
    return lines
