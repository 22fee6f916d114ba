"""Run a function where less of the system can be seen, in a child process."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.support.users import as_user

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
_PR_SET_DUMPABLE = 4


def unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def with_proc(
    kind: str, options: str, function: Callable[[], Result], *, uid: int = 0
) -> Result:
    """Call a function as a user for whom something else is mounted over /proc."""

    def call() -> Result:
        unshare(CLONE_NEWNS)
        mount("--make-rprivate", "/")
        mount("-t", kind, "-o", options, kind, "/proc")
        return as_user(uid, function)

    return as_user(0, call)


def in_pid_namespace(function: Callable[[], Result]) -> Result:
    """Call a function as pid 1 of a new pid namespace with a /proc of its own."""

    def call() -> Result:
        unshare(CLONE_NEWNS)
        mount("--make-rprivate", "/")
        unshare(CLONE_NEWPID)  # the next child is its pid 1
        return as_user(0, first)

    def first() -> Result:
        mount("-t", "proc", "proc", "/proc")
        return function()

    return as_user(0, call)


def in_user_namespace(uid: int, function: Callable[[], Result]) -> Result:
    """Call a function as root of a new user namespace, outside of it as `uid`."""

    def call() -> Result:
        # The files below belong to root as long as the process may not be dumped.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        unshare(CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {uid} 1")
        return function()

    assert os.geteuid() in (0, uid)
    return as_user(uid, call)
