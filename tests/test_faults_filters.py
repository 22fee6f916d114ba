"""System call filters (seccomp): each call that bindcheck makes is refused in turn.

The answer is the right one, or tells what was refused or could not be seen.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.support import Holder, in_private_network, needs, seccomp
from tests.support.faults import (
    Asked,
    ask,
    blames,
    nobody_is_wronged,
    run_here,
    run_in_child,
)
from tests.test_schema import fits, fits_part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs("socket tables", "system call filters")

# Of what writes, closes, ends and gives memory Python itself lives, and the test.
CODES = (errno.EPERM, errno.ENOSYS)
# What security modules say too, of files and sockets.
DENIED = (
    "bind",
    "getdents64",
    "newfstatat",
    "openat",
    "readlinkat",
    "sendto",
    "socket",
)
REFUSALS = [(name, code) for name in seccomp.CALLS for code in CODES]
REFUSALS += [(name, errno.EACCES) for name in DENIED]


class Situation:
    """A listener, a receiver, a unix listener; what is asked, and what is true."""

    def __init__(self, holder: Holder, folder: Path) -> None:
        path = str(folder / "socket")
        self.holder = holder
        port = holder.bind(name="tcp", listen=True)
        udp = holder.bind(name="udp", kind="udp", reuse_address=True)
        holder.run(
            "one = kept['unix'] = socket.socket(socket.AF_UNIX)\n"
            f"one.bind({path!r}); one.listen()"
        )
        free = f"127.0.0.1:{holder.bind(name='free')}"
        holder.close("free")
        self.commands = [
            ["--json", f"127.0.0.1:{port}"],
            ["--json", "--reuseaddr", f"127.0.0.1:{udp}/udp"],
            ["--json", free],
            ["--json", "192.0.2.9:80"],
            ["--json", f"unix:{path}"],
            ["--json", f"unix:{folder}/absent"],
            ["wait", "--json", "--timeout", "0", f"127.0.0.1:{port}"],
            ["wait", "--json", "--timeout", "0", free],
            ["list", "--json", str(port)],
        ]
        self.true = [run_here(one) for one in self.commands]


@pytest.fixture(scope="module")
def situation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Situation]:
    """One for all refusals: nothing of it changes."""
    with in_private_network(), Holder() as holder:
        yield Situation(holder, tmp_path_factory.mktemp("filters"))


@pytest.mark.parametrize(
    ("name", "code"),
    REFUSALS,
    ids=[f"{name}-{errno.errorcode[code]}" for name, code in REFUSALS],
)
def test_refused_call(situation: Situation, name: str, code: int) -> None:
    answers = run_in_child(situation.commands, lambda: seccomp.refuse_call(name, code))
    *checks, listing = map(Asked, situation.true, answers)
    for asked in checks:
        is_sane(asked, name)
        fits(asked.after.form.get("report", asked.after.form))
        nobody_is_wronged(asked, situation.holder)
        is_backed(asked, errno.errorcode[code])
    is_sane(listing, name)
    fits_part("listing", listing.after.form)
    nobody_is_wronged(listing, situation.holder)
    if listing.after.status != 3:
        assert [kind for kind, _, _ in blames(listing.after)] == ["listener"]
    says_why(listing)


def is_sane(asked: Asked, name: str) -> None:
    """It ended as it should, with everything closed."""
    assert asked.after.status in (0, 1, 3)
    assert "cannot write" not in asked.after.err
    if name != "getrandom":  # Python keeps /dev/urandom open then
        assert asked.after.left == frozenset()


def is_backed(asked: Asked, refused: str) -> None:
    """The verdict is the true one, "unknown", or that of a call that was refused."""
    for before, after in zip(asked.before.results, asked.after.results, strict=True):
        error = after["attempt"]["error"]
        if error is None or error["name"] != refused:
            assert after["verdict"] in (before["verdict"], "unknown")
            says_why(asked)


def says_why(asked: Asked) -> None:
    """Where less is known of who has it, a limit tells what could not be seen."""
    if blames(asked.after) != blames(asked.before):
        assert {one["code"] for one in asked.after.limits} & {
            "no-process-table",
            "no-socket-table",
            "path-unseen",
            "processes-unreadable",
        }


def test_unlisted_unix_socket_is_in_no_other_network(
    holder: Holder, tmp_path: Path
) -> None:
    """Where the table cannot be read, that a socket answers is all that is known."""
    path = str(tmp_path / "socket")
    holder.run(
        "one = kept['main'] = socket.socket(socket.AF_UNIX)\n"
        f"one.bind({path!r}); one.listen()"
    )
    asked = ask([f"unix:{path}"], lambda: seccomp.refuse_call("sendto", errno.EPERM))
    said = " ".join(asked.after.out.split())
    assert "network namespace" not in said
    assert "a socket answers on it" in said
    assert "the kernel lists no unix sockets" in said


def test_path_that_cannot_be_looked_at(holder: Holder, tmp_path: Path) -> None:
    """That a name beside it can be bound does not tell of a path that may exist."""
    path = str(tmp_path / "socket")
    holder.run(
        f"one = kept['main'] = socket.socket(socket.AF_UNIX); one.bind({path!r})"
    )
    asked = ask(
        [f"unix:{path}"], lambda: seccomp.refuse_call("newfstatat", errno.EPERM)
    )
    assert asked.after.status == 3
    said = " ".join(asked.after.out.split())
    assert f"whether anything is at {path} cannot be seen (EPERM)" in said
