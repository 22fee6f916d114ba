"""A diagnosis in the log, for servers that catch a bind error and only log it.

The filter drops nothing: it puts the diagnosis below the message of a record that tells
of a bind error, or at the end of its traceback. Of a record that brings no exception
(gunicorn's) the one that is being handled while it is logged says which address it was.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time

from bindcheck.records import record

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from bindcheck.model import Diagnosis, Report
    from bindcheck.target import Request

_TIMEOUT_SECONDS = 2.0
_PAUSE_SECONDS = 1.0  # what servers wait before they try again
_MOST_KEPT = 64
_LONGEST = 4096  # characters of a message that are read
_MARK = "\nbindcheck: "
# One of these is in every text that tells of a bind error by itself.
_WORDS = ("in use", "addrinuse", "10048", "bind", "listen", "allocated")


class BindErrorFilter(logging.Filter):
    """Put a diagnosis into records that tell of a bind error.

    It stands below the message, of a record with a traceback at the end of that, as a
    note of the exception. For a logger or a handler; in a dictConfig
    ``"filters": {"bindcheck": {"()": "bindcheck.logs.BindErrorFilter"}}``. A record of
    level WARNING or above tells of one if its exc_info is one, if its message or one of
    its arguments is one, or if its text says so and names an address of this machine.

    The answer is given once for each error and address, and again when it is another
    one. Nothing is raised and no record is dropped. A diagnosis takes some 20 ms, in the
    thread that logs.

    Args:
        timeout: seconds that it may take.
    """

    def __init__(self, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        super().__init__()
        self._timeout = timeout

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass, with the diagnosis where there is one."""
        if record.levelno >= logging.WARNING:
            # Whatever goes wrong here must not keep the record from the log.
            with contextlib.suppress(Exception):
                self._look_at(record)
        return True

    def _look_at(self, record: logging.LogRecord) -> None:
        message = _message_of(record)
        if _MARK in message:
            return  # another filter was here
        deadline = time.monotonic() + self._timeout
        text = message[:_LONGEST]
        told = list(_errors_of(record, text))
        if not told and any(one in text.lower() for one in _WORDS) and _tells(text):
            told = [_Told(error=text, words=text)]
        lines = []
        for one in told:
            note = _diagnose(one, deadline)
            if not note:
                continue
            if isinstance(one.error, OSError):
                _put_on(one.error, note)
            if one.in_traceback:
                record.exc_text = None  # formatted anew, with the note
            else:
                lines.append(note)
        if lines and message:
            record.msg, record.args = "\n".join([message, *lines]), ()


def install(
    logger_name: str | None = None, *, timeout: float = _TIMEOUT_SECONDS
) -> BindErrorFilter:
    """Add a BindErrorFilter to a logger and to the handlers that its records reach.

    Call it when logging has been set up: handlers that are added later have no filter.

    Args:
        logger_name: None is the root logger.
        timeout: seconds that a diagnosis may take.

    Returns:
        The filter.
    """
    added = BindErrorFilter(timeout=timeout)
    logger = logging.getLogger(logger_name)
    places: list[logging.Filterer] = [logger]
    step: logging.Logger | None = logger
    while step is not None:
        places += step.handlers
        step = step.parent if step.propagate else None
    if len(places) == 1 and logging.lastResort is not None:
        places.append(logging.lastResort)
    for place in places:
        if not any(isinstance(one, BindErrorFilter) for one in place.filters):
            place.addFilter(added)
    return added


def _message_of(record: logging.LogRecord) -> str:
    """The text of a record; empty where it is none or cannot be formatted."""
    if not isinstance(record.msg, (str, BaseException)):
        return ""  # a dictionary, as structured logs have it
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - its arguments are not ours
        return ""


def _put_on(error: OSError, note: str) -> None:
    """Then explained() has nothing to add, and a traceback shows it."""
    from bindcheck.explaining import is_explained

    if not is_explained(error):
        error.add_note(note)


@record(frozen=True, slots=True, kw_only=True)
class _Told:
    """An error that a record tells of, and the words that may name its address."""

    error: OSError | str
    words: str
    in_traceback: bool = False


def _errors_of(record: logging.LogRecord, text: str) -> Iterator[_Told]:
    """The bind errors that a record is about."""
    caught = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    arguments = record.args.values() if isinstance(record.args, dict) else record.args
    given = {
        id(one): one
        for one in (record.msg, *(arguments or ()))
        if isinstance(one, OSError) and one is not caught
    }
    handled = sys.exception() if caught is None and not given else None
    if caught is None and not given and handled is None:
        return
    from bindcheck.explaining import bind_errors, is_bind_error

    if caught is not None:
        for one in bind_errors(caught):
            words = f"{text}: {caught}: {one}"
            yield _Told(error=one, words=words, in_traceback=True)
    for one in given.values():
        if is_bind_error(one):
            yield _Told(error=one, words=f"{text}: {one}")
    if handled is not None:
        # What is logged meanwhile may be about something else.
        for one in bind_errors(handled):
            if (one.strerror and one.strerror in text) or _tells(text):
                yield _Told(error=one, words=f"{text}: {one}")


def _tells(text: str) -> bool:
    """Whether a text tells of an error of bind."""
    from bindcheck.error_text import read_error_text
    from bindcheck.errors import UsageError

    try:
        read_error_text(text)
    except UsageError:
        return False
    return True


@record(frozen=True, slots=True, kw_only=True)
class _Case:
    """An error to be diagnosed; `target` and `protocol` are as explain() takes them."""

    target: str | None
    protocol: str | None
    code: int
    request: Request

    @property
    def key(self) -> Hashable:
        """What its answer is kept under."""
        one = self.request
        return self.code, one.host, one.port, one.packed, one.protocol


def _case_of(told: _Told) -> _Case | None:
    """The address is that of the call that failed, else the one that the words name."""
    from bindcheck.own_failure import failure_of, reported_by
    from bindcheck.words import Protocol

    reported = reported_by(told.error)
    if reported is None:
        return None  # of another system
    code = reported.code
    if isinstance(told.error, OSError):
        request = failure_of(told.error, None, None, None).request
        if request is not None:
            return _Case(target=None, protocol=None, code=code, request=request)
    named = failure_of(told.words, None, None, None).request
    if named is None or (named.is_name and named.host != "localhost"):
        return None  # no host name is looked up because of a log
    protocol = None if named.protocol is Protocol.TCP else named.protocol
    return _Case(target=named.requested, protocol=protocol, code=code, request=named)


def _diagnose(told: _Told, deadline: float) -> str:
    """The text of a diagnosis; nothing where the answer is known, or not to be believed."""
    case = _case_of(told)
    if case is None or not _answers.is_due(case.key):
        return ""
    from bindcheck.errors import BindcheckError
    from bindcheck.explaining import explain, note_of_report

    of_text = isinstance(told.error, str)
    left = max(0.0, deadline - time.monotonic())
    try:
        report = explain(told.error, case.target, protocol=case.protocol, timeout=left)
    except BindcheckError as trouble:
        note = f"{_MARK.strip()} not diagnosed: {trouble}"
        return note if not of_text and _answers.is_new(case.key, note) else ""
    if of_text and not any(_bears_out(one, case.code) for one in report):
        return ""
    is_new = _answers.is_new(case.key, _answer(report))
    return note_of_report(report) if is_new else ""


def _bears_out(one: Diagnosis, code: int) -> bool:
    """Whether a bind fails now as a text says, and not because of this very process.

    A server that talks of its own address is no reason to diagnose it.
    """
    from bindcheck.words import Trait

    error = one.attempt.error
    own = any(Trait.SAME_PROCESS in blocker.owner.traits for blocker in one.blockers)
    return error is not None and error.code == code and not own


def _answer(report: Report) -> Hashable:
    """What makes an answer another one: not that some seconds went by."""
    return tuple(
        (
            one.target.text,
            one.verdict,
            tuple(cause.code for cause in one.causes),
            tuple(
                (blocker.kind, tuple(has.pid for has in blocker.owner.processes))
                for blocker in one.blockers
            ),
        )
        for one in report
    )


class _Answers:
    """What this process's log has been told, by error and address."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[Hashable, tuple[float, float, Hashable]] = {}

    def is_due(self, case: Hashable) -> bool:
        """Whether to look again; then nobody else does for a while."""
        with self._lock:
            now = time.monotonic()
            begun, until, answer = self._last.pop(case, (now, now, None))
            due = now >= until
            if due:
                begun, until = now, now + _PAUSE_SECONDS
            self._last[case] = begun, until, answer
            if len(self._last) > _MOST_KEPT:
                del self._last[next(iter(self._last))]
            return due

    def is_new(self, case: Hashable, answer: Hashable) -> bool:
        """Whether an answer differs from the last one."""
        with self._lock:
            now = time.monotonic()
            begun, until, last = self._last.get(case, (now, now, None))
            # Where it takes long, a server that tries again is not held up each time.
            self._last[case] = begun, max(until, now + 5 * (now - begun)), answer
            return answer != last


_answers = _Answers()
