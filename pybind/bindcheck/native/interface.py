"""The compiled module, where it is the one that this version was written for."""

from __future__ import annotations

from bindcheck import _native
from bindcheck._native import ffi, lib
from bindcheck.errors import StaleExtensionError

__all__ = ["ABI", "ffi", "lib"]

ABI = 8
if lib.BC_ABI != ABI:
    raise StaleExtensionError(
        f"{_native.__file__} has interface {lib.BC_ABI}, this bindcheck needs {ABI}: "
        "build it again with `python -m pip install --force-reinstall --no-deps .` "
        "(or `-e .` in a checkout), or delete the file if it is left over",
    )
