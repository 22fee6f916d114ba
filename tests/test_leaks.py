"""Thousands of calls later the process is as it was, also where every call fails."""

from __future__ import annotations

import gc
import json
import mmap
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bindcheck
from bindcheck.words import CauseCode, Verdict
from tests.support import Holder, needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from bindcheck.model import Diagnosis

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]

# One array that the C core fills, 256 rows, is 24 KiB: each of the loops below would
# show it. The allocator's own ups and downs stay far below this.
MEMORY_BOUND = 3 << 20


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def resident() -> int:
    """Bytes of memory that are in use."""
    pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    return pages * mmap.PAGESIZE


def stays_flat(call: Callable[[], object], times: int) -> None:
    """Call again and again, and compare what the process has before and after."""
    for _ in range(max(20, times // 10)):
        call()
    gc.collect()
    before = (descriptors(), threading.active_count(), resident())
    for _ in range(times):
        call()
    gc.collect()
    after = (descriptors(), threading.active_count(), resident())
    assert after[:2] == before[:2]
    # Under the sanitizers freed memory is kept for a while, on purpose.
    if not os.environ.get("BINDCHECK_SANITIZED"):
        assert after[2] - before[2] < MEMORY_BOUND


def only(report: bindcheck.Report) -> Diagnosis:
    (one,) = report
    return one


class TestProbe:
    def test_free_port(self) -> None:
        stays_flat(lambda: bindcheck.probe("127.0.0.1:0", listen=True), 3000)

    def test_every_option(self) -> None:
        options: dict[str, Any] = {
            "reuse_address": True,
            "reuse_port": True,
            "v6only": True,
            "freebind": True,
            "device": "lo",
            "listen": True,
        }
        stays_flat(lambda: bindcheck.probe("[::1]:0", **options), 2000)

    def test_taken_port(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        assert bindcheck.probe(f"127.0.0.1:{port}").ok is False
        stays_flat(lambda: bindcheck.probe(f"127.0.0.1:{port}"), 3000)

    def test_refused_address(self) -> None:
        stays_flat(lambda: bindcheck.probe("192.0.2.77:8080"), 3000)

    def test_unknown_device(self) -> None:
        assert bindcheck.probe("127.0.0.1:0", device="nowhere0").ok is False
        stays_flat(lambda: bindcheck.probe("127.0.0.1:0", device="nowhere0"), 3000)

    @needs("network namespaces")  # elsewhere a name server may let us wait
    def test_unresolved_name(self) -> None:
        stays_flat(lambda: bindcheck.probe("no-such-host.invalid:80"), 100)


class TestDiagnose:
    def test_free_port(self) -> None:
        stays_flat(lambda: bindcheck.diagnose("127.0.0.1:0"), 300)

    def test_taken_port(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        stays_flat(lambda: bindcheck.diagnose(f"127.0.0.1:{port}"), 150)

    def test_receiver(self, holder: Holder) -> None:
        port = holder.bind(kind="udp", reuse_address=True)
        target = f"127.0.0.1:{port}/udp"
        stays_flat(lambda: bindcheck.diagnose(target, reuse_address=True), 200)

    def test_refused_address(self) -> None:
        stays_flat(lambda: bindcheck.diagnose("192.0.2.77:8080"), 300)

    def test_unknown_device(self) -> None:
        found = only(bindcheck.diagnose("127.0.0.1:0", device="nowhere0"))
        assert [cause.code for cause in found.causes] == [CauseCode.DEVICE_UNKNOWN]
        stays_flat(lambda: bindcheck.diagnose("127.0.0.1:0", device="nowhere0"), 300)

    @needs("network namespaces")  # elsewhere a name server may let us wait
    def test_unresolved_name(self) -> None:
        stays_flat(lambda: bindcheck.diagnose("no-such-host.invalid:80"), 100)

    def test_bad_target(self) -> None:
        def call() -> None:
            with pytest.raises(ValueError, match="70000"):
                bindcheck.diagnose("127.0.0.1:70000")

        stays_flat(call, 1000)


class TestTables:
    def test_sockets(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        assert len(bindcheck.sockets(port=port)) == 1
        stays_flat(lambda: bindcheck.sockets(port=port), 150)

    def test_more_rows_than_fit_at_first(self, holder: Holder) -> None:
        holder.run(
            "kept['all'] = [socket.create_server(('127.0.0.1', 0)) for _ in range(300)]"
        )
        assert len(bindcheck.sockets(owners=False)) >= 300
        stays_flat(lambda: bindcheck.sockets(owners=False), 50)

    def test_native_code(self) -> None:
        stays_flat(lambda: bindcheck.native_code(98), 5000)

    def test_report_as_json(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        report = bindcheck.diagnose(f"127.0.0.1:{port}")
        stays_flat(lambda: bindcheck.to_dict(report), 3000)


# Descriptors are used up but for `spare` ones, then everything is asked once. What is
# loaded when it is first used was used before: importing needs descriptors too.
STARVED = """
import json, os, resource, sys
import bindcheck

targets = json.loads(sys.argv[1])

def ask(target):
    try:
        report = bindcheck.diagnose(target, timeout=30)
    except bindcheck.BindcheckError as error:
        return {"error": str(error)}
    return bindcheck.to_dict(report)["results"][0]

for target in targets:
    ask(target)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (48, hard))
kept = []
try:
    while True:
        kept.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for spare in range(10):
    answers = {target: ask(target) for target in targets}
    opened = []
    try:
        while True:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for one in opened:
        os.close(one)
    print(json.dumps({"spare": spare, "left": len(opened), "answers": answers}))
    os.close(kept.pop())
"""


class TestWithoutDescriptors:
    """The limit on open files (EMFILE) while a diagnosis is made."""

    @staticmethod
    def starve(*targets: str) -> list[dict[str, Any]]:
        """Ask for each target with 0, 1, ... 9 descriptors to spare."""
        done = subprocess.run(
            [sys.executable, "-c", STARVED, json.dumps(targets)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(bindcheck.__file__).parent.parent,
        )
        assert (done.returncode, done.stderr) == (0, "")
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert [one["spare"] for one in answers] == list(range(10))
        return answers

    def test_nothing_is_claimed_without_a_socket(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        targets = ("127.0.0.1:0", f"127.0.0.1:{port}", "192.0.2.77:80", "[::1]:0/udp")
        starved = self.starve(*targets)[0]["answers"]
        for target in targets:
            found = starved[target]
            assert found["verdict"] == Verdict.UNKNOWN
            codes = [cause["code"] for cause in found["causes"]]
            assert codes == [CauseCode.DESCRIPTOR_LIMIT]
            assert found["attempt"]["step"] == "socket"
            assert found["attempt"]["error"]["name"] == "EMFILE"

    def test_no_name_is_blamed_without_a_socket(self) -> None:
        """Names cannot be looked up either, for the same reason."""
        found = self.starve("localhost:0")[0]["answers"]["localhost:0"]
        assert found["verdict"] == Verdict.UNKNOWN
        codes = [cause["code"] for cause in found["causes"]]
        assert codes == [CauseCode.DESCRIPTOR_LIMIT]

    def test_nobody_is_blamed_wrongly_with_few(self, holder: Holder) -> None:
        """A process table that could not be read says nothing about who has a port."""
        port = holder.bind(listen=True)
        target = f"127.0.0.1:{port}"
        for answer in self.starve(target):
            found = answer["answers"][target]
            spare = answer["spare"]
            if spare:
                codes = [cause["code"] for cause in found["causes"]]
                assert (spare, codes) == (spare, [CauseCode.LISTENER])
            for blocker in found["blockers"]:
                owner = blocker["owner"]
                assert (spare, owner["kind"]) in [(spare, "process"), (spare, "hidden")]
                if owner["kind"] == "process":
                    assert [one["pid"] for one in owner["processes"]] == [holder.pid]
                else:
                    assert found["limits"]

    def test_none_is_kept(self, holder: Holder) -> None:
        port = holder.bind(kind="udp")
        answers = self.starve("127.0.0.1:0", f"127.0.0.1:{port}/udp", "localhost:0")
        assert [one["left"] for one in answers] == list(range(10))
