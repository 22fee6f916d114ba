"""Recordings: what was seen goes into a file and comes back, and nothing else does."""

from __future__ import annotations

import copy
import json
import os
import socket
import stat
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindcheck import recording, words
from bindcheck.conclusion import conclude
from bindcheck.errors import RecordingError
from bindcheck.examination import examine
from bindcheck.jsonform import dumps, to_dict
from bindcheck.model import Options, Report
from bindcheck.observe import Observer
from bindcheck.render import report_lines, wrap
from bindcheck.target import parse
from bindcheck.words import Verdict
from tests.support import NOBODY, as_user, needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from bindcheck.model import Context, Examination
    from tests.support import Holder

DATA = Path(__file__).parent / "data"
pytestmark = pytest.mark.usefixtures("network")


def seen_of(*targets: str) -> tuple[Context, list[Examination]]:
    observer = Observer()
    seen = [
        one
        for target in targets
        for one in examine(parse(target), Options(), observer, deadline=0.0)
    ]
    return observer.context(), seen


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bindcheck", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def text_of(report: Report) -> str:
    lines = report_lines(report, verbose=True)
    return "".join(f"{row}\n" for line in lines for row in wrap(line, 80))


@pytest.fixture
def taken(holder: Holder) -> str:
    return f"127.0.0.1:{holder.bind(listen=True)}"


@needs("socket tables")
def test_what_was_seen_comes_back(taken: str, tmp_path: Path) -> None:
    context, seen = seen_of(taken, "127.0.0.1:0", "203.0.113.9:80", f"unix:{tmp_path}")
    text = recording.dumps(seen, context, commands=True)
    told, back = recording.loads(text)
    assert told == context
    first, second = (
        to_dict(Report(context=context, results=tuple(map(conclude, some))))
        for some in (seen, back)
    )
    assert first == second
    assert recording.dumps(back, told, commands=True) == text


@needs("socket tables")
def test_arguments_of_others_are_left_out(
    make_holder: Callable[..., Holder],
) -> None:
    holder = make_holder(arguments=("--password", "s3cret"))
    context, seen = seen_of(f"127.0.0.1:{holder.bind(listen=True)}")
    short = recording.dumps(seen, context, commands=False)
    assert "s3cret" not in short
    _, (one,) = recording.loads(short)
    (process,) = conclude(one).blockers[0].owner.processes
    assert (process.pid, process.command) == (holder.pid, (sys.executable,))
    assert process.command_truncated
    assert "s3cret" in recording.dumps(seen, context, commands=True)


@needs("socket tables")
def test_title_that_a_program_gives_itself_is_left_out_too() -> None:
    program = (
        "import socket, sys, time; s = socket.socket(); s.bind(('127.0.0.1', 0));"
        "s.listen(); print(s.getsockname()[1], flush=True); time.sleep(100)"
    )
    title = "shop: master -p s3cret"
    with subprocess.Popen(
        [title, "-S", "-c", program], executable=sys.executable, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        context, seen = seen_of(f"127.0.0.1:{port}")
        holder.kill()
    assert "s3cret" not in recording.dumps(seen, context, commands=False)


@needs("socket tables")
class TestCommand:
    """check --record and replay."""

    def test_replay_says_the_same(self, taken: str, tmp_path: Path) -> None:
        file = tmp_path / "seen.json"
        options = ("--record", str(file), "--record-commands")
        checked = command(*options, taken)
        assert f"bindcheck replay {file}" in checked.stderr
        replayed = command("replay", str(file))
        assert (replayed.returncode, replayed.stderr) == (1, "")
        assert replayed.stdout == checked.stdout
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

        answer = command("replay", "--json", str(file))
        (result,) = json.loads(answer.stdout)["results"]
        assert result["requested"] == taken
        assert result["verdict"] == "blocked"

    def test_recording_is_read_from_a_pipe(self, taken: str, tmp_path: Path) -> None:
        file = tmp_path / "seen.json"
        command("-q", "--record", str(file), taken)
        with file.open() as standard_input:
            done = subprocess.run(
                [sys.executable, "-m", "bindcheck", "-q", "replay", "-"],
                stdin=standard_input,
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert done.stdout.startswith(taken)

    def test_several_recordings_and_the_worst_counts(
        self, taken: str, tmp_path: Path
    ) -> None:
        for name, target in (("a", "127.0.0.1:0"), ("b", taken)):
            command("--record", str(tmp_path / name), target)
        done = command("replay", str(tmp_path / "a"), str(tmp_path / "b"))
        assert done.returncode == 1
        assert "\n\n" in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            (["replay"], "no file"),
            (["replay", "/no/such/file"], "/no/such/file: No such file"),
            (["replay", "/"], "/: Is a directory"),
            (["replay", "/dev/null"], "/dev/null: no JSON text"),
            (["replay", "--listen", "x"], "--listen is no option of replay"),
            (["replay", "--json", "a", "b"], "one recording at a time"),
            (["--record", "/no/such/file", "8080"], "--record: /no/such/file"),
            (["--record", "-", "8080"], "--record: name a file"),
            (["--record-commands", "8080"], "--record FILE"),
            (["probe", "--record", "x", "8080"], "no option of probe, but of check"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_said_in_a_line(
        self, arguments: list[str], part: str
    ) -> None:
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert part in done.stderr

    def test_device_stays_open_to_others(self) -> None:
        """Of root's /dev/null everything else depends; here a terminal of our own."""
        ours, theirs = os.openpty()
        name = os.ttyname(theirs)
        os.fchmod(theirs, 0o666)
        done = subprocess.run(
            [sys.executable, "-m", "bindcheck", "--record", name, "127.0.0.1:0"],
            stdout=subprocess.DEVNULL,
            timeout=60,  # nobody reads the terminal
            check=False,
        )
        mode = os.fstat(theirs).st_mode
        os.close(ours)
        os.close(theirs)
        assert (done.returncode, stat.S_IMODE(mode)) == (0, 0o666)

    def test_file_that_was_open_to_others_is_not_any_more(self, tmp_path: Path) -> None:
        (tmp_path / "seen").write_text("before")
        (tmp_path / "seen").chmod(0o644)
        assert (
            command("--record", str(tmp_path / "seen"), "127.0.0.1:0").returncode == 0
        )
        assert stat.S_IMODE((tmp_path / "seen").stat().st_mode) == 0o600

    def test_links_are_not_written_through(self, tmp_path: Path) -> None:
        (tmp_path / "victim").write_text("precious")
        (tmp_path / "link").symlink_to("victim")
        done = command("--record", str(tmp_path / "link"), "127.0.0.1:0")
        assert done.returncode == 2
        assert (tmp_path / "victim").read_text() == "precious"


@pytest.fixture
def whole(taken: str) -> dict[str, Any]:
    context, seen = seen_of(taken)
    plain: dict[str, Any] = json.loads(recording.dumps(seen, context, commands=True))
    return plain


@needs("socket tables")
class TestDamage:
    """Files that are no recordings, or no longer."""

    @pytest.mark.parametrize(
        ("path", "value", "part"),
        [
            ((), [], "bindcheck_recording"),
            (("bindcheck_recording",), 99, "format 99"),
            (("context",), None, "context: an object was expected"),
            (("context", "euid"), "root", "context.euid: a whole number"),
            (("results",), {}, "results: a list"),
            (("results", 0, "attempt", "ok"), "yes", "attempt.ok: true or false"),
            (("results", 0, "attempt", "step"), "fly", "'fly' is none of resolve"),
            (("results", 0, "attempt", "target", "packed"), "zz", "hexadecimal"),
            (("results", 0, "attempt", "target", "packed"), "7f", "4 bytes"),
            (
                ("results", 0, "attempt", "target", "family"),
                "vsock",
                "tcp has no vsock",
            ),
            (("results", 0, "snapshot", "sockets", 0, "local"), 1, "local: an object"),
            (("results", 0, "snapshot", "sockets", 0, "family"), "unix", "has no unix"),
            (("results", 0, "snapshot", "observed_at"), 1e300, "is no time"),
            (("results", 0, "snapshot", "facts", "euid"), 10**30, "64 bits"),
        ],
        ids=str,
    )
    def test_part_at_fault_is_named(
        self, whole: dict[str, Any], path: tuple[Any, ...], value: object, part: str
    ) -> None:
        place: Any = {"top": whole}
        for key in ("top", *path)[:-1]:
            place = place[key]
        place[("top", *path)[-1]] = value
        changed = whole if path else value
        with pytest.raises(RecordingError) as caught:
            recording.loads(json.dumps(changed))
        assert part in str(caught.value)

    def test_missing_key_is_named(self, whole: dict[str, Any]) -> None:
        del whole["results"][0]["snapshot"]["facts"]["euid"]
        with pytest.raises(RecordingError, match=r"facts: it lacks one of euid"):
            recording.loads(json.dumps(whole))

    def test_owner_that_inherited_and_is_nobody(self, whole: dict[str, Any]) -> None:
        owner = whole["results"][0]["snapshot"]["sockets"][0]["owner"]
        owner["traits"], owner["processes"] = ["inherited"], []
        _, seen = recording.loads(json.dumps(whole))
        assert conclude(seen[0]).causes

    def test_keys_of_a_later_version_are_left_alone(
        self, whole: dict[str, Any]
    ) -> None:
        whole["results"][0]["mood"] = "good"
        recording.loads(json.dumps(whole))

    @settings(deadline=None, derandomize=True, max_examples=300, database=None)
    @given(data=st.data())
    def test_no_change_makes_a_traceback(self, data: st.DataObject) -> None:
        """Whatever stands in a recording, it is refused or concluded and printed."""
        changed = copy.deepcopy(_example())
        for _ in range(data.draw(st.integers(1, 3))):
            place, key = data.draw(st.sampled_from(list(_places(changed))))
            place[key] = data.draw(_VALUES)
        try:
            context, seen = recording.loads(json.dumps(changed))
        except RecordingError:
            return
        report = Report(context=context, results=tuple(conclude(one) for one in seen))
        text_of(report)
        dumps(report)


_WORDS = sorted(
    str(word)
    for kind in vars(words).values()
    if isinstance(kind, type) and issubclass(kind, StrEnum)
    for word in kind
)
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.sampled_from(["", "00" * 16, *_WORDS]),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
)


def _places(value: Any) -> Any:
    """Every place of plain data where something can be put."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, one in list(items):
        yield value, key
        yield from _places(one)


_examples: list[dict[str, Any]] = []


def _example() -> dict[str, Any]:
    """One recording of a listener, made once."""
    if not _examples:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            one.listen()
            context, seen = seen_of(f"127.0.0.1:{one.getsockname()[1]}")
        _examples.append(json.loads(recording.dumps(seen, context, commands=True)))
    return _examples[0]


@needs("root", "socket tables")
def test_recording_of_an_ordinary_user_keeps_what_was_hidden(taken: str) -> None:
    def record() -> str:
        context, seen = seen_of(taken)
        return recording.dumps(seen, context, commands=False)

    context, (one,) = recording.loads(as_user(NOBODY, record))
    found = conclude(one)
    assert (context.euid, found.verdict) == (NOBODY, Verdict.BLOCKED)
    assert "processes-unreadable" in {limit.code for limit in found.limits}


@pytest.mark.parametrize("file", sorted(DATA.glob("*.json")), ids=lambda one: one.stem)
def test_recorded_situation_is_told_as_it_was(file: Path) -> None:
    """What is said of it stands beside it; look at what changes before you keep it.

    BINDCHECK_REWRITE=1 writes what is said now.
    """
    context, seen = recording.loads(file.read_bytes())
    report = Report(context=context, results=tuple(conclude(one) for one in seen))
    said = file.with_suffix(".txt")
    if os.environ.get("BINDCHECK_REWRITE"):
        said.write_text(text_of(report), "utf-8")
    assert text_of(report) == said.read_text("utf-8")


def test_there_are_recorded_situations() -> None:
    names = {file.stem for file in DATA.glob("*.json")}
    assert names == {file.stem for file in DATA.glob("*.txt")}
    assert len(names) >= 10
