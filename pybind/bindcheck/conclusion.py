"""From what was seen to a diagnosis: the same answer on every machine.

Pure: no clock, no system call. What was recorded elsewhere is concluded here alike.
"""

from __future__ import annotations

from bindcheck.records import replace
from bindcheck.rules.decide import decide
from bindcheck.rules.quiet import conflicts
from bindcheck.wording import explain, warn
from bindcheck.words import Family, WarningCode

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.model import Diagnosis, Examination
    from bindcheck.rules.quiet import Conflict


def conclude(seen: Examination) -> Diagnosis:
    """Decide about one address, and put it into words."""
    found = explain(_decide(seen), seen.snapshot)
    return replace(found, warnings=warn(quiet(seen), seen.snapshot))


def quiet(seen: Examination) -> tuple[Conflict, ...]:
    """What a bind that works does not tell."""
    attempt = seen.attempt
    if not attempt.ok or attempt.target.family in (Family.UNIX, Family.VSOCK):
        return ()
    found = conflicts(attempt.target, attempt.options, seen.snapshot)
    if seen.paired:
        # The other wildcard has a diagnosis of its own.
        return tuple(one for one in found if one.code is not WarningCode.SHADOWED)
    return found


def _decide(seen: Examination) -> Diagnosis:
    family = seen.attempt.target.family
    if family is Family.UNIX:
        from bindcheck.rules import unix_path

        return unix_path.decide(
            seen.requested, seen.attempt, seen.snapshot, came_free=seen.came_free
        )
    if family is Family.VSOCK:
        from bindcheck.rules import vsock

        return vsock.decide(seen.requested, seen.attempt, seen.snapshot)
    return decide(
        seen.requested,
        seen.attempt,
        seen.trials,
        seen.snapshot,
        came_free=seen.came_free,
    )
