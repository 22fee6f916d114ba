"""A system call filter (seccomp(2)) that answers one call with an error number."""

from __future__ import annotations

import ctypes
import platform
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22
_MODE_FILTER = 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_FIRST_ARGUMENT = 16
# By machine: the numbers of socket, bind and setsockopt.
_NUMBERS = {
    "x86_64": (41, 49, 54),
    "aarch64": (198, 200, 208),
    "riscv64": (198, 200, 208),
}
# The numbers of others, of x86_64 and of the machines that came later.
CALLS = {
    "read": (0, 63),
    "fstat": (5, 80),
    "poll": (7, 73),
    "lseek": (8, 62),
    "ioctl": (16, 29),
    "getpid": (39, 172),
    "socket": (41, 198),
    "connect": (42, 203),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "bind": (49, 200),
    "listen": (50, 201),
    "getsockname": (51, 204),
    "getpeername": (52, 205),
    "setsockopt": (54, 208),
    "getsockopt": (55, 209),
    "clone": (56, 220),
    "uname": (63, 160),
    "fcntl": (72, 25),
    "readlink": (89, None),
    "unlink": (87, None),
    "geteuid": (107, 175),
    "capget": (125, 90),
    "rt_sigprocmask": (14, 135),
    "statfs": (137, 43),
    "getxattr": (191, 8),
    "getdents64": (217, 61),
    "clock_nanosleep": (230, 115),
    "openat": (257, 56),
    "newfstatat": (262, 79),
    "unlinkat": (263, 35),
    "readlinkat": (267, 78),
    "faccessat": (269, 48),
    "prlimit64": (302, 261),
    "kcmp": (312, 272),
    "getrandom": (318, 278),
    "bpf": (321, 280),
    "statx": (332, 291),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "pidfd_getfd": (438, 438),
    "faccessat2": (439, 439),
    "getxattrat": (464, 464),
}


def can_filter() -> bool:
    """Whether a filter can be made here."""
    return platform.machine() in _NUMBERS


def refuse_bind(code: int) -> None:
    """From now on bind() fails with this error number in this process."""
    _refuse(_NUMBERS[platform.machine()][1], code)


def refuse_options(code: int) -> None:
    """From now on setsockopt() fails with this error number."""
    _refuse(_NUMBERS[platform.machine()][2], code)


def refuse_call(name: str, code: int) -> None:
    """From now on a call of CALLS fails with this error number."""
    number = CALLS[name][platform.machine() != "x86_64"]
    if number is not None:
        _refuse(number, code)


def refuse_family(family: int, code: int) -> None:
    """From now on socket() of this family fails, as RestrictAddressFamilies= has it."""
    _install(
        [
            (_LOAD, 0, 0, 0),
            (_JUMP_EQUAL, 0, 3, _NUMBERS[platform.machine()][0]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_JUMP_EQUAL, 0, 1, family),
            (_RETURN, 0, 0, _ERRNO | code),
            (_RETURN, 0, 0, _ALLOW),
        ]
    )


def _refuse(call: int, code: int) -> None:
    _install(
        [
            (_LOAD, 0, 0, 0),
            (_JUMP_EQUAL, 0, 1, call),
            (_RETURN, 0, 0, _ERRNO | code),
            (_RETURN, 0, 0, _ALLOW),
        ]
    )


def _install(instructions: list[tuple[int, int, int, int]]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("HBBI", *one) for one in instructions)
    text = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(text))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
