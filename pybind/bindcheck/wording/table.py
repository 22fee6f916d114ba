"""The words of the table of ports: what stands in the columns of a line.

Foreign texts are escaped here.
"""

from __future__ import annotations

import posixpath

from bindcheck.port_table import CONNECTIONS
from bindcheck.records import replace
from bindcheck.rules.ownership import may_have_others
from bindcheck.rules.proxies import program_name, proxy_of
from bindcheck.rules.supervisors import supervisor_of
from bindcheck.sanitize import sanitize
from bindcheck.wording.terms import command_line, duration, origin_of, plural, who
from bindcheck.words import Kind, OwnerKind, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bindcheck.model import Endpoint, Process, Snapshot
    from bindcheck.port_table import Entry

HEADER = (
    *("PORT", "PROTO", "ADDRESS", "KIND", "PID", "USER", "REMOTE", "PROGRAM", "NOTE"),
    "COMMAND",
)
_TRAITS = {
    Trait.SUSPENDED: "suspended",
    Trait.EXITING: "ending",
    Trait.INHERITED: "inherited",
}
_COUNTED = {
    Kind.CONNECTION: "",
    Kind.CLOSE_WAIT: "CLOSE_WAIT",
    Kind.CLOSING_CONNECTION: "closing",
    Kind.TIME_WAIT: "TIME_WAIT",
}


class Columns:
    """Makes the texts of lines. It remembers programs: one may have many sockets."""

    def __init__(self, snapshot: Snapshot, interfaces: Mapping[int, str]) -> None:
        self._snapshot = snapshot
        self._interfaces = interfaces
        self._programs: dict[int, tuple[str, str]] = {}

    def of(self, entry: Entry) -> tuple[str, ...]:
        """The texts of one line, as HEADER names them; "" where there is nothing."""
        one = entry.socket
        program, command = self._program(entry)
        return (
            str(one.local.port),
            str(one.protocol),
            self._address(entry),
            str(entry.kind),
            _pid(entry),
            _user(entry),
            _remote(entry.remote),
            program,
            ", ".join(self._notes(entry)),
            command,
        )

    def _address(self, entry: Entry) -> str:
        """The address, `*` for all of both families; with the interface, if tied."""
        one = entry.socket
        dual = one.v6only is False and one.remote is None and not any(one.packed)
        text = "*" if dual else one.local.address
        index = one.device or one.local.scope_id
        if not index:
            return text
        return f"{text}%{sanitize(self._interfaces.get(index, str(index)))}"

    def _program(self, entry: Entry) -> tuple[str, str]:
        """Program and command line; of others who it is, as far as it is known."""
        owner = entry.socket.owner
        if entry.processes:
            first = entry.processes[0]
            if first.pid not in self._programs:
                self._programs[first.pid] = self._described(first)
            name, command = self._programs[first.pid]
            origin = origin_of(owner).strip()
            both = ": " if origin and command else ""
            return name, f"{origin}{both}{command}"
        if owner.kind is OwnerKind.KERNEL:
            return "the kernel", sanitize(owner.kernel or "")
        doubt = f", maybe the kernel's {sanitize(owner.kernel)}" if owner.kernel else ""
        return "-", who(owner) + doubt

    def _described(self, process: Process) -> tuple[str, str]:
        name = program_name(process)
        first, *rest = process.command or ("",)
        place = posixpath.basename(first.replace("\\", "/"))
        if place == name:
            # There may be no room for more than the folder that it lies in.
            process = replace(process, command=(place, *rest))
        command = command_line(process, self._snapshot.facts.system)
        return sanitize(name) or "-", command

    def _notes(self, entry: Entry) -> Iterator[str]:
        """What is unusual, the most important first."""
        owner = entry.socket.owner
        yield from (word for trait, word in _TRAITS.items() if trait in owner.traits)
        if entry.direction is not None:
            yield str(entry.direction)
        yield from _counts(entry)
        if Trait.SOCKET_ACTIVATION in owner.traits:
            yield " or ".join(map(sanitize, owner.socket_units)) or "socket activation"
        if entry.processes:
            yield from _process_notes(entry, entry.processes[0])
        if owner.services:
            yield f"one of {', '.join(map(sanitize, owner.services))}"
        if may_have_others(owner, self._snapshot.limits):
            yield "others may have it"


def _process_notes(entry: Entry, first: Process) -> Iterator[str]:
    owner = entry.socket.owner
    proxy = proxy_of(first, entry.socket.local.port)
    if proxy is not None and proxy.target is not None:
        yield f"forwards to {sanitize(proxy.target)}"
    elif proxy is not None and proxy.engine is not None:
        yield "container proxy"
    if Trait.SHARED in owner.traits:
        yield f"shared by {len(entry.processes)}"
    supervisor = supervisor_of(first, entry.processes)
    if supervisor is not None:
        yield f"supervised by {sanitize(supervisor.name)}"
    if first.other_pid_namespace and not owner.container:
        yield "other pid namespace"


def _counts(entry: Entry) -> Iterator[str]:
    """How many sockets the line stands for, and what came to them."""
    counted = dict(entry.counted)
    if entry.kind not in CONNECTIONS:
        if entry.count > 1:
            yield plural(entry.count, "socket")
    elif entry.count > 1:
        counted[entry.kind] = entry.count
    elif entry.last_ends_ms is not None:
        yield f"ends in {duration(entry.last_ends_ms / 1000)}"
    for kind, word in _COUNTED.items():
        number = counted.get(kind, 0)
        if number:
            yield f"{number} {word}" if word else plural(number, "connection")
    lingering = counted.get(Kind.TIME_WAIT, 0)
    if lingering and entry.last_ends_ms is not None:
        last = "last ends" if lingering > 1 else "ends"
        yield f"{last} in {duration(entry.last_ends_ms / 1000)}"


def _pid(entry: Entry) -> str:
    if entry.processes:
        more = len(entry.processes) - 1
        return f"{entry.processes[0].pid}" + (f"+{more}" if more else "")
    owner = entry.socket.owner
    if owner.opener is None and entry.socket.pid and owner.kind is not OwnerKind.NONE:
        return str(entry.socket.pid)
    return "hidden" if owner.kind is OwnerKind.HIDDEN else "-"


def _user(entry: Entry) -> str:
    owner = entry.socket.owner
    name, uid = owner.user, owner.uid
    if entry.processes:
        name, uid = entry.processes[0].user, entry.processes[0].uid
    if name:
        return sanitize(name)
    return "-" if uid is None else str(uid)


def _remote(remote: Endpoint | None) -> str:
    if remote is None:
        return ""
    address = f"[{remote.address}]" if ":" in remote.address else remote.address
    return f"{address}:{remote.port}"
