"""A cgroup whose BPF program refuses bind(), as SocketBindDeny= of systemd makes it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import socket
import struct
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROG_LOAD, _PROG_ATTACH = 5, 8
_CGROUP_SOCK_ADDR = 18
_INET4_BIND = 8
_SYSTEM_CALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_PORT_OFFSET = 24  # user_port in struct bpf_sock_addr, in network order


def _instructions(port: int | None) -> bytes:
    """Refuse every bind, or those of one port."""
    if port is None:
        code = [(0xB7, 0, 0, 0), (0x95, 0, 0, 0)]  # r0 = 0; exit
    else:
        code = [
            (0x61, 0x12, _PORT_OFFSET, 0),  # r2 = port
            (0xB7, 0, 0, 1),  # r0 = 1
            (0x55, 2, 1, socket.htons(port)),  # if r2 != port skip one
            (0xB7, 0, 0, 0),  # r0 = 0
            (0x95, 0, 0, 0),  # exit
        ]
    return b"".join(struct.pack("=BBhi", *one) for one in code)


def mount() -> str | None:
    """Where the cgroups of version 2 are."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.startswith("cgroup2 "):
                return before.split(" ")[4]
    return None


def can_refuse() -> bool:
    """Whether such a cgroup can be made here."""
    try:
        with refusing_cgroup():
            return True
    except (OSError, KeyError):
        return False


@contextlib.contextmanager
def refusing_cgroup(port: int | None = None) -> Iterator[str]:
    """A cgroup in which no IPv4 socket can be bound (to this port); its folder."""
    root = mount()
    if root is None:
        raise OSError("no cgroup2")
    folder = f"{root}/bindcheck-{uuid.uuid4().hex}"
    Path(folder).mkdir()
    try:
        program = _load(_instructions(port))
        handle = os.open(folder, os.O_RDONLY)
        _bpf(_PROG_ATTACH, struct.pack("=IIII", handle, program, _INET4_BIND, 0))
        os.close(handle)
        os.close(program)
        yield folder
    finally:
        Path(folder).rmdir()


def enter(folder: str) -> None:
    """Move this process into a cgroup."""
    with open(f"{folder}/cgroup.procs", "w", encoding="utf-8") as file:
        file.write(str(os.getpid()))


def _load(code: bytes) -> int:
    text = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        _CGROUP_SOCK_ADDR,
        len(code) // 8,
        ctypes.addressof(text),
        ctypes.addressof(licence),
        *(0, 0, 0, 0, 0, b"", 0),
        _INET4_BIND,
    )
    return _bpf(_PROG_LOAD, attributes)


def _bpf(command: int, attributes: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SYSTEM_CALLS[platform.machine()]
    result = int(libc.syscall(number, command, attributes, len(attributes)))
    if result < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return result
