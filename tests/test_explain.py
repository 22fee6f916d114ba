"""The verb `explain`: numbers, names, and the lines that programs write."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bindcheck import native
from bindcheck.cli.main import run
from bindcheck.error_text import read_error_text
from bindcheck.errors import UsageError
from bindcheck.known_errors import ERRORS
from bindcheck.words import Domain, Protocol, System
from tests.support import needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from bindcheck.known_errors import KnownError
    from tests.support import Holder

LINUX, DARWIN, WINDOWS = System.LINUX, System.DARWIN, System.WINDOWS
EVERY = (LINUX, DARWIN, WINDOWS)

NUMBERS_AND_NAMES = [
    ("98", "EADDRINUSE", (LINUX,)),
    ("48", "EADDRINUSE", (DARWIN,)),
    ("10048", "EADDRINUSE", (WINDOWS,)),
    ("13", "EACCES", (LINUX, DARWIN)),
    ("10013", "EACCES", (WINDOWS,)),
    ("errno 99", "EADDRNOTAVAIL", (LINUX,)),
    ("EADDRINUSE", "EADDRINUSE", EVERY),
    ("eaddrinuse", "EADDRINUSE", EVERY),
    ("WSAEADDRINUSE", "EADDRINUSE", (WINDOWS,)),
    ("WSAEACCES", "EACCES", (WINDOWS,)),
]

SYSTEMS = {
    "linux": {LINUX},
    "darwin": {DARWIN},
    "windows": {WINDOWS},
    "unix": {LINUX, DARWIN},
}
DATA = Path(__file__).parent / "data"


def rows(name: str) -> list[str]:
    """The rows of a file of lines; "⏎" in them is the end of a line."""
    text = (DATA / name).read_text("utf-8")
    return [row for row in text.splitlines() if row and not row.startswith("# ")]


def as_pasted(line: str) -> str:
    return line.replace("⏎", "\n")


LINES = rows("lines/understood.txt")
REFUSED = rows("lines/refused.txt")
# How logs and shells hand on a line: nothing in it may become a port or an error.
FORMS: dict[str, Callable[[str], str]] = {
    "syslog": lambda line: each("May 11 10:48:13 web98 shop[98]: ", line),
    "journal": lambda line: each("2024-05-11T10:48:13.98+02:00 web98 shop[13]: ", line),
    "compose": lambda line: each("web-1  | ", line),
    "container": lambda line: each("2024-05-11T10:48:13.131313131Z stderr F ", line),
    "kubernetes": lambda line: f"E0511 10:48:13.131313   13 main.go:98] {line}",
    "brackets": lambda line: f"[13] [10:48:13] [ERROR] {line}",
    "json": lambda line: json.dumps({"time": "2024-05-11", "pid": 98, "msg": line}),
    "Windows": lambda line: line.replace("\n", "\r\n") + "\r\n",
    "colours": lambda line: f"\x1b[31m{line}\x1b[0m",
    "quotes": lambda line: f'"{line}"',
    "sentence": lambda line: f"{line}.",
    "after others": lambda line: (
        "Starting up version 1.2.3 (pid 98)\nLoaded 13 modules in 48 ms\n"
        f"Connected to the database at 10.0.0.9:5432\n{line}"
    ),
    "before others": lambda line: (
        f"{line}\nExiting with code 1\nmake: *** [run] Error 98"
    ),
}


def each(prefix: str, lines: str) -> str:
    return "\n".join(prefix + line for line in lines.split("\n"))


def understood(text: str) -> tuple[set[str], set[System], str | None, Protocol | None]:
    """What a text is found to say; the protocol only of an address."""
    found = read_error_text(text)
    names = {one.error.name for one in found.meanings}
    systems = {one.system for one in found.meanings}
    is_address = found.target is not None and not found.target.startswith("unix:")
    return names, systems, found.target, found.protocol if is_address else None


@pytest.mark.parametrize(("text", "name", "systems"), NUMBERS_AND_NAMES)
def test_number_or_name(text: str, name: str, systems: tuple[System, ...]) -> None:
    found = read_error_text(text)
    assert {one.error.name for one in found.meanings} == {name}
    assert tuple(one.system for one in found.meanings) == systems
    assert found.target is None


@pytest.mark.parametrize("row", LINES, ids=range(len(LINES)))
def test_line_of_a_program(row: str) -> None:
    name, system, named, line = row.split(" ", 3)
    errors = [one for one in ERRORS if one.name == name]
    every = {system for one in errors for system, _ in one.codes}
    target, _, protocol = named.rpartition("/") if named != "-" else (None, "", "")
    assert understood(as_pasted(line)) == (
        {one.name for one in errors},
        SYSTEMS.get(system, every),
        target,
        Protocol(protocol) if protocol in ("tcp", "udp") else None,
    )


@pytest.mark.parametrize("form", FORMS)
def test_line_as_a_log_hands_it_on(form: str) -> None:
    for row in LINES:
        line = as_pasted(row.split(" ", 3)[3])
        if "ea\nch socket" not in line:  # broken within a word
            assert understood(FORMS[form](line)) == understood(line), line


@pytest.mark.parametrize("line", REFUSED, ids=range(len(REFUSED)))
def test_line_that_is_no_error_of_bind(line: str) -> None:
    with pytest.raises(UsageError, match="no error of bind") as error:
        read_error_text(as_pasted(line))
    assert "\n" not in str(error.value)


def test_error_of_connect_is_told_apart() -> None:
    with pytest.raises(UsageError, match="it is of another call, as connect"):
        read_error_text(
            "dial tcp 127.0.0.1:80: connect: cannot assign requested address"
        )


def test_lines_that_name_several_addresses_name_none() -> None:
    lines = "starting shop on :8080\nstarting metrics on :9090\nAddress already in use"
    assert read_error_text(lines).target is None
    lines = "starting shop on 127.0.0.1:8080\nport 8080: bind\nAddress already in use"
    assert read_error_text(lines).target == "127.0.0.1:8080"


@pytest.mark.parametrize(
    ("line", "supposed"),
    [
        ("Failed to start server. Is port 3000 in use?", True),
        ("Port [19132] may be in use by another process", True),
        ("Port 3000 is in use, trying another one", False),
        ("could not bind port 80: Permission denied. Is it in use?", False),
    ],
)
def test_what_a_line_only_supposes(line: str, supposed: bool) -> None:
    assert read_error_text(line).supposed is supposed


def test_udp_in_a_line() -> None:
    found = read_error_text("listen udp 0.0.0.0:53: bind: permission denied")
    assert found.protocol is Protocol.UDP


@pytest.mark.parametrize("text", ["hello", "", "12345", "port 80", "127.0.0.1:98"])
def test_text_without_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="no error of bind"):
        read_error_text(text)


@pytest.mark.parametrize("error", ERRORS, ids=lambda one: one.name)
def test_numbers_are_the_systems(error: KnownError) -> None:
    """This system's by its own headers, Windows' by the table of the C core."""
    for system, code in error.codes:
        if system is WINDOWS:
            assert native.error(Domain.WINSOCK, code).name == f"WSA{error.name}"
        elif system == sys.platform:
            assert native.error(Domain.ERRNO, code).name == error.name


def explained(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    status = run(["explain", "--no-color", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_number_alone(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = explained(capsys, "10048")
    assert (status, err) == (0, "")
    assert out.startswith("EADDRINUSE (10048 WSAEADDRINUSE on Windows): ")
    assert "  elsewhere: 98 on Linux, 48 on macOS\n" in out


@needs("socket tables")
def test_address_of_a_line_is_diagnosed(
    holder: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    port = holder.bind(listen=True)
    line = f"bind() to 127.0.0.1:{port} failed (98: Address already in use)"
    status, out, err = explained(capsys, line)
    assert (status, err) == (1, "")
    assert f"127.0.0.1:{port} on this machine, now:\n" in out
    assert f"(pid {holder.pid}) listens there" in out


@needs("socket tables")
def test_words_that_no_shell_quoted_and_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    line = f"listen tcp 127.0.0.1:{port}: bind: address already in use"
    free = f"127.0.0.1:{port}/tcp can be bound"
    assert free in explained(capsys, *line.split())[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line.encode())))
    assert free in explained(capsys, "-")[1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bind 203.0.113.9:80: EADDRINUSE", "is no address of this machine"),
        ("http://shop.example:80: EADDRINUSE", "shop.example is this machine"),
    ],
)
def test_address_of_another_machine_is_not_asked_about(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = explained(capsys, line)
    assert status == 0
    assert said in out.replace("\n  ", " ")
    assert "now:" not in out


@needs("socket tables")
def test_own_name_is_this_machine(
    holder: Holder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = holder.bind(listen=True)
    line = f"bind to {socket.gethostname().upper()}:{port}: EADDRINUSE"
    assert "now:\n" in explained(capsys, line)[1]
    monkeypatch.setattr("_socket.gethostname", lambda: "another")
    status, out, _ = explained(capsys, line)
    assert status == 0
    assert "is this machine is not known" in out.replace("\n  ", " ")


@needs("socket tables")
def test_failed_bind_without_an_error_is_diagnosed(
    holder: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    port = holder.bind(listen=True)
    status, out, err = explained(capsys, f"cannot listen to port: {port}")
    assert (status, err) == (1, "")
    assert out.startswith("bind failed; the text does not say with which error\n")
    assert f"(pid {holder.pid}) listens there" in out


@needs("socket tables")
def test_supposed_error_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = explained(capsys, "Failed to start server. Is port 1 in use?")
    assert "  the text only supposes that it was this\n" in out


def test_what_cannot_be_an_address_is_not_asked_about(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = explained(capsys, "listen tcp :nosuchservice: bind: EADDRINUSE")
    assert (status, err) == (0, "")
    assert "no address is named" in out


@needs("socket tables")
def test_error_of_another_system_is_not_asked_about(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = explained(capsys, "[Errno 48] bind 127.0.0.1:80")
    assert status == 0
    assert "it is an error of macOS" in out
    assert "now:" not in out


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["hello"], [""], ["\x1b[31mred"], ["-6", "98"]):
        status, out, err = explained(capsys, *arguments)
        assert (status, out) == (2, "")
        assert err.count("\n") == 1
        assert "\x1b" not in err


def test_closed_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    status, out, err = explained(capsys, "-")
    assert (status, out) == (2, "")
    assert err == "bindcheck: explain -: standard input is closed\n"


@needs("socket tables")
def test_text_does_no_harm_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("/nowhere/\x1b[31mapp.sock", "/nowhere/\x1b]0;x/app.sock"):
        _, out, err = explained(capsys, f"\x1b[1mEADDRINUSE\x1b[0m {text}")
        assert "EADDRINUSE (98 on Linux" in out
        assert "\x1b" not in out + err


@pytest.mark.parametrize(
    "piece",
    [
        *("[:", "/", "::", "('a", "(98 ", "f:", "{0,", "port ", "\nport 1", "端口"),
        *("port 1 on f:", "EACCES ", "Permission denied ", "connect ", "errno 98 "),
        *("already another ", "address already in use ", "listen unix /", "a-", "1."),
    ],
)
def test_long_text_is_read_at_once(piece: str) -> None:
    """Patterns that looked back over all of it would take minutes here."""
    text = piece * (65536 // len(piece)) + " bind: no such device"
    before = time.process_time()
    with contextlib.suppress(UsageError):
        read_error_text(text)
    assert time.process_time() - before < 4


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = explained(capsys, "--json", "98")
    answer = json.loads(out)
    assert status == 0
    assert (answer["named"], answer["report"]) == (None, None)
    (error,) = answer["errors"]
    assert (error["system"], error["code"], error["name"]) == (
        "linux",
        98,
        "EADDRINUSE",
    )
