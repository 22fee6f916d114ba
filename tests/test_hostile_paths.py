"""Unix paths where others may write, while they exchange what is there.

bindcheck is root here, and others may write to the folder: whatever they put in place of
a folder or of the file, it removes nothing, makes nothing that stays, connects to
nobody, and tells nobody to remove what is no left-over socket.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.model import Attempt, Options, Target
from bindcheck.names import _bind_and_remove
from bindcheck.target import make_unix_target
from bindcheck.words import CauseCode, Protocol
from tests.support import needs
from tests.support.terminal import BINDCHECK, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = needs("unix sockets")
ROUNDS = 150

# Exchanges `place` for one thing after the other, as fast as it can: each is made aside
# and renamed there, so that something is always at the path.
EXCHANGE = """
import os, random, socket, sys
place, elsewhere, kinds = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
dice, aside, kept = random.Random(7), place + ".aside", []

def remove(path):
    try:
        os.unlink(path)
    except IsADirectoryError:
        os.rmdir(path)
    except FileNotFoundError:
        pass

def make(kind):
    if kind == "link":
        os.symlink(elsewhere, aside)
    elif kind == "file":
        open(aside, "x").close()
    elif kind == "folder":
        os.mkdir(aside)
    elif kind == "fifo":
        os.mkfifo(aside)
    else:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(aside)
            if kind == "listener":
                one.listen()
                kept[:] = [one.dup()]

print("ready", flush=True)
while True:
    try:
        make(dice.choice(kinds))
        if not dice.randrange(3):
            remove(place)
        try:
            os.rename(aside, place)
        except (IsADirectoryError, NotADirectoryError, FileExistsError):
            remove(place)
            os.rename(aside, place)
    except OSError:
        remove(aside)  # what was tried there, for a moment
"""


@pytest.fixture
def exchanged(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Start to exchange tmp_path/open/it; what is linked to is `elsewhere`."""
    started: list[subprocess.Popen[str]] = []

    def start(elsewhere: Path, *kinds: str) -> Path:
        place = tmp_path / "open"
        place.mkdir(mode=0o777)
        arguments = (str(place / "it"), str(elsewhere), ",".join(kinds))
        started.append(
            subprocess.Popen(
                [sys.executable, "-S", "-c", EXCHANGE, *arguments],
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stream = started[-1].stdout
        assert stream is not None
        assert stream.readline() == "ready\n"
        return place / "it"

    yield start
    for one in started:
        assert one.poll() is None, "it exchanges to the end"
        one.kill()
        one.communicate()


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of somebody else's, to which links lead."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "s").write_text("precious", "utf-8")
    (folder / "folder").mkdir()
    return folder


def contents(folder: Path) -> list[tuple[str, int, int, float]]:
    found = [(one, one.lstat()) for one in sorted(folder.iterdir())]
    return [
        (one.name, facts.st_mode, facts.st_ino, facts.st_mtime) for one, facts in found
    ]


class TestFolder:
    """A folder on the way is a link to somebody's at one moment, and none at the next."""

    @pytest.mark.parametrize("name", ["s", "absent"])
    def test_nothing_is_made_or_removed(
        self, exchanged: Callable[..., Path], victim: Path, name: str
    ) -> None:
        before = contents(victim)
        way = exchanged(victim, "link", "folder", "file", "fifo")
        for _ in range(ROUNDS):
            (found,) = bindcheck.diagnose(f"unix:{way / name}")
            # It may have been a file while it was looked at, and a folder when it was
            # tried. A folder that kept its file could not be removed by who exchanges it.
            unseen = [one.code for one in found.limits]
            assert unseen in ([], ["path-unseen"])
            assert (found.attempt.ok is None) == bool(unseen)
        assert contents(victim) == before
        assert (victim / "s").read_text("utf-8") == "precious"

    def test_probe_removes_its_own_file_alone(
        self, exchanged: Callable[..., Path], victim: Path
    ) -> None:
        before = contents(victim)
        way = exchanged(victim, "link", "folder")
        for _ in range(ROUNDS):
            bindcheck.probe(f"unix:{way / 's'}")
            bindcheck.probe(f"unix:{way / 'absent'}")
        assert contents(victim) == before
        assert (victim / "s").read_text("utf-8") == "precious"

    def test_exchange_between_the_bind_and_the_removal(
        self, tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Always in the worst moment."""
        (tmp_path / "it").mkdir()
        (tmp_path / "link").symlink_to(victim)
        real = native.probe_name

        def probe_name(target: Target, options: Options) -> Attempt:
            made = real(target, options)
            (tmp_path / "it").rename(tmp_path / "moved")
            (tmp_path / "link").rename(tmp_path / "it")
            return made

        monkeypatch.setattr(native, "probe_name", probe_name)
        target = make_unix_target(bytes(tmp_path / "it" / "s"), Protocol.UNIX)
        made, stays = _bind_and_remove(target, Options())
        assert (made.ok, stays, made.target) == (True, False, target)
        assert (victim / "s").read_text("utf-8") == "precious"
        assert list((tmp_path / "moved").iterdir()) == []

    def test_fifo_is_not_opened(self, tmp_path: Path) -> None:
        """Opening it would wait for somebody who writes; of a device, do anything."""
        os.mkfifo(tmp_path / "fifo")
        done = subprocess.run(
            [*BINDCHECK, "--json", f"unix:{tmp_path}/fifo/s"],
            env=environment({}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        (found,) = json.loads(done.stdout)["results"]
        assert [one["code"] for one in found["causes"]] == [CauseCode.NOT_A_DIRECTORY]


class TestFile:
    """The file itself is exchanged."""

    def test_only_what_was_seen_is_told(
        self, exchanged: Callable[..., Path], tmp_path: Path
    ) -> None:
        """Each answer is of one moment: who is named has it or had it, and what is to be
        removed was a socket file that nobody had.
        """
        place = exchanged(
            tmp_path / "nowhere", "link", "file", "folder", "fifo", "stale", "listener"
        )
        seen = set()
        for _ in range(2 * ROUNDS):
            (found,) = bindcheck.diagnose(f"unix:{place}")
            for cause in found.causes:
                seen.add(cause.code)
                removed = [one for one in cause.remedies if one.action == "remove-file"]
                assert not (removed and cause.code is CauseCode.PATH_EXISTS)
        assert {CauseCode.STALE_SOCKET_FILE, CauseCode.PATH_EXISTS} <= seen

    def test_link_to_a_live_socket_is_not_connected(
        self, exchanged: Callable[..., Path], tmp_path: Path
    ) -> None:
        """Between the look and the question the file may have become a link."""
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with server, datagrams:
            server.bind(str(tmp_path / "server"))
            server.listen()
            datagrams.bind(str(tmp_path / "datagrams"))
            place = exchanged(tmp_path / "server", "link", "stale")
            for _ in range(ROUNDS):
                bindcheck.diagnose(f"unix:{place}")
            for one in (server, datagrams):
                one.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()
            with pytest.raises(BlockingIOError):
                datagrams.recv(1)
