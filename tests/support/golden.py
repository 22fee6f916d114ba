"""The recorded bytes in tests/data, each made again from a generator of its layout.

A file is named DECODER-VARIANT-ORDER.bin; its order, le or be, is that of the machine
that made it. `python -m tests.support.golden` writes them all anew.
"""

from __future__ import annotations

import struct
from pathlib import Path

from tests.support import pcblist, windows_tables, wire
from tests.support.wire import BIG, LITTLE, attribute

DATA = Path(__file__).parent.parent / "data"
ORDERS = {"le": LITTLE, "be": BIG}


def sock_diag(order: str) -> bytes:
    """A dump of TCP: every kind of row, a half-open connection, the end."""
    v6only = attribute(order, wire.INET_DIAG_SKV6ONLY, b"\1")
    shutdown = attribute(order, wire.INET_DIAG_SHUTDOWN, b"\3")
    cgroup = attribute(order, wire.INET_DIAG_CGROUP_ID, struct.pack(order + "Q", 6021))
    info = wire.tcp_info(order, acked=1, sent=0)
    rows = [
        wire.Row(local=("127.0.0.1", 8080), uid=1000, inode=18846, cookie=0x100004F21),
        wire.Row(local=("::", 8080), inode=18847, attributes=v6only + cgroup),
        wire.Row(local=("fe80::1", 443), device=3, state=wire.CLOSE, inode=9),
        wire.Row(
            local=("192.0.2.1", 50123),
            remote=("198.51.100.7", 443),
            state=wire.ESTABLISHED,
            inode=77,
            timer=2,
            expires_ms=7000,
            attributes=attribute(order, wire.INET_DIAG_INFO, info) + shutdown,
        ),
        wire.Row(
            local=("::ffff:127.0.0.1", 8080),
            remote=("::ffff:127.0.0.1", 40000),
            state=wire.TIME_WAIT,
            timer=3,
            expires_ms=41_234,
        ),
        wire.Row(local=("127.0.0.1", 8080), state=wire.SYN_RECV),
    ]
    return b"".join(one.message(order) for one in rows) + wire.done(order)


def unix_diag(order: str) -> bytes:
    """A dump of unix sockets: a path, an abstract name, none."""

    def message(kind: int, state: int, number: int, *attributes: bytes) -> bytes:
        head = struct.pack(order + "BBBBIII", 1, kind, state, 0, number, number, 7)
        payload = head + b"".join(attributes)
        return wire.message(order, wire.SOCK_DIAG_BY_FAMILY, payload)

    file = attribute(order, 1, struct.pack(order + "II", 4711, 8 << 20 | 1))
    uid = attribute(order, 7, struct.pack(order + "I", 1000))
    return (
        message(1, 10, 21, attribute(order, 0, b"/run/app.sock\0"), file, uid)
        + message(2, 7, 22, attribute(order, 0, b"\0abstract"))
        + message(1, 1, 23)
        + wire.done(order)
    )


def proc_net(order: str, *, inet6: bool = False) -> bytes:
    """A whole table of TCP."""
    local, remote = ("2001:db8::1", "::1") if inet6 else ("127.0.0.1", "192.0.2.7")
    rows = [
        wire.Row(local=(local, 8080), uid=1000, inode=18846),
        wire.Row(local=(local, 8080), remote=(remote, 1), state=wire.SYN_RECV),
        wire.Row(
            local=(local, 8080),
            remote=(remote, 40000),
            state=wire.TIME_WAIT,
            timer=3,
            expires_ms=41_230,
        ),
    ]
    lines = [one.line(order, number) for number, one in enumerate(rows)]
    return wire.TCP_HEADING + b"".join(lines)


def links(order: str) -> bytes:
    """A dump of devices: a tunnel with a port, one without, and none."""

    def device(name: bytes, kind: bytes, data: bytes) -> bytes:
        about = attribute(order, 1, kind) + attribute(order, 2, data)
        named = attribute(order, 3, name + b"\0") + attribute(order, 18, about)
        return wire.message(order, 16, bytes(16) + named)

    return (
        device(b"vxlan0", b"vxlan\0", attribute(order, 15, b"\x12\xb5"))
        + device(b"wg0", b"wireguard\0", b"")
        + device(b"br0", b"bridge\0", b"")
        + wire.done(order)
    )


RING = b"""pos:\t0
flags:\t02000002
UserFiles:\t3
    0: socket:[11240747]
    1: /etc/hostname
    2: socket:[18446744073709551615]
UserBufs:\t0
"""


def tcp_of_macos(order: str, *, short: bool) -> bytes:
    """Every kind of socket that macOS lists, and a flow without one."""
    lo = ("127.0.0.1", 8080)
    reuse = pcblist.REUSE_ADDRESS | pcblist.REUSE_PORT
    dual = pcblist.IPV4 | pcblist.IPV6
    row = pcblist.Row
    rows = [
        row(local=lo, uid=501, last_pid=4121, handle=0xA1, generation=17),
        row(local=("127.0.0.1", 8081), state=pcblist.CLOSED, handle=0xA2),
        row(local=("::", 8080), versions=dual, options=reuse, handle=0xA3),
        row(local=("::", 8082), flags=pcblist.V6ONLY, handle=0xA4),
        row(local=("fe80:5::1", 443), remote=("fe80:5::2", 50000), state=4),
        row(local=lo, remote=("127.0.0.1", 50001), state=pcblist.TIME_WAIT),
        row(
            local=lo,
            remote=("127.0.0.1", 50002),
            state=pcblist.ESTABLISHED,
            family=pcblist.INET6,
            flags1=pcblist.INBOUND,
            effective_pid=4122,
        ),
        row(local=("127.0.0.1", 0), state=pcblist.CLOSED),
    ]
    flow = row(local=("192.0.2.1", 50003), remote=("192.0.2.2", 443), state=4)
    groups = [one.records(order, short=short) for one in rows]
    return pcblist.table(order, *groups, flow.flow(order))


def udp_of_macos(order: str) -> bytes:
    """Two sockets of UDP, in a table that changed while it was made."""
    rows = [
        pcblist.Row(local=("0.0.0.0", 5353), options=pcblist.REUSE_PORT),  # noqa: S104
        pcblist.Row(local=("ff02:4::fb", 5353), uid=65),
    ]
    groups = [one.records(order, protocol=17) for one in rows]
    return pcblist.table(order, *groups, after=8)


def wrong_tcp_of_macos(order: str) -> bytes:
    """A record that says it has no length, behind two sockets."""
    row = pcblist.Row(local=("127.0.0.1", 8080)).records(order)
    wrong = pcblist.record(order, pcblist.PCB, bytes(96), length=0)
    return pcblist.table(order, row, row, wrong)


def every_file() -> dict[str, bytes]:
    """The bytes of each file, by its path in tests/data."""
    path = b"/opt/python/bin/python3"
    arguments = (b"python3", b"", b"-m", b"http.server")
    files = {
        "linux/procstat-python-le.bin": wire.stat_line(name=b"a) b (", flags=0x400040),
        "linux/uring_files-ring-le.bin": RING,
        "darwin/port_bitmap-macos-le.bin": pcblist.bitmap(55555, 62742, 62743),
        "windows/excluded_range-one-le.bin": b"cc570100",
        "windows/excluded_range-hundred-le.bin": b"c3506400",
        **{
            f"windows/ip_helper-{name}-le.bin": table
            for name, table in windows_tables.examples().items()
        },
    }
    for name, order in ORDERS.items():
        files |= {
            f"linux/sock_diag-tcp-{name}.bin": sock_diag(order),
            f"linux/unix_diag-names-{name}.bin": unix_diag(order),
            f"linux/procnet-tcp-{name}.bin": proc_net(order),
            f"linux/procnet-tcp6-{name}.bin": proc_net(order, inet6=True),
            f"linux/rtnl_link-tunnels-{name}.bin": links(order),
            f"darwin/pcblist-tcp-{name}.bin": tcp_of_macos(order, short=False),
            f"darwin/pcblist-tcp_old-{name}.bin": tcp_of_macos(order, short=True),
            f"darwin/pcblist-udp-{name}.bin": udp_of_macos(order),
            f"darwin/procargs-python-{name}.bin": pcblist.procargs(
                order, path, *arguments, environment=(b"HOME=/root",)
            ),
            f"darwin/procargs-empty-{name}.bin": pcblist.procargs(order, path, b""),
            # A number that cannot be, more than there are, and a path without end.
            f"darwin/procargs-negative-{name}.bin": struct.pack(order + "i", -2)
            + pcblist.procargs(order, path, b"python3")[4:],
            f"darwin/procargs-fewer-{name}.bin": struct.pack(order + "i", 9)
            + pcblist.procargs(order, path, b"python3", b"-m")[4:],
            f"darwin/procargs-endless-{name}.bin": struct.pack(order + "i", 1) + path,
            f"darwin/pcblist-tcp_wrong-{name}.bin": wrong_tcp_of_macos(order),
        }
    return files


if __name__ == "__main__":
    for relative, content in every_file().items():
        (DATA / relative).parent.mkdir(exist_ok=True)
        (DATA / relative).write_bytes(content)
