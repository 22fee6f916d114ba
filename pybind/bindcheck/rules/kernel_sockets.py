"""Sockets of the kernel's own: no process ever has a descriptor of them.

Their rows have an inode like any other, so what tells them is who in the kernel uses
the port: a tunnel device, the NFS server.
"""

from __future__ import annotations

from bindcheck.words import Family, SocketType

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.model import KernelPort, Socket


def kernel_user(socket: Socket, ports: Sequence[KernelPort]) -> KernelPort | None:
    """Who in the kernel uses the port of a row; of several, one that says its port."""
    if socket.family not in (Family.INET, Family.INET6):
        return None
    datagram = socket.protocol.type is SocketType.DATAGRAM
    found = [
        one
        for one in ports
        if one.port in (None, socket.local.port) and one.datagram == datagram
    ]
    return min(found, key=lambda one: one.port is None, default=None)
