"""Kernels whose tables do not show bound sockets: the descriptors are asked instead.

On a newer kernel the fallback tables of /proc/net are as blind, which makes the same
situation with real sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.records import replace
from bindcheck.words import CauseCode, Protocol, State
from tests.support import NOBODY, Holder, as_user, needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from bindcheck.model import Diagnosis

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide bound TCP sockets from the tables, as kernels before 6.8 do."""
    real = native.list_sockets

    def list_sockets(protocol: Protocol, port: int, **how: bool) -> native.Listing:
        listing = real(protocol, port, **how)
        seen = [
            row
            for row in listing.sockets
            if row.state is not State.CLOSE or protocol is not Protocol.TCP
        ]
        return replace(
            listing,
            sockets=tuple(seen),
            bound=False if how.get("tries_bound") else None,
        )

    monkeypatch.setattr(native, "list_sockets", list_sockets)


def ask(address: str, port: int) -> Diagnosis:
    (found,) = bindcheck.diagnose((address, port))
    return found


@needs("root")
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])  # noqa: S104
def test_bound_socket_is_found_by_its_descriptor(
    monkeypatch: pytest.MonkeyPatch, holder: Holder, address: str
) -> None:
    port = holder.bind(address)
    holder.bind(name="another port")
    blind(monkeypatch)
    found = ask("127.0.0.1", port)
    assert [cause.code for cause in found.causes] == [CauseCode.BOUND]
    (blocker,) = found.blockers
    assert blocker.socket.inode == holder.inode()
    (process,) = blocker.owner.processes
    assert (process.pid, process.fds) == (holder.pid, (holder.fd(),))


@needs("root")
def test_without_the_right_it_says_what_could_not_be_asked(
    monkeypatch: pytest.MonkeyPatch, make_holder: Callable[..., Holder]
) -> None:
    port = make_holder().bind()
    blind(monkeypatch)
    found = as_user(NOBODY, lambda: ask("127.0.0.1", port))
    assert [cause.code for cause in found.causes] == [CauseCode.UNSEEN_BLOCKER]
    assert found.blockers == ()
    assert "bound and not listening" in found.causes[0].evidence[1]
    assert "processes-unreadable" in {limit.code for limit in found.limits}


@needs("root")
def test_own_sockets_can_be_asked_without_root(
    monkeypatch: pytest.MonkeyPatch, make_holder: Callable[..., Holder]
) -> None:
    """An ordinary user may trace programs of their own."""
    holder = make_holder(uid=NOBODY)
    port = holder.bind()
    blind(monkeypatch)
    found = as_user(NOBODY, lambda: ask("127.0.0.1", port))
    assert [cause.code for cause in found.causes] == [CauseCode.BOUND]
    assert found.blockers[0].owner.processes[0].pid == holder.pid


@needs("root")
def test_datagrams_have_nothing_to_do_with_it(
    monkeypatch: pytest.MonkeyPatch, holder: Holder
) -> None:
    port = holder.bind()
    holder.bind(port=port, kind="udp", name="udp")
    blind(monkeypatch)
    (found,) = bindcheck.diagnose(("127.0.0.1", port), protocol="udp")
    assert [one.socket.inode for one in found.blockers] == [holder.inode("udp")]


@needs("root")
def test_bound_socket_behind_another_refusal_is_foretold(
    monkeypatch: pytest.MonkeyPatch, make_holder: Callable[..., Holder]
) -> None:
    holder = make_holder(uid=0)
    port = holder.bind("0.0.0.0")  # noqa: S104
    blind(monkeypatch)
    found = ask("192.0.2.77", port)
    assert found.causes[0].code is CauseCode.ADDRESS_NOT_LOCAL
    (following,) = found.next_errors
    assert following.cause is CauseCode.BOUND
    assert found.blockers[0].socket.inode == holder.inode()


@needs("root", "network namespaces")
def test_hidden_sockets_count_where_ports_run_out(
    monkeypatch: pytest.MonkeyPatch, holder: Holder
) -> None:
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as file:
        file.write("40000 40001")
    holder.bind(name="one")
    holder.bind(name="other")
    blind(monkeypatch)
    found = ask("127.0.0.1", 0)
    assert found.causes[0].code is CauseCode.EPHEMERAL_PORTS_EXHAUSTED
    assert "2 of 2 ports taken for 127.0.0.1 (tcp)" in found.causes[0].evidence
    assert any(f"(pid {holder.pid})" in line for line in found.causes[0].evidence)
