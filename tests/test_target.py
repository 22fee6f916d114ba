"""Targets as people write them, and what they are told when it makes no sense."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import bindcheck
from bindcheck.errors import TargetError
from bindcheck.target import (
    WELL_KNOWN_PORTS,
    Request,
    format_endpoint,
    format_target,
    make_target,
    parse,
)
from bindcheck.words import IP_PROTOCOLS, Family, Protocol

properties = settings(derandomize=True, deadline=None, database=None, max_examples=400)


def packed(address: str) -> bytes:
    return ip_address(address).packed


class TestForms:
    """Every form that the documents name."""

    @pytest.mark.parametrize("text", ["8080", ":8080", "*:8080", " 8080 ", "08080"])
    def test_bare_port_is_every_address(self, text: str) -> None:
        found = parse(text)
        assert (found.host, found.port, found.family) == (None, 8080, None)
        assert found.protocol is Protocol.TCP
        assert not found.is_name
        assert found.requested == text.strip()

    @pytest.mark.parametrize("number", [0, 1, 8080, 65535])
    def test_number_is_a_port(self, number: int) -> None:
        found = parse(number)
        assert (found.host, found.port) == (None, number)
        assert found.requested == str(number)

    @pytest.mark.parametrize(
        ("text", "address", "port"),
        [
            ("127.0.0.1:8080", "127.0.0.1", 8080),
            ("0.0.0.0:0", "0.0.0.0", 0),  # noqa: S104
            ("255.255.255.255:65535", "255.255.255.255", 65535),
            ("[::1]:8080", "::1", 8080),
            ("[::]:80", "::", 80),
            ("[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80),
            ("[2001:DB8::A]:80", "2001:db8::a", 80),
        ],
    )
    def test_address_and_port(self, text: str, address: str, port: int) -> None:
        found = parse(text)
        version = ip_address(address).version
        assert found.family is (Family.INET if version == 4 else Family.INET6)
        assert (found.packed, found.port) == (packed(address), port)
        assert not found.is_name

    @pytest.mark.parametrize("zone", ["eth0", "3", "br-0a1b", "a.b:c"])
    def test_zone(self, zone: str) -> None:
        found = parse(f"[fe80::1%{zone}]:8080")
        assert (found.packed, found.scope) == (packed("fe80::1"), zone)
        assert found.host == "fe80::1"

    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            ("localhost:http", "localhost", 80),
            ("localhost:8080", "localhost", 8080),
            ("db_1.example.com.:5432", "db_1.example.com.", 5432),
            ("b\u00fccher.example:80", "b\u00fccher.example", 80),
        ],
    )
    def test_name_is_to_be_looked_up(self, text: str, host: str, port: int) -> None:
        found = parse(text)
        assert (found.host, found.port) == (host, port)
        assert (found.packed, found.family, found.is_name) == (b"", None, True)

    @pytest.mark.parametrize("service", ["http", "https", "ssh", "domain", "redis"])
    def test_service_is_a_port(self, service: str) -> None:
        number = WELL_KNOWN_PORTS[service]
        assert parse(f"localhost:{service}").port == number
        assert parse(service).port == number

    @pytest.mark.parametrize("protocol", IP_PROTOCOLS)
    @pytest.mark.parametrize("body", ["8080", ":8080", "127.0.0.1:80", "[::1]:80"])
    def test_protocol(self, body: str, protocol: Protocol) -> None:
        assert parse(f"{body}/{protocol}").protocol is protocol
        assert parse(f"{body}/{protocol.upper()}").protocol is protocol
        # What the target says outweighs what the caller would have taken.
        other = Protocol.UDP if protocol is Protocol.TCP else Protocol.TCP
        assert parse(f"{body}/{protocol}", protocol=other).protocol is protocol

    @pytest.mark.parametrize("target", [":8080", 8080, ("::1", 8080), "http://[::1]"])
    def test_protocol_that_is_not_named_is_the_callers(
        self, target: str | int | tuple[object, ...]
    ) -> None:
        assert parse(target, protocol=Protocol.UDP).protocol is Protocol.UDP

    @pytest.mark.parametrize(
        ("url", "host", "port"),
        [
            ("http://127.0.0.1:8080", "127.0.0.1", 8080),
            ("http://127.0.0.1:8080/path?x=1#top", "127.0.0.1", 8080),
            ("http://[::1]:8080/", "::1", 8080),
            ("http://[::1]", "::1", 80),
            ("HTTPS://example.com", "example.com", 443),
            ("http://example.com?x=a:b", "example.com", 80),
            ("postgres://ada:secret@db:5433/shop", "db", 5433),
            ("redis://localhost/0", "localhost", 6379),
            ("http://localhost:http", "localhost", 80),
        ],
    )
    def test_url(self, url: str, host: str, port: int) -> None:
        found = parse(url)
        assert (found.host, found.port) == (host, port)
        assert found.requested == url

    @pytest.mark.parametrize("scheme", ["tcp", "udp"])
    def test_url_that_names_a_protocol(self, scheme: str) -> None:
        assert parse(f"{scheme}://127.0.0.1:53").protocol == scheme


BAD = [
    # The target, and the part at fault as the message must show it.
    ("70000", "70000"),
    ("65536", "65536"),
    ("127.0.0.1:70000", "70000"),
    ("99999999999999999999", "99999999999999999999"),
    ("-1", "-1"),
    ("127.0.0.1:-1", "-1"),
    ("+80", "+80"),
    ("foo:bar", "'bar'"),
    ("1.2.3", "1.2.3"),
    ("1.2.3:80", "'1.2.3'"),
    ("1.2.3.4.5:80", "'1.2.3.4.5'"),
    ("256.1.1.1:80", "'256.1.1.1'"),
    ("127.0.0.1", "no port: write 127.0.0.1:PORT"),
    ("localhost", "no port: write localhost:PORT"),
    ("", "empty"),
    ("   ", "empty"),
    ("[::1", "not closed"),
    ("[::1]", "no port after the bracket"),
    ("[::1]:", "no port after the bracket"),
    ("[::1]80", "no port after the bracket"),
    ("[]:80", "''"),
    ("[::g]:80", "'::g'"),
    ("[1.2.3.4]:80", "'1.2.3.4'"),
    ("[localhost]:80", "'localhost'"),
    ("[fe80::1%]:80", "no interface after '%'"),
    ("127.0.0.1%eth0:80", "'%'"),
    ("::1", "write [::1]:PORT"),
    ("::1:80", "brackets"),
    ("fe80::1%eth0", "write [fe80::1%eth0]:PORT"),
    ("a:b:c", "brackets"),
    ("host:", "no port after the colon"),
    ("http://", "no host"),
    ("http:///path", "no host"),
    ("http://user@", "no host"),
    ("http://host:", "no port after the colon"),
    ("http://host:70000", "70000"),
    ("http://[::1", "not closed"),
    ("tcp://host", "no port"),
    ("gopher://host", "'gopher'"),
    ("://host", "no port"),
    ("a/b", "'b'"),
    ("80/foo", "'foo'"),
    ("80/", "''"),
    ("80/tcp/udp", "80/tcp"),
    ("unix:", "unix"),
    ("my host:80", "' '"),
    ("unix:/tmp/\udcff", "UTF-8"),
    ("a\tb:80", "control characters"),
    ("a\nb:80", "control characters"),
    ("a\x1b[31mb:80", "control characters"),
    ("a\x00b:80", "control characters"),
    ("a\u202eb:80", "control characters"),
    ("a\u200bb:80", "control characters"),
    ("a\ud800b:80", "control characters"),
    ("a!b:80", "'!'"),
    ("a;b:80", "';'"),
    ("..:80", "'..'"),
    ("a..b:80", "'a..b'"),
    (".a:80", "'.a'"),
    ("a" * 254 + ":80", "is no host name"),
    # Digits, but none that a socket knows.
    ("\u0668\u0660\u0668\u0660", "\u0668\u0660\u0668\u0660"),
    ("127.0.0.1:\u0668\u0660", "'\u0668\u0660'"),
    ("\u00b2:80", "'\u00b2'"),
    ("\uff11.\uff12.\uff13:80", "'\uff11.\uff12.\uff13'"),
    ("\uff18\uff10", "\uff18\uff10"),
]


@pytest.mark.parametrize(("text", "part"), BAD)
def test_bad_target_is_one_line_that_names_the_part(text: str, part: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse(text)
    message = str(caught.value)
    assert part in message
    assert message.isprintable()
    # What was written is shown, so that several targets can be told apart.
    assert not text.strip() or repr(text)[1:-1] in message


@pytest.mark.parametrize("text", ["70000", "1.2.3", "[::1", "a\nb:80"])
def test_bad_target_is_a_value_error_of_every_door(text: str) -> None:
    for door in (bindcheck.probe, bindcheck.diagnose, bindcheck.parse_target):
        with pytest.raises(ValueError, match=re.escape(repr(text))):
            door(text)


@pytest.mark.parametrize("number", [-1, 65536, 1 << 64])
def test_bad_number_is_refused(number: int) -> None:
    with pytest.raises(TargetError, match=str(number)):
        parse(number)


@pytest.mark.parametrize("target", [10**5000, ("::1", 10**5000)], ids=["int", "tuple"])
def test_number_that_cannot_even_be_written_is_refused(
    target: int | tuple[object, ...],
) -> None:
    with pytest.raises(TargetError):
        parse(target)


@pytest.mark.parametrize("target", [None, 80.0, True, ["::1", 80], {"port": 80}])
def test_other_types_are_refused(target: object) -> None:
    with pytest.raises(TypeError, match=re.escape(repr(target))):
        parse(target)  # type: ignore[arg-type]


class TestAddressTuples:
    """What socket.getsockname() and bind() use."""

    def test_ipv4(self) -> None:
        found = parse(("127.0.0.1", 8080))
        assert (found.packed, found.port) == (packed("127.0.0.1"), 8080)
        assert found.requested == "127.0.0.1:8080"

    @pytest.mark.parametrize(
        "address", [("::1", 80), ("::1", 80, 0), ("::1", 80, 0, 0)]
    )
    def test_ipv6(self, address: tuple[object, ...]) -> None:
        found = parse(address)
        assert (found.packed, found.scope) == (packed("::1"), None)
        assert found.requested == "[::1]:80"

    @pytest.mark.parametrize(
        "address",
        [("fe80::1", 80, 0, 3), ("fe80::1%3", 80), ("fe80::1%3", 80, 0, 0)],
    )
    def test_zone(self, address: tuple[object, ...]) -> None:
        found = parse(address)
        assert (found.packed, found.scope) == (packed("fe80::1"), "3")

    def test_empty_host_is_every_address(self) -> None:
        assert parse(("", 80)).host is None

    def test_name(self) -> None:
        assert parse(("localhost", 80)).is_name

    def test_own_socket(self) -> None:
        with socket.socket() as own:
            own.bind(("127.0.0.1", 0))
            found = parse(own.getsockname())
            assert found.port == own.getsockname()[1]

    @pytest.mark.parametrize(
        "address", [(), ("::1",), ("::1", 80, 0, 0, 0), ("::1", 70000)]
    )
    def test_wrong_tuples_are_refused(self, address: tuple[object, ...]) -> None:
        with pytest.raises(TargetError) as caught:
            parse(address)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize(
        "address", [(80, 80), (None, 80), ("::1", "80"), ("::1", None), ("::1", True)]
    )
    def test_wrong_types_are_refused(self, address: tuple[object, ...]) -> None:
        with pytest.raises(TypeError) as caught:
            parse(address)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize(
        "host", ["a\nb", "a\x00b", "fe80::1%a\nb", "127.0.0.1%a\x1bb", "a\u202eb"]
    )
    def test_control_characters_are_refused(self, host: str) -> None:
        with pytest.raises(TargetError) as caught:
            parse((host, 80))
        assert str(caught.value).isprintable()


# Text that is almost a target finds more than text of any characters.
pieces = st.sampled_from(
    [
        *("[", "]", ":", "::", "%", "/", "://", "@", ".", "-", "+", "*", "#", "?"),
        *("80", "0", "65535", "65536", "127.0.0.1", "1.2.3", "::1", "fe80::1", "f" * 9),
        *("eth0", "tcp", "udp", "http", "unix:", "host", "xn--", " ", "\n", "\x00"),
        *("\u0668", "\u00df", "\u202e", "\ud800", "a" * 64),
    ]
)
almost = st.lists(pieces, max_size=8).map("".join)
everything = st.text(st.characters(exclude_categories=()), max_size=40)


def understood(
    target: str | tuple[object, ...], protocol: Protocol = Protocol.TCP
) -> Request | None:
    """Parse anything; None for a TargetError, whose text is one harmless line."""
    try:
        return parse(target, protocol=protocol)
    except TargetError as error:
        message = str(error)
    assert message.isprintable()
    return None


@properties
@given(st.one_of(almost, everything), st.sampled_from(Protocol))
@example("", Protocol.TCP)
@example("[%]:1", Protocol.TCP)
@example("[::1%\u00e9]:1", Protocol.TCP)
def test_any_text_is_a_request_or_a_target_error(text: str, protocol: Protocol) -> None:
    found = understood(text, protocol)
    if found is not None:
        check_request(found)
        assert parse(found.requested, protocol=protocol) == found


@properties
@given(st.one_of(almost, everything), st.integers(-2, 65537), st.integers(0, 5))
def test_any_tuple_is_a_request_or_a_target_error(
    host: str, port: int, scope: int
) -> None:
    found = understood((host, port, 0, scope))
    if found is not None:
        check_request(found)
        assert found.port == port


def check_request(found: Request) -> None:
    if found.family in (Family.UNIX, Family.VSOCK):
        assert found.host is None
        return
    assert 0 <= found.port <= 65535
    assert len(found.packed) in (0, 4, 16)
    assert found.scope is None or (found.scope and len(found.packed) == 16)
    assert found.is_name == (found.host is not None and not found.packed)
    sizes = {0: None, 4: Family.INET, 16: Family.INET6}
    assert found.family is sizes[len(found.packed)]


@properties
@given(
    st.ip_addresses(),
    st.integers(0, 65535),
    st.sampled_from(IP_PROTOCOLS),
    st.sampled_from([None, "eth0", "3"]),
)
def test_format_and_parse_are_inverse(
    address: IPv4Address | IPv6Address,
    port: int,
    protocol: Protocol,
    scope: str | None,
) -> None:
    family = Family.INET if address.version == 4 else Family.INET6
    scope = scope if family is Family.INET6 else None
    text = format_target(family, address.packed, port, protocol, scope)
    found = parse(text)
    assert (found.family, found.packed, found.port) == (family, address.packed, port)
    assert (found.protocol, found.scope) == (protocol, scope)
    assert parse(format_endpoint(family, address.packed, port, scope)).port == port
    target = make_target(family, address.packed, port, protocol, scope=scope)
    assert target.text == text
    assert packed(target.address or "") == address.packed


@properties
@given(st.ip_addresses(), st.integers(0, 65535))
def test_tuple_and_text_are_the_same(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert parse((str(address), port)) == parse(text)
    assert bindcheck.parse_target((str(address), port)) == bindcheck.parse_target(text)


class TestSingleTargets:
    """parse_target() takes what stands for one address."""

    def test_address(self) -> None:
        found = bindcheck.parse_target("127.0.0.1:8080", protocol="udp")
        assert (found.text, found.packed) == (
            "127.0.0.1:8080/udp",
            packed("127.0.0.1"),
        )

    @pytest.mark.parametrize("text", ["8080", ":8080", "localhost:80"])
    def test_what_stands_for_several_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=re.escape(repr(text))):
            bindcheck.parse_target(text)

    @pytest.mark.parametrize("zone", ["nowhere0", "\u00e9"])
    def test_zone_that_is_no_interface_is_refused(self, zone: str) -> None:
        with pytest.raises(ValueError, match="no interface"):
            bindcheck.parse_target(f"[fe80::1%{zone}]:80")

    def test_unknown_protocol_is_refused(self) -> None:
        with pytest.raises(ValueError, match="icmp"):
            bindcheck.parse_target("127.0.0.1:80", protocol="icmp")


def test_zone_that_no_machine_has_is_a_diagnosis_in_any_script() -> None:
    """A name of an interface need not be ASCII."""
    (one,) = bindcheck.diagnose("[fe80::1%\u00e9]:80")
    assert [cause.code for cause in one.causes] == ["scope-unknown"]
