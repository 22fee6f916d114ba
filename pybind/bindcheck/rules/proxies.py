"""Programs that hold a port for somebody else: containers, other machines.

To end them ends more than was meant, or leaves what is behind them without its port.
What is behind them their command line tells.
"""

from __future__ import annotations

import posixpath

from bindcheck.records import record

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bindcheck.model import Process

# Program to the engine whose containers it serves, "" where that is not told.
_CONTAINER_PROXIES = {
    "docker-proxy": "docker",
    "dockerd": "docker",
    "com.docker.backend": "docker",
    "vpnkit": "docker",
    "containerd": "",
    "conmon": "podman",
    "rootlessport": "podman",
    "containers-rootlessport": "podman",
    "rootlesskit": "",
    "slirp4netns": "",
    "pasta": "",
    "passt": "",
    "gvproxy": "podman",
    "limactl": "",
    "kube-proxy": "",
    # macOS and Windows: what forwards into the virtual machine with the containers.
    "com.docker.vpnkit": "docker",
    "com.docker.proxy": "docker",
    "vpnkit-bridge": "docker",
    "wslrelay": "",
    "wslhost": "",
    "wslservice": "",
    "OrbStack Helper": "docker",
    "colima": "docker",
}
_SSH = frozenset({"ssh", "sshd", "sshd-session", "autossh"})
# ssh(1): options that take a value of their own.
_SSH_WITH_VALUE = frozenset("BbcDEeFIiJLlmOoPpQRSWw")


@record(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A program that holds a port for somebody else."""

    name: str
    engine: str | None
    """The command that knows the containers; "" if several could, None: no container."""
    target: str | None
    """Where it forwards to, as its command line says."""


def proxy_of(process: Process, port: int | None = None) -> Proxy | None:
    """What a process is a proxy of, None when it is none.

    Args:
        process: the holder.
        port: of several forwards, the one that is asked about.
    """
    name = program_name(process)
    engine = _CONTAINER_PROXIES.get(name.removesuffix(".avx2").removesuffix(".exe"))
    if engine is not None:
        target = _container_target(process.command)
        return Proxy(name=name, engine=engine, target=target)
    if name.removesuffix(".exe") not in _SSH:
        return None
    forwards = dict(_ssh_forwards(process.command[1:]))
    if name.removesuffix(".exe") in ("ssh", "autossh") and not forwards:
        return None
    return Proxy(name=name, engine=None, target=forwards.get(port or 0))


def program_name(process: Process) -> str:
    """The name of a program; the kernel's own copy is cut off after 15 bytes."""
    given = process.command[0] if process.command else ""
    given = posixpath.basename(given.split(": ", 1)[0].replace("\\", "/")).lstrip("-")
    if len(process.name.encode()) >= 15 and given.startswith(process.name):
        return given
    # "sshd: ada@pts/0" and the like write over their arguments.
    return process.name if process.name not in ("", "exe") else given


_ADDRESS = frozenset("0123456789abcdef.:")


def _container_target(command: tuple[str, ...]) -> str | None:
    """Read docker-proxy's -container-ip and -container-port."""
    values = {}
    for name, value in zip(command, (*command[1:], ""), strict=False):
        key, _, joined = name.lstrip("-").partition("=")
        if name.startswith("-"):
            values[key] = joined or value
    address, port = values.get("container-ip"), values.get("container-port")
    if not address or not port or not port.isdecimal():
        return None
    if not _ADDRESS.issuperset(address.lower()):
        return None  # anybody may write anything there
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _ssh_forwards(arguments: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """The local ports of -L and -D, and where they go."""
    rest = iter(arguments)
    for one in rest:
        if not one.startswith("-") or one == "--":
            continue
        letters = one[1:]
        for index, letter in enumerate(letters):
            if letter in _SSH_WITH_VALUE:
                value = letters[index + 1 :] or next(rest, "")
                yield from _ssh_forward(letter, value)
                break


def _ssh_forward(letter: str, value: str) -> Iterator[tuple[int, str]]:
    """[bind_address:]port:host:hostport of -L, [bind_address:]port of -D."""
    parts = _split_brackets(value)
    if letter == "L" and len(parts) >= 3 and parts[-3].isdecimal():
        yield int(parts[-3]), f"{parts[-2]}:{parts[-1]}"
    elif letter == "D" and parts[-1].isdecimal():
        yield int(parts[-1]), "any place (SOCKS)"


def _split_brackets(text: str) -> list[str]:
    """Split at colons, not at those of an IPv6 address in brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == ":" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
