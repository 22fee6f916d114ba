"""A network namespace of the test's own, so that no other program is in the way."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from typing import TYPE_CHECKING

from tests.support.capabilities import has

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


@contextlib.contextmanager
def in_private_network() -> Iterator[bool]:
    """Move this thread into a new network namespace with loopback up.

    Children inherit it. Yields whether there is one; without the right to make one the
    test runs in the network that there is, on ports that the kernel gave.
    """
    if not has("network namespaces"):
        yield False
        return
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        raise_loopback()
        yield True
    finally:
        if libc.setns(before, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(before)


def raise_loopback(name: str = "lo") -> None:
    """Set an interface up."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH14s", name.encode(), 0, b"")
        answer = fcntl.ioctl(handle, _SIOCGIFFLAGS, request)
        flags = struct.unpack("16sH14s", answer)[1]
        request = struct.pack("16sH14s", name.encode(), flags | _IFF_UP, b"")
        fcntl.ioctl(handle, _SIOCSIFFLAGS, request)
