"""What is said of AF_VSOCK addresses."""

from __future__ import annotations

from bindcheck.rules.vsock import LAST_PRIVILEGED_PORT
from bindcheck.words import CauseCode

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable

    from bindcheck.model import Diagnosis, Snapshot


def _not_local(_: object, diagnosis: Diagnosis, _s: Snapshot) -> str:
    return f"the context id {diagnosis.target.address} is not one of this machine"


def _context_id(diagnosis: Diagnosis, snapshot: Snapshot) -> list[str]:
    lines = []
    if snapshot.context_id is not None:
        lines.append(f"its context id is {snapshot.context_id} (/dev/vsock)")
    if diagnosis.target.address == "local":
        lines.append("local is there only with the kernel module vsock_loopback")
    return lines


def _fixed(text: str) -> Callable[..., str]:
    return lambda *_: text


SUMMARIES: dict[CauseCode, Callable[..., str]] = {
    CauseCode.UNSEEN_BLOCKER: _fixed("in use, and who has it is not shown"),
    CauseCode.ADDRESS_NOT_LOCAL: _not_local,
    CauseCode.PRIVILEGED_PORT: _fixed(
        f"ports up to {LAST_PRIVILEGED_PORT} need CAP_NET_BIND_SERVICE"
    ),
    CauseCode.FAMILY_DISABLED: _fixed("this kernel has no AF_VSOCK"),
    CauseCode.PROTOCOL_UNAVAILABLE: _fixed("this kernel does not offer the protocol"),
    CauseCode.DESCRIPTOR_LIMIT: _fixed("no further descriptor can be opened"),
    CauseCode.UNKNOWN: _fixed("the reason is not known"),
}
EVIDENCE: dict[CauseCode, Callable[[Diagnosis, Snapshot], list[str]]] = {
    CauseCode.ADDRESS_NOT_LOCAL: _context_id,
    CauseCode.UNSEEN_BLOCKER: lambda *_: [
        "AF_VSOCK sockets are in none of the tables that are read here"
    ],
}
