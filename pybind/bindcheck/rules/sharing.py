"""Whether two sockets may share a port: the reuse rules of Linux, in three values.

inet_bind_conflict in net/ipv4/inet_connection_sock.c and udp_lib_lport_inuse in
net/ipv4/udp.c. True, False, or None where the holder's options could not be read.
"""

from __future__ import annotations

from bindcheck.records import record
from bindcheck.words import Blocks, Protocol, Sharing, State

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Options, Socket


@record(frozen=True, slots=True)
class Asker:
    """The new socket: its options, its interface index (0: none), who makes it."""

    reuse_address: bool
    reuse_port: bool
    device: int
    uid: int

    @classmethod
    def of(cls, options: Options, *, device: int, uid: int) -> Asker:
        """Build it from the options of an attempt."""
        return cls(bool(options.reuse_address), bool(options.reuse_port), device, uid)


def devices_meet(one: int, other: int) -> bool:
    """Sockets bound to different interfaces never collide; 0 is every interface."""
    return one == 0 or other in (0, one)


def conflicts(asker: Asker, holder: Socket) -> Blocks | None:
    """Tell whether an overlapping holder blocks; None when they may share the port."""
    shares = _either(_by_address(asker, holder), _by_port(asker, holder))
    if shares is None:
        return Blocks.POSSIBLY
    return None if shares else Blocks.YES


def sharing(asker: Asker, holder: Socket, *, alone: bool) -> Sharing:
    """Say why the options that were asked for did not help against this holder.

    `alone` tells that the bind was really tried and that nothing else stood in the way:
    then what could not be read follows from the failure.
    """
    if not asker.reuse_address and not asker.reuse_port:
        return Sharing.NOT_REQUESTED
    other_uid = asker.uid != (holder.uid or 0) and holder.state is not State.TIME_WAIT
    if asker.reuse_port and holder.reuse_port and other_uid:
        return Sharing.OTHER_UID
    if asker.reuse_port and holder.reuse_port is False:
        return Sharing.HOLDER_LACKS_OPTION
    if asker.reuse_address and _listens(holder):
        return Sharing.HOLDER_LISTENING
    if asker.reuse_address and (alone or holder.reuse_address is False):
        return Sharing.HOLDER_LACKS_OPTION
    if asker.reuse_port and other_uid:
        return Sharing.OTHER_UID
    return Sharing.HOLDER_LACKS_OPTION if alone else Sharing.UNKNOWN


def _listens(holder: Socket) -> bool:
    return holder.state is State.LISTEN and holder.protocol is not Protocol.UDP


def _by_address(asker: Asker, holder: Socket) -> bool | None:
    if not asker.reuse_address or _listens(holder):
        return False
    return holder.reuse_address


def _by_port(asker: Asker, holder: Socket) -> bool | None:
    if not asker.reuse_port:
        return False
    if holder.reuse_port and holder.state is not State.TIME_WAIT:
        return asker.uid == (holder.uid or 0)
    if holder.reuse_port is None and holder.inode and asker.uid != holder.uid:
        return False
    return holder.reuse_port


def _either(one: bool | None, other: bool | None) -> bool | None:
    if one or other:
        return True
    return None if one is None or other is None else False
