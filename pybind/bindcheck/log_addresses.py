"""Addresses in lines of logs: which one an error is about.

A number counts as a port only where the line says that it is one: pids, dates, versions,
numbers of lines and of errors stand in the same places. The first rule is to name no
wrong address: where it is not clear which one is meant, none is named.
"""

from __future__ import annotations

import re
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from bindcheck.errors import TargetError
from bindcheck.records import record
from bindcheck.target import parse
from bindcheck.words import Protocol

_WIDEST = 4096  # characters of a line that are searched, around the error
_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}"
_IPV6 = r"[0-9A-Fa-f:]{2,39}(?:%[\w.-]{1,16})?"
_HOST = rf"(?:{_IPV4}|localhost|null|<null>|\*)"
_PORT = r"(?P<port>\d{1,5})(?:-(?P=port))?(?!\d|[.-]\d)"
# A name that is neither a label nor a file of source code.
_NAME = (
    r"(?!(?:tcp|udp|http|port|error|errno|err|code|line|pid|id|system|bind|reason)[46]?:)"
    r"[A-Za-z][\w-]{0,62}(?:\.(?!(?:[chm]|cc|[chi]pp|cs|go|py|rb|rs|[jt]sx?|java|php|p[lm]|lua"
    r"|swift|erl|exs?|hs|kt|scala|cfg|conf|ini|ya?ml|json|xml):)[A-Za-z0-9][\w-]{0,62}){0,6}"
)
# What stands before a name or before a port alone, where it is what is bound.
_LEAD = (
    r"(?:\b(?:bind(?:ing)?|listen(?:ing)?|listener|address|addr|socket|server|serve|tcp[46]?|"
    r"udp[46]?|port)(?:\s+(?:to|on|at|for))?)"
)
_THEN_PORT = r"\s(?:tcp\s|udp\s)?port\W{1,3}(?:(?:tcp|udp)/)?"
_ERLANG = r"\d{1,3}(?:,\s?\d{1,3}){3}|\d{1,5}(?:,\s?\d{1,5}){7}"
_OPENING = r"""(?:\s["'(]|[=({\[]["']?|:["'])"""
_PORT_WORD = r"(?:ports?|puerto|porta|porto|poort|порт\w{0,2}|端口|連接埠|ポート|포트)"
_PORT_SIGNS = (
    r"(?:\(s\))?(?:\snumber)?(?:\salready\s(?:in\suse|bound))?"
    r"""\s?[:=#"'(*/,]{0,3}(?:\s\[?)?(?:(?:tcp|udp)[ /:]{1,2})?["']?"""
)
_NO_COUNT = r"(?! (?:address|socket|port|interface|time|other))"
_WITH_HOST = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Python: ('127.0.0.1', 8000), ("::1", 8000, 0, 0)
        rf"""\(\s*['"](?P<host>[\w.:%-]{{0,100}})['"]\s*,\s*{_PORT}""",
        rf"[a-z][a-z0-9+.]{{1,12}}://(?P<host>\[[^\]\s]{{2,60}}\]|[\w.*+-]{{0,100}}):{_PORT}",
        # [::]:80, [127.0.0.1]:80, CUPS: [v1.::1]:631, Zabbix: [-]:10051
        rf"\[(?:v1\.)?(?P<host>-|[0-9A-F:.]{{2,45}}(?:%[\w.-]{{1,16}})?)\]:{_PORT}",
        # Docker's 0.0.0.0:80:172.17.0.2:80/tcp is one; Elasticsearch: 127.0.0.1:[9300]
        rf"(?<![\w.])(?P<host>{_HOST}|any):\[?{_PORT}(?::{_IPV4}:\d{{1,5}})?(?!\d)",
        # Node: :::3000
        rf"(?<![\w:])(?P<host>::(?:1|ffff:{_IPV4})?):{_PORT}",
        rf"(?:in use|denied|available) (?P<host>[0-9a-f:]{{2,39}}):{_PORT}(?![:\w])",
        # BIND: 127.0.0.1#53
        rf"(?<![\w.:])(?P<host>{_HOST}|{_IPV6})#{_PORT}",
        # Unbound: 127.0.0.1 port 53; Dart: address = 0.0.0.0, port = 80
        rf"""(?<![\w.:])(?P<host>{_HOST}|{_IPV6})["']?[,;.]?{_THEN_PORT}{_PORT}""",
        # sshd: port 22 on 0.0.0.0
        rf"\bport {_PORT} (?:on|at|of|for) (?:address )?(?P<host>{_HOST}|{_IPV6})(?![\w.])",
        # libp2p: /ip4/127.0.0.1/tcp/4001
        rf"/(?:ip[46]|dns[46]?)/(?P<host>[\w.:-]{{2,60}})/(?:tcp|udp)/{_PORT}",
        # Dovecot: listen(*, 143)
        rf"\((?P<host>{_HOST}|{_IPV6}),\s?{_PORT}\)",
        # Erlang: {0,0,0,0},5672; Elixir: ip: {127, 0, 0, 1}, port: 4000
        rf"\{{(?P<host>{_ERLANG})\}}\W{{1,3}}(?:port\W{{1,3}})?{_PORT}",
        # SQL Server: [ 'any' <ipv4> 1433]
        rf"(?P<host>'any'|{_IPV4}|{_IPV6}) <ipv[46]> {_PORT}",
        # Kafka: bind to kafka1:9092
        rf"""{_LEAD}\s["'\[(]?(?P<host>{_NAME}):{_PORT}(?=[\s:"'\]),.]|$)""",
        # Go: listen tcp :http
        r"listen (?:tcp|udp)[46]? (?P<host>\[[^\]\s]{2,60}\]|[\w.]{0,60}):(?P<port>[a-z-]{2,15}):",
    )
)
_WITHOUT_HOST = tuple(
    re.compile(rf"(?P<host>){pattern}", re.IGNORECASE)
    for pattern in (
        # Go: listen tcp :8080; adb: tcp:5037
        rf"""(?:^|(?:{_LEAD}|\bon|\bin use)\s["']?|{_OPENING}|jvm_bind):{_PORT}(?!:\d)""",
        rf"\b(?:tcp|udp)[46]?:{_PORT}",
        # Port 3000, port: 3306, port=80, port */8080, Port(s) already bound: 8080
        rf"(?<![A-Za-z0-9_-]){_PORT_WORD}{_PORT_SIGNS}{_PORT}(?!:\d)",
        rf"forwarded port to {_PORT}",
        rf"port in range: {_PORT}",
        # EMQX: failed to listen on 1883 - eaddrinuse
        rf"\b(?:listen\w{{0,3}}|bind(?:ing)?) (?:on|to) {_PORT}(?=\s?[-:,;.)]?(?:\s|$)){_NO_COUNT}",
        rf"(?<![\w.:]){_PORT}(?: port(?= (?:is|was|already|in)\b)|\s?(?:番ポート|(?:번 )?포트|端口))",
        # Tomcat: ["http-nio-8080"], Connector[HTTP/1.1-8080]
        rf"""\["?[A-Z][\w./-]{{2,60}}-{_PORT}"?\]""",
    )
)
_PATH = re.compile(
    r"""(?:unix:(?://)?|(?<=[\s"'(\[]))(?P<path>/[^\s\x00-\x1f"':,;()\]]{1,100}\.sock(?:et)?"""
    r"""(?=\.?[\s"':,;()\]]|\.?$)|/[^\s\x00-\x1f"':,;()\]]{0,90}/\.s\.PGSQL\.\d{1,5})"""
    r"""|listen\sunix\w{0,6}\s(?P<listened>[/@][^\s\x00-\x1f"':]{1,107}):"""
)
# PostgreSQL names the address in one line and the port in the next.
_HOST_ALONE = re.compile(r"""IPv[46] address ["'](?P<host>[0-9A-Fa-f:.]{2,45})["']""")
# The other end of a connection, a suggestion, and what only looks like an address.
_NOT_OURS = re.compile(
    r"""(?ix)(?:->|=>|\b(?:client|peer|remote|from|upstream|forwarding\sto|see|try|trying
    |(?<!in\s)use|attempting|vnc|display|version))[\s:="'\[]{0,3}(?:port\s?)?$"""
)
_BOUND = re.compile(r"(?i)bind|listen|expos|address|socket|server|in use|tcp|udp")
# A line beside that of the error, where it is of what was bound.
_BESIDE = re.compile(
    r"""(?ix)bind | listen\ failed | in\ use | running\ on | \bstart(?:ing)?\b.{0,60}\bon\b
    | (?:fail|cannot|can't|unable|error|opening).{0,60}(?:listen|endpoint)
    | \b(?:run|serve|\w{0,40}server)\( | (?:protocolhandler|component)\ \[
    | ^\W{0,8}port\W{1,4}\d{1,5}\W{0,3}$ | address/port"""
)
_DATAGRAMS = re.compile(r"(?i)\bat .{0,80}(?:datagram|dgram)")  # in a stack
_PROTOCOL = re.compile(r"(?i)(?<![a-z])(udp|tcp)|datagram|dgram")


@record(frozen=True, slots=True, kw_only=True)
class Named:
    """The address that lines name, in the form of a target."""

    target: str
    protocol: Protocol = Protocol.TCP


@record(frozen=True, slots=True, kw_only=True)
class _Found:
    """An address in a line; `rank` is how well it fits the error, the least best."""

    host: str = ""
    port: str = ""
    path: str = ""
    protocol: Protocol | None = None
    rank: tuple[int, int] = (0, 0)


def named_in(lines: list[str], place: int, start: int, end: int) -> Named | None:
    """The address that the error at `start` to `end` of one of the lines is about.

    It stands in the line itself, or else in one beside it that tells of what was bound.
    """
    line = lines[place]
    found = _in_line(line, start, end) or _beside(lines)
    if found is None:
        return None
    if found.path:
        return Named(target=f"unix:{found.path}")
    alone = None if found.host else _HOST_ALONE.search(line)
    protocol = found.protocol or _protocol(line, 0)
    if protocol is None and any(map(_DATAGRAMS.search, lines)):
        protocol = Protocol.UDP
    return Named(
        target=_written(alone["host"] if alone else found.host, found.port),
        protocol=protocol or Protocol.TCP,
    )


def names_address(line: str) -> bool:
    """Whether a line names an address at all."""
    return _in_line(line, 0, 0) is not None


def _beside(lines: list[str]) -> _Found | None:
    """What lines that tell of a bind name; of several addresses it is not known which."""
    found = {
        (one.host, one.port, one.path): one
        for line in lines
        if _BESIDE.search(line[:_WIDEST]) and (one := _in_line(line, 0, 0)) is not None
    }
    if len(found) > 1:  # a port alone says no more than an address with that port
        hosted = [one for one in found.values() if one.host]
        ports = {one.port for one in found.values()}
        return hosted[0] if len(hosted) == len(ports) == 1 else None
    return next(iter(found.values()), None)


def _in_line(line: str, start: int, end: int) -> _Found | None:
    """The address in a line that is told to be bound, and nearest to the error."""
    cut = max(0, end - _WIDEST // 2)
    line = line[cut : cut + _WIDEST]
    start, end = start - cut, end - cut
    for patterns in (_WITH_HOST, (*_WITHOUT_HOST, _PATH)):
        found = [
            one
            for pattern in patterns
            for match in pattern.finditer(line)
            if (one := _judged(match, start, end)) is not None
        ]
        if found:
            return min(found, key=lambda one: one.rank)
    return None


def _judged(match: re.Match[str], start: int, end: int) -> _Found | None:
    line, place = match.string, match.start()
    distance = max(place - end, start - match.end(), 0)
    told = 0 if _BOUND.search(line[max(0, place - 60) : match.end()]) else 1
    if match.re is _PATH:
        path = match["path"] or match["listened"]
        return (
            _Found(path=path, rank=(told, distance))
            if _is_target(f"unix:{path}")
            else None
        )
    host, port = _host(match["host"]), match["port"]
    lead = line[max(0, place - 24) : match.start("host" if host else "port")]
    if host is None or _NOT_OURS.search(lead) or not _is_target(_written(host, port)):
        return None
    protocol = _protocol(line, place)
    return _Found(host=host, port=port, protocol=protocol, rank=(told, distance))


def _host(text: str) -> str | None:
    """A host as a target has it, "" for every address; None where it cannot be one."""
    host = text.strip("[]'<>")
    if host.lower() in ("", "*", "+", "-", "any", "null"):
        return ""
    if "," in host:
        host = _of_erlang(host.split(","))
    if ":" not in host and not host.replace(".", "").isdigit():
        return host
    try:
        inet_pton(AF_INET6 if ":" in host else AF_INET, host.partition("%")[0])
    except (OSError, ValueError):  # ValueError: a NUL in it
        return None
    return host


def _of_erlang(parts: list[str]) -> str:
    """The address of a tuple of four or eight numbers; else a text that is none."""
    short = [one for one in parts if one.strip().isdecimal() and len(one) < 9]
    numbers = [int(one) for one in short]
    if len(numbers) == len(parts) == 4:
        return ".".join(map(str, numbers))
    if len(numbers) == len(parts) == 8 and max(numbers) <= 0xFFFF:
        packed = b"".join(one.to_bytes(2, "big") for one in numbers)
        return inet_ntop(AF_INET6, packed)
    return ":"


def _written(host: str, port: str) -> str:
    if not host:
        return port
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_target(text: str) -> bool:
    try:
        parse(text)
    except TargetError:
        return False
    return True


def _protocol(line: str, place: int) -> Protocol | None:
    """The protocol that a line tells; of several the one last before a place."""
    told = [
        (one.start(), Protocol.TCP if one[0].lower() == "tcp" else Protocol.UDP)
        for one in _PROTOCOL.finditer(line[:_WIDEST])
    ]
    before = [protocol for start, protocol in told if start <= place]
    return before[-1] if before else next((protocol for _, protocol in told), None)
