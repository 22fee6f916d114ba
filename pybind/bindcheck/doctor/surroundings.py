"""Where bindcheck runs: a container, WSL, gVisor. Told from texts, each a hint alone.

The files of a container's image may lie on a machine that is none, so what they say is
marked as such.
"""

from __future__ import annotations

import os

from bindcheck.doctor.mounts import engine_of_mounts, read_mounts
from bindcheck.machine import decode, kernel_release, read_line
from bindcheck.records import record
from bindcheck.rules.cgroup import container_of, path_of
from bindcheck.sanitize import sanitize

_MOST = 1 << 16
_LONGEST_NAME = 40
_ENGINES = {
    "crictl": "Kubernetes",
    "lxc-stop": "LXC",
    "lxc": "LXC",
    "lxc-libvirt": "LXC",
    "nerdctl": "containerd",
    "oci": "OCI",
}
# gVisor's own date, whatever Linux it says to be (pkg/sentry/syscalls/linux).
_GVISOR = ("gvisor", "#1 smp sun jan 10 15:06:54 pst 2016")
_KUBERNETES = "KUBERNETES_SERVICE_HOST"


@record(frozen=True, slots=True, kw_only=True)
class Texts:
    """What the system says of itself; None or empty: it does not."""

    cgroup: bytes = b""
    """/proc/self/cgroup."""
    mounts: bytes = b""
    """/proc/self/mountinfo."""
    first_environment: bytes = b""
    """The variables of pid 1."""
    manager: str | None = None
    """What systemd, or whoever made the container, wrote for those in it."""
    docker_mark: bool = False
    podman_mark: bool = False
    own_variable: str | None = None
    """`container` of our own environment."""
    kubernetes: bool = False
    version: str = ""
    """/proc/version."""
    release: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is around us."""

    engine: str | None = None
    """What made the container that we are in."""
    by_files_alone: bool = False
    """Only files that are in images as well say so."""
    wsl: int | None = None
    """The version of the Windows Subsystem for Linux."""
    gvisor: bool = False


def surroundings_of(texts: Texts) -> Surroundings:
    """Tell what the texts say."""
    engine, by_files_alone = _engine(texts)
    release, version = texts.release.lower(), texts.version.lower()
    wsl = None
    if "microsoft" in release or "wsl2" in release:
        wsl = 2 if "wsl2" in release or "microsoft-standard" in release else 1
    return Surroundings(
        engine=engine,
        by_files_alone=by_files_alone,
        wsl=wsl,
        gvisor=any(one in version or one in release for one in _GVISOR),
    )


def _engine(texts: Texts) -> tuple[str | None, bool]:
    """The engine, and whether only files of the image say so."""
    first = _variables(texts.first_environment)
    found = container_of(path_of(texts.cgroup))
    if texts.kubernetes or _KUBERNETES in first:
        return "Kubernetes", False
    for told in (
        found[0] if found else None,
        engine_of_mounts(texts.mounts),
        first.get("container"),
        texts.manager,
    ):
        if told and told != "wsl":
            return _name(told), False
    if texts.docker_mark:
        return "docker", True
    if texts.podman_mark:
        return "podman", True
    return (_name(texts.own_variable), True) if texts.own_variable else (None, False)


def _name(told: str) -> str:
    return sanitize(_ENGINES.get(told, told)[:_LONGEST_NAME])


def _variables(environment: bytes) -> dict[str, str]:
    pairs = (decode(one).partition("=") for one in environment.split(b"\0"))
    return {name: value for name, _, value in pairs}


def read_texts() -> Texts:
    """Read what can be read."""
    manager = read_line("/run/systemd/container")
    return Texts(
        cgroup=_read("/proc/self/cgroup"),
        mounts=read_mounts(),
        first_environment=_read("/proc/1/environ"),
        manager=manager or read_line("/run/host/container-manager"),
        docker_mark=os.path.exists("/.dockerenv"),  # noqa: PTH110
        podman_mark=os.path.exists("/run/.containerenv"),  # noqa: PTH110
        own_variable=os.environ.get("container"),  # noqa: SIM112 - its name
        kubernetes=_KUBERNETES in os.environ,
        version=read_line("/proc/version") or "",
        release=kernel_release(),
    )


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST)
    except OSError:
        return b""
