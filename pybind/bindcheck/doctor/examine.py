"""Asks everything that can be asked on this system."""

from __future__ import annotations

from bindcheck.doctor.checks import answered
from bindcheck.doctor.here import Here
from bindcheck.words import System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bindcheck.doctor.checks import Check, Question
    from bindcheck.observe import Observer


def examine_here(observer: Observer) -> tuple[Check, ...]:
    """Find out what can be seen. Binds no port that anybody asked for, listens on none."""
    return answered(_questions(observer.facts.system), Here(observer))


def _questions(system: str) -> Sequence[Question]:
    if system in (System.WINDOWS, System.DARWIN):
        from bindcheck.doctor import elsewhere

        return elsewhere.WINDOWS if system == System.WINDOWS else elsewhere.DARWIN
    from bindcheck.doctor import call, networks, owners, settings, tables, waiting

    return (
        *call.QUESTIONS,
        *tables.QUESTIONS,
        *owners.QUESTIONS,
        *waiting.QUESTIONS,
        *networks.QUESTIONS,
        *settings.QUESTIONS,
    )
