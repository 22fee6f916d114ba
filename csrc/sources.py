"""Which C files each system compiles. For the build and the checks; no part of the core.

A system's folders hold what it has; what they lack is taken from `unsupported`, which
has the same file names.
"""

from __future__ import annotations

from pathlib import Path

CSRC = Path(__file__).resolve().parent
FOLDERS = {
    "linux": ("posix", "linux"),
    "darwin": ("posix", "darwin"),
    "win32": ("windows",),
}
OTHER = ("posix",)
# pthread: older C libraries have threads in a file of its own.
LIBRARIES = {"linux": ("pthread",), "win32": ("ws2_32", "iphlpapi", "advapi32")}


def c_files(system: str) -> list[Path]:
    """The files for a sys.platform, in a stable order."""
    folders = [CSRC, CSRC / "decode"]
    folders += [CSRC / name for name in FOLDERS.get(system, OTHER)]
    found = [file for folder in folders for file in sorted(folder.glob("*.c"))]
    there = {file.name for file in found if file.parent.name != "decode"}
    stand_ins = sorted((CSRC / "unsupported").glob("*.c"))
    return found + [file for file in stand_ins if file.name not in there]
