"""What must hold of any text that somebody types, logs or sends as a recording.

`python -m tests.fuzz.texts` gives the one that BINDCHECK_FUZZ names what libFuzzer makes
up (needs atheris); tests/test_fuzz_corpus.py gives them what was found so.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":  # before the modules that are to be traced
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["bindcheck"]):
        import_module("bindcheck.conclusion")
        import_module("bindcheck.log_addresses")

from bindcheck.conclusion import conclude
from bindcheck.error_text import read_error_text
from bindcheck.errors import RecordingError, TargetError, UsageError
from bindcheck.jsonform import to_dict
from bindcheck.model import Report
from bindcheck.recording import loads
from bindcheck.render import report_lines
from bindcheck.target import (
    Request,
    make_target,
    make_unix_target,
    make_vsock_target,
    parse,
)
from bindcheck.words import Family, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOLS = tuple(Protocol)


def target(data: bytes) -> None:
    """What is understood is shown as something that is understood the same.

    The first byte chooses the protocol that is asked for.
    """
    protocol = PROTOCOLS[data[0] % len(PROTOCOLS)] if data else Protocol.TCP
    try:
        found = parse(data[1:].decode("utf-8", "surrogateescape"), protocol=protocol)
    except TargetError:
        return
    assert parse(found.requested, protocol=protocol) == found
    assert 0 <= found.port <= 0xFFFFFFFF
    if found.family is not None:
        again = parse(shown(found))
        assert meaning(again) == meaning(found)


def shown(request: Request) -> str:
    """The text of the target that a request of one address is for."""
    if request.family is Family.UNIX:
        return make_unix_target(request.packed, request.protocol).text
    if request.family is Family.VSOCK:
        return make_vsock_target(request).text
    assert request.family is not None
    address = (request.family, request.packed, request.port, request.protocol)
    return make_target(*address, scope=request.scope).text


def meaning(request: Request) -> tuple[object, ...]:
    address = (request.family, request.packed, request.port, request.scope)
    return (*address, request.protocol)


def error_text(data: bytes) -> None:
    """Whatever is read of a log, the address in it is one that can be asked about."""
    try:
        found = read_error_text(data.decode("utf-8", "replace"))
    except UsageError:
        return
    assert found.meanings or found.target is not None
    if found.target is not None:
        request = parse(found.target, protocol=found.protocol)
        assert parse(request.requested, protocol=found.protocol) == request


def recording(data: bytes) -> None:
    """Whatever is a recording is concluded and shown."""
    try:
        context, seen = loads(data)
    except RecordingError:
        return
    results = tuple(conclude(one) for one in seen)
    report = Report(context=context, results=results)
    to_dict(report)
    assert [*report_lines(report)] or not seen


PROPERTIES: dict[str, Callable[[bytes], None]] = {
    "target": target,
    "error_text": error_text,
    "recording": recording,
}

if __name__ == "__main__":
    # By the first word libFuzzer starts itself again, to merge.
    again = f"{sys.executable} -m tests.fuzz.texts"
    chosen = PROPERTIES[os.environ["BINDCHECK_FUZZ"]]
    atheris.Setup([again, *sys.argv[1:]], chosen)
    atheris.Fuzz()
