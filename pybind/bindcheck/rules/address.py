"""Whether an address can be bound here: is it local, complete, and ready?

For IPv6 an address may be there and yet refused: while the kernel looks for duplicates
of it, and after it found one.
"""

from __future__ import annotations

from bindcheck.records import replace
from bindcheck.target import ANY4, ANY6, LOOPBACK6, MAPPED_PREFIX
from bindcheck.words import CauseCode, Family, SocketType, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import InterfaceAddress, Options, Snapshot, Target

_LIMITED_BROADCAST = b"\xff\xff\xff\xff"
# What is used inside of one organisation: 10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7.
_PRIVATE = (
    (b"\x0a", 8),
    (b"\xac\x10", 12),
    (b"\xc0\xa8", 16),
    (b"\x64\x40", 10),
    (b"\xfc", 7),
)


def address_refusal(
    target: Target, options: Options, snapshot: Snapshot
) -> CauseCode | None:
    """What the kernel objects to in the address; None where nothing is known of it."""
    mine = target.packed.removeprefix(MAPPED_PREFIX)
    inet = len(mine) == len(ANY4)
    family = Family.INET if inet else Family.INET6
    if options.freebind or snapshot.facts.nonlocal_bind.get(family):
        return None
    device = _device(target, options, snapshot)
    if is_foreign(target, snapshot, device):
        lost = not inet and ipv6_is_off(target, snapshot)
        return CauseCode.FAMILY_DISABLED if lost else CauseCode.ADDRESS_NOT_LOCAL
    here = having(target, snapshot, device)
    if here and all(one.duplicate for one in here):
        return CauseCode.ADDRESS_DUPLICATE
    if here and all(one.tentative or one.duplicate for one in here):
        return CauseCode.ADDRESS_TENTATIVE
    return None


def is_foreign(target: Target, snapshot: Snapshot, device: int = 0) -> bool:
    """Whether no interface has the target's address (and none is needed to)."""
    packed = target.packed.removeprefix(MAPPED_PREFIX)
    if packed in (ANY4, ANY6) or not snapshot.addresses or _is_for_many(packed):
        return False
    if len(packed) == len(ANY4):
        if packed[0] == 127 and snapshot.facts.system != System.DARWIN:
            return False  # all of 127.0.0.0/8 is local; on macOS 127.0.0.1 alone
        return not any(_is_local4(packed, one) for one in snapshot.addresses)
    return not having(target, snapshot, device)


def having(
    target: Target, snapshot: Snapshot, device: int = 0
) -> tuple[InterfaceAddress, ...]:
    """The interfaces that have the target's address; `device` 0 stands for any.

    The kernel looks at the interface for link-local addresses and for ::1 alone
    (ipv6_chk_addr in net/ipv6/addrconf.c).
    """
    packed = target.packed.removeprefix(MAPPED_PREFIX)
    bound = device and (is_link_local(target) or packed == LOOPBACK6)
    return tuple(
        one
        for one in snapshot.addresses
        if one.packed == packed and (not bound or one.index == device)
    )


def may_come(target: Target, snapshot: Snapshot) -> InterfaceAddress | bool:
    """Whether this may be an address that moves between machines or comes later.

    It is one in the network of an interface (which is returned then), or a private one.
    """
    if is_link_local(target):
        return False
    packed = target.packed.removeprefix(MAPPED_PREFIX)
    for one in snapshot.addresses:
        if one.prefix and len(one.packed) == len(packed) and one.packed[0] != 127:
            size = len(packed) * 8
            if one.prefix < size and _network(one.packed, one.prefix) == _network(
                packed, one.prefix
            ):
                return one
    size = len(ANY4)
    return any(
        (len(packed) > size) == (bits == 7)
        and _network(packed, bits) == _network(start.ljust(len(packed), b"\0"), bits)
        for start, bits in _PRIVATE
    )


def ipv6_is_off(target: Target, snapshot: Snapshot) -> bool:
    """An IPv6 address is missing because IPv6 is off where it would be."""
    off, facts = snapshot.ipv6_disabled_on, snapshot.facts
    if target.packed == LOOPBACK6:
        return bool(facts.ipv6_disabled_loopback)
    if target.scope_id is not None:
        names = {
            one.interface for one in snapshot.addresses if one.index == target.scope_id
        }
        names.add(target.text.partition("%")[2].partition("]")[0])
        return any(name in off for name in names)
    # conf.all is copied to the interfaces, which may be switched on again one by one.
    elsewhere = (one for one in snapshot.addresses if one.packed != LOOPBACK6)
    some = any(one.family is Family.INET6 for one in elsewhere)
    return bool(facts.ipv6_disabled) and not some


def is_link_local(target: Target) -> bool:
    """Whether it is an IPv6 address that needs a zone: fe80::/10, or ff02::/16 for UDP."""
    packed = target.packed
    if len(packed) != len(ANY6):
        return False
    multicast = packed[0] == 0xFF and packed[1] & 0x0F in (1, 2)
    if multicast and target.protocol.type is SocketType.DATAGRAM:
        return True
    return packed[0] == 0xFE and packed[1] & 0xC0 == 0x80


def is_multicast6(target: Target) -> bool:
    """Whether it is an IPv6 address of many receivers."""
    return len(target.packed) == len(ANY6) and target.packed[0] == 0xFF


def is_multicast4(target: Target) -> bool:
    """Whether it is an IPv4 address of many receivers."""
    packed = target.packed
    return len(packed) == len(ANY4) and _is_for_many(packed)


def is_broadcast4(target: Target, snapshot: Snapshot) -> bool:
    """Whether it is the broadcast address of an interface's network, or of the link."""
    packed = target.packed
    if packed == _LIMITED_BROADCAST:
        return True
    return len(packed) == len(ANY4) and any(
        one.packed != packed and _is_local4(packed, one) for one in snapshot.addresses
    )


def is_mapped(target: Target) -> bool:
    """Whether it is an IPv4 address in an IPv6 one, ::ffff:192.0.2.5."""
    return target.packed.startswith(MAPPED_PREFIX)


def with_zone(target: Target, options: Options, snapshot: Snapshot) -> Target:
    """A link-local target with the zone that it needs, where an interface has it."""
    lacks = is_link_local(target) and target.scope_id is None
    if not lacks or options.device is not None:
        return target
    first = next(iter(having(target, snapshot)), None)
    return replace(target, scope_id=first.index) if first else target


def _device(target: Target, options: Options, snapshot: Snapshot) -> int:
    if is_link_local(target) and target.scope_id is not None:
        return target.scope_id
    return snapshot.devices.get(options.device or "", 0)


def _is_for_many(packed: bytes) -> bool:
    """Multicast, and the broadcast to one's own link: no interface needs to have it."""
    if len(packed) == len(ANY6):
        return packed[0] == 0xFF
    return packed[0] & 0xF0 == 0xE0 or packed == _LIMITED_BROADCAST


def _is_local4(packed: bytes, one: InterfaceAddress) -> bool:
    """Whether it is this interface's address or its broadcast address."""
    if one.packed == packed:
        return True
    prefix = one.prefix or 0
    if one.family is not Family.INET or not one.up or not 0 < prefix <= 30:
        return False
    if _network(packed, prefix) != _network(one.packed, prefix):
        return False
    host = (1 << (32 - prefix)) - 1
    return int.from_bytes(packed, "big") & host == host


def _network(packed: bytes, prefix: int) -> int:
    return int.from_bytes(packed, "big") >> (len(packed) * 8 - prefix)
