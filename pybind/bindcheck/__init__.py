"""Find out why bind() failed, who holds the port, and what helps.

Importing opens nothing and reads nothing; each name is loaded when it is first used.
"""

from bindcheck._version import __version__

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.binding import BindError, BindPermissionError, bind
    from bindcheck.diagnosis import diagnose, parse_target, probe
    from bindcheck.errors import BindcheckError, TargetError
    from bindcheck.explaining import explain, explained
    from bindcheck.jsonform import to_dict
    from bindcheck.model import Attempt, Diagnosis, NativeCode, Report, Target
    from bindcheck.public import native_code, schema, sockets
    from bindcheck.waiting import wait_until_bindable

__all__ = [
    "Attempt",
    "BindError",
    "BindPermissionError",
    "BindcheckError",
    "Diagnosis",
    "NativeCode",
    "Report",
    "Target",
    "TargetError",
    "__version__",
    "bind",
    "diagnose",
    "explain",
    "explained",
    "native_code",
    "parse_target",
    "probe",
    "schema",
    "sockets",
    "to_dict",
    "wait_until_bindable",
]

_HOMES = {
    "bind": "binding",
    "BindPermissionError": "binding",
    "BindError": "binding",
    "Attempt": "model",
    "BindcheckError": "errors",
    "Diagnosis": "model",
    "NativeCode": "model",
    "Report": "model",
    "Target": "model",
    "TargetError": "errors",
    "diagnose": "diagnosis",
    "explain": "explaining",
    "explained": "explaining",
    "native_code": "public",
    "parse_target": "diagnosis",
    "probe": "diagnosis",
    "schema": "public",
    "sockets": "public",
    "to_dict": "jsonform",
    "wait_until_bindable": "waiting",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
