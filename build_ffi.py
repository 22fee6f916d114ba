"""Describe the compiled module bindcheck._native to cffi.

csrc/bindcheck.h is the one place where the C interface is written down: the text
between its two markers is what cffi parses, the whole of it is what the compiler
reads, and cffi's generated code makes the compiler compare the two.
"""

import os
import re
import sys
from pathlib import Path
from runpy import run_path

from cffi import FFI

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"
BEGIN, END = "/* cffi: begin */", "/* cffi: end */"

files = run_path(str(CSRC / "sources.py"))


def interface(header: Path) -> str:
    """Return the declarations between the markers of `header`."""
    _, _, rest = header.read_text(encoding="utf-8").partition(BEGIN)
    declarations, end, _ = rest.partition(END)
    if not end:
        raise SystemExit(f"{header}: the markers {BEGIN!r} and {END!r} are missing")
    # The compiler sees the calling convention and visibility; cffi need not.
    return re.sub(r"\bBC_API\b", "", declarations)


def sources() -> list[str]:
    """Return the C files that this system compiles, in a stable order."""
    # setuptools wants paths relative to setup.py, with forward slashes.
    return [
        file.relative_to(ROOT).as_posix() for file in files["c_files"](sys.platform)
    ]


os.chdir(ROOT)
ffibuilder = FFI()
ffibuilder.cdef(interface(CSRC / "bindcheck.h"))
ffibuilder.set_source(
    "bindcheck._native",
    '#include "bindcheck.h"\n',
    sources=sources(),
    depends=[file.relative_to(ROOT).as_posix() for file in sorted(CSRC.rglob("*.h"))],
    include_dirs=["csrc"],
    libraries=list(files["LIBRARIES"].get(sys.platform, ())),
)
