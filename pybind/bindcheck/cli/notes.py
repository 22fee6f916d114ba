"""What is said beside the answer, on stderr."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Say a line to whoever reads stderr.

    Where it cannot be written, a full disk or a reader that is gone, it is left out, and
    all that comes after: neither the answer nor the command that is to run depends on it.
    """
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"bindcheck: {text}\n")
        sys.stderr.flush()
    except OSError:
        # As if it were closed: at the end Python would try once more, and fail with 120.
        sys.stderr = None
