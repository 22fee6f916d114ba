"""io_uring: what a holder executes to have its socket without a descriptor."""

from __future__ import annotations

from pathlib import Path

from tests.support.holder import Holder

RING = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
ring = libc.syscall(425, 4, ctypes.create_string_buffer(120))
fd = kept["main"].fileno()
files = (ctypes.c_int * {slots})(*([-1] * ({slots} - 2) + [fd, fd]))
if ring >= 0 and libc.syscall(427, ring, 2, files, {slots}) == 0:
    kept.pop("main").close()
    result = ring
"""


def names_its_files() -> bool:
    """Whether /proc/PID/fdinfo tells which files a ring has (not of 6.1)."""
    with Holder() as holder:
        holder.bind(listen=True)
        inode = holder.inode()
        ring = holder.run(RING.format(slots=2))
        if ring is None:
            return False
        told = Path(f"/proc/{holder.pid}/fdinfo/{ring}").read_text("utf-8")
    return f"socket:[{inode}]" in told
