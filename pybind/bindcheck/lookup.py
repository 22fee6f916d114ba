"""From a request to its addresses: literals, zones, and names that are looked up."""

from __future__ import annotations

import os
import time

from bindcheck import native
from bindcheck.errors import TargetError
from bindcheck.model import Attempt, NativeCode, Options, Target
from bindcheck.patience import UnansweredError, in_time
from bindcheck.target import make_target
from bindcheck.words import Domain, Family, Step

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bindcheck.target import Request


def literal(request: Request) -> Target | Attempt:
    """Give the target of a literal address; a failed attempt for an unknown zone."""
    family = request.family or Family.INET
    scope_id = None
    if request.scope is not None:
        scope_id = native.interface_index(request.scope)
        number = request.scope
        if scope_id is None and number.isascii() and number.isdigit():
            scope_id = int(number) if 0 < int(number) <= 0xFFFFFFFF else None
        if scope_id is None:
            answer = native.resolve(f"{request.host}%{request.scope}", family)
            return _failed_lookup(request, answer)
    return make_target(
        family,
        request.packed,
        request.port,
        request.protocol,
        scope_id=scope_id,
        scope=request.scope,
    )


def targets_of(
    request: Request, *, deadline: float | None = None
) -> Iterator[Target | Attempt]:
    """Give the targets of a request, or the attempt whose look-up failed."""
    if not request.is_name:
        yield literal(request)
        return
    answer = _resolve(request, deadline)
    if not isinstance(answer, tuple):
        yield _failed_lookup(request, answer)
        return
    for one in answer:
        yield make_target(
            one.family,
            one.packed,
            request.port,
            request.protocol,
            scope_id=one.scope_id,
        )


def _resolve(
    request: Request, deadline: float | None
) -> tuple[native.Resolved, ...] | NativeCode | None:
    """Look a name up; None when the time was over."""
    host = request.host or ""
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise TargetError(f"{request.requested!r}: {host!r} is no host name") from error
    if deadline is None or name == "localhost":
        return native.resolve(name, request.family)
    left = deadline - time.monotonic()
    try:
        return in_time(lambda: native.resolve(name, request.family), left)
    except UnansweredError:
        return None


def _failed_lookup(request: Request, answer: object) -> Attempt:
    if isinstance(answer, NativeCode):
        answer = _descriptor_limit() or answer
    target = Target(
        text=f"{request.requested}",
        family=request.family,
        protocol=request.protocol,
        # A literal address fails by its zone.
        address=request.host if request.packed else None,
        port=request.port,
    )
    return Attempt(
        target=target,
        options=Options(),
        ok=False,
        native=isinstance(answer, NativeCode),
        step=Step.RESOLVE,
        argument=None,
        error=answer if isinstance(answer, NativeCode) else None,
        bound=None,
    )


def _descriptor_limit() -> NativeCode | None:
    """The error of opening a file now; getaddrinfo calls it "name not known"."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return native.error(Domain.ERRNO, error.errno or 0)
    return None
