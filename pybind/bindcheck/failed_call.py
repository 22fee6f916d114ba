"""Which bind() or listen() an exception comes from, read out of its traceback.

An OSError of bind carries no address. The frame that made the call is still there: its
source is parsed, and the names in the call are looked up in the frame. Nothing is called
and no property is read: looking must not change anything.
"""

from __future__ import annotations

import ast
import linecache
from inspect import getattr_static
from itertools import islice
from types import MemberDescriptorType

from bindcheck.records import record

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType, TracebackType
    from typing import Any

_CALLS = frozenset({"bind", "listen"})
_MOST_FRAMES = 64
_PLAIN = (str, bytes, int, tuple)


class _UnknownError(Exception):
    """An expression whose value cannot be told without running code."""


@record(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """A call that failed, as far as its frame tells."""

    name: str
    """bind or listen; "" where the frame made some other call."""
    address: object = None
    """What was given to bind, None where that is not known."""
    socket: object = None
    """The socket, which may be closed by now."""
    owner: object = None
    """`self` of the method that made the call."""
    names: Mapping[str, object]
    """The local names of the frame."""
    function: str
    module: str


def failed_call(error: BaseException) -> FailedCall | None:
    """The innermost frame of an exception: what it called.

    None: the exception was never raised.
    """
    found = None
    for trace in _frames(error.__traceback__):
        call = _call_of(trace)
        if call.name:
            return call
        found = found or call
    return found


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    """Innermost first."""
    every = []
    while trace is not None:
        every.append(trace)
        trace = trace.tb_next
    yield from islice(reversed(every), _MOST_FRAMES)


def _call_of(trace: TracebackType) -> FailedCall:
    frame = trace.tb_frame
    names: dict[str, Any] = dict(frame.f_locals)
    known: dict[str, Any] = {
        "names": names,
        "owner": names.get("self"),
        "function": frame.f_code.co_name,
        "module": str(frame.f_globals.get("__name__", "")),
    }
    call = _parsed_call(trace)
    if call is None or not isinstance(call.func, ast.Attribute):
        return FailedCall(name="", **known)
    address = None
    if call.func.attr == "bind" and len(call.args) == 1:
        address = _value_or_none(call.args[0], frame)
    return FailedCall(
        name=call.func.attr,
        address=address,
        socket=_value_or_none(call.func.value, frame),
        **known,
    )


def _parsed_call(trace: TracebackType) -> ast.Call | None:
    """The call of bind or listen that the frame was in."""
    text = _source_of(trace)
    if text is None:
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _CALLS
        ):
            return node
    return None


def _source_of(trace: TracebackType) -> str | None:
    """The source of the instruction that raised (PEP 657); None where it is not there."""
    code = trace.tb_frame.f_code
    where = next(islice(code.co_positions(), trace.tb_lasti // 2, None), None)
    if where is None or None in where:
        return None
    first, last, begin, end = where
    assert first is not None and last is not None  # noqa: PT018, S101
    lines = [
        linecache.getline(code.co_filename, number, trace.tb_frame.f_globals)
        for number in range(first, min(last, first + 50) + 1)
    ]
    # Columns are bytes of UTF-8.
    raw = [line.encode() for line in lines]
    raw[-1] = raw[-1][:end]
    raw[0] = raw[0][begin:]
    return b"".join(raw).decode("utf-8", "replace")


def _value_or_none(node: ast.expr, frame: FrameType) -> object:
    try:
        return _value(node, frame)
    except _UnknownError:
        return None


def _value(node: ast.expr, frame: FrameType) -> Any:
    """The value of a name, an attribute or a tuple of such."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        for names in (frame.f_locals, frame.f_globals):
            if node.id in names:
                return names[node.id]
        raise _UnknownError
    if isinstance(node, ast.Tuple):
        return tuple(_value(one, frame) for one in node.elts)
    if isinstance(node, ast.Attribute):
        return _attribute(_value(node.value, frame), node.attr)
    if isinstance(node, ast.Subscript):
        return _item(_value(node.value, frame), _value(node.slice, frame))
    if isinstance(node, ast.Call):
        return _plain_call(node, frame)
    raise _UnknownError


def _attribute(value: object, name: str) -> object:
    """An attribute that is kept, not computed."""
    try:
        found = getattr_static(value, name)
    except (AttributeError, TypeError):
        raise _UnknownError from None
    if isinstance(found, MemberDescriptorType):  # of __slots__
        return found.__get__(value, type(value))
    if hasattr(type(found), "__get__"):
        raise _UnknownError
    return found


def _item(value: Any, key: Any) -> object:
    """A part of a plain container."""
    if type(value) not in (tuple, list, dict) or type(key) not in (int, str):
        raise _UnknownError
    try:
        return value[key]
    except (LookupError, TypeError):
        raise _UnknownError from None


def _plain_call(node: ast.Call, frame: FrameType) -> object:
    """str(x) and int(x) of plain values; whatever else is called could do anything."""
    makers = {"str": str, "int": int, "tuple": tuple}
    plain = (
        isinstance(node.func, ast.Name)
        and node.func.id in makers
        and node.func.id not in frame.f_locals
        and len(node.args) == 1
        and not node.keywords
    )
    if not plain or not isinstance(node.func, ast.Name):
        raise _UnknownError
    value = _value(node.args[0], frame)
    if type(value) not in _PLAIN and not type(value).__module__.startswith("pathlib"):
        raise _UnknownError
    try:
        return makers[node.func.id](value)
    except (ValueError, TypeError):
        raise _UnknownError from None
