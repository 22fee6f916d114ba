"""Filesystems that may not answer: those of a server, and of another program.

Whoever asks one that hangs may wait in the kernel where not even SIGKILL helps, and
then his whole process cannot end. So a process of its own asks first.
"""

# Names are bytes, and pathlib would cost 10 ms.
# ruff: noqa: PTH109, PTH115, PTH118, PTH120

from __future__ import annotations

import os
import sys
from contextlib import suppress

from bindcheck.machine import unescape

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_DISTANT = frozenset(
    {
        *(b"9p", b"afs", b"autofs", b"beegfs", b"ceph", b"cifs", b"coda", b"fuse"),
        *(b"fuseblk", b"gfs2", b"glusterfs", b"gpfs", b"lustre", b"nfs", b"nfs4"),
        *(b"ocfs2", b"orangefs", b"smb3", b"smbfs", b"vboxsf", b"virtiofs"),
    }
)
_MOST_LINKS = 40  # as the kernel, path_resolution(7)


def unanswering_mount(path: bytes, seconds: float) -> bytes | None:
    """The mount on the way to a path whose filesystem does not answer in time."""
    if sys.platform == "linux":
        point = _distant_mount(path)
        if point is not None and not _answers(point, path, seconds):
            return point
    return None


def _distant_mount(path: bytes) -> bytes | None:
    """The first mount of such a filesystem on the way to a path.

    Found without asking it: what is a link is read, and only outside of these mounts.
    """
    points = _distant_points()
    if not points:
        return None
    try:
        here = b"/" if path.startswith(b"/") else os.getcwdb()
    except OSError:
        return None  # the working folder was deleted
    for point in points:
        if here == point or here.startswith(point.rstrip(b"/") + b"/"):
            return point
    parts, links = path.split(b"/")[::-1], 0
    while parts:
        part = parts.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            here = os.path.dirname(here)
            continue
        beyond = os.path.join(here, part)
        if beyond in points:
            return beyond
        try:
            target = os.readlink(beyond)
        except (OSError, ValueError):
            here = beyond  # no link
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        parts += target.split(b"/")[::-1]
        if target.startswith(b"/"):
            here = b"/"
    return None


def _distant_points() -> frozenset[bytes]:
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            text = file.read()
    except OSError:
        return frozenset()
    if not any(b" - " + kind in text for kind in _DISTANT):
        return frozenset()
    kinds: dict[bytes, bytes] = {}  # of several at one point the last is seen
    for line in text.split(b"\n"):
        before, _, after = line.partition(b" - ")
        fields = before.split(b" ")
        if len(fields) > 4:
            kinds[unescape(fields[4])] = after.partition(b" ")[0]
    return frozenset(
        point for point, kind in kinds.items() if kind.partition(b".")[0] in _DISTANT
    )


def _answers(point: bytes, path: bytes, seconds: float) -> bool:
    """Whether a process that asks the filesystem comes back in time."""
    if sys.platform != "win32":
        import select
        import warnings

        try:
            reader, writer = os.pipe()
        except OSError:
            return True  # nobody can be sent
        try:
            with warnings.catch_warnings():
                # About threads, whose locks the child does not need.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                _ask_and_exit(point, path, seconds, writer)
            with suppress(ChildProcessError):  # the caller's handler was faster
                os.waitpid(child, 0)
            poll = select.poll()
            poll.register(reader, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        except OSError:
            pass
        finally:
            os.close(reader)
            os.close(writer)
    return True


def _ask_and_exit(point: bytes, path: bytes, seconds: float, writer: int) -> None:
    """In a child of the child, so that nobody has to wait for who may not end."""
    if sys.platform != "win32":
        import signal

        try:
            if os.fork():
                return
            # It may outlive us, and must keep nothing open.
            for one in os.listdir("/proc/self/fd"):  # noqa: PTH208
                if int(one) != writer:
                    _try(os.close, int(one))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(seconds) + 1)
            _try(os.statvfs, point)  # what no cache answers
            _try(os.lstat, path)
            _try(os.statvfs, os.path.dirname(path) or b".")
            os.write(writer, b"!")
        except OSError:
            _try(lambda one: os.write(one, b"!"), writer)  # nobody can be sent
        finally:
            os._exit(0)


def _try(call: Callable[[Any], object], argument: bytes | int) -> None:
    with suppress(OSError):  # an answer as well
        call(argument)
