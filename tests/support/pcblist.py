"""Bytes as macOS lays out its socket tables, to be taken apart by the decoder.

Laid out by hand after XNU, where all of it is under #pragma pack(4): struct xinpgen and
xinpcb_n of bsd/netinet/in_pcb.h, struct xsocket_n, xsockbuf_n and xsockstat_n of
bsd/sys/socketvar.h, struct xtcpcb_n of bsd/netinet/tcp_var.h; their order is that of
get_pcblist_n() in bsd/netinet/in_pcblist.c. `order` is "<" for a little-endian machine
and ">" for a big-endian one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

SOCKET, RECEIVE, SEND, STATISTICS, PCB, TCP = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
INET, INET6 = 2, 30
IPV4, IPV6, MAPPED = 1, 2, 4
REUSE_ADDRESS, REUSE_PORT = 0x4, 0x200
BOUND_IF, V6ONLY = 0x4000, 0x8000
INBOUND = 0x01000000

# bsd/netinet/tcp_fsm.h
CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED, ESTABLISHED, CLOSE_WAIT = range(6)
FIN_WAIT_1, CLOSING, LAST_ACK, FIN_WAIT_2, TIME_WAIT = range(6, 11)


def record(order: str, kind: int, body: bytes, *, length: int = -1) -> bytes:
    """One record with its padding; `length` lies about its size."""
    told = 8 + len(body) if length < 0 else length
    data = struct.pack(order + "II", told, kind) + body
    return data + bytes(-len(data) % 8)


def generation(order: str, number: int, *, count: int = 0) -> bytes:
    """The xinpgen at the start and at the end."""
    return struct.pack(order + "IIQQ", 24, count, number, 1)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the kernel knows of a socket.

    `versions` and `family` are those that the addresses suggest unless they are said.
    """

    local: tuple[str, int]
    remote: tuple[str, int] = ("", 0)
    state: int = LISTEN
    versions: int = 0
    family: int = 0
    flags: int = 0
    options: int = 0
    uid: int = 0
    last_pid: int = 0
    effective_pid: int = 0
    handle: int = 0xFEED
    generation: int = 0
    flags1: int = 0

    def _addresses(self) -> tuple[bytes, bytes]:
        local = ip_address(self.local[0])
        remote = ip_address(self.remote[0]) if self.remote[0] else type(local)(0)
        return (local.packed.rjust(16, b"\0"), remote.packed.rjust(16, b"\0"))

    def _is_inet(self) -> bool:
        return ip_address(self.local[0]).version == 4

    def pcb(self, order: str, *, handle: int = 0xBEEF) -> bytes:
        """struct xinpcb_n, 104 bytes. An IPv4 address takes the last of four words."""
        local, remote = self._addresses()
        body = struct.pack(
            order + "Q2s2sQQiIBBBx16s16sB3xB3xiHhII",
            handle,
            self.remote[1].to_bytes(2, "big"),
            self.local[1].to_bytes(2, "big"),
            0xBEE2,  # inp_ppcb
            self.generation,
            self.flags,
            0,  # inp_flow
            self.versions or (IPV4 if self._is_inet() else IPV6),
            64,  # inp_ip_ttl
            0,  # inp_ip_p
            remote,
            local,
            *(0, 0, 0, 0, 0, 0, 0),  # inp_depend4 to inp_flags2
        )
        return record(order, PCB, body)

    def socket(self, order: str, *, protocol: int = 6, short: bool = False) -> bytes:
        """struct xsocket_n: 104 bytes, up to macOS 12 (`short`) 76."""
        body = struct.pack(
            order + "Qh2xIhhQiihhhhH2xiIIii",
            self.handle,
            1 if protocol == 6 else 2,  # so_type
            self.options,
            0,  # so_linger
            0,  # so_state
            0xBEEF,  # so_pcb
            protocol,
            self.family or (INET if self._is_inet() else INET6),
            *(0, 0, 0, 0, 0, 0, 0),  # so_qlen to so_oobmark
            self.uid,
            self.last_pid,
            self.effective_pid,
        )
        if not short:
            body += struct.pack(
                order + "QIIiiI", self.generation, 0, self.flags1, 1, 0, 0
            )
        return record(order, SOCKET, body)

    def tcp(self, order: str) -> bytes:
        """struct xtcpcb_n, 204 bytes: four timers, then the state."""
        body = struct.pack(order + "Qi4ii", 0, 0, 1, 2, 3, 4, self.state)
        return record(order, TCP, body.ljust(196, b"\0"))

    def records(self, order: str, *, protocol: int = 6, short: bool = False) -> bytes:
        """All that the kernel tells of it, in its order."""
        return (
            self.pcb(order)
            + self.socket(order, protocol=protocol, short=short)
            + fillers(order)
            + (self.tcp(order) if protocol == 6 else b"")
        )

    def flow(self, order: str, *, protocol: int = 6) -> bytes:
        """The same as a flow of Network.framework, which has no socket.

        nstat_userland_to_xinpcb_n() and those after it in bsd/net/ntstat.c fill in
        addresses, pids and the state, and leave all else zero.
        """
        bare = Row(
            local=self.local,
            remote=self.remote,
            state=self.state,
            last_pid=self.last_pid,
            effective_pid=self.effective_pid,
            handle=0,
        )
        told = bytearray(bare.socket(order, protocol=protocol))
        told[40:44] = bytes(4)  # xso_family
        tcp = bare.tcp(order) if protocol == 6 else b""
        return bare.pcb(order, handle=0) + bytes(told) + fillers(order) + tcp


def fillers(order: str) -> bytes:
    """Two xsockbuf_n and an xsockstat_n, which are skipped."""
    return (
        record(order, RECEIVE, bytes(24))
        + record(order, SEND, bytes(24))
        + record(order, STATISTICS, bytes(128))
    )


def table(
    order: str, *groups: bytes, before: int = 7, after: int = 7, ends: bool = True
) -> bytes:
    """The whole: a generation, the groups of records, a generation."""
    count = len(groups)
    end = generation(order, after, count=count) if ends else b""
    return generation(order, before, count=count) + b"".join(groups) + end


def bitmap(*ports: int, size: int = 8192) -> bytes:
    """net.restricted_port.bitmap: 64-bit words of a little-endian machine."""
    words = [0] * (size // 8)
    for port in ports:
        words[port >> 6] |= 1 << (port & 63)
    return struct.pack(f"<{len(words)}Q", *words)


def procargs(
    order: str, path: bytes, *arguments: bytes, environment: tuple[bytes, ...] = ()
) -> bytes:
    """KERN_PROCARGS2: a number, the path up to a multiple of eight, all the strings."""
    strings = b"".join(one + b"\0" for one in (*arguments, *environment))
    padded = path + b"\0" + bytes(-(len(path) + 1) % 8)
    return struct.pack(order + "i", len(arguments)) + padded + strings
