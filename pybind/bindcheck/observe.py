"""What is there: tables, owners, facts. Observes, and judges nothing.

Facts are read once for a report, tables at every look, because they change.
"""

from __future__ import annotations

import errno
import time

from bindcheck import native
from bindcheck.cgroups import cgroup_mount, own_cgroup
from bindcheck.holder_search import HolderSearch
from bindcheck.lazy import once
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
from bindcheck.model import Context, Notice, Snapshot, Socket
from bindcheck.owner_lookup import OwnerLookup
from bindcheck.processes import asking_process
from bindcheck.records import replace
from bindcheck.users import UserNames
from bindcheck.words import Domain, Family, Protocol, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bindcheck.model import Facts, NativeCode, Options, Target
    from bindcheck.rules.ownership import Asking


CAP_NET_ADMIN = 12
_WINSOCK = {
    "EACCES": 10013,
    "EINVAL": 10022,
    "EADDRINUSE": 10048,
    "EADDRNOTAVAIL": 10049,
}


class Observer:
    """Reads the system; one for each report. Every look is a fresh one."""

    def __init__(
        self, *, for_caller: bool = False, leave_out: frozenset[int] = frozenset()
    ) -> None:
        """Begin to look.

        Args:
            for_caller: on behalf of this program, whose own sockets and copies are told.
            leave_out: inodes of sockets that are the caller's own, and in nobody's way.
        """
        self._for_caller = for_caller
        self._leave_out = leave_out
        self._search = HolderSearch()
        self._users = UserNames()

    # Read when they are needed: a search that was begun goes on beside.

    @once
    def facts(self) -> Facts:
        """What this machine allows."""
        facts = native.read_facts()
        if facts.system == System.WINDOWS:
            from bindcheck import windows

            return replace(facts, ephemeral_range=windows.dynamic_range())
        return facts

    @once
    def _asking(self) -> Asking | None:
        return asking_process() if self._for_caller else None

    @once
    def _owners(self) -> OwnerLookup:
        return OwnerLookup(self.facts, self._asking, self._search, self._users)

    def look(
        self,
        protocol: Protocol,
        port: int,
        device: str | None,
        *,
        tries_bound: bool = False,
        alike: bool = False,
        ahead: Callable[[Socket], bool] | None = None,
    ) -> Snapshot:
        """Read the rows on a port, without their owners.

        `tries_bound` tells whether TCP sockets that are only bound are among them;
        `alike` reads one row of those that are alike but for their port (sock_diag).
        `ahead` begins to look who has those listeners of the port for which it is true,
        for with_owners(); settle() is to follow.
        """
        if ahead is not None and port and protocol.table is Protocol.TCP:
            self._search.begin(port, ahead)
        limits: list[Notice] = []
        listing = native.list_sockets(
            protocol.table,
            port,
            tries_bound=tries_bound,
            alike=alike and not self._leave_out,
        )
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
        user = self._user()
        return Snapshot(
            facts=self.facts,
            sockets=sockets,
            alike=listing.alike,
            listed=listing.source is not None,
            devices={device: index} if device and index else {},
            reserved_ports=reserved_ports(),
            limits=(*limits, *self._users.limits),
            address_in_use=self._error("EADDRINUSE"),
            permission_denied=self._error("EACCES"),
            address_not_available=self._error("EADDRNOTAVAIL"),
            invalid_argument=self._error("EINVAL"),
            # Where they are not, with_bound_sockets() finds those that it can.
            bound_sockets_listed=listing.bound
            if listing.bound or self._elsewhere
            else None,
            user=user,
            observed_at=time.time(),
        )

    def settle(self) -> None:
        """See that nothing goes on that a look has begun."""
        self._search.end()

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
        return self._users.name_of(self.facts.euid)

    def nothing_seen(self) -> Snapshot:
        """A snapshot without tables: the facts and the system's texts alone."""
        user = self._user()
        return Snapshot(
            facts=self.facts,
            address_in_use=self._error("EADDRINUSE"),
            refusals={
                name: native.error(Domain.ERRNO, getattr(errno, name))
                for name in ("EACCES", "EROFS")
            },
            user=user,
            limits=self._users.limits,
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

            return windows.with_owners(snapshot, wanted, self._asking)
        if self.facts.system == System.DARWIN:
            from bindcheck import darwin

            return darwin.with_last_users(
                self._owners.with_holders(snapshot, wanted), wanted, self._users
            )
        return self._owners.with_holders(snapshot, wanted)

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
        self.settle()  # it walks over all processes as well
        known = native.list_sockets(Protocol.TCP, 0).sockets
        scan = native.find_bound(port, [row.inode for row in known])
        limits = snapshot.limits
        known_codes = {one.code for one in limits}
        limits = (
            *limits,
            *(one for one in self._owners.unread(scan) if one.code not in known_codes),
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
        if uid is not None and uid == self._owners.unmapped_uid:
            return "a user that has no id here"
        return self._users.name_of(uid)

    def context(self) -> Context:
        """Where and when."""
        held = self.facts.capabilities
        return Context(
            platform=self.facts.system,
            kernel=kernel_release(),
            observed_at=time.time(),
            boot_id=boot_id(),
            euid=self.facts.euid,
            user=self._user(),
            capabilities=tuple(
                [name for bit, name in enumerate(CAPABILITIES) if held >> bit & 1]
            ),
            network_namespace=self.facts.network_namespace,
            pid_namespace=self.facts.pid_namespace,
        )


def shows_bound() -> bool:
    """Whether the tables show TCP sockets that are bound and do not listen; tried."""
    return bool(native.list_sockets(Protocol.TCP, 1, tries_bound=True).bound)


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
