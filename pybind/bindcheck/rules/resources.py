"""What ran out: descriptors, memory, the ports that the kernel may choose from."""

from __future__ import annotations

from bindcheck.records import record
from bindcheck.rules.overlap import collide, coverage, holder_coverage
from bindcheck.rules.sharing import devices_meet
from bindcheck.words import CauseCode, State, Step

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Attempt, Options, Snapshot, Socket, Target

_CODES = {
    "EMFILE": CauseCode.DESCRIPTOR_LIMIT,
    "ENFILE": CauseCode.DESCRIPTOR_LIMIT,
    "ENOMEM": CauseCode.NO_MEMORY,
    "ENOBUFS": CauseCode.NO_MEMORY,
    "EAI_MEMORY": CauseCode.NO_MEMORY,
}


def exhausted(name: str | None) -> CauseCode | None:
    """The resource that an error says has run out; Winsock's names without WSA."""
    return _CODES.get(name or "")


def is_our_own_limit(attempt: Attempt) -> bool:
    """Whether nothing was learnt about the address.

    Without a socket or a look-up; getsockname() comes when the address is bound.
    """
    before_bind = attempt.step in (Step.RESOLVE, Step.SOCKET)
    name = attempt.error.symbol if attempt.error else None
    return attempt.step is Step.GETSOCKNAME or (
        before_bind and exhausted(name) is not None
    )


@record(frozen=True, slots=True)
class RangeUse:
    """Who uses the ports that the kernel chooses from, on one address."""

    ports: int
    """How many ports the range has, without the reserved ones."""
    reserved: int
    taken: frozenset[int]
    rows: tuple[Socket, ...]


def range_rows(
    target: Target, options: Options, snapshot: Snapshot
) -> tuple[Socket, ...]:
    """The sockets that take a port of the range away from this address."""
    if snapshot.facts.ephemeral_range is None:
        return ()
    low, high = snapshot.facts.ephemeral_range
    v6only = options.v6only
    if v6only is None:
        v6only = bool(snapshot.facts.bind_v6only)
    mine = coverage(target.packed, v6only=v6only)
    device = snapshot.devices.get(options.device or "", 0)
    return tuple(
        row
        for row in snapshot.sockets
        if low <= row.local.port <= high
        and row.state is not State.SYN_RECV
        and devices_meet(device, row.device)
        and collide(mine, holder_coverage(row))
    )


def range_use(target: Target, options: Options, snapshot: Snapshot) -> RangeUse | None:
    """Count the ports of the range; None where the range is not known."""
    if snapshot.facts.ephemeral_range is None:
        return None
    low, high = snapshot.facts.ephemeral_range
    low, high = max(0, low), min(high, 65535)
    reserved = {
        port
        for first, last in snapshot.reserved_ports
        for port in range(max(low, first), min(high, last) + 1)
    }
    rows = range_rows(target, options, snapshot)
    taken = frozenset(row.local.port for row in rows) - reserved
    return RangeUse(high - low + 1 - len(reserved), len(reserved), taken, rows)
