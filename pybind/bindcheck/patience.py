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

    Raises:
        RuntimeError: no thread is to be had, as when the interpreter ends.
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
        done.acquire(timeout=max(0.0, seconds))
        if errors:
            raise errors[0]
        if not results:
            raise UnansweredError
        return results[0]

    start_new_thread(run, ())
    return wait


def in_time(call: Callable[[], Result], seconds: float) -> Result:
    """Make a call that cannot be interrupted, in a thread that is left alone then.

    Where no thread is to be had it is made at once.

    Raises:
        UnansweredError: it did not return within so many seconds.
    """
    try:
        wait = begin(call)
    except RuntimeError:
        return call()
    return wait(seconds)
