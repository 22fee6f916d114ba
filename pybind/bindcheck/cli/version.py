"""What --version says: all that a bug report needs to know of the machine."""

from __future__ import annotations

import platform
import sys

from bindcheck._version import __version__


def version_text() -> str:
    """The version, and in a second line what it runs on."""
    return f"bindcheck {__version__}\n{', '.join(_parts())}"


def _parts() -> list[str]:
    implementation = platform.python_implementation()
    parts = [f"{implementation} {platform.python_version()}", _system()]
    libc = " ".join(one for one in platform.libc_ver() if one)
    if libc:
        parts.append(libc)
    parts.append(_core())
    return parts


def _system() -> str:
    kernel = f"{platform.system()} {platform.release()} {platform.machine()}"
    if sys.platform == "linux":
        try:
            name = platform.freedesktop_os_release().get("PRETTY_NAME")
        except OSError:
            name = None
        kernel += f" ({name})" if name else ""
    return kernel


def _core() -> str:
    """The compiled module, which may be the part that is wrong."""
    try:
        from bindcheck import native
    except ImportError as error:
        return f"compiled module: {error}"
    import _cffi_backend

    return f"interface {native.ABI}, cffi {_cffi_backend.__version__}"
