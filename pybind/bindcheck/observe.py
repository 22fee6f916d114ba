"""What is there: tables, owners, facts. Observes, and judges nothing.

Facts are read once for a report, tables at every look, because they change.
"""

from __future__ import annotations

import errno
import os
import sys
import time

from bindcheck import native
from bindcheck.model import (
    NO_OWNER,
    Ancestor,
    Context,
    KernelPort,
    Notice,
    Process,
    Snapshot,
    Socket,
)
from bindcheck.records import replace
from bindcheck.rules.cgroup import path_of, socket_unit_of
from bindcheck.rules.holders import covering_listener
from bindcheck.rules.ownership import (
    INITIAL_PID_NAMESPACE,
    INITIAL_USER_NAMESPACE,
    Asking,
    is_service_manager,
    listens_on,
    owner_of,
)
from bindcheck.rules.program import program_of
from bindcheck.words import (
    Domain,
    Family,
    OwnerKind,
    Protocol,
    SocketType,
    State,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bindcheck.model import Facts, InterfaceAddress


# Not sys.platform itself, whose branches type checkers leave out.
_SYSTEM = str(sys.platform)
CAP_NET_ADMIN = 12
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
_MOST_ANCESTORS, _MOST_ENVIRONMENT = 16, 1 << 20
_TELLING_VARIABLES = frozenset(
    {
        *(b"LISTEN_PID", b"LISTEN_FDS"),
        *(b"SUPERVISOR_PROCESS_NAME", b"SUPERVISOR_GROUP_NAME"),
        b"pm_id",
    }
)
# systemd.unit(5), in the order in which the first of a name counts
_UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


class Observer:
    """Reads the system; one for each report. Every look is a fresh one."""

    def __init__(self, asking: Asking | None = None) -> None:
        self.asking = asking
        self.facts = native.read_facts()
        self._cgroups: dict[int | None, str | None] = {}
        self._kernel_ports: tuple[KernelPort, ...] | None = None
        self.unmapped_uid = _unmapped_uid(self.facts)

    def look(self, protocol: Protocol, port: int, device: str | None) -> Snapshot:
        """Read the rows on a port, without their owners."""
        limits: list[Notice] = []
        listing = native.list_sockets(protocol.table, port)
        if listing.source is None:
            limits.append(_no_tables(protocol, listing))
        elif listing.source != "sock_diag":
            reason = listing.refused.message if listing.refused else "not there"
            limits.append(
                Notice(
                    code="bound-sockets-not-listed",
                    text="the kernel's socket query is not available "
                    f"({reason}): /proc/net was read, which does not show sockets "
                    "that are bound and not listening",
                )
            )
        index = native.interface_index(device) if device else None
        return Snapshot(
            facts=self.facts,
            sockets=listing.sockets,
            listed=listing.source is not None,
            devices={device: index} if device and index else {},
            reserved_ports=_reserved_ports(),
            limits=tuple(limits),
            address_in_use=native.error(Domain.ERRNO, errno.EADDRINUSE),
            permission_denied=native.error(Domain.ERRNO, errno.EACCES),
            address_not_available=native.error(Domain.ERRNO, errno.EADDRNOTAVAIL),
            invalid_argument=native.error(Domain.ERRNO, errno.EINVAL),
            user=user_name(self.facts.euid),
            observed_at=time.time(),
        )

    def nothing_seen(self) -> Snapshot:
        """A snapshot without tables: the facts and the system's texts alone."""
        return Snapshot(
            facts=self.facts,
            address_in_use=native.error(Domain.ERRNO, errno.EADDRINUSE),
            refusals={
                name: native.error(Domain.ERRNO, getattr(errno, name))
                for name in ("EACCES", "EROFS")
            },
            user=user_name(self.facts.euid),
            observed_at=time.time(),
        )

    def with_addresses(self, snapshot: Snapshot) -> Snapshot:
        """Add the addresses that the interfaces have."""
        return replace(
            snapshot,
            addresses=_with_flags(native.list_addresses()),
            ipv6_disabled_on=_ipv6_disabled_on(),
        )

    def with_confinement(self, snapshot: Snapshot, family: Family | None) -> Snapshot:
        """Add what judges the calls of this process before the kernel does."""
        status = _own_status()
        seccomp, no_new = status.get("Seccomp"), status.get("NoNewPrivs")
        path = _own_cgroup()
        mount = _cgroup_mount()
        # A filter may end a process that makes a call which it does not know.
        ask = seccomp == "0" and mount is not None and path is not None
        asked = native.read_confinement(
            family or Family.INET, f"{mount}{path}" if ask else None
        )
        enforcing = _read_line("/sys/fs/selinux/enforce")
        modules = _read_line("/sys/kernel/security/lsm")
        held = replace(
            asked,
            seccomp=int(seccomp) if seccomp else None,
            no_new_privileges=no_new == "1" if no_new else None,
            cgroup=path,
            selinux_enforcing=enforcing == "1" if enforcing else None,
            label=_read_line("/proc/self/attr/current"),
            modules=tuple(modules.split(",")) if modules else (),
            kernel=_kernel(),
        )
        return replace(snapshot, confinement=held)

    def with_open_files(self, snapshot: Snapshot) -> Snapshot:
        """Add how many files the system has open; none where that needs one too many."""
        parts = (_read_line("/proc/sys/fs/file-nr") or "").split()
        if len(parts) != 3:
            return snapshot
        return replace(snapshot, open_files=(int(parts[0]), int(parts[2])))

    def with_redirections(
        self, snapshot: Snapshot, protocol: Protocol, port: int
    ) -> Snapshot:
        """Add the NAT rules for a port, where they may be read."""
        kind = protocol.table
        readable = self.facts.capabilities >> CAP_NET_ADMIN & 1
        if not readable or kind not in (Protocol.TCP, Protocol.UDP) or not port:
            return snapshot
        from bindcheck.translation import read_redirections

        return replace(snapshot, redirections=read_redirections(kind, port))

    def with_owners(self, snapshot: Snapshot, wanted: Iterable[Socket]) -> Snapshot:
        """Look up who has the `wanted` rows."""
        wanted = tuple(wanted)
        inodes = {row.inode for row in wanted if row.inode}
        # A row that waits to be accepted belongs to its listener.
        listeners = [row for row in snapshot.sockets if row.state is State.LISTEN]
        accepting = {
            row: listener
            for row in wanted
            if _waits_for_accept(row)
            and (listener := covering_listener(row, listeners)) is not None
        }
        inodes |= {listener.inode for listener in accepting.values()}
        known = {row.inode for row in snapshot.sockets if row.owner is not NO_OWNER}
        if not inodes - known:
            return snapshot
        scan = native.find_owners(sorted(inodes))
        self._kernel_ports = None
        found = _name_hidden(self._owned(snapshot.sockets, inodes, scan))
        rows = []
        for row in snapshot.sockets:
            owned = found.get(row, row)
            if row in accepting and accepting[row] in found:
                owned = replace(row, owner=found[accepting[row]].owner)
            rows.append(owned)
        limits = (*snapshot.limits, *self._owner_limits(scan))
        return replace(
            snapshot,
            sockets=tuple(rows),
            limits=limits,
            foreign_pids=not _pids_are_ours(),
        )

    def with_bound_sockets(self, snapshot: Snapshot, port: int) -> Snapshot:
        """Look for TCP sockets that are bound and that the tables do not show."""
        if not snapshot.listed:
            return snapshot
        if self.sees_bound_sockets():
            return replace(snapshot, bound_sockets_listed=True)
        known = native.list_sockets(Protocol.TCP, 0).sockets
        scan = native.find_bound(port, [row.inode for row in known])
        limits = snapshot.limits
        if scan.unreadable and all(
            one.code != "processes-unreadable" for one in limits
        ):
            limits = (*limits, self._unreadable(scan.unreadable, scan.seen))
        if scan.unasked:
            text = (
                f"{scan.unasked} TCP sockets are in no table and could not be asked for their "
                "address: that needs the right to trace their processes (root)"
            )
            limits = (*limits, Notice(code="sockets-not-asked", text=text))
        return replace(
            snapshot,
            sockets=(*snapshot.sockets, *scan.sockets),
            bound_sockets_listed=False,
            limits=limits,
        )

    def sees_bound_sockets(self) -> bool:
        """Whether the tables show a TCP socket that is bound and not listening.

        Tried with a socket of our own: kernels before 6.8 ignore the question.
        """
        import _socket

        own = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        try:
            own.bind(("127.0.0.1", 0))
            rows = native.list_sockets(Protocol.TCP, own.getsockname()[1]).sockets
            inode = os.fstat(own.fileno()).st_ino
            return any(row.inode == inode for row in rows)
        except OSError:
            return False
        finally:
            own.close()

    def context(self) -> Context:
        """Where and when."""
        return Context(
            platform=sys.platform,
            kernel=_kernel(),
            observed_at=time.time(),
            boot_id=_boot_id(),
            euid=self.facts.euid,
            user=user_name(self.facts.euid),
            capabilities=tuple(
                name
                for bit, name in enumerate(CAPABILITIES)
                if self.facts.capabilities >> bit & 1
            ),
            network_namespace=self.facts.network_namespace,
            pid_namespace=self.facts.pid_namespace,
        )

    def _owned(
        self, sockets: Sequence[Socket], inodes: set[int], scan: native.Scan
    ) -> dict[Socket, Socket]:
        """The rows with these inodes, each with its owner.

        By row: the subflows of an MPTCP connection are several with one inode.
        """
        holders: dict[int, list[native.Holder]] = {}
        for one in scan.holders:
            holders.setdefault(one.inode, []).append(one)
        described = {one.pid: one for one in scan.processes}
        return {
            row: self._with_owner(row, holders.get(row.inode, []), described, scan)
            for row in sockets
            if row.inode in inodes
        }

    def _with_owner(
        self,
        row: Socket,
        holders: Sequence[native.Holder],
        facts: Mapping[int, native.ProcessFacts],
        scan: native.Scan,
    ) -> Socket:
        known: dict[int, native.ProcessFacts | None] = {}
        described = tuple(
            self._without_unmapped_user(
                describe_process(
                    facts[pid],
                    [one for one in holders if one.pid == pid],
                    self.facts,
                    known,
                )
            )
            for pid in dict.fromkeys(one.pid for one in holders)
            if pid in facts
        )
        processes = tuple(
            sorted(described, key=lambda one: (one.start_id or 0, one.pid))
        )
        read = next((one for one in holders if one.reuse_address is not None), None)
        owner = owner_of(
            row,
            processes,
            everything_readable=scan.available
            and scan.unreadable == 0
            and self.facts.pid_namespace == INITIAL_PID_NAMESPACE
            and _sees_other_users(),
            cgroup=self._cgroup_of(row, processes, facts),
            user=user_name(row.uid),
            asking=self.asking,
            unmapped_uid=self.unmapped_uid,
            kernel_ports=() if processes else self._ports_of_the_kernel(),
            socket_units=_socket_units(row)
            if any(is_service_manager(one) for one in processes)
            else (),
        )
        is_mptcp = any(one.protocol.startswith("MPTCP") for one in holders)
        return replace(
            row,
            owner=owner,
            protocol=Protocol.MPTCP if is_mptcp else row.protocol,
            device=row.device or (read.device or 0 if read else 0),
            reuse_address=read.reuse_address if read else None,
            reuse_port=read.reuse_port if read else None,
            v6only=row.v6only if row.v6only is not None or not read else read.v6only,
        )

    def _cgroup_of(
        self,
        row: Socket,
        processes: Sequence[Process],
        facts: Mapping[int, native.ProcessFacts],
    ) -> str | None:
        """The cgroup of the holder; of a socket that systemd has, where it was made."""
        if not processes:
            return self._cgroup_path(row.cgroup_id)
        if is_service_manager(processes[0]):
            made_in = self._cgroup_path(row.cgroup_id)
            if socket_unit_of(made_in) is not None:
                return made_in
        return path_of(facts[processes[0].pid].cgroup)

    def _without_unmapped_user(self, process: Process) -> Process:
        if process.uid is None or process.uid != self.unmapped_uid:
            return process
        return replace(process, uid=None, user=None)

    def _ports_of_the_kernel(self) -> tuple[KernelPort, ...]:
        """Read once for a look, and only where nobody has a row."""
        if self._kernel_ports is None:
            self._kernel_ports = kernel_ports()
        return self._kernel_ports

    def _cgroup_path(self, identifier: int | None) -> str | None:
        """Remember paths: many hidden sockets are of one cgroup."""
        if identifier not in self._cgroups:
            self._cgroups[identifier] = cgroup_path(identifier)
        return self._cgroups[identifier]

    def _unreadable(self, count: int, seen: int) -> Notice:
        who = user_name(self.facts.euid) or f"uid {self.facts.euid}"
        if self.facts.user_namespace not in (None, INITIAL_USER_NAMESPACE):
            who += " of this user namespace"
        text = f"{count} of {seen} processes cannot be read by {who}"
        return Notice(code="processes-unreadable", text=text)

    def _owner_limits(self, scan: native.Scan) -> list[Notice]:
        if not scan.available:
            return [Notice(code="no-process-table", text="/proc cannot be read here")]
        limits = []
        if scan.unreadable:
            limits.append(self._unreadable(scan.unreadable, scan.seen))
        if not _sees_other_users():
            limits.append(
                Notice(
                    code="processes-invisible",
                    text="/proc shows no processes of other users here (hidepid)",
                )
            )
        if self.facts.pid_namespace not in (None, INITIAL_PID_NAMESPACE):
            limits.append(
                Notice(
                    code="pid-namespace",
                    text="processes outside of this pid namespace (container) "
                    "cannot be seen",
                )
            )
        return limits


def describe_process(
    facts: native.ProcessFacts,
    holders: Sequence[native.Holder],
    machine: Facts,
    known: dict[int, native.ProcessFacts | None],
) -> Process:
    """Turn what the system says of a process and its descriptors into a Process.

    `known` keeps the processes above it: those of a prefork server are the same.
    """
    command = tuple(_decode(one) for one in facts.command)
    folder = _decode(facts.folder) or None
    above = list(_ancestors(facts, known))
    fds = sorted({one.fd for one in holders if one.fd is not None})
    threads = {one.tid for one in holders}
    serving = {one.serves for one in holders}
    kept = [one.close_on_exec for one in holders if one.close_on_exec is not None]
    return Process(
        pid=facts.pid,
        start_id=facts.start_ticks,
        fds=tuple(fds),
        name=_decode(facts.name),
        command=command,
        command_truncated=facts.command_truncated,
        uid=facts.uid,
        user=user_name(facts.uid),
        started=_boot_time() + facts.start_ticks / machine.clock_ticks,
        parent=facts.parent or None,
        parent_name=_decode(above[0].name) if above else None,
        state=_STATES.get(facts.state, "unknown"),
        folder=folder,
        program=program_of(facts.executable, command, folder),
        thread=None if facts.pid in threads or not threads else min(threads),
        registered=bool(holders) and not fds,
        close_on_exec=all(kept) if kept else None,
        # One that may serve it decides, then one of which it is not known.
        serves=next((one for one in (True, None, False) if one in serving), None),
        flags=facts.flags,
        session=facts.session,
        ancestors=tuple(_ancestor(one) for one in above if one.pid != 1),
        other_pid_namespace=None not in (facts.pid_namespace, machine.pid_namespace)
        and facts.pid_namespace != machine.pid_namespace,
        inner_pid=facts.inner_pid,
        environment=_environment(facts),
    )


def _ancestors(
    facts: native.ProcessFacts, known: dict[int, native.ProcessFacts | None]
) -> Iterator[native.ProcessFacts]:
    """The processes above one, parent first, pid 1 last; bounded."""
    for _ in range(_MOST_ANCESTORS):
        if facts.parent not in known:
            found = native.read_process(facts.parent) if facts.parent else None
            known[facts.parent] = found
        parent = known[facts.parent]
        if parent is None or parent.start_ticks > facts.start_ticks:
            return  # gone, or a reused pid
        yield parent
        facts = parent


def _ancestor(facts: native.ProcessFacts) -> Ancestor:
    from bindcheck.rules.supervisors import supervised_name, supervisor_name

    command = tuple(_decode(one) for one in facts.command[:4])
    supervisor = supervisor_name(_decode(facts.name), command)
    return Ancestor(
        pid=facts.pid,
        session=facts.session,
        supervisor=supervisor,
        supervises=supervised_name(supervisor, command),
    )


def _environment(facts: native.ProcessFacts) -> tuple[tuple[str, str], ...]:
    """Of a process's variables those that tell who started it; never others."""
    try:
        with open(f"/proc/{facts.pid}/environ", "rb") as file:
            pairs = file.read(_MOST_ENVIRONMENT).split(b"\0")
    except OSError:
        return ()
    found = tuple(
        (_decode(name), _decode(value))
        for name, _, value in (pair.partition(b"=") for pair in pairs)
        if name in _TELLING_VARIABLES
    )
    if not found:
        return ()
    again = native.read_process(facts.pid)  # the pid may be another's meanwhile
    same = again is not None and again.start_ticks == facts.start_ticks
    return found if same else ()


def kernel_ports() -> tuple[KernelPort, ...]:
    """The ports that the kernel itself uses here, as far as it tells."""
    tunnels = [
        KernelPort(user=f"{one.kind} device {one.name}", port=one.port, datagram=True)
        for one in native.list_tunnels()
    ]
    return (*tunnels, *_nfs_ports())


def _nfs_ports() -> Iterator[KernelPort]:
    """Lines "tcp 2049" of the NFS server (nfsd(7)), and the ports of its locks."""
    try:
        with open("/proc/fs/nfsd/portlist", encoding="ascii", errors="replace") as file:
            lines = file.read(4096).splitlines()
    except OSError:
        lines = []
    for line in lines:
        protocol, _, port = line.partition(" ")
        if protocol in ("tcp", "udp") and port.isdecimal():
            yield KernelPort(
                user="NFS server", port=int(port), datagram=protocol == "udp"
            )
    for protocol in ("tcp", "udp"):
        try:
            with open(f"/proc/sys/fs/nfs/nlm_{protocol}port", encoding="ascii") as file:
                port = file.read(16).strip()
        except OSError:
            continue
        if port.isdecimal() and int(port):
            datagram = protocol == "udp"
            yield KernelPort(user="NFS lock manager", port=int(port), datagram=datagram)


def _socket_units(row: Socket) -> tuple[str, ...]:
    """The .socket units whose files name the port of a row (systemd.socket(5))."""
    kind = "Datagram" if row.protocol.type is SocketType.DATAGRAM else "Stream"
    found = {}
    for folder in _UNIT_FOLDERS:
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            if not name.endswith(".socket") or name in found:
                continue
            try:
                with open(f"{folder}/{name}", encoding="utf-8") as file:
                    text = file.read(65536)
            except (OSError, UnicodeDecodeError):
                continue
            found[name] = listens_on(text, kind, row.local.port)
    return tuple(name for name, listens in found.items() if listens)


def asking_process() -> Asking | None:
    """Describe the calling process, for recognising its copies."""
    try:
        pid = int(os.readlink("/proc/self"))  # noqa: PTH115
    except (OSError, ValueError):
        return None
    facts = native.read_process(pid)
    if facts is None:
        return None
    command = tuple(_decode(one) for one in facts.command)
    folder = _decode(facts.folder) or None
    return Asking(pid=pid, program=program_of(facts.executable, command, folder))


def user_name(uid: int | None) -> str | None:
    """The name of a uid, None when it has none here."""
    if sys.platform != "win32" and uid is not None:
        import pwd

        try:
            return pwd.getpwuid(uid).pw_name
        except (KeyError, OverflowError):
            pass
    return None


def _unmapped_uid(facts: Facts) -> int | None:
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


def cgroup_path(identifier: int | None) -> str | None:
    """The path of a cgroup v2 folder from its inode, which is its id."""
    mount = _cgroup_mount() if identifier else None
    if mount is None:
        return None
    try:
        if os.stat(mount).st_ino == identifier:  # noqa: PTH116
            return "/"
    except OSError:
        return None
    pending = [mount]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                folders = [one for one in entries if one.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for one in folders:
            if one.inode() == identifier:
                return one.path.removeprefix(mount)
        pending += [one.path for one in folders]
    return None


def _name_hidden(found: Mapping[Socket, Socket]) -> dict[Socket, Socket]:
    """Tell MPTCP from TCP where no descriptor could be asked."""
    unnamed = {
        row
        for row, owned in found.items()
        if owned.protocol is Protocol.TCP
        and owned.state is not State.CLOSE
        and owned.owner.kind is not OwnerKind.PROCESS
    }
    if not unnamed:
        return dict(found)
    ports = {row.local.port for row in unnamed}
    port = ports.pop() if len(ports) == 1 else 0
    mptcp = {row.inode for row in native.list_sockets(Protocol.MPTCP, port).sockets}
    return {
        row: replace(owned, protocol=Protocol.MPTCP)
        if row in unnamed and row.inode in mptcp
        else owned
        for row, owned in found.items()
    }


def _no_tables(protocol: Protocol, listing: native.Listing) -> Notice:
    if _SYSTEM != "linux":
        return Notice(
            code="tables-unsupported",
            text=f"socket tables are not supported here yet ({_SYSTEM})",
        )
    reason = listing.refused.message if listing.refused else "unknown"
    return Notice(
        code="no-socket-table",
        text=f"the kernel lists no {protocol} sockets ({reason})",
    )


def _sees_other_users() -> bool:
    """Whether /proc lists everybody's processes: mounted with hidepid=2 it does not.

    pid 1 is always there and is root's.
    """
    try:
        os.stat("/proc/1")  # noqa: PTH116
    except OSError as error:
        return error.errno != errno.ENOENT
    return True


def _pids_are_ours() -> bool:
    """Whether /proc belongs to our pid namespace: else its pids mean others here."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115
    except OSError:
        return True


def _waits_for_accept(row: Socket) -> bool:
    return (
        not row.inode
        and row.state in (State.ESTABLISHED, State.CLOSE_WAIT)
        and row.owner is NO_OWNER
    )


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _boot_time() -> float:
    clock: Callable[[int], float] | None = getattr(time, "clock_gettime", None)
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None or boottime is None:
        return 0.0
    return time.time() - clock(boottime)


def _reserved_ports() -> tuple[tuple[int, int], ...]:
    """Read net.ipv4.ip_local_reserved_ports, such as "8080,9000-9010"."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_reserved_ports", "rb") as file:
            parts = file.read().strip().split(b",")
    except OSError:
        return ()
    ranges = (part.partition(b"-") for part in parts if part)
    return tuple((int(low), int(high or low)) for low, _, high in ranges)


# include/uapi/linux/if_addr.h
_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40


def _with_flags(
    addresses: Sequence[InterfaceAddress],
) -> tuple[InterfaceAddress, ...]:
    """Add what getifaddrs() does not tell: is an IPv6 address ready to be used?"""
    flags = {}
    try:
        with open("/proc/self/net/if_inet6", "rb") as file:
            for line in file:
                packed, index, _, _, flag, _ = line.decode().split()
                flags[bytes.fromhex(packed), int(index, 16)] = int(flag, 16)
    except (OSError, ValueError):
        return tuple(addresses)
    return tuple(
        replace(
            one,
            tentative=bool(flags.get((one.packed, one.index), 0) & _IFA_F_TENTATIVE),
            duplicate=bool(flags.get((one.packed, one.index), 0) & _IFA_F_DADFAILED),
        )
        for one in addresses
    )


def _ipv6_disabled_on() -> tuple[str, ...]:
    """Read net.ipv6.conf.INTERFACE.disable_ipv6 of every interface."""
    folder = "/proc/sys/net/ipv6/conf"
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - pathlib costs start-up time
    except OSError:
        return ()
    return tuple(
        name
        for name in names
        if name not in ("all", "default")
        and _read_line(f"{folder}/{name}/disable_ipv6") == "1"
    )


def _own_status() -> dict[str, str]:
    """The lines of /proc/self/status."""
    try:
        with open("/proc/self/status", "rb") as file:
            parts = [line.partition(b":") for line in file]
    except OSError:
        return {}
    return {_decode(name): _decode(value.strip()) for name, _, value in parts}


def _own_cgroup() -> str | None:
    """The path of our cgroup of version 2, below its mount."""
    try:
        with open("/proc/self/cgroup", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    return next((_decode(one[3:]) for one in lines if one.startswith(b"0::/")), None)


def _read_line(path: str) -> str | None:
    """A short file of one line; None where it cannot be read or is empty."""
    try:
        with open(path, "rb") as file:
            return _decode(file.read(4096).strip(b"\n\0 ")) or None
    except OSError:
        return None


def _kernel() -> str:
    if sys.platform == "win32":
        return ""
    else:  # noqa: RET505 - type checkers leave the other system's branch out
        return os.uname().release


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


def _cgroup_mount() -> str | None:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                if after.startswith("cgroup2 "):
                    return before.split(" ")[4]
    except OSError:
        pass
    return None


# include/uapi/linux/capability.h, by bit
CAPABILITIES = (
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
)
