"""What this machine can do, each found by trying; a skip names what is missing."""

import ctypes
import os
import shutil
import socket
import sys
from collections.abc import Callable

import pytest


class Missing(Exception):
    """The machine lacks a capability that a test needs."""


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _can_make_network_namespace() -> bool:
    if not _is_root():
        return False
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.unshare(0x40000000) == 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


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


def _lists_sockets() -> bool:
    from bindcheck import native
    from bindcheck.words import Protocol

    return native.list_sockets(Protocol.TCP, 1).source is not None


def _can_make_user_namespace() -> bool:
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.unshare(0x10000000) == 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _has_landlock() -> bool:
    from tests.support import landlock

    return landlock.has_network_rules()


def _can_filter() -> bool:
    from tests.support import seccomp

    return seccomp.can_filter()


def _can_refuse_in_cgroup() -> bool:
    from tests.support import bpf

    return bpf.can_refuse()


CHECKS: dict[str, Callable[[], bool]] = {
    "root": _is_root,
    "network namespaces": _can_make_network_namespace,
    "IPv6": _has_inet6,
    "socket tables": _lists_sockets,
    "user namespaces": _can_make_user_namespace,
    "Landlock for the network": _has_landlock,
    "system call filters": _can_filter,
    "cgroup BPF": _can_refuse_in_cgroup,
    "unix sockets": _has_unix_sockets,
    "vsock": _has_vsock,
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


_PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"


def needs(*capabilities: str) -> pytest.MarkDecorator:
    """Skip a test, visibly, where one of these is missing."""
    missing = [one for one in capabilities if not has(one)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")
