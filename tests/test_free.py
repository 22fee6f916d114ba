"""Ports that can be bound: really tried, and held for a command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bindcheck import native
from bindcheck.free_ports import candidates
from bindcheck.records import replace
from tests.support import NOBODY, Holder, as_user, needs
from tests.support.terminal import BINDCHECK, environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]
LOOPBACK = "127.0.0.1"


def free(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BINDCHECK, "free", *arguments],
        env=environment({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def ports(*arguments: str) -> list[int]:
    """The ports that are printed, where as many were found as asked for."""
    done = free(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return [int(line) for line in done.stdout.splitlines()]


class TestPorts:
    """Which ports are given."""

    def test_can_be_bound_by_a_server(self) -> None:
        for port in ports("--count", "20"):
            with socket.create_server((LOOPBACK, port)):
                pass
            with socket.create_server(("", port), family=socket.AF_INET6):
                pass

    def test_not_in_the_ephemeral_range(self) -> None:
        low, high = native.read_facts().ephemeral_range or (0, 0)
        assert low < high
        found = ports("--count", "2000")
        assert len(set(found)) == 2000
        assert not [port for port in found if low <= port <= high or port < 10000]

    def test_unless_that_is_asked_for(self) -> None:
        low, _ = native.read_facts().ephemeral_range or (0, 0)
        assert low <= ports("--near", str(low + 100))[0] <= low + 200
        assert ports("--range", f"{low}-{low + 50}")[0] in range(low, low + 51)

    def test_two_that_ask_at_the_same_time_get_two(self) -> None:
        assert len({ports()[0] for _ in range(5)}) > 1

    @pytest.mark.parametrize(
        ("made", "host"),
        [
            ({"listen": True}, LOOPBACK),
            ({}, LOOPBACK),
            # Beside them bind works with SO_REUSEADDR, and listen() would not; or
            # clients would be shared.
            ({"reuse_address": True}, LOOPBACK),
            ({"listen": True, "address": "127.0.0.2"}, LOOPBACK),
            ({"listen": True, "address": "::1"}, LOOPBACK),
            ({"listen": True, "address": "::"}, LOOPBACK),
        ],
        ids=["listener", "bound", "reuse", "other-address", "ipv6", "dual-stack"],
    )
    def test_one_that_anybody_has_is_left_out(
        self, holder: Holder, made: dict[str, object], host: str
    ) -> None:
        taken = holder.bind(**made)  # type: ignore[arg-type]
        assert ports(host, "--near", str(taken)) != [taken]
        done = free(host, "--range", f"{taken}-{taken}")
        assert (done.returncode, done.stdout) == (1, "")
        assert f"0 of 1 ports can be bound from {taken} to {taken}" in done.stderr

    def test_udp(self, holder: Holder) -> None:
        taken = holder.bind(kind="udp")
        assert ports(LOOPBACK, "--near", str(taken)) == [taken]  # of TCP
        assert ports("-u", LOOPBACK, "--near", str(taken)) != [taken]

    def test_time_wait_of_a_server_that_did_not_share(self, holder: Holder) -> None:
        """The table alone would not tell whether it blocks."""
        port = holder.bind(listen=True)
        holder.run(
            f"kept['client'] = socket.create_connection(('127.0.0.1', {port}))\n"
            "kept['accepted'] = kept['main'].accept()[0]"
        )
        for name in ("accepted", "client", "main"):
            holder.close(name)
        done = free(LOOPBACK, "--range", f"{port}-{port}")
        assert done.returncode == 1

    def test_near_and_range_in_order(self, holder: Holder) -> None:
        first = holder.bind()
        holder.close()
        found = ports(LOOPBACK, "--near", str(first), "--count", "3")
        assert found[0] == first
        assert all(abs(port - first) < 20 for port in found)
        low = ports(LOOPBACK, "--range", f"{first}-{first + 50}", "--count", "3")
        assert low == sorted(low)

    @needs("root")
    def test_privileged_ports_are_left_out_as_an_ordinary_user(self) -> None:
        from bindcheck.cli.main import run

        def as_nobody() -> int:
            reader, writer = os.pipe()
            os.dup2(writer, 1)
            sys.stdout = os.fdopen(1, "w")
            status = run(["free", "--near", "80"])
            assert status == 0
            return int(os.read(reader, 100))

        assert as_user(NOBODY, as_nobody) == 1024

    def test_every_address_of_a_name(self, holder: Holder) -> None:
        taken = holder.bind(LOOPBACK, listen=True)
        assert ports("localhost", "--near", str(taken)) != [taken]


class TestCandidates:
    """The order, by itself."""

    def test_a_machine_whose_every_port_is_ephemeral(self) -> None:
        facts = replace(native.read_facts(), ephemeral_range=(1024, 65535))
        assert list(candidates(facts)) == []
        assert next(candidates(facts, among=(8000, 8010))) == 8000

    def test_reserved_ports_are_left_to_whom_they_are_kept_for(self) -> None:
        facts = replace(native.read_facts(), ephemeral_range=(32768, 60999))
        found = set(candidates(facts, reserved=[(10000, 20000)]))
        assert min(found) == 20001


GIVEN = (
    "import os, socket\n"
    "assert os.environ['LISTEN_PID'] == str(os.getpid())\n"
    "count = int(os.environ['LISTEN_FDS'])\n"
    "for fd in range(3, 3 + count):\n"
    "    one = socket.socket(fileno=fd)\n"
    "    listens = one.type == socket.SOCK_STREAM and one.getsockopt(1, 30)\n"
    "    print(*one.getsockname()[:2], int(listens))\n"
    "left = [fd for fd in os.listdir('/proc/self/fd') if int(fd) >= 3 + count]\n"
    "assert len(left) <= 1, left\n"  # that of listdir itself
)


class TestHold:
    """Sockets for a command, the systemd way."""

    def test_command_gets_listening_sockets(self) -> None:
        done = free(
            "--hold", "--count", "2", LOOPBACK, "--", sys.executable, "-c", GIVEN
        )
        assert done.returncode == 0, done.stderr
        given = [line.split() for line in done.stdout.splitlines()]
        assert [(one[0], one[2]) for one in given] == [(LOOPBACK, "1")] * 2
        said = [
            f"bindcheck: {address}:{port}/tcp is descriptor {fd}"
            for fd, (address, port, _) in enumerate(given, 3)
        ]
        assert done.stderr.splitlines() == said

    @needs("IPv6")
    def test_both_wildcards_without_a_host(self) -> None:
        done = free("-q", "--hold", "--", sys.executable, "-c", GIVEN)
        (_, first, _), (six, second, _) = map(str.split, done.stdout.splitlines())
        assert (six, first, done.stderr) == ("::", second, "")

    def test_udp(self) -> None:
        done = free("-u", "--hold", LOOPBACK, "--", sys.executable, "-c", GIVEN)
        assert done.stdout.endswith(" 0\n")

    def test_nobody_can_take_it_in_between(self) -> None:
        """From the search to the command the socket is never closed."""
        code = (
            "import errno, os, socket\n"
            "held = socket.socket(fileno=3)\n"
            "place = held.getsockname()\n"
            "other = socket.socket()\n"
            "other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
            "print(other.connect_ex(place), end=' ')\n"
            "try:\n    socket.create_server(place)\n"
            "except OSError as error:\n    print(error.errno == errno.EADDRINUSE)"
        )
        done = free("--hold", LOOPBACK, "--", sys.executable, "-c", code)
        assert done.stdout == "0 True\n"

    def test_nothing_of_an_older_holder_is_passed_on(self) -> None:
        code = "import os; print([n for n in os.environ if n == 'LISTEN_FDNAMES'])"
        done = subprocess.run(
            [*BINDCHECK, "free", "-q", "--hold", "--", sys.executable, "-c", code],
            env=environment({"LISTEN_FDNAMES": "old"}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "[]\n"

    def test_too_few_are_not_held(self, holder: Holder) -> None:
        taken = holder.bind(listen=True)
        done = free(
            *("--hold", "--range", f"{taken}-{taken}", LOOPBACK, "--", "echo", "ran")
        )
        assert (done.returncode, done.stdout) == (1, "")

    def test_status_is_the_command_s(self) -> None:
        assert free("--hold", "--", "sh", "-c", "exit 9").returncode == 9
        killed = free("--hold", "--", "sh", "-c", "kill -s TERM $$")
        assert killed.returncode == -signal.SIGTERM

    @needs("systemd-socket-activate")
    def test_as_systemd_gives_them(self, tmp_path: Path) -> None:
        """Its own tool's environment, for comparison."""
        del tmp_path
        with socket.create_server((LOOPBACK, 0)) as one:
            port = one.getsockname()[1]
        code = "import os; print(sorted(n for n in os.environ if 'LISTEN' in n))"
        with subprocess.Popen(
            [
                *("systemd-socket-activate", "-l", f"{LOOPBACK}:{port}"),
                *(sys.executable, "-c", code),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as theirs:
            assert theirs.stderr is not None
            theirs.stderr.readline()  # that it listens
            with socket.create_connection((LOOPBACK, port)):
                names, _ = theirs.communicate()
        ours = free("-q", "--hold", "--", sys.executable, "-c", code).stdout
        given = set(names.strip("[]\n").replace("'", "").split(", "))
        assert set(ours.strip("[]\n").replace("'", "").split(", ")) <= given


class TestInput:
    """What is wrong is said in one line."""

    @pytest.mark.parametrize(
        ("arguments", "status", "part"),
        [
            (["8080"], 2, "bindcheck free --near 8080"),
            (["localhost:80"], 2, "'localhost:80' is no host"),
            (["unix:/run/s"], 2, "'unix:/run/s'"),
            (["a", "b"], 2, "'b' is one too many"),
            (["--near", "0"], 2, "'0' is no port"),
            (["--range", "9-1"], 2, "'9-1' is no range"),
            (["--range", "80"], 2, "'80' is no range"),
            (["--count", "0"], 2, "'0'"),
            (["--hold"], 2, "-- CMD"),
            (["--", "true"], 2, "--hold"),
            (["--hold", "--", "no-such-program"], 2, "'no-such-program'"),
            (["-6", LOOPBACK], 2, "-6"),
            (["--v6only", LOOPBACK], 2, "v6only"),
            (["192.0.2.77"], 1, '192.0.2.77: bind: 99 EADDRNOTAVAIL "'),
            (["no-such-host.invalid"], 1, "no-such-host.invalid: resolve: "),
        ],
        ids=str,
    )
    def test_one_line(self, arguments: list[str], status: int, part: str) -> None:
        done = free(*arguments)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.count("\n") == 1
        assert part in done.stderr

    def test_json(self) -> None:
        answer = json.loads(free("--json", "--count", "2", LOOPBACK).stdout)
        assert [set(one) for one in answer["ports"]] == [{"port", "targets"}] * 2
        for one in answer["ports"]:
            assert one["targets"][0]["port"] == one["port"]
