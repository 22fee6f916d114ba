"""Units and containers from cgroup paths, believed only where a manager owns the path.

Below `user@UID.service` the user makes folders of any name, so nothing there is taken
for a system unit or a container of the system; what is there is that user's own.
"""

from __future__ import annotations

_HEX = frozenset("0123456789abcdef")
_SCOPE_ENGINES = {
    "docker-": "docker",
    "libpod-": "podman",
    "cri-containerd-": "crictl",
    "crio-": "crictl",
    "nerdctl-": "nerdctl",
}
_PARENT_ENGINES = {"docker": "docker", "libpod_parent": "podman", "kubepods": "crictl"}


def unit_of(path: str | None) -> str | None:
    """The systemd service of a cgroup path, such as "nginx.service"."""
    first = _first_below_slices(path)
    if first is None or first.startswith("user@"):
        return None
    return first if first.endswith(".service") else None


def socket_unit_of(path: str | None) -> str | None:
    """The .socket unit in whose cgroup systemd made a socket."""
    first = _first_below_slices(path)
    return first if first and first.endswith(".socket") else None


def user_of(path: str | None) -> int | None:
    """The user to whom the folders of a path belong, None for those of the system."""
    first = _first_below_slices(path) or ""
    number = first.removeprefix("user@").removesuffix(".service")
    return int(number) if first.startswith("user@") and number.isdecimal() else None


def user_unit_of(path: str | None) -> str | None:
    """The service of a user's own systemd; only for what that user has."""
    first = _first_below_slices(_below_user(path))
    return first if first and first.endswith(".service") else None


def container_of(path: str | None) -> tuple[str, str] | None:
    """Engine command and container id of a cgroup path.

    Of a path of a user's own it is that user's engine, who needs no root.
    """
    first = _first_below_slices(_below_user(path) or path)
    if path is None or first is None:
        return None
    for prefix, engine in _SCOPE_ENGINES.items():
        if first.startswith(prefix) and first.endswith(".scope"):
            identifier = first.removeprefix(prefix).removesuffix(".scope")
            return (engine, identifier) if _is_id(identifier) else None
    if user_of(path) is not None:
        return None
    if first.startswith("lxc.payload.") and _is_name(
        first.removeprefix("lxc.payload.")
    ):
        return "lxc-stop", first.removeprefix("lxc.payload.")
    parts = path.strip("/").split("/")
    engine = _PARENT_ENGINES.get(parts[0], "")
    if parts[0] == "lxc" and len(parts) > 1 and _is_name(parts[1]):
        return "lxc-stop", parts[1]
    for part in parts[1:]:
        # containerd without systemd's cgroup driver: SLICE:cri-containerd:ID
        joined = part.rpartition(":cri-containerd:")[2] if ":cri-" in part else ""
        if _is_id(joined) and part.startswith("kubepods"):
            return "crictl", joined
        identifier = part.removeprefix("libpod-")
        if engine and _is_id(identifier):
            return engine, identifier
    return None


def path_of(text: bytes) -> str | None:
    """The path in /proc/PID/cgroup: of version 2, else of systemd's own hierarchy."""
    found = None
    for line in text.decode("utf-8", "backslashreplace").split("\n"):
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


def _below_user(path: str | None) -> str | None:
    """What a path is below user@UID.service; None when it is not."""
    if user_of(path) is None:
        return None
    return (path or "").partition(".service/")[2]


def _is_name(text: str) -> bool:
    """Whether it can be put into a command as it is."""
    return text.isascii() and text[:1].isalnum() and text.replace("-", "").isalnum()


def _is_id(text: str) -> bool:
    return len(text) == 64 and _HEX.issuperset(text)
