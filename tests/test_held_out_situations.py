"""Situations that were once told wrong: each the smallest one that showed it."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck.model import Endpoint, Options
from bindcheck.observe import Observer
from bindcheck.records import replace
from bindcheck.rules.holders import blockers
from bindcheck.rules.proxies import proxy_of
from bindcheck.target import make_target
from bindcheck.words import (
    Blocks,
    CauseCode,
    Family,
    Kind,
    OwnerKind,
    Protocol,
    State,
    Verdict,
)
from tests.support import NOBODY, Holder, as_user, needs
from tests.support.child import in_child
from tests.test_judged_situations import process
from tests.test_list import socket_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from bindcheck.model import Diagnosis

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]


def only(target: object, **options: object) -> Diagnosis:
    (found,) = bindcheck.diagnose(target, **options)  # type: ignore[arg-type]
    return found


def commands(found: Diagnosis) -> list[tuple[str, ...]]:
    every = [remedy.command for cause in found.causes for remedy in cause.remedies]
    return [one for one in every if one is not None]


@needs("root", "IPv6")
def test_datagram_twin_is_asked_only_where_it_meets_every_holder(
    holder: Holder,
) -> None:
    """0.0.0.0 meets an IPv6 connection without V6ONLY; ::ffff:0.0.0.0 does not."""
    port = int(
        holder.run(
            "kept['c'] = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM);"
            "kept['c'].connect(('::1', 9)); result = kept['c'].getsockname()[1]"
        )
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="98"):
            plain.bind(("0.0.0.0", port))  # noqa: S104

    def ask() -> Diagnosis:
        return only(("0.0.0.0", port), protocol="udp", reuse_address=True)  # noqa: S104

    assert ask().verdict is Verdict.BLOCKED
    assert as_user(NOBODY, ask).verdict is not Verdict.BINDABLE


@needs("root", "IPv6")
@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("option", ["reuse_address", "reuse_port"])
def test_option_of_a_connection_that_may_not_be_read(
    holder: Holder, option: str, *, bound: bool
) -> None:
    """bind() of ::1 sets IPV6_V6ONLY, connect() does not: 0.0.0.0 meets the one alone."""
    bind = "one.bind(('::1', 0))" if bound else "pass"
    port = holder.run(
        "one = kept['c'] = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        f"{bind}\n"
        "one.connect(('::1', 9)); result = one.getsockname()[1]"
    )

    def ask() -> Diagnosis:
        every = ("0.0.0.0", port)  # noqa: S104
        return only(every, protocol="udp", **{option: True})

    assert ask().verdict is (Verdict.BINDABLE if bound else Verdict.BLOCKED)
    found = as_user(NOBODY, ask)
    assert (found.verdict, found.attempt.ok) == (Verdict.UNKNOWN, None)
    assert all(one.blocks is not Blocks.YES for one in found.blockers)


@needs("root", "IPv6")
def test_datagram_twin_may_hide_who_does_not_share(
    make_holder: Callable[..., Holder],
) -> None:
    """With SO_REUSEPORT the kernel stops at the first twin, in an order of its own."""
    ours, theirs = make_holder(), make_holder(uid=NOBODY)
    port = ours.bind("0.0.0.0", kind="udp", reuse_address=True, reuse_port=True)  # noqa: S104
    theirs.bind("::", port, kind="udp", reuse_address=True, reuse_port=True)
    found = only(f"192.0.2.1:{port}/udp", reuse_port=True)
    assert found.causes[0].code is CauseCode.ADDRESS_NOT_LOCAL
    assert [one.cause for one in found.next_errors] == [CauseCode.DATAGRAM]
    assert [one.blocks for one in found.blockers] == [Blocks.POSSIBLY]
    ours.close()
    found = only(f"192.0.2.1:{port}/udp", reuse_port=True)
    assert [one.blocks for one in found.blockers] == [Blocks.YES]


def test_sockets_for_one_family_and_for_both_are_not_alike() -> None:
    row = replace(
        socket_row(state=State.CLOSE),
        family=Family.INET6,
        local=Endpoint(address="::", port=8080),
        packed=bytes(16),
    )
    snapshot = replace(
        Observer().nothing_seen(),
        sockets=(
            replace(row, v6only=True),
            *[replace(row, v6only=False, inode=number) for number in (2, 3)],
        ),
    )
    loopback = socket.inet_pton(socket.AF_INET6, "::1")
    target = make_target(Family.INET6, loopback, 8080, Protocol.TCP)
    found = blockers(target, Options(), snapshot, failed=True)
    assert {(one.socket.v6only, one.count) for one in found} == {(True, 1), (False, 2)}


def test_descriptors_of_all_sockets_of_a_blocker_are_told(holder: Holder) -> None:
    port = holder.bind(listen=True)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    fds = holder.run(
        "kept['all'] = [kept['main'].accept()[0] for _ in range(3)];"
        "kept.pop('main').close(); result = [c.fileno() for c in kept['all']]"
    )
    for one in clients:
        one.close()
    holder.run("[c.recv(1) for c in kept['all']]")
    (blocker,) = only(("127.0.0.1", port)).blockers
    assert (blocker.kind, blocker.count) == (Kind.CLOSE_WAIT, 3)
    assert blocker.owner.processes[0].fds == tuple(sorted(fds))


@needs("root", "unshare")
def test_first_process_of_a_pid_namespace_is_not_asked_to_end() -> None:
    """It has no handler for SIGTERM, so the signal would be dropped."""
    program = (
        "import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen();"
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            sys.executable,
            "-S",
            "-c",
            program,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as outer:
        assert outer.stdout is not None
        port = int(outer.stdout.readline())
        found = only(("127.0.0.1", port))
        command, _ = commands(found)  # the other one: to take another port
        assert command[:2] == ("kill", "-KILL")
        subprocess.run(command, check=True)
        outer.wait()
    assert only(("127.0.0.1", port)).verdict is Verdict.BINDABLE


@needs("root")
def test_suspended_child_among_running_sharers_is_continued(holder: Holder) -> None:
    port = holder.bind(listen=True)
    child = int(
        holder.run(
            "pid = os.fork()\n"
            "if not pid:\n"
            "    time.sleep(1000)\n"
            "os.kill(pid, 19); os.waitpid(pid, os.WUNTRACED)\n"
            "result = pid"
        )
    )
    try:
        found = only(("127.0.0.1", port))
        assert ("kill", "-CONT", str(child)) in commands(found)
        lines = [line for line in found.causes[0].evidence if "suspended" in line]
        assert [line.split()[1] for line in lines] == [str(child)]
    finally:
        os.kill(child, signal.SIGKILL)


@needs("root")
def test_file_in_a_sticky_folder_is_its_owners_to_remove() -> None:
    folder = Path(tempfile.gettempdir(), f"bindcheck-{os.getpid()}-sticky")
    path = folder / "s"
    folder.mkdir()
    try:
        folder.chmod(0o1777)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
        path.chmod(0o777)
        found = as_user(NOBODY, lambda: only(f"unix:{path}"))
        assert commands(found)[0] == ("sudo", "rm", str(path))
    finally:
        path.unlink()
        folder.rmdir()


def test_recording_of_an_unknown_zone_is_replayed(tmp_path: Path) -> None:
    file = str(tmp_path / "seen.json")
    bindcheck_ = [sys.executable, "-m", "bindcheck"]
    asked = subprocess.run(
        [*bindcheck_, "--record", file, "[fe80::1%nope]:1"],
        capture_output=True,
        text=True,
        check=False,
    )
    again = subprocess.run(
        [*bindcheck_, "replay", file], capture_output=True, text=True, check=False
    )
    assert (asked.returncode, asked.stdout) == (again.returncode, again.stdout)


def test_own_lack_of_descriptors_is_no_lack_of_rights(holder: Holder) -> None:
    port = holder.bind(listen=True)

    def with_spare(count: int) -> set[str]:
        def starve() -> None:
            bindcheck.diagnose("127.0.0.1:0")  # everything is imported then
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            taken: list[int] = []
            while len(taken) < 64:
                try:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
                except OSError:
                    break
            for one in taken[:count]:
                os.close(one)

        found = in_child(starve, lambda: only(("127.0.0.1", port)))
        return {limit.code for limit in found.limits}

    told = [with_spare(count) for count in range(1, 9)]
    starved = [codes for codes in told if "descriptors-exhausted" in codes]
    assert starved
    assert not any("processes-unreadable" in codes for codes in starved)
    assert "descriptors-exhausted" not in told[-1]


def test_socket_that_is_bound_beside_is_warned_of(holder: Holder) -> None:
    port = holder.bind(reuse_address=True)
    refused = only(("127.0.0.1", port))
    assert refused.verdict is Verdict.CONDITIONAL
    assert refused.causes[0].remedies[0].command == ("kill", str(holder.pid))
    assert not any("most servers" in one.text for one in refused.causes[0].remedies)
    allowed = only(("127.0.0.1", port), reuse_address=True)
    assert allowed.verdict is Verdict.BINDABLE
    (warning,) = [one for one in allowed.warnings if one.code == "shared-port"]
    assert "only the first to listen" in warning.text
    # It is so: who comes second is refused.
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        holder.run("kept['main'].listen()")
        with pytest.raises(OSError, match="98"):
            other.listen()


@needs("unix sockets")
def test_deleted_working_folder(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    before = Path.cwd()
    os.chdir(gone)
    try:
        gone.rmdir()
        found = only("unix:s")
    finally:
        os.chdir(before)
    assert found.attempt.error is not None
    assert found.attempt.error.name == "ENOENT"
    assert [one.code for one in found.causes] == [CauseCode.DIRECTORY_MISSING]


@needs("root")
def test_worker_that_was_given_the_socket_may_not_be_alone(
    make_holder: Callable[..., Holder],
) -> None:
    """A master of root's that cannot be read has it as well."""
    master = make_holder()
    port = master.bind(listen=True)
    worker = int(
        master.run(
            "import ctypes, sys\n"
            "kept['main'].set_inheritable(True)\n"
            "pid = os.fork()\n"
            "if not pid:\n"
            f"    os.setgroups([]); os.setresgid(*[{NOBODY}] * 3)\n"
            f"    os.setresuid(*[{NOBODY}] * 3)\n"
            "    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n"
            "    time.sleep(1000)\n"
            "result = pid"
        )
    )
    try:
        while f"Uid:\t{NOBODY}" not in Path(f"/proc/{worker}/status").read_text(
            "utf-8"
        ):
            os.sched_yield()
        found = as_user(NOBODY, lambda: only(("127.0.0.1", port)))
    finally:
        os.kill(worker, signal.SIGKILL)
    if found.blockers[0].owner.kind is OwnerKind.PROCESS:
        assert any("may have it too" in line for line in found.causes[0].evidence)


@needs("root")
def test_commands_of_a_user_namespace_are_such_as_work(tmp_path: Path) -> None:
    """Root of a user namespace may not change what belongs to another."""
    done = subprocess.run(
        [
            *(
                "unshare",
                "--user",
                "--map-root-user",
                sys.executable,
                "-m",
                "bindcheck",
            ),
            *("--json", "127.0.0.1:80"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    (one,) = json.loads(done.stdout)["results"]
    remedies = [remedy for cause in one["causes"] for remedy in cause["remedies"]]
    assert all(
        remedy["command"] is None or remedy["command"][0] != "sysctl"
        for remedy in remedies
    )


@pytest.mark.parametrize(
    ("address", "port", "target"),
    [
        ("172.17.0.2", "80", "172.17.0.2:80"),
        ("fe80::1", "80", "[fe80::1]:80"),
        ("fe80::1", "80;rm -rf /", None),
        ("the moon", "80", None),
    ],
)
def test_what_a_foreign_command_line_says_is_an_address_or_nothing(
    address: str, port: str, target: str | None
) -> None:
    command = ("docker-proxy", "-container-ip", address, "-container-port", port)
    proxy = proxy_of(replace(process(900, "docker-proxy"), command=command), 80)
    assert proxy is not None
    assert proxy.target == target


def test_of_many_sockets_the_first_are_shown(holder: Holder) -> None:
    port = holder.bind("127.0.0.1", listen=True)
    for number in range(2, 30):
        holder.bind(f"127.0.0.{number}", port, listen=True, name=str(number))
    found = only(("0.0.0.0", port))  # noqa: S104
    assert len(found.blockers) == 29
    assert "and 21 more sockets like these" in found.causes[0].evidence
    assert len(found.causes[0].evidence) < 15
