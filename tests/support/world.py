"""Sockets of every nature on one port of a private network, made quickly.

A situation is described by a list of Made; the processes that hold the sockets stay and
are told in one round trip each what to make and what to close.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import socket
import struct
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tests.support.destroy import destroy, state_of
from tests.support.holder import Holder
from tests.support.users import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.support.destroy import Place

Result = TypeVar("Result")
SO_BINDTODEVICE, IPV6_V6ONLY, IPPROTO_MPTCP = 25, 26, 262
TIME_WAIT, FIN_WAIT_2 = 6, 5
NOBODYS = 2  # the holder that is another user's
# The states of a socket that no process has.
LEFT = ("time-wait", "orphan")
_RESET = struct.pack("ii", 1, 0)  # struct linger: close sends a reset
_SETTINGS = {
    "ipv4/ip_unprivileged_port_start": ("1024", "0"),
    "ipv4/ip_nonlocal_bind": ("0", "1"),
    "ipv6/ip_nonlocal_bind": ("0", "1"),
}

# What runs in a holder, beside what Holder has there.
_PROGRAM = """
import ctypes  # Holder has imported it; another user may not be able to import
children = {}
def make(name, family, kind, protocol, options, place, listen, connect):
    one = kept[name] = socket.socket(family, kind, protocol)
    for level, option, value in options:
        one.setsockopt(level, option, value.encode() if isinstance(value, str) else value)
    one.bind(tuple(place))
    if connect:
        one.connect(tuple(connect))
    if listen:
        one.listen()
    return facts(name)
def facts(name):
    one = kept[name]
    return os.fstat(one.fileno()).st_ino, one.getsockname()[0]
def reset(name):
    kept[name].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
def accept(name, reset_at_close):
    listener = kept[name]
    listener.settimeout(5)
    kept[name], _ = listener.accept()
    listener.close()
    if reset_at_close:
        reset(name)
    return facts(name)
def share(name, keep):
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG
        for other, one in kept.items():
            if other != name:
                one.close()
        os.closerange(0, 3)
        os.close(done)
        while True:
            time.sleep(3600)
    os.close(done)
    os.read(ready, 1)
    os.close(ready)
    children[name] = child
    if not keep:
        kept.pop(name).close()
    return child
def drop(name):
    if name in children:
        child = children.pop(name)
        os.kill(child, 9)
        os.waitpid(child, 0)
    if name in kept:
        kept.pop(name).close()
def drop_all():
    for name in list(kept):
        if kept[name].type == socket.SOCK_STREAM:
            reset(name)
    for name in {*kept, *children}:
        drop(name)
"""


@dataclass(frozen=True)
class Made:
    """One socket to be made; `state` and `fate` are what becomes of it."""

    address: str
    protocol: str
    state: str
    fate: str
    reuse_address: bool
    reuse_port: bool
    v6only: bool | None
    device: str
    holder: int

    @property
    def is_left(self) -> bool:
        """Whether no process has it."""
        return self.state in LEFT and self.protocol != "udp"


@dataclass(frozen=True)
class There:
    """A socket that was made: what the kernel and the holders say of it."""

    made: Made
    local: str
    inode: int
    pids: frozenset[int]
    uid: int
    link: tuple[Place, Place] | None

    def is_gone(self) -> bool:
        """Whether the kernel did not keep it: one that nobody has may be one too many."""
        return self.link is not None and state_of(*self.link) is None


class World:
    """The holders in one network: two of root's and one of nobody's."""

    def __init__(self) -> None:
        self.holders = [Holder(), Holder(), Holder(uid=NOBODY)]
        self.uids = (0, 0, NOBODY)
        self.clients: dict[int, socket.socket] = {}
        self.links: dict[int, tuple[Place, Place]] = {}
        self.changed: set[str] = set()
        for one in self.holders:
            one.run(_PROGRAM)

    def close(self) -> None:
        """End the holders; their children end with them."""
        for one in self.holders:
            one.kill()
        self._drop_clients()

    def empty(self) -> None:
        """Close everything, what nobody has included, and restore the settings."""
        self._drop_clients()
        for one in self.holders:
            one.run("drop_all()")
        for link in self.links.values():
            destroy(*link)
        self.links.clear()
        for name in self.changed:
            Path("/proc/sys/net", name).write_text(_SETTINGS[name][0])
        self.changed.clear()

    def allow(self, name: str) -> None:
        """Change a setting of the network, until it is emptied."""
        Path("/proc/sys/net", name).write_text(_SETTINGS[name][1])
        self.changed.add(name)

    def make(self, number: int, one: Made, port: int) -> There | None:
        """Make a socket; None when the kernel will not have it, or it was closed."""
        holder = self.holders[one.holder]
        name = str(number)
        try:
            inode, local = self._make(number, one, port, holder)
        except (OSError, TimeoutError):
            holder.run(f"drop({name!r})")
            self._drop_clients([number])
            return None
        if one.fate == "closed" and not one.is_left:
            holder.run(f"drop({name!r})")
            return None
        pids = {holder.pid}
        if one.is_left:
            pids = set()
        elif one.fate in ("shared", "inherited"):
            keep = one.fate == "shared"
            child = holder.run(f"result = share({name!r}, {keep})")
            pids = {child, holder.pid} if keep else {child}
        return There(
            made=one,
            local=local,
            inode=inode,
            pids=frozenset(pids),
            uid=self.uids[one.holder],
            link=self.links.get(number),
        )

    def drop(self, number: int, one: There) -> None:
        """Close it wherever it is open; nothing of it stays behind."""
        if one.link is not None and one.made.is_left:
            self._drop_clients([number])
            destroy(*one.link)
            del self.links[number]
        else:
            self.holders[one.made.holder].run(f"drop('{number}')")
            self._drop_clients([number])

    def _make(
        self, number: int, one: Made, port: int, holder: Holder
    ) -> tuple[int, str]:
        name = str(number)
        stream = one.protocol != "udp"
        linked = stream and one.state in ("connected", *LEFT)
        inet6 = ":" in one.address
        connect = None
        if not stream and one.state == "connected":
            v4 = not inet6 or one.address.startswith("::ffff:")
            mapped = "::ffff:" if inet6 and v4 else ""
            connect = [mapped + "127.0.0.9" if v4 else "::1", 9]
        arguments: list[Any] = [
            name,
            int(socket.AF_INET6 if inet6 else socket.AF_INET),
            int(socket.SOCK_STREAM if stream else socket.SOCK_DGRAM),
            IPPROTO_MPTCP if one.protocol == "mptcp" else 0,
            options_of(one),
            [one.address, port],
            stream and (linked or one.state == "listening"),
            connect,
        ]
        inode, local = holder.run(f"result = make(*{arguments!r})")
        if linked:
            inode, local = self._connect(number, one, port, holder)
        return inode, local

    def _connect(
        self, number: int, one: Made, port: int, holder: Holder
    ) -> tuple[int, str]:
        """Have a client; then the listener goes, and what is to be left is left."""
        if one.device not in ("", "lo"):
            raise OSError(errno.EHOSTUNREACH, "nothing comes through that interface")
        wild = {"0.0.0.0": "127.0.0.3", "::": "::1", "::ffff:0.0.0.0": "127.0.0.3"}  # noqa: S104
        place = wild.get(one.address, one.address).removeprefix("::ffff:")
        family = socket.AF_INET6 if ":" in place else socket.AF_INET
        client = self.clients[number] = socket.socket(family)
        client.settimeout(5)
        client.connect((place, port))
        name = str(number)
        inode, local = holder.run(f"result = accept({name!r}, {not one.is_left})")
        if one.is_left:
            link = ((place, port), client.getsockname()[:2])
            if ":" in one.address and family == socket.AF_INET:
                link = (("::ffff:" + place, port), ("::ffff:" + link[1][0], link[1][1]))
            self.links[number] = link
            holder.run(f"drop({name!r})")
            client.recv(1)  # the end of the file: now the FIN has come
            wanted = FIN_WAIT_2
            if one.state == "time-wait":
                self._drop_clients([number], reset=False)
                wanted = TIME_WAIT
            while state_of(*link) not in (wanted, None):
                os.sched_yield()  # the last segment may be on its way
        return inode, local

    def _drop_clients(
        self, numbers: Iterable[int] | None = None, *, reset: bool = True
    ) -> None:
        for number in list(self.clients) if numbers is None else numbers:
            client = self.clients.pop(number, None)
            if client is not None:
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()


def options_of(one: Any) -> list[tuple[int, int, int | str]]:
    """The socket options of a Made or of what is asked, for setsockopt()."""
    options: list[tuple[int, int, int | str]] = []
    if one.v6only is not None and one.address == "::":
        options.append((int(socket.IPPROTO_IPV6), IPV6_V6ONLY, int(one.v6only)))
    for option, value in (
        (socket.SO_REUSEADDR, one.reuse_address),
        (socket.SO_REUSEPORT, one.reuse_port),
    ):
        if value is not None:
            options.append((int(socket.SOL_SOCKET), int(option), int(value)))
    if one.device:
        options.append((int(socket.SOL_SOCKET), SO_BINDTODEVICE, one.device))
    return options


class Fork:
    """A copy of this process as another user, which calls functions for us."""

    def __init__(self, uid: int) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._pipe.close()
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with contextlib.suppress(EOFError):
                while True:
                    function, arguments = theirs.recv()
                    try:
                        theirs.send((True, function(*arguments)))
                    except Exception:  # noqa: BLE001 - all of it goes to the parent
                        theirs.send((False, traceback.format_exc()))
            os._exit(0)
        theirs.close()

    def call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Call a function of a module there."""
        self._pipe.send((function, arguments))
        ok, result = self._pipe.recv()
        assert ok, result
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """End it."""
        self._pipe.close()
        os.waitpid(self._pid, 0)
