"""The machine as the checks see it: what several of them need is read once."""

from __future__ import annotations

import os

from bindcheck import native
from bindcheck.doctor.surroundings import read_texts, surroundings_of
from bindcheck.lazy import once
from bindcheck.machine import CAPABILITIES, read_line
from bindcheck.model import Confinement
from bindcheck.rules.ownership import INITIAL_USER_NAMESPACE
from bindcheck.sanitize import sanitize
from bindcheck.words import System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.doctor.surroundings import Surroundings
    from bindcheck.model import Facts
    from bindcheck.observe import Observer

# include/uapi/linux/capability.h
CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_SYS_PTRACE = 10, 12, 19
NOBODY_TRACES = "3"  # Documentation/admin-guide/LSM/Yama.rst


class Here:
    """Where bindcheck is asked. What cannot be read raises OSError when it is needed."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer

    @property
    def facts(self) -> Facts:
        """What the machine allows."""
        return self.observer.facts

    @once
    def confinement(self) -> Confinement:
        """What restricts this process."""
        snapshot = self.observer.nothing_seen()
        held = self.observer.with_confinement(snapshot, None).confinement
        return held or Confinement()

    @once
    def surroundings(self) -> Surroundings:
        """The container, or the system inside of another one."""
        return surroundings_of(read_texts())

    @once
    def scan(self) -> native.Scan:
        """Who has a socket of our own: every process that may be read is looked at."""
        import _socket

        own = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        try:
            if self.facts.system == System.LINUX:
                return native.find_owners([os.fstat(own.fileno()).st_ino])
            # There the tables alone say what a socket is called.
            own.bind(("127.0.0.1", 0))
            from bindcheck.words import Protocol

            rows = native.list_sockets(Protocol.TCP, own.getsockname()[1]).sockets
            return native.find_owners([one.inode for one in rows] or [1])
        finally:
            own.close()

    @once
    def protocols(self) -> frozenset[str] | None:
        """The protocols that this kernel has loaded; None where it does not tell.

        To make a socket of another one would load a module of the kernel.
        """
        try:
            with open("/proc/self/net/protocols", encoding="ascii") as file:
                lines = file.read(65536).splitlines()[1:]
        except (OSError, UnicodeDecodeError):
            return None
        return frozenset(line.partition(" ")[0] for line in lines)

    @once
    def who(self) -> str:
        """Name the user who asks."""
        name = self.observer.name_of(self.facts.euid)
        uid = f"uid {self.facts.euid}"
        return f"{sanitize(name)} ({uid})" if name else uid

    @property
    def in_user_namespace(self) -> bool:
        """Whether root in here is no root of the machine."""
        return self.facts.user_namespace not in (None, INITIAL_USER_NAMESPACE)

    def has(self, capability: int) -> bool:
        """Whether we have a capability, of whatever user namespace."""
        return bool(self.facts.capabilities >> capability & 1)

    @property
    def may_trace(self) -> bool:
        """Whether every program may be traced, whoever it belongs to (ptrace(2))."""
        if self.in_user_namespace or self.trace_scope == NOBODY_TRACES:
            return False
        return self.has(CAP_SYS_PTRACE)

    @property
    def trace_scope(self) -> str | None:
        """What Yama lets be traced, from 0 (all of one's own) to 3 (nothing)."""
        return read_line("/proc/sys/kernel/yama/ptrace_scope")

    def sudo_helps(self, capability: int) -> bool:
        """Whether sudo would give us a capability that we lack."""
        if self.facts.euid in (0, None) or self.in_user_namespace:
            return False
        return not self.has(capability) and not self.confinement.no_new_privileges

    def who_sees(self, adds: str, capability: int) -> str | None:
        """Say who would see more; None where no right would help."""
        if self.facts.system != System.LINUX:
            return f"root sees {adds}" if self.facts.euid else None
        name = f"CAP_{CAPABILITIES[capability].upper()}"
        if self.in_user_namespace:
            return f"root outside of this user namespace sees {adds}"
        if self.has(capability):
            return None
        if self.facts.euid == 0:
            option = f"--cap-add={name.removeprefix('CAP_')}"
            return f"{name}, which root lacks here (docker: {option}), shows {adds}"
        if self.confinement.no_new_privileges:
            return f"root ({name}) outside of this sandbox sees {adds}"
        return f"root ({name}) sees {adds}"
