"""Answers of the kernel's socket query that are cut, broken, late, or not the kernel's.

A broken dump is not half an answer: the text tables are read then, and it is said.
"""

from __future__ import annotations

import pytest

from tests.support import Holder, needs
from tests.support.faults import Asked, blames, nobody_is_wronged, run_here
from tests.support.preloaded import COMPILER, preload, run_preloaded

pytestmark = [needs("socket tables", COMPILER), pytest.mark.usefixtures("network")]

# Of these nothing is missed.
HARMLESS = (
    "half an attribute",
    "long attribute",
    "changed meanwhile",
    "another sender",
    "acknowledgement",
)
# By what is said then.
REPORTED = {
    "half a message": "Bad message",
    "half a header": "Bad message",
    "error in the middle": "Input/output error",
    "no end": "Resource temporarily unavailable",
    "cut datagram": "Input/output error",
    "empty datagram": "Input/output error",
    "no buffer": "No buffer space available",
}


def asked(fault: str, *arguments: str) -> Asked:
    environment = preload("spoilt_netlink", NETLINK_FAULT=fault)
    return Asked(run_here(arguments), run_preloaded([*arguments], environment))


def limits(found: Asked) -> set[tuple[str, str]]:
    return {(one["code"], one["text"]) for one in found.after.limits}


@pytest.mark.parametrize("kind", ["tcp", "udp"])
class TestPort:
    @pytest.mark.parametrize("fault", HARMLESS)
    def test_nothing_is_missed(self, holder: Holder, fault: str, kind: str) -> None:
        port = holder.bind(kind=kind, listen=kind == "tcp")
        found = asked(fault, "--json", f"127.0.0.1:{port}/{kind}")
        assert blames(found.after) == blames(found.before)
        assert "bound-sockets-not-listed" not in {code for code, _ in limits(found)}

    @pytest.mark.parametrize("fault", REPORTED)
    def test_the_text_table_is_read(
        self, holder: Holder, fault: str, kind: str
    ) -> None:
        port = holder.bind(kind=kind, listen=kind == "tcp")
        found = asked(fault, "--json", f"127.0.0.1:{port}/{kind}")
        assert blames(found.after) == blames(found.before)
        (text,) = [
            text for code, text in limits(found) if code == "bound-sockets-not-listed"
        ]
        assert f"({REPORTED[fault]})" in text

    @pytest.mark.parametrize("fault", REPORTED)
    def test_list(self, holder: Holder, fault: str, kind: str) -> None:
        port = holder.bind(kind=kind, listen=kind == "tcp")
        found = asked(fault, "list", "--json", str(port))
        assert blames(found.after) == blames(found.before)
        assert "bound-sockets-not-listed" in {code for code, _ in limits(found)}


@pytest.mark.parametrize("fault", [*HARMLESS, *REPORTED, "no buffer once"])
def test_socket_that_only_the_query_shows(holder: Holder, fault: str) -> None:
    """Bound and not listening: it is found by its descriptor, or said to be unseen."""
    port = holder.bind()
    found = asked(fault, "--json", f"127.0.0.1:{port}")
    (result,) = found.after.results
    assert result["verdict"] == "blocked"
    nobody_is_wronged(found, holder)
    if blames(found.after) != blames(found.before):
        assert "bound-sockets-not-listed" in {code for code, _ in limits(found)}


@pytest.mark.parametrize("fault", REPORTED)
def test_unix_socket(holder: Holder, fault: str) -> None:
    """There is no text table that tells whose file it is."""
    name = f"@bindcheck-{holder.pid}"
    holder.run(
        "one = kept['main'] = socket.socket(socket.AF_UNIX)\n"
        f"one.bind('\\0{name[1:]}'); one.listen()"
    )
    found = asked(fault, "--json", f"unix:{name}")
    (result,) = found.after.results
    assert result["verdict"] == "blocked"
    assert [one["code"] for one in result["causes"]] == ["unseen-blocker"]
    text = f"the kernel lists no unix sockets ({REPORTED[fault]})"
    assert ("no-socket-table", text) in limits(found)


@pytest.mark.parametrize("fault", [one for one in REPORTED if "half" not in one])
def test_nobody_is_said_to_have_it_with_a_limit(holder: Holder, fault: str) -> None:
    port = holder.bind()
    holder.close()  # there are no rows now, of which half could be sent
    found = asked(fault, "list", "--json", str(port))
    assert found.after.status == 1
    assert found.after.form["sockets"] == []
    assert "bound-sockets-not-listed" in {code for code, _ in limits(found)}
