"""probe() without options takes a shorter way to the same answer."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
import socket
from operator import attrgetter
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.model import PLAIN, Attempt, Endpoint, Options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CASES = [
    "127.0.0.1",
    "0.0.0.0",  # noqa: S104
    "[::1]",
    "[::]",
    "127.0.0.1/udp",
    "[::1]/udp",
]
# 192.0.2.0/24 is nobody's (RFC 5737).
REFUSED = ["192.0.2.1:0", "[2001:db8::1]:0", "192.0.2.1:0/udp"]


def both(text: str) -> tuple[Attempt, Attempt]:
    """The answer by the short way and by the long one."""
    target = bindcheck.parse_target(text)
    return bindcheck.probe(target), native.probe(target, Options())


def with_port(text: str, port: int) -> str:
    address, slash, protocol = text.partition("/")
    return f"{address}:{port}{slash}{protocol}"


def free_port(text: str) -> int:
    """A port that the kernel gave to this address a moment ago."""
    bound = bindcheck.probe(bindcheck.parse_target(with_port(text, 0))).bound
    assert bound is not None
    return bound.port


@pytest.mark.parametrize("text", CASES)
@pytest.mark.usefixtures("network")
def test_what_works(text: str) -> None:
    short, long = both(with_port(text, free_port(text)))
    assert short == long
    assert short.ok


@pytest.mark.parametrize("text", CASES)
def test_a_port_of_the_systems_choice(text: str) -> None:
    short, long = both(with_port(text, 0))
    assert short.bound is not None
    assert long.bound is not None
    assert short.bound.port != 0
    assert short.bound.address == long.bound.address
    assert short.ok
    assert (short.step, short.error, short.argument) == (None, None, None)


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused(text: str) -> None:
    short, long = both(text)
    assert short == long
    assert short.ok is False
    assert short.error is not None
    assert short.error.symbol == "EADDRNOTAVAIL"


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        short, long = both(f"127.0.0.1:{server.getsockname()[1]}")
    assert short == long
    assert short.error is not None
    assert short.error.symbol == "EADDRINUSE"
    assert short.bound is None


@pytest.mark.parametrize(
    "seen",
    [
        repr,
        hash,
        lambda one: pickle.loads(pickle.dumps(one)),  # noqa: S301 - our own
        dataclasses.asdict,
        copy.copy,
        *map(attrgetter, ("options", "native", "bound", "step")),
    ],
    ids=str,
)
def test_parts_that_nobody_has_read_are_there(
    seen: Callable[[Attempt], object],
) -> None:
    target = bindcheck.parse_target("127.0.0.1:0")
    one = bindcheck.probe(target)
    assert one.bound is not None
    whole = Attempt(
        target=target,
        options=PLAIN,
        ok=True,
        native=True,
        step=None,
        argument=None,
        error=None,
        bound=Endpoint(address="127.0.0.1", port=one.bound.port),
    )
    assert seen(one) == seen(whole)


def test_there_are_no_other_parts() -> None:
    one = bindcheck.probe(bindcheck.parse_target("127.0.0.1:0"))
    with pytest.raises(AttributeError, match="'bounds'"):
        _ = one.bounds  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="frozen"):
        one.ok = False  # type: ignore[misc]


def test_a_name_of_four_bytes_is_no_address() -> None:
    """An abstract unix socket: its name begins with a zero byte."""
    name = f"@{os.getpid() % 1000:03}"
    target = bindcheck.parse_target(f"unix:{name}")
    assert len(target.packed) == 4
    assert bindcheck.probe(target) == bindcheck.probe(f"unix:{name}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(target.packed)
        again = bindcheck.probe(target)
    assert again.error is not None
    assert again.error.symbol == "EADDRINUSE"


def test_a_path_that_was_parsed(tmp_path: Path) -> None:
    target = bindcheck.parse_target(f"unix:{tmp_path}/socket")
    for _ in range(2):  # what the first one made is gone
        assert bindcheck.probe(target).ok
