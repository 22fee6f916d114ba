"""io_uring: does /proc/PID/fdinfo name the sockets that a ring has?"""

from __future__ import annotations

import os

# The same on every machine that Linux has been ported to since (but for MIPS and Alpha).
_SETUP, _REGISTER = 425, 427
_REGISTER_FILES = 2
_PARAMETER_BYTES = 120
_MACHINES = ("x86_64", "aarch64", "riscv64", "ppc64le", "s390x", "armv7l", "i686")


def names_its_files() -> tuple[bool | None, str]:
    """Try it with a ring of our own that gets a socket without a name.

    Returns:
        Whether it does, or None and why that was not tried.
    """
    machine = getattr(os, "uname", lambda: None)()
    if machine is None or machine.machine not in _MACHINES:
        return None, "not on this machine"
    import _socket

    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError, MemoryError) as error:
        return None, f"ctypes: {error}"
    ring = libc.syscall(_SETUP, 1, ctypes.create_string_buffer(_PARAMETER_BYTES))
    if ring < 0:
        return None, os.strerror(ctypes.get_errno())
    own = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        files = (ctypes.c_int * 1)(own.fileno())
        if libc.syscall(_REGISTER, ring, _REGISTER_FILES, files, 1) != 0:
            return None, os.strerror(ctypes.get_errno())
        inode = os.fstat(own.fileno()).st_ino
        with open(
            f"/proc/self/fdinfo/{ring}", encoding="utf-8", errors="replace"
        ) as it:
            return f"socket:[{inode}]" in it.read(65536), ""
    finally:
        own.close()
        os.close(ring)
