"""Whether a new socket may stand beside one whose address overlaps: each system's rules.

Linux: sharing.py. macOS: darwin.py. Windows: windows.py.
"""

from __future__ import annotations

from bindcheck.records import record
from bindcheck.rules import sharing as linux
from bindcheck.words import Blocks, Sharing, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Options, Snapshot, Socket, Target
    from bindcheck.rules.sharing import Asker
    from bindcheck.rules.windows import Heard, Holder

_WILDCARDS = (bytes(4), bytes(16))


@record(frozen=True, slots=True)
class Neighbourhood:
    """The new socket, and all that is known of those beside it."""

    target: Target
    options: Options
    snapshot: Snapshot
    asker: Asker
    heard: tuple[tuple[bytes, Heard], ...] = ()
    """Windows: what binds were told, with the address of each."""

    def conflicts(self, holder: Socket) -> Blocks | None:
        """Tell whether a holder blocks; None when they may share the port."""
        system = self.snapshot.facts.system
        if system == System.DARWIN:
            from bindcheck.rules import darwin

            uid = self.snapshot.facts.euid
            return darwin.conflicts(self.target, self.options, holder, uid=uid)
        if system == System.WINDOWS:
            from bindcheck.rules import windows

            return windows.conflicts(
                self.options,
                holder,
                wildcards=(_is_wildcard(holder.packed), self._is_wildcard()),
                possible=self._possible(holder),
            )
        return linux.conflicts(self.asker, holder)

    def sharing(self, holder: Socket, *, alone: bool) -> Sharing:
        """Say why the options that were asked for did not help against this holder."""
        system = self.snapshot.facts.system
        if system == System.DARWIN:
            from bindcheck.rules import darwin

            uid = self.snapshot.facts.euid
            return darwin.sharing(self.target, self.options, holder, uid=uid)
        if system == System.WINDOWS:
            from bindcheck.rules import windows

            return windows.sharing(
                self.options,
                wildcards=(_is_wildcard(holder.packed), self._is_wildcard()),
                possible=self._possible(holder),
            )
        return linux.sharing(self.asker, holder, alone=alone)

    def answers(self, holder: Socket) -> frozenset[str]:
        """What Windows would say of this holder alone; "ok" and names without WSA."""
        from bindcheck.rules import windows

        return windows.answers_to(
            self._possible(holder),
            held_wildcard=_is_wildcard(holder.packed),
            mode=windows.Mode.of(self.options),
            wildcard=self._is_wildcard(),
        )

    def _is_wildcard(self) -> bool:
        return _is_wildcard(self.target.packed)

    def _possible(self, holder: Socket) -> frozenset[Holder]:
        """What this holder can be on Windows, by what binds beside it were told."""
        from bindcheck.rules import windows

        wildcard = _is_wildcard(holder.packed)
        met = [
            one
            for packed, one in self.heard
            if len(packed) == len(holder.packed)
            and (wildcard or one.wildcard or packed == holder.packed)
        ]
        return windows.candidates(
            met, wildcard=wildcard, same_user=_is_own(holder, self.snapshot)
        )


def _is_own(holder: Socket, snapshot: Snapshot) -> bool | None:
    """Whether its program runs as the user who asks; None: not told."""
    users = {one.user for one in holder.owner.processes}
    if snapshot.user is None or not users or None in users:
        return None
    return users == {snapshot.user}


def _is_wildcard(packed: bytes) -> bool:
    return packed in _WILDCARDS
