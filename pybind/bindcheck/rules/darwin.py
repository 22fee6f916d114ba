"""Whether two sockets may share a port on macOS (bsd/netinet/in_pcb.c, in_pcbbind).

The options of every socket are in the tables, so the answer is yes or no. Read in the
kernel's source; see docs/platforms.md for what was run.
"""

from __future__ import annotations

from bindcheck.target import ANY4, ANY6, MAPPED_PREFIX
from bindcheck.words import Blocks, Sharing

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Options, Socket, Target

WILDCARDS = (ANY4, ANY6)


def conflicts(
    target: Target, options: Options, holder: Socket, *, uid: int | None
) -> Blocks | None:
    """Tell whether a holder whose address overlaps blocks; None when it does not.

    Where neither SO_REUSEADDR nor SO_REUSEPORT is set every socket on the port counts
    whose address overlaps, connections and TIME_WAIT too. With one of them only an
    unconnected socket of the very same address does, and SO_REUSEPORT on both lets even
    these share.
    """
    if is_of_another_user(target, holder, uid=uid):
        return Blocks.YES
    if not (options.reuse_address or options.reuse_port):
        return None if _both_wildcards_apart(target, holder) else Blocks.YES
    if holder.remote is not None or not _same_address(target, holder):
        return None
    if options.reuse_port and holder.reuse_port is None:
        return Blocks.POSSIBLY
    return None if options.reuse_port and holder.reuse_port else Blocks.YES


def is_of_another_user(target: Target, holder: Socket, *, uid: int | None) -> bool:
    """Whether the kernel refuses because the holder is another user's.

    Not for root, and not where both have the wildcard: two of IPv6 only if the holder
    has SO_REUSEPORT.
    """
    if uid in (0, None) or holder.uid in (uid, None):
        return False
    if target.packed in WILDCARDS and holder.packed in WILDCARDS:
        both = target.packed == ANY6 == holder.packed
        return both and not holder.reuse_port
    return True


def sharing(
    target: Target, options: Options, holder: Socket, *, uid: int | None
) -> Sharing:
    """Say why the port could not be shared with this holder."""
    if is_of_another_user(target, holder, uid=uid):
        return Sharing.OTHER_UID
    if not (options.reuse_address or options.reuse_port):
        return Sharing.NOT_REQUESTED
    if options.reuse_port:
        lacks = holder.reuse_port is False
        return Sharing.HOLDER_LACKS_OPTION if lacks else Sharing.UNKNOWN
    # SO_REUSEADDR alone never shares one address, whatever the holder has.
    return Sharing.NOT_POSSIBLE


def _both_wildcards_apart(target: Target, holder: Socket) -> bool:
    """`::` may come beside 0.0.0.0, also without IPV6_V6ONLY; not the other way round.

    in6_pcbbind compares the families of the two sockets, and in_pcbbind lets two of
    wildcards be only where both are of IPv6.
    """
    return target.packed == ANY6 and holder.packed == ANY4


def _same_address(target: Target, holder: Socket) -> bool:
    """Whether the kernel finds the holder when it looks for this very address.

    Of IPv4 it finds a v4-mapped one too, and for 0.0.0.0 a `::` that is for both.
    """
    mine = target.packed.removeprefix(MAPPED_PREFIX)
    held = holder.packed.removeprefix(MAPPED_PREFIX)
    return mine == held or (mine == ANY4 and held == ANY6)
