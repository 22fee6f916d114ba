"""Who uses a port without a process of its own: the kernel, and .socket units."""

from __future__ import annotations

import os

from bindcheck import native
from bindcheck.model import KernelPort, NativeCode
from bindcheck.rules.ownership import listens_on
from bindcheck.words import SocketType

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bindcheck.model import Socket

# systemd.unit(5), in the order in which the first of a name counts
_UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


def kernel_ports() -> tuple[tuple[KernelPort, ...], NativeCode | None]:
    """The ports that the kernel itself uses here, as far as it tells; why not all."""
    tunnels = native.list_tunnels()
    refused = tunnels if isinstance(tunnels, NativeCode) else None
    devices = [
        KernelPort(user=f"{one.kind} device {one.name}", port=one.port, datagram=True)
        for one in (() if isinstance(tunnels, NativeCode) else tunnels)
    ]
    return (*devices, *_nfs_ports()), refused


def _nfs_ports() -> Iterator[KernelPort]:
    """Lines "tcp 2049" of the NFS server (nfsd(7)), and the ports of its locks."""
    try:
        with open("/proc/fs/nfsd/portlist", encoding="ascii", errors="replace") as file:
            lines = file.read(4096).splitlines()
    except OSError:
        lines = []
    for line in lines:
        protocol, _, port = line.partition(" ")
        if protocol in ("tcp", "udp") and port.isdecimal():
            yield KernelPort(
                user="NFS server", port=int(port), datagram=protocol == "udp"
            )
    for protocol in ("tcp", "udp"):
        try:
            with open(f"/proc/sys/fs/nfs/nlm_{protocol}port", encoding="ascii") as file:
                port = file.read(16).strip()
        except OSError:
            continue
        if port.isdecimal() and int(port):
            datagram = protocol == "udp"
            yield KernelPort(user="NFS lock manager", port=int(port), datagram=datagram)


def socket_units(row: Socket) -> tuple[str, ...]:
    """The .socket units whose files name the port of a row (systemd.socket(5))."""
    kind = "Datagram" if row.protocol.type is SocketType.DATAGRAM else "Stream"
    found = {}
    for folder in _UNIT_FOLDERS:
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            if not name.endswith(".socket") or name in found:
                continue
            try:
                with open(f"{folder}/{name}", encoding="utf-8") as file:
                    text = file.read(65536)
            except (OSError, UnicodeDecodeError):
                continue
            found[name] = listens_on(text, kind, row.local.port)
    return tuple(name for name, listens in found.items() if listens)
