"""Programs that call themselves what would hurt a terminal, a parser or a reader.

Every name here is another user's to choose. Whatever it is, a line stays a line, JSON
stays JSON, and a command that is to be pasted names the pid and nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bindcheck
from bindcheck.machine import decode
from tests.support import Holder, needs
from tests.support.interfaces import make_pair, raise_pair
from tests.support.terminal import BINDCHECK, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]
HOST = "127.0.0.1"
MOST_TEXT = 8000  # characters for a person: some lines, whatever the names are
DIALECTS = {
    "terminal": b"\x1b[2J\x07\xe2\x80\xae\xe2\x81\xa6",  # clear, ring, reverse
    "lines": b"a\nkill 1\r\x0b\x85",
    "bytes": b"\xff\xfe\x80[red]%s{0}",
    "shell": b"$(kill 1)`;'\"*) R 1 1",
    "escapes": b"\\n\\\\ (a)\n",
}


def bindcheck_says(*arguments: str, given: str = "") -> str:
    """What the command prints, which must be harmless; its errors as well."""
    done = subprocess.run(
        [*BINDCHECK, *arguments],
        env=environment({"COLUMNS": "200"}),
        input=given.encode("utf-8", "surrogateescape"),
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 1, 3, 4), done.stderr
    out, err = done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    for line in (out + err).split("\n"):
        assert line.isprintable(), line
    assert "Traceback" not in err
    return out if "--json" in arguments else out + err


def as_json(*arguments: str) -> Any:
    text = bindcheck_says("--json", *arguments)
    assert text.isascii()
    assert text.count("\n") == len(json.dumps(json.loads(text), indent=2).split("\n"))
    return json.loads(text)


def processes(found: Any) -> list[Any]:
    (result,) = found["results"]
    return [
        one for blocker in result["blockers"] for one in blocker["owner"]["processes"]
    ]


def kills(text: str) -> list[str]:
    """Every line that a person may paste to end something."""
    lines = [line.strip() for line in text.split("\n")]
    return [line for line in lines if line.startswith(("kill ", "sudo kill "))]


@pytest.fixture(params=[*DIALECTS.values()], ids=[*DIALECTS])
def word(request: pytest.FixtureRequest) -> bytes:
    return bytes(request.param)


@pytest.fixture
def hostile(
    word: bytes, make_holder: Callable[..., Holder], tmp_path: Path
) -> tuple[Holder, int]:
    """A listener that is called so, in a folder that is called so, with such words."""
    arguments = (os.fsdecode(word), "x" * 100_000, os.fsdecode(word))
    holder = make_holder(arguments=arguments)
    folder = bytes(tmp_path) + b"/" + word.replace(b"/", b"")
    Path(os.fsdecode(folder)).mkdir()
    holder.run(
        f"import ctypes; ctypes.CDLL(None).prctl(15, {word[:15]!r}, 0, 0, 0)\n"
        f"os.chdir({folder!r})"
    )
    return holder, holder.bind(listen=True)


class TestProcess:
    """A process's name, its command line and its folder."""

    def test_text(self, hostile: tuple[Holder, int]) -> None:
        holder, port = hostile
        for options in ((), ("-v",), ("--reuseaddr", "--listen")):
            text = bindcheck_says(*options, f"{HOST}:{port}")
            assert kills(text) == [f"kill {holder.pid}"]
            assert len(text) < MOST_TEXT
            assert f"(pid {holder.pid})" in text.split("\n")[0]

    def test_one_line_is_one_line(self, hostile: tuple[Holder, int]) -> None:
        holder, port = hostile
        for arguments in (("-q", f"{HOST}:{port}"), ("probe", f"{HOST}:{port}")):
            assert bindcheck_says(*arguments).count("\n") == 1
        table = bindcheck_says("list", str(port))
        (row,) = [line for line in table.split("\n") if str(holder.pid) in line.split()]
        assert row.split()[:4] == [str(port), "tcp", HOST, "listener"]

    def test_json(self, hostile: tuple[Holder, int], word: bytes) -> None:
        holder, port = hostile
        found = as_json(f"{HOST}:{port}")
        (process,) = processes(found)
        assert process["pid"] == holder.pid
        assert process["name"] == decode(word[:15])
        assert process["command"][4] == decode(word)
        assert process["command_truncated"] is True
        commands = [
            one["command"]
            for cause in found["results"][0]["causes"]
            for one in cause["remedies"]
            if one["action"] == "stop-holder"
        ]
        assert commands == [["kill", str(holder.pid)]]
        json.loads(bindcheck_says("list", "--json", str(port)))

    def test_recording(self, hostile: tuple[Holder, int], tmp_path: Path) -> None:
        holder, port = hostile
        file = str(tmp_path / "file.json")
        bindcheck_says("--record", file, "--record-commands", f"{HOST}:{port}")
        assert Path(file).read_text("utf-8").isascii()
        assert kills(bindcheck_says("replay", "-v", file)) == [f"kill {holder.pid}"]
        (process,) = processes(as_json("replay", file))
        (seen,) = processes(as_json(f"{HOST}:{port}"))
        assert process == {**seen, "state": process["state"]}

    def test_other_verbs(self, hostile: tuple[Holder, int]) -> None:
        holder, port = hostile
        where = f"{HOST}:{port}"
        said = bindcheck_says("stop", "--dry-run", where)
        assert str(holder.pid) in said
        assert len(said) < MOST_TEXT
        assert len(bindcheck_says("wait", "--timeout", "0.05", where)) < MOST_TEXT
        line = f"OSError: [Errno 98] Address already in use: ('{HOST}', {port})"
        assert kills(bindcheck_says("explain", line)) == [f"kill {holder.pid}"]
        assert holder.process.poll() is None

    def test_stop_ends_this_one_alone(
        self, hostile: tuple[Holder, int], make_holder: Callable[..., Holder]
    ) -> None:
        """Beside it is another that is called the same."""
        holder, port = hostile
        twin = make_holder()
        name = Path(f"/proc/{holder.pid}/comm").read_bytes().rstrip(b"\n")
        twin.run(f"import ctypes; ctypes.CDLL(None).prctl(15, {name!r}, 0, 0, 0)")
        twin.bind(listen=True)
        bindcheck_says("stop", "--yes", f"{HOST}:{port}")
        assert holder.process.wait() == -15
        assert twin.process.poll() is None

    def test_log_line(self, hostile: tuple[Holder, int], word: bytes) -> None:
        holder, port = hostile
        noise = os.fsdecode(word) + "x" * 20_000
        line = f"{noise}: bind() to {HOST}:{port} failed (98: Address already in use)"
        text = bindcheck_says("explain", "-", given=f"{noise}\n{line}\n")
        assert kills(text) == [f"kill {holder.pid}"]
        assert len(text) < MOST_TEXT
        longer = bindcheck_says("explain", "-", given=f"{line}\n" + "x" * 100_000)
        assert "only the first 65536 bytes of standard input were read" in longer


class TestExecutable:
    def test_deleted(self, word: bytes, holder: Holder, tmp_path: Path) -> None:
        """A program that calls itself anything and whose file is gone."""
        program = tmp_path / "program"
        shutil.copy(str(shutil.which("sleep")), program)
        port = holder.bind(listen=True)
        pid = holder.run(
            "kept['main'].set_inheritable(True)\n"
            f"result = os.posix_spawn({str(program)!r}, [{word!r}, '1000'], {{}})"
        )
        try:
            holder.close()
            program.unlink()
            text = bindcheck_says(f"{HOST}:{port}")
            assert kills(text) == [f"kill {pid}"]
            (process,) = processes(as_json(f"{HOST}:{port}"))
            assert process["pid"] == pid
            assert process["command"][0] == decode(word)
            assert process["command_truncated"] is False
        finally:
            holder.run(f"os.kill({pid}, 9); os.waitpid({pid}, 0)")


@pytest.fixture
def many() -> int:
    """As many descriptors as a process may have here, up to 100,000."""
    return min(100_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 64)


class TestDescriptors:
    """A process with very many descriptors."""

    @pytest.mark.parametrize("whose", ["holder", "neighbour", "same"])
    def test_all_are_looked_at(
        self, make_holder: Callable[..., Holder], many: int, whose: str
    ) -> None:
        holder, neighbour = make_holder(), make_holder()
        port = holder.bind(listen=True)
        one = neighbour if whose == "neighbour" else holder
        what = "kept['main'].fileno()" if whose == "same" else "kept['null'].fileno()"
        one.run(
            "import resource\n"
            f"resource.setrlimit(resource.RLIMIT_NOFILE, ({many + 64},) * 2)\n"
            "kept['null'] = open(os.devnull)\n"
            f"kept['many'] = [os.dup({what}) for _ in range({many})]\n"
            "kept['last'] = os.dup(kept['main'].fileno()) if 'main' in kept else 0"
        )
        found = as_json(f"{HOST}:{port}")
        (process,) = processes(found)
        assert process["pid"] == holder.pid
        assert len(process["fds"]) == {"same": many + 2}.get(whose, 1 + (one is holder))
        assert process["command"]
        codes = {limit["code"] for limit in found["results"][0]["limits"]}
        assert codes <= {"processes-unreadable"}
        assert len(bindcheck_says("-v", f"{HOST}:{port}")) < MOST_TEXT


def can_be_typed(name: bytes) -> bool:
    return decode(name).isprintable() and decode(name) == os.fsdecode(name)


def told_to_run(address: bytes, program: str) -> list[list[str]]:
    """The commands of that program which the diagnosis of Python's address offers."""
    (found,) = bindcheck.diagnose(address)
    told = [found.causes[0].summary, *found.causes[0].evidence]
    assert all(line.isprintable() and len(line) < MOST_TEXT for line in told)
    commands = [remedy.command for cause in found.causes for remedy in cause.remedies]
    return [list(one) for one in commands if one is not None and one[0] == program]


def look_at(scheme: str, name: bytes, pid: int) -> None:
    """With every verb; what cannot be typed is refused, in a harmless line."""
    target = scheme + os.fsdecode(name)
    if not can_be_typed(name):
        done = subprocess.run([*BINDCHECK, target], capture_output=True, check=False)
        (line, end) = done.stderr.decode("utf-8").split("\n")
        assert (done.returncode, end) == (2, "")
        assert line.isprintable()
        return
    assert kills(bindcheck_says(target)) == [f"kill {pid}"]
    assert bindcheck_says("-q", target).count("\n") == 1
    assert processes(as_json(target))[0]["pid"] == pid
    bindcheck_says("stop", "--dry-run", target)
    bindcheck_says("wait", "--timeout", "0.05", target)


@needs("unix sockets")
class TestUnixNames:
    def test_path(self, word: bytes, holder: Holder, tmp_path: Path) -> None:
        path = bytes(tmp_path / "s") + word.replace(b"/", b"") + b"."
        holder.run(f"kept['u'] = socket.socket(1); kept['u'].bind({path!r})")
        removals = [["rm", os.fsdecode(path)]] if can_be_typed(path) else []
        assert told_to_run(path, "rm") == removals
        assert told_to_run(path, "kill") == [["kill", str(holder.pid)]]
        look_at("unix:", path, holder.pid)

    def test_abstract_name(self, word: bytes, holder: Holder) -> None:
        name = b"%d" % holder.pid + word + b"."
        inner = b"\0" + name
        holder.run(f"kept['u'] = socket.socket(1); kept['u'].bind({inner!r})")
        assert told_to_run(inner, "kill") == [["kill", str(holder.pid)]]
        look_at("unix:@", name, holder.pid)

    def test_names_that_differ_behind_a_zero_byte(self, holder: Holder) -> None:
        """A longer name is another one, which is not in the way."""
        name = f"bindcheck-{holder.pid}"
        for longer in (f"\0{name}\0", f"\0{name}\0x"):
            holder.run(f"kept[{longer!r}] = socket.socket(1)")
            holder.run(f"kept[{longer!r}].bind({longer!r})")
        (free,) = bindcheck.diagnose(f"unix:@{name}")
        assert free.attempt.ok is True
        (taken,) = bindcheck.diagnose(f"\0{name}\0x".encode())
        assert [one.pid for one in taken.blockers[0].owner.processes] == [holder.pid]

    @needs("root")
    def test_link(self, word: bytes, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(os.fsdecode(word * 200)[:4000])
        text = bindcheck_says(f"unix:{tmp_path}/link")
        assert "rm " not in text
        assert len(text) < MOST_TEXT


def cgroup2() -> Path:
    """Where the hierarchy of version 2 is mounted."""
    mounts = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    return Path(*(line.split()[1] for line in mounts if line.split()[2] == "cgroup2"))


class TestSurroundings:
    """What the machine's managers named: cgroups, interfaces, users, file systems."""

    @needs("root")
    def test_cgroup(self, word: bytes, holder: Holder) -> None:
        part = os.fsdecode(word.replace(b"/", b"").replace(b"\n", b"") + b".service")
        folder = cgroup2() / f"bindcheck-{holder.pid}.slice"
        with contextlib.ExitStack() as stack:
            for one in (folder, folder / part):
                one.mkdir()
                stack.callback(one.rmdir)
            stack.callback(holder.kill)
            (folder / part / "cgroup.procs").write_text(str(holder.pid), "ascii")
            port = holder.bind(listen=True)
            text = bindcheck_says("-v", f"{HOST}:{port}")
            assert "kill 1" not in kills(text)
            bindcheck_says("list", str(port))
            owner = as_json(f"{HOST}:{port}")["results"][0]["blockers"][0]["owner"]
            assert owner["cgroup"] == f"/{folder.name}/{decode(os.fsencode(part))}"

    @needs("root")
    def test_cgroup_that_looks_like_another_line(self, holder: Holder) -> None:
        """What a user may call his own names no service of the system."""
        folder = cgroup2() / f"bindcheck-{holder.pid}"
        inner = [folder, folder / "x\r0::"]
        inner += [inner[-1] / "system.slice", inner[-1] / "system.slice" / "a.service"]
        with contextlib.ExitStack() as stack:
            for one in inner:
                one.mkdir()
                stack.callback(one.rmdir)
            stack.callback(holder.kill)
            (inner[-1] / "cgroup.procs").write_text(str(holder.pid), "ascii")
            port = holder.bind(listen=True)
            text = bindcheck_says("-v", f"{HOST}:{port}")
            owner = as_json(f"{HOST}:{port}")["results"][0]["blockers"][0]["owner"]
        assert (owner["unit"], "service" in owner["traits"]) == (None, False)
        assert kills(text) == [f"kill {holder.pid}"]

    @needs("root", "network namespaces", "ip")
    @pytest.mark.parametrize("name", ["\x1b[31mred", "\u202eoh", "$(kill,1)"])
    def test_interface(self, name: str, holder: Holder) -> None:
        make_pair(name)
        raise_pair(name)
        port = holder.bind(listen=True, device=name)
        for arguments in (("--device", name), ("-v",), ()):
            bindcheck_says(*arguments, f"{HOST}:{port}")
        bindcheck_says("list", str(port))
        index = socket.if_nametoindex(name)
        (result,) = as_json("--device", name, f"{HOST}:{port}")["results"]
        assert result["blockers"][0]["socket"]["device"] == index
        if name.isprintable():
            bindcheck_says(f"[fe80::1%{name}]:{port}")
        bindcheck_says("doctor")

    @needs("root")
    def test_user_without_a_name(self, make_holder: Callable[..., Holder]) -> None:
        holder = make_holder(uid=3_999_999_999)
        port = holder.bind(listen=True)
        text = bindcheck_says(f"{HOST}:{port}")
        assert "uid 3999999999" in text
        (process,) = processes(as_json(f"{HOST}:{port}"))
        assert process["user"] is None

    @needs("root", "FUSE")
    def test_file_system(self, tmp_path: Path) -> None:
        """Who mounts a FUSE one gives it a name and a type."""
        libc = ctypes.CDLL(None, use_errno=True)
        folder = tmp_path / "\x1b[31m mount"
        folder.mkdir()
        with mounted_fuse(libc, folder, b"fuse.\x1b[31mred"):
            (found,) = bindcheck.diagnose(bytes(folder / "s"))
        (limit,) = found.limits
        assert limit.text.isprintable()
        assert "does not answer" in limit.text


@contextlib.contextmanager
def mounted_fuse(libc: ctypes.CDLL, folder: Path, kind: bytes) -> Iterator[None]:
    """Mounted, and served by nobody."""
    handle = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={handle},rootmode=40000,user_id=0,group_id=0".encode()
        if libc.mount(b"\x1b[1m", os.fsencode(folder), kind, 0, options) != 0:
            raise OSError(ctypes.get_errno(), "mount")
        try:
            yield
        finally:
            libc.umount2(os.fsencode(folder), 1 | 2)  # MNT_FORCE, MNT_DETACH
    finally:
        os.close(handle)
