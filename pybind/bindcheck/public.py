"""Smaller public doors: what a number means, and the table of sockets."""

from __future__ import annotations

import sys

from bindcheck import native
from bindcheck.errors import BindcheckError
from bindcheck.observe import Observer
from bindcheck.words import Domain, Protocol

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from typing import Any

    from bindcheck.model import NativeCode, Socket


def native_code(code: int, *, domain: str | None = None) -> NativeCode:
    """Name a native error number and give this system's own text for it.

    Args:
        code: the number, for instance 98.
        domain: "errno", "eai" (getaddrinfo) or "winsock"; without one errno, on Windows
            winsock for numbers from 10000 on.

    Raises:
        ValueError: the domain is none of these, or the number has more than 32 bits.
    """
    if not -(2**31) <= code < 2**31:
        raise ValueError(f"{code} is no error number: those have 32 bits")
    if domain is None:
        windows = sys.platform == "win32" and code >= 10000
        domain = Domain.WINSOCK if windows else Domain.ERRNO
    return native.error(Domain(domain), code)


def sockets(
    *, port: int = 0, protocol: str = Protocol.TCP, owners: bool = True
) -> tuple[Socket, ...]:
    """List the sockets on a local port (0: all ports) with their owners.

    Args:
        port: a local port, host order.
        protocol: tcp, udp, mptcp, sctp or udplite.
        owners: also look up who has them; other users' pids need privilege.

    Raises:
        BindcheckError: this system or kernel lists no such sockets.
        TypeError, ValueError: the port or the protocol is none.
    """
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port: a number, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port: {port} is not between 0 and 65535")
    observer = Observer()
    snapshot = observer.look(Protocol(protocol), port, None)
    if not snapshot.listed:
        raise BindcheckError("; ".join(limit.text for limit in snapshot.limits))
    if owners:
        snapshot = observer.with_owners(snapshot, snapshot.sockets)
    return snapshot.sockets


def schema() -> dict[str, Any]:
    """The JSON Schema of what `--json` prints and to_dict() makes."""
    import json
    from importlib.resources import files

    text = files("bindcheck").joinpath("schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
