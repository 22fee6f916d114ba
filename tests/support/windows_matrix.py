"""Microsoft's two tables of who may bind beside whom (tests/data/windows/matrix.toml)."""

from __future__ import annotations

import tomllib
from pathlib import Path

FILE = Path(__file__).parent.parent / "data" / "windows" / "matrix.toml"
NAMES = {0: "ok", 10013: "WSAEACCES", 10048: "WSAEADDRINUSE"}


def answers(*, same_user: bool) -> dict[tuple[str, bool, str, bool], str]:
    """By mode of the holder, whether it has the wildcard, and the same of the new one."""
    found = {}
    for cell in tomllib.loads(FILE.read_text("utf-8"))["cell"]:
        code = cell["microsoft"]
        if not same_user:
            code = cell.get("other_user", code)
        (mode, place), (new_mode, new_place) = cell["holder"], cell["new"]
        key = (mode, place == "wildcard", new_mode, new_place == "wildcard")
        found[key] = NAMES[code]
    return found
