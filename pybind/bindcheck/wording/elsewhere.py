"""Summaries and evidence that Windows and macOS have words of their own for."""

from __future__ import annotations

from bindcheck.sanitize import sanitize
from bindcheck.words import CauseCode, Kind, Sharing, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Blocker, Diagnosis, Owner, Snapshot


def _excluded(_: Sequence[Blocker], _d: Diagnosis, _s: Snapshot) -> str:
    return "Windows keeps a range of ports, and this is one of them"


def _reserved(blockers: Sequence[Blocker], _d: Diagnosis, snapshot: Snapshot) -> str:
    if blockers:
        return f"Windows itself has it, {system_part(blockers[0].owner)}"
    if snapshot.facts.system == System.DARWIN:
        return "macOS keeps this port for programs of its own"
    return "Windows forbids it, and no socket that can be seen is the reason"


def system_part(owner: Owner) -> str:
    """Which part of Windows has a socket of pid 4, as far as its port tells."""
    kernel = sanitize(owner.kernel or "kernel")
    if "http.sys" in kernel:
        return f"most likely the {kernel}"
    return f"a {kernel}" if kernel.startswith("driver") else f"the {kernel}"


SUMMARIES: dict[CauseCode, Callable[..., str]] = {
    CauseCode.EXCLUDED_PORT_RANGE: _excluded,
    CauseCode.RESERVED_BY_SYSTEM: _reserved,
    CauseCode.BROADCAST_ADDRESS: lambda *_: (
        "it is a broadcast address, and the socket may not send to such"
    ),
}


def _excluded_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    port, run = diagnosis.target.port, snapshot.refused_run
    lines = []
    if run is not None:
        first, last = run
        lines.append(
            f"ports {first} to {last} are refused in the same way, and nobody has them"
            if last > first
            else "the ports beside it are not refused"
        )
    lines += [
        f"the registry excludes {one.first} to {one.last} (netsh: administered)"
        for one in snapshot.kept_ports
        if one.first <= port <= one.last
    ]
    if snapshot.running_services:
        names = ", ".join(sanitize(one) for one in snapshot.running_services)
        lines.append(f"services that reserve ports and are running: {names}")
    return lines


def _reserved_evidence(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    if diagnosis.blockers:
        return []
    if snapshot.facts.system == System.DARWIN:
        return ["net.restricted_port.bitmap names it: an entitlement is needed"]
    every = any(one.ok is False and "port" in one.changed for one in diagnosis.trials)
    return [
        *(["other ports are refused as well"] if every else ()),
        "no table has a socket on the port",
        *_excluded_evidence(diagnosis, snapshot),
        "what is left: a driver, a socket of another kind, or a security product",
    ]


def _broadcast_evidence(_: Diagnosis, __: Snapshot) -> list[str]:
    return ["Windows says so of a broadcast address without SO_BROADCAST"]


EVIDENCE: dict[CauseCode, Callable[[Diagnosis, Snapshot], list[str]]] = {
    CauseCode.EXCLUDED_PORT_RANGE: _excluded_evidence,
    CauseCode.RESERVED_BY_SYSTEM: _reserved_evidence,
    CauseCode.BROADCAST_ADDRESS: _broadcast_evidence,
}


def privileged_summary(user: str) -> str:
    """Why macOS refuses: the wildcard address is free for all."""
    return f"{user} may not use ports below 1024 of one address"


PRIVILEGED = (
    "macOS gives ports below 1024 to root alone, except of the wildcard address, which "
    "since 10.14 everybody may bind"
)
"""The rule of macOS."""


def bound_line(snapshot: Snapshot) -> str:
    """Which tools do not show a socket that is only bound."""
    if snapshot.facts.system == System.WINDOWS:
        return (
            "netstat shows such sockets with -q alone; when one was made is not told, so "
            "its pid may be another program's by now"
        )
    return "netstat and lsof -i show such sockets as CLOSED, if at all"


def sharing_lines(blocker: Blocker, diagnosis: Diagnosis, system: str) -> list[str]:
    """Why a port is not shared, as far as it was found out."""
    if system == System.DARWIN:
        return _darwin_sharing(blocker, diagnosis)
    options, error = diagnosis.attempt.options, diagnosis.attempt.error
    forbidden = error is not None and error.symbol == "EACCES"
    if blocker.kind not in (Kind.LISTENER, Kind.BOUND, Kind.DATAGRAM):
        return []
    if diagnosis.attempt.ok is None and options.reuse_address:
        return [
            (
                "with SO_REUSEADDR both would have the port if it was bound with that too, "
                "else it is refused (10013); trying could take its connections"
            )
        ]
    if blocker.sharing is Sharing.EXCLUSIVE:
        return ["it was bound with SO_EXCLUSIVEADDRUSE"]
    if blocker.sharing is Sharing.OTHER_UID:
        without = "and was bound without SO_REUSEADDR"
        below = "and below its wildcard address only that user may bind"
        return [f"it is another user's, {without if options.reuse_address else below}"]
    if blocker.sharing is Sharing.HOLDER_LACKS_OPTION:
        return ["it was bound without SO_REUSEADDR: that makes it 10013, not 10048"]
    if forbidden:
        reason = "it has SO_EXCLUSIVEADDRUSE or is another user's"
        if options.reuse_address:
            reason = "it was bound without SO_REUSEADDR"
        return [f"10013 of a port that somebody has says: {reason}"]
    return []


def _darwin_sharing(blocker: Blocker, diagnosis: Diagnosis) -> list[str]:
    if blocker.sharing is Sharing.OTHER_UID:
        return [
            "it is another user's: macOS lets these share no port, whatever they set"
        ]
    asked = diagnosis.attempt.options
    if blocker.sharing is Sharing.HOLDER_LACKS_OPTION:
        return ["its socket has no SO_REUSEPORT"]
    if blocker.sharing is Sharing.NOT_POSSIBLE and asked.reuse_address:
        return ["SO_REUSEADDR shares no port of one address; that needs SO_REUSEPORT"]
    return []


def time_wait_line(snapshot: Snapshot) -> str | None:
    """How long macOS keeps closed connections: its tables do not tell what is left."""
    lifetime = snapshot.facts.segment_lifetime_ms
    if snapshot.facts.system != System.DARWIN or lifetime is None:
        return None
    return f"they end within {2 * lifetime / 1000:.0f} s (2 x net.inet.tcp.msl)"


def ephemeral_lines(snapshot: Snapshot) -> list[str]:
    """The ports that are given to clients."""
    if snapshot.facts.ephemeral_range is None:
        return []
    low, high = snapshot.facts.ephemeral_range
    if snapshot.facts.system == System.DARWIN:
        return [f"net.inet.ip.portrange.first = {low}, .last = {high}"]
    return [f"dynamic ports {low} to {high} (as documented)"]


def hijack_warning(reuse_address: bool | None) -> str:
    """What SO_REUSEADDR means on Windows."""
    if reuse_address:
        return (
            "with SO_REUSEADDR another program may bind this port as well, and only one "
            "of the two gets the connections: set SO_EXCLUSIVEADDRUSE instead, which is "
            "what servers on Windows should do"
        )
    return (
        "without SO_EXCLUSIVEADDRUSE another program may bind this port too, with "
        "SO_REUSEADDR, and get the connections: set it before bind"
    )


def unseen_lines(snapshot: Snapshot) -> list[str]:
    """What could hold a port that no table shows."""
    lines = ["the socket tables were read several times and show no holder"]
    if snapshot.facts.system == System.DARWIN:
        lines.append(
            "a flow of Network.framework has ports too, and no socket in the kernel"
        )
    elif snapshot.bound_sockets_listed is False:
        lines.append("sockets that are bound and not listening are not listed here")
    return lines
