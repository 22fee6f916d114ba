"""The command as people and scripts meet it: status, streams, colours, text."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native
from bindcheck.cli.main import run
from bindcheck.cli.parser import parse_arguments
from bindcheck.cli.verbs import VERBS
from tests.support import NOBODY, Holder, as_user, needs
from tests.support.terminal import CONTROL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BINDCHECK = (sys.executable, "-m", "bindcheck")
IN_USE = '  bind: 98 EADDRINUSE "Address already in use"'
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
WIDE = {"COLUMNS": "400"}

linux = needs("socket tables")
in_private_network = pytest.mark.usefixtures("network")


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    status: int
    out: str
    err: str = ""

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def section(self, heading: str) -> list[str]:
        """The lines below a heading, without their indent."""
        below = self.lines[self.lines.index(heading) + 1 :]
        found = []
        for line in below:
            if not line.startswith("  "):
                break
            found.append(line[2:])
        return found


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would change the output, and with `changes`."""
    ours = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "TERM": "xterm", **changes}


def command(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Answer:
    """Run the command with pipes."""
    done = subprocess.run(
        [*BINDCHECK, *arguments],
        env=environment(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=cwd,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def in_terminal(
    *arguments: str,
    width: int = 0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Answer:
    """Run the command in a pseudo-terminal of `width` columns (0: it says none)."""
    pty, termios = map(importlib.import_module, ("pty", "termios"))
    ours, theirs = pty.openpty()
    if width:
        termios.tcsetwinsize(theirs, (24, width))
    with subprocess.Popen(
        [*BINDCHECK, *arguments],
        env=environment(env or {}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
    ) as process:
        os.close(theirs)
        shown = bytearray()
        # On Linux the end of a terminal whose programs are gone is an error, EIO.
        with contextlib.suppress(OSError):
            while data := os.read(ours, 4096):
                shown += data
        os.close(ours)
    return Answer(process.returncode, shown.decode().replace("\r\n", "\n"))


def here(*arguments: str) -> Answer:
    """Run the command in this process, as whoever it is."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            status = run(arguments)
        except SystemExit as stop:  # argparse ends so
            status = int(stop.code or 0)
    return Answer(status, out.getvalue(), err.getvalue())


def as_nobody(
    *arguments: str, prefix: Path | None = None, width: str = "400"
) -> Answer:
    """Run the command as nobody, who can see no other user's processes.

    Args:
        arguments: those of the command.
        prefix: the folder in which Python and the command would be installed. The real
            one may be closed to nobody.
        width: of the lines, in columns.
    """
    # Load what nobody may be unable to read.
    here(*arguments)
    for name in ("pwd", "shutil"):
        importlib.import_module(name)

    def call() -> Answer:
        os.environ["COLUMNS"] = width
        sys.argv = ["bindcheck", *arguments]
        if prefix is not None:
            sys.executable = str(prefix / "python")
        return here(*arguments)

    return as_user(NOBODY, call)


@pytest.fixture
def prefix() -> Iterator[Path]:
    """A folder with a console script, which everybody may enter."""
    with tempfile.TemporaryDirectory(suffix=" with blank") as name:
        folder = Path(name)
        folder.chmod(0o755)
        script = folder / "bindcheck"
        script.touch()
        script.chmod(0o755)
        yield folder


@contextlib.contextmanager
def lingering(holder: Holder, *, reuse_address: bool) -> Iterator[int]:
    """A port whose server has gone and left a connection in TIME_WAIT."""
    port = holder.bind(listen=True, reuse_address=reuse_address)
    with socket.create_connection(("127.0.0.1", port)):
        holder.run("kept['child'], _ = kept['main'].accept()")
        holder.kill()
    yield port


def user_name(uid: int) -> str:
    return str(importlib.import_module("pwd").getpwuid(uid).pw_name)


def is_one_line(text: str) -> bool:
    return text.endswith("\n") and text.rstrip("\n").isprintable()


class TestStatus:
    """0: can be bound, 1: cannot, 2: usage, 3: could not find out."""

    def test_bindable(self) -> None:
        answer = command("127.0.0.1:0")
        assert (answer.status, answer.err) == (0, "")

    @linux
    @in_private_network
    def test_blocked(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        answer = command(f"127.0.0.1:{port}")
        assert (answer.status, answer.err) == (1, "")

    @linux
    @in_private_network
    def test_conditional(self, holder: Holder) -> None:
        with lingering(holder, reuse_address=True) as port:
            assert command(f"127.0.0.1:{port}").status == 1
            assert command("--reuseaddr", f"127.0.0.1:{port}").status == 0
            assert command("--no-reuseaddr", f"127.0.0.1:{port}").status == 1

    @needs("network namespaces")  # elsewhere a name server may let us wait
    @in_private_network
    def test_no_such_name(self) -> None:
        assert command("no-such-host.invalid:80").status == 1

    @needs("root", "socket tables", "IPv6")
    @in_private_network
    def test_not_found_out(self, holder: Holder) -> None:
        """The receiver's options cannot be read, and trying could take its traffic."""
        port = holder.bind("::1", kind="udp")
        answer = as_nobody("--udp", "--reuseaddr", f"[::1]:{port}")
        assert (answer.status, answer.err) == (3, "")
        assert answer.lines[0].startswith("could not find out whether [::1]:")

    @needs("root", "socket tables", "IPv6")
    @in_private_network
    def test_worst_of_several_counts(self, holder: Holder) -> None:
        unclear = f"[::1]:{holder.bind('::1', kind='udp', name='unclear')}"
        taken = f"127.0.0.1:{holder.bind(name='taken')}/tcp"
        free = "127.0.0.1:0"
        options = ("--udp", "--reuseaddr")
        assert as_nobody(*options, free, free).status == 0
        assert as_nobody(*options, taken, free).status == 1
        assert as_nobody(*options, free, taken).status == 1
        assert as_nobody(*options, taken, unclear, free).status == 3

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            (["70000"], "70000"),
            (["127.0.0.1:0", "foo:bar"], "'bar'"),
            (["1.2.3"], "1.2.3"),
            (["[::1"], "'[::1'"),
            (["unix:"], "'unix:'"),
            ([""], "empty"),
            (["-1"], "-1"),
            (["--", "-1"], "-1"),
            (["127.0.0.1:-1"], "-1"),
            (["a\nb:80"], r"a\nb"),
            (["\x1b[31m:80"], r"\x1b"),
            (["\u202e:80"], r"\u202e"),
            ([], "no target"),
            (["check"], "no target"),
            (["probe"], "no target"),
            (["--no-such-option", "80"], "--no-such-option"),
            (["--\x1b[31m", "80"], r"--\x1b[31m"),
            (["-4", "-6", "80"], "-6"),
            (["-4", "[::1]:80"], "'[::1]:80'"),
            (["-6", "127.0.0.1:80"], "'127.0.0.1:80'"),
            (["--listen", "80/udp"], "listen"),
            (["--listen", "--udp", "80"], "listen"),
            (["--v6only", "127.0.0.1:80"], "v6only"),
            (["--device", "nowhere0", "80"], "'nowhere0'"),
            (["--device", "x" * 16, "80"], "x" * 16),
            (["--device", "a\nb", "80"], r"a\nb"),
            (["--device", "", "80"], "''"),
            (["--device"], "--device"),
            (["127.0.0.1:0", "[fe80::1%\u00e9]:80", "70000"], "70000"),
        ],
    )
    def test_usage_is_one_line_that_names_the_part(
        self, arguments: list[str], part: str
    ) -> None:
        answer = here(*arguments)
        assert (answer.status, answer.out) == (2, "")
        assert is_one_line(answer.err)
        assert answer.err.startswith("bindcheck: ")
        assert part in answer.err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["70000"],
            ["--no-such-option"],
            [],
            ["a\nb:80"],
            ["--device", "x\x1by", "80"],
        ],
    )
    def test_usage_error_of_the_real_command(self, arguments: list[str]) -> None:
        answer = command(*arguments)
        assert answer == here(*arguments)
        assert (answer.status, answer.out) == (2, "")

    @linux
    def test_zone_of_any_script_is_no_usage_error(self) -> None:
        answer = command("[fe80::1%\u00e9]:80")
        assert (answer.status, answer.err) == (1, "")
        assert "there is no such interface" in answer.out

    def test_help_and_version(self) -> None:
        for option in ("--help", "-h", "--version"):
            answer = command(option)
            assert (answer.status, answer.err) == (0, "")
            assert answer.out.startswith(("usage: bindcheck", "bindcheck 0."))
            assert "\x1b" not in answer.out


class TestStreams:
    """Data to stdout, trouble to stderr, and no traceback whatever happens to them."""

    def test_reader_that_has_gone(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        for arguments in (["127.0.0.1:0"], ["--json", "8080"], ["--help"]):
            done = subprocess.run(
                [*BINDCHECK, *arguments],
                stdout=writer,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONUNBUFFERED": ""},
                text=True,
                check=False,
            )
            assert done.stderr == "", arguments
        os.close(writer)

    @needs("sh", "head")
    def test_head(self) -> None:
        line = f"{shlex.join(BINDCHECK)} --json 8080 8081 8082 127.0.0.1:0 | head -1"
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, check=True
        )
        assert (done.stdout, done.stderr) == ("{\n", "")

    @linux
    def test_what_runs_out_is_not_called_a_failed_write(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def run_out(_: object) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/proc")

        monkeypatch.setattr("bindcheck.cli.probe.run", run_out)
        answer = here("probe", "8080")
        assert (answer.status, answer.out) == (3, "")
        assert answer.err == "bindcheck: cannot go on: Too many open files\n"

    @pytest.mark.parametrize("option", ["-v", "--json"])
    def test_full_disk(self, option: str) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*BINDCHECK, option, "127.0.0.1:0"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 3
        assert is_one_line(done.stderr)
        assert "No space left on device" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "status", "out"),
        [
            (["bad:bad:bad"], 2, ""),
            (["explain", "xyz"], 2, ""),
            (["list", "99999"], 2, ""),
            (["free", "--hold", "127.0.0.1", "--", "echo", "runs"], 0, "runs\n"),
        ],
    )
    def test_full_disk_for_what_is_said_beside_it(
        self, arguments: list[str], status: int, out: str
    ) -> None:
        """Neither the answer nor the command that is to run depends on it."""
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*BINDCHECK, *arguments],
                stdout=subprocess.PIPE,
                stderr=full,
                text=True,
                check=False,
            )
        assert (done.returncode, done.stdout) == (status, out)

    def test_gone_reader_of_what_is_said_beside_it(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [*BINDCHECK, "wait", f"127.0.0.1:{port}", "--timeout", "0.1"],
            stdout=subprocess.PIPE,
            stderr=write,
            text=True,
            check=False,
        )
        os.close(write)
        assert done.returncode == 1
        assert f"pid {holder.pid}" in done.stdout

    @needs("sh")
    @pytest.mark.parametrize("option", ["-v", "--json"])
    def test_closed_stdout(self, option: str) -> None:
        line = f"{shlex.join(BINDCHECK)} {option} 127.0.0.1:0 >&-"
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) <= 1

    @needs("sh")
    def test_closed_stderr(self) -> None:
        line = f"{shlex.join(BINDCHECK)} 70000 2>&-"
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")

    @needs("network namespaces")
    @in_private_network
    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
    def test_encoding_that_cannot_show_a_name(self, encoding: str) -> None:
        done = subprocess.run(
            [*BINDCHECK, "b\u00fccher.invalid:80", "\u65e5.invalid:80"],
            env=environment({"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}),
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, b"")
        shown = done.stdout.decode(encoding)
        assert "cher.invalid:80 cannot be bound" in shown

    def test_pipe_has_no_escapes(self) -> None:
        for arguments in (["127.0.0.1:0"], ["192.0.2.77:80"], ["--json", "80"]):
            assert "\x1b" not in command(*arguments).out


@linux
@in_private_network
class TestTerminal:
    """Colours on a terminal; but for them it shows what a pipe would get."""

    def test_colours(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        answer = in_terminal(f"127.0.0.1:{port}", width=400)
        assert answer.status == 1
        head, native, *rest = answer.lines
        assert head.startswith("\x1b[1;31m127.0.0.1:")  # bold red
        assert native.startswith("\x1b[2m  bind: 98")  # dim
        assert f"\x1b[36m  kill {holder.pid}\x1b[0m" in rest  # cyan
        assert all(line.endswith("\x1b[0m") for line in rest if "\x1b" in line)

    def test_colours_of_the_other_answers(self, holder: Holder) -> None:
        assert in_terminal("127.0.0.1:0", width=99).out.startswith("\x1b[1;32m")
        with lingering(holder, reuse_address=True) as port:
            shown = in_terminal(f"127.0.0.1:{port}", width=99).out
        assert shown.startswith("\x1b[1;33m")

    @pytest.mark.parametrize("width", [40, 80, 400])
    def test_text_is_that_of_a_pipe(self, holder: Holder, width: int) -> None:
        port = holder.bind(listen=True)
        targets = (f"127.0.0.1:{port}", "192.0.2.77:80", f"127.0.0.1:{port}/udp")
        shown = in_terminal(*targets, width=width)
        piped = command(*targets, env={"COLUMNS": str(width)})
        assert timeless(ESCAPE.sub("", shown.out)) == timeless(piped.out)
        assert "\x1b" in shown.out

    @pytest.mark.parametrize(
        ("arguments", "changes"),
        [
            ([], {"NO_COLOR": "1"}),
            ([], {"TERM": "dumb"}),
            (["--no-color"], {}),
            (["--json"], {}),
            (["-q", "--no-color"], {}),
        ],
    )
    def test_no_colours(
        self, holder: Holder, arguments: list[str], changes: dict[str, str]
    ) -> None:
        port = holder.bind(listen=True)
        answer = in_terminal(*arguments, f"127.0.0.1:{port}", width=80, env=changes)
        assert answer.status == 1
        assert "\x1b" not in answer.out
        assert "EADDRINUSE" in answer.out or arguments[:1] == ["-q"]

    def test_empty_no_color_does_not_count(self) -> None:
        """https://no-color.org: "when present and not an empty string"."""
        assert "\x1b" in in_terminal("127.0.0.1:0", width=80, env={"NO_COLOR": ""}).out

    def test_probe_has_no_colours(self) -> None:
        answer = in_terminal("probe", "127.0.0.1:1", width=80)
        assert "\x1b" not in answer.out

    def test_terminal_that_does_not_say_its_width(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        shown = in_terminal(f"127.0.0.1:{port}", width=0)
        piped = command(f"127.0.0.1:{port}")
        assert timeless(ESCAPE.sub("", shown.out)) == timeless(piped.out)

    def test_trouble_has_no_colours(self) -> None:
        answer = in_terminal("70000", width=80)
        assert answer.status == 2
        assert "\x1b" not in answer.out


def timeless(text: str) -> str:
    """A text without what a second's difference changes, on unwrapped words."""
    return re.sub(r"\b\d+( s\b|\n +s\b)", "N s", text)


HOSTILE = ("[/x]", "[bold]", "\x1b[31mred", "a\nb", "\u202egnp", "'; reboot; '")
# A program that listens, under a name and in a folder that somebody else chose.
HOSTILE_PROGRAM = """
import ctypes, os, socket, sys
os.mkdir("[bold]\\x1b[7m\\nx")
os.chdir("[bold]\\x1b[7m\\nx")
ctypes.CDLL(None).prctl(15, b"[/x]\\x1b[1m\\nz\\xe2\\x80\\xae")
one = socket.create_server(("127.0.0.1", 0))
print(one.getsockname()[1], flush=True)
sys.stdin.read()
"""


@linux
@in_private_network
class TestForeignText:
    """Other users choose names, arguments and folders: nothing of it is obeyed."""

    @pytest.fixture
    def hostile(self, tmp_path: Path) -> Iterator[int]:
        program = tmp_path / "p.py"
        program.write_text(HOSTILE_PROGRAM)
        with subprocess.Popen(
            [sys.executable, "-S", "p.py", *HOSTILE],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            yield int(process.stdout.readline())
            process.kill()

    def test_pipe_and_terminal_show_the_same(self, hostile: int) -> None:
        piped = command(f"127.0.0.1:{hostile}", env=WIDE)
        shown = in_terminal(f"127.0.0.1:{hostile}", width=400)
        plain = ESCAPE.sub("", shown.out)
        assert timeless(plain) == timeless(piped.out)
        for text in (plain, piped.out):
            assert all(line.isprintable() for line in text.splitlines())
            # The name, in the answer; then the arguments, then the folder.
            assert r"/tcp cannot be bound: [/x]\x1b[1m\x0az\u202e (pid " in text
            assert r"p.py '[/x]' '[bold]' '\x1b[31mred' 'a\x0ab' '\u202egnp' " in text
            assert r"/[bold]\x1b[7m\x0ax" in text
        # Between its own escapes the terminal got nothing that is none of its own.
        assert "\x1b[31mred" not in shown.out
        assert "\x1b[7m" not in shown.out

    def test_json(self, hostile: int) -> None:
        answer = command("--json", f"127.0.0.1:{hostile}")
        assert answer.out.isascii()
        assert "\x1b" not in answer.out
        (result,) = json.loads(answer.out)["results"]
        (process,) = result["blockers"][0]["owner"]["processes"]
        assert process["command"][3:] == list(HOSTILE)
        assert process["name"] == "[/x]\x1b[1m\nz\u202e"

    def test_every_line_of_verbose_output(self, hostile: int) -> None:
        answer = command("-v", f"127.0.0.1:{hostile}")
        assert all(line.isprintable() for line in answer.lines)

    @needs("root")
    def test_no_command_is_made_of_it(self, hostile: int) -> None:
        first, *rest = command(f"127.0.0.1:{hostile}", env=WIDE).section("what helps")
        assert re.fullmatch(r"kill \d+", first)
        assert rest == ["or take another port:", f"bindcheck free --near {hostile}"]


class TestWidth:
    """Prose is wrapped, commands never are."""

    @needs("root", "network namespaces")
    @in_private_network
    def test_command_stays_in_one_line(self) -> None:
        answer = as_nobody("127.0.0.1:80", width="40")
        long = "  sudo sysctl net.ipv4.ip_unprivileged_port_start=80"
        assert long in answer.lines
        for line in answer.lines:
            fits = len(line) <= 40 or " " not in line.strip()
            assert fits or line == long, line

    @needs("root", "socket tables")
    @in_private_network
    def test_command_of_the_hidden_owner_stays_in_one_line(
        self, holder: Holder, prefix: Path
    ) -> None:
        port = holder.bind(listen=True)
        answer = as_nobody(f"127.0.0.1:{port}", prefix=prefix, width="40")
        script = shlex.quote(str(prefix / "bindcheck"))
        assert f"  sudo {script} 127.0.0.1:{port}" in answer.lines

    @linux
    @in_private_network
    def test_prose_is_wrapped_and_nothing_is_lost(self, holder: Holder) -> None:
        port = holder.bind()
        wide = command(f"127.0.0.1:{port}", env=WIDE)
        narrow = command(f"127.0.0.1:{port}", env={"COLUMNS": "40"})
        assert len(narrow.lines) > len(wide.lines)
        assert timeless(narrow.out).split() == timeless(wide.out).split()
        for line in narrow.lines:
            assert len(line) <= 40 or " " not in line.strip(), line

    @pytest.mark.parametrize("columns", ["", "0", "-1", "x", "1", "99999999"])
    def test_strange_columns_do_no_harm(self, columns: str) -> None:
        answer = command("192.0.2.77:80", env={"COLUMNS": columns})
        assert (answer.status, answer.err) == (1, "")


RAISES = "raise SystemExit('a module of the current folder was imported')\n"


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder with modules that must not be imported from there."""
    for name in ("argparse", "json", "dataclasses", "rich", "psutil", "shlex"):
        (tmp_path / f"{name}.py").write_text(RAISES)
    return tmp_path


class TestCurrentFolder:
    """A diagnosis is made in strange places, with sudo too."""

    @pytest.mark.parametrize("option", ["-v", "--json", "--help"])
    def test_modules_there_are_not_imported(self, trap: Path, option: str) -> None:
        answer = command(option, "127.0.0.1:0", cwd=trap)
        assert (answer.status, answer.err) == (0, "")

    @linux
    def test_nor_on_a_terminal(self, trap: Path) -> None:
        answer = in_terminal("127.0.0.1:0", width=80, cwd=trap)
        assert answer.status == 0
        assert "can be bound" in answer.out

    def test_nor_for_trouble(self, trap: Path) -> None:
        answer = command("70000", cwd=trap)
        assert answer.status == 2
        assert is_one_line(answer.err)

    def test_folder_that_is_gone(self, tmp_path: Path) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        code = (
            "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]);"
            "os.execv(sys.executable,"
            " [sys.executable, '-m', 'bindcheck', '127.0.0.1:0'])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(gone)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


class TestJson:
    def test_several_targets_are_one_object(self) -> None:
        answer = command("--json", "127.0.0.1:0", "192.0.2.77:80", "127.0.0.1:0/udp")
        assert answer.status == 1
        found = json.loads(answer.out)
        assert [one["requested"] for one in found["results"]] == [
            "127.0.0.1:0",
            "192.0.2.77:80",
            "127.0.0.1:0/udp",
        ]
        assert answer.out.endswith("}\n")

    @needs("IPv6")
    @in_private_network
    def test_bare_port_has_two_results(self) -> None:
        found = json.loads(command("--json", "8080").out)
        assert [one["requested"] for one in found["results"]] == ["8080", "8080"]
        assert [one["target"]["address"] for one in found["results"]] == [
            "0.0.0.0",  # noqa: S104
            "::",
        ]

    @needs("IPv6")
    @in_private_network
    def test_text_merges_what_is_the_same(self) -> None:
        answer = command("8080")
        assert answer.out == "0.0.0.0:8080 and [::]:8080/tcp can be bound\n"

    @needs("IPv6")
    @pytest.mark.parametrize(("option", "family"), [("-4", "inet"), ("-6", "inet6")])
    @in_private_network
    def test_one_family(self, option: str, family: str) -> None:
        found = json.loads(command("--json", option, "8080").out)
        assert [one["target"]["family"] for one in found["results"]] == [family]

    def test_options_are_told(self) -> None:
        options = ("--reuseaddr", "--reuseport", "--listen")
        found = json.loads(command("--json", *options, "127.0.0.1:0").out)
        assert found["results"][0]["attempt"]["options"] == {
            "reuse_address": True,
            "reuse_port": True,
            "exclusive": None,
            "v6only": None,
            "device": None,
            "freebind": None,
            "listen": True,
        }


class TestProbeVerb:
    @linux
    @in_private_network
    def test_one_native_line_each(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        answer = command("probe", f"127.0.0.1:{port}", "192.0.2.77:80")
        assert answer.status == 1
        foreign = 'bind: 99 EADDRNOTAVAIL "Cannot assign requested address"'
        assert answer.lines == [
            f"127.0.0.1:{port}/tcp{IN_USE[1:]}",
            f"192.0.2.77:80/tcp {foreign}",
        ]

    def test_success(self) -> None:
        answer = command("probe", "127.0.0.1:0")
        assert (answer.status, answer.err) == (0, "")
        assert re.fullmatch(r"127\.0\.0\.1:0/tcp ok \(port \d+\)\n", answer.out)


@linux
@in_private_network
class TestText:
    """What a stuck person reads: the answer, the native error, why, what helps."""

    @staticmethod
    def name_of(pid: int) -> str:
        return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()

    def test_listener(self, holder: Holder) -> None:
        port = holder.bind("0.0.0.0", listen=True)  # noqa: S104
        answer = command(f"127.0.0.1:{port}", env=WIDE)
        who = f"{self.name_of(holder.pid)} (pid {holder.pid})"
        assert answer.status == 1
        assert answer.lines[:3] == [
            f"127.0.0.1:{port}/tcp cannot be bound: {who} listens there",
            IN_USE,
            "why",
        ]
        why = answer.section("why")
        assert why[0] == f"its socket 0.0.0.0:{port} covers 127.0.0.1"
        user = user_name(Path(f"/proc/{holder.pid}").stat().st_uid)
        assert re.fullmatch(
            rf"pid {holder.pid} of {user}, running for \d+ s, "
            rf"started by \S+ \({os.getpid()}\), in {re.escape(str(Path.cwd()))}",
            why[1],
        )
        assert why[2].startswith(sys.executable)
        assert why[3:] == ["tried: SO_REUSEADDR 98, SO_REUSEPORT 98"]
        assert answer.section("what helps")[0] == f"kill {holder.pid}"

    def test_bound_only(self, holder: Holder) -> None:
        port = holder.bind()
        answer = command(f"127.0.0.1:{port}", env=WIDE)
        who = f"{self.name_of(holder.pid)} (pid {holder.pid})"
        reason = f"{who} has bound it without listening"
        assert answer.lines[:2] == [
            f"127.0.0.1:{port}/tcp cannot be bound: {reason}",
            IN_USE,
        ]
        why = answer.section("why")
        assert any("do not show such sockets" in line for line in why)
        assert why[-1] == "tried: SO_REUSEADDR 98, SO_REUSEPORT 98"
        assert answer.section("what helps") == [
            f"kill {holder.pid}",
            "or take another port:",
            f"bindcheck free --near {port}",
        ]

    def test_to_wait_with_the_options_that_were_asked_for(self, holder: Holder) -> None:
        """With SO_REUSEADDR, its default, `wait` would say that it can be bound."""
        with lingering(holder, reuse_address=True) as port:
            asked = ("--no-reuseaddr", "--device", "lo", f"127.0.0.1:{port}")
            line = f"bindcheck wait {' '.join(asked)}"
            assert line in command(*asked, env=WIDE).section("what helps")
            waited = command("wait", "--timeout", "0", *asked)
        assert waited.status == 1

    def test_time_wait_without_the_option(self, holder: Holder) -> None:
        with lingering(holder, reuse_address=False) as port:
            answer = command(f"127.0.0.1:{port}", env=WIDE)
        assert answer.status == 1
        assert re.fullmatch(
            rf"127\.0\.0\.1:{port}/tcp cannot be bound for about \d+ s: TIME_WAIT",
            answer.lines[0],
        )
        assert answer.lines[1] == IN_USE
        why = "\n".join(answer.section("why"))
        assert "1 closed connection lingers in TIME_WAIT; no process owns it" in why
        assert "tried: SO_REUSEADDR 98" in why
        assert "only if the old server had set it too" in why
        helps = answer.section("what helps")
        assert re.fullmatch(
            r"now, in about \d+ s \(the kernel may take 2 s longer\):", helps[0]
        )
        assert helps[1] == f"bindcheck wait 127.0.0.1:{port}"
        assert helps[2].startswith("from now on: set SO_REUSEADDR before bind")
        assert "kill" not in answer.out

    def test_time_wait_with_the_option(self, holder: Holder) -> None:
        with lingering(holder, reuse_address=True) as port:
            answer = command(f"127.0.0.1:{port}", env=WIDE)
        assert answer.status == 1
        assert answer.lines[:2] == [
            f"127.0.0.1:{port}/tcp can be bound only with SO_REUSEADDR",
            IN_USE,
        ]
        why = "\n".join(answer.section("why"))
        assert "TIME_WAIT; no process owns it; it ends in about" in why
        assert "SO_REUSEADDR works" in why
        helps = answer.section("what helps")
        assert "SO_REUSEADDR" in helps[0]
        assert not any("wait" in line.split() and "now:" in line for line in helps)

    @needs("root", "network namespaces")
    def test_privileged_port(self) -> None:
        answer = as_nobody("0.0.0.0:80")
        who = f"user {user_name(NOBODY)} (uid {NOBODY})"
        limit = "net.ipv4.ip_unprivileged_port_start = 1024"
        assert answer.status == 1
        assert answer.lines[:4] == [
            f"0.0.0.0:80/tcp cannot be bound: {who} may not use ports below 1024",
            '  bind: 13 EACCES "Permission denied"',
            "why",
            f"  {limit}, and this process lacks CAP_NET_BIND_SERVICE",
        ]
        helps = answer.section("what helps")
        assert helps[0] == "another port: 8080 (tried: bind works)"
        assert any("AmbientCapabilities=CAP_NET_BIND_SERVICE" in one for one in helps)
        assert "sudo sysctl net.ipv4.ip_unprivileged_port_start=80" in helps

    @needs("root", "network namespaces")
    def test_privileged_port_that_is_taken_too(self, holder: Holder) -> None:
        holder.bind("0.0.0.0", 80, listen=True)  # noqa: S104
        answer = as_nobody("0.0.0.0:80")
        assert 'and then: 98 EADDRINUSE "Address already in use"' in answer.lines
        heading = 'and then: 98 EADDRINUSE "Address already in use"'
        (line,) = answer.section(heading)
        assert line.startswith("listener on 0.0.0.0:80: ")
        assert "root" in line

    @needs("root")
    def test_hidden_owner(self, holder: Holder, prefix: Path) -> None:
        port = holder.bind(listen=True)
        answer = as_nobody(f"127.0.0.1:{port}", prefix=prefix)
        assert answer.lines[0] == (
            f"127.0.0.1:{port}/tcp cannot be bound: "
            "a socket of root (uid 0) listens there"
        )
        assert (
            "made by root (uid 0); no process that can be read has it"
            in answer.section("why")
        )
        (note,) = answer.section("note")
        assert re.fullmatch(r"\d+ of \d+ processes cannot be read by \S+", note)
        script = shlex.quote(str(prefix / "bindcheck"))
        assert answer.section("to see the pid") == [f"sudo {script} 127.0.0.1:{port}"]
        # As root, python -m would run what lies in the current folder.
        assert "python -m" not in answer.out
        assert "kill" not in answer.out

    @needs("root")
    @pytest.mark.parametrize(
        "options",
        [
            ["--listen", "--no-reuseaddr"],
            ["-v"],
            ["--device", "lo"],
            ["--device=lo"],
            ["check"],
        ],
    )
    def test_command_for_root_asks_the_same(
        self, holder: Holder, prefix: Path, options: list[str]
    ) -> None:
        port = holder.bind(listen=True)
        answer = as_nobody(*options, f"127.0.0.1:{port}", prefix=prefix)
        (shown,) = answer.section("to see the pid")
        sudo, script, *rest = shlex.split(shown)
        assert (sudo, script) == ("sudo", str(prefix / "bindcheck"))
        assert [one for one in rest if one != "check"] == [
            *(one for one in options if one != "check"),
            f"127.0.0.1:{port}",
        ]

    @needs("root")
    def test_root_is_offered_no_sudo(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        assert "sudo" not in command(f"127.0.0.1:{port}").out

    def test_bindable(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
        answer = command(f"127.0.0.1:{port}")
        assert (answer.status, answer.err) == (0, "")
        assert answer.lines[0] == f"127.0.0.1:{port}/tcp can be bound"
        assert "why" not in answer.lines

    def test_port_zero(self) -> None:
        answer = command("127.0.0.1:0", env=WIDE)
        assert re.fullmatch(
            r"127\.0\.0\.1:0/tcp can be bound "
            r"\(the system chose port \d+, which is free again\)",
            answer.lines[0],
        )

    def test_several_targets_are_told_apart(self, holder: Holder) -> None:
        taken, free = holder.bind(listen=True), "127.0.0.1:0/udp"
        answer = command(f"127.0.0.1:{taken}", free, env=WIDE)
        first, second = answer.out.split("\n\n")
        assert first.startswith(f"127.0.0.1:{taken}/tcp cannot be bound")
        assert second.startswith("127.0.0.1:0/udp can be bound")

    def test_quiet_is_a_line_for_each(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        answer = command("-q", f"127.0.0.1:{port}", "127.0.0.1:0/udp", env=WIDE)
        assert len(answer.lines) == 2
        assert [" cannot be bound: " in line for line in answer.lines] == [True, False]


VALUES = {
    "--device": ["lo"],
    "--record": ["seen.json"],
    "--record-commands": ["--record", "seen.json"],
    "--timeout": ["2.5"],
    "--near": ["8080"],
    "--range": ["8000-8099"],
    "--count": ["3"],
    "--signal": ["INT"],
}
LEAVES = {"--help", "-h", "--version", "--print-completion"}


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_every_option_of_the_help_is_one(verb: str) -> None:
    """What the help shows can be typed, before and behind the verb."""
    words = [verb] if verb else []
    shown = command(*words, "--help", env={"COLUMNS": "80"}).out
    options = shown.partition("options:\n")[2].partition("\n\n")[0]
    assert all(len(line) <= 89 for line in shown.splitlines())
    assert "\nexamples:\n" in shown
    named = set(re.findall(r"(?<![\w-])--?[a-z0-9][a-z0-9-]*", options)) - LEAVES
    assert {"--json", "-q"} <= named
    target = [] if verb in ("doctor", "free", "list") else ["[::1]:0"]
    for name in named:
        typed = [name, *VALUES.get(name, [])]
        for line in ([*words, *typed, *target], [*typed, *words, *target]):
            parsed = parse_arguments(line)
            assert (parsed.verb, parsed.targets) == (verb or "check", target), line


def test_an_option_of_another_verb_is_named() -> None:
    answer = here("probe", "--near=3", "8080")
    assert answer.status == 2
    assert "--near is no option of probe, but of free" in answer.err


class TestCompletion:
    """`--print-completion`."""

    @pytest.mark.parametrize("shell", ["bash", "zsh"])
    def test_script(self, shell: str) -> None:
        script = command("--print-completion", shell)
        assert (script.status, script.err) == (0, "")
        assert "--reuseaddr" in script.out

    @needs("bash")
    def test_bash_completes_verbs_and_their_options(self) -> None:
        script = command("--print-completion", "bash").out
        assert set(self.completed(script, "bindcheck w")) == {"wait"}
        assert "--timeout" in self.completed(script, "bindcheck wait --t")
        assert "--near" not in self.completed(script, "bindcheck wait --n")

    @staticmethod
    def completed(script: str, line: str) -> list[str]:
        words = line.split(" ")
        asks = (
            f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1};"
            f"COMP_LINE={shlex.quote(line)}; COMP_POINT={len(line)};"
            "_shtab_bindcheck; printf '%s\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{asks}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return [one.strip() for one in done.stdout.splitlines()]

    def test_without_it_one_line_says_what_is_missing(self, tmp_path: Path) -> None:
        (tmp_path / "shtab.py").write_text("raise ImportError")
        answer = command(
            "--print-completion", "bash", env={"PYTHONPATH": str(tmp_path)}
        )
        assert answer.status == 2
        assert is_one_line(answer.err)
        assert "bindcheck[completion]" in answer.err


def test_version_tells_what_a_bug_report_needs() -> None:
    first, second = command("--version").lines
    assert first == f"bindcheck {bindcheck.__version__}"
    for part in (sys.version.split()[0], native.ABI, "cffi"):
        assert str(part) in second


class TestEveryVerbInATerminal:
    """The others have tests of their own; these print and end."""

    @linux
    @pytest.mark.parametrize("width", [30, 80])
    @pytest.mark.parametrize(
        "arguments",
        [
            ["check", "TARGET"],
            ["probe", "TARGET"],
            ["free", "127.0.0.1"],
            ["explain", "98"],
            ["explain", "listen tcp TARGET: bind: address already in use"],
            ["list", "PORT"],
            ["doctor"],
            ["stop", "--dry-run", "TARGET"],
            ["wait", "--timeout", "0", "TARGET"],
            ["wait", "192.0.2.77:80"],
        ],
        ids=" ".join,
    )
    def test_colours_width_and_words(
        self, holder: Holder, arguments: list[str], width: int
    ) -> None:
        port = holder.bind(listen=True)
        given = [
            one.replace("TARGET", f"127.0.0.1:{port}").replace("PORT", str(port))
            for one in arguments
        ]
        coloured = in_terminal(*given, width=width)
        plain = in_terminal("--no-color", *given, width=width)
        quiet = in_terminal(*given, width=width, env={"NO_COLOR": "1"})
        assert "Traceback" not in coloured.out
        assert "\x1b[3" not in plain.out + quiet.out
        shown = CONTROL.sub("", coloured.out).replace("\r", "\n")
        for line in shown.splitlines():
            # What cannot be broken: a command, an address, a native error of `probe`.
            fits = len(line.rstrip()) <= width or " " not in line.strip()
            whole = given[0] == "probe" or line.startswith(("  ", "bindcheck: "))
            assert fits or whole, line
