"""Lines of logs: of which call a line tells, and programs' own words for a failed bind.

Everything here goes by the shape of a line, not by the program that wrote it.
"""

from __future__ import annotations

import re
from enum import Enum

_WIDEST = 4096  # characters of a line that are searched
_NEAR = 400  # characters before an error in which its call is named


class Call(Enum):
    """What the call was that a line tells of."""

    BIND = "bind or listen"
    SOCKET = "some call of a socket"
    OTHER = "connect, or another call that is not bind"
    FILE = "a call for a file"
    UNKNOWN = "not told"


_CALLS = re.compile(
    r"""(?ix)
    (?P<OTHER> (?<!dis)(?<!re)connect(?!or|ion|iv|ed\b) | \bdial\b | \baccept4?\b
        | \b(?:send|recv)(?:to|msg)?\b | sockopt | urlopen | connectionpool
        | httprequest | extendedsocket | webexception | ldap | vfio
        | bindfs | bind[ ](?:mount|source) | type\W{0,3}bind | remote[ ]port[ ]forwarding
        | nodeport | read[ ]from[ ]remote | connection[ ]to[ ](?:server|host|database) )
    | (?P<BIND> bind | \bbound\b | listen | socket_server | acceptor | make_sock )
    | (?P<SOCKET> socket | \bport\W{1,4}\d )
    | (?P<FILE> \b(?:open|read|write|mkdir|unlink|chmod|chown|exec|mount|watch)\b )
    """
)
# Java: "Address already in use: connect"; Node: "permission denied, open '/etc/x'".
_CALL_AFTER = re.compile(r"""(?i)[\s"'.]{0,2}[:,(]\s?\(?(?:jvm_)?[a-z]{3,12}\b""")


def call_at(line: str, start: int, end: int) -> Call:
    """The call whose error stands from `start` to `end`: the nearest that is named."""
    near = line[max(0, start - _NEAR) : start]
    after = line[end : end + 200]
    close = _CALL_AFTER.match(after)
    follower = _CALLS.search(close[0]) if close else None
    named = [_call(one) for one in _CALLS.finditer(near)]
    if follower is not None:
        return _call(follower)
    if not named:
        follower = _CALLS.search(after)
        later = Call.UNKNOWN if follower is None else _call(follower)
        return Call.UNKNOWN if later is Call.OTHER else later
    if named[-1] in (Call.SOCKET, Call.FILE) and Call.OTHER in named:
        return Call.OTHER  # "Failed to connect to socket /run/bus: Permission denied"
    return named[-1]


def calls_of(line: str) -> set[Call]:
    """Every call that a line names."""
    return {_call(one) for one in _CALLS.finditer(line[:_WIDEST])}


def _call(match: re.Match[str]) -> Call:
    if match.lastgroup == "OTHER" and "socket_server" in match.string:
        return (
            Call.BIND
        )  # PHP: "stream_socket_server(): Unable to connect to tcp://..."
    return Call[match.lastgroup or "UNKNOWN"]


# What programs say instead of the system. Most texts have the system's words, so these
# patterns are compiled (by re, once) only where they are needed.
_WITHIN = r"(?:[^.;!?]|\.(?=\w)){0,120}?"  # one sentence
_AN_ADDRESS = r"(?:\d\.\d{1,3}|\blocalhost|[\]*]|::):\d{1,5}"
_IN_USE = (
    r"(?:(?:already|currently) (?:used|using|taken|bound|allocated|occupied|reserved)"
    r"|in use|being used|used by|(?:is|are|was) (?:taken|allocated|busy)|occupied|not free)\b"
)
_TAKEN = (
    # Port 3000 is already in use.
    rf"(?i)\b(?:ports?|address(?:es)?|sockets?|endpoint)\b{_WITHIN}\b{_IN_USE}",
    r"(?i)\bport \d{1,5} is running\b",
    # 0.0.0.0:11211 already in use
    rf"(?i){_AN_ADDRESS}\W{{1,2}}(?:is )?(?:already )?{_IN_USE}",
    # Something is already running on port 3000.
    (
        rf"(?i)\b(?:already|another|something|other)\b{_WITHIN}"
        rf"\b(?:running|listening|using|performing)\b{_WITHIN}"
        rf"(?:\bports?\b(?:\W{{1,2}}\d{{1,5}})?|{_AN_ADDRESS})"
    ),
    (
        rf"(?i)(?:\bport\b|puerto|porta|порт|端口|連接埠|ポート|포트){_WITHIN}"
        r"(?:bereits (?:verwend|belegt|benutzt|in )|schon belegt|déjà (?:utilisé|occupé)"
        r"|ya (?:está )?(?:en uso|siendo|ocupad)|já (?:está )?(?:em uso|sendo|ocupad)"
        r"|già (?:in uso|utilizzat|occupat)|уже (?:использ|занят)|занят|(?<!未)被[占佔]用"
        r"|(?:既に|すでに)使用|使用中|使用されてい|이미 사용|사용 ?중"
        r"|już (?:w użyciu|zajęt|używan)|zaten kullan|al in gebruik)"
    ),
)
_DENIED = (
    r"(?i)(?:\bnot|n't|\bno longer|\bnever) (?:(?:currently|already|being|yet) )?"
    r"(?:in use|used|taken|bound|allocated|occupied|busy|running|listening|using)\b"
)
_CONDITION = r"(?i)\b(?:if|whether|unless|when|sure|check|ensure|verify|until)\b"
_SUPPOSED = r"(?i)\?|\b(?:may|might|perhaps|maybe|probably|or requires)\b"
_NO_PORT = r"(?i)\b(?:com\d{1,2}|tty\w{1,8}|serial|usb|midi|e-?mail|mac|ip)\b"
_FAILED_BIND = (
    (
        r"(?i)(?:\bfail|cannot|can't|could not|couldn't|unable|problem|prevent|refus|denied"
        r"|(?<!no )error\b).{0,60}?(?:\b|_)(?:bind|listen)"
    ),
    (
        r"(?i)(?:\b|_)(?:bind|listen).{0,80}?"
        r"\b(?:fail\w*|denied|refused|(?<!no )error\b(?!: ?0|\.\w))\b"
    ),
    r"\blisten (?:tcp|udp)[46]? \S{1,80}: ",  # Go says so only before an error
    r"(?i)\b(?:find|no) (?:an? )?(?:empty|free|open) port",
    r"(?i)\bport \d{1,5} is (?:not |un)available",
)


def says_in_use(line: str) -> tuple[int, int, bool] | None:
    """Find a program's own words for a taken port: from where, to where, only supposed?

    None where there are none, or only a condition ("if port 80 is in use").
    """
    line = line[:_WIDEST]
    if Call.OTHER in calls_of(line):
        return None
    for match in (one for pattern in _TAKEN for one in re.finditer(pattern, line)):
        start, end = match.span()
        before = re.split(r"[:.;!?] ", line[max(0, start - 60) : start])[-1]
        after = line[end : end + 60].partition(". ")[0]
        said = before[-20:] + match[0]
        denied = re.search(_DENIED, match[0]) or re.search(_CONDITION, before)
        if not denied and not re.search(_NO_PORT, said):
            supposed = re.search(_SUPPOSED, before + match[0] + after)
            return start, end, supposed is not None
    return None


def tells_failed_bind(line: str) -> bool:
    """Whether a line says that bind or listen failed."""
    line = line[:_WIDEST]
    told = any(re.search(pattern, line) for pattern in _FAILED_BIND)
    return told and Call.OTHER not in calls_of(line)
