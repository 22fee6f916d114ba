"""Programs that start others again when they end, found among a holder's ancestors."""

from __future__ import annotations

import posixpath

from bindcheck.records import record

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bindcheck.model import Process

# Name to the command that tells what it runs; None: it is ended itself, with Ctrl-C.
_SUPERVISORS: dict[str, tuple[str, ...] | None] = {
    "supervisord": ("supervisorctl", "status"),
    "PM2": ("pm2", "list"),
    "runsv": ("sv", "status"),
    "s6-supervise": ("s6-svstat",),
    "supervise": ("svstat",),
    "circusd": ("circusctl", "status"),
    "monit": ("monit", "status"),
    "gunicorn": None,
    "uwsgi": None,
    "nodemon": None,
    "forever": None,
    "foreman": None,
    "honcho": None,
    "hivemind": None,
    "overmind": None,
    "watchmedo": None,
    "watchexec": None,
    "watchfiles": None,
    "cargo-watch": None,
    "entr": None,
    "reflex": None,
    "ts-node-dev": None,
}
_INTERPRETERS = ("python", "pypy", "node", "ruby", "perl")


@record(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """A program that starts another one again."""

    name: str
    pid: int
    status: tuple[str, ...] | None
    """The command that tells what it runs; None: there is none, it is ended itself."""
    stop: tuple[str, ...] | None
    """The command that stops the program for good, where its name is known."""


def supervisor_of(
    process: Process, holders: Iterable[Process] = ()
) -> Supervisor | None:
    """Who starts a process again, None when none is seen.

    A parent that has the socket too is the program's own main process.
    """
    pids = {one.pid for one in holders}
    for ancestor in process.ancestors:
        name = ancestor.supervisor
        if name is not None and ancestor.pid not in pids:
            return Supervisor(
                name=name,
                pid=ancestor.pid,
                status=_SUPERVISORS.get(name),
                stop=_stop(name, process, ancestor.supervises),
            )
    return None


def supervisor_name(name: str, command: tuple[str, ...]) -> str | None:
    """The supervisor that a command line is, also below an interpreter."""
    if name.startswith("PM2 ") or (command and command[0].startswith("PM2 ")):
        return "PM2"
    words = [posixpath.basename(one) for one in command[:1]]
    if words and words[0].startswith(_INTERPRETERS):
        # The script, or the module behind -m; no other arguments.
        scripts = [one for one in command[1:4] if not one.startswith("-")]
        words = [posixpath.basename(one) for one in scripts[:1]]
    for one in (*words, name):
        plain = one.split(":", 1)[0].removesuffix(".js").removesuffix(".py")
        if plain in _SUPERVISORS:
            return plain
    return None


def supervised_name(name: str | None, command: tuple[str, ...]) -> str | None:
    """What a supervisor runs, where its command line names it: runsv(8)."""
    return command[1] if name == "runsv" and len(command) > 1 else None


def _stop(
    name: str, process: Process, supervises: str | None
) -> tuple[str, ...] | None:
    told = dict(process.environment)
    if name == "supervisord" and "SUPERVISOR_PROCESS_NAME" in told:
        program = told["SUPERVISOR_PROCESS_NAME"]
        group = told.get("SUPERVISOR_GROUP_NAME", program)
        full = program if group == program else f"{group}:{program}"
        return ("supervisorctl", "stop", full) if _is_word(full) else None
    if name == "PM2" and told.get("pm_id", "").isdecimal():
        return ("pm2", "stop", told["pm_id"])
    if name == "runsv" and supervises and _is_word(supervises):
        return ("sv", "stop", supervises)
    return None


def _is_word(text: str) -> bool:
    """Whether a name that its owner wrote can be put into a command."""
    return text.isprintable() and text[:1].isalnum()
