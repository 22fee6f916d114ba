"""Only what pyproject.toml cannot express: the extension and its wheel's tag."""

import platform
import sysconfig

from setuptools import setup
from setuptools.command.build_ext import build_ext

STABLE_ABI = "cp311"  # equal to requires-python in pyproject.toml
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
ABI3 = platform.python_implementation() == "CPython" and not FREE_THREADED


class BuildExt(build_ext):
    """Choose the flags by compiler, not by system: mingw exists."""

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "msvc":
            flags = ["/std:c11", "/utf-8", "/we4013"]
        else:
            flags = ["-std=c11", "-fvisibility=hidden"]
        for extension in self.extensions:
            extension.extra_compile_args += flags
        super().build_extensions()


setup(
    cffi_modules=["build_ffi.py:ffibuilder"],
    cmdclass={"build_ext": BuildExt},
    # A free-threaded build refuses the option, so it is set only where it holds.
    options={"bdist_wheel": {"py_limited_api": STABLE_ABI}} if ABI3 else {},
)
