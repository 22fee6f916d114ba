"""Run a function in a child process that was prepared for it."""

from __future__ import annotations

import importlib
import os
import pickle
import pkgutil
import traceback
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def in_child(prepare: Callable[[], object], function: Callable[[], Result]) -> Result:
    """Call `prepare` and then `function` in a child and return what the latter returns.

    The child is forked, so that what is already imported needs no readable files.
    """
    import_everything()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            prepare()
            answer = pickle.dumps((True, function()))
        except BaseException:  # noqa: BLE001 - all of it goes to the parent
            answer = pickle.dumps((False, traceback.format_exc()))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        ok, result = pickle.loads(pipe.read())  # noqa: S301 - our own child
    os.waitpid(pid, 0)
    assert ok, result
    return result  # type: ignore[no-any-return]


def import_everything() -> None:
    """What is imported when it is first needed may be unreadable for the child."""
    import bindcheck

    for one in pkgutil.walk_packages(bindcheck.__path__, "bindcheck."):
        if not one.name.endswith("__main__"):
            importlib.import_module(one.name)
