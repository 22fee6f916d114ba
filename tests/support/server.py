"""A program of its own that has a socket, on any system; it ends with its stdin."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# The options are names of socket constants. With "child" a child inherits the socket and
# the program itself ends; the port and the pid that is left are printed.
_PROGRAM = """
import os, socket, subprocess, sys
address, port, kind, listens, child, *options = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
one = socket.socket(family, getattr(socket, kind))
for name in options:
    one.setsockopt(socket.SOL_SOCKET, getattr(socket, name), 1)
one.bind((address, int(port)))
if listens == "1":
    one.listen()
told = one.getsockname()[1]
wait = [sys.executable, "-c", "import sys; sys.stdin.read()"]
if child == "1":
    one.set_inheritable(True)
    heir = subprocess.Popen(wait, close_fds=False)
    print(told, heir.pid, flush=True)
    os._exit(0)
print(told, os.getpid(), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def server(
    *options: str,
    address: str = "127.0.0.1",
    port: int = 0,
    kind: str = "SOCK_STREAM",
    listens: bool = True,
    child: bool = False,
) -> Iterator[tuple[int, int]]:
    """Start one; gives its port and the pid of who has it."""
    arguments = (address, str(port), kind, str(int(listens)), str(int(child)), *options)
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        told, pid = started.stdout.readline().split()
        if child:
            started.wait()
        try:
            yield int(told), int(pid)
        finally:
            started.stdin.close()
