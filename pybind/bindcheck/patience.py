"""Calls that may wait for ever in the kernel or on the network, given a time."""

from __future__ import annotations

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")


class UnansweredError(Exception):
    """The time was over."""


def in_time(call: Callable[[], Result], seconds: float) -> Result:
    """Make a call that cannot be interrupted, in a thread that is left alone then.

    Raises:
        UnansweredError: it did not return within so many seconds.
    """
    import threading

    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            errors.append(error)

    worker = threading.Thread(target=run, name="bindcheck", daemon=True)
    try:
        worker.start()
    except RuntimeError:  # no thread is to be had, as when the interpreter ends
        return call()
    worker.join(max(0.0, seconds))
    if errors:
        raise errors[0]
    if not results:
        raise UnansweredError
    return results[0]
