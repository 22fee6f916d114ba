"""Windows as it is: real sockets, real holders. Collected there alone."""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Any

import pytest

import bindcheck
from bindcheck import native
from bindcheck.words import (
    CauseCode,
    Domain,
    Kind,
    OwnerKind,
    Protocol,
    Sharing,
    Trait,
    Verdict,
)
from tests.support.server import server
from tests.support.windows_matrix import answers

NAMES = {"default": None, "reuse": "SO_REUSEADDR", "exclusive": "SO_EXCLUSIVEADDRUSE"}
CODES = {"ok": "ok", "WSAEADDRINUSE": 10048, "WSAEACCES": 10013}


def diagnosed(target: str, **options: bool) -> bindcheck.Diagnosis:
    """The one diagnosis of a target."""
    (found,) = bindcheck.diagnose(target, **options)  # type: ignore[arg-type]
    return found


def bound(mode: str, *, wildcard: bool, port: int = 0) -> socket.socket:
    """A socket as the rows and columns of Microsoft's table are."""
    made = socket.socket()
    name = NAMES[mode]
    if name is not None:
        made.setsockopt(socket.SOL_SOCKET, getattr(socket, name), 1)
    try:
        made.bind(("0.0.0.0" if wildcard else "127.0.0.1", port))  # noqa: S104
    except BaseException:
        made.close()
        raise
    return made


CELLS = list(answers(same_user=True).items())


@pytest.mark.parametrize(("cell", "answer"), CELLS)
def test_table_of_microsoft_is_so(
    cell: tuple[str, bool, str, bool], answer: str
) -> None:
    mode, wildcard, new_mode, new_wildcard = cell
    told: object = "ok"
    with bound(mode, wildcard=wildcard) as one:
        port = one.getsockname()[1]
        try:
            bound(new_mode, wildcard=new_wildcard, port=port).close()
        except OSError as error:
            told = getattr(error, "winerror", None)
    assert told == CODES[answer]


def test_listener_of_another_program_is_named() -> None:
    with server() as (port, pid):
        found = diagnosed(f"127.0.0.1:{port}")
        assert found.verdict is Verdict.BLOCKED
        error = found.attempt.error
        assert error is not None
        assert (error.domain, error.code, error.name) == (
            Domain.WINSOCK,
            10048,
            "WSAEADDRINUSE",
        )
        assert found.causes[0].code is CauseCode.LISTENER
        (process,) = found.blockers[0].owner.processes
        assert process.pid == pid
        assert process.name.lower().startswith("python")


def test_texts_are_those_of_the_system() -> None:
    format_error: Any = getattr(ctypes, "FormatError")  # noqa: B009
    for code in (10013, 10048, 10049, 10022):
        error = native.error(Domain.WINSOCK, code)
        assert not error.reference
        # ctypes cuts blanks and the full stop; only line ends are cut here.
        assert error.message.rstrip(" .") == str(format_error(code)).rstrip(" .")
        assert error.message == error.message.rstrip("\r\n ")


def test_socket_that_is_only_bound_is_told() -> None:
    listing = native.list_sockets(Protocol.TCP, 0)
    assert listing.source == "ip-helper"
    if not listing.bound:
        pytest.skip("needs InternalGetBoundTcpEndpointTable")
    with server(listens=False) as (port, pid):
        found = diagnosed(f"127.0.0.1:{port}")
        assert [one.kind for one in found.blockers] == [Kind.BOUND]
        assert [one.pid for one in found.blockers[0].owner.processes] == [pid]


def test_listener_is_one_row() -> None:
    """Its bound endpoint is no second socket."""
    with server() as (port, _):
        assert len(bindcheck.sockets(port=port)) == 1


def test_exclusive_holder_is_told_from_another() -> None:
    with server("SO_EXCLUSIVEADDRUSE", address="0.0.0.0") as (port, _):  # noqa: S104
        found = diagnosed(f"0.0.0.0:{port}", reuse_address=True)
        assert found.attempt.error is not None
        assert found.attempt.error.name == "WSAEACCES"
        assert [one.sharing for one in found.blockers] == [Sharing.EXCLUSIVE]


def test_single_address_below_a_wildcard_is_not_called() -> None:
    with server(address="0.0.0.0") as (port, _):  # noqa: S104
        found = diagnosed(f"127.0.0.1:{port}")
        assert (found.attempt.native, found.attempt.ok) == (False, True)


def test_datagram_socket_is_named() -> None:
    with server(kind="SOCK_DGRAM", listens=False) as (port, pid):
        found = diagnosed(f"127.0.0.1:{port}/udp")
        assert found.causes[0].code is CauseCode.DATAGRAM
        assert [one.pid for one in found.blockers[0].owner.processes] == [pid]


def test_child_that_inherited_the_socket_is_named() -> None:
    with server(child=True) as (port, pid):
        owner = diagnosed(f"127.0.0.1:{port}").blockers[0].owner
        assert Trait.INHERITED in owner.traits
        assert pid in [one.pid for one in owner.processes]


def test_service_inside_svchost_has_its_name() -> None:
    """Port 135 is the RPC endpoint mapper on every Windows."""
    (row, *_) = bindcheck.sockets(port=135)
    names = {row.owner.unit, *row.owner.services}
    assert names & {"RpcSs", "RpcEptMapper"}


def test_kernel_has_file_sharing() -> None:
    rows = bindcheck.sockets(port=445)
    if not rows:
        pytest.skip("needs file sharing")
    assert {row.owner.kind for row in rows} == {OwnerKind.KERNEL}


def test_both_options_exclude_each_other() -> None:
    found = diagnosed("127.0.0.1:0", reuse_address=True, exclusive=True)
    assert found.causes[0].code is CauseCode.OPTION_CONFLICT


def test_no_port_is_privileged() -> None:
    attempt = bindcheck.probe("127.0.0.1:81")
    assert attempt.ok or attempt.error is not None
    assert attempt.error is None or attempt.error.name != "EACCES"


def test_nothing_is_left_open() -> None:
    kernel32: Any = getattr(ctypes, "windll").kernel32  # noqa: B009

    def handles() -> int:
        count = ctypes.c_ulong()
        kernel32.GetProcessHandleCount(
            kernel32.GetCurrentProcess(), ctypes.byref(count)
        )
        return count.value

    with server() as (port, _):
        bindcheck.diagnose(f"127.0.0.1:{port}")
        before = handles()
        for _ in range(50):
            bindcheck.diagnose(f"127.0.0.1:{port}")
        assert handles() <= before + 5


def test_pid_is_our_own() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        (row,) = bindcheck.sockets(port=one.getsockname()[1])
        assert row.pid == os.getpid()
