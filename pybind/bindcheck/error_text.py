"""Errors of bind() in texts: numbers, names, and lines of logs.

A text is searched for a name or a system's words, then for a number that it calls an
error, then for a program's own words for a taken port, then for the mere news that bind
failed. Which address it was is found in log_addresses.
"""

from __future__ import annotations

import re
from itertools import islice

from bindcheck.errors import UsageError
from bindcheck.known_errors import ERRORS, Meaning, meanings_of
from bindcheck.log_lines import (
    Call,
    call_at,
    calls_of,
    says_in_use,
    tells_failed_bind,
)
from bindcheck.records import record
from bindcheck.sanitize import sanitize
from bindcheck.words import Protocol, System

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bindcheck.known_errors import KnownError

# Node gives Windows' errors numbers of its own (uv/errno.h).
_LIBUV = {4091: 10048, 4092: 10013, 4090: 10049, 4071: 10022}
_MOST = 1000  # places of a text that are looked at
_BY_NAME = {one.name: one for one in ERRORS}


@record(frozen=True, slots=True, kw_only=True)
class ErrorText:
    """What a text says: its readings, and the target that it names.

    There is no reading where it says that bind failed, and for which address, but not with
    which error. `supposed`: the text only asks whether it is that error, or says that it
    may be. `target` is in the form that a target is written in, None where none is named.
    """

    meanings: tuple[Meaning, ...]
    target: str | None
    protocol: Protocol
    supposed: bool = False


@record(frozen=True, slots=True, kw_only=True)
class _Mention:
    """An error that a text tells: from `start` to `end` of the line at `place`.

    `system` is the one whose words they are. There is no error where a line only says
    that bind failed.
    """

    error: KnownError | None
    system: System | None = None
    place: int
    start: int
    end: int
    supposed: bool = False


def read_error_text(text: str) -> ErrorText:
    """Read a number, a name or lines of a log.

    Raises:
        UsageError: nothing in it is an error of bind.
    """
    lines = _lines_of(text)
    alone = _number_alone(lines)
    if alone:
        return ErrorText(meanings=alone, target=None, protocol=Protocol.TCP)
    # A terminal may have broken a line between words or within one.
    forms = [lines] if len(lines) < 2 else [lines, [" ".join(lines)], ["".join(lines)]]
    searches = (
        *((_of_systems, form) for form in forms),
        (_of_numbers, lines),
        *((_of_programs, form) for form in forms),
    )
    for search, form in searches:
        for one in search(form):
            return _understood(one, form)
    raise UsageError(_refusal(text, lines))


def _understood(mention: _Mention, lines: list[str]) -> ErrorText:
    from bindcheck.log_addresses import named_in  # patterns that a number needs not

    named = named_in(lines, mention.place, mention.start, mention.end)
    return ErrorText(
        meanings=_meanings(mention, lines),
        target=None if named is None else named.target,
        protocol=Protocol.TCP if named is None else named.protocol,
        supposed=mention.supposed,
    )


_COLOURS = re.compile(r"\x1b\[[0-9;]{0,16}[A-Za-z]")  # as terminals show logs
_QUOTED = re.compile(r"""\\(?:(["'])|[nrt](?![a-z]))""")  # as in JSON
_ESCAPED = re.compile(r"\\u((?!00[01]|[Dd][89A-Fa-f])[0-9A-Fa-f]{4})")


def _lines_of(text: str) -> list[str]:
    text = _COLOURS.sub("", text).replace("\u2019", "'")
    text = _QUOTED.sub(lambda match: match[1] or "\n", text)
    text = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in lines if line]


def _refusal(text: str, lines: list[str]) -> str:
    shown = sanitize(text if len(text) <= 60 else text[:57] + "...")
    if any(Call.OTHER in calls_of(line) for line in lines):
        return (
            f"explain: no error of bind in {shown!r}: it is of another call, as connect"
        )
    return (
        f"explain: no error of bind in {shown!r}: give a number (98), a name "
        "(EADDRINUSE), or the line with the error"
    )


def _of_systems(lines: list[str]) -> Iterator[_Mention]:
    """The errors of bind that lines tell by name or in a system's words."""
    present, beside = _words_in(lines), _calls_beside(lines)
    mentions = (
        one
        for place, line in enumerate(lines)
        for one in _mentions_in(line, place, present)
    )
    for one in islice(mentions, _MOST):
        if _is_of_bind(one, lines[one.place], beside):
            yield one


def _of_numbers(lines: list[str]) -> Iterator[_Mention]:
    """The errors of bind that lines tell by a number alone."""
    beside = _calls_beside(lines)
    numbers = (
        (place, match)
        for place, line in enumerate(lines)
        for match in _NUMBER.finditer(line)
    )
    for place, match in islice(numbers, _MOST):
        start, end = match.span()
        for meaning in _with_number(match, ERRORS):
            one = _Mention(error=meaning.error, place=place, start=start, end=end)
            if _is_told(match, meaning) and _is_of_bind(one, lines[place], beside):
                yield one


def _of_programs(lines: list[str]) -> Iterator[_Mention]:
    """What lines say in programs' own words: that a port is taken, that bind failed."""
    for place, line in enumerate(lines):
        said = says_in_use(line)
        if said is not None:
            start, end, supposed = said
            yield _Mention(
                error=_BY_NAME["EADDRINUSE"],
                place=place,
                start=start,
                end=end,
                supposed=supposed,
            )
    from bindcheck.log_addresses import names_address

    for place, line in enumerate(lines):
        if tells_failed_bind(line) and names_address(line):
            yield _Mention(error=None, place=place, start=0, end=0)


_NAME = re.compile(r"(?<![A-Za-z])(WSA)?(E[A-Z]{3,15})(?![A-Za-z])", re.IGNORECASE)
_WORDS = {words: (error, system) for error in ERRORS for words, system in error.words}


def _words_in(lines: list[str]) -> re.Pattern[str] | None:
    """A pattern for those of all words that a text has at all."""
    lower = "\n".join(lines).lower()
    present = sorted((one for one in _WORDS if one in lower), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, present))) if present else None


def _mentions_in(
    line: str, place: int, present: re.Pattern[str] | None
) -> list[_Mention]:
    """The errors that a line tells by name, else by words, in their order."""
    spoken = []
    for match in islice(present.finditer(line.lower()), _MOST) if present else ():
        error, system = _WORDS[match[0]]
        start, end = match.span()
        spoken.append(
            _Mention(error=error, system=system, place=place, start=start, end=end)
        )
    systems = {one.error: one.system for one in reversed(spoken)}
    named = []
    for match in islice(_NAME.finditer(line), _MOST):
        known = _BY_NAME.get(match[2].upper())
        if known is not None:
            system = System.WINDOWS if match[1] else systems.get(known)
            start, end = match.span()
            named.append(
                _Mention(error=known, system=system, place=place, start=start, end=end)
            )
    return named or spoken


# What is left of a line that has nothing but its error: "PermissionError: [Errno 13] ..."
_ONLY_ERRORS = frozenset(
    (
        *(
            "error",
            "err",
            "errno",
            "code",
            "os",
            "winerror",
            "oserror",
            "permissionerror",
        ),
        *("system", "fatal", "the", "permission", "denied", "operation", "not"),
        *("permitted", "invalid", "argument"),
    )
)
_OF_SOCKETS = re.compile(r"socket|port\b|address")
_OF_BIND = re.compile(r"connection in use|\bport\b|registration")
_CONNECTS = re.compile(r"(?i)connect\w{0,20}\(")  # in a stack or a traceback
_OF_PYTHON = re.compile(r"\[(?:Errno|WinError) \d{1,5}\] $")
_A_FILE = re.compile(r"""['"][^'"]{0,200}[/\\]|\s/\w|^\S{1,60}: \S{0,60}/""")
_OTHER_ADDRESS = re.compile(r"(?i)\b(?:e-?mail|mac|ip|url|auth)\b")


def _calls_beside(lines: list[str]) -> set[Call]:
    """The calls that the lines tell of, as far as they decide."""
    calls: set[Call] = set()
    for line in lines:
        calls |= calls_of(line)
        if Call.BIND in calls:
            break
    if Call.OTHER in calls and not any(map(_CONNECTS.search, lines)):
        calls.add(Call.UNKNOWN)  # it may be of something else
    return calls


def _is_of_bind(mention: _Mention, line: str, beside: set[Call]) -> bool:
    """Whether an error is of bind: its line tells it, or those beside it do."""
    start, end = mention.start, mention.end
    general = mention.error is None or mention.error.general
    call = _call_of(mention, line)
    if call in (Call.BIND, Call.OTHER):
        return call is Call.BIND
    if call is Call.FILE and general:
        return False
    if Call.BIND in beside:
        near = line[max(0, start - 200) : end + 200]
        return not general or call is Call.SOCKET or _A_FILE.search(near) is None
    if Call.OTHER in beside and (general or Call.UNKNOWN not in beside):
        return False
    if call is Call.SOCKET:
        return True
    if general:
        return _is_alone(line, start, end)
    return _OTHER_ADDRESS.search(line[max(0, start - 40) : start]) is None


def _call_of(mention: _Mention, line: str) -> Call:
    start, end = mention.start, mention.end
    words = line[start:end].lower()
    call = call_at(line, start, end)
    if call is not Call.OTHER and _OF_BIND.search(words):
        return Call.BIND
    # Windows has words of their own for the errors of sockets.
    of_sockets = mention.system is System.WINDOWS or _OF_SOCKETS.search(words)
    if call is Call.UNKNOWN and of_sockets and mention.error and mention.error.general:
        return Call.SOCKET
    return call


def _is_alone(line: str, start: int, end: int) -> bool:
    """Whether a line has nothing but its error, and so no file that it could be of."""
    if _OF_PYTHON.search(line[max(0, start - 24) : start]):
        return not line[end:].strip(" .\"'})")  # Python would have told the file
    if len(line) > 200:
        return False
    rest = re.findall(r"[a-z]+|[/\\'\"]", f"{line[:start]} {line[end:]}".lower())
    return all(one in _ONLY_ERRORS or one.upper() in _BY_NAME for one in rest)


# A number that a text gives as an error's. PostgreSQL, nginx, Apache, Python, Rust, Ruby,
# Go's "bind: 10048", .NET's "(10048)".
_NUMBER = re.compile(
    r"""(?ix)(?: (?P<told> errno | winerror | os\ error | \(os | getlasterror\(\) | hresult
            | code\(\) | (?:wsa|socket|winsock)\ ?error\ ?\#? )
        | (?P<label> (?<!exit\ )(?<!exit)(?<!exited\ with\ )(?<!status\ )code
            | \b(?:error|err|failed|failure|returned|rawvalue|system|strerror) | \bbind(?=[:\s]) )
        | (?<![\w.)])(?=[(\[]) )
        [\s:=\#({\['"-]{0,4} (?P<number>0x[0-9a-f]{4,8} | \d{1,5}) (?!\.?\w|[:-]\d)"""
)
_NUMBER_ALONE = re.compile(
    r"(?i)[\W_]*(?:(?:os |socket |wsa ?)?err(?:or|no)?|winerror|code)?[\W_]*(\d{1,5})\W*"
)


def _number_alone(lines: list[str]) -> tuple[Meaning, ...]:
    short = len(lines) == 1 and len(lines[0]) <= 40
    match = _NUMBER_ALONE.fullmatch(lines[0]) if short else None
    if match is None:
        return ()
    return tuple(one for one in meanings_of(ERRORS) if one.code == int(match[1]))


def _with_number(match: re.Match[str], errors: Iterable[KnownError]) -> list[Meaning]:
    text = match["number"].lower()
    # 0x80072740 is HRESULT_FROM_WIN32(10048).
    number = int(text, 16) & 0xFFFF if text.startswith("0x") else int(text)
    number = _LIBUV.get(number, number)
    return [one for one in meanings_of(errors) if one.code == number]


def _is_told(match: re.Match[str], meaning: Meaning) -> bool:
    """Whether a number says by itself that it is this error."""
    if match["told"]:
        return True
    before = match.string[max(0, match.start() - 200) : match.start()]
    calls = calls_of(before) - {Call.SOCKET}
    return calls == {Call.BIND} and (not meaning.error.general or meaning.code > 10000)


def _meanings(mention: _Mention, lines: list[str]) -> tuple[Meaning, ...]:
    """Its readings: a number beside it says the system, else its own words do."""
    if mention.error is None:
        return ()
    line, errors = lines[mention.place], (mention.error,)
    system = None if "JVM_Bind" in line else mention.system
    numbered = [
        meaning
        for match in _NUMBER.finditer(line)
        if _is_beside(match, mention)
        for meaning in _with_number(match, errors)
    ] or [
        meaning
        for other in lines
        for match in _NUMBER.finditer(other)
        if match["told"]
        for meaning in _with_number(match, errors)
    ]
    if not numbered and _OF_WINDOWS.search(line):
        system = System.WINDOWS
    if system is System.WINDOWS or not numbered:
        numbered = meanings_of(errors, only=system)
    return tuple(dict.fromkeys(numbered))


# Java of Windows puts the call behind the words.
_OF_WINDOWS = re.compile(r"(?i)winerror|(?:in use|address): bind\b")


def _is_beside(match: re.Match[str], mention: _Mention) -> bool:
    """Whether a number belongs to an error: it is called one, or stands right there."""
    distance = max(match.start() - mention.end, mention.start - match.end())
    return match["told"] is not None or distance <= (200 if match["label"] else 3)
