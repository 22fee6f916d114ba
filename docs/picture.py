"""Make docs/picture.svg: real commands in a real terminal, as a picture.

python docs/picture.py [FILE [FOLDER]]: the server is put into FOLDER (/srv/shop).
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS = 84
SERVER = """\
import http.server
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), None).serve_forever()
"""
COMMANDS = (
    ("127.0.0.1:8080",),
    ("free", "--near", "8080"),
    ("stop", "--yes", "127.0.0.1:8080"),
)


def main() -> None:
    """Start a server, ask about it, and write what the terminal showed."""
    arguments = iter(sys.argv[1:])
    file = Path(next(arguments, Path(__file__).parent / "picture.svg"))
    folder = Path(next(arguments, "/srv/shop"))
    folder.mkdir(exist_ok=True)
    (folder / "server.py").write_text(SERVER)
    console = Console(
        record=True, width=COLUMNS, color_system="truecolor", file=io.StringIO()
    )
    with subprocess.Popen(
        ["python3", "server.py"], executable=sys.executable, cwd=folder
    ) as server:
        try:
            wait_for_listener(server)
            for command in COMMANDS:
                console.print(Text(f"$ bindcheck {' '.join(command)}", style="bold"))
                console.print(Text.from_ansi(shown(command)))
        finally:
            server.kill()
    picture = console.export_svg(title="bindcheck", theme=MONOKAI)
    # Its fonts would be fetched from elsewhere; every machine has one of its own.
    file.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))


def wait_for_listener(server: subprocess.Popen[bytes]) -> None:
    """Until the tables show it: http.server does not say when it is ready."""
    import bindcheck

    while not bindcheck.sockets(port=8080, owners=False):
        if server.poll() is not None:
            raise SystemExit("the server could not start: is port 8080 in use?")
        time.sleep(0.01)


def shown(arguments: tuple[str, ...]) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, COLUMNS))
    with subprocess.Popen(
        [sys.executable, "-m", "bindcheck", *arguments],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"},
    ):
        os.close(theirs)
        data = bytearray()
        with suppress(OSError):  # EIO: the end of the terminal
            while part := os.read(ours, 4096):
                data += part
    os.close(ours)
    return data.decode().replace("\r\n", "\n").rstrip("\n")


if __name__ == "__main__":
    main()
