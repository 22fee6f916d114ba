"""Run a function as another user, in a child process."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

from tests.support.child import Result, in_child

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 65534
CAP_NET_BIND_SERVICE = 10
_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 4, 8
_CAPABILITY_VERSION_3 = 0x20080522


def as_user(
    uid: int, function: Callable[[], Result], *, capability: int | None = None
) -> Result:
    """Call a function as `uid`, without groups, and return its result.

    It has no capabilities but the one that is named.
    """

    def become() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if capability is not None:
            libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        if capability is not None:
            header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
            bits = 1 << capability
            data = struct.pack("IIIIII", bits, bits, 0, 0, 0, 0)
            if libc.capset(header, data) != 0:
                raise OSError(ctypes.get_errno(), "capset")

    return in_child(become, function)


def in_user_namespace(function: Callable[[], Result], *, flags: int = 0) -> Result:
    """Call a function as root of a new user namespace, and new ones of `flags`."""

    def become() -> None:
        uid, gid = os.geteuid(), os.getegid()
        libc = ctypes.CDLL(None, use_errno=True)
        # After a change of user /proc/self is root's, until this is set again.
        libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        if libc.unshare(0x10000000 | flags) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"0 {uid} 1"),
            ("gid_map", f"0 {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="utf-8") as file:
                file.write(text)

    return in_child(become, function)
