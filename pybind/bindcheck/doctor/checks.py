"""A check: a question about this machine, how it is answered, and the answer."""

from __future__ import annotations

from enum import StrEnum

from bindcheck.errors import BindcheckError
from bindcheck.records import record
from bindcheck.sanitize import sanitize

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bindcheck.doctor.here import Here
    from bindcheck.model import NativeCode


class Group(StrEnum):
    """What a check is about: the heading above it."""

    CALL = "the call"
    TABLES = "socket tables"
    OWNERS = "owners"
    WAITING = "waiting"
    SURROUNDINGS = "where this is"
    SETTINGS = "what explains results"


@record(frozen=True, slots=True, kw_only=True)
class Answer:
    """What trying showed. `ok` None: in part, or not known."""

    ok: bool | None
    text: str
    widen: str | None = None
    """What would let bindcheck see more."""
    as_root: bool = False
    """Whether root, by sudo, would see more."""
    command: tuple[str, ...] | None = None
    """To be typed before bindcheck is asked again."""


@record(frozen=True, slots=True, kw_only=True)
class Question:
    """Something to find out; `ask` may raise OSError where a call is missing."""

    name: str
    group: Group
    title: str
    ask: Callable[[Here], Answer]
    summary: str = ""
    """What is said of it where all is well; empty: nothing."""


@record(frozen=True, slots=True, kw_only=True)
class Check:
    """A question and its answer."""

    name: str
    group: Group
    title: str
    summary: str
    ok: bool | None
    text: str
    widen: str | None
    as_root: bool
    command: tuple[str, ...] | None
    tried: bool = True

    @property
    def is_setting(self) -> bool:
        """Whether it hides nothing, whatever it says."""
        return self.group is Group.SETTINGS


def answered(questions: Iterable[Question], here: Here) -> tuple[Check, ...]:
    """Ask every question; one that cannot be asked keeps no other from its answer."""
    return tuple(_answered(one, here) for one in questions)


def _answered(question: Question, here: Here) -> Check:
    tried = True
    try:
        answer = question.ask(here)
    except (OSError, BindcheckError, ImportError, ValueError) as error:
        text = f"could not be tried: {sanitize(str(error))}"
        answer, tried = Answer(ok=None, text=text), False
    return Check(
        name=question.name,
        group=question.group,
        title=question.title,
        summary=question.summary,
        ok=answer.ok,
        text=answer.text,
        widen=answer.widen,
        as_root=answer.as_root,
        command=answer.command,
        tried=tried,
    )


def said(error: NativeCode | None) -> str:
    """Write a native error with its number."""
    if error is None:
        return "no reason is told"
    return " ".join([str(error.code), *([error.name] if error.name else [])])
