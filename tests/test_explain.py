"""The verb `explain`: numbers, names, and the lines that programs write."""

from __future__ import annotations

import io
import json
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from bindcheck import native
from bindcheck.cli.main import run
from bindcheck.error_text import ERRORS, read_error_text
from bindcheck.errors import UsageError
from bindcheck.words import Domain, Protocol, System
from tests.support import needs

if TYPE_CHECKING:
    from bindcheck.error_text import KnownError
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

_WINDOWS_TEXT = (
    "Only one usage of each socket address (protocol/network address/port) is normally "
    "permitted"
)
# Who says it, the line, the error, the systems it may be of, and what it names.
LINES: list[tuple[str, str, tuple[System, ...], str | None]] = [
    (
        "bind() to 0.0.0.0:80 failed (98: Address already in use)",
        *("EADDRINUSE", (LINUX,), "0.0.0.0:80"),
    ),
    (
        "nginx: [emerg] bind() to [::]:80 failed (99: Cannot assign requested address)",
        *("EADDRNOTAVAIL", (LINUX,), "[::]:80"),
    ),
    (
        (
            "[Errno 48] error while attempting to bind on address ('::1', 8000, 0, 0): "
            "address already in use"
        ),
        *("EADDRINUSE", (DARWIN,), "[::1]:8000"),
    ),
    (
        "OSError: [Errno 98] Address already in use",
        *("EADDRINUSE", (LINUX,), None),
    ),
    (
        f"OSError: [WinError 10048] {_WINDOWS_TEXT}",
        *("EADDRINUSE", (WINDOWS,), None),
    ),
    (
        "Error: listen EADDRINUSE: address already in use :::3000",
        *("EADDRINUSE", EVERY, "[::]:3000"),
    ),
    (
        "Error: listen EACCES: permission denied 0.0.0.0:80",
        *("EACCES", EVERY, "0.0.0.0:80"),
    ),
    (
        "Error: listen EADDRINUSE: address already in use /tmp/app.sock",
        *("EADDRINUSE", EVERY, "unix:/tmp/app.sock"),
    ),
    (
        "listen tcp :8080: bind: address already in use",
        *("EADDRINUSE", EVERY, "8080"),
    ),
    (
        f"listen tcp 127.0.0.1:8080: bind: {_WINDOWS_TEXT}.",
        *("EADDRINUSE", (WINDOWS,), "127.0.0.1:8080"),
    ),
    (
        "java.net.BindException: Address already in use (Bind failed)",
        *("EADDRINUSE", EVERY, None),
    ),
    (
        "Failed to bind to localhost/127.0.0.1:8080: Address already in use",
        *("EADDRINUSE", EVERY, "127.0.0.1:8080"),
    ),
    (
        (
            'LOG:  could not bind IPv4 address "127.0.0.1": Address already in use\n'
            "HINT:  Is another postmaster already running on port 5432? If not, wait a few "
            "seconds and retry."
        ),
        *("EADDRINUSE", EVERY, "127.0.0.1:5432"),
    ),
    (
        "(98)Address already in use: AH00072: make_sock: could not bind to address [::]:80",
        *("EADDRINUSE", (LINUX,), "[::]:80"),
    ),
    (
        "Could not create server TCP listening socket *:6379: bind: Address already in use",
        *("EADDRINUSE", EVERY, "6379"),
    ),
    (
        'Address already in use - bind(2) for "127.0.0.1" port 3000 (Errno::EADDRINUSE)',
        *("EADDRINUSE", EVERY, "127.0.0.1:3000"),
    ),
    (
        'Os { code: 98, kind: AddrInUse, message: "Address already in use" }',
        *("EADDRINUSE", (LINUX,), None),
    ),
    ("Error: Address already in use (os error 48)", "EADDRINUSE", (DARWIN,), None),
    (
        "Web server failed to start. Port 8080 was already in use.",
        *("EADDRINUSE", EVERY, "8080"),
    ),
    (
        "Failed to bind to address http://127.0.0.1:5000: address already in use.",
        *("EADDRINUSE", EVERY, "127.0.0.1:5000"),
    ),
    (
        f"System.Net.Sockets.SocketException (10048): {_WINDOWS_TEXT}.",
        *("EADDRINUSE", (WINDOWS,), None),
    ),
    (
        "Bind for 0.0.0.0:8080 failed: port is already allocated",
        *("EADDRINUSE", EVERY, "0.0.0.0:8080"),
    ),
    (
        (
            "Ports are not available: exposing port TCP 0.0.0.0:3306 -> 0.0.0.0:0: listen tcp "
            "0.0.0.0:3306: bind: An attempt was made to access a socket in a way forbidden by "
            "its access permissions."
        ),
        *("EACCES", (WINDOWS,), "0.0.0.0:3306"),
    ),
    (
        "error: Bind to port 22 on 0.0.0.0 failed: Address already in use.",
        *("EADDRINUSE", EVERY, "0.0.0.0:22"),
    ),
    (
        "cannot bind socket (Address already in use) [0.0.0.0:80]",
        *("EADDRINUSE", EVERY, "0.0.0.0:80"),
    ),
    (
        "[ERROR] Connection in use: ('127.0.0.1', 8000)",
        *("EADDRINUSE", EVERY, "127.0.0.1:8000"),
    ),
    ("** (MatchError) {:error, :eaddrinuse}", "EADDRINUSE", EVERY, None),
    (
        "bind [127.0.0.1]:8080: Address already in use",
        *("EADDRINUSE", EVERY, "127.0.0.1:8080"),
    ),
    (
        "error: can't bind socket: Address already in use for ::1 port 53",
        *("EADDRINUSE", EVERY, "[::1]:53"),
    ),
    (
        "creating IPv4 interface lo failed; 127.0.0.1#53: address in use",
        *("EADDRINUSE", EVERY, "127.0.0.1:53"),
    ),
    (
        "{ code: 'EADDRINUSE', errno: -98, syscall: 'listen', address: '::', port: 3000 }",
        *("EADDRINUSE", (LINUX,), "[::]:3000"),
    ),
    ("Error: bind EADDRINUSE null:3000", "EADDRINUSE", EVERY, "3000"),
    (
        (
            "unable to bind listening socket for address '/run/php/php-fpm.sock': Address "
            "already in use (98)"
        ),
        *("EADDRINUSE", (LINUX,), "unix:/run/php/php-fpm.sock"),
    ),
    (
        (
            "TCP/UDP: Socket bind failed on local address [AF_INET]192.0.2.1:1194: Address "
            "already in use (errno=98)"
        ),
        *("EADDRINUSE", (LINUX,), "192.0.2.1:1194"),
    ),
    (
        (
            "(OS 10013)An attempt was made to access a socket in a way forbidden by its access "
            "permissions.  : AH00072: make_sock: could not bind to address 0.0.0.0:443"
        ),
        *("EACCES", (WINDOWS,), "0.0.0.0:443"),
    ),
    (
        "Error: You don't have permission to access that port.",
        *("EACCES", EVERY, None),
    ),
    (
        "bind: Can't assign requested address",
        *("EADDRNOTAVAIL", (DARWIN,), None),
    ),
]


@pytest.mark.parametrize(("text", "name", "systems"), NUMBERS_AND_NAMES)
def test_number_or_name(text: str, name: str, systems: tuple[System, ...]) -> None:
    found = read_error_text(text)
    assert {one.error.name for one in found.meanings} == {name}
    assert tuple(one.system for one in found.meanings) == systems
    assert found.target is None


@pytest.mark.parametrize(("text", "name", "systems", "target"), LINES)
def test_line_of_a_program(
    text: str, name: str, systems: tuple[System, ...], target: str | None
) -> None:
    found = read_error_text(text)
    assert {one.error.name for one in found.meanings} == {name}
    assert tuple(one.system for one in found.meanings) == systems
    assert found.target == target


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


@pytest.mark.parametrize("piece", ["[:", "/", ":", "port 1 on f:", "('a", "(98 ", "f:"])
def test_long_text_is_read_at_once(piece: str) -> None:
    """Patterns that looked back over all of it would take hours here."""
    read_error_text("EADDRINUSE " + piece * (65536 // len(piece)))


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
