"""The arrays of the C core as records: bc_socket and bc_holder.

There may be thousands of rows, and to read a field of one by its name takes cffi as long
as it takes to unpack the whole row.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop
from _struct import Struct

from bindcheck.model import Endpoint, Place, Socket
from bindcheck.native.interface import ffi, lib
from bindcheck.records import record
from bindcheck.words import Direction, Family, Protocol, State

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from typing import Any

FAMILIES = {
    lib.BC_FAMILY_INET: Family.INET,
    lib.BC_FAMILY_INET6: Family.INET6,
    lib.BC_FAMILY_UNIX: Family.UNIX,
    lib.BC_FAMILY_VSOCK: Family.VSOCK,
}
PROTOCOLS = {
    lib.BC_PROTOCOL_TCP: Protocol.TCP,
    lib.BC_PROTOCOL_UDP: Protocol.UDP,
    lib.BC_PROTOCOL_SCTP: Protocol.SCTP,
    lib.BC_PROTOCOL_UDPLITE: Protocol.UDPLITE,
    lib.BC_PROTOCOL_MPTCP: Protocol.MPTCP,
}
STATES = {
    lib.BC_STATE_ESTABLISHED: State.ESTABLISHED,
    lib.BC_STATE_SYN_SENT: State.SYN_SENT,
    lib.BC_STATE_SYN_RECV: State.SYN_RECV,
    lib.BC_STATE_FIN_WAIT_1: State.FIN_WAIT_1,
    lib.BC_STATE_FIN_WAIT_2: State.FIN_WAIT_2,
    lib.BC_STATE_TIME_WAIT: State.TIME_WAIT,
    lib.BC_STATE_CLOSE: State.CLOSE,
    lib.BC_STATE_CLOSE_WAIT: State.CLOSE_WAIT,
    lib.BC_STATE_LAST_ACK: State.LAST_ACK,
    lib.BC_STATE_LISTEN: State.LISTEN,
    lib.BC_STATE_CLOSING: State.CLOSING,
}
OPENED = {
    lib.BC_OPENED_ACTIVELY: Direction.OUTGOING,
    lib.BC_OPENED_PASSIVELY: Direction.ACCEPTED,
}
_SERVES = {lib.BC_WAITS_FOR_IT: True, lib.BC_WAITS_ELSEWHERE: False}
_TRISTATES = {-1: None, 0: False, 1: True}
_TIMER_TIME_WAIT = 3
NOT_TOLD = 0xFFFFFFFF
_PCBLIST = lib.BC_SOURCE_PCBLIST  # tells no time that is left
_INET = lib.BC_FAMILY_INET
SOCKET_ROW = Struct("=QQQQHHI16sHHI16sIIIiIHBBbBBbb3x")
# The same in parts: cookie, inode and port are what differs between those that are alike.
ALIKE_ROW = Struct("=QQ18sH76s")
REMOTE_PORT_AT, STATE_AT = slice(22, 24), 66  # within the last part of ALIKE_ROW
_ALONE = (lib.BC_STATE_LISTEN, lib.BC_STATE_CLOSE)
HOLDER_ROW = Struct("=QiiiIbbbb16sbB2x")


@record(frozen=True, slots=True, kw_only=True)
class Holder:
    """A descriptor of a socket; options are None where they could not be read.

    `fd` is None for a socket that is registered with io_uring. `serves` tells whether
    a thread waits on the descriptor or may; None: not known.
    """

    inode: int
    pid: int
    tid: int
    fd: int | None
    close_on_exec: bool | None
    serves: bool | None
    device: int | None
    reuse_address: bool | None
    reuse_port: bool | None
    v6only: bool | None
    protocol: str


def socket_rows(raw: Any) -> tuple[Socket, ...]:
    """Records of an array of bc_socket."""
    addresses = _Addresses()
    made = []
    # fmt: off
    for (
        cookie, inode, cgroup_id, created,
        family, port, scope_id, local,
        remote_family, remote_port, remote_scope_id, remote,
        uid, expires_ms, device, pid, service_tag,
        protocol, state, timer, v6only, opened, source, reuse_address, reuse_port,
    ) in SOCKET_ROW.iter_unpack(raw):
        # fmt: on
        packed, text = addresses[family, local]
        peer = None
        if remote_port:
            peer = Endpoint(
                address=addresses[remote_family, remote][1],
                port=remote_port,
                scope_id=remote_scope_id or None,
            )
        timed = timer == _TIMER_TIME_WAIT and source != _PCBLIST
        one = Socket(
            family=FAMILIES[family],
            protocol=PROTOCOLS[protocol],
            state=STATES.get(state, State.UNKNOWN),
            local=Endpoint(address=text, port=port, scope_id=scope_id or None),
            remote=peer,
            packed=packed,
            inode=inode,
            cookie=cookie or None,
            uid=uid if inode and uid != NOT_TOLD else None,
            cgroup_id=cgroup_id or None,
            device=device,
            timer_ms=expires_ms if timed else None,
            opened=OPENED.get(opened),
            v6only=_TRISTATES[v6only],
            reuse_address=_TRISTATES[reuse_address],
            reuse_port=_TRISTATES[reuse_port],
            pid=pid or None,
            created=_filetime(created) if created else None,
            service_tag=service_tag,
        )
        made.append(one)
    return tuple(made)


class _Addresses(dict[tuple[int, bytes], tuple[bytes, str]]):
    """The bytes that count of an address, and its text: thousands of rows have few."""

    def __missing__(self, key: tuple[int, bytes]) -> tuple[bytes, str]:
        family, raw = key
        packed = raw[:4] if family == _INET else raw
        version = AF_INET if family == _INET else AF_INET6
        found = self[key] = (packed, inet_ntop(version, packed))
        return found


def packed_of(endpoint: Any) -> bytes:
    """The bytes that count of a bc_endpoint."""
    size = 4 if endpoint.family == _INET else 16
    return bytes(ffi.buffer(endpoint.address, size))


def endpoint_of(raw: Any) -> Endpoint:
    """A record of a bc_endpoint."""
    packed = packed_of(raw)
    return Endpoint(
        address=inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed),
        port=raw.port,
        scope_id=raw.scope_id or None,
    )


def _filetime(hundreds: int) -> float:
    """Seconds since 1970 from Windows' 100 ns since 1601."""
    return hundreds / 1e7 - 11644473600


def one_of_each(raw: Any) -> tuple[bytes, dict[int, tuple[Place, ...]]]:
    """The rows without those that are like another one, and these by its inode."""
    groups: dict[tuple[bytes, bytes], list[tuple[int, Place]]] = {}
    on_port: dict[int, int] = {}
    number = -1
    for number, (cookie, inode, before, port, after) in enumerate(
        ALIKE_ROW.iter_unpack(raw)
    ):
        on_port[port] = on_port.get(port, 0) + 1
        if inode and after[STATE_AT] in _ALONE and after[REMOTE_PORT_AT] == b"\0\0":
            groups.setdefault((before, after), []).append(
                (number, (port, inode, cookie or None))
            )
    left_out = set()
    others = {}
    for group in groups.values():
        alone = [one for one in group if on_port[one[1][0]] == 1]
        if len(alone) > 1:
            left_out.update([number for number, _ in alone[1:]])
            others[alone[0][1][1]] = tuple([place for _, place in alone[1:]])
    size = SOCKET_ROW.size
    kept = (at for at in range(number + 1) if at not in left_out)
    return b"".join(raw[at * size : (at + 1) * size] for at in kept), others


def holder_rows(raw: Any) -> tuple[Holder, ...]:
    """Records of an array of bc_holder."""
    made = []
    # fmt: off
    for (
        inode, pid, tid, fd, device, reuse_address, reuse_port, v6only, known, protocol,
        close_on_exec, waits,
    ) in HOLDER_ROW.iter_unpack(raw):
        # fmt: on
        one = Holder(
            inode=inode,
            pid=pid,
            tid=tid,
            fd=fd if fd >= 0 else None,
            close_on_exec=_TRISTATES[close_on_exec],
            serves=_SERVES.get(waits),
            device=device if known else None,
            reuse_address=_TRISTATES[reuse_address] if known else None,
            reuse_port=_TRISTATES[reuse_port] if known else None,
            v6only=_TRISTATES[v6only],
            protocol=protocol.rstrip(b"\0").decode("ascii", "backslashreplace"),
        )
        made.append(one)
    return tuple(made)
