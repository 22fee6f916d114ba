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


def can_filter() -> bool:
    """Whether a filter can be made here."""
    return platform.machine() in _NUMBERS


def refuse_bind(code: int) -> None:
    """From now on bind() fails with this error number in this process."""
    _refuse(_NUMBERS[platform.machine()][1], code)


def refuse_options(code: int) -> None:
    """From now on setsockopt() fails with this error number."""
    _refuse(_NUMBERS[platform.machine()][2], code)


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
