"""A bind error of one's own program, diagnosed where it passes through.

explain() makes a report of an exception, explained() puts it on the exception as a note
(PEP 678). The exception itself is left as it is, and nothing is raised in its place.
"""

from __future__ import annotations

import contextlib
import errno
import sys

from bindcheck.errors import BindcheckError
from bindcheck.words import Domain

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, Self, TextIO, TypeVar

    from bindcheck.model import Report

    Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_TIMEOUT_SECONDS = 2.0
_MARK = "bindcheck: "
# What bind says of an address alone; the others other calls say as often.
_SURE = frozenset({"EADDRINUSE", "EADDRNOTAVAIL"})
_POSSIBLE = frozenset({"EACCES", "EPERM", "EINVAL", "ENODEV", "EROFS", "EAFNOSUPPORT"})


def explain(
    error: BaseException | int | str,
    target: object = None,
    *,
    sock: socket.socket | None = None,
    protocol: str | None = None,
    timeout: float = _TIMEOUT_SECONDS,
) -> Report:
    """Diagnose a bind or listen that failed in your own program.

    The address comes from `target`, else from `sock` where listen() failed, else from
    the call in the exception's traceback, else from its text (asyncio and
    socket.create_server() say it). Without any the report has no results: it has the
    code alone.

    Args:
        error: the OSError, or its number or name, or a line of a log.
        target: as diagnose() takes it.
        sock: the socket: its family, type and options count, and it is left out of what
            is in the way.
        protocol: tcp, udp, ...: where neither target nor socket tells.
        timeout: seconds for all of it.

    Returns:
        A report; `reported` is what your program was told.

    Raises:
        ValueError: the number, name or target is none; or the socket that was to be bound
            has an address already, which is then named.
        BindcheckError: bindcheck itself cannot work, or was not done in time.
    """
    from bindcheck.own_failure import diagnose_failure

    answer: list[Report | BaseException] = []

    def work() -> None:
        try:
            answer.append(diagnose_failure(error, target, sock, protocol))
        except BaseException as trouble:  # noqa: BLE001 - raised again below
            answer.append(trouble)

    _run_for(work, timeout)
    if not answer:
        raise BindcheckError(f"the diagnosis was not done in {timeout:g} s")
    (found,) = answer
    if isinstance(found, BaseException):
        raise found
    return found


def _run_for(work: Callable[[], None], seconds: float) -> None:
    """Run something in a thread, and leave it alone when the time is over."""
    import threading

    thread = threading.Thread(target=work, name="bindcheck-explain", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending
        work()
        return
    thread.join(seconds)


class explained:
    """Put a diagnosis on a bind error that passes through, as a note.

    A context manager, also an asynchronous one, and a decorator of functions and
    coroutine functions::

        with bindcheck.explained():
            server.bind(("127.0.0.1", 8080))

    An error of something else, and one that has the note already, passes as it is. The
    members of an exception group are explained each. Of a program that ends instead
    (SystemExit because of a bind error: Werkzeug, uvicorn) nobody would read a note: the
    text is written to `file`, or to standard error.

    Args:
        target: as explain() takes it.
        sock: as explain() takes it.
        timeout: seconds that the diagnosis may take.
        file: also write the text there, for a program that only logs its errors.
    """

    __slots__ = ("_file", "_sock", "_target", "_timeout")

    def __init__(
        self,
        target: object = None,
        *,
        sock: socket.socket | None = None,
        timeout: float = _TIMEOUT_SECONDS,
        file: TextIO | None = None,
    ) -> None:
        self._target = target
        self._sock = sock
        self._timeout = timeout
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._explain(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and any(bind_errors(error)):
            import asyncio

            await asyncio.to_thread(self._explain, error)

    def __call__(self, function: Decorated) -> Decorated:
        """Explain the bind errors of every call of a function or coroutine function."""
        import functools
        import inspect

        made: Callable[..., Any]
        if inspect.iscoroutinefunction(function):

            async def made(*arguments: Any, **named: Any) -> Any:
                async with self:
                    return await function(*arguments, **named)

        else:

            def made(*arguments: Any, **named: Any) -> Any:
                with self:
                    return function(*arguments, **named)

        return functools.wraps(function)(made)  # type: ignore[return-value]

    def _explain(self, error: BaseException) -> None:
        # Whatever goes wrong here must not take the place of the error.
        with contextlib.suppress(Exception):
            for one in bind_errors(error):
                self._explain_one(one, outer=error)

    def _explain_one(self, error: OSError, *, outer: BaseException) -> None:
        text = note_of(
            error, self._target, sock=self._sock, outer=outer, timeout=self._timeout
        )
        error.add_note(text)
        ending = isinstance(outer, SystemExit)
        file = self._file or (sys.stderr if ending else None)
        if file is not None:
            file.write(f"{text}\n")
            file.flush()


def note_of(
    error: OSError,
    target: object = None,
    *,
    sock: socket.socket | None = None,
    outer: BaseException | None = None,
    timeout: float = _TIMEOUT_SECONDS,
) -> str:
    """What explained() says of an error: never raises for want of an answer.

    `outer` is the exception that took its place; its text may name the address.
    """
    from bindcheck.own_failure import named_beside, reported_by

    try:
        if target is None and outer is not None:
            target = named_beside(error, sock, outer)
        report = explain(error, target, sock=sock, timeout=timeout)
    except (BindcheckError, ValueError, TypeError, OSError) as trouble:
        code = reported_by(error)
        said = f"{code.code} {code.name}, " if code is not None else ""
        return f"{_MARK}{said}not diagnosed: {trouble}"
    return note_of_report(report)


def note_of_report(report: Report) -> str:
    """The text of a note."""
    from bindcheck.own_failure import note_lines

    return _MARK + "\n".join(note_lines(report))


def is_explained(error: BaseException) -> bool:
    """Whether an error has the note."""
    notes = getattr(error, "__notes__", ())
    return any(isinstance(one, str) and one.startswith(_MARK) for one in notes)


def bind_errors(error: BaseException) -> Iterator[OSError]:
    """The errors of bind or listen in an exception that have no note yet."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from bind_errors(one)
        return
    if isinstance(error, OSError) and is_bind_error(error):
        if not is_explained(error):
            yield error
        return
    if isinstance(error, (Exception, SystemExit)):
        # sys.exit() in the handler of the bind error, or an error of the server's own.
        cause = error.__cause__ or error.__context__
        if cause is not None:
            yield from bind_errors(cause)


def is_bind_error(error: OSError) -> bool:
    """Whether an error comes from bind or listen, as far as it tells."""
    name = errno.errorcode.get(error.errno or 0, "").removeprefix("WSA")
    if error.filename is not None or name not in _SURE | _POSSIBLE:
        return False  # open() and the like name their file
    if isinstance(error, ConnectionError):
        return False
    from bindcheck.failed_call import failed_call

    call = failed_call(error)
    if call is None or call.name:
        return True
    if "attempting to bind" in str(error):
        return True
    return name in _SURE and "connect" not in call.function


def code_of(error: OSError) -> tuple[Domain, int] | None:
    """The system's own number of an error, and whose number it is."""
    windows = getattr(error, "winerror", None)
    if windows:
        return (Domain.WINSOCK if windows >= 10000 else Domain.WIN32), windows
    return (Domain.ERRNO, error.errno) if error.errno else None
