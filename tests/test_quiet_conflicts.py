"""Conflicts that raise no error are warnings with evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck.words import Verdict, WarningCode
from tests.support import Holder, needs

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    needs("socket tables", "network namespaces", "IPv6"),
    pytest.mark.usefixtures("network"),
]
PORT = 8080  # below the ephemeral range, in a network of the test's own


def warnings(target: str, *, reuse_port: bool | None = None) -> dict[str, str]:
    (found,) = bindcheck.diagnose(target, reuse_port=reuse_port)
    assert found.verdict is Verdict.BINDABLE
    return {one.code: one.text for one in found.warnings}


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        ("::1", f"127.0.0.1:{PORT}"),
        ("::1", f"0.0.0.0:{PORT}"),
        ("127.0.0.1", f"[::1]:{PORT}"),
        ("0.0.0.0", f"[::1]:{PORT}"),  # noqa: S104
    ],
)
def test_listener_of_the_other_family_shadows_localhost(
    holder: Holder, held: str, asked: str
) -> None:
    holder.bind(held, PORT, listen=True)
    said = warnings(asked)
    assert list(said) == [WarningCode.SHADOWED]
    assert f"(pid {holder.pid})" in said[WarningCode.SHADOWED]


def test_what_does_not_answer_for_localhost_is_no_warning(holder: Holder) -> None:
    holder.bind("::1", PORT)  # bound, and not listening
    assert warnings(f"127.0.0.1:{PORT}") == {}
    holder.bind("127.0.0.2", PORT, listen=True, name="other")
    assert warnings(f"127.0.0.1:{PORT}") == {}
    assert warnings(f"127.0.0.1:{PORT}/udp") == {}


def test_twin_with_reuse_port_is_named(make_holder: Callable[..., Holder]) -> None:
    holder = make_holder()
    holder.bind(port=PORT, listen=True, reuse_port=True)
    said = warnings(f"127.0.0.1:{PORT}", reuse_port=True)
    assert list(said) == [WarningCode.SHARED_PORT]
    assert f"(pid {holder.pid})" in said[WarningCode.SHARED_PORT]


def test_port_in_the_ephemeral_range_until_it_is_reserved() -> None:
    assert list(warnings("127.0.0.1:40000")) == [WarningCode.EPHEMERAL_RANGE]
    path = "/proc/sys/net/ipv4/ip_local_reserved_ports"
    with open(path, "w", encoding="ascii") as file:
        file.write("39999-40001,50000")
    assert warnings("127.0.0.1:40000") == {}
    assert warnings("127.0.0.1:50000") == {}
    assert list(warnings("127.0.0.1:50001")) == [WarningCode.EPHEMERAL_RANGE]
