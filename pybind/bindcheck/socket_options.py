"""The options that an open socket of this process has."""

from __future__ import annotations

import socket
import sys

from bindcheck.model import Options

_SO_BINDTODEVICE = getattr(socket, "SO_BINDTODEVICE", 25)
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78  # linux/in.h, linux/in6.h


def options_of_socket(sock: object) -> Options | None:
    """Read what matters to bind; None for what is no socket, or closed."""
    if not isinstance(sock, socket.socket) or sock.fileno() < 0:
        return None
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return Options()
    linux = sys.platform == "linux"
    six = sock.family == socket.AF_INET6
    level, number = (
        (socket.IPPROTO_IPV6, _IPV6_FREEBIND)
        if six
        else (socket.IPPROTO_IP, _IP_FREEBIND)
    )
    return Options(
        reuse_address=_flag(sock, socket.SOL_SOCKET, socket.SO_REUSEADDR),
        reuse_port=_flag(
            sock, socket.SOL_SOCKET, getattr(socket, "SO_REUSEPORT", None)
        ),
        exclusive=_flag(
            sock, socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
        ),
        v6only=_v6only(sock) if six else None,
        device=_device(sock) if linux else None,
        freebind=_flag(sock, level, number) if linux else None,
    )


def _flag(sock: socket.socket, level: int, number: int | None) -> bool | None:
    """True where it is set; None where not, which is how sockets are made."""
    if number is None:
        return None
    try:
        return True if sock.getsockopt(level, number) else None
    except OSError:
        return None


def _v6only(sock: socket.socket) -> bool | None:
    try:
        return bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    except OSError:
        return None


def _device(sock: socket.socket) -> str | None:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, 16)
    except OSError:
        return None
    return raw.rstrip(b"\0").decode("utf-8", "surrogateescape") or None
