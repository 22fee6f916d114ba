"""No memory for the compiled module, and no thread: at each call that it makes."""

from __future__ import annotations

import pytest

from tests.support import Holder, needs
from tests.support.faults import Asked, blames, nobody_is_wronged, run_here
from tests.support.preloaded import COMPILER, preload, run_preloaded

pytestmark = [needs("socket tables", COMPILER), pytest.mark.usefixtures("network")]

# More than the calls of each; of fdopendir there is one for each process.
MOST = 16


def asked(call: str, number: int, arguments: list[str], *, rest: bool = False) -> Asked:
    """The command where that call fails, and whether there was such a call."""
    environment = preload(
        "failing_malloc", FAILING_CALL=call, FAILING_NUMBER=str(number)
    )
    if rest:
        environment["FAILING_REST"] = "1"
    return Asked(run_here(arguments), run_preloaded(arguments, environment))


def has_failed(found: Asked) -> bool:
    return "failed\n" in found.after.err


def is_right(found: Asked, holder: Holder) -> None:
    """The verdict is the true one; who is not named is said to be hidden."""
    (before,), (after,) = found.before.results, found.after.results
    assert (after["verdict"], found.after.status) == ("blocked", 1)
    assert [one["code"] for one in after["causes"]] == [
        one["code"] for one in before["causes"]
    ]
    nobody_is_wronged(found, holder)
    if blames(found.after) != blames(found.before):
        assert {"no-process-table", "processes-unreadable"} & {
            one["code"] for one in found.after.limits
        }


@pytest.mark.parametrize("rest", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("call", ["calloc", "realloc", "fdopendir", "pthread_create"])
def test_walk_over_the_processes(holder: Holder, call: str, *, rest: bool) -> None:
    port = holder.bind(listen=True)
    failed = 0
    for number in range(1, MOST + 1):
        found = asked(call, number, ["--json", f"127.0.0.1:{port}"], rest=rest)
        is_right(found, holder)
        if not has_failed(found):
            break
        failed += 1
    # Threads are made where there are many processes, and more than one processor.
    assert failed or call == "pthread_create"


def test_nothing_else_is_allocated(holder: Holder) -> None:
    """The caller owns nearly all memory: a call that is added gets a test here."""
    port = holder.bind(listen=True)
    for arguments in (
        ["--json", f"127.0.0.1:{port}"],
        ["--json", f"localhost:{port}"],
        ["list", "--json"],
        ["doctor", "--json"],
    ):
        environment = preload(
            "failing_malloc", FAILING_CALL="malloc", FAILING_NUMBER="1"
        )
        assert "failed" not in run_preloaded(arguments, environment).err


def test_name_that_no_memory_is_left_to_look_up(holder: Holder) -> None:
    """It is not said to be no name."""
    port = holder.bind(listen=True)
    found = asked("getaddrinfo", 1, ["--json", f"localhost:{port}"])
    assert has_failed(found)
    (result,) = found.after.results
    assert result["attempt"]["error"]["name"] == "EAI_MEMORY"
    assert [one["code"] for one in result["causes"]] == ["no-memory"]
    assert (result["verdict"], found.after.status) == ("unknown", 3)


def test_addresses_that_cannot_be_listed() -> None:
    """That the address is not here the kernel itself has said."""
    for number in (1, 2):
        found = asked("getifaddrs", number, ["192.0.2.9:80"])
        assert has_failed(found)
        assert found.after.status == 1
        first = found.after.out.splitlines()[0]
        assert first == found.before.out.splitlines()[0]
        # Of the addresses that there are it says nothing, rather than "none".
        if found.after.out != found.before.out:
            assert "this machine has" not in found.after.out.partition("\n")[2]
