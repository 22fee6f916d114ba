"""Attributes that are made when they are read first.

functools.cached_property of Python 3.11 makes one thread wait for another, of whatever
instance, and a fork meanwhile leaves the child waiting for ever.
"""

from __future__ import annotations

__all__ = ["once"]

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable
    from functools import cached_property as once
else:

    class once:
        """Of a method what it returns first, kept in the instance."""

        def __init__(self, make: Callable[[object], object]) -> None:
            self.make = make
            self.__doc__ = make.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, one: object, owner: type | None = None) -> object:
            if one is None:
                return self
            made = one.__dict__[self.name] = self.make(one)
            return made
