"""Load in a private network namespace: processes, descriptors, sockets of all kinds.

python benchmarks/load.py COMMAND... runs a command within it (root, Linux).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNET = 0x40000000
PORT = 8080
"""The port that is asked about: one listener, in one of the processes."""


@dataclass(frozen=True)
class Load:
    """How much there is."""

    processes: int = 0
    descriptors: int = 0
    """Of each process, of a file that is no socket."""
    listeners: int = 0
    connections: int = 0
    """Established ones, each with both its ends; spread over the processes."""
    time_waits: int = 0
    datagrams: int = 0

    @property
    def name(self) -> str:
        """Such as "2000 x 50, 16000 established"."""
        parts = [f"{self.processes} x {self.descriptors}"] if self.processes else []
        parts += [f"{self.listeners} listeners"] if self.listeners else []
        parts += [f"{self.connections} established"] if self.connections else []
        parts += [f"{self.time_waits} TIME_WAIT"] if self.time_waits else []
        parts += [f"{self.datagrams} UDP"] if self.datagrams else []
        return ", ".join(parts) or "idle"


def private_network() -> None:
    """Leave this thread's network for one of its own with loopback up."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise SystemExit("load.py: a private network needs root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, value in (
        ("ip_local_port_range", "10000 65535"),
        ("tcp_max_tw_buckets", "100000"),
    ):
        Path(f"/proc/sys/net/ipv4/{name}").write_text(value)


@contextlib.contextmanager
def loaded(load: Load) -> Iterator[int]:
    """Make the load; gives the pid that listens on PORT."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    children: list[int] = []
    server = socket.create_server(("127.0.0.1", PORT), backlog=1024)
    hub = socket.create_server(("127.0.0.2", 9), backlog=65535)
    try:
        make_time_waits(load.time_waits)
        for number in range(max(1, load.processes)):
            children.append(start(number, load, server, hub))
        server.close()
        yield children[load.processes // 2]
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)
        hub.close()
        server.close()


def refresh(load: Load) -> None:
    """Replace the TIME_WAITs that have ended: after 60 s they do."""
    words = Path("/proc/self/net/sockstat").read_text("ascii").split()
    make_time_waits(load.time_waits - int(words[words.index("tw") + 1]))


def make_time_waits(count: int) -> None:
    """Connections that their server closed first."""
    with socket.create_server(("127.0.0.3", 10), backlog=1024) as server:
        for _ in range(count):
            client = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
            accepted.close()
            client.close()


def start(number: int, load: Load, server: socket.socket, hub: socket.socket) -> int:
    """Fork one process with its share of the sockets; returns when it has them."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        return pid
    os.close(reader)
    if number != load.processes // 2:  # not one that a walk comes to at once
        server.close()
    kept: list[object] = []
    share = Share(number, max(1, load.processes))
    for _ in range(share.of(load.connections)):
        kept.append(socket.create_connection(hub.getsockname()))
        kept.append(hub.accept()[0])
    hub.close()
    for _ in range(share.of(load.listeners)):
        kept.append(socket.create_server(("127.0.0.4", 0)))
    for _ in range(share.of(load.datagrams)):
        one = socket.socket(type=socket.SOCK_DGRAM)
        one.bind(("127.0.0.5", 0))
        kept.append(one)
    null = os.open(os.devnull, os.O_RDONLY)
    for _ in range(load.descriptors - len(kept)):
        os.dup(null)
    os.write(writer, b"x")
    os.close(writer)
    while True:
        signal.pause()


@dataclass(frozen=True)
class Share:
    """One of several that share a number."""

    number: int
    of_all: int

    def of(self, total: int) -> int:
        """Its part; the parts add up."""
        return total // self.of_all + (self.number < total % self.of_all)


def main() -> None:
    """Run a command within a load."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in Load.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = vars(parser.parse_args())
    command = given.pop("command")
    private_network()
    with loaded(Load(**given)):
        sys.exit(subprocess.call(command))


if __name__ == "__main__":
    main()
