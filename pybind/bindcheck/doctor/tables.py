"""The socket tables: which there are, and what they do not show."""

from __future__ import annotations

import os

from bindcheck import native
from bindcheck.doctor.checks import Answer, Group, Question, said
from bindcheck.doctor.here import CAP_SYS_PTRACE
from bindcheck.model import NativeCode, Options
from bindcheck.observe import shows_bound
from bindcheck.target import make_vsock_target, parse
from bindcheck.words import Protocol

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.doctor.here import Here

# As /proc/net/protocols has them.
_NAMES = {
    Protocol.MPTCP: "MPTCP",
    Protocol.SCTP: "SCTP",
    Protocol.UDPLITE: "UDP-Lite",
    Protocol.VSOCK: "AF_VSOCK",
}
_SOURCES = {
    "sock_diag": "asked of the kernel (sock_diag)",
    "pcblist": "asked of the kernel (pcblist_n)",
    "ip-helper": "asked of the IP Helper",
}
_NOT_IN_TEXT = "without cgroups, interfaces and IPV6_V6ONLY"
_ONLY_BOUND = "TCP sockets that are bound and do not listen"


def _tcp(_: Here) -> Answer:
    return _main_table(Protocol.TCP)


def _udp(_: Here) -> Answer:
    return _main_table(Protocol.UDP)


def _main_table(protocol: Protocol) -> Answer:
    """A port is named so that little is listed."""
    listing = native.list_sockets(protocol, 1)
    if listing.source is None:
        return Answer(ok=False, text=f"there is none ({said(listing.refused)})")
    if listing.source == "proc-net":
        text = f"read from /proc/net, {_NOT_IN_TEXT}"
        return Answer(ok=None, text=f"{text} (sock_diag: {said(listing.refused)})")
    return Answer(ok=True, text=_SOURCES.get(listing.source, listing.source))


def _mptcp(here: Here) -> Answer:
    answer = _rare_table(here, Protocol.MPTCP)
    if answer.ok is False:
        return Answer(ok=None, text=f"{answer.text}; they are shown as TCP")
    return answer


def _sctp(here: Here) -> Answer:
    return _rare_table(here, Protocol.SCTP)


def _udplite(here: Here) -> Answer:
    return _rare_table(here, Protocol.UDPLITE)


def _rare_table(here: Here, protocol: Protocol) -> Answer:
    """A table that is missed only where the kernel has the protocol."""
    listing = native.list_sockets(protocol, 1)
    if listing.source is not None:
        return _main_table(protocol)
    if here.protocols is None:
        text = f"there is none, nor is it told whether it is missed ({said(listing.refused)})"
        return Answer(ok=None, text=text)
    if _NAMES[protocol] not in here.protocols:
        return Answer(ok=True, text="nobody has such sockets: it is not loaded")
    text = f"these sockets are not listed here ({said(listing.refused)})"
    return Answer(ok=False, text=text)


def _bound(here: Here) -> Answer:
    if shows_bound():
        return Answer(ok=True, text=f"{_ONLY_BOUND} are in the table")
    return _borrowed(here)


def _borrowed(here: Here) -> Answer:
    """Look for a socket of our own in the way in which those of others are looked for."""
    import _socket

    own = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        own.bind(("127.0.0.1", 0))
        inode, port = os.fstat(own.fileno()).st_ino, own.getsockname()[1]
        seen = here.observer.look(Protocol.TCP, port, None)
        seen = here.observer.with_bound_sockets(seen, Protocol.TCP, port)
    finally:
        own.close()
    if not seen.listed:
        return Answer(ok=False, text="there is no table")
    text = f"{_ONLY_BOUND} are not in the table"
    if not any(row.inode == inode for row in seen.sockets):
        text += ", and their descriptors cannot be asked (pidfd_getfd)"
        return Answer(ok=False, text=text)
    if not here.scan.unreadable and here.may_trace:
        return Answer(ok=True, text=f"{text}, and are found by their descriptors")
    return Answer(
        ok=False,
        text=f"{text}; they are found only in programs that may be traced",
        widen=here.who_sees("those of all", CAP_SYS_PTRACE),
        as_root=here.sudo_helps(CAP_SYS_PTRACE),
    )


def _unix(_: Here) -> Answer:
    listed = native.list_unix_sockets()
    if isinstance(listed, NativeCode):
        return Answer(ok=False, text=f"there is none ({said(listed)})")
    return Answer(ok=True, text=_SOURCES["sock_diag"])


def _vsock(here: Here) -> Answer:
    if here.protocols is None:
        return Answer(ok=None, text="whether it is loaded is not told: not tried")
    if _NAMES[Protocol.VSOCK] not in here.protocols:
        return Answer(ok=True, text="nobody has such sockets: it is not loaded")
    target = make_vsock_target(parse("vsock:any:any"))
    attempt = native.probe_name(target, Options())
    if not attempt.ok:
        text = f"{attempt.step} is refused: {said(attempt.error)}"
        return Answer(ok=None, text=text)
    return Answer(ok=True, text="it can be bound; who has a port no table tells")


TCP = Question(
    name="tcp-table",
    group=Group.TABLES,
    title="TCP",
    ask=_tcp,
    summary="table of TCP",
)
UDP = Question(
    name="udp-table", group=Group.TABLES, title="UDP", ask=_udp, summary="UDP"
)
QUESTIONS = (
    TCP,
    UDP,
    Question(
        name="mptcp-table",
        group=Group.TABLES,
        title="MPTCP",
        ask=_mptcp,
        summary="MPTCP",
    ),
    Question(
        name="sctp-table", group=Group.TABLES, title="SCTP", ask=_sctp, summary="SCTP"
    ),
    Question(
        name="udplite-table",
        group=Group.TABLES,
        title="UDP-Lite",
        ask=_udplite,
        summary="UDP-Lite",
    ),
    Question(
        name="bound-sockets",
        group=Group.TABLES,
        title="bound sockets",
        ask=_bound,
        summary="bound sockets",
    ),
    Question(
        name="unix-table",
        group=Group.TABLES,
        title="unix sockets",
        ask=_unix,
        summary="unix sockets",
    ),
    Question(name="vsock", group=Group.TABLES, title="AF_VSOCK", ask=_vsock),
)
