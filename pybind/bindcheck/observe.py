"""What is there: tables, owners, facts. Observes, and judges nothing.

Facts are read once for a report, tables at every look, because they change.
"""

from __future__ import annotations

import errno
import time
from functools import partial

from bindcheck import native
from bindcheck.borrowers import without_borrowers
from bindcheck.cgroups import cgroup_mount, cgroup_path, own_cgroup
from bindcheck.machine import (
    CAPABILITIES,
    boot_id,
    ipv6_disabled_on,
    kernel_release,
    own_status,
    read_line,
    reserved_ports,
    with_flags,
)
from bindcheck.model import (
    NO_OWNER,
    Context,
    KernelPort,
    Notice,
    Process,
    Snapshot,
    Socket,
)
from bindcheck.patience import UnansweredError, in_time
from bindcheck.port_users import kernel_ports, socket_units
from bindcheck.processes import (
    describe_process,
    pids_are_ours,
    sees_other_users,
    unmapped_uid,
    user_name,
    with_descriptors,
)
from bindcheck.records import replace
from bindcheck.rules.cgroup import path_of, socket_unit_of
from bindcheck.rules.holders import covering_listener
from bindcheck.rules.ownership import (
    INITIAL_PID_NAMESPACE,
    INITIAL_USER_NAMESPACE,
    Asking,
    asking_first,
    is_service_manager,
    owner_of,
)
from bindcheck.walks import leave_alone
from bindcheck.words import (
    Domain,
    Family,
    OwnerKind,
    Protocol,
    State,
    System,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bindcheck.model import NativeCode, Options, Owner, Target


CAP_NET_ADMIN = 12
# A million descriptors are read in a second.
_PATIENCE_SECONDS = 3.0
_WINSOCK = {
    "EACCES": 10013,
    "EINVAL": 10022,
    "EADDRINUSE": 10048,
    "EADDRNOTAVAIL": 10049,
}


class Observer:
    """Reads the system; one for each report. Every look is a fresh one."""

    def __init__(
        self, asking: Asking | None = None, *, leave_out: frozenset[int] = frozenset()
    ) -> None:
        """Begin to look.

        Args:
            asking: the program on whose behalf.
            leave_out: inodes of sockets that are the caller's own, and in nobody's way.
        """
        self.asking = asking
        self._leave_out = leave_out
        self.facts = native.read_facts()
        if self.facts.system == System.WINDOWS:
            from bindcheck import windows

            self.facts = replace(self.facts, ephemeral_range=windows.dynamic_range())
        self._cgroups: dict[int | None, str | None] = {}
        self._users: dict[int | None, str | None] = {}
        self._kernel_ports: tuple[KernelPort, ...] | None = None
        self._brief = False
        self.unmapped_uid = unmapped_uid(self.facts)

    def look(
        self,
        protocol: Protocol,
        port: int,
        device: str | None,
        *,
        tries_bound: bool = False,
    ) -> Snapshot:
        """Read the rows on a port, without their owners.

        `tries_bound` tells whether TCP sockets that are only bound are among them.
        """
        limits: list[Notice] = []
        listing = native.list_sockets(protocol.table, port, tries_bound=tries_bound)
        if listing.source is None:
            limits.append(_no_tables(protocol, listing, self.facts.system))
        elif listing.source == "proc-net":
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
        sockets = listing.sockets
        if self.facts.system == System.WINDOWS:
            from bindcheck import windows

            sockets = windows.plain_rows(sockets)
        if self._leave_out:
            sockets = tuple(row for row in sockets if row.inode not in self._leave_out)
        return Snapshot(
            facts=self.facts,
            sockets=sockets,
            listed=listing.source is not None,
            devices={device: index} if device and index else {},
            reserved_ports=reserved_ports(),
            limits=tuple(limits),
            address_in_use=self._error("EADDRINUSE"),
            permission_denied=self._error("EACCES"),
            address_not_available=self._error("EADDRNOTAVAIL"),
            invalid_argument=self._error("EINVAL"),
            # Where they are not, with_bound_sockets() finds those that it can.
            bound_sockets_listed=listing.bound
            if listing.bound or self._elsewhere
            else None,
            user=self._user(),
            observed_at=time.time(),
        )

    @property
    def _elsewhere(self) -> bool:
        """Whether the tables are not those of Linux."""
        return self.facts.system in (System.DARWIN, System.WINDOWS)

    def _error(self, name: str) -> NativeCode:
        """The system's own code of a name: Winsock's numbers are others."""
        if self.facts.system == System.WINDOWS:
            return native.error(Domain.WINSOCK, _WINSOCK[name])
        return native.error(Domain.ERRNO, getattr(errno, name))

    def _user(self) -> str | None:
        if self.facts.system == System.WINDOWS:
            from bindcheck import windows

            return windows.own_user()
        return self._name_of_user(self.facts.euid)

    def nothing_seen(self) -> Snapshot:
        """A snapshot without tables: the facts and the system's texts alone."""
        return Snapshot(
            facts=self.facts,
            address_in_use=self._error("EADDRINUSE"),
            refusals={
                name: native.error(Domain.ERRNO, getattr(errno, name))
                for name in ("EACCES", "EROFS")
            },
            user=self._user(),
            observed_at=time.time(),
        )

    def with_addresses(self, snapshot: Snapshot) -> Snapshot:
        """Add the addresses that the interfaces have."""
        return replace(
            snapshot,
            addresses=with_flags(native.list_addresses()),
            ipv6_disabled_on=ipv6_disabled_on(),
        )

    def with_confinement(self, snapshot: Snapshot, family: Family | None) -> Snapshot:
        """Add what judges the calls of this process before the kernel does."""
        status = own_status()
        seccomp, no_new = status.get("Seccomp"), status.get("NoNewPrivs")
        path = own_cgroup()
        mount = cgroup_mount()
        # A filter may end a process that makes a call which it does not know.
        ask = seccomp == "0" and mount is not None and path is not None
        asked = native.read_confinement(
            family or Family.INET, f"{mount}{path}" if ask else None
        )
        enforcing = read_line("/sys/fs/selinux/enforce")
        modules = read_line("/sys/kernel/security/lsm")
        held = replace(
            asked,
            seccomp=int(seccomp) if seccomp else None,
            no_new_privileges=no_new == "1" if no_new else None,
            cgroup=path,
            selinux_enforcing=enforcing == "1" if enforcing else None,
            label=read_line("/proc/self/attr/current"),
            modules=tuple(modules.split(",")) if modules else (),
            kernel=kernel_release(),
        )
        return replace(snapshot, confinement=held)

    def with_kept_ports(
        self, snapshot: Snapshot, target: Target, options: Options
    ) -> Snapshot:
        """Add what the system itself keeps from bind(): Windows, macOS."""
        kind = target.protocol.table
        if not self._elsewhere or kind not in (Protocol.TCP, Protocol.UDP):
            return snapshot
        kept = native.list_kept_ports(kind)
        snapshot = replace(snapshot, kept_ports=kept)
        if self.facts.system == System.WINDOWS and target.port:
            from bindcheck import windows

            return windows.with_refused_run(snapshot, target, options)
        return snapshot

    def with_open_files(self, snapshot: Snapshot) -> Snapshot:
        """Add how many files the system has open; none where that needs one too many."""
        parts = (read_line("/proc/sys/fs/file-nr") or "").split()
        if len(parts) != 3:
            return snapshot
        return replace(snapshot, open_files=(int(parts[0]), int(parts[2])))

    def with_redirections(
        self, snapshot: Snapshot, protocol: Protocol, port: int
    ) -> Snapshot:
        """Add the NAT rules for a port, where they may be read."""
        kind = protocol.table
        known = kind in (Protocol.TCP, Protocol.UDP) and port
        if not known or self.facts.system != System.LINUX:
            return snapshot
        if not self.facts.capabilities >> CAP_NET_ADMIN & 1:
            text = "NAT rules can be read with CAP_NET_ADMIN (root) only"
            limit = Notice(code="nat-rules-unread", text=text)
            return replace(snapshot, limits=(*snapshot.limits, limit))
        from bindcheck.translation import read_redirections

        return replace(snapshot, redirections=read_redirections(kind, port))

    def with_owners(self, snapshot: Snapshot, wanted: Iterable[Socket]) -> Snapshot:
        """Look up who has the `wanted` rows."""
        wanted = tuple(wanted)
        if self.facts.system == System.WINDOWS:
            from bindcheck import windows

            return windows.with_owners(snapshot, wanted, self.asking)
        if self.facts.system == System.DARWIN:
            from bindcheck import darwin

            return darwin.with_last_users(self._with_holders(snapshot, wanted), wanted)
        return self._with_holders(snapshot, wanted)

    def _with_holders(self, snapshot: Snapshot, wanted: tuple[Socket, ...]) -> Snapshot:
        """Look who has a descriptor of the `wanted` rows."""
        inodes = {row.inode for row in wanted if row.inode}
        # A row that waits to be accepted belongs to its listener.
        listeners: dict[int, list[Socket]] = {}
        for row in snapshot.sockets:
            if row.state is State.LISTEN:
                listeners.setdefault(row.local.port, []).append(row)
        # By the row's identity: that of the fields takes longer than all the rest.
        accepting = {
            id(row): listener
            for row in wanted
            if _waits_for_accept(row)
            and (listener := covering_listener(row, listeners.get(row.local.port, ())))
            is not None
        }
        inodes |= {listener.inode for listener in accepting.values()}
        known = {row.inode for row in snapshot.sockets if row.owner is not NO_OWNER}
        if not inodes - known:
            return snapshot
        self._kernel_ports = None
        scan, owned_rows = self._find_holders(snapshot.sockets, inodes)
        found = _name_hidden(owned_rows)
        rows = []
        for row in snapshot.sockets:
            owned = found.get(id(row), row)
            listener = accepting.get(id(row))
            if listener is not None and id(listener) in found:
                owned = replace(row, owner=found[id(listener)].owner)
            rows.append(owned)
        limits = (*snapshot.limits, *self._owner_limits(scan))
        return replace(
            snapshot,
            sockets=tuple(rows),
            limits=limits,
            foreign_pids=not pids_are_ours(),
        )

    def _find_holders(
        self, sockets: Sequence[Socket], inodes: set[int]
    ) -> tuple[native.Scan, dict[int, Socket]]:
        """Look who has these inodes; without command lines once one does not come."""

        def find() -> tuple[native.Scan, dict[int, Socket]]:
            scan = native.find_owners(sorted(inodes), brief=self._brief)
            scan = without_borrowers(scan)
            return scan, self._owned(sockets, inodes, scan)

        if self.facts.system == System.LINUX and not self._brief:
            try:
                return in_time(find, _PATIENCE_SECONDS)
            except UnansweredError:
                leave_alone()
                self._brief = True
        return find()

    def with_bound_sockets(
        self, snapshot: Snapshot, protocol: Protocol, port: int
    ) -> Snapshot:
        """Look for TCP sockets that are bound and that the tables do not show."""
        if not snapshot.listed or protocol.table is not Protocol.TCP or self._elsewhere:
            return snapshot
        if snapshot.bound_sockets_listed:
            return snapshot
        if shows_bound():
            return replace(snapshot, bound_sockets_listed=True)
        known = native.list_sockets(Protocol.TCP, 0).sockets
        scan = native.find_bound(port, [row.inode for row in known])
        limits = snapshot.limits
        known_codes = {one.code for one in limits}
        limits = (
            *limits,
            *(one for one in self._unread(scan) if one.code not in known_codes),
        )
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

    def name_of(self, uid: int | None) -> str | None:
        """The name of a user, also of one that has no id in this user namespace."""
        if uid is not None and uid == self.unmapped_uid:
            return "a user that has no id here"
        return user_name(uid)

    def context(self) -> Context:
        """Where and when."""
        return Context(
            platform=self.facts.system,
            kernel=kernel_release(),
            observed_at=time.time(),
            boot_id=boot_id(),
            euid=self.facts.euid,
            user=self._user(),
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
    ) -> dict[int, Socket]:
        """The rows with these inodes, each with its owner; by the row's id().

        Not by inode: the subflows of an MPTCP connection are several with one.
        """
        holders: dict[int, list[native.Holder]] = {}
        for one in scan.holders:
            holders.setdefault(one.inode, []).append(one)
        facts = {one.pid: one for one in scan.processes}
        known: dict[int, tuple[native.ProcessFacts, ...]] = {}
        # Once each: a process may have thousands of these sockets.
        described = {
            pid: self._without_unmapped_user(
                describe_process(
                    one,
                    self.facts,
                    known,
                    user=self._name_of_user(one.uid),
                    brief=self._brief,
                )
            )
            for pid, one in facts.items()
        }
        cgroups = {pid: path_of(one.cgroup) for pid, one in facts.items()}
        everything_readable = (
            scan.available
            and scan.unreadable == 0
            and not scan.exhausted
            and self.facts.pid_namespace == INITIAL_PID_NAMESPACE
            and sees_other_users()
        )
        judge = partial(
            self._owner,
            cgroups=cgroups,
            everything_readable=everything_readable,
            alike={},
        )
        return {
            id(row): self._with_owner(row, holders.get(row.inode, []), described, judge)
            for row in sockets
            if row.inode in inodes
        }

    def _with_owner(
        self,
        row: Socket,
        holders: Sequence[native.Holder],
        described: Mapping[int, Process],
        judge: Callable[[Socket, tuple[Process, ...]], Owner],
    ) -> Socket:
        by_pid: dict[int, list[native.Holder]] = {}
        for one in holders:
            by_pid.setdefault(one.pid, []).append(one)
        having = [
            with_descriptors(described[pid], of_it)
            for pid, of_it in by_pid.items()
            if pid in described
        ]
        processes = tuple(sorted(having, key=lambda one: (one.start_id or 0, one.pid)))
        read = next((one for one in holders if one.reuse_address is not None), None)
        is_mptcp = any(one.protocol.startswith("MPTCP") for one in holders)
        return replace(
            row,
            owner=judge(row, processes),
            protocol=Protocol.MPTCP if is_mptcp else row.protocol,
            device=row.device or (read.device or 0 if read else 0),
            reuse_address=read.reuse_address if read else row.reuse_address,
            reuse_port=read.reuse_port if read else row.reuse_port,
            v6only=row.v6only if row.v6only is not None or not read else read.v6only,
        )

    def _owner(
        self,
        row: Socket,
        processes: tuple[Process, ...],
        *,
        cgroups: Mapping[int, str | None],
        everything_readable: bool,
        alike: dict[tuple[object, ...], Owner],
    ) -> Owner:
        """The owner of a row; `alike` keeps those of rows that differ in nothing else."""
        cgroup = None
        if not self._elsewhere:
            cgroup = self._cgroup_of(row, processes, cgroups)
        managed = any(is_service_manager(one) for one in processes)
        key = (row.state, row.uid, cgroup, *map(_without_descriptors, processes))
        if processes and not managed and key in alike:
            return replace(alike[key], processes=asking_first(processes, self.asking))
        owner = owner_of(
            row,
            processes,
            everything_readable=everything_readable,
            cgroup=cgroup,
            user=self._name_of_user(row.uid),
            asking=self.asking,
            unmapped_uid=self.unmapped_uid,
            kernel_ports=() if processes else self._ports_of_the_kernel(),
            socket_units=socket_units(row) if managed else (),
        )
        if processes and not managed:
            alike[key] = owner
        return owner

    def _cgroup_of(
        self,
        row: Socket,
        processes: Sequence[Process],
        cgroups: Mapping[int, str | None],
    ) -> str | None:
        """The cgroup of the holder; of a socket that systemd has, where it was made."""
        if not processes:
            return self._cgroup_path(row.cgroup_id)
        if is_service_manager(processes[0]):
            made_in = self._cgroup_path(row.cgroup_id)
            if socket_unit_of(made_in) is not None:
                return made_in
        return cgroups[processes[0].pid]

    def _without_unmapped_user(self, process: Process) -> Process:
        if process.uid is None or process.uid != self.unmapped_uid:
            return process
        return replace(process, uid=None, user=None)

    def _ports_of_the_kernel(self) -> tuple[KernelPort, ...]:
        """Read once for a look, and only where nobody has a row."""
        if self._kernel_ports is None:
            self._kernel_ports = kernel_ports()
        return self._kernel_ports

    def _name_of_user(self, uid: int | None) -> str | None:
        """Remember names: looking one up reads a file."""
        if uid not in self._users:
            self._users[uid] = user_name(uid)
        return self._users[uid]

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

    def _unread(self, scan: native.Scan | native.BoundScan) -> list[Notice]:
        """Say why processes could not be looked at, where that is so."""
        if scan.exhausted:
            text = (
                "bindcheck itself may open no more files (RLIMIT_NOFILE, ulimit -n): "
            )
            if scan.unreadable:
                text += f"{scan.unreadable} of {scan.seen} processes were not looked at"
            else:
                text += "not everything was looked at"
            return [Notice(code="descriptors-exhausted", text=text)]
        if scan.unreadable:
            return [self._unreadable(scan.unreadable, scan.seen)]
        return []

    def _owner_limits(self, scan: native.Scan) -> list[Notice]:
        if not scan.available and not scan.exhausted:
            what = "/proc"
            if self.facts.system == System.DARWIN:
                what = "the list of processes"
            text = f"{what} cannot be read here"
            return [Notice(code="no-process-table", text=text)]
        limits = []
        if self._brief:
            limits.append(
                Notice(
                    code="commands-unread",
                    text="some process does not let its command line be read "
                    f"(for {_PATIENCE_SECONDS:.0f} s): no command lines were read",
                )
            )
        limits += self._unread(scan)
        if self.facts.system == System.LINUX and not sees_other_users():
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


def _without_descriptors(process: Process) -> tuple[object, ...]:
    """What of a holder differs between its sockets and tells something of the owner.

    Of those that socket activation gave it the numbers tell it (sd_listen_fds(3)).
    """
    numbers = process.fds if process.environment else None
    return (
        *(process.pid, process.thread, process.registered),
        *(process.close_on_exec, process.serves, numbers),
    )


def shows_bound() -> bool:
    """Whether the tables show TCP sockets that are bound and do not listen; tried."""
    return bool(native.list_sockets(Protocol.TCP, 1, tries_bound=True).bound)


def _name_hidden(found: Mapping[int, Socket]) -> dict[int, Socket]:
    """Tell MPTCP from TCP where no descriptor could be asked."""
    unnamed = {
        key: owned
        for key, owned in found.items()
        if owned.protocol is Protocol.TCP
        and owned.state is not State.CLOSE
        and owned.owner.kind is not OwnerKind.PROCESS
    }
    if not unnamed:
        return dict(found)
    ports = {owned.local.port for owned in unnamed.values()}
    port = ports.pop() if len(ports) == 1 else 0
    mptcp = {row.inode for row in native.list_sockets(Protocol.MPTCP, port).sockets}
    return {
        key: replace(owned, protocol=Protocol.MPTCP)
        if key in unnamed and owned.inode in mptcp
        else owned
        for key, owned in found.items()
    }


def _no_tables(protocol: Protocol, listing: native.Listing, system: str) -> Notice:
    if system not in tuple(System):
        return Notice(
            code="tables-unsupported",
            text=f"socket tables are not supported here ({system})",
        )
    reason = listing.refused.message if listing.refused else "unknown"
    return Notice(
        code="no-socket-table",
        text=f"the kernel lists no {protocol} sockets ({reason})",
    )


def _waits_for_accept(row: Socket) -> bool:
    return (
        not row.inode
        and row.state in (State.ESTABLISHED, State.CLOSE_WAIT)
        and row.owner is NO_OWNER
    )
