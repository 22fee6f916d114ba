"""Recordings: what was seen of an address, as a file that is concluded again anywhere.

A recording holds attempts, trials and snapshots, and no conclusion. Of command lines it
holds the program alone, unless asked for more: they may hold secrets.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from enum import StrEnum

from bindcheck import model, words
from bindcheck._version import __version__
from bindcheck.errors import RecordingError
from bindcheck.model import Context, Examination
from bindcheck.records import replace
from bindcheck.words import Family, Protocol, Step

FORMAT = 1
_KEY = "bindcheck_recording"
_LARGEST_BYTES = 64 * 1024 * 1024


def dumps(
    seen: typing.Sequence[Examination], context: Context, *, commands: bool
) -> str:
    """Write a recording as JSON text.

    Args:
        seen: what is recorded.
        context: where and when.
        commands: also record the arguments of other programs.
    """
    if not commands:
        seen = [_without_commands(one) for one in seen]
    whole = {
        _KEY: FORMAT,
        "version": __version__,
        "context": _plain(context),
        "results": [_plain(one) for one in seen],
    }
    return json.dumps(whole, indent=1) + "\n"


def loads(text: str | bytes) -> tuple[Context, tuple[Examination, ...]]:
    """Read a recording.

    Raises:
        RecordingError: it is none; the text names the part at fault.
    """
    if len(text) > _LARGEST_BYTES:
        raise RecordingError(f"larger than {_LARGEST_BYTES} bytes: no recording")
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"no JSON text: {error}") from None
    if not isinstance(whole, dict) or _KEY not in whole:
        raise RecordingError(
            f"no recording: the key {_KEY!r} is missing (check --record writes one)"
        )
    if whole[_KEY] != FORMAT:
        raise RecordingError(
            f"a recording of format {whole[_KEY]!r}, and this bindcheck reads {FORMAT}"
        )
    context = _build(whole.get("context"), Context, "context")
    seen = _build(whole.get("results"), tuple[Examination, ...], "results")
    for index, one in enumerate(seen):
        _check_addresses(one, f"results[{index}]")
    return context, seen


def _without_commands(seen: Examination) -> Examination:
    """Leave of each command line the program alone."""
    snapshot = seen.snapshot
    rows = tuple(
        replace(row, owner=_owner_without_commands(row.owner))
        for row in snapshot.sockets
    )
    return replace(seen, snapshot=replace(snapshot, sockets=rows))


def _owner_without_commands(owner: model.Owner) -> model.Owner:
    cut = [
        replace(
            one,
            # A program that writes a title of its own puts everything in the first.
            command=tuple(word.partition(" ")[0] for word in one.command[:1]),
            command_truncated=one.command_truncated
            or len(one.command) > 1
            or any(" " in word for word in one.command[:1]),
        )
        for one in owner.processes
    ]
    return replace(owner, processes=tuple(cut))


def _plain(value: object) -> object:
    """Turn records into what JSON has; bytes are written in hexadecimal."""
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if type(value) in _HINTS:
        # What a process runs serves to compare it with the caller: done by now.
        return {
            name: None if name == "program" else _plain(getattr(value, name))
            for name in type(value).__slots__  # type: ignore[attr-defined]
            # Of a table of all ports, which is not recorded.
            if not (name == "alike" and type(value) is model.Snapshot)
        }
    return value


def _hints() -> dict[type, dict[str, typing.Any]]:
    """The types of each record's fields."""
    known = {
        **vars(words),
        **vars(model),
        "Mapping": Mapping,
        "Iterator": typing.Iterator,
    }
    return {
        one: typing.get_type_hints(one, globalns=known)
        for one in vars(model).values()
        if isinstance(one, type) and hasattr(one, "__dataclass_params__")
    }


_HINTS = _hints()


def _build(value: object, kind: typing.Any, place: str) -> typing.Any:
    """Make what a type says of plain data, and name the place where that fails."""
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        inner = [one for one in typing.get_args(kind) if one is not type(None)]
        if value is None and len(inner) < len(typing.get_args(kind)):
            return None
        fitting = [one for one in inner if type(value) is one] or inner
        return _build(value, fitting[0], place)
    if origin is tuple:
        return _build_tuple(value, typing.get_args(kind), place)
    if origin is Mapping:
        return _build_mapping(value, typing.get_args(kind), place)
    if kind in _HINTS:
        return _build_record(value, kind, place)
    return _build_simple(value, kind, place)


def _build_record(value: object, kind: type, place: str) -> object:
    fields = _object(value, place)
    hints = _HINTS[kind]
    found = {
        name: _build(fields[name], hint, f"{place}.{name}")
        for name, hint in hints.items()
        if name in fields
    }
    try:
        return kind(**found)
    except TypeError:
        absent = ", ".join(sorted(set(hints) - set(fields)))
        raise RecordingError(f"{place}: it lacks one of {absent}") from None


def _build_tuple(
    value: object, inner: tuple[typing.Any, ...], place: str
) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise RecordingError(f"{place}: a list was expected")
    if inner[-1] is Ellipsis:
        inner = inner[:1] * len(value)
    if len(inner) != len(value):
        raise RecordingError(f"{place}: {len(inner)} values were expected")
    return tuple(
        _build(one, hint, f"{place}[{index}]")
        for index, (one, hint) in enumerate(zip(value, inner, strict=True))
    )


def _build_mapping(
    value: object, inner: tuple[typing.Any, ...], place: str
) -> Mapping[object, object]:
    key, content = inner
    return {
        _build(name, key, place): _build(one, content, f"{place}.{name}")
        for name, one in _object(value, place).items()
    }


def _object(value: object, place: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise RecordingError(f"{place}: an object was expected")
    return value


def _build_simple(value: object, kind: typing.Any, place: str) -> object:
    if kind is bytes:
        return _build_bytes(value, place)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        try:
            return kind(str(value))
        except ValueError:
            known = ", ".join(kind)
            raise RecordingError(f"{place}: {value!r} is none of {known}") from None
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < _LARGEST_TIME else value
    if kind is not object and type(value) is not kind:
        raise RecordingError(f"{place}: {_NAMES.get(kind, 'a value')} was expected")
    if isinstance(value, float) and not abs(value) < _LARGEST_TIME:
        raise RecordingError(f"{place}: {value} is no time")
    if type(value) is int and abs(value) >= 1 << 64:
        raise RecordingError(f"{place}: the number has more than 64 bits")
    return value


def _build_bytes(value: object, place: str) -> bytes:
    try:
        if isinstance(value, str):
            return bytes.fromhex(value)
    except ValueError:
        pass
    raise RecordingError(f"{place}: hexadecimal digits were expected")


_LARGEST_TIME = 1e11  # seconds; the year is 5138 then
_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _families_of(protocol: Protocol) -> tuple[Family | None, ...]:
    """None is that of a name that was not resolved."""
    if protocol.is_unix:
        return (Family.UNIX,)
    if protocol is Protocol.VSOCK:
        return (Family.VSOCK,)
    return (Family.INET, Family.INET6, None)


def _check_addresses(seen: Examination, place: str) -> None:
    """The bytes of an address are as many as its family has, which the protocol has."""
    snapshot = seen.snapshot
    target = seen.attempt.target
    families = _families_of(target.protocol)
    for part, found in [
        ("attempt.target", target.family),
        *(
            (f"snapshot.sockets[{i}]", row.family)
            for i, row in enumerate(snapshot.sockets)
        ),
    ]:
        if found not in families:
            raise RecordingError(
                f"{place}.{part}.family: {target.protocol} has no {found}"
            )
    parts: list[tuple[str, Family | None, bytes]] = [
        ("attempt.target", target.family, target.packed)
    ]
    for name in ("sockets", "addresses"):
        for index, one in enumerate(getattr(snapshot, name)):
            parts.append((f"snapshot.{name}[{index}]", one.family, one.packed))
    sizes = {Family.INET: 4, Family.INET6: 16, Family.VSOCK: 4}
    for part, family, packed in parts:
        unresolved = part == "attempt.target" and seen.attempt.step is Step.RESOLVE
        if family in sizes and len(packed) != sizes[family] and not unresolved:
            raise RecordingError(
                f"{place}.{part}.packed: {sizes[family]} bytes were expected"
            )
