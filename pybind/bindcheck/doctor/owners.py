"""Which program has a socket: how many may be looked at, and what hides the others."""

from __future__ import annotations

import os

from bindcheck.doctor.checks import Answer, Group, Question
from bindcheck.doctor.here import CAP_SYS_PTRACE, NOBODY_TRACES
from bindcheck.doctor.mounts import proc_options, read_mounts
from bindcheck.processes import pids_are_ours, sees_other_users
from bindcheck.rules.ownership import INITIAL_PID_NAMESPACE
from bindcheck.sanitize import sanitize
from bindcheck.words import System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.doctor.here import Here


def _processes(here: Here) -> Answer:
    scan = here.scan
    # A scan that could not even open the folder did not see that there is one.
    if scan.exhausted or (not scan.available and os.path.exists("/proc/self")):  # noqa: PTH110
        text = "not all were looked at: bindcheck may open no more files (ulimit -n)"
        return Answer(ok=False, text=text, widen="with a higher limit it sees more")
    if not scan.available:
        return _no_processes(here)
    if scan.unreadable:
        text = f"{scan.seen - scan.unreadable} of {scan.seen} processes can be read by "
        text += here.who
        if here.may_trace:
            text += ", although it has CAP_SYS_PTRACE"
        return Answer(
            ok=False,
            text=text,
            widen=here.who_sees("pid and program of every socket", CAP_SYS_PTRACE),
            as_root=here.sudo_helps(CAP_SYS_PTRACE),
        )
    if not scan.holders:
        text = "a socket of our own is not found among the descriptors of programs"
        return Answer(ok=False, text=text)
    text = f"all {scan.seen} that are listed can be read"
    # Of those that are not listed another line tells.
    return Answer(ok=True if sees_other_users() else None, text=text)


def _no_processes(here: Here) -> Answer:
    if here.facts.system == System.LINUX:
        return Answer(
            ok=False,
            text="/proc cannot be read here: no socket gets the name of a program",
            widen="with /proc mounted programs are seen",
        )
    return Answer(ok=False, text="the list of processes cannot be read here")


def _listed(here: Here) -> Answer:
    """Whether /proc lists everybody's processes, and of the right namespace."""
    options = proc_options(read_mounts())
    shown = f" ({sanitize(','.join(options))})" if options else ""
    if here.scan.available and not pids_are_ours():
        text = "/proc is that of another pid namespace: the pids mean others here"
        return Answer(ok=False, text=text, widen="mount /proc of this namespace")
    if here.scan.available and not sees_other_users():
        return Answer(
            ok=False,
            text=f"/proc lists no processes of other users{shown}",
            widen=here.who_sees("those of all users", CAP_SYS_PTRACE),
            as_root=here.sudo_helps(CAP_SYS_PTRACE),
        )
    if not here.scan.available:
        return Answer(ok=None, text="it could not be read")
    return Answer(ok=True, text=f"/proc lists those of all users{shown}")


def _pid_namespace(here: Here) -> Answer:
    namespace = here.facts.pid_namespace
    if namespace is None:
        return Answer(ok=None, text="which one this is is not told")
    if namespace == INITIAL_PID_NAMESPACE:
        return Answer(ok=True, text="the machine's own")
    engine = here.surroundings.engine
    where = "this container" + (f" ({engine})" if engine else " (pid namespace)")
    return Answer(
        ok=False,
        text=f"processes outside of {where} cannot be seen",
        widen="bindcheck on the host sees them",
    )


def _options(here: Here) -> Answer:
    """Descriptors are borrowed to read them: tried with one of our own."""
    held = here.scan.holders
    if not held or held[0].reuse_address is None:
        text = (
            "they cannot be read here (pidfd_getfd is missing or forbidden, or there "
        )
        text += "are no descriptors left)"
        return Answer(ok=None, text=text)
    if here.may_trace:
        return Answer(ok=True, text="SO_REUSEADDR and others can be read")
    text = "SO_REUSEADDR and others can be read in your own programs"
    if here.trace_scope not in (None, "0"):
        text = "SO_REUSEADDR and others cannot be read in other programs "
        text += f"(kernel.yama.ptrace_scope = {here.trace_scope})"
    never = here.trace_scope == NOBODY_TRACES
    return Answer(
        ok=None,
        text=text,
        widen=None if never else here.who_sees("those of every holder", CAP_SYS_PTRACE),
        as_root=not never and here.sudo_helps(CAP_SYS_PTRACE),
    )


def _rings(here: Here) -> Answer:
    """Only without a filter, which may end a program for a call that it does not know."""
    if here.confinement.seccomp != 0:
        text = "not tried, because a system call filter may end who asks"
        return Answer(ok=None, text=text)
    from bindcheck.doctor.rings import names_its_files

    named, why = names_its_files()
    if named:
        return Answer(ok=True, text="sockets that it alone has are found")
    if named is None:
        return Answer(
            ok=None, text=f"whether it names its sockets was not tried: {why}"
        )
    text = "sockets that it alone has are not found: this kernel does not name them"
    return Answer(ok=None, text=text)


EVERYWHERE = (
    Question(
        name="processes",
        group=Group.OWNERS,
        title="processes",
        ask=_processes,
        summary="owners of sockets",
    ),
)
"""What macOS is asked as well."""

QUESTIONS = (
    *EVERYWHERE,
    Question(
        name="process-list", group=Group.OWNERS, title="list of processes", ask=_listed
    ),
    Question(
        name="pid-namespace",
        group=Group.OWNERS,
        title="pid namespace",
        ask=_pid_namespace,
    ),
    Question(
        name="holder-options",
        group=Group.OWNERS,
        title="options of holders",
        ask=_options,
        summary="options of holders",
    ),
    Question(name="io-uring", group=Group.OWNERS, title="io_uring", ask=_rings),
)
