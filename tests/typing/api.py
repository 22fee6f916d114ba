"""The public interface as users write it; mypy checks it, nothing runs it."""

from __future__ import annotations

import socket
import sys
from typing import assert_type

import bindcheck


def diagnoses() -> None:
    report = bindcheck.diagnose("0.0.0.0:8080", reuse_address=True, listen=True)
    assert_type(report, bindcheck.Report)
    assert_type(report.ok, bool)
    assert_type(report.worst, bindcheck.Diagnosis)
    for diagnosis in report:
        assert_type(diagnosis, bindcheck.Diagnosis)
        for cause in diagnosis.causes:
            print(cause.code, cause.certainty, cause.summary)
            for remedy in cause.remedies:
                assert_type(remedy.command, tuple[str, ...] | None)
    assert_type(report.reported, bindcheck.NativeCode | None)
    print(bindcheck.to_dict(report)["results"])


def native_calls() -> None:
    attempt = bindcheck.probe(("127.0.0.1", 8080))
    assert_type(attempt, bindcheck.Attempt)
    if attempt.error is not None:
        assert_type(attempt.error.code, int)
        assert_type(attempt.error.name, str | None)
    target = bindcheck.parse_target("127.0.0.1:8080")
    assert_type(target, bindcheck.Target)
    assert_type(bindcheck.probe(target, reuse_port=True).ok, bool | None)
    assert_type(bindcheck.native_code(98), bindcheck.NativeCode)
    for row in bindcheck.sockets(port=8080, protocol="udp"):
        print(row.state, row.local.address, row.owner.processes)
    schema = bindcheck.schema()
    print(schema["title"])


def sockets() -> socket.socket:
    try:
        one = bindcheck.bind("127.0.0.1:8080", listen=True, backlog=5)
    except bindcheck.BindPermissionError as error:
        assert_type(error.report, bindcheck.Report)
        raise
    except bindcheck.BindError as error:
        assert_type(error.errno, int | None)
        raise SystemExit(str(error)) from error
    assert_type(one, socket.socket)
    return one


def waits() -> None:
    report = bindcheck.wait_until_bindable(8080, timeout=None)
    assert_type(report, bindcheck.Report)


@bindcheck.explained()
def serve(port: int) -> str:
    return str(port)


@bindcheck.explained(("127.0.0.1", 8080), timeout=1.0, file=sys.stderr)
async def serve_later(port: int) -> str:
    return str(port)


async def within() -> None:
    assert_type(serve(1), str)
    assert_type(await serve_later(1), str)
    with socket.socket() as one, bindcheck.explained(sock=one):
        one.bind(("127.0.0.1", 8080))
    async with bindcheck.explained():
        pass
    try:
        pass
    except OSError as error:
        assert_type(bindcheck.explain(error), bindcheck.Report)
    assert_type(bindcheck.explain(98, 8080), bindcheck.Report)


def mistakes() -> None:
    bindcheck.diagnose(8080, reuse_address="yes")  # type: ignore[arg-type]
    bindcheck.bind("127.0.0.1:1", listen="yes")  # type: ignore[arg-type]
    bindcheck.probe(8.5)  # type: ignore[arg-type]
