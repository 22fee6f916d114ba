"""Numbers of the C core in the words of words.py, and the system's texts for errors."""

from __future__ import annotations

from functools import lru_cache

from bindcheck.model import NativeCode
from bindcheck.native.interface import ffi, lib
from bindcheck.native.rows import FAMILIES, PROTOCOLS
from bindcheck.words import Domain, Protocol, SocketType, Step

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from typing import Any

DOMAINS = {
    lib.BC_DOMAIN_ERRNO: Domain.ERRNO,
    lib.BC_DOMAIN_EAI: Domain.EAI,
    lib.BC_DOMAIN_WINSOCK: Domain.WINSOCK,
    lib.BC_DOMAIN_WIN32: Domain.WIN32,
}
DOMAIN_NUMBERS = {word: number for number, word in DOMAINS.items()}
STEPS = {
    lib.BC_STEP_RESOLVE: Step.RESOLVE,
    lib.BC_STEP_SOCKET: Step.SOCKET,
    lib.BC_STEP_SETSOCKOPT: Step.SETSOCKOPT,
    lib.BC_STEP_BIND: Step.BIND,
    lib.BC_STEP_LISTEN: Step.LISTEN,
    lib.BC_STEP_GETSOCKNAME: Step.GETSOCKNAME,
}
OPTIONS = {
    lib.BC_OPTION_REUSE_ADDRESS: "SO_REUSEADDR",
    lib.BC_OPTION_REUSE_PORT: "SO_REUSEPORT",
    lib.BC_OPTION_EXCLUSIVE: "SO_EXCLUSIVEADDRUSE",
    lib.BC_OPTION_V6ONLY: "IPV6_V6ONLY",
    lib.BC_OPTION_DEVICE: "SO_BINDTODEVICE",
    lib.BC_OPTION_FREEBIND: "IP_FREEBIND",
}
FAMILY_NUMBERS = {word: number for number, word in FAMILIES.items()}
PROTOCOL_NUMBERS = {word: number for number, word in PROTOCOLS.items()}
_TYPES = {
    SocketType.STREAM: lib.BC_TYPE_STREAM,
    SocketType.DATAGRAM: lib.BC_TYPE_DATAGRAM,
    SocketType.SEQPACKET: lib.BC_TYPE_SEQPACKET,
}
TYPES = {protocol: _TYPES[protocol.type] for protocol in Protocol}


@lru_cache(256)  # a number keeps its name and its text
def error(domain: Domain, code: int) -> NativeCode:
    """Name a native number and give the system's own text for it."""
    number = DOMAIN_NUMBERS[domain]
    text = ffi.new("char[]", 1024)
    status = lib.bc_error_message(number, code, text, 1024)
    reference = status in (lib.BC_E_INVALID, lib.BC_E_UNSUPPORTED)
    if reference:
        ours = lib.bc_error_reference(number, code)
        message = f"Unknown error {code}" if ours == ffi.NULL else string(ours)
    else:
        message = string(text)
    name = lib.bc_error_name(number, code)
    return NativeCode(
        domain=domain,
        code=code,
        name=None if name == ffi.NULL else string(name),
        message=message,
        reference=reference,
    )


def string(raw: Any) -> str:
    r"""Decode foreign bytes; what is no UTF-8 stays visible as \\xNN."""
    return bytes(ffi.string(raw)).decode("utf-8", "backslashreplace")


def boolean(value: int) -> bool | None:
    """Read a number that is negative where nothing is told, else 0 or 1."""
    return None if value < 0 else value != 0


def count_of(value: int) -> int | None:
    """Read a number that is negative where nothing is told."""
    return None if value < 0 else value
