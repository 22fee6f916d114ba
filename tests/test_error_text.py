"""Numbers get the system's own name and text, whatever the locale is."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

import pytest

import bindcheck
from bindcheck._native import ffi, lib

ALIASES = {"EWOULDBLOCK": "EAGAIN", "EDEADLOCK": "EDEADLK", "ENOTSUP": "EOPNOTSUPP"}


@pytest.mark.parametrize("code", sorted(errno.errorcode))
def test_name_and_text_of_each_number(code: int) -> None:
    found = bindcheck.native_code(code)
    name = errno.errorcode[code]
    assert found.name in (name, ALIASES.get(name))
    assert (found.domain, found.code) == ("errno", code)
    # Python's own call: the interpreter under test has not set LC_MESSAGES.
    assert found.message == os.strerror(code)


@pytest.mark.parametrize("code", [0, 41, 58, 524, 9999, -1, 2**31 - 1, -(2**31)])
def test_number_without_a_name_keeps_the_system_text(code: int) -> None:
    found = bindcheck.native_code(code)
    assert found.name is None
    assert found.message == os.strerror(code)


def test_text_is_not_translated() -> None:
    program = (
        "import locale, bindcheck; locale.setlocale(locale.LC_ALL, '');"
        "print(bindcheck.native_code(98).message, end='')"
    )
    environment = {**os.environ, "LANGUAGE": "de", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Address already in use"


def test_look_up_errors_have_a_domain_of_their_own() -> None:
    found = bindcheck.native_code(socket.EAI_NONAME, domain="eai")
    assert (found.domain, found.name) == ("eai", "EAI_NONAME")
    assert found.message == "Name or service not known"


@pytest.mark.parametrize(("code", "domain"), [(1, "nonsense"), (2**31, "errno")])
def test_what_cannot_be_a_number_is_refused(code: int, domain: str) -> None:
    with pytest.raises(ValueError, match=r"nonsense|2147483648"):
        bindcheck.native_code(code, domain=domain)


@pytest.mark.parametrize(
    ("code", "name", "text"),
    [
        (10013, "WSAEACCES", "An attempt was made to access a socket in a way "),
        (10048, "WSAEADDRINUSE", "Only one usage of each socket address "),
        (10049, "WSAEADDRNOTAVAIL", "The requested address is not valid in its "),
        (10022, "WSAEINVAL", "An argument is not valid"),
        (10038, "WSAENOTSOCK", "The operation was tried on something that is not"),
        (10047, "WSAEAFNOSUPPORT", "The address family is not supported"),
        (10093, "WSANOTINITIALISED", "WSAStartup was not called"),
        (11001, "WSAHOST_NOT_FOUND", "The host is not known."),
    ],
)
def test_winsock_is_named_on_every_system(code: int, name: str, text: str) -> None:
    domain = lib.BC_DOMAIN_WINSOCK
    assert ffi.string(lib.bc_error_name(domain, code)) == name.encode()
    reference = ffi.string(lib.bc_error_reference(domain, code))
    assert reference.startswith(text.encode())


def test_each_winsock_name_has_a_text() -> None:
    """From what the header names, all numbers, and each of them once."""
    domain = lib.BC_DOMAIN_WINSOCK
    found = {
        code: (lib.bc_error_name(domain, code), lib.bc_error_reference(domain, code))
        for code in (*range(1, 1200), *range(9900, 11100), -1, 2**31 - 1, -(2**31))
    }
    named = {
        code: (ffi.string(name), ffi.string(text))
        for code, (name, text) in found.items()
        if name != ffi.NULL
    }
    assert {code for code, (_, text) in found.items() if text != ffi.NULL} == set(named)
    assert len({name for name, _ in named.values()}) == len(named) > 60
    for name, text in named.values():
        assert name.startswith(b"WSA")
        assert text.endswith(b".")


def test_names_of_what_other_functions_of_windows_return() -> None:
    domain = lib.BC_DOMAIN_WIN32
    assert ffi.string(lib.bc_error_name(domain, 5)) == b"ERROR_ACCESS_DENIED"
    assert lib.bc_error_name(domain, 10048) == ffi.NULL
    assert lib.bc_error_reference(domain, 5) == ffi.NULL
    assert lib.bc_error_reference(lib.BC_DOMAIN_ERRNO, 98) == ffi.NULL


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has texts of its own")
@pytest.mark.parametrize("domain", [lib.BC_DOMAIN_WINSOCK, lib.BC_DOMAIN_WIN32])
def test_other_systems_have_no_text_of_windows(domain: int) -> None:
    text = ffi.new("char[]", b"before")
    assert lib.bc_error_message(domain, 10048, text, 7) == lib.BC_E_UNSUPPORTED
    assert ffi.string(text) == b""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has texts of its own")
def test_winsock_number_without_a_text_of_the_system_gets_ours() -> None:
    found = bindcheck.native_code(10049, domain="winsock")
    assert (found.domain, found.name) == ("winsock", "WSAEADDRNOTAVAIL")
    assert found.message == "The requested address is not valid in its context."
    nameless = bindcheck.native_code(4711, domain="winsock")
    assert (nameless.name, nameless.message) == (None, "Unknown error 4711")
