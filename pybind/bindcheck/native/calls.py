"""The native calls: socket, setsockopt, bind, listen; and getaddrinfo."""

from __future__ import annotations

import sys
from functools import lru_cache

from bindcheck.errors import NativeError
from bindcheck.model import (
    Attempt,
    Endpoint,
    NativeCode,
    Options,
    Target,
    refused,
    worked,
)
from bindcheck.native.codes import (
    DOMAINS,
    FAMILY_NUMBERS,
    OPTIONS,
    PROTOCOL_NUMBERS,
    STEPS,
    TYPES,
    error,
)
from bindcheck.native.interface import ffi, lib
from bindcheck.native.rows import FAMILIES, endpoint_of, packed_of
from bindcheck.records import record
from bindcheck.target import cid_text, name_text
from bindcheck.words import Domain, Family, Step

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from typing import Any

_IP_SOCKETS = {one: (PROTOCOL_NUMBERS[one], TYPES[one]) for one in PROTOCOL_NUMBERS}
_TRISTATE = {None: -1, False: 0, True: 1}
_bc_probe, _bc_probe_address, _OK = lib.bc_probe, lib.bc_probe_address, lib.BC_OK
# Looking types up by name costs cffi a parse at every call.
_Request = ffi.typeof("bc_probe_request *")
_Result = ffi.typeof("bc_probe_result *")


def probe_plain(target: Target) -> Attempt | None:
    """Make the native calls for one IP address without any option; None: it is none."""
    numbers = _IP_SOCKETS.get(target.protocol)
    if numbers is None:
        return None
    packed = target.packed
    protocol, kind = numbers
    port = _bc_probe_address(
        protocol, kind, packed, len(packed), target.port, target.scope_id or 0
    )
    if port >= 0:
        return worked(target, port)
    return None if port == -1 else refused(target, *_refusal(-port))


@lru_cache(64)
def _refusal(number: int) -> tuple[Step, NativeCode]:
    """The step and the error in what bc_probe_address returned."""
    step, code = divmod(number, 2**32)
    domain = Domain.WINSOCK if sys.platform == "win32" else Domain.ERRNO
    return STEPS[step], error(domain, code)


def probe(target: Target, options: Options) -> Attempt:
    """Make the native calls for one address and say what the system said."""
    request = ffi.new(_Request)
    local = request.local
    local.family = FAMILY_NUMBERS[target.family]  # type: ignore[index]
    local.port = target.port
    ffi.memmove(local.address, target.packed, len(target.packed))
    if target.scope_id is not None:
        local.scope_id = target.scope_id
    request.protocol = PROTOCOL_NUMBERS[target.protocol]
    request.type = TYPES[target.protocol]
    request.reuse_address = _TRISTATE[options.reuse_address]
    request.reuse_port = _TRISTATE[options.reuse_port]
    request.exclusive = _TRISTATE[options.exclusive]
    request.v6only = _TRISTATE[options.v6only]
    request.freebind = _TRISTATE[options.freebind]
    if options.device is not None:
        request.device = options.device.encode()
    if options.listen:
        request.listen = 1
        request.backlog = options.backlog

    result = ffi.new(_Result)
    if _bc_probe(request, result) != _OK:
        raise NativeError(f"the C core refused the request for {target.text}")
    failed = result.error
    if failed.step:
        return _failed(target, options, failed)
    return _worked(target, options, _bound(target, result.bound))


def _bound(target: Target, raw: Any) -> Endpoint:
    """What getsockname() said; with a port given it is what was asked for."""
    if target.port and target.address is not None:
        return Endpoint(address=target.address, port=raw.port, scope_id=target.scope_id)
    return endpoint_of(raw)


def probe_name(target: Target, options: Options) -> Attempt:
    """Make the native calls for an AF_UNIX or AF_VSOCK address, as probe() does.

    A bind to a path leaves a socket file behind.
    """
    request = ffi.new("bc_name_request *")
    request.family = FAMILY_NUMBERS[target.family]  # type: ignore[index]
    request.type = TYPES[target.protocol]
    request.listen, request.backlog = options.listen, options.backlog
    if target.family is Family.VSOCK:
        request.cid = int.from_bytes(target.packed, "big")
        request.port = target.port
    else:
        # What is longer than any system takes is refused all the same.
        name = target.packed[: lib.BC_NAME_BYTES]
        request.length = len(name)
        ffi.memmove(request.name, name, len(name))
    result = ffi.new("bc_name_result *")
    if lib.bc_probe_name(request, result) != _OK:
        raise NativeError(f"the C core refused the request for {target.text}")
    failed = result.error
    if failed.step:
        return _failed(target, options, failed)
    if target.family is Family.VSOCK:
        bound = Endpoint(address=cid_text(result.cid), port=result.port)
    else:
        name = bytes(ffi.buffer(result.name, result.length))
        bound = Endpoint(address=name_text(name.removesuffix(b"\0")), port=0)
    return _worked(target, options, bound)


def _worked(target: Target, options: Options, bound: Endpoint) -> Attempt:
    return Attempt(
        target=target,
        options=options,
        ok=True,
        native=True,
        step=None,
        argument=None,
        error=None,
        bound=bound,
    )


def _failed(target: Target, options: Options, failed: Any) -> Attempt:
    return Attempt(
        target=target,
        options=options,
        ok=False,
        native=True,
        step=STEPS[failed.step],
        argument=OPTIONS.get(failed.option),
        error=error(DOMAINS[failed.domain], failed.code),
        bound=None,
    )


def resolve(host: str, family: Family | None) -> tuple[Resolved, ...] | NativeCode:
    """Look a host up with getaddrinfo; it may ask name servers."""
    capacity = 16
    count = ffi.new("size_t *")
    failed = ffi.new("bc_error *")
    number = lib.BC_FAMILY_NONE if family is None else FAMILY_NUMBERS[family]
    while True:
        found = ffi.new("bc_endpoint[]", capacity)
        status = lib.bc_resolve(host.encode(), number, found, capacity, count, failed)
        if status != lib.BC_E_TRUNCATED:
            break
        capacity = count[0]
    if status != lib.BC_OK:
        return error(DOMAINS[failed.domain], failed.code)
    return tuple(
        Resolved(
            family=FAMILIES[one.family],
            packed=packed_of(one),
            scope_id=one.scope_id or None,
        )
        for one in found[0 : count[0]]
    )


@record(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An address that a name stands for."""

    family: Family
    packed: bytes
    scope_id: int | None
