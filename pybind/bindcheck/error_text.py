"""Errors of bind() as numbers, names, and lines of logs.

What the systems call them: errno(3), sys/errno.h of macOS, "Windows Sockets Error Codes".
A line is searched for a number, a name or a system's words, and for an address.
"""

from __future__ import annotations

import re

from bindcheck.errors import UsageError
from bindcheck.records import record
from bindcheck.sanitize import sanitize
from bindcheck.words import Protocol, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable

SYSTEM_NAMES = {
    System.LINUX: "Linux",
    System.DARWIN: "macOS",
    System.WINDOWS: "Windows",
}


@record(frozen=True, slots=True, kw_only=True)
class KnownError:
    """An error that bind() and the calls around it give.

    `codes` has its number by system; `words` are what texts of systems and runtimes say
    instead of it, in lower case, and of which system that is (None: of several).
    """

    name: str
    codes: tuple[tuple[System, int], ...]
    meaning: str
    words: tuple[tuple[str, System | None], ...] = ()


def _error(
    name: str,
    linux: int,
    darwin: int,
    windows: int | None,
    meaning: str,
    *words: tuple[str, System | None],
) -> KnownError:
    codes = [(System.LINUX, linux), (System.DARWIN, darwin)]
    if windows is not None:
        codes.append((System.WINDOWS, windows))
    return KnownError(name=name, codes=tuple(codes), meaning=meaning, words=words)


ERRORS = (
    _error(
        *("EADDRINUSE", 98, 48, 10048),
        "the address and port are taken: by another socket, or by an old connection",
        ("only one usage of each socket address", System.WINDOWS),
        ("address already in use", None),
        ("address in use", None),
        ("addrinuse", None),
        ("port is already allocated", None),
        ("connection in use", None),
        ("already in use", None),
        ("already listening", None),
        ("is in use", None),
        ("port in use", None),
        ("conflicts with an existing registration", System.WINDOWS),  # http.sys
    ),
    _error(
        *("EACCES", 13, 13, 10013),
        "it is forbidden: a privileged port, a policy, the folder of a unix socket, or (on "
        "Windows) a port that is kept or has an exclusive owner",
        ("forbidden by its access permissions", System.WINDOWS),
        ("permission denied", None),
        ("permissiondenied", None),
        ("permission to access that port", None),
    ),
    _error(
        *("EADDRNOTAVAIL", 99, 49, 10049),
        "no interface of the machine has the address; for port 0 on macOS: no port is left",
        ("requested address is not valid in its context", System.WINDOWS),
        ("can't assign requested address", System.DARWIN),
        ("cannot assign requested address", System.LINUX),
        ("address not available", System.LINUX),  # musl
        ("addrnotavail", None),
    ),
    _error(
        *("EINVAL", 22, 22, 10022),
        "an argument is wrong: the socket has an address already, or the address lacks "
        "its interface",
        ("invalid argument", None),
    ),
    _error(
        *("EAFNOSUPPORT", 97, 47, 10047),
        "the system has no such address family, as IPv6 where it is switched off",
        ("address family not supported", None),
    ),
    _error(
        *("EPERM", 1, 1, None),
        "a policy or sandbox forbids it",
        ("operation not permitted", None),
    ),
    _error(
        *("EPROTONOSUPPORT", 93, 43, 10043),
        "the system has no such protocol",
        ("protocol not supported", None),
    ),
    _error(
        *("ENOTSOCK", 88, 38, 10038),
        "the descriptor is no socket",
        ("socket operation on non-socket", None),
    ),
    _error(
        *("EBADF", 9, 9, 10009),
        "the descriptor is closed",
        ("bad file descriptor", None),
    ),
    _error(
        *("EMFILE", 24, 24, 10024),
        "the process has as many descriptors as it may have",
        ("too many open files", None),
    ),
    _error(*("ENFILE", 23, 23, None), "the system has too many files open"),
    _error(
        *("ENOBUFS", 105, 55, 10055),
        "no buffer or port is left",
        ("no buffer space available", None),
    ),
    _error(
        *("ENODEV", 19, 19, None),
        "there is no such interface",
        ("no such device", None),
    ),
)


@record(frozen=True, slots=True, kw_only=True)
class Meaning:
    """One reading of a text: this error, of this system."""

    system: System
    code: int
    error: KnownError

    @property
    def name(self) -> str:
        """What this system calls it: Windows puts WSA before its names."""
        prefix = "WSA" if self.system is System.WINDOWS else ""
        return prefix + self.error.name


@record(frozen=True, slots=True, kw_only=True)
class ErrorText:
    """What a text says: its readings, and the target that it names.

    `target` is in the form that a target is written in, None where none is named.
    """

    meanings: tuple[Meaning, ...]
    target: str | None
    protocol: Protocol


# A number that a text gives as an error's. PostgreSQL, nginx, Apache, Python, Rust, Ruby,
# Go's "bind: 10048", .NET's "(10048)".
_NUMBER = re.compile(
    r"""(?ix) (?: \[?\b(?:errno|winerror|error|err|code|failed)\b \W{0,3}
                  | \bbind:\s* | os\ error\ | \( | ^\s* )
        (?: 0x0000)? (\d{1,5}) (?= \s*[:)\],}"'] | \s*$ )"""
)
_NAME = re.compile(r"(?i)(?<![A-Za-z])(?:WSA)?(E[A-Z]{3,15})(?![A-Za-z])")


_COLOURS = re.compile(r"\x1b\[[0-9;]{0,16}[A-Za-z]")  # as terminals show logs


def read_error_text(text: str) -> ErrorText:
    """Read a number, a name or a line of a log.

    Raises:
        UsageError: nothing in it is an error of bind.
    """
    text = _COLOURS.sub("", text)
    meanings = tuple(dict.fromkeys(_meanings(text)))
    if not meanings:
        shown = sanitize(text if len(text) <= 60 else text[:57] + "...")
        raise UsageError(
            f"explain: no error of bind in {shown!r}: give a number (98), a name "
            "(EADDRINUSE), or the line with the error"
        )
    words = set(re.findall(r"[a-z]+", text.lower()))
    udp = "udp" in words and "tcp" not in words
    return ErrorText(
        meanings=meanings,
        target=_target(text),
        protocol=Protocol.UDP if udp else Protocol.TCP,
    )


def _meanings(text: str) -> list[Meaning]:
    """Its readings: a name and a number together say the system, else a system's words."""
    by_number, named, spoken = _of_numbers(text), _named(text), _spoken(text)
    if named:
        of_names = [one for one in by_number if one.error in named]
        only = next((system for error, system in spoken if error in named), None)
        windows = re.search(r"(?i)\bWSAE", text) is not None
        return of_names or _every(named, only=System.WINDOWS if windows else only)
    for error, system in spoken:
        of_words = [one for one in by_number if one.error is error]
        return of_words or _every([error], only=system)
    return by_number


def _spoken(text: str) -> list[tuple[KnownError, System | None]]:
    """The errors whose words are in a text, and whose words those are."""
    lower = text.lower()
    return [
        (error, system)
        for error in ERRORS
        for words, system in error.words
        if words in lower
    ]


def _of_numbers(text: str) -> list[Meaning]:
    numbers = [int(one) for one in _NUMBER.findall(text)]
    every = _every(ERRORS, only=None)
    return [one for number in numbers for one in every if one.code == number]


def _named(text: str) -> list[KnownError]:
    names = {name.upper() for name in _NAME.findall(text)}
    return [error for error in ERRORS if error.name in names]


def meanings_of(error: KnownError) -> list[Meaning]:
    """An error on each system that has it."""
    return _every([error], only=None)


def _every(errors: Iterable[KnownError], *, only: System | None) -> list[Meaning]:
    return [
        Meaning(system=system, code=code, error=error)
        for error in errors
        for system, code in error.codes
        if only in (None, system)
    ]


_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}"
_IPV6 = r"[0-9A-Fa-f:]{0,39}::[0-9A-Fa-f:]{0,39}"
_HOST = rf"(?:{_IPV4}|localhost|null|\*)"
# The first that matches counts; each gives a host (or "") and a port.
_ADDRESSES = tuple(
    re.compile(pattern)
    for pattern in (
        # Python, Ruby: ('127.0.0.1', 8000), ("::1", 8000, 0, 0)
        r"""\(\s*['"](?P<host>[^'"\s]{0,253})['"]\s*,\s*(?P<port>\d{1,5})\b""",
        r"https?://(?P<host>\[[0-9A-Fa-f:.%]{1,60}\]|[\w.*+-]{1,253}):(?P<port>\d{1,5})\b",
        # ssh: bind [127.0.0.1]:8080
        rf"\[(?P<host>{_IPV4})\]:(?P<port>\d{{1,5}})\b",
        r"(?P<host>\[[0-9A-Fa-f:.]{0,45}(?:%[\w.-]+)?\]):(?P<port>\d{1,5})\b",
        # Node: :::3000
        r"(?<![\w:])(?P<host>::(?:1|ffff:[\d.]+)?):(?P<port>\d{1,5})\b",
        # Ruby: for "127.0.0.1" port 3000
        r"""["'](?P<host>[0-9A-Fa-f:.]{1,45})["'],?\s+port:?\s+(?P<port>\d{1,5})\b""",
        # Unbound: 127.0.0.1 port 53; BIND: 127.0.0.1#53
        rf"(?<![\w.:])(?P<host>{_IPV4}|{_IPV6})(?:\s+port\s+|#)(?P<port>\d{{1,5}})\b",
        # sshd: port 22 on 0.0.0.0
        rf"(?i)port\s+(?P<port>\d{{1,5}})\s+on\s+(?P<host>{_HOST}|{_IPV6})",
        # most; also Java's localhost/127.0.0.1:8080
        rf"(?<![\w.])(?P<host>{_HOST}):(?P<port>\d{{1,5}})\b",
        # Go: listen tcp :8080
        r"(?<=\s)(?P<host>):(?P<port>\d{1,5})\b",
        r"(?i)\bport[\s:=#]+(?P<host>)(?P<port>\d{1,5})\b",
    )
)
# PostgreSQL names the address in one line and the port in the next.
_ADDRESS_ALONE = re.compile(
    r"""IPv[46] (?:address|socket)?\s*["'](?P<host>[^"'\s]{1,253})["']"""
)
_PATH = re.compile(
    r"""(?:unix://|unix:)?(?P<path>/[^\s\x00-\x1f"':,;()\]]{1,107}\.(?:sock|socket)\b|"""
    r"""/[^\s\x00-\x1f"':,;()\]]{0,90}/\.s\.PGSQL\.\d+)"""
)


def _target(text: str) -> str | None:
    alone = _ADDRESS_ALONE.search(text)
    for pattern in _ADDRESSES:
        match = pattern.search(text)
        if match is None or int(match["port"]) > 65535:
            continue
        host = match["host"] or (alone["host"] if alone else "")
        return _written(host, int(match["port"]))
    path = _PATH.search(text)
    return f"unix:{path['path']}" if path else None


def _written(host: str, port: int) -> str:
    if host in ("", "*", "+", "null"):
        return str(port)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{host}:{port}"
