"""How /proc is mounted, and who made this container (proc_pid_mountinfo(5))."""

from __future__ import annotations

from bindcheck.machine import decode, unescape

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST = 1 << 20
_TELLING = ("hidepid=", "subset=", "gid=")
# What engines mount into each container, and where theirs come from.
_GIVEN = (b"/etc/hosts", b"/etc/hostname", b"/etc/resolv.conf")
_SOURCES = {
    b"/docker/containers/": "docker",
    b"/overlay-containers/": "podman",
    b"/kubelet/pods/": "Kubernetes",
    b"/io.containerd.": "containerd",
}


def read_mounts() -> bytes:
    """The mounts that we see; empty where they cannot be read."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            return file.read(_MOST)
    except OSError:
        return b""


def proc_options(mountinfo: bytes) -> tuple[str, ...]:
    """The options of /proc that hide something; of mounts over each other the last's."""
    found: tuple[str, ...] = ()
    for _, place, kind, options in _mounts(mountinfo):
        if place == b"/proc":
            words = [decode(one) for one in options.split(b",")]
            is_proc = kind == b"proc"
            found = tuple(one for one in words if is_proc and one.startswith(_TELLING))
    return found


def engine_of_mounts(mountinfo: bytes) -> str | None:
    """The engine whose files are mounted over those that each container has its own."""
    for root, place, _, _ in _mounts(mountinfo):
        if place in _GIVEN:
            for part, engine in _SOURCES.items():
                if part in root:
                    return engine
    return None


def _mounts(mountinfo: bytes) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """Root within its file system, place, type and the file system's own options."""
    for line in mountinfo.split(b"\n"):
        before, _, after = line.partition(b" - ")
        fields, rest = before.split(b" "), after.split(b" ")
        if len(fields) > 4 and len(rest) > 2:
            yield unescape(fields[3]), unescape(fields[4]), rest[0], rest[2]
