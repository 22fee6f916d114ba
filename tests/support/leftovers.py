"""What a server leaves in the tables: connections, and TIME_WAIT."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.holder import Holder


def connect(holder: Holder, port: int) -> int:
    """A connection within the holder; its client's port."""
    return int(
        holder.run(
            f"kept['client'] = socket.create_connection(('127.0.0.1', {port}))\n"
            "kept['accepted'] = kept['main'].accept()[0]\n"
            "result = kept['client'].getsockname()[1]"
        )
    )


def leave_time_wait(holder: Holder) -> tuple[int, int]:
    """TIME_WAIT of a server that had not set SO_REUSEADDR: its port, the client's."""
    port = holder.bind(listen=True)
    client = connect(holder, port)
    for name in ("accepted", "client", "main"):
        holder.close(name)
    return port, client
