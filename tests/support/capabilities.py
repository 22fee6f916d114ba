"""What this machine can do, each found by trying; a skip names what is missing."""

import ctypes
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


class Missing(Exception):
    """The machine lacks a capability that a test needs."""


_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000


def _works_in_child(attempt: Callable[[], None]) -> bool:
    """Whether a function works, tried where it changes nothing of ours."""
    if sys.platform == "win32":
        return False
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        except BaseException:  # noqa: BLE001 - whatever it is, it does not work
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _is_root() -> bool:
    """Root that can become other users, which root of a user namespace cannot."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return False

    def become_another() -> None:
        os.setgroups([])
        os.setresuid(65534, 65534, 65534)

    return _works_in_child(become_another)


def _can_make_network_namespace() -> bool:
    """And come back from it."""

    def go_and_return() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/self/ns/net", "rb") as before:
            assert libc.unshare(_CLONE_NEWNET) == 0
            assert libc.setns(before.fileno(), _CLONE_NEWNET) == 0

    return _works_in_child(go_and_return)


def _has_inet6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


def _has_unix_sockets() -> bool:
    return sys.platform == "linux"


def _has_vsock() -> bool:
    try:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as one:
            one.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
    except (AttributeError, OSError):
        return False
    return True


def _has_mptcp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
    except OSError:
        return False
    return True


def _lists_sockets() -> bool:
    """Linux's: the tests that need them are about its rules and use its numbers."""
    if sys.platform != "linux":
        return False
    from bindcheck import native
    from bindcheck.words import Protocol

    return native.list_sockets(Protocol.TCP, 1).source is not None


def _can_make_user_namespace() -> bool:
    def make() -> None:
        assert ctypes.CDLL(None).unshare(_CLONE_NEWUSER) == 0

    return _works_in_child(make)


def _has_telling_rings() -> bool:
    if sys.platform != "linux":
        return False
    from tests.support.rings import names_its_files

    return names_its_files()


def _has_landlock_of_any_kind() -> bool:
    from tests.support import landlock

    return sys.platform == "linux" and landlock.version() > 0


def _has_landlock() -> bool:
    from tests.support import landlock

    return landlock.has_network_rules()


def _can_filter() -> bool:
    from tests.support import seccomp

    return seccomp.can_filter()


def _can_refuse_in_cgroup() -> bool:
    from tests.support import bpf

    return bpf.can_refuse()


def _has_fuse() -> bool:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return True


def _lists_bound() -> bool:
    """Linux 6.8 and later: sockets that are bound and do not listen are shown too."""
    from bindcheck import native
    from bindcheck.words import Protocol

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return bool(native.list_sockets(Protocol.TCP, one.getsockname()[1]).sockets)


def _sizes_descriptor_folders() -> bool:
    """Linux 6.2 and later."""
    return sys.platform == "linux" and Path("/proc/self/fd").stat().st_size > 0


CHECKS: dict[str, Callable[[], bool]] = {
    "root": _is_root,
    "network namespaces": _can_make_network_namespace,
    "IPv6": _has_inet6,
    "socket tables": _lists_sockets,
    "bound sockets in the tables": _lists_bound,
    "descriptor folders with a size": _sizes_descriptor_folders,
    "user namespaces": _can_make_user_namespace,
    "Landlock for the network": _has_landlock,
    "io_uring that names its files": _has_telling_rings,
    "Landlock": _has_landlock_of_any_kind,
    "system call filters": _can_filter,
    "cgroup BPF": _can_refuse_in_cgroup,
    "MPTCP": _has_mptcp,
    "unix sockets": _has_unix_sockets,
    "vsock": _has_vsock,
    "FUSE": _has_fuse,
}
_known: dict[str, bool] = {}


def has(capability: str) -> bool:
    """Whether the machine has a capability of CHECKS, or a program of that name."""
    if capability not in _known:
        check = CHECKS.get(capability)
        _known[capability] = (
            check() if check else shutil.which(capability, path=_PATH) is not None
        )
    return _known[capability]


def expected_to_lack() -> set[str]:
    """The capabilities that BINDCHECK_LACKS says are not to be had here."""
    names = os.environ.get("BINDCHECK_LACKS", "").split(",")
    return {one.strip() for one in names} - {""}


_PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"


def needs(*capabilities: str) -> pytest.MarkDecorator:
    """Skip a test, visibly, where one of these is missing."""
    missing = [one for one in capabilities if not has(one)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")
