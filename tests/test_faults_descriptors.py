"""No descriptor is left (EMFILE): at each step of each verb, 0, 1, 2 ... to spare.

Either the answer is the right one, or it says that there were no descriptors.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from tests.support import Holder, needs
from tests.support.faults import Answer, Asked, ask, blames, nobody_is_wronged
from tests.support.rings import RING

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]

# The walk over /proc has four open, and each thread of it as many again but one.
MOST = 12
_STANDARD = 4  # descriptors of the child


def starved(arguments: list[str], spare: int) -> Asked:
    """The command with so many descriptors to spare."""

    def limit() -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (_STANDARD + spare, hard))

    asked = ask(arguments, limit)
    assert asked.after.left == frozenset()
    return asked


def says_why(asked: Asked) -> bool:
    """Whether the answer names the descriptors as what it lacked."""
    texts = [one["text"] for one in asked.after.limits]
    texts += [
        f"{cause['code']} {cause['summary']}"
        for one in asked.after.form.get("results", ())
        for cause in one["causes"]
    ]
    return any(
        "open no more files" in text or "Too many open files" in text for text in texts
    )


def verdicts(answer: Answer) -> list[tuple[str, list[str]]]:
    return [
        (one["verdict"], [cause["code"] for cause in one["causes"]])
        for one in answer.results
    ]


def is_honest(asked: Asked, holder: Holder) -> None:
    """Nothing false is said, and what is missing is explained."""
    if verdicts(asked.after) == [("unknown", ["descriptor-limit"])]:
        assert asked.after.status == 3
        return
    assert verdicts(asked.after) == verdicts(asked.before)
    nobody_is_wronged(asked, holder)
    if blames(asked.after) != blames(asked.before):
        assert says_why(asked), asked.after.limits


@pytest.mark.parametrize("spare", range(MOST))
class TestVerbs:
    def test_check_of_a_listener(self, holder: Holder, spare: int) -> None:
        port = holder.bind(listen=True)
        is_honest(starved(["--json", f"127.0.0.1:{port}"], spare), holder)

    def test_check_of_a_receiver(self, holder: Holder, spare: int) -> None:
        """Asked with SO_REUSEADDR: the answer rests on the holder's options."""
        port = holder.bind(kind="udp", reuse_address=True)
        target = f"127.0.0.1:{port}/udp"
        is_honest(starved(["--json", "--reuseaddr", target], spare), holder)

    def test_check_of_a_free_port(self, holder: Holder, spare: int) -> None:
        port = holder.bind()
        holder.close()
        is_honest(starved(["--json", f"127.0.0.1:{port}"], spare), holder)

    def test_check_of_a_name(self, holder: Holder, spare: int) -> None:
        port = holder.bind(listen=True)
        is_honest(starved(["--json", "-4", f"localhost:{port}"], spare), holder)

    def test_check_of_a_path(self, holder: Holder, tmp_path: Path, spare: int) -> None:
        is_honest(starved(["--json", f"unix:{tmp_path}/absent"], spare), holder)

    def test_check_of_a_unix_listener(
        self, holder: Holder, tmp_path: Path, spare: int
    ) -> None:
        path = str(tmp_path / "socket")
        holder.run(
            "one = kept['main'] = socket.socket(socket.AF_UNIX)\n"
            f"one.bind({path!r}); one.listen()"
        )
        asked = starved(["--json", f"unix:{path}"], spare)
        if spare:
            is_honest(asked, holder)
            return
        # Without a table nothing tells it from a file that was left behind.
        (cause,) = asked.after.results[0]["causes"]
        assert (cause["code"], cause["certainty"]) == ("stale-socket-file", "possible")
        assert says_why(asked)

    def test_wait(self, holder: Holder, spare: int) -> None:
        port = holder.bind(listen=True)
        target = f"127.0.0.1:{port}"
        is_honest(starved(["wait", "--json", "--timeout", "0", target], spare), holder)

    def test_probe(self, holder: Holder, spare: int) -> None:
        port = holder.bind(listen=True)
        asked = starved(["probe", "--json", f"127.0.0.1:{port}"], spare)
        (attempt,) = asked.after.form["attempts"]
        assert attempt["ok"] is False
        step = (attempt["step"], attempt["error"]["name"])
        assert step == (("bind", "EADDRINUSE") if spare else ("socket", "EMFILE"))

    def test_list(self, holder: Holder, spare: int) -> None:
        port = holder.bind(listen=True)
        asked = starved(["list", "--json", str(port)], spare)
        if asked.after.status == 3:
            assert asked.after.form["sockets"] == []
            assert says_why(asked)
            return
        nobody_is_wronged(asked, holder)
        assert [kind for kind, _, _ in blames(asked.after)] == ["listener"]
        if blames(asked.after) != blames(asked.before):
            assert says_why(asked), asked.after.limits


@needs("io_uring that names its files")
@pytest.mark.parametrize("spare", range(1, MOST))
def test_a_socket_without_a_descriptor(holder: Holder, spare: int) -> None:
    """The second walk, over what is registered with io_uring, needs one more."""
    port = holder.bind(listen=True)
    assert holder.run(RING.format(slots=2)) is not None
    is_honest(starved(["--json", f"127.0.0.1:{port}"], spare), holder)
