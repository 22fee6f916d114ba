"""Searches for holders that answer what a test lets them answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindcheck import native

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest


class _Search:
    def __init__(
        self, inodes: Sequence[int], answer: Callable[[Sequence[int]], native.Scan]
    ) -> None:
        self.inodes = inodes
        self.answer = answer

    def wait(self, _: float) -> native.Scan:
        return self.answer(self.inodes)


def answer_with(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[Sequence[int]], native.Scan]
) -> None:
    """Let a function say who has the sockets with these inodes."""
    monkeypatch.setattr(native, "Search", lambda inodes: _Search(inodes, answer))
