"""Targets as people write them: `8080`, `[::1]:8080`, `localhost:http/udp`, a URL.

Parsing decides nothing about the system. A text that cannot be understood raises
TargetError, whose text names the part at fault and what would be right.
"""

from __future__ import annotations

import _socket
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from bindcheck.errors import TargetError
from bindcheck.model import Target
from bindcheck.records import record, replace
from bindcheck.words import IP_PROTOCOLS, UNIX_PROTOCOLS, Family, Protocol, SocketType

# Of a URL without a port, and of `host:name` where /etc/services is missing, as in
# many containers.
WELL_KNOWN_PORTS = {
    "amqp": 5672,
    "amqps": 5671,
    "domain": 53,
    "ftp": 21,
    "http": 80,
    "https": 443,
    "imap": 143,
    "ldap": 389,
    "mongodb": 27017,
    "mqtt": 1883,
    "mysql": 3306,
    "ntp": 123,
    "postgres": 5432,
    "postgresql": 5432,
    "redis": 6379,
    "smtp": 25,
    "ssh": 22,
    "ws": 80,
    "wss": 443,
}
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
_FORMS = "PORT, HOST:PORT, [IPV6]:PORT or unix:PATH"
_UNIX_WORDS = frozenset(UNIX_PROTOCOLS)
_ANY_PORT = 0xFFFFFFFF
_CIDS = {"any": 0xFFFFFFFF, "hypervisor": 0, "local": 1, "host": 2}
_FAMILIES = {AF_INET: Family.INET, AF_INET6: Family.INET6}
_NUMBERS = {Family.INET: AF_INET, Family.INET6: AF_INET6}

ANY4 = bytes(4)
ANY6 = bytes(16)
LOOPBACK6 = bytes(15) + b"\x01"
MAPPED_PREFIX = bytes(10) + b"\xff\xff"


@record(frozen=True, slots=True, kw_only=True)
class Request:
    """A target as written. `host` None means every address; `scope` is text."""

    requested: str
    host: str | None
    port: int
    protocol: Protocol
    family: Family | None = None
    packed: bytes = b""
    """The address, where `host` is one."""
    scope: str | None = None

    @property
    def is_name(self) -> bool:
        """Whether the host must be looked up."""
        return self.host is not None and not self.packed


def parse(
    given: str | int | tuple[object, ...] | bytes, *, protocol: Protocol = Protocol.TCP
) -> Request:
    """Understand a target.

    Args:
        given: a text in one of the forms above, a port number, or Python's own address:
            a tuple (host, port), with a flow label and a scope id where it has them, or
            the bytes of a unix socket's path or abstract name.
        protocol: for a target that does not name one itself.

    Raises:
        TargetError: the text is no target.
        TypeError: neither text, number nor tuple.
    """
    if isinstance(given, bool) or not isinstance(given, (str, int, tuple, bytes)):
        raise TypeError(f"a target is text, a port or an address tuple, not {given!r}")
    if isinstance(given, bytes):
        return _from_name(given, unix_protocol(protocol))
    if isinstance(given, int):
        _check_port(given)
        return _from_host("", str(given), None, str(given), protocol)
    if isinstance(given, tuple):
        return _from_tuple(given, protocol)
    text = given.strip()
    if not text:
        raise TargetError(f"the target is empty: write {_FORMS}")
    if any("\udc80" <= one <= "\udcff" for one in text):  # what Python makes of bytes
        raise TargetError(f"{given!r}: a target is text in UTF-8")
    if not text.isprintable():
        raise TargetError(f"{given!r}: a target holds no control characters")
    scheme, colon, rest = text.partition(":")
    if colon and scheme in _UNIX_WORDS:
        return _from_unix(rest, text, scheme, protocol)
    if colon and scheme == Protocol.VSOCK:
        return _from_vsock(rest, text)
    if text.startswith(("/", "./", "../", "@")):
        raise TargetError(f"{text!r}: is it a unix socket? write unix:{text}")
    if protocol not in IP_PROTOCOLS:
        raise TargetError(f"{text!r}: {protocol} is a protocol of {protocol}: targets")
    scheme, separator, rest = text.partition("://")
    if separator:
        return _from_url(text, scheme.lower(), rest, protocol)
    body, named = _split_protocol(text, protocol)
    host, port, scope = _split_host(body, text)
    return _from_host(host, port, scope, text, named)


def unix_protocol(protocol: Protocol) -> Protocol:
    """The kind of unix socket that `unix:` means; asked for UDP, datagrams are meant."""
    if protocol.is_unix:
        return protocol
    datagram = protocol.type is SocketType.DATAGRAM
    return Protocol.UNIX_DATAGRAM if datagram else Protocol.UNIX


def name_text(name: bytes) -> str:
    """Write the name of a unix socket: a path, or "@" before an abstract name."""
    text = name.decode("utf-8", "backslashreplace")
    return "@" + text[1:] if text.startswith("\0") else text


def cid_text(cid: int) -> str:
    """Write the context id of an AF_VSOCK address (VMADDR_CID_* of vsock(7))."""
    return {number: word for word, number in _CIDS.items()}.get(cid, str(cid))


def make_unix_target(name: bytes, protocol: Protocol) -> Target:
    """Build the target of a unix socket; the empty name lets the system choose one."""
    return Target(
        text=_unix_text(name, protocol),
        family=Family.UNIX,
        protocol=protocol,
        address=None,
        port=0,
        packed=name,
        path=name_text(name) or "@",
    )


def _unix_text(name: bytes, protocol: Protocol) -> str:
    path = name_text(name) or "@"
    # The first two slashes are a URL's when it is read.
    return f"{protocol}:{'//' if path.startswith('//') else ''}{path}"


def make_vsock_target(request: Request) -> Target:
    """Build the target of an AF_VSOCK request."""
    address = cid_text(int.from_bytes(request.packed, "big"))
    return Target(
        text=f"vsock:{address}:{'any' if request.port == _ANY_PORT else request.port}",
        family=Family.VSOCK,
        protocol=Protocol.VSOCK,
        address=address,
        port=request.port,
        packed=request.packed,
    )


def format_target(
    family: Family,
    packed: bytes,
    port: int,
    protocol: Protocol,
    scope: str | None = None,
) -> str:
    """Write an address the way it is printed, for instance `[::1]:8080/tcp`."""
    return f"{format_endpoint(family, packed, port, scope)}/{protocol}"


def format_endpoint(
    family: Family, packed: bytes, port: int, scope: str | None = None
) -> str:
    """Write an address and port, for instance `[fe80::1%eth0]:8080`."""
    address = inet_ntop(_NUMBERS[family], packed)
    if family is Family.INET:
        return f"{address}:{port}"
    return f"[{address}%{scope}]:{port}" if scope else f"[{address}]:{port}"


def make_target(
    family: Family,
    packed: bytes,
    port: int,
    protocol: Protocol,
    *,
    scope_id: int | None = None,
    scope: str | None = None,
) -> Target:
    """Build the target of one address; `scope` is how its zone is written."""
    written = scope if scope or scope_id is None else str(scope_id)
    return Target(
        text=format_target(family, packed, port, protocol, written),
        family=family,
        protocol=protocol,
        address=inet_ntop(_NUMBERS[family], packed),
        port=port,
        scope_id=scope_id,
        packed=packed,
    )


def _from_tuple(given: tuple[object, ...], protocol: Protocol) -> Request:
    if len(given) not in (2, 3, 4):  # the third is the flow label
        raise TargetError(f"{given!r}: an address tuple is (host, port)")
    host, port = given[:2]
    if not isinstance(host, str):
        raise TypeError(f"{given!r}: the host is text, not {host!r}")
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"{given!r}: the port is a number, not {port!r}")
    if not host.isprintable():
        raise TargetError(f"{host!r}: a host holds no control characters")
    _check_port(port)
    scope = str(given[3]) if len(given) == 4 and given[3] else None
    if "%" in host:
        host, _, scope = host.partition("%")
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return _from_host(host, str(port), scope, shown, protocol)


def _from_unix(rest: str, text: str, word: str, protocol: Protocol) -> Request:
    named = unix_protocol(protocol) if word == "unix" else Protocol(word)
    name = rest.removeprefix("//")  # unix:///run/app.sock is a URL
    if not name:
        raise TargetError(
            f"{text!r}: no path: write {word}:/run/app.sock, or {word}:@name for an "
            f"abstract name, or {word}:@ to let the system choose one"
        )
    raw = name.encode("utf-8", "surrogateescape")
    if name.startswith("@"):
        raw = b"\0" + raw[1:] if len(raw) > 1 else b""
    return replace(_from_name(raw, named), requested=text)


def _from_name(name: bytes, protocol: Protocol) -> Request:
    if b"\0" in name and not name.startswith(b"\0"):
        raise TargetError(f"{name!r}: a path holds no NUL byte")
    if name.endswith(b"/"):
        raise TargetError(
            f"{name_text(name)!r}: the path of a socket does not end in '/'"
        )
    return Request(
        requested=_unix_text(name, protocol),
        host=None,
        port=0,
        protocol=protocol,
        family=Family.UNIX,
        packed=name,
    )


def _from_vsock(rest: str, text: str) -> Request:
    cid, colon, port = rest.rpartition(":")
    if not colon:
        raise TargetError(
            f"{text!r}: write vsock:CID:PORT, for instance vsock:any:1024"
        )
    numbers = []
    for one, words in ((cid, _CIDS), (port, {"any": _ANY_PORT})):
        if one not in words and not (one.isascii() and one.isdigit()):
            known = ", ".join(words)
            raise TargetError(f"{text!r}: {one!r} is neither a number nor {known}")
        number = words[one] if one in words else int(one)
        if number > 0xFFFFFFFF:
            raise TargetError(f"{text!r}: {one} has more than 32 bits")
        numbers.append(number)
    return Request(
        requested=text,
        host=None,
        port=numbers[1],
        protocol=Protocol.VSOCK,
        family=Family.VSOCK,
        packed=numbers[0].to_bytes(4, "big"),
    )


def _check_port(port: int) -> None:
    if not 0 <= port <= 65535:
        shown = str(port) if abs(port) < 10**30 else "given"
        raise TargetError(f"the port {shown} is not between 0 and 65535")


def _from_url(text: str, scheme: str, rest: str, protocol: Protocol) -> Request:
    authority = rest
    for end in "/?#":
        authority = authority.partition(end)[0]
    authority = authority.rpartition("@")[2]
    if scheme in ("tcp", "udp"):
        protocol = Protocol(scheme)
    if not authority:
        raise TargetError(f"{text!r}: the URL names no host")
    closed = authority.rpartition("]")[2]
    if ":" not in closed:
        if scheme not in WELL_KNOWN_PORTS:
            raise TargetError(
                f"{text!r}: the URL names no port, and {scheme!r} has no usual one: "
                f"write {scheme}://{authority}:PORT"
            )
        authority = f"{authority}:{WELL_KNOWN_PORTS[scheme]}"
    host, port, scope = _split_host(authority, text)
    return _from_host(host, port, scope, text, protocol)


def _split_protocol(text: str, protocol: Protocol) -> tuple[str, Protocol]:
    body, slash, name = text.rpartition("/")
    if not slash:
        return text, protocol
    try:
        return body, IP_PROTOCOLS[IP_PROTOCOLS.index(name.lower())]
    except ValueError:
        known = ", ".join(f"/{one}" for one in IP_PROTOCOLS)
        raise TargetError(
            f"{text!r}: {name!r} is no protocol: use one of {known}"
        ) from None


def _split_host(body: str, text: str) -> tuple[str, str, str | None]:
    """Split HOST:PORT; returns host ("" for none), port and IPv6 zone."""
    if body.startswith("["):
        inner, closing, rest = body[1:].partition("]")
        if not closing:
            raise TargetError(f"{text!r}: the bracket is not closed: write [IPV6]:PORT")
        if not rest.startswith(":") or not rest[1:]:
            raise TargetError(
                f"{text!r}: no port after the bracket: write [{inner}]:PORT"
            )
        address, _, zone = inner.partition("%")
        if ":" not in address:
            raise TargetError(
                f"{text!r}: {inner!r} is no IPv6 address: brackets are for those"
            )
        if "%" in inner and not zone:
            raise TargetError(
                f"{text!r}: no interface after '%': write [{address}%eth0]"
            )
        return address, rest[1:], zone or None
    if body.count(":") > 1:
        host, _, port = body.rpartition(":")
        if _pack(body.partition("%")[0]) or not port.isdigit():
            hint = f"[{body}]:PORT"
        else:
            hint = f"[{host}]:{port}"
        raise TargetError(f"{text!r}: an IPv6 address needs brackets: write {hint}")
    host, colon, port = body.rpartition(":")
    if not colon:
        if not body.isdigit() and not _is_service(body):
            _refuse_without_port(body, text)
        return "", body, None
    if not port:
        raise TargetError(f"{text!r}: no port after the colon: write {host}:PORT")
    return host, port, None


def _refuse_without_port(body: str, text: str) -> None:
    if body.startswith("-") and body[1:].isdigit():
        raise TargetError(f"{text!r}: a port is a number from 0 to 65535")
    if not body.strip("0123456789.") and not _pack(body):
        raise TargetError(
            f"{text!r} is neither a port nor an IPv4 address: write {_FORMS}"
        )
    raise TargetError(f"{text!r}: no port: write {body}:PORT")


def _from_host(
    host: str, port: str, scope: str | None, text: str, protocol: Protocol
) -> Request:
    number = _port(port, text, protocol)
    if host in ("", "*"):
        return Request(requested=text, host=None, port=number, protocol=protocol)
    packed = _pack(host)
    if not packed:
        _check_name(host, text)
    if scope is not None and len(packed) != len(ANY6):
        raise TargetError(f"{text!r}: only an IPv6 address has a zone (%{scope})")
    family = {0: None, 4: Family.INET, 16: Family.INET6}[len(packed)]
    return Request(
        requested=text,
        host=host,
        port=number,
        protocol=protocol,
        family=family,
        packed=packed,
        scope=scope,
    )


def _pack(host: str) -> bytes:
    """The bytes of an address, empty when it is none."""
    try:
        return inet_pton(AF_INET6 if ":" in host else AF_INET, host)
    except (OSError, ValueError):
        return b""


def _check_name(host: str, text: str) -> None:
    if ":" in host:
        raise TargetError(f"{text!r}: {host!r} is no IPv6 address")
    last = host.removesuffix(".").rpartition(".")[2]
    if last.isdigit() or last[:2].lower() == "0x":
        # getaddrinfo would read 1.2.3 as 1.2.0.3, and 0x7f.1 as 127.0.0.1.
        raise TargetError(
            f"{text!r}: {host!r} is no IPv4 address: it has four numbers from 0 to 255"
        )
    wrong = [one for one in host.lower() if not _may_stand_in_name(one)]
    if wrong:
        raise TargetError(
            f"{text!r}: {host!r} is no host name: {wrong[0]!r} cannot stand in one"
        )
    if len(host) > 253 or "" in host.removesuffix(".").split("."):
        raise TargetError(f"{text!r}: {host!r} is no host name")


def _may_stand_in_name(character: str) -> bool:
    if character.isascii():
        return character in _HOST_CHARACTERS
    # Digits of other scripts would become an IPv4 address.
    return character.isalpha() or not (character.isnumeric() or character.isspace())


def _port(port: str, text: str, protocol: Protocol) -> int:
    if port.isascii() and port.isdigit():
        digits = port.lstrip("0") or "0"
        if len(digits) > 5 or int(digits) > 65535:
            raise TargetError(f"{text!r}: port {port} is not between 0 and 65535")
        return int(digits)
    if port[:1] in "+-" and port[1:].isdigit():
        raise TargetError(f"{text!r}: port {port} is not between 0 and 65535")
    number = _service(port, protocol)
    if number is None:
        raise TargetError(
            f"{text!r}: {port!r} is neither a port number nor a service name"
        )
    return number


def _is_service(name: str) -> bool:
    return _service(name, Protocol.TCP) is not None


def _service(name: str, protocol: Protocol) -> int | None:
    if not name.isprintable() or not name.isascii():
        return None
    kind = "udp" if protocol in (Protocol.UDP, Protocol.UDPLITE) else "tcp"
    try:
        return _socket.getservbyname(name, kind)
    except OSError:
        return WELL_KNOWN_PORTS.get(name)
