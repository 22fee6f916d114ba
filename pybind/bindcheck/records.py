"""Frozen, slotted records: dataclasses, made in a tenth of the time.

The command must answer in less time than most programs take to import their modules.
Measured on CPython 3.11, `dataclass(frozen=True, slots=True)` costs 0.7 ms a class and
12 ms for the module, which is half of the command's whole time. `record` writes one
function a class, `__init__`, and shares the rest.

Type checkers see dataclasses; so does the module `dataclasses` (fields, replace, asdict,
is_dataclass work on records).
"""

from __future__ import annotations

__all__ = ["record", "replace"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import replace
else:

    def record(*, frozen: bool, slots: bool, kw_only: bool = False):
        """Make a class of annotated names a record; the flags are for type checkers.

        Of dataclass() it has what this project uses: defaults, no factories, no
        inheritance of fields.
        """
        assert frozen and slots  # noqa: PT018

        def make(cls: type) -> type:
            names = tuple(cls.__annotations__)
            defaults = {one: cls.__dict__[one] for one in names if one in cls.__dict__}
            body = {
                name: value
                for name, value in cls.__dict__.items()
                if name not in ("__dict__", "__weakref__", *names)
            }
            shared = {name: globals()[f"_{name.strip('_')}"] for name in _SHARED}
            body = {
                **shared,
                **body,
                "__slots__": names,
                "__match_args__": () if kw_only else names,
                "__dataclass_fields__": _LazyFields(defaults),
                "_copy": _LazyCopy(),
                "__dataclass_params__": None,
            }
            made = type(cls)(cls.__name__, cls.__bases__, body)
            made.__init__ = _make_init(made, names, defaults, kw_only=kw_only)
            return made

        return make

    def replace(one, /, **changes):
        """Copy a record with some fields changed, as dataclasses.replace does."""
        return type(one)._copy(one, **changes)

    class _LazyCopy:
        """What replace() calls, written for a class when it is called first."""

        def __get__(self, one, cls):
            names = cls.__slots__
            scope = {f"_set_{name}": cls.__dict__[name].__set__ for name in names}
            scope |= {"_same": object(), "_new": object.__new__, "_cls": cls}
            parameters = ", ".join(f"{name}=_same" for name in names)
            lines = [f"def copy(_one, /, *, {parameters}):", " _two = _new(_cls)"]
            lines += [
                f" _set_{name}(_two, _one.{name} if {name} is _same else {name})"
                for name in names
            ]
            exec("\n".join([*lines, " return _two"]), scope)  # noqa: S102 - our own names
            cls._copy = staticmethod(scope["copy"])
            return scope["copy"]

    def _make_init(cls, names, defaults, *, kw_only):
        """Write __init__, which sets the slots directly past the frozen __setattr__."""
        scope = {f"_default_{name}": value for name, value in defaults.items()}
        scope |= {f"_set_{name}": cls.__dict__[name].__set__ for name in names}
        parameters = ", ".join(
            f"{name}=_default_{name}" if name in defaults else name for name in names
        )
        star = "*, " if kw_only and names else ""
        lines = [f"def __init__(self, {star}{parameters}):"]
        lines += [f" _set_{name}(self, {name})" for name in names] or [" pass"]
        exec("\n".join(lines), scope)  # noqa: S102 - names of our own classes
        init = scope["__init__"]
        init.__qualname__ = f"{cls.__qualname__}.__init__"
        return init

    class _LazyFields:
        """What the module `dataclasses` looks at, made when it looks."""

        def __init__(self, defaults):
            self.defaults = defaults

        def __get__(self, one, cls):
            from dataclasses import MISSING, field, make_dataclass

            def described(name):
                default = self.defaults.get(name, MISSING)
                return (name, cls.__annotations__[name], field(default=default))

            alike = make_dataclass(
                cls.__name__, [described(name) for name in cls.__slots__], kw_only=True
            )
            return alike.__dataclass_fields__

    _SHARED = (
        "__repr__",
        "__eq__",
        "__hash__",
        "__setattr__",
        "__delattr__",
        "__reduce__",
        "__replace__",
    )

    def _values(one):
        return tuple([getattr(one, name) for name in one.__slots__])

    def _repr(self):
        pairs = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__qualname__}({pairs})"

    def _eq(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return self is other or _values(self) == _values(other)

    def _hash(self):
        return hash(_values(self))

    def _setattr(self, name, value):
        raise AttributeError(f"{type(self).__name__} is frozen: cannot set {name!r}")

    def _delattr(self, name):
        raise AttributeError(f"{type(self).__name__} is frozen: cannot delete {name!r}")

    def _reduce(self):
        return (_rebuild, (type(self), _values(self)))

    def _rebuild(cls, values):
        return cls(**dict(zip(cls.__slots__, values, strict=True)))

    _replace = replace
