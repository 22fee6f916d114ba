"""A file system of one file whose contents never come, until they are let go.

Whoever needs a page of the file waits in the kernel; once the server is mute, whoever
asks anything of it does. Spoken to the kernel directly
(include/uapi/linux/fuse.h), so that no library is needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ = 1, 2, 3, 14, 15
RELEASE, FLUSH, INIT, INTERRUPT, BATCH_FORGET = 18, 25, 26, 36, 42
ROOT, FILE, SIZE = 1, 2, 4096
_UNANSWERED = (FORGET, INTERRUPT, BATCH_FORGET)
# What a program that ends asks is answered, or it would not end.
_ALWAYS = (INIT, FLUSH, RELEASE)
_MNT_FORCE, _MNT_DETACH = 1, 2


class Stuck:
    """The mounted file system; `waiting` is released when somebody waits."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "file"
        self.waiting = threading.Semaphore(0)
        self.mute = False
        self._held: list[tuple[int, int]] = []
        self._handle = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self._handle},rootmode=40000,user_id=0,group_id=0"
        options += ",allow_other"
        arguments = (b"stuck", bytes(folder), b"fuse", 0, options.encode())
        if libc.mount(*arguments) != 0:
            os.close(self._handle)
            raise OSError(ctypes.get_errno(), "mount")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def let_go(self) -> None:
        """Answer those who wait."""
        self.mute = False
        while self._held:
            unique, kind = self._held.pop()
            error = 0 if kind == READ else errno.EIO
            with contextlib.suppress(OSError):  # who asked was killed
                self._answer(unique, error, b"" if error else bytes(SIZE))

    def close(self, folder: Path) -> None:
        self.let_go()
        ctypes.CDLL(None).umount2(bytes(folder), _MNT_FORCE | _MNT_DETACH)
        os.close(self._handle)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._handle, 1 << 17)
            except OSError:
                return
            _, kind, unique, node = struct.unpack_from("=IIQQ", request)
            if kind in _UNANSWERED:
                continue
            if kind == READ or (self.mute and kind not in _ALWAYS):
                self._held.append((unique, kind))
                self.waiting.release()
                continue
            with contextlib.suppress(OSError):
                self._answer(unique, *_answers(kind, node))

    def _answer(self, unique: int, error: int, payload: bytes) -> None:
        head = struct.pack("=IiQ", 16 + len(payload), -error, unique)
        os.write(self._handle, head + payload)


def _answers(kind: int, node: int) -> tuple[int, bytes]:
    if kind == INIT:
        return 0, struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 1, 1, 4096, 1, 1, 0, 0)
    if kind == LOOKUP:
        return 0, struct.pack("=QQQQII", FILE, 0, 0, 0, 0, 0) + _attributes(FILE)
    if kind == GETATTR:
        return 0, struct.pack("=QII", 0, 0, 0) + _attributes(node)
    if kind == OPEN:
        return 0, bytes(16)
    return (0 if kind == RELEASE else errno.ENOSYS), b""


def _attributes(node: int) -> bytes:
    mode = 0o40755 if node == ROOT else 0o100644
    times = (0,) * 6
    return struct.pack(
        "=QQQ3Q3IIIIIIII", node, SIZE, 8, *times, mode, 1, 0, 0, 0, SIZE, 0
    )


@contextlib.contextmanager
def stuck_file(folder: Path) -> Iterator[Stuck]:
    """Mount it for a while."""
    one = Stuck(folder)
    try:
        yield one
    finally:
        one.close(folder)
