"""Names of users, looked up within a time.

What is not in the file of users a server may have to be asked for (nsswitch.conf(5):
LDAP, sssd), which may be down.
"""

from __future__ import annotations

import sys
from functools import partial

from bindcheck.machine import SYSTEM
from bindcheck.model import Notice
from bindcheck.patience import UnansweredError, in_time
from bindcheck.words import System

_PATIENCE_SECONDS = 2.0
_FILE = "/etc/passwd"


class UserNames:
    """The names of users; one for each report, which asks for each of them once."""

    def __init__(self) -> None:
        self._known: dict[int, str | None] = {}
        self._late = False

    def name_of(self, uid: int | None) -> str | None:
        """The name of a uid; None where it has none here, or it does not come."""
        if uid is None:
            return None
        if uid not in self._known:
            self._known[uid] = self._look_up(uid)
        return self._known[uid]

    @property
    def limits(self) -> tuple[Notice, ...]:
        """Say that a name did not come, where that is so."""
        if not self._late:
            return ()
        text = (
            "the name of a user does not come "
            f"(for {_PATIENCE_SECONDS:.0f} s): users are told by their numbers"
        )
        return (Notice(code="user-names-unread", text=text),)

    def _look_up(self, uid: int) -> str | None:
        name = _in_file(uid) if SYSTEM == System.LINUX else None
        if name is not None or self._late:
            return name
        try:
            return in_time(partial(_asked, uid), _PATIENCE_SECONDS)
        except UnansweredError:
            self._late = True
            return None


def _in_file(uid: int) -> str | None:
    """What passwd(5) says, in less time than a thread needs to start."""
    try:
        with open(_FILE, "rb") as file:
            text = b"\n" + file.read()
    except OSError:
        return None
    number = b":%d:" % uid
    place = text.find(number)
    while place >= 0:
        name, *rest = text[text.rindex(b"\n", 0, place) + 1 : place].split(b":")
        # Where it stands later in the line it is the group's; + and - are for NIS.
        if len(rest) == 1 and name and name[:1] not in b"+-":
            return name.decode("utf-8", "surrogateescape")
        place = text.find(number, place + 1)
    return None


def _asked(uid: int) -> str | None:
    if sys.platform == "win32":
        return None
    else:  # noqa: RET505 - type checkers leave the other system's branch out
        import pwd

        try:
            return pwd.getpwuid(uid).pw_name
        except (KeyError, OverflowError):
            return None
