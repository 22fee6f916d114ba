"""What stands at the path of a unix socket, on the way to it, and around it.

Looks and changes nothing, but for one question to a socket file: connecting a datagram
socket sends nothing, starts no service and tells whether any socket has the file, in
whatever network namespace (unix_find_bsd in net/unix/af_unix.c).
"""

# Names are bytes, and pathlib would cost 10 ms.
# ruff: noqa: PTH109, PTH115, PTH116, PTH118, PTH119, PTH120

from __future__ import annotations

import errno
import os
import stat
import sys

from bindcheck.machine import decode, unescape
from bindcheck.model import PathFacts
from bindcheck.records import replace
from bindcheck.words import FileKind

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable

_KINDS = {
    stat.S_IFSOCK: FileKind.SOCKET,
    stat.S_IFREG: FileKind.FILE,
    stat.S_IFDIR: FileKind.DIRECTORY,
    stat.S_IFLNK: FileKind.SYMBOLIC_LINK,
    stat.S_IFIFO: FileKind.FIFO,
    stat.S_IFCHR: FileKind.DEVICE,
    stat.S_IFBLK: FileKind.DEVICE,
}


def look_at_path(
    name: bytes, user_name: Callable[[int | None], str | None]
) -> PathFacts:
    """Look at a path: what is there, which part of the way stops, where it is."""
    directory = os.path.dirname(name.rstrip(b"/")) or b"."
    facts = PathFacts(directory=decode(directory))
    if not name.startswith(b"/") and _has_no_folder():
        return replace(facts, obstacle=".", reason="ENOENT")
    try:
        there = os.lstat(name)
    except OSError:
        facts = _follow(facts, directory, user_name)
    except ValueError:
        return facts  # a NUL byte
    else:
        facts = replace(
            facts,
            kind=_kind(there),
            file=_identity(there),
            uid=there.st_uid,
            user=user_name(there.st_uid),
            modified=there.st_mtime,
            link_target=_link_target(name, there),
        )
    return _surroundings(facts, directory)


def is_still_there(name: bytes, file: tuple[int, int] | None) -> bool:
    """Whether a path has the file that look_at_path() found, or still none."""
    try:
        return _identity(os.lstat(name)) == file
    except (OSError, ValueError):
        return file is None


def _identity(there: os.stat_result) -> tuple[int, int]:
    return there.st_dev, there.st_ino & 0xFFFFFFFF  # as unix_diag tells it


# winnt.h, IO_REPARSE_TAG_AF_UNIX: what a socket file is on Windows.
_SOCKET_TAG = 0x80000023


def _kind(there: os.stat_result) -> FileKind:
    if getattr(there, "st_reparse_tag", 0) == _SOCKET_TAG:
        return FileKind.SOCKET
    return _KINDS.get(stat.S_IFMT(there.st_mode), FileKind.FILE)


def _has_no_folder() -> bool:
    """Whether the working folder was deleted."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def ask_socket_file(name: bytes) -> str | None:
    """What connecting a datagram socket says: "" when it works, else the error's name.

    ECONNREFUSED: no socket has the file. EPROTOTYPE: a stream or seqpacket socket has
    it. EACCES: the caller may not write to it, so this is not told.
    """
    import _socket

    family: int | None = getattr(_socket, "AF_UNIX", None)
    if family is None:
        return None
    try:
        one = _socket.socket(family, _socket.SOCK_DGRAM)
    except OSError:
        return None
    try:
        one.setblocking(False)
        one.connect(name)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0)
    finally:
        one.close()
    return ""


def sibling_of(name: bytes) -> bytes:
    """A name of the same length in the same folder, which nobody uses."""
    bare = name.rstrip(b"/")
    start = len(bare) - len(os.path.basename(bare))
    length = len(name) - start
    letters = b"abcdefghijklmnopqrstuvwxyz0123456789"
    picked = bytes(letters[one % len(letters)] for one in os.urandom(length))
    return name[:start] + picked


def _follow(
    facts: PathFacts, directory: bytes, user_name: Callable[[int | None], str | None]
) -> PathFacts:
    """Find the part of the way to a folder that stops."""
    walked = b"/" if directory.startswith(b"/") else b"."
    for part in directory.split(b"/"):
        if not part:
            continue
        here = os.path.join(walked, part) if walked != b"." else part
        try:
            there = os.stat(here)
        except OSError as error:
            # Without the right to search a folder what is in it cannot be asked about.
            stops = walked if error.errno == errno.EACCES else here
            facts = replace(facts, writable=_is_writable(walked))
            return _obstacle(facts, stops, error.errno, user_name)
        if not stat.S_ISDIR(there.st_mode):
            return _obstacle(facts, here, errno.ENOTDIR, user_name)
        walked = here
    if not os.access(walked, os.X_OK, effective_ids=_EFFECTIVE):
        return _obstacle(facts, walked, errno.EACCES, user_name)
    return _permissions(facts, walked, user_name)


# Not on every system: there the real user is asked about.
_EFFECTIVE = os.access in os.supports_effective_ids


def _obstacle(
    facts: PathFacts,
    path: bytes,
    number: int | None,
    user_name: Callable[[int | None], str | None],
) -> PathFacts:
    reason = errno.errorcode.get(number or 0)
    facts = replace(facts, obstacle=decode(path), reason=reason)
    return _permissions(facts, path, user_name)


def _permissions(
    facts: PathFacts, path: bytes, user_name: Callable[[int | None], str | None]
) -> PathFacts:
    try:
        there = os.stat(path)
    except OSError:
        return facts
    return replace(
        facts,
        mode=stat.S_IMODE(there.st_mode),
        mode_user=user_name(there.st_uid) or str(there.st_uid),
    )


def _surroundings(facts: PathFacts, directory: bytes) -> PathFacts:
    """The folder's permissions and its filesystem."""
    try:
        there = os.stat(directory)
    except OSError:
        return facts
    filesystem, mount_point, read_only = _mount_of(directory, there.st_dev)
    free_bytes, free_inodes = _free(directory)
    return replace(
        facts,
        writable=_is_writable(directory),
        removable=_is_removable(facts, directory, there),
        immutable=_is_immutable(directory),
        filesystem=filesystem,
        mount_point=mount_point,
        read_only=read_only,
        free_bytes=free_bytes,
        free_inodes=free_inodes,
    )


def _is_writable(directory: bytes) -> bool:
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=_EFFECTIVE)


def _is_removable(
    facts: PathFacts, directory: bytes, there: os.stat_result
) -> bool | None:
    """Whether the caller may remove the file: in a sticky folder its owner alone may."""
    if facts.kind is None:
        return None
    euid = getattr(os, "geteuid", lambda: 0)()
    sticky = there.st_mode & stat.S_ISVTX
    if sticky and euid not in (0, facts.uid, there.st_uid):
        return False
    return _is_writable(directory)


def _is_immutable(directory: bytes) -> bool | None:
    """Whether a folder takes no changes (chattr +i): FS_IOC_GETFLAGS, linux/fs.h."""
    if sys.platform != "win32":
        import fcntl

        try:  # never a FIFO, where it would wait, or a device, where it does something
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return None
        try:
            flags = fcntl.ioctl(handle, 0x80086601, bytes(8))
            return bool(int.from_bytes(flags[:4], sys.byteorder) & 0x10)
        except OSError:
            pass  # filesystems that have no such flags
        finally:
            os.close(handle)
    return None


def _free(directory: bytes) -> tuple[int | None, int | None]:
    """Bytes and inodes that the caller may still use; some filesystems count none."""
    ask = getattr(os, "statvfs", None)
    try:
        there = ask(directory) if ask else None
    except OSError:
        return None, None
    if there is None:
        return None, None
    return there.f_bavail * there.f_frsize, there.f_favail if there.f_files else None


def _mount_of(
    directory: bytes, device: int
) -> tuple[str | None, str | None, bool | None]:
    """Type, mount point and whether it is read-only, from /proc/self/mountinfo.

    Of the mounts of that device the one with the longest mount point on the way.
    """
    number = _device_number(device)
    best = None
    try:
        path = os.path.realpath(directory)  # raises where a link became a folder
        with open("/proc/self/mountinfo", "rb") as file:
            for line in file:
                before, _, after = line.partition(b" - ")
                fields, rest = before.split(b" "), after.split(b" ")
                if len(fields) < 6 or len(rest) < 3 or fields[2] != number:
                    continue
                point = unescape(fields[4])
                inside = path == point or path.startswith(point.rstrip(b"/") + b"/")
                if inside and (best is None or len(point) >= len(best[1])):
                    options = fields[5].split(b",") + rest[2].strip().split(b",")
                    best = (rest[0], point, b"ro" in options)
    except OSError:
        return None, None, None
    if best is None:
        return None, None, None
    return decode(best[0]), decode(best[1]), best[2]


def _device_number(device: int) -> bytes:
    if sys.platform == "win32":
        return b""
    else:  # noqa: RET505 - type checkers leave the other system's branch out
        return b"%d:%d" % (os.major(device), os.minor(device))


def _link_target(name: bytes, there: os.stat_result) -> str | None:
    if not stat.S_ISLNK(there.st_mode):
        return None
    try:
        return decode(os.readlink(name))
    except OSError:
        return None
