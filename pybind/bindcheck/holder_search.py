"""Who has descriptors of sockets; looked for within a time.

To read the command line or the environment of a process may take for ever: as long as
somebody has its memory locked, for a file whose server does not answer. So it is done in
a thread of its own, and once one was left alone, without these.
"""

from __future__ import annotations

import os
import sys

from bindcheck import native
from bindcheck.borrowers import without_borrowers
from bindcheck.machine import SYSTEM
from bindcheck.patience import UnansweredError
from bindcheck.records import record
from bindcheck.words import System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from bindcheck.model import Socket

# A million descriptors are read in a second.
PATIENCE_SECONDS = 3.0
# What nobody asks for is left alone sooner.
_SHORT_PATIENCE_SECONDS = 0.1
# Of more, to look in vain takes longer than to look later.
_FEW_PROCESSES = 256
# A search beside another look opens some of the descriptors that this one may need.
_SPARE_DESCRIPTORS = 32


@record(frozen=True, slots=True, kw_only=True)
class Found:
    """Descriptors of sockets, and by pid their processes and what is above these."""

    scan: native.Scan
    processes: Mapping[int, native.ProcessFacts]


@record(frozen=True, slots=True, kw_only=True)
class _Begun:
    inodes: AbstractSet[int]
    search: native.Search


class HolderSearch:
    """Looks for holders; one for each report."""

    def __init__(self) -> None:
        self.brief = False
        """Whether some process did not let its command line be read."""
        self._begun: _Begun | None = None

    def begin(self, port: int, is_wanted: Callable[[Socket], bool]) -> None:
        """Begin to look who has the TCP sockets that listen on a port.

        Goes on beside what the caller does, where that is of use: find() takes the answer
        when it is asked for these sockets alone. end() is to follow.
        """
        self.end()
        if SYSTEM != System.LINUX or self.brief or not _is_room():
            return
        rows = native.list_listeners(port)
        inodes = {one.inode for one in rows if is_wanted(one)} - {0}
        if not inodes:
            return
        try:
            search = native.Search(sorted(inodes))
        except RuntimeError:
            return  # no thread is to be had
        self._begun = _Begun(inodes=inodes, search=search)

    def end(self) -> None:
        """Wait for what was begun and not asked for: it may have borrowed a descriptor."""
        begun, self._begun = self._begun, None
        if begun is None:
            return
        try:  # noqa: SIM105 - contextlib costs more than all the rest at every start
            begun.search.wait(_SHORT_PATIENCE_SECONDS)
        except (UnansweredError, MemoryError):
            pass  # nobody needs the answer

    def find(self, inodes: AbstractSet[int]) -> Found:
        """Look who has the sockets with these inodes."""
        if SYSTEM == System.LINUX and not self.brief:
            try:
                return _found(self._in_time(inodes))
            except UnansweredError:
                self.brief = True
        return _found(native.find_owners(sorted(inodes), brief=self.brief))

    def _in_time(self, inodes: AbstractSet[int]) -> native.Scan:
        begun, self._begun = self._begun, None
        if begun is not None:
            # Also for others: two at once would see what both have borrowed.
            scan = begun.search.wait(PATIENCE_SECONDS)
            if begun.inodes == inodes:
                return scan
        try:
            search = native.Search(sorted(inodes))
        except RuntimeError:
            return native.find_owners(sorted(inodes))
        return search.wait(PATIENCE_SECONDS)


def _found(scan: native.Scan) -> Found:
    known = {one.pid: one for one in (*scan.ancestors, *scan.processes)}
    scan = without_borrowers(scan)
    if SYSTEM != System.LINUX:  # there they come with the holders
        for one in scan.processes:
            if one.parent and one.parent not in known:
                known |= {
                    above.pid: above for above in native.read_ancestors(one.parent)
                }
    return Found(scan=scan, processes=known)


def _is_room() -> bool:
    """Whether there are few processes and descriptors of ours to spare.

    /proc has a link for each process of the machine; what a descriptor folder's size is
    the kernel tells since Linux 6.2.
    """
    if sys.platform == "win32":
        return False
    else:  # noqa: RET505 - type checkers leave the other system's branch out
        try:
            few = os.stat("/proc").st_nlink < _FEW_PROCESSES  # noqa: PTH116
            used = os.stat("/proc/self/fd").st_size  # noqa: PTH116
        except OSError:
            return False
        most = os.sysconf("SC_OPEN_MAX")
        return few and used > 0 and (most < 0 or used + _SPARE_DESCRIPTORS <= most)
