"""What Python programs may get wrong: an error that names the argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import bindcheck

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS = "127.0.0.1:0"
BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"reuse_address": 2}, TypeError),
    ({"reuse_address": "x"}, TypeError),
    ({"reuse_port": []}, TypeError),
    ({"device": b"lo"}, TypeError),
    ({"device": 5}, TypeError),
    ({"backlog": "x", "listen": True}, TypeError),
    ({"backlog": 2**40, "listen": True}, ValueError),
]


@pytest.mark.parametrize("call", [bindcheck.diagnose, bindcheck.probe])
@pytest.mark.parametrize("target", [ADDRESS, ("127.0.0.1", 0)])
@pytest.mark.parametrize(("options", "kind"), BAD_OPTIONS)
def test_options(
    call: Callable[..., object], target: Any, options: dict[str, Any], kind: type
) -> None:
    with pytest.raises(kind, match=f"^{next(iter(options))}: "):
        call(target, **options)


@pytest.mark.parametrize(("options", "kind"), BAD_OPTIONS)
def test_options_of_a_parsed_target(options: dict[str, Any], kind: type) -> None:
    target = bindcheck.parse_target(ADDRESS)
    with pytest.raises(kind, match=": "):
        bindcheck.probe(target, **options)


def test_numbers_that_are_as_good_as_booleans() -> None:
    assert bindcheck.probe(ADDRESS, reuse_address=1).ok  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("port", "kind"),
    [(-1, ValueError), (70000, ValueError), (True, TypeError), ("80", TypeError)],
)
def test_ports(port: Any, kind: type) -> None:
    with pytest.raises(kind, match=r"^port: "):
        bindcheck.sockets(port=port)
