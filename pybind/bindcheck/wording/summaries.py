"""What each cause is called: half a sentence, to stand after "cannot be bound:"."""

from __future__ import annotations

from bindcheck.wording import refusals, unix, vsock
from bindcheck.wording.terms import plural, who
from bindcheck.words import Blocks, CauseCode, Family, Kind, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Blocker, Cause, Diagnosis, Snapshot


_MOST_NAMES = 3  # of those that are not named first


def summary(
    cause: Cause,
    blockers: Sequence[Blocker],
    diagnosis: Diagnosis,
    snapshot: Snapshot,
) -> str:
    """Say a cause in half a sentence, to stand after "cannot be bound:"."""
    table = vsock.SUMMARIES if diagnosis.target.family is Family.VSOCK else _SUMMARIES
    words = table.get(cause.code)
    if words is None:
        from bindcheck.wording import elsewhere

        words = elsewhere.SUMMARIES[cause.code]
    return words(blockers, diagnosis, snapshot)


def _holder(pattern: str) -> Callable[..., str]:
    def words(blockers: Sequence[Blocker], *_: object) -> str:
        first = blockers[0]
        text = pattern.format(who=who(first.owner))
        if Trait.INHERITED in first.owner.traits:
            listening = "a listening" if first.kind is Kind.LISTENER else "the"
            text = f"{who(first.owner)} inherited {listening} socket"
        others = sorted({who(one.owner) for one in blockers} - {who(first.owner)})
        also = f", and {_some_of(others)}" if others else ""
        possibly = "" if first.blocks is Blocks.YES else ", which may block"
        return text + also + possibly

    return words


def _some_of(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _time_wait(blockers: Sequence[Blocker], *_: object) -> str:
    # Of several at least one does.
    sure = blockers[0].blocks is Blocks.YES or blockers[0].count > 1
    return "TIME_WAIT" if sure else "possibly TIME_WAIT"


def _closing(blockers: Sequence[Blocker], *_: object) -> str:
    held = [one for one in blockers if one.owner.processes]
    if held:
        return f"{who(held[0].owner)} still has a connection that is being closed"
    count = sum(one.count for one in blockers)
    verb = "is" if count == 1 else "are"
    return f"{plural(count, 'connection')} {verb} still being closed"


_SUMMARIES: dict[CauseCode, Callable[..., str]] = {
    **refusals.SUMMARIES,
    **unix.SUMMARIES,
    CauseCode.LISTENER: _holder("{who} listens there"),
    CauseCode.BOUND: _holder("{who} has bound it without listening"),
    CauseCode.DATAGRAM: _holder("{who} has that port"),
    CauseCode.OUTGOING_CONNECTION: _holder(
        "an outgoing connection of {who} uses that port"
    ),
    CauseCode.ACCEPTED_CONNECTION: _holder("{who} still has a connection on that port"),
    CauseCode.CLOSE_WAIT: _holder(
        "{who} does not close a connection whose other end is gone"
    ),
    CauseCode.CLOSING_CONNECTION: _closing,
    CauseCode.TIME_WAIT: _time_wait,
    CauseCode.LISTEN_CONFLICT: refusals.fixed(
        "another socket began to listen there first"
    ),
    CauseCode.UNSEEN_BLOCKER: refusals.fixed(
        "in use, but nothing that can be seen here holds it"
    ),
    CauseCode.UNKNOWN: refusals.fixed("the reason is not known"),
}
