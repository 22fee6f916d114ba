"""AF_VSOCK: why an address is refused (vsock(7), net/vmw_vsock/af_vsock.c).

The kernel shows its table of these sockets to few programs, and not to this one: who has
a port is not known.
"""

from __future__ import annotations

from bindcheck.model import Cause, Diagnosis
from bindcheck.rules import refusals
from bindcheck.rules.resources import is_our_own_limit
from bindcheck.words import CauseCode, Certainty, Step, Verdict

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Attempt, Snapshot

LAST_PRIVILEGED_PORT = 1023  # net/vmw_vsock/af_vsock.c

_BY_ERROR = {
    "EADDRINUSE": (CauseCode.UNSEEN_BLOCKER, Certainty.POSSIBLE),
    "EADDRNOTAVAIL": (CauseCode.ADDRESS_NOT_LOCAL, Certainty.CERTAIN),
    "EACCES": (CauseCode.PRIVILEGED_PORT, Certainty.CERTAIN),
}


def decide(requested: str, attempt: Attempt, snapshot: Snapshot) -> Diagnosis:
    """Decide about an AF_VSOCK target."""
    causes: tuple[Cause, ...] = ()
    if attempt.error is not None:
        causes = (_cause(attempt, snapshot),)
    verdict = Verdict.BINDABLE if attempt.ok else Verdict.BLOCKED
    if is_our_own_limit(attempt):
        verdict = Verdict.UNKNOWN
    return Diagnosis(
        requested=requested,
        target=attempt.target,
        attempt=attempt,
        verdict=verdict,
        causes=causes,
        limits=snapshot.limits,
    )


def _cause(attempt: Attempt, snapshot: Snapshot) -> Cause:
    name = attempt.error.symbol if attempt.error else None
    if attempt.step is not Step.BIND:
        return refusals.causes(attempt, (), snapshot)[0]
    if name == "EACCES" and attempt.target.port > LAST_PRIVILEGED_PORT:
        name = None
    unknown = (CauseCode.UNKNOWN, Certainty.POSSIBLE)
    code, certainty = _BY_ERROR.get(name or "", unknown)
    return Cause(code=code, certainty=certainty)
