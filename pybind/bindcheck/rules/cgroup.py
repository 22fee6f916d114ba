"""Units and containers from cgroup paths, believed only where a manager owns the path.

Below `user@UID.service` the user makes folders of any name, so nothing there is taken
for a system unit or a container.
"""

from __future__ import annotations

_HEX = frozenset("0123456789abcdef")
_SCOPE_ENGINES = {
    "docker-": "docker",
    "libpod-": "podman",
    "cri-containerd-": "crictl",
    "crio-": "crictl",
}
_PARENT_ENGINES = {"docker": "docker", "libpod_parent": "podman", "kubepods": "crictl"}


def unit_of(path: str | None) -> str | None:
    """The systemd service of a cgroup path, such as "nginx.service"."""
    first = _first_below_slices(path)
    if first is None or first.startswith("user@"):
        return None
    return first if first.endswith(".service") else None


def container_of(path: str | None) -> tuple[str, str] | None:
    """Engine command and container id of a cgroup path."""
    first = _first_below_slices(path)
    if path is None or first is None:
        return None
    for prefix, engine in _SCOPE_ENGINES.items():
        if first.startswith(prefix) and first.endswith(".scope"):
            identifier = first.removeprefix(prefix).removesuffix(".scope")
            return (engine, identifier) if _is_id(identifier) else None
    parts = path.strip("/").split("/")
    engine = _PARENT_ENGINES.get(parts[0], "")
    for part in parts[1:]:
        identifier = part.removeprefix("libpod-")
        if engine and _is_id(identifier):
            return engine, identifier
    return None


def path_of(text: bytes) -> str | None:
    """The path in /proc/PID/cgroup: of version 2, else of systemd's own hierarchy."""
    found = None
    for line in text.decode("utf-8", "backslashreplace").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and path not in ("", "/"):
            return path
        if controllers == "name=systemd" or (number == "0" and found is None):
            found = path
    return found


def _first_below_slices(path: str | None) -> str | None:
    for part in (path or "").strip("/").split("/"):
        if part and not part.endswith(".slice"):
            return part
    return None


def _is_id(text: str) -> bool:
    return len(text) == 64 and _HEX.issuperset(text)
