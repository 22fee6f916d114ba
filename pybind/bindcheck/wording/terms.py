"""Words for one thing at a time: a time span, an address, an owner, a command line.

Foreign texts are escaped here, so that every reader of a report is safe.
"""

from __future__ import annotations

from bindcheck.sanitize import sanitize
from bindcheck.target import format_endpoint
from bindcheck.words import OwnerKind, System, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.model import Owner, Process, Socket


def duration(seconds: float) -> str:
    """Write a time span with the unit that people would use."""
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def endpoint_of(socket: Socket) -> str:
    """Write the local address of a row."""
    scope = str(socket.local.scope_id) if socket.local.scope_id else None
    return format_endpoint(socket.family, socket.packed, socket.local.port, scope)


def who(owner: Owner) -> str:
    """Name an owner: "node (pid 4121)", or what is known of a hidden one."""
    if owner.processes:
        first = owner.processes[0]
        more = len(owner.processes) - 1
        rest = f" and {more} more" if more else ""
        if Trait.SAME_PROCESS in owner.traits:
            fds = f", fd {numbers(first.fds)}" if first.fds else ""
            return f"this process (pid {first.pid}{fds}){rest}"
        if Trait.OWN_COPY in owner.traits:
            return f"another copy of this program (pid {first.pid}{rest})"
        return f"{program_of(first)} (pid {first.pid}{rest})"
    if owner.kind is OwnerKind.IN_TRANSIT:
        return f"a socket that no process has a descriptor of{origin_of(owner)}"
    if owner.kind is OwnerKind.KERNEL:
        return f"the kernel ({sanitize(owner.kernel or 'itself')})"
    if owner.kind is OwnerKind.NONE:
        return "nobody"
    if owner.opener is not None:
        return _opener(owner)
    # Not "a program": the kernel has sockets of its own.
    return f"a socket of {user_of(owner)}{origin_of(owner)}"


def program_of(process: Process) -> str:
    """Name the program of a process."""
    from bindcheck.rules.proxies import program_name

    return sanitize(program_name(process)) or "a program"


def _opener(owner: Owner) -> str:
    """Who the tables name, where that process is not seen to have the socket."""
    if owner.opener_name is None:
        return f"a program that is gone (pid {owner.opener})"
    name = sanitize(owner.opener_name)
    return f"a socket of {user_of(owner)}, last used by {name} (pid {owner.opener})"


def user_of(owner: Owner) -> str:
    """Name the user of an owner."""
    if owner.uid is None:
        return sanitize(owner.user or "") or "a user that is not told here"
    return f"{owner.user} (uid {owner.uid})" if owner.user else f"uid {owner.uid}"


def origin_of(owner: Owner) -> str:
    """Say of which container or service it is, where that is known."""
    if owner.container:
        return f" in container {owner.container[:12]}"
    return f" in {sanitize(owner.unit)}" if owner.unit else ""


def numbers(these: Sequence[int]) -> str:
    """Write numbers behind each other."""
    return ", ".join(str(one) for one in these)


def plural(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def quoted(words: Sequence[str], system: str) -> str:
    """Words as they are typed to the shell of a system."""
    if system == System.WINDOWS:
        from subprocess import list2cmdline

        return list2cmdline(words)  # double quotes, for cmd and PowerShell
    import shlex

    return shlex.join(words)


def command_line(process: Process, system: str) -> str:
    """The command line as it could be typed, escaped, at most 300 characters."""
    if not process.command:
        return ""
    words = list(process.command)
    while words and not words[-1]:
        words.pop()  # what is left of the memory that a title was written over
    text = sanitize(quoted(words, system))
    return text if len(text) <= 300 else text[:297] + "..."
