"""Bytes as a Linux kernel lays them out, to be taken apart by the decoders.

Laid out by hand after the kernel's own headers: struct nlmsghdr and struct nlattr of
include/uapi/linux/netlink.h, struct inet_diag_msg of include/uapi/linux/inet_diag.h,
get_tcp4_sock() of net/ipv4/tcp_ipv4.c and do_task_stat() of fs/proc/array.c. `order` is
"<" for a little-endian machine and ">" for a big-endian one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import ip_address

LITTLE, BIG = "<", ">"

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, SOCK_DIAG_BY_FAMILY = 1, 2, 3, 20
NLM_F_MULTI = 2
INET_DIAG_INFO, INET_DIAG_SHUTDOWN, INET_DIAG_SKV6ONLY = 2, 8, 11
INET_DIAG_CGROUP_ID = 21
NLA_F_NESTED = 0x8000

ESTABLISHED, SYN_RECV, TIME_WAIT, CLOSE, CLOSE_WAIT, LISTEN = 1, 3, 6, 7, 8, 10


def message(order: str, kind: int, payload: bytes, *, sequence: int = 1) -> bytes:
    """One netlink message with its padding."""
    length = 16 + len(payload)
    header = struct.pack(order + "IHHII", length, kind, NLM_F_MULTI, sequence, 0)
    return pad(header + payload)


def pad(data: bytes) -> bytes:
    """Fill up to a multiple of four, as NLMSG_ALIGN and NLA_ALIGN do."""
    return data + bytes(-len(data) % 4)


def done(order: str, code: int | None = 0, *, sequence: int = 1) -> bytes:
    """The end of a dump; kernels before 2.6.24 send no code with it."""
    payload = b"" if code is None else struct.pack(order + "i", -code)
    return message(order, NLMSG_DONE, payload, sequence=sequence)


def error(order: str, code: int, *, sequence: int = 1) -> bytes:
    """NLMSG_ERROR: the code negated, and the header of the request it is about."""
    payload = struct.pack(order + "iIHHII", -code, 16, SOCK_DIAG_BY_FAMILY, 0, 1, 0)
    return message(order, NLMSG_ERROR, payload, sequence=sequence)


def attribute(order: str, kind: int, payload: bytes, *, length: int = -1) -> bytes:
    """One attribute with its padding; `length` lies about its size."""
    told = 4 + len(payload) if length < 0 else length
    return pad(struct.pack(order + "HH", told, kind) + payload)


def tcp_info(
    order: str, *, unacked: int = 0, acked: int, sent: int, retransmitted: int = 0
) -> bytes:
    """struct tcp_info (include/uapi/linux/tcp.h) up to tcpi_bytes_retrans.

    tcpi_unacked is at 24, tcpi_bytes_acked at 120, tcpi_bytes_sent at 200.
    """
    filled = bytearray(216)
    struct.pack_into(order + "I", filled, 24, unacked)
    struct.pack_into(order + "Q", filled, 120, acked)
    struct.pack_into(order + "QQ", filled, 200, sent, retransmitted)
    return bytes(filled)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A socket as a table shows it. A message and a line can be made of it."""

    local: tuple[str, int]
    remote: tuple[str, int] = ("", 0)
    state: int = LISTEN
    uid: int = 0
    inode: int = 0
    cookie: int = 0
    device: int = 0
    timer: int = 0
    expires_ms: int = 0
    attributes: bytes = b""
    addresses: tuple[bytes, bytes] = field(init=False)

    def __post_init__(self) -> None:
        local = ip_address(self.local[0])
        remote = ip_address(self.remote[0]) if self.remote[0] else type(local)(0)
        object.__setattr__(self, "addresses", (local.packed, remote.packed))

    def payload(self, order: str) -> bytes:
        """struct inet_diag_msg, 72 bytes, and the attributes.

        Ports and addresses are big-endian on every machine; an IPv4 address takes the
        first of four words. The cookie is two words, the low one first.
        """
        family = 2 if len(self.addresses[0]) == 4 else 10
        head = struct.pack("BBBB", family, self.state, self.timer, 0)
        ports = struct.pack(">HH", self.local[1], self.remote[1])
        addresses = b"".join(one.ljust(16, b"\0") for one in self.addresses)
        rest = struct.pack(
            order + "IIIIIIII",
            self.device,
            self.cookie & 0xFFFFFFFF,
            self.cookie >> 32,
            self.expires_ms,
            0,  # idiag_rqueue
            0,  # idiag_wqueue
            self.uid,
            self.inode,
        )
        return head + ports + addresses + rest + self.attributes

    def message(self, order: str, *, sequence: int = 1) -> bytes:
        """The netlink message that a sock_diag dump has for it."""
        payload = self.payload(order)
        return message(order, SOCK_DIAG_BY_FAMILY, payload, sequence=sequence)

    def line(self, order: str, number: int = 0) -> bytes:
        """The line that /proc/net/tcp or tcp6 has for it."""
        (local, remote) = (word_text(order, one) for one in self.addresses)
        timer = f"{self.timer:02X}:{self.expires_ms // 10:08X}"
        return (
            f"{number:4}: {local}:{self.local[1]:04X} {remote}:{self.remote[1]:04X} "
            f"{self.state:02X} 00000000:00000000 {timer} 00000000 {self.uid:5} "
            f"       0 {self.inode} 1 0000000000000000 100 0 0 10 0\n"
        ).encode()


def word_text(order: str, packed: bytes) -> str:
    """An address as /proc/net prints it: 32-bit words of the machine, in hexadecimal."""
    words = struct.unpack(f"{order}{len(packed) // 4}I", packed)
    return "".join(f"{one:08X}" for one in words)


TCP_HEADING = (
    b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"
    b"   uid  timeout inode                                                     \n"
)


def stat_line(
    *,
    pid: int = 4121,
    name: bytes = b"python3",
    state: bytes = b"S",
    parent: int = 4000,
    flags: int = 0x400000,
    threads: int = 1,
    start_ticks: int = 172839,
) -> bytes:
    """The line of /proc/PID/stat, its 52 fields; tty_nr and others may be negative."""
    fields = [0] * 49
    fields[0] = parent  # field 4
    fields[4] = -1  # tpgid, 8
    fields[5] = flags  # 9
    fields[16] = threads  # 20
    fields[18] = start_ticks  # 22
    numbers = " ".join(str(one) for one in fields).encode()
    return b"%d (%s) %s %s\n" % (pid, name, state, numbers)
