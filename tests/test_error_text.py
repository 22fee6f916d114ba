"""Numbers get the system's own name and text, whatever the locale is."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

import pytest

import bindcheck

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
