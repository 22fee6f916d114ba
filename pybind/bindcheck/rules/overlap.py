"""Whether two addresses collide, and how (net/ipv4/inet_connection_sock.c).

A v4-mapped IPv6 address counts as its IPv4 address, and `::` without IPV6_V6ONLY covers
IPv4 too (inet_rcv_saddr_equal, ipv6_rcv_saddr_equal).
"""

from __future__ import annotations

from bindcheck.records import record
from bindcheck.target import ANY4, ANY6, MAPPED_PREFIX
from bindcheck.words import Overlap, State

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Socket


@record(frozen=True, slots=True)
class Coverage:
    """What an address covers: its IPv4 and its IPv6 part, None where it has none."""

    inet: bytes | None
    inet6: bytes | None
    mapped: bool = False
    unrestricted: bool | None = False
    """An IPv6 connection whose socket has no IPV6_V6ONLY; None: not known."""

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every address of its family."""
        return self.inet == ANY4 or self.inet6 == ANY6

    @property
    def is_dual(self) -> bool:
        """Whether it is `::` without IPV6_V6ONLY."""
        return self.inet is not None and self.inet6 is not None


@record(frozen=True, slots=True)
class Collision:
    """How two addresses collide."""

    overlap: Overlap
    dual_stack: bool
    certain: bool = True


def coverage(packed: bytes, *, v6only: bool | None) -> Coverage:
    """Tell what an address covers; `v6only` counts for `::` alone."""
    if len(packed) == len(ANY4):
        return Coverage(packed, None)
    if packed.startswith(MAPPED_PREFIX):
        return Coverage(packed[12:], None, mapped=True)
    if packed == ANY6 and not v6only:
        return Coverage(ANY4, ANY6)
    return Coverage(None, packed)


def holder_coverage(socket: Socket) -> Coverage:
    """Tell what a row of the tables covers.

    bind() of an IPv6 address sets IPV6_V6ONLY on the socket, but connect() and accept()
    give an address to a socket that may not have it.
    """
    found = coverage(socket.packed, v6only=socket.v6only)
    bound = socket.state in (State.LISTEN, State.CLOSE)
    if found.inet is not None or found.is_wildcard or bound or socket.v6only:
        return found
    return Coverage(
        None, found.inet6, unrestricted=None if socket.v6only is None else True
    )


def collide(target: Coverage, holder: Coverage) -> Collision | None:
    """Tell how a target's address collides with a holder's; None when it does not."""
    through4 = _meet(target.inet, holder.inet, ANY4)
    through6 = _meet(target.inet6, holder.inet6, ANY6)
    if not through4 and not through6:
        if target == _INET_WILDCARD and holder.unrestricted is not False:
            # ipv4_rcv_saddr_equal: 0.0.0.0 meets every socket that is not V6ONLY.
            certain = bool(holder.unrestricted)
            return Collision(Overlap.TARGET_WILDCARD, dual_stack=True, certain=certain)
        return None
    return Collision(_word(target, holder), through4 and _is_dual(target, holder))


_INET_WILDCARD = Coverage(ANY4, None)


def _meet(one: bytes | None, other: bytes | None, wildcard: bytes) -> bool:
    if one is None or other is None:
        return False
    return one == other or wildcard in (one, other)


def _word(target: Coverage, holder: Coverage) -> Overlap:
    if (target.inet, target.inet6) == (holder.inet, holder.inet6):
        return Overlap.SAME_ADDRESS
    if target.is_wildcard and holder.is_wildcard:
        if (
            holder.is_dual == target.is_dual
            or target.inet is None
            or holder.inet is None
        ):
            # `::` and `::` with V6ONLY: the same address.
            return Overlap.SAME_ADDRESS
        return Overlap.HOLDER_WILDCARD if holder.is_dual else Overlap.TARGET_WILDCARD
    return Overlap.HOLDER_WILDCARD if holder.is_wildcard else Overlap.TARGET_WILDCARD


def _is_dual(target: Coverage, holder: Coverage) -> bool:
    """One side is `::` for both families, or v4-mapped, and the other IPv4 alone."""
    for one, other in ((target, holder), (holder, target)):
        if (one.is_dual or one.mapped) and other.inet6 is None:
            return not (one.mapped and other.mapped)
    return False
