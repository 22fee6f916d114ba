"""Landlock (landlock(7)): forbid this process, for good, to bind."""

from __future__ import annotations

import ctypes
import struct

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_ACCESS_NET_BIND_TCP = 1
_ACCESS_FS_MAKE_SOCK = 1 << 9
_RULE_NET_PORT = 2
_PR_SET_NO_NEW_PRIVS = 38
_NETWORK_ABI = 4


def version() -> int:
    """The interface version of Landlock here, 0 where there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_CREATE_RULESET, None, 0, _VERSION)))


def has_network_rules() -> bool:
    """Whether binds of TCP ports can be forbidden."""
    return version() >= _NETWORK_ABI


def allow_ports(*ports: int) -> None:
    """From now on this process can bind these TCP ports alone."""
    handled = struct.pack("=QQ", 0, _ACCESS_NET_BIND_TCP)
    ruleset = _call(_CREATE_RULESET, handled, len(handled), 0)
    for port in ports:
        rule = struct.pack("=QQ", _ACCESS_NET_BIND_TCP, port)
        _call(_ADD_RULE, ruleset, _RULE_NET_PORT, rule, 0)
    _restrict(ruleset)


def forbid_socket_files() -> None:
    """From now on this process can make no socket files, wherever it is."""
    handled = struct.pack("=Q", _ACCESS_FS_MAKE_SOCK)
    _restrict(_call(_CREATE_RULESET, handled, len(handled), 0))


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "landlock")
    return result


def _restrict(ruleset: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    _call(_RESTRICT_SELF, ruleset, 0)
