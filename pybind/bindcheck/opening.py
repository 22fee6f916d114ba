"""Sockets that are made and bound for the caller: bind(), and `free --hold`."""

from __future__ import annotations

import socket

from bindcheck.words import Family, Protocol, SocketType

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from typing import Any

    from bindcheck.model import Options, Target

_KINDS = {
    SocketType.STREAM: socket.SOCK_STREAM,
    SocketType.DATAGRAM: socket.SOCK_DGRAM,
    SocketType.SEQPACKET: getattr(socket, "SOCK_SEQPACKET", 5),
}
_NUMBERS = {Protocol.MPTCP: 262, Protocol.SCTP: 132, Protocol.UDPLITE: 136}
_SO_BINDTODEVICE = getattr(socket, "SO_BINDTODEVICE", 25)
_SO_REUSEPORT = getattr(socket, "SO_REUSEPORT", 15)
_SO_EXCLUSIVEADDRUSE = getattr(socket, "SO_EXCLUSIVEADDRUSE", -5)
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78  # linux/in.h, linux/in6.h


def open_socket(target: Target, options: Options) -> socket.socket:
    """Make a socket, set its options, bind it, and listen where that is asked for.

    Raises:
        OSError: of the call that failed; nothing stays open then.
    """
    one = socket.socket(
        _family_of(target),
        _KINDS[target.protocol.type],
        _NUMBERS.get(target.protocol, 0),
    )
    try:
        _set(one, target, options)
        one.bind(_address_of(target))
        if options.listen:
            one.listen(options.backlog)
    except OSError:
        one.close()
        raise
    return one


def _family_of(target: Target) -> int:
    names = {
        Family.INET: "AF_INET",
        Family.INET6: "AF_INET6",
        Family.UNIX: "AF_UNIX",
        Family.VSOCK: "AF_VSOCK",
    }
    assert target.family is not None  # noqa: S101 - of a target with an address
    return int(getattr(socket, names[target.family]))


def _address_of(target: Target) -> Any:
    if target.family is Family.UNIX:
        return target.packed
    if target.family is Family.VSOCK:
        return (int.from_bytes(target.packed, "big"), target.port)
    if target.family is Family.INET6:
        return (target.address, target.port, 0, target.scope_id or 0)
    return (target.address, target.port)


def _set(one: socket.socket, target: Target, options: Options) -> None:
    """Set what was said; in the order in which the C core does."""
    if options.reuse_address is not None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, options.reuse_address)
    if options.reuse_port is not None:
        one.setsockopt(socket.SOL_SOCKET, _SO_REUSEPORT, options.reuse_port)
    if options.exclusive is not None:
        one.setsockopt(socket.SOL_SOCKET, _SO_EXCLUSIVEADDRUSE, options.exclusive)
    if options.v6only is not None:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, options.v6only)
    if options.device is not None:
        one.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, options.device.encode())
    if options.freebind is not None:
        six = target.family is Family.INET6
        level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
        number = _IPV6_FREEBIND if six else _IP_FREEBIND
        one.setsockopt(level, number, options.freebind)
