"""Windows and macOS as their documents describe them, for tests on every system.

What the product asks of the system is answered here: the tables, bind(), processes.
bind() answers by Microsoft's two tables ("Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE",
tests/data/windows/matrix.toml) and by macOS' in_pcbbind() (bsd/netinet/in_pcb.c, xnu
11417), written down once more and apart from the product's own rules.
"""

from __future__ import annotations

import errno
import sys
import types
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from bindcheck import (
    holder_search,
    machine,
    names,
    native,
    observe,
    options,
    owner_lookup,
    processes,
)
from bindcheck.model import (
    Attempt,
    Confinement,
    Context,
    Endpoint,
    Facts,
    InterfaceAddress,
    NativeCode,
    Options,
    PathFacts,
    PortRange,
    Socket,
    Target,
)
from bindcheck.native.rows import Holder
from bindcheck.target import MAPPED_PREFIX
from bindcheck.users import UserNames
from bindcheck.words import Domain, Family, Protocol, State, Step
from tests.support.windows_matrix import answers

if TYPE_CHECKING:
    import pytest

ANY = "0.0.0.0"  # noqa: S104 - an address in a table
NOW = 1795600000.0  # 2026-11-24
CREATED = NOW - 600
GUARDED_SERVICE = "EndpointProtection"
"""A service that tells nobody about itself; real machines have some."""
MICROSOFT = {same: answers(same_user=same) for same in (True, False)}
_WINSOCK = {
    "WSAEACCES": (
        10013,
        (
            "An attempt was made to access a socket in a way forbidden by its access "
            "permissions."
        ),
    ),
    "WSAEINVAL": (10022, "An invalid argument was supplied."),
    "WSAEOPNOTSUPP": (
        10045,
        "The attempted operation is not supported for the type of object referenced.",
    ),
    "WSAEAFNOSUPPORT": (
        10047,
        "An address incompatible with the requested protocol was used.",
    ),
    "WSAEADDRINUSE": (
        10048,
        (
            "Only one usage of each socket address (protocol/network address/port) is "
            "normally permitted."
        ),
    ),
    "WSAEADDRNOTAVAIL": (10049, "The requested address is not valid in its context."),
    "WSAENOBUFS": (
        10055,
        (
            "An operation on a socket could not be performed because the system lacked "
            "sufficient buffer space or because a queue was full."
        ),
    ),
}
# sys/errno.h of macOS
_DARWIN = {
    "EPERM": (1, "Operation not permitted"),
    "EACCES": (13, "Permission denied"),
    "EINVAL": (22, "Invalid argument"),
    "EROFS": (30, "Read-only file system"),
    "EAFNOSUPPORT": (47, "Address family not supported by protocol family"),
    "EADDRINUSE": (48, "Address already in use"),
    "EADDRNOTAVAIL": (49, "Can't assign requested address"),
}


@dataclass(frozen=True, kw_only=True)
class Held:
    """A socket that is there."""

    address: str
    port: int
    pid: int | None = None
    protocol: Protocol = Protocol.TCP
    state: State = State.LISTEN
    remote: tuple[str, int] | None = None
    mode: str = "default"
    """Windows: default, reuse or exclusive."""
    own: bool = True
    """Windows: it is the asking user's."""
    uid: int | None = None
    reuse_address: bool = False
    reuse_port: bool = False
    dual: bool = False
    created: float = CREATED
    service_tag: int = 0
    holders: tuple[int, ...] | None = None
    """macOS: the pids that have a descriptor; None: `pid` alone."""

    @property
    def packed(self) -> bytes:
        return ip_address(self.address).packed

    @property
    def wildcard(self) -> bool:
        return not any(self.packed)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A process that runs."""

    pid: int
    name: str
    command: tuple[str, ...] = ()
    parent: int = 0
    started: float = CREATED - 60
    user: str | None = "SHOP\\ada"
    uid: int = 501
    path: str | None = None
    folder: str | None = None
    state: str = "S"


@dataclass(kw_only=True)
class Simulated:
    """A system: its sockets and programs."""

    system: str
    held: list[Held] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    addresses: tuple[str, ...] = ("127.0.0.1", "::1", "192.168.1.20")
    refused: tuple[tuple[int, int], ...] = ()
    """Windows: ranges that a driver keeps."""
    registry: tuple[tuple[int, int], ...] = ()
    restricted: tuple[int, ...] = ()
    """macOS: ports for programs with an entitlement."""
    services: tuple[tuple[str, int, bool], ...] = ()
    """Windows: name, pid, running."""
    tags: dict[tuple[int, int], str] = field(default_factory=dict)
    euid: int = 501
    unix_says: tuple[Step, str] | None = None
    """What a bind of a unix socket is told, and at which step; None: it works."""
    path: PathFacts = PathFacts(directory="/shop", writable=True)  # noqa: RUF009 - frozen
    ephemeral: tuple[int, int] = (49152, 65535)
    exhausted: bool = False
    """No port of that range is left, or no memory for a socket."""
    bound_listed: bool = True
    sandboxed: bool = False
    calls: list[tuple[str, int, Options]] = field(default_factory=list)
    """The binds that were made: address, port, options."""

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the product see this system in the place of the real one."""
        for name in (
            *("read_facts", "list_sockets", "probe", "list_addresses", "find_owners"),
            *("list_kept_ports", "service_name", "error", "read_confinement"),
            *("list_tunnels", "read_process", "read_own_program", "read_ancestors"),
            *("probe_name", "list_unix_sockets", "list_listeners"),
        ):
            monkeypatch.setattr(native, name, getattr(self, name))
        monkeypatch.setitem(sys.modules, "psutil", self._psutil())
        for module in (observe, machine):
            monkeypatch.setattr(module, "kernel_release", self.release)
        monkeypatch.setattr(observe, "boot_id", lambda: None)
        monkeypatch.setattr(observe, "reserved_ports", lambda: ())
        monkeypatch.setattr(UserNames, "name_of", lambda _, uid: self._user_name(uid))
        monkeypatch.setattr(observe, "ipv6_disabled_on", lambda: ())
        monkeypatch.setattr(observe, "own_status", dict)
        monkeypatch.setattr(observe, "own_cgroup", lambda: None)
        monkeypatch.setattr(observe, "cgroup_mount", lambda: None)
        monkeypatch.setattr(owner_lookup, "kernel_ports", lambda: ((), None))
        monkeypatch.setattr(observe, "read_line", lambda _: None)
        monkeypatch.setattr(processes, "_boot_time", lambda: 0.0)
        monkeypatch.setattr(
            observe, "time", types.SimpleNamespace(time=lambda: NOW), raising=True
        )
        for module in (options, holder_search):
            monkeypatch.setattr(module, "SYSTEM", self.system)
        monkeypatch.setattr(names, "look_at_path", lambda *_: self.path)
        monkeypatch.setattr(names, "ask_socket_file", lambda _: self.path.answer)
        monkeypatch.setattr(names, "_remove", lambda _: True)
        if self.system == "win32":
            from bindcheck import windows

            monkeypatch.setattr(windows, "dynamic_range", lambda: self.ephemeral)

    def release(self) -> str:
        return {"win32": "10.0.26100", "darwin": "24.4.0"}[self.system]

    def context(self) -> Context:
        """Where a recording of it says that it was made."""
        return Context(
            platform=self.system,
            kernel=self.release(),
            observed_at=NOW,
            boot_id=None,
            euid=None if self.system == "win32" else self.euid,
            user="SHOP\\ada" if self.system == "win32" else "ada",
            capabilities=(),
            network_namespace=None,
            pid_namespace=None,
        )

    # What the product asks, by the names of native.

    def read_facts(self) -> Facts:
        windows = self.system == "win32"
        return Facts(
            euid=None if windows else self.euid,
            capabilities=0,
            network_namespace=None,
            pid_namespace=None,
            user_namespace=None,
            owns_network_namespace=None,
            unprivileged_port_start=0 if windows else 1024,
            ephemeral_range=self.ephemeral,
            bind_v6only=windows,
            nonlocal_bind={Family.INET: None, Family.INET6: None},
            ipv6_available=True,
            ipv6_disabled=None,
            ipv6_disabled_loopback=None,
            loopback_up=True,
            clock_ticks=100 if windows else 1_000_000,
            system=self.system,
            segment_lifetime_ms=None if windows else 15000,
            elevated=False if windows else None,
        )

    def list_sockets(self, protocol: Protocol, port: int, **_: bool) -> native.Listing:
        rows = [
            self._row(one)
            for one in self.held
            if one.protocol is protocol and port in (0, one.port)
        ]
        source = "ip-helper" if self.system == "win32" else "pcblist"
        return native.Listing(
            source=source, sockets=tuple(rows), refused=None, bound=self.bound_listed
        )

    def list_addresses(self) -> tuple[InterfaceAddress, ...]:
        return tuple(
            InterfaceAddress(
                family=Family.INET6 if ":" in one else Family.INET,
                address=one,
                packed=ip_address(one).packed,
                interface="lo0" if ip_address(one).is_loopback else "en0",
                index=1 if ip_address(one).is_loopback else 4,
                up=True,
                prefix=8 if one.startswith("127") else 24,
            )
            for one in self.addresses
        )

    def list_kept_ports(self, _: Protocol) -> tuple[PortRange, ...]:
        kept = [PortRange(first=one, last=two) for one, two in self.registry]
        kept += [
            PortRange(first=one, last=one, restricted=True) for one in self.restricted
        ]
        return tuple(kept)

    def list_tunnels(self) -> tuple[()]:
        return ()

    def service_name(self, pid: int, tag: int) -> str | None:
        return self.tags.get((pid, tag))

    def read_confinement(self, _: Family, __: str | None) -> Confinement:
        return Confinement()

    def error(self, domain: Domain, code: int) -> NativeCode:
        if domain is Domain.ERRNO:
            # By name: the product asks with the numbers of the system it runs on.
            name = errno.errorcode.get(code, "").removeprefix("WSA")
            if name not in _DARWIN:
                name = next(one for one, told in _DARWIN.items() if told[0] == code)
            code, message = _DARWIN[name]
        else:
            name, message = next(
                (one, told[1]) for one, told in _WINSOCK.items() if told[0] == code
            )
        return NativeCode(domain=domain, code=code, name=name, message=message)

    def read_process(self, pid: int, **_: bool) -> native.ProcessFacts | None:
        return next((self._facts(one) for one in self.programs if one.pid == pid), None)

    def read_own_program(self) -> None:
        """The program that asks is none of these."""

    def list_listeners(self, _: int) -> tuple[Socket, ...]:
        return ()

    def read_ancestors(self, pid: int, **_: bool) -> tuple[native.ProcessFacts, ...]:
        found: list[native.ProcessFacts] = []
        one = self.read_process(pid)
        while one is not None and len(found) < native.MOST_ANCESTORS:
            found.append(one)
            one = self.read_process(one.parent)
        return tuple(found)

    def find_owners(self, inodes: list[int], **_: bool) -> native.Scan:
        holders, pids = [], set()
        for index, one in enumerate(self.held):
            if index + 1 not in inodes:
                continue
            for pid in one.holders if one.holders is not None else (one.pid,):
                if pid is None or not self._may_read(pid):
                    continue
                pids.add(pid)
                holders.append(
                    Holder(
                        inode=index + 1,
                        pid=pid,
                        tid=pid,
                        fd=3,
                        close_on_exec=None,
                        serves=None,
                        device=None,
                        reuse_address=one.reuse_address,
                        reuse_port=one.reuse_port,
                        v6only=None,
                        protocol="TCP",
                    )
                )
        found = [self.read_process(pid) for pid in sorted(pids)]
        unreadable = sum(not self._may_read(one.pid) for one in self.programs)
        return native.Scan(
            holders=tuple(holders),
            processes=tuple(one for one in found if one is not None),
            seen=len(self.programs),
            unreadable=unreadable,
            available=True,
            exhausted=False,
        )

    def probe(self, target: Target, asked: Options) -> Attempt:
        """bind() as the system would answer it."""
        self.calls.append((target.address or "", target.port, asked))
        step: Step | None = Step.BIND
        if self.system == "win32":
            name, argument = self._windows_bind(target, asked), None
            if asked.reuse_address and asked.exclusive:
                step, argument = Step.SETSOCKOPT, "SO_EXCLUSIVEADDRUSE"
        else:
            name, argument = self._darwin_bind(target, asked), None
        domain = Domain.WINSOCK if self.system == "win32" else Domain.ERRNO
        table = _WINSOCK if self.system == "win32" else _DARWIN
        error = None
        if name:
            code, message = table[name]
            error = NativeCode(domain=domain, code=code, name=name, message=message)
        bound = Endpoint(address=target.address or "", port=target.port or 50123)
        return Attempt(
            target=target,
            options=asked,
            ok=error is None,
            native=True,
            step=step if error else None,
            argument=argument if error else None,
            error=error,
            bound=None if error else bound,
        )

    def list_unix_sockets(self) -> tuple[()]:
        return ()

    def probe_name(self, target: Target, asked: Options) -> Attempt:
        """bind() of a unix socket."""
        step, error = None, None
        if self.unix_says is not None:
            step, name = self.unix_says
            domain = Domain.WINSOCK if self.system == "win32" else Domain.ERRNO
            code, message = (_WINSOCK if self.system == "win32" else _DARWIN)[name]
            error = NativeCode(domain=domain, code=code, name=name, message=message)
        return Attempt(
            target=target,
            options=asked,
            ok=error is None,
            native=True,
            step=step,
            argument=None,
            error=error,
            bound=None,
        )

    # How they answer.

    def _windows_bind(self, target: Target, options: Options) -> str | None:
        if options.reuse_address and options.exclusive:
            return "WSAEINVAL"
        if not self._is_local(target.packed):
            return "WSAEADDRNOTAVAIL"
        datagram = target.protocol is Protocol.UDP
        if datagram and target.packed == b"\xff\xff\xff\xff":
            return "WSAEACCES"
        port = target.port
        if port == 0 and self.exhausted:
            return "WSAENOBUFS"
        if any(first <= port <= last for first, last in self.refused):
            return "WSAEACCES"
        mode = "reuse" if options.reuse_address else "default"
        new = ("exclusive" if options.exclusive else mode, not any(target.packed))
        for one in self.held:
            same_kind = one.protocol is target.protocol and one.port == port
            if not same_kind or len(one.packed) != len(target.packed):
                continue
            if one.packed != target.packed and any(one.packed) and any(target.packed):
                continue  # two addresses never collide
            if one.remote is not None:
                if options.exclusive:
                    return "WSAEADDRINUSE"
                continue
            answer = MICROSOFT[one.own][one.mode, one.wildcard, *new]
            if answer != "ok":
                return answer
        return None

    def _darwin_bind(  # noqa: PLR0912 - as long as what it stands for
        self, target: Target, options: Options
    ) -> str | None:
        stream = target.protocol is Protocol.TCP
        specific = any(target.packed)
        if self.sandboxed:
            return "EPERM"
        if stream and len(target.packed) == 4 and target.packed[0] & 0xF0 == 0xE0:
            return "EAFNOSUPPORT"
        if specific and not self._is_local(target.packed):
            return "EADDRNOTAVAIL"
        if target.port == 0:
            return "EADDRNOTAVAIL" if self.exhausted else None
        if target.port < 1024 and specific and self.euid != 0:
            return "EACCES"
        if target.port in self.restricted:
            return "EADDRINUSE"
        wild = not (options.reuse_address or options.reuse_port)
        for one in self.held:
            if one.protocol is not target.protocol or one.port != target.port:
                continue
            # A v4-mapped address is its IPv4 address (tcp6_usr_bind).
            new, held = (
                packed.removeprefix(MAPPED_PREFIX)
                for packed in (target.packed, one.packed)
            )
            new6, held6 = len(new) == 16, len(held) == 16
            covers = one.dual and one.wildcard if held6 else not specific
            dual = new6 and not options.v6only
            if new6 != held6 and not (covers and (held6 or dual)):
                continue
            both_any = one.wildcard and not specific
            overlaps = one.wildcard or not specific or held == new
            # What is left of a connection in TIME_WAIT is nobody's.
            known = one.uid is not None and one.state is not State.TIME_WAIT
            others = known and self.euid not in (0, one.uid)
            apart = both_any and (not (new6 and held6) or one.reuse_port)
            if overlaps and others and not apart:
                return "EADDRINUSE"
            if wild:
                if overlaps and not (both_any and new6 and not held6):
                    return "EADDRINUSE"
                continue
            # 0.0.0.0 finds a `::` that is for both, for it has INP_IPV4.
            same = held == new or (both_any and held6 and not new6)
            shared = options.reuse_port and one.reuse_port
            if same and one.remote is None and not shared:
                return "EADDRINUSE"
        return None

    def _is_local(self, packed: bytes) -> bool:
        if not any(packed) or (self.system == "win32" and packed[0] == 127):
            return True
        broadcast = packed == b"\xff\xff\xff\xff"
        return broadcast or packed in {ip_address(one).packed for one in self.addresses}

    # Their tables and programs.

    def _row(self, one: Held) -> Socket:
        windows = self.system == "win32"
        remote = (
            Endpoint(address=one.remote[0], port=one.remote[1]) if one.remote else None
        )
        ownerless = one.state is State.TIME_WAIT
        inode = 0 if windows or ownerless else self.held.index(one) + 1
        return Socket(
            family=Family.INET6 if len(one.packed) == 16 else Family.INET,
            protocol=one.protocol,
            state=one.state,
            local=Endpoint(address=one.address, port=one.port),
            remote=remote,
            packed=one.packed,
            inode=inode if one.holders != () else 0,
            cookie=None,
            uid=None if windows or ownerless else one.uid,
            cgroup_id=None,
            device=0,
            timer_ms=None,
            opened=None,
            v6only=None if windows or len(one.packed) == 4 else not one.dual,
            reuse_address=None if windows else one.reuse_address,
            reuse_port=None if windows else one.reuse_port,
            pid=None if ownerless else one.pid,
            created=one.created if windows else None,
            service_tag=one.service_tag,
        )

    def _may_read(self, pid: int) -> bool:
        program = next((one for one in self.programs if one.pid == pid), None)
        return program is not None and self.euid in (0, program.uid)

    def _user_name(self, uid: int | None) -> str | None:
        return {0: "root", 501: "ada", 502: "bob"}.get(uid) if uid is not None else None

    def _facts(self, one: Program) -> native.ProcessFacts:
        return native.ProcessFacts(
            pid=one.pid,
            parent=one.parent,
            session=0,
            flags=0,
            inner_pid=None,
            pid_namespace=None,
            uid=one.uid,
            start_ticks=round(one.started * 1_000_000),
            state=one.state,
            name=one.name.encode(),
            command=tuple(word.encode() for word in one.command),
            command_truncated=False,
            folder=(one.folder or "").encode(),
            cgroup=b"",
            environment=(),
            executable=None,
        )

    def _psutil(self) -> Any:
        """As much of psutil as the product uses."""
        module = types.ModuleType("psutil")
        simulated = self

        class Error(Exception):
            pass

        class NoSuchProcess(Error):
            pass

        class AccessDenied(Error):
            pass

        class Process:
            def __init__(self, pid: int = 999) -> None:
                found = [one for one in simulated.programs if one.pid == pid]
                if pid == 999 and not found:
                    found = [Program(pid=999, name="python.exe", command=("python",))]
                if not found:
                    raise NoSuchProcess(pid)
                self.one, self.pid = found[0], pid

            def create_time(self) -> float:
                return self.one.started

            def name(self) -> str:
                return self.one.name

            def ppid(self) -> int:
                return self.one.parent

            def _told(self, value: Any) -> Any:
                if self.one.user is None:
                    raise AccessDenied(self.pid)
                return value

            def cmdline(self) -> list[str]:
                told: list[str] = self._told(list(self.one.command))
                return told

            def cwd(self) -> str | None:
                folder: str | None = self._told(self.one.folder)
                return folder

            def exe(self) -> str | None:
                path: str | None = self._told(self.one.path)
                return path

            def username(self) -> str:
                user: str = self._told(self.one.user)
                return user

            def status(self) -> str:
                return "stopped" if self.one.state == "T" else "running"

        class Service:
            def __init__(self, name: str, pid: int, *, running: bool) -> None:
                self._name, self._pid, self._running = name, pid, running

            def name(self) -> str:
                return self._name

            def pid(self) -> int:
                if self._name == GUARDED_SERVICE:
                    raise AccessDenied
                return self._pid

            def status(self) -> str:
                return "running" if self._running else "stopped"

        def find_service(name: str) -> Service:
            for known, pid, running in simulated.services:
                if known == name:
                    return Service(known, pid, running=running)
            raise NoSuchProcess(name)

        vars(module).update(
            Error=Error,
            NoSuchProcess=NoSuchProcess,
            AccessDenied=AccessDenied,
            Process=Process,
            process_iter=lambda: [Process(one.pid) for one in simulated.programs],
            win_service_iter=lambda: [
                Service(name, pid, running=running)
                for name, pid, running in (
                    (GUARDED_SERVICE, 1, True),
                    *simulated.services,
                )
            ],
            win_service_get=find_service,
        )
        return module


def with_held(system: Simulated, *held: Held) -> Simulated:
    """The same system with more sockets."""
    return replace(system, held=[*system.held, *held], calls=[])
