"""Processes in the words of the model: who they are, and who is above them."""

from __future__ import annotations

import errno
import os
import time

from bindcheck import native
from bindcheck.machine import SYSTEM, decode
from bindcheck.model import Ancestor, Process
from bindcheck.records import replace
from bindcheck.rules.ownership import INITIAL_USER_NAMESPACE, Asking
from bindcheck.rules.program import program_of
from bindcheck.words import System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bindcheck.model import Facts
    from bindcheck.native.rows import Holder

_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "disk-sleep",
    "T": "stopped",
    "t": "traced",
    "Z": "zombie",
    "X": "dead",
    "I": "idle",
}


def describe_process(
    facts: native.ProcessFacts,
    machine: Facts,
    known: Mapping[int, native.ProcessFacts],
    *,
    uid: int | None,
    user: str | None,
) -> Process:
    """Turn what the system says of a process into a Process, without descriptors.

    `known` are other processes by pid, those above it among them.
    """
    command = tuple([decode(one) for one in facts.command])
    folder = decode(facts.folder) or None
    above = _above(facts, known)
    return Process(
        pid=facts.pid,
        start_id=facts.start_ticks,
        fds=(),
        name=decode(facts.name),
        command=command,
        command_truncated=facts.command_truncated,
        uid=uid,
        user=user,
        started=_boot_time() + facts.start_ticks / machine.clock_ticks,
        parent=facts.parent or None,
        parent_name=decode(above[0].name) if above else None,
        state=_STATES.get(facts.state, "unknown"),
        folder=folder,
        program=program_of(facts.executable, command, folder),
        flags=facts.flags,
        session=facts.session,
        ancestors=_ancestors(above),
        other_pid_namespace=None not in (facts.pid_namespace, machine.pid_namespace)
        and facts.pid_namespace != machine.pid_namespace,
        inner_pid=facts.inner_pid,
        environment=tuple([_variable(one) for one in facts.environment]),
    )


def with_descriptors(process: Process, holders: Sequence[Holder]) -> Process:
    """Add its descriptors of one socket."""
    fds = sorted({one.fd for one in holders if one.fd is not None})
    threads = {one.tid for one in holders}
    serving = {one.serves for one in holders}
    kept = [one.close_on_exec for one in holders if one.close_on_exec is not None]
    return replace(
        process,
        fds=tuple(fds),
        thread=None if process.pid in threads or not threads else min(threads),
        registered=bool(holders) and not fds,
        close_on_exec=all(kept) if kept else None,
        # One that may serve it decides, then one of which it is not known.
        serves=next((one for one in (True, None, False) if one in serving), None),
    )


def _above(
    facts: native.ProcessFacts, known: Mapping[int, native.ProcessFacts]
) -> list[native.ProcessFacts]:
    """The processes above one, parent first, pid 1 last; bounded."""
    above: list[native.ProcessFacts] = []
    while len(above) < native.MOST_ANCESTORS:
        parent = known.get(facts.parent)
        if parent is None or parent.start_ticks > facts.start_ticks:
            break  # a reused pid
        above.append(parent)
        facts = parent
    return above


def _ancestors(above: Sequence[native.ProcessFacts]) -> tuple[Ancestor, ...]:
    from bindcheck.rules.supervisors import supervised_name, supervisor_name

    made = []
    for one in above:
        if one.pid == 1:
            continue
        command = tuple([decode(word) for word in one.command[:4]])
        supervisor = supervisor_name(decode(one.name), command)
        made.append(
            Ancestor(
                pid=one.pid,
                session=one.session,
                supervisor=supervisor,
                supervises=supervised_name(supervisor, command),
            )
        )
    return tuple(made)


def _variable(told: bytes) -> tuple[str, str]:
    name, _, value = told.partition(b"=")
    return decode(name), decode(value)


def asking_process() -> Asking | None:
    """Describe the calling process, for recognising its copies."""
    if SYSTEM == System.WINDOWS:
        from bindcheck import windows

        return windows.asking_process()
    facts = native.read_own_program()
    if facts is None:
        return None
    command = tuple([decode(one) for one in facts.command])
    folder = decode(facts.folder) or None
    program = program_of(facts.executable, command, folder)
    return Asking(pid=facts.pid, program=program)


def unmapped_uid(facts: Facts) -> int | None:
    """What the kernel says instead of users that have no id in our user namespace.

    None where that cannot happen, or where it is the id of a user as well
    (user_namespaces(7), /proc/sys/kernel/overflowuid).
    """
    if facts.user_namespace in (None, INITIAL_USER_NAMESPACE):
        return None
    overflow = 65534
    try:
        with open("/proc/self/uid_map", "rb") as file:
            ranges = [line.split() for line in file.read(65536).splitlines()]
    except OSError:
        return None
    mapped = any(
        len(one) == 3 and 0 <= overflow - int(one[0]) < int(one[2]) for one in ranges
    )
    return None if mapped else overflow


def sees_other_users() -> bool:
    """Whether /proc lists everybody's processes: mounted with hidepid=2 it does not.

    pid 1 is always there and is root's.
    """
    try:
        os.stat("/proc/1")  # noqa: PTH116
    except OSError as error:
        return error.errno != errno.ENOENT
    return True


def pids_are_ours() -> bool:
    """Whether /proc belongs to our pid namespace: else its pids mean others here."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115
    except OSError:
        return True


def _boot_time() -> float:
    clock: Callable[[int], float] | None = getattr(time, "clock_gettime", None)
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None or boottime is None:
        return 0.0
    return time.time() - clock(boottime)
