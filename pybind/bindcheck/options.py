"""Which options mean anything for which target."""

from __future__ import annotations

from bindcheck.machine import SYSTEM
from bindcheck.records import replace
from bindcheck.words import Family, SocketType

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Options, Target
    from bindcheck.target import Request

NAMED = (Family.UNIX, Family.VSOCK)
"""Families whose addresses are no IP addresses."""


_NAMES = {
    "reuse_address": "SO_REUSEADDR",
    "reuse_port": "SO_REUSEPORT",
    "exclusive": "SO_EXCLUSIVEADDRUSE",
    "v6only": "IPV6_V6ONLY",
    "freebind": "IP_FREEBIND",
}


def option_name(name: str) -> str:
    """The socket option behind a keyword."""
    return _NAMES.get(name, name)


def check_values(options: Options) -> None:
    """Refuse what is no value of an option.

    Raises:
        TypeError, ValueError: names the option.
    """
    for name in _NAMES:
        value = getattr(options, name)
        if value not in (None, False, True):
            raise TypeError(f"{name}: True, False or None, not {value!r}")
    if options.device is not None and not isinstance(options.device, str):
        raise TypeError(f"device: the name of an interface, not {options.device!r}")
    if not isinstance(options.backlog, int):
        raise TypeError(f"backlog: a number, not {options.backlog!r}")
    if not -(2**31) <= options.backlog < 2**31:
        raise ValueError(f"backlog: {options.backlog} has more than 32 bits")


def check_options(options: Options, request: Request) -> None:
    """Refuse options that cannot mean anything here.

    Raises:
        TypeError, ValueError: names the option.
    """
    check_values(options)
    if options.exclusive is not None and SYSTEM != "win32":
        raise ValueError("exclusive: SO_EXCLUSIVEADDRUSE exists on Windows only")
    if options.reuse_port is not None and SYSTEM == "win32":
        raise ValueError("reuse_port: Windows has no SO_REUSEPORT")
    if request.family in NAMED:
        _refuse_ip_options(options, request)
    if options.device is not None:
        if SYSTEM != "linux":
            raise ValueError("device: SO_BINDTODEVICE exists on Linux only")
        if not 0 < len(options.device.encode()) <= 15 or "\0" in options.device:
            raise ValueError(
                f"device: {options.device!r} is no interface name (1 to 15 bytes)"
            )
    if options.freebind is not None and SYSTEM != "linux":
        raise ValueError("freebind: IP_FREEBIND exists on Linux only")
    if options.listen and request.protocol.type is SocketType.DATAGRAM:
        raise ValueError(f"listen: {request.protocol} has no listen()")
    if options.v6only is not None and request.family is Family.INET:
        raise ValueError("v6only: IPV6_V6ONLY is an option of IPv6 addresses")


def _refuse_ip_options(options: Options, request: Request) -> None:
    chosen = {
        "reuse_address": options.reuse_address,
        "reuse_port": options.reuse_port,
        "v6only": options.v6only,
        "device": options.device,
        "freebind": options.freebind,
    }
    for name, value in chosen.items():
        if value is not None:
            raise ValueError(
                f"{name}: an option of IP addresses; {request.requested} has none"
            )


def fitting(options: Options, target: Target) -> Options:
    """IPV6_V6ONLY is set on IPv6 sockets only: a name may stand for both families."""
    if target.family is Family.INET and options.v6only is not None:
        return replace(options, v6only=None)
    return options
