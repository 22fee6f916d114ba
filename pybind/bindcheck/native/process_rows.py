"""The array of bc_process as records; as rows.py has it of sockets."""

from __future__ import annotations

from _struct import Struct

from bindcheck.records import record

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from typing import Any

PROCESS_ROW = Struct("=QQQQiiiiIIIIIIIIIIIIIIBB6x")


@record(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """A process as the system describes it; texts are raw bytes."""

    pid: int
    parent: int
    session: int
    flags: int
    inner_pid: int | None
    pid_namespace: int | None
    uid: int
    start_ticks: int
    state: str
    name: bytes
    command: tuple[bytes, ...]
    command_truncated: bool
    folder: bytes
    cgroup: bytes
    environment: tuple[bytes, ...]
    """Those variables that tell who started it, as NAME=VALUE."""
    executable: tuple[int, int] | None


def process_rows(raw: Any, text: bytes) -> tuple[ProcessFacts, ...]:
    """Records of an array of bc_process, whose texts are parts of `text`."""
    made = []
    # fmt: off
    for (
        start_ticks, exe_device, exe_inode, pid_namespace,
        pid, parent, session, inner_pid, flags, uid, _threads,
        name, name_length, command, command_length, folder, folder_length,
        cgroup, cgroup_length, variables, variables_length,
        _holders, state, command_truncated,
    ) in PROCESS_ROW.iter_unpack(raw):
        # fmt: on
        words = text[command : command + command_length].removesuffix(b"\0")
        told = text[variables : variables + variables_length]
        one = ProcessFacts(
            pid=pid,
            parent=parent,
            session=session,
            flags=flags,
            inner_pid=inner_pid or None,
            pid_namespace=pid_namespace or None,
            uid=uid,
            start_ticks=start_ticks,
            state=chr(state),
            name=text[name : name + name_length],
            command=tuple(words.split(b"\0")) if words else (),
            command_truncated=bool(command_truncated),
            folder=text[folder : folder + folder_length],
            cgroup=text[cgroup : cgroup + cgroup_length],
            environment=tuple(told.split(b"\0")[:-1]) if told else (),
            executable=(exe_device, exe_inode) if exe_inode else None,
        )
        made.append(one)
    return tuple(made)
