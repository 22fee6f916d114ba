"""A separate process that holds sockets, told over a pipe what to do.

Every statement is answered before `run` returns, so nothing has to be waited for.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

# The child has no need of bindcheck: it is any program.
_PROGRAM = """
import errno, json, os, socket, struct, sys, time

def bind_anywhere(one, address):
    # To a port that no socket of either family has, whatever its address. Left to
    # itself the kernel gives one that is free for this address alone, and then some
    # other program of the machine may be in the way of the next bind.
    while port := free_everywhere(one.type):
        try:
            return one.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    one.bind((address, 0))

def free_everywhere(type):
    if not socket.has_dualstack_ipv6():
        return 0
    with socket.socket(socket.AF_INET6, type) as every:
        every.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            every.bind(("::", 0))
        except OSError:
            return 0  # none is left
        return every.getsockname()[1]

scope = {"socket": socket, "os": os, "struct": struct, "time": time, "kept": {}}
scope["bind_anywhere"] = bind_anywhere
for line in sys.stdin:
    scope["result"] = None
    try:
        exec(json.loads(line), scope)
        answer = {"result": scope["result"]}
    except OSError as error:
        answer = {"errno": error.errno}
    print(json.dumps(answer), flush=True)
"""


class Holder:
    """One holder; use it as a context manager.

    Args:
        uid: the user to become, None to stay who we are.
        arguments: put behind the program, to be seen in its command line.
    """

    def __init__(
        self, *, uid: int | None = None, arguments: tuple[str, ...] = ()
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", _PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if uid is not None:
            # Not by Popen: that user may have no right to start this interpreter.
            self.run(
                "import ctypes\n"
                f"os.setgroups([]); os.setresgid(*[{uid}] * 3)\n"
                f"os.setresuid(*[{uid}] * 3)\n"
                "ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)"  # PR_SET_DUMPABLE, as before
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    def run(self, code: str) -> Any:
        """Execute statements there and return what they leave in `result`.

        `kept` is a dictionary that lives as long as the process. An OSError there is
        an OSError here.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return answer["result"]

    def bind(
        self,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        kind: str = "tcp",
        listen: bool = False,
        reuse_address: bool = False,
        reuse_port: bool = False,
        v6only: bool | None = None,
        device: str | None = None,
        name: str = "main",
    ) -> int:
        """Bind a socket there, kept under `name`; returns the port."""
        lines = [
            f"family = socket.AF_INET6 if ':' in {address!r} else socket.AF_INET",
            f"type = socket.SOCK_DGRAM if {kind == 'udp'} else socket.SOCK_STREAM",
            f"one = socket.socket(family, type, {262 if kind == 'mptcp' else 0})",
            f"kept[{name!r}] = one",
        ]
        if reuse_address:
            lines.append("one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)")
        if reuse_port:
            lines.append("one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)")
        if v6only is not None:
            lines.append(f"one.setsockopt(socket.IPPROTO_IPV6, 26, {int(v6only)})")
        if device is not None:
            lines.append(f"one.setsockopt(socket.SOL_SOCKET, 25, {device.encode()!r})")
        if port:
            lines.append(f"one.bind(({address!r}, {port}))")
        else:
            lines.append(f"bind_anywhere(one, {address!r})")
        if listen:
            lines.append("one.listen()")
        lines.append("result = one.getsockname()[1]")
        return int(self.run("\n".join(lines)))

    def inode(self, name: str = "main") -> int:
        """The inode of a kept socket."""
        return int(self.run(f"result = os.fstat(kept[{name!r}].fileno()).st_ino"))

    def fd(self, name: str = "main") -> int:
        """The descriptor of a kept socket."""
        return int(self.run(f"result = kept[{name!r}].fileno()"))

    def close(self, name: str = "main") -> None:
        """Close a kept socket there."""
        self.run(f"kept.pop({name!r}).close()")

    def kill(self) -> None:
        """End the process and wait for it; its sockets are closed then."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
