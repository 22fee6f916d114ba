"""What the machine says of itself in small files below /proc and /sys."""

from __future__ import annotations

import os
import sys

from bindcheck.records import replace

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.model import InterfaceAddress


SYSTEM = str(sys.platform)
"""Not sys.platform itself, whose branches type checkers leave out."""


def read_line(path: str) -> str | None:
    """A short file of one line; None where it cannot be read or is empty."""
    try:
        return decode(read_start(path, 4096).strip(b"\n\0 ")) or None
    except OSError:
        return None


def read_start(path: str, most: int) -> bytes:
    """A file of /proc or /sys in one read(2), which takes half the time of open()."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        return os.read(handle, most)
    finally:
        os.close(handle)


def decode(raw: bytes) -> str:
    r"""Decode foreign bytes; what is no UTF-8 stays visible as \\xNN."""
    return raw.decode("utf-8", "backslashreplace")


def unescape(field: bytes) -> bytes:
    """Undo the octal escapes of /proc/self/mountinfo (blank, tab, newline, backslash)."""
    for escape, character in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n")):
        field = field.replace(escape, character)
    return field.replace(b"\\134", b"\\")


def own_status() -> dict[str, str]:
    """The lines of /proc/self/status."""
    try:
        with open("/proc/self/status", "rb") as file:
            parts = [line.partition(b":") for line in file]
    except OSError:
        return {}
    return {decode(name): decode(value.strip()) for name, _, value in parts}


def kernel_release() -> str:
    """Tell the kernel's release, as uname(2) gives it."""
    if sys.platform == "win32":
        version = sys.getwindowsversion()
        return f"{version.major}.{version.minor}.{version.build}"
    else:  # noqa: RET505 - type checkers leave the other system's branch out
        try:
            return os.uname().release
        except OSError:  # a system call filter
            return read_line("/proc/sys/kernel/osrelease") or "unknown"


def boot_id() -> str | None:
    """Tell what this boot of the machine is called."""
    return read_line("/proc/sys/kernel/random/boot_id")


def reserved_ports() -> tuple[tuple[int, int], ...]:
    """Read net.ipv4.ip_local_reserved_ports, such as "8080,9000-9010"."""
    path = "/proc/sys/net/ipv4/ip_local_reserved_ports"
    try:
        whole = read_start(path, 4096)
        if len(whole) == 4096:
            whole = read_start(path, 1 << 20)  # in one read: a second one gets nothing
    except OSError:
        return ()
    parts = whole.strip().split(b",")
    ranges = (part.partition(b"-") for part in parts if part)
    return tuple((int(low), int(high or low)) for low, _, high in ranges)


# include/uapi/linux/if_addr.h
_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40


def with_flags(
    addresses: Sequence[InterfaceAddress],
) -> tuple[InterfaceAddress, ...]:
    """Add what getifaddrs() does not tell: is an IPv6 address ready to be used?"""
    flags = {}
    try:
        with open("/proc/self/net/if_inet6", "rb") as file:
            for line in file:
                packed, index, _, _, flag, _ = line.decode().split()
                flags[bytes.fromhex(packed), int(index, 16)] = int(flag, 16)
    except (OSError, ValueError):
        return tuple(addresses)
    return tuple(
        replace(
            one,
            tentative=bool(flags.get((one.packed, one.index), 0) & _IFA_F_TENTATIVE),
            duplicate=bool(flags.get((one.packed, one.index), 0) & _IFA_F_DADFAILED),
        )
        for one in addresses
    )


def ipv6_disabled_on() -> tuple[str, ...]:
    """Read net.ipv6.conf.INTERFACE.disable_ipv6 of every interface."""
    folder = "/proc/sys/net/ipv6/conf"
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - pathlib costs start-up time
    except OSError:
        return ()
    return tuple(
        name
        for name in names
        if name not in ("all", "default")
        and read_line(f"{folder}/{name}/disable_ipv6") == "1"
    )


# include/uapi/linux/capability.h, by bit
CAPABILITIES = (
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
)
