"""Who has the rows of the tables: holders from the system, as owners of the model.

One for each report: what it has learnt of users and cgroups is not asked again.
"""

from __future__ import annotations

from functools import partial

from bindcheck import native
from bindcheck.alike import inodes_of, natures_of, parted, places_of
from bindcheck.cgroups import cgroup_path
from bindcheck.holder_search import PATIENCE_SECONDS
from bindcheck.model import (
    NO_OWNER,
    KernelPort,
    NativeCode,
    Notice,
    Process,
    Socket,
)
from bindcheck.patience import UnansweredError, in_time
from bindcheck.port_users import kernel_ports, socket_units
from bindcheck.processes import (
    describe_process,
    pids_are_ours,
    sees_other_users,
    unmapped_uid,
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
from bindcheck.words import Protocol, State, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bindcheck.holder_search import Found, HolderSearch
    from bindcheck.model import Facts, Owner, Snapshot
    from bindcheck.native.rows import Holder
    from bindcheck.users import UserNames

# With a descriptor that somebody reads and writes.
_CONNECTED = frozenset({State.ESTABLISHED, State.CLOSE_WAIT})
_NOBODY: frozenset[int] = frozenset()


class OwnerLookup:
    """Looks up owners; every look at who has a socket is a fresh one."""

    def __init__(
        self,
        facts: Facts,
        asking: Asking | None,
        search: HolderSearch,
        users: UserNames,
    ) -> None:
        self.facts = facts
        self.asking = asking
        self._search = search
        self._users = users
        self._cgroups: dict[int | None, str | None] = {}
        self._kernel_ports: tuple[KernelPort, ...] | None = None
        self._ports_refused: NativeCode | None = None
        self._units_late = False
        self._is_elsewhere = facts.system in (System.DARWIN, System.WINDOWS)
        self.unmapped_uid = unmapped_uid(facts)
        self._sees_other_users = sees_other_users()
        self._foreign_pids = not pids_are_ours()

    def with_holders(self, snapshot: Snapshot, wanted: tuple[Socket, ...]) -> Snapshot:
        """Look who has a descriptor of the `wanted` rows."""
        inodes: set[int] = set()
        for row in wanted:
            inodes |= inodes_of(row, snapshot)
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
        self._kernel_ports = self._ports_refused = None
        holders = self._search.find(inodes)
        snapshot, found = self._owned(snapshot, inodes, holders)
        rows = []
        for row in snapshot.sockets:
            owned = found.get(id(row), row)
            listener = accepting.get(id(row))
            if listener is not None and id(listener) in found:
                owned = replace(row, owner=found[id(listener)].owner)
            rows.append(owned)
        limits = self._owner_limits(holders.scan)
        told = {one.code for one in limits}  # by an earlier look, of other processes
        before = [one for one in snapshot.limits if one.code not in told]
        return replace(
            snapshot,
            sockets=tuple(rows),
            limits=(*before, *limits),
            foreign_pids=self._foreign_pids,
        )

    def _owned(
        self, snapshot: Snapshot, inodes: set[int], found: Found
    ) -> tuple[Snapshot, dict[int, Socket]]:
        """The rows with these inodes, each with its owner; by the row's id().

        Not by inode: the subflows of an MPTCP connection are several with one. The
        snapshot has rows of their own for what is not alike by its holders.
        """
        scan = found.scan
        described = {one.pid: self._described(one, found) for one in scan.processes}
        holders: dict[int, list[Holder]] = {}
        for one in scan.holders:
            holders.setdefault(one.inode, []).append(one)
        mptcp = _mptcp_inodes(snapshot, inodes, scan)
        if snapshot.alike:
            plain = {pid for pid, one in described.items() if _is_plain(one)}
            natures = natures_of(scan.holders, plain, mptcp)
            for port, inode in places_of(snapshot):
                if inode not in holders and port not in self._kernels():
                    natures[inode] = inode in mptcp
            snapshot = parted(snapshot, natures)
        cgroups = {one.pid: path_of(one.cgroup) for one in scan.processes}
        everything_readable = (
            scan.available
            and scan.unreadable == 0
            and not scan.exhausted
            and self.facts.pid_namespace == INITIAL_PID_NAMESPACE
            and self._sees_other_users
        )
        connected: dict[int, frozenset[int]] = {}
        for row in snapshot.sockets:
            if row.state in _CONNECTED and row.inode in holders:
                port, pids = row.local.port, {one.pid for one in holders[row.inode]}
                connected[port] = connected.get(port, _NOBODY) | pids
        judge = partial(
            self._owner,
            connected=connected,
            cgroups=cgroups,
            everything_readable=everything_readable,
            alike={},
        )
        return snapshot, {
            id(row): self._with_owner(
                row, holders.get(row.inode, []), described, judge, mptcp
            )
            for row in snapshot.sockets
            if row.inode in inodes
        }

    def _described(self, facts: native.ProcessFacts, found: Found) -> Process:
        uid = facts.uid if facts.uid != self.unmapped_uid else None
        return describe_process(
            facts,
            self.facts,
            found.processes,
            uid=uid,
            user=self._users.name_of(uid),
        )

    def _with_owner(
        self,
        row: Socket,
        holders: Sequence[Holder],
        described: Mapping[int, Process],
        judge: Callable[[Socket, tuple[Process, ...]], Owner],
        mptcp: frozenset[int],
    ) -> Socket:
        by_pid: dict[int, list[Holder]] = {}
        for one in holders:
            by_pid.setdefault(one.pid, []).append(one)
        having = [
            with_descriptors(described[pid], of_it)
            for pid, of_it in by_pid.items()
            if pid in described
        ]
        processes = tuple(sorted(having, key=lambda one: (one.start_id or 0, one.pid)))
        read = next((one for one in holders if one.reuse_address is not None), None)
        is_mptcp = row.inode in mptcp or any(
            one.protocol.startswith("MPTCP") for one in holders
        )
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
        connected: Mapping[int, frozenset[int]],
        alike: dict[tuple[object, ...], Owner],
    ) -> Owner:
        """The owner of a row; `alike` keeps those of rows that differ in nothing else."""
        cgroup = None
        if not self._is_elsewhere:
            cgroup = self._cgroup_of(row, processes, cgroups)
        managed = any(is_service_manager(one) for one in processes)
        busy = connected.get(row.local.port, _NOBODY)
        told = map(_without_descriptors, processes)
        key = (row.state, row.uid, cgroup, busy, *told)
        if processes and not managed and key in alike:
            return replace(alike[key], processes=asking_first(processes, self.asking))
        ports = () if processes else self._ports_of_the_kernel()
        owner = owner_of(
            row,
            processes,
            everything_readable=everything_readable and not self._ports_refused,
            cgroup=cgroup,
            user=self._users.name_of(row.uid),
            asking=self.asking,
            unmapped_uid=self.unmapped_uid,
            kernel_ports=ports,
            socket_units=self._units_of(row) if managed else (),
            connected=busy,
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

    def _ports_of_the_kernel(self) -> tuple[KernelPort, ...]:
        """Read once for a look, and only where nobody has a row."""
        if self._kernel_ports is None:
            self._kernel_ports, self._ports_refused = kernel_ports()
        return self._kernel_ports

    def _kernels(self) -> set[int | None]:
        """The ports of which the kernel tells that it uses them."""
        return {one.port for one in self._ports_of_the_kernel()}

    def _units_of(self, row: Socket) -> tuple[str, ...]:
        """The .socket units of a row; none once their files do not come."""
        if self._units_late:
            return ()
        try:
            return in_time(partial(socket_units, row), PATIENCE_SECONDS)
        except UnansweredError:
            self._units_late = True
            return ()

    def _cgroup_path(self, identifier: int | None) -> str | None:
        """Remember paths: many hidden sockets are of one cgroup."""
        if identifier not in self._cgroups:
            self._cgroups[identifier] = cgroup_path(identifier)
        return self._cgroups[identifier]

    def _unreadable(self, count: int, seen: int) -> Notice:
        who = self._users.name_of(self.facts.euid) or f"uid {self.facts.euid}"
        if self.facts.user_namespace not in (None, INITIAL_USER_NAMESPACE):
            who += " of this user namespace"
        text = f"{count} of {seen} processes cannot be read by {who}"
        return Notice(code="processes-unreadable", text=text)

    def unread(self, scan: native.Scan | native.BoundScan) -> list[Notice]:
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
        if self._search.brief:
            limits.append(
                Notice(
                    code="commands-unread",
                    text="some process does not let its command line be read "
                    f"(for {PATIENCE_SECONDS:.0f} s): no command lines were read",
                )
            )
        if self._units_late:
            limits.append(
                Notice(
                    code="filesystem-not-answering",
                    text="a file of systemd's units does not come "
                    f"(for {PATIENCE_SECONDS:.0f} s): which unit has a port is not told",
                )
            )
        limits += self._users.limits
        limits += self.unread(scan)
        if self._ports_refused is not None:
            text = (
                "the devices of the network could not be listed "
                f"({self._ports_refused.message}): what nobody is seen to have may be "
                "the kernel's"
            )
            limits.append(Notice(code="kernel-ports-unread", text=text))
        if self.facts.system == System.LINUX and not self._sees_other_users:
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


def _is_plain(process: Process) -> bool:
    """Whether of several sockets that it has each tells the same of it."""
    from bindcheck.rules.proxies import proxy_of

    # Only proxies, systemd and what it starts have something to do with certain ports.
    return not (process.environment or is_service_manager(process) or proxy_of(process))


def _mptcp_inodes(
    snapshot: Snapshot, inodes: set[int], scan: native.Scan
) -> frozenset[int]:
    """The inodes of MPTCP sockets, where some were not told by a descriptor."""
    untold = inodes - {one.inode for one in scan.holders if one.protocol}
    if not untold:
        return frozenset()
    ports = {
        row.local.port
        for row in snapshot.sockets
        if row.protocol is Protocol.TCP
        and row.state is not State.CLOSE
        and not untold.isdisjoint(inodes_of(row, snapshot))
    }
    if not ports:
        return frozenset()
    port = ports.pop() if len(ports) == 1 and not snapshot.alike else 0
    return frozenset(
        row.inode for row in native.list_sockets(Protocol.MPTCP, port).sockets
    )


def _waits_for_accept(row: Socket) -> bool:
    return (
        not row.inode
        and row.state in (State.ESTABLISHED, State.CLOSE_WAIT)
        and row.owner is NO_OWNER
    )
