"""Calls that may wait for ever in the kernel or on the network, given a time."""

from __future__ import annotations

# The module threading costs a millisecond at every start.
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")


class UnansweredError(Exception):
    """The time was over."""


def begin(call: Callable[[], Result]) -> Callable[[float], Result]:
    """Begin a call that cannot be interrupted, in a thread of its own.

    What is returned waits for it so many seconds, and gives its result or raises what it
    raised. When the time is over it raises UnansweredError; the thread is left alone.
    """
    results: list[Result] = []
    errors: list[BaseException] = []
    done = allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            errors.append(error)
        finally:
            done.release()

    def wait(seconds: float) -> Result:
        if not results and not errors:
            done.acquire(timeout=max(0.0, seconds))
        if errors:
            raise errors[0]
        if not results:
            raise UnansweredError
        return results[0]

    try:
        start_new_thread(run, ())
    except RuntimeError:  # no thread is to be had, as when the interpreter ends
        run()
    return wait


def in_time(call: Callable[[], Result], seconds: float) -> Result:
    """Make a call that cannot be interrupted, in a thread that is left alone then.

    Raises:
        UnansweredError: it did not return within so many seconds.
    """
    return begin(call)(seconds)
