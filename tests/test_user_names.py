"""Names of users; also where the name service does not answer."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bindcheck import users
from bindcheck.users import UserNames
from tests.support import Holder, as_user, needs
from tests.support.namespaces import CLONE_NEWNS, mount, unshare
from tests.support.preloaded import library
from tests.support.terminal import BINDCHECK, environment

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN, ANOTHER = 54321, 54322
ENDS_WITHIN = 20.0
LIMIT = "user-names-unread"


def test_those_of_the_file_are_as_the_system_tells_them() -> None:
    names = UserNames()
    for one in pwd.getpwall():
        assert names.name_of(one.pw_uid) == pwd.getpwuid(one.pw_uid).pw_name
    assert names.name_of(None) is None
    assert names.limits == ()


@pytest.mark.parametrize("uid", [UNKNOWN, 2**32 - 1, -1, 2**40])
def test_who_is_nobody_has_none(uid: int) -> None:
    names = UserNames()
    assert names.name_of(uid) is None
    assert names.limits == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"one:x:54321:54322::/:/bin/sh\n", "one"),
        (b"a:x:1:54321::/:\nb:x:54321:1::/:\nc:x:54321:1::/:\n", "b"),
        (b"no end:x:54321:1", "no end"),
        (b"\xff:x:54321:1::/:", "\udcff"),
        (b"group:x:1:54321::/:\n", None),
        (b"+:x:54321:1::/:\n-one:x:54321:1::/:\n:x:54321:1::/:\n", None),
        (b"", None),
        (b":54321:", None),
        (b"\n\n::54321:\n", None),
        (b"one:x:543210:1::/:\ntwo:x:154321:1::/:\n", None),
    ],
)
def test_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, name: str | None
) -> None:
    file = tmp_path / "passwd"
    file.write_bytes(text)
    monkeypatch.setattr(users, "_FILE", str(file))
    assert UserNames().name_of(UNKNOWN) == name


def test_without_a_file_the_system_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "_FILE", str(tmp_path / "none"))
    assert UserNames().name_of(0) == pwd.getpwuid(0).pw_name


def asked_of_the_mute(folder: Path, *arguments: str) -> tuple[Any, int]:
    """What bindcheck tells where names do not come, and for how many it has asked."""
    shutil.copy(library("nss_mute"), folder / "libnss_mute.so.2")
    (folder / "nsswitch.conf").write_text("passwd: files mute\n", "ascii")
    told, tell = os.pipe()

    def call() -> str:
        unshare(CLONE_NEWNS)
        mount("--make-rprivate", "/")
        mount("--bind", str(folder / "nsswitch.conf"), "/etc/nsswitch.conf")
        done = subprocess.run(
            [*BINDCHECK, "--json", *arguments],
            env=environment({"LD_LIBRARY_PATH": str(folder), "NSS_TELL": str(tell)}),
            pass_fds=(tell,),
            capture_output=True,
            text=True,
            timeout=ENDS_WITHIN,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout

    out = as_user(0, call)
    os.close(tell)
    with os.fdopen(told, "rb") as asked:
        return json.loads(out), len(asked.read())


def become(holder: Holder, uid: int) -> None:
    holder.run(f"os.setgroups([]); os.setresgid({uid}, {uid}, {uid})")
    holder.run(f"os.setresuid({uid}, {uid}, {uid})")


@needs("root", "socket tables")
@pytest.mark.usefixtures("network")
class TestNamesThatDoNotCome:
    """The server of the name service is away."""

    def test_holders(self, make_holder: Callable[..., Holder], tmp_path: Path) -> None:
        """They are asked for once, however many there are."""
        one, two = make_holder(), make_holder()
        become(one, UNKNOWN)
        become(two, ANOTHER)
        port = one.bind(listen=True)
        two.bind("127.0.0.2", port, listen=True)
        found, asked = asked_of_the_mute(tmp_path, f"0.0.0.0:{port}")
        (result,) = found["results"]
        holders = {
            process["pid"]: process["user"]
            for blocker in result["blockers"]
            for process in blocker["owner"]["processes"]
        }
        assert holders == {one.pid: None, two.pid: None}
        assert LIMIT in [limit["code"] for limit in result["limits"]]
        assert asked == 1

    def test_socket_files(self, make_holder: Callable[..., Holder]) -> None:
        holder = make_holder()
        become(holder, UNKNOWN)
        # Not pytest's own folder, which others may not enter.
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o777)
            path = f"{folder}/s"
            holder.run(
                "kept['main'] = socket.socket(socket.AF_UNIX)\n"
                f"kept['main'].bind({path!r})\n"
                "kept['main'].listen()"
            )
            found, asked = asked_of_the_mute(Path(folder), f"unix:{path}")
        (result,) = found["results"]
        assert result["causes"][0]["code"] == "unix-listener"
        assert LIMIT in [limit["code"] for limit in result["limits"]]
        assert asked == 1

    def test_in_the_file_they_are(
        self, make_holder: Callable[..., Holder], tmp_path: Path
    ) -> None:
        port = make_holder().bind(listen=True)
        found, asked = asked_of_the_mute(tmp_path, f"127.0.0.1:{port}")
        (result,) = found["results"]
        assert result["blockers"][0]["owner"]["processes"][0]["user"] == "root"
        assert LIMIT not in [limit["code"] for limit in result["limits"]]
        assert asked == 0
