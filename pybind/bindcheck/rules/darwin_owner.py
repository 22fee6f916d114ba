"""Who has a socket on macOS, where libproc does not say it all."""

from __future__ import annotations

from bindcheck.records import replace
from bindcheck.words import OwnerKind, State, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Owner, Socket


def with_last_user(row: Socket, name: str | None, user: str | None) -> Owner:
    """Add who used the socket last, a process that is not seen to have it.

    Args:
        row: with the owner that is seen.
        name: of the process that has that pid now; None: it is gone.
        user: the name of the socket's uid.
    """
    owner = row.owner
    if owner.opener is not None:
        return owner
    if owner.processes:
        if name is not None:
            return owner  # several have it, and another one used it last
        # The one that opened it is gone, a child keeps it.
        orphaned = all(one.parent == 1 for one in owner.processes)
        traits = (*owner.traits, Trait.INHERITED) if orphaned else owner.traits
        return replace(owner, opener=row.pid, traits=traits)
    if row.state is State.TIME_WAIT:
        return owner
    # A flow of Network.framework has no socket in the kernel, but a process.
    kind = OwnerKind.HIDDEN if owner.kind is OwnerKind.NONE else owner.kind
    if owner.uid is None:
        owner = replace(owner, uid=row.uid, user=user)
    return replace(owner, kind=kind, opener=row.pid, opener_name=name)
