"""End a TCP socket that no process has, and ask for its state, by sock_diag(7).

One netlink message each: what `ss -K` and `ss` do, without starting a program. A socket
is told by its local and remote (address, port).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TypeAlias

Place: TypeAlias = tuple[str, int]

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _SOCK_DESTROY = 4, 20, 21
_NLMSG_ERROR, _NLM_F_REQUEST, _NLM_F_ACK = 2, 1, 4
_TCP, _ALL_STATES, _ANY_COOKIE = 6, 0xFFFFFFFF, b"\xff" * 8


def destroy(local: Place, remote: Place) -> None:
    """End that socket; it may be gone already."""
    code, _ = _ask(_SOCK_DESTROY, local, remote)
    # Once it is gone the kernel finds a listener instead, and refuses to end one of
    # MPTCP (net/mptcp/subflow.c, tcp_abort_override).
    if code not in (0, errno.ENOENT, errno.EINVAL):
        raise OSError(code, os.strerror(code))


def state_of(local: Place, remote: Place) -> int | None:
    """The state of that socket as in include/net/tcp_states.h, None when it is gone."""
    code, answer = _ask(_SOCK_DIAG_BY_FAMILY, local, remote)
    if code == errno.ENOENT:
        return None
    if code != 0:
        raise OSError(code, os.strerror(code))
    return answer[1]  # idiag_state


def _ask(kind: int, local: Place, remote: Place) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    sockid = struct.pack(">HH", local[1], remote[1])
    for address, _ in (local, remote):
        sockid += socket.inet_pton(family, address).ljust(16, b"\0")
    # What came through loopback also finds sockets that are bound to it.
    sockid += struct.pack("=I", socket.if_nametoindex("lo")) + _ANY_COOKIE
    request = struct.pack("=BBBxI", family, _TCP, 0, _ALL_STATES) + sockid
    flags = _NLM_F_REQUEST | (_NLM_F_ACK if kind == _SOCK_DESTROY else 0)
    header = struct.pack("=IHHII", 16 + len(request), kind, flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as one:
        one.send(header + request)
        answer = one.recv(8192)
    answered = struct.unpack_from("=H", answer, 4)[0]
    payload = answer[16:]
    if answered == _NLMSG_ERROR:
        return -struct.unpack_from("=i", payload)[0], b""
    return 0, payload
