"""The records of a diagnosis: plain, frozen data.

Their words are in words.py. Times are in milliseconds unless a field says
otherwise, ports in host order, addresses as text.
"""

from __future__ import annotations

from types import MappingProxyType

from bindcheck.records import record
from bindcheck.words import (
    Blocks,
    CauseCode,
    Certainty,
    Direction,
    Domain,
    Family,
    FileKind,
    Kind,
    Overlap,
    OwnerKind,
    Protocol,
    ReleaseHow,
    Sharing,
    State,
    Step,
    System,
    Trait,
    Verdict,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@record(frozen=True, slots=True, kw_only=True)
class NativeCode:
    """A native number with its symbolic name (None: it has none) and system text."""

    domain: Domain
    code: int
    name: str | None
    message: str
    reference: bool = False
    """The text is ours: the system has none for this number (Wine)."""

    @property
    def symbol(self) -> str | None:
        """The name without what Winsock puts before it: WSAEACCES is EACCES."""
        return self.name.removeprefix("WSA") if self.name else None


@record(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An IP address and a port."""

    address: str
    port: int
    scope_id: int | None = None


@record(frozen=True, slots=True, kw_only=True)
class Target:
    """One address to bind. `family` and `address` are None for an unresolved name."""

    text: str
    family: Family | None
    protocol: Protocol
    address: str | None
    port: int
    scope_id: int | None = None
    packed: bytes = b""
    """The address in network order, 4 or 16 bytes; of a unix socket its raw name."""
    path: str | None = None
    """Of a unix socket: its path, or "@" and its abstract name."""


@record(frozen=True, slots=True, kw_only=True)
class Options:
    """Socket options of an attempt; None is "not said" and calls no setsockopt."""

    reuse_address: bool | None = None
    reuse_port: bool | None = None
    exclusive: bool | None = None
    v6only: bool | None = None
    device: str | None = None
    freebind: bool | None = None
    listen: bool = False
    backlog: int = 128


PLAIN = Options()
"""socket(), bind() and nothing else."""


class _Unread:
    """The parts of a plain attempt that are made when they are first read.

    Who probes in a loop reads `ok` and goes on: to make all of the rest took a tenth of
    the time that bind() takes.
    """

    __slots__ = ("_port",)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name not in _UNREAD:
                raise AttributeError(f"Attempt has no attribute {name!r}", obj=self)
            value = _UNREAD[name]
            if name == "bound" and self.ok:
                asked = self.target
                value = Endpoint(
                    address=asked.address, port=self._port, scope_id=asked.scope_id
                )
            getattr(Attempt, name).__set__(self, value)
            return value


@record(frozen=True, slots=True, kw_only=True)
class Attempt(_Unread):
    """What the system said to one bind. `native` False: it was not asked, see `ok`."""

    target: Target
    options: Options
    ok: bool | None
    native: bool
    step: Step | None
    argument: str | None
    error: NativeCode | None
    bound: Endpoint | None


_UNREAD = MappingProxyType(
    {
        "options": PLAIN,
        "native": True,
        "step": None,
        "argument": None,
        "error": None,
        "bound": None,
    }
)
_new = object.__new__
_set_target, _set_ok, _set_step, _set_error, _set_port = (
    getattr(Attempt, name).__set__
    for name in ("target", "ok", "step", "error", "_port")
)


def worked(target: Target, port: int) -> Attempt:
    """A native attempt without options that worked and got this port."""
    one: Attempt = _new(Attempt)
    _set_target(one, target)
    _set_ok(one, True)
    _set_port(one, port)
    return one


def refused(target: Target, step: Step, error: NativeCode) -> Attempt:
    """A native attempt without options that failed."""
    one: Attempt = _new(Attempt)
    _set_target(one, target)
    _set_ok(one, False)
    _set_step(one, step)
    _set_error(one, error)
    return one


@record(frozen=True, slots=True, kw_only=True)
class Trial:
    """The attempt again with `changed`; `native` False: predicted, not called."""

    changed: Mapping[str, bool | int | str]
    native: bool
    ok: bool | None
    step: Step | None = None
    error: NativeCode | None = None


@record(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """A process above another one. Its command line is not kept."""

    pid: int
    session: int | None
    supervisor: str | None = None
    """Its name, where it starts other programs again when they end."""
    supervises: str | None = None
    """What it runs, where its command line names that."""


@record(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that has a descriptor of a socket.

    `start_id` (clock ticks since boot) and `pid` together name it for good. `folder`
    is its working directory, `program` what it runs, for comparing two processes.
    """

    pid: int
    start_id: int | None
    fds: tuple[int, ...]
    name: str
    command: tuple[str, ...]
    command_truncated: bool
    uid: int | None
    user: str | None
    started: float | None
    """Seconds since the epoch."""
    parent: int | None
    parent_name: str | None
    state: str
    folder: str | None
    program: tuple[object, ...] | None
    thread: int | None = None
    """The only thread that has the descriptor, where not the whole process has it."""
    registered: bool = False
    """It has the socket with io_uring, where it has no descriptor of it."""
    close_on_exec: bool | None = None
    """Whether all its descriptors of the socket are closed by execve(2)."""
    serves: bool | None = None
    """Whether a thread of it waits on the socket, or may; None: not known."""
    flags: int = 0
    """PF_* of the kernel (include/linux/sched.h)."""
    session: int | None = None
    ancestors: tuple[Ancestor, ...] = ()
    """Parent first; pid 1 is left out."""
    other_pid_namespace: bool = False
    inner_pid: int | None = None
    """Its pid in its own pid namespace."""
    environment: tuple[tuple[str, str], ...] = ()
    """Of its variables those that tell who started it."""


@record(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who has a socket, as far as it may be seen."""

    kind: OwnerKind
    traits: tuple[Trait, ...] = ()
    uid: int | None = None
    user: str | None = None
    cgroup: str | None = None
    unit: str | None = None
    container: str | None = None
    processes: tuple[Process, ...] = ()
    kernel: str | None = None
    """What in the kernel uses the port, such as "vxlan device vx0"."""
    socket_units: tuple[str, ...] = ()
    """Units of systemd whose files say that they listen on the port."""
    services: tuple[str, ...] = ()
    """The Windows services in its process: of several it is one."""
    opener: int | None = None
    """The pid that the tables name where that process is gone, or (macOS) that used
    the socket last where nobody is seen to have it."""
    opener_name: str | None = None
    """The program that has this pid now, where it may be the one."""


NO_OWNER = Owner(kind=OwnerKind.NONE)


@record(frozen=True, slots=True, kw_only=True)
class Socket:
    """A row of the system's socket tables, with its owner where that was looked up."""

    family: Family
    protocol: Protocol
    state: State
    local: Endpoint
    remote: Endpoint | None
    packed: bytes
    """The local address in network order."""
    inode: int
    cookie: int | None
    uid: int | None
    cgroup_id: int | None
    device: int
    """Interface index it is bound to, 0 for none."""
    timer_ms: int | None
    opened: Direction | None
    v6only: bool | None
    reuse_address: bool | None = None
    reuse_port: bool | None = None
    owner: Owner = NO_OWNER
    path: str | None = None
    """Of a unix socket: the name that it was bound to; its file may be another now."""
    file: tuple[int, int] | None = None
    """Of a unix socket: device (as stat gives it) and inode, 32 bits of it."""
    pid: int | None = None
    """Windows: the process that made it. macOS: the last one that used it."""
    created: float | None = None
    """Windows: when, in seconds since the epoch."""
    service_tag: int = 0
    """Windows: which service of that process made it; 0: not told."""


Place = tuple[int, int, int | None]
"""Where a socket that is like another one is: its port, inode and cookie."""


@record(frozen=True, slots=True, kw_only=True)
class Release:
    """When the port is free again; `after_ms` by the kernel's own timer."""

    how: ReleaseHow
    after_ms: int | None = None


@record(frozen=True, slots=True, kw_only=True)
class Blocker:
    """`count` sockets of the same nature that are in the way; `socket` is one of them."""

    kind: Kind
    direction: Direction | None
    overlap: Overlap
    dual_stack: bool
    sharing: Sharing
    blocks: Blocks
    count: int
    release: Release
    owner: Owner
    socket: Socket


@record(frozen=True, slots=True, kw_only=True)
class Remedy:
    """Something to do; `tried` tells what a trial of it said, None if it had none."""

    action: str
    text: str
    command: tuple[str, ...] | None = None
    tried: bool | None = None


@record(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason, with the positions of its blockers in Diagnosis.blockers."""

    code: CauseCode
    certainty: Certainty
    blockers: tuple[int, ...] = ()
    summary: str = ""
    evidence: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()


@record(frozen=True, slots=True, kw_only=True)
class NextError:
    """What the bind would meet once the present cause is gone."""

    cause: CauseCode
    error: NativeCode
    blockers: tuple[int, ...] = ()


@record(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to know: a limit of what could be seen, or a warning."""

    code: str
    text: str


@record(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The answer for one address of one requested target."""

    requested: str
    target: Target
    attempt: Attempt
    verdict: Verdict
    works_with: Mapping[str, bool] | None = None
    causes: tuple[Cause, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    trials: tuple[Trial, ...] = ()
    next_errors: tuple[NextError, ...] = ()
    warnings: tuple[Notice, ...] = ()
    limits: tuple[Notice, ...] = ()


@record(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the machine allows; None is "not told here"."""

    euid: int | None
    """None: Windows, which has no such numbers."""
    capabilities: int
    """Effective capabilities as bits."""
    network_namespace: int | None
    pid_namespace: int | None
    user_namespace: int | None
    owns_network_namespace: bool | None
    unprivileged_port_start: int | None
    ephemeral_range: tuple[int, int] | None
    bind_v6only: bool | None
    nonlocal_bind: Mapping[Family, bool | None]
    ipv6_available: bool | None
    ipv6_disabled: bool | None
    ipv6_disabled_loopback: bool | None
    loopback_up: bool | None
    clock_ticks: int
    descriptor_limits: tuple[int | None, int | None] | None = None
    """RLIMIT_NOFILE, soft and hard; None in it is "unlimited"."""
    system: str = System.LINUX
    """As sys.platform has it: whose rules hold."""
    segment_lifetime_ms: int | None = None
    """macOS: net.inet.tcp.msl; TIME_WAIT lasts two of them."""
    elevated: bool | None = None
    """Windows: the caller has an administrator's rights."""


@record(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """A network device with a UDP socket of the kernel's own; `port` None: not told."""

    name: str
    kind: str
    port: int | None


@record(frozen=True, slots=True, kw_only=True)
class KernelPort:
    """A port that something in the kernel uses; None: which one is not told."""

    user: str
    port: int | None
    datagram: bool


@record(frozen=True, slots=True, kw_only=True)
class PortRange:
    """Ports that the system keeps from bind(): `first` to `last`, both included."""

    first: int
    last: int
    restricted: bool = False
    """macOS: for programs with an entitlement. Else a persistent exclusion (Windows)."""


@record(frozen=True, slots=True, kw_only=True)
class InterfaceAddress:
    """An address that an interface has."""

    family: Family
    address: str
    packed: bytes
    interface: str
    index: int
    up: bool
    running: bool = True
    """Whether the interface has a carrier."""
    prefix: int | None = None
    """How many leading bits name its network."""
    tentative: bool = False
    """IPv6: the kernel has not finished looking for duplicates."""
    duplicate: bool = False
    """IPv6: another machine on the link has it."""


@record(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What restricts the calling process; None is "not told here"."""

    seccomp: int | None = None
    """0 none, 1 strict, 2 a filter."""
    no_new_privileges: bool | None = None
    bind_filter: NativeCode | None = None
    """What a system call filter says to a bind() that the kernel answers with EBADF."""
    socket_filter: NativeCode | None = None
    """What it says to a socket() that the kernel answers with EINVAL."""
    bind_programs: int | None = None
    """BPF programs of the cgroup that judge bind()."""
    socket_programs: int | None = None
    """BPF programs of the cgroup that judge socket()."""
    cgroup: str | None = None
    selinux_enforcing: bool | None = None
    label: str | None = None
    """What SELinux or AppArmor calls this process."""
    modules: tuple[str, ...] = ()
    """The kernel's active security modules."""
    kernel: str = ""
    """The kernel's release."""


@record(frozen=True, slots=True, kw_only=True)
class PathFacts:
    """What stands at a path, on the way to it, and around it."""

    directory: str
    """The folder that the socket file would be in."""
    kind: FileKind | None = None
    """What is there; None: nothing, or it cannot be reached."""
    file: tuple[int, int] | None = None
    """Its device and inode."""
    uid: int | None = None
    user: str | None = None
    modified: float | None = None
    """Seconds since the epoch."""
    link_target: str | None = None
    answer: str | None = None
    """What connecting a datagram socket to a socket file said: an error's name, ""
    when it worked; None: not tried."""
    obstacle: str | None = None
    """The part of the way that stops; with `reason`, the error's name for it."""
    reason: str | None = None
    mode: int | None = None
    """Permissions of the obstacle, or without one of the folder; and whose it is."""
    mode_user: str | None = None
    writable: bool | None = None
    """Whether the caller may make files in the folder, or in the last one of the way
    that is there, by its permissions."""
    removable: bool | None = None
    """Whether the caller may remove what is there."""
    immutable: bool | None = None
    """Whether the folder takes no changes, whoever makes them (chattr +i)."""
    filesystem: str | None = None
    mount_point: str | None = None
    read_only: bool | None = None
    free_bytes: int | None = None
    free_inodes: int | None = None


@record(frozen=True, slots=True, kw_only=True)
class Redirection:
    """A NAT rule for the target's port, as its tool writes it."""

    rule: str
    family: Family | None
    """Of the packets that it is for; None: both."""
    address: str | None
    """The one destination address that it is for; None: several or all."""


@record(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was there: the rows on the port, and what could not be seen."""

    facts: Facts
    sockets: tuple[Socket, ...] = ()
    addresses: tuple[InterfaceAddress, ...] = ()
    devices: Mapping[str, int] = MappingProxyType({})
    reserved_ports: tuple[tuple[int, int], ...] = ()
    """Ranges that connect() never takes, however ephemeral."""
    foreign_pids: bool = False
    """The pids are those of another pid namespace: here they mean other programs."""
    alike: Mapping[int, tuple[Place, ...]] = MappingProxyType({})
    """Where there are more sockets that are like one of `sockets` in all but their port,
    by its inode: filled for a table of all ports alone."""
    listed: bool = True
    """Whether the tables could be read; without, no rows say nothing."""
    limits: tuple[Notice, ...] = ()
    address_in_use: NativeCode | None = None
    permission_denied: NativeCode | None = None
    address_not_available: NativeCode | None = None
    invalid_argument: NativeCode | None = None
    confinement: Confinement | None = None
    """Read where a refusal is not explained otherwise."""
    ipv6_disabled_on: tuple[str, ...] = ()
    """The interfaces on which IPv6 is switched off."""
    open_files: tuple[int, int] | None = None
    """How many files the whole system has open, and may have."""
    user: str | None = None
    observed_at: float = 0.0
    """Seconds since the epoch."""
    bound_sockets_listed: bool | None = None
    """Whether the tables show TCP sockets that are bound and not listening; None: this
    was not tried."""
    redirections: tuple[Redirection, ...] = ()
    """NAT rules for the port; none too where they may not be read."""
    path: PathFacts | None = None
    """Of a unix target."""
    context_id: int | None = None
    """This machine's own, of an AF_VSOCK target."""
    refusals: Mapping[str, NativeCode] = MappingProxyType({})
    """The system's codes by name, for refusals that are foretold."""
    kept_ports: tuple[PortRange, ...] = ()
    """What the system keeps from bind() and tells of: Windows, macOS."""
    refused_run: tuple[int, int] | None = None
    """Windows: the ports around the target's, it included, that bind() refuses in the
    same way although nobody has them."""
    running_services: tuple[str, ...] = ()
    """Windows: of the services that reserve ports those that run."""


@record(frozen=True, slots=True, kw_only=True)
class Examination:
    """What one address was asked and what was there: all that a diagnosis is made of."""

    requested: str
    attempt: Attempt
    snapshot: Snapshot
    trials: tuple[Trial, ...] = ()
    came_free: bool = False
    """The same bind worked moments after it had failed."""
    paired: bool = False
    """Of a bare port: the other wildcard is examined as well."""


@record(frozen=True, slots=True, kw_only=True)
class Context:
    """Where and when a report was made."""

    platform: str
    kernel: str
    observed_at: float
    """Seconds since the epoch."""
    boot_id: str | None
    euid: int | None
    user: str | None
    capabilities: tuple[str, ...]
    network_namespace: int | None
    pid_namespace: int | None


_WORST_FIRST = (
    Verdict.UNKNOWN,
    Verdict.BLOCKED,
    Verdict.CONDITIONAL,
    Verdict.TRANSIENT,
    Verdict.BINDABLE,
)


@record(frozen=True, slots=True, kw_only=True)
class Report:
    """One diagnosis for each address of each target."""

    context: Context
    results: tuple[Diagnosis, ...]
    reported: NativeCode | None = None
    """What the caller's own bind was told, where that is explained."""

    def __iter__(self) -> Iterator[Diagnosis]:
        """Iterate over the diagnoses."""
        return iter(self.results)

    @property
    def worst(self) -> Diagnosis:
        """The diagnosis with the worst verdict, the first of equals.

        Raises:
            LookupError: there is none, because the address is unknown.
        """
        if not self.results:
            raise LookupError("the address is unknown: there is no diagnosis")
        return min(self.results, key=lambda one: _WORST_FIRST.index(one.verdict))

    @property
    def ok(self) -> bool:
        """Whether every address can be bound as asked."""
        good = (Verdict.BINDABLE, Verdict.TRANSIENT)
        return bool(self.results) and self.worst.verdict in good
