"""File systems that do not answer, and processes that have something of them.

Whoever asks such a one waits in the kernel, often where not even SIGKILL helps. So each
program of these tests is started apart and given a time, and let go at its end.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Holder, needs
from tests.support.fuse import Stuck, stuck_file
from tests.support.terminal import BINDCHECK, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [needs("root", "FUSE"), pytest.mark.usefixtures("network")]
ENDS_WITHIN = 20.0


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[Stuck]:
    with stuck_file(tmp_path) as one:
        yield one


def asked(stuck: Stuck, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run bindcheck; it must end while the file system still says nothing."""
    process = subprocess.Popen(
        [*BINDCHECK, *arguments],
        env=environment({"COLUMNS": "400"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=ENDS_WITHIN)
    finally:
        was_mute = stuck.mute
        stuck.let_go()
        process.kill()
        process.communicate()
    assert was_mute
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def report(stuck: Stuck, *arguments: str) -> Any:
    done = asked(stuck, "--json", *arguments)
    assert done.stderr == ""
    return json.loads(done.stdout)


def owners(found: Any) -> list[Any]:
    return [
        process
        for blocker in found["results"][0]["blockers"]
        for process in blocker["owner"]["processes"]
    ]


class TestProcesses:
    """What belongs to a process can be on such a file system."""

    def test_open_file(self, stuck: Stuck, holder: Holder) -> None:
        port = holder.bind(listen=True)
        holder.run(f"kept['file'] = open({str(stuck.path)!r}, 'rb', 0)")
        stuck.mute = True
        found = report(stuck, f"127.0.0.1:{port}")
        assert [one["pid"] for one in owners(found)] == [holder.pid]
        assert owners(found)[0]["command"]

    def test_reader_of_it(self, stuck: Stuck, holder: Holder) -> None:
        """A thread waits for the file itself, which is no socket."""
        port = holder.bind(listen=True)
        holder.run(
            f"kept['file'] = open({str(stuck.path)!r}, 'rb', 0)\n"
            "import threading\n"
            "threading.Thread(target=kept['file'].read, daemon=True).start()"
        )
        assert stuck.waiting.acquire(timeout=ENDS_WITHIN)
        stuck.mute = True
        found = report(stuck, f"127.0.0.1:{port}")
        assert [one["pid"] for one in owners(found)] == [holder.pid]
