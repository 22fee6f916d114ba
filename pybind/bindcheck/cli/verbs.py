"""The verbs of the command: what each takes, says of itself, and where it is."""

from __future__ import annotations

import argparse

from bindcheck.records import record

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    _Add = Callable[[argparse.ArgumentParser], None]

WITH_VALUE = frozenset(
    {
        *("--device", "--record", "--timeout", "--near", "--range", "--count"),
        *("--signal", "--print-completion"),
    }
)
"""Options whose next word is theirs, and no verb."""
_TRUE: dict[str, Any] = {"action": "store_const", "const": True, "default": None}


@record(frozen=True, slots=True, kw_only=True)
class Verb:
    """A verb of the command line. Its module is cli/NAME.py."""

    name: str
    operands: str
    """As the usage line has them."""
    summary: str
    """One or more lines of the overview."""
    options: tuple[_Add, ...]
    details: str = ""
    """What its own --help says below the options."""
    missing: str = ""
    """Of what one at least is needed: the noun, and an example."""
    command: bool = False
    """Takes a command behind `--`."""
    most: int | None = None
    """How many operands it takes at most."""


def _output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", action="store_true", help="one JSON object on stdout")
    quiet = "only the answer, a line a target"
    if parser.get_default("verb") == "list":
        quiet = "no header, and nothing below the table"
    add("-q", "--quiet", action="store_true", help=quiet)
    add("-v", "--verbose", action="store_true", help="also what could not be seen")
    add("--no-color", action="store_true", help="no colours (so does NO_COLOR)")


def _protocol(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-u", "--udp", action="store_true", help="UDP for targets that name no protocol"
    )


def _families(parser: argparse.ArgumentParser) -> None:
    families = parser.add_mutually_exclusive_group()
    families.add_argument(
        "-4", dest="family", action="store_const", const="inet", help="only IPv4"
    )
    families.add_argument(
        "-6", dest="family", action="store_const", const="inet6", help="only IPv6"
    )


def _bind(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _protocol(parser)
    _families(parser)
    add("--listen", action="store_true", help="also call listen()")
    tried = "with and without are tried"
    if parser.get_default("verb") in ("wait", "free"):
        tried = "set for TCP, as servers do; not on Windows"
    _switch(parser, "reuseaddr", f"SO_REUSEADDR (default: {tried})")
    add("--reuseport", **_TRUE, help="SO_REUSEPORT")
    add("--exclusive", **_TRUE, help="SO_EXCLUSIVEADDRUSE (Windows)")
    _switch(parser, "v6only", "IPV6_V6ONLY (default: the system's)")
    add(
        "--device", metavar="IF", help="SO_BINDTODEVICE: bind to this interface (Linux)"
    )
    add("--freebind", **_TRUE, help="IP_FREEBIND (Linux)")


def _switch(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    parser.add_argument(
        f"--{name}", action="store_true", default=None, dest=name, help=text
    )
    parser.add_argument(
        f"--no-{name}",
        action="store_false",
        default=None,
        dest=name,
        help=argparse.SUPPRESS,
    )


def _recording(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--record", metavar="FILE", help="also write what was seen, for replay"
    )
    parser.add_argument(
        "--record-commands",
        action="store_true",
        help="with the arguments of other programs, which may hold secrets",
    )


def _seconds(text: str) -> float:
    """A time limit in seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:  # NaN is neither
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=_seconds,
        help="give up after so many seconds (default: never)",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535")
    return int(text)


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    try:
        low, high = _port(first), _port(last)
    except argparse.ArgumentTypeError:
        low, high = 1, 0
    if not dash or low > high:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no range of ports: for example 8000-8099"
        )
    return low, high


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10000):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 10000")
    return int(text)


def _free(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--near", metavar="PORT", type=_port, help="the nearest free one to this port")
    add(
        "--range",
        metavar="A-B",
        type=_range,
        help="the lowest free one of these (default: any outside of the ephemeral range)",
    )
    add("--count", metavar="N", type=_count, default=1, help="how many (default: 1)")
    add(
        "--hold",
        action="store_true",
        help="keep them bound and give them to CMD as systemd would (LISTEN_FDS)",
    )


def _list(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--all", action="store_true", help="each connection too, and what lingers")
    add("-t", "--tcp", action="store_true", help="only TCP")
    add("-u", "--udp", action="store_true", help="only UDP")
    _families(parser)


def _stop(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add("-y", "--yes", action="store_true", help="do not ask")
    add(
        "--signal",
        metavar="NAME",
        help="the signal (default: TERM, and KILL is offered when that is not enough)",
    )
    add(
        "--timeout",
        metavar="S",
        type=_seconds,
        default=10.0,
        help="how long to wait for the port (default: 10)",
    )


VERBS = {
    one.name: one
    for one in (
        Verb(
            name="check",
            operands="TARGET...",
            summary="diagnose (the default; the word may be left out)",
            options=(_bind, _output, _recording),
            missing="target: for example: bindcheck 8080",
            details="""\
examples:
  bindcheck 8080
  bindcheck --listen --reuseaddr 127.0.0.1:8080
  bindcheck --record seen.json 127.0.0.1:8080
""",
        ),
        Verb(
            name="probe",
            operands="TARGET...",
            summary="make the native call and print its result, one line each",
            options=(_bind, _output),
            missing="target: for example: bindcheck probe 8080",
            details="""\
examples:
  bindcheck probe 127.0.0.1:8080
  bindcheck probe --reuseaddr --json 8080
""",
        ),
        Verb(
            name="wait",
            operands="TARGET... [-- CMD...]",
            summary="wait until it can be bound, then end, or run -- CMD in its place",
            options=(_timeout, _bind, _output),
            missing="target: for example: bindcheck wait 8080",
            command=True,
            details="""\
It sleeps until the kernel says that the socket in the way is gone, or its TIME_WAIT is
over, and calls bind once then. Where waiting cannot help it says so at once.

exit status:
  0 it can be bound   1 it cannot: waiting does not help, or the time is over
  2 usage   3 could not find out   with CMD: that of CMD

examples:
  bindcheck wait 127.0.0.1:8080
  bindcheck wait --timeout 90 8080 -- ./server --port 8080
""",
        ),
        Verb(
            name="free",
            operands="[HOST] [-- CMD...]",
            summary="print ports that can really be bound there",
            options=(_free, _bind, _output),
            command=True,
            most=1,
            details="""\
Each port is really bound, on every address of HOST (default: every address of the
machine), and is one that no socket has at all. Another program may take it before you
do; with --hold it cannot.

exit status:
  0 as many as asked for   1 fewer   2 usage   with CMD: that of CMD

examples:
  bindcheck free
  bindcheck free --near 8080
  bindcheck free localhost --range 3000-3999 --count 2
  bindcheck free --hold 127.0.0.1 -- uvicorn shop:app --fd 3
""",
        ),
        Verb(
            name="list",
            operands="[PORT...]",
            summary="every local port and who has it",
            options=(_list, _output),
            details="""\
Listening and bound sockets of TCP and UDP, also those that other tools do not show, and
what lingers on their ports. Connections are counted; --all shows each.

exit status:
  0 printed   1 nobody has the ports that were named   2 usage   3 could not find out

examples:
  bindcheck list
  bindcheck list 8080 5432
  sudo bindcheck list --all
  bindcheck list --json | jq '.sockets[] | select(.owner.kind == "hidden")'
""",
        ),
        Verb(
            name="stop",
            operands="TARGET",
            summary="end the program that has it, where that is safe; asks first",
            options=(_stop, _bind, _output),
            missing="target: for example: bindcheck stop 8080",
            most=1,
            details="""\
Ends plain programs only. Of a container, a service, a proxy or a daemon it tells the
command that stops it, and does nothing. Who has the port is checked again right before
the signal; then the port is waited for.

exit status:
  0 the port is free   1 it is not   2 usage   3 could not find out
  4 refused: it must not be stopped like this

examples:
  bindcheck stop 8080
  bindcheck stop --dry-run 127.0.0.1:8080
  bindcheck stop --yes --signal INT 8080
""",
        ),
        Verb(
            name="explain",
            operands="ERROR",
            summary="""\
say what a number, a name or a pasted line means (- reads a log's
lines from stdin); diagnose the address that it names""",
            options=(_bind, _output),
            missing="error: for example: bindcheck explain 98",
            details="""\
examples:
  bindcheck explain 10048
  bindcheck explain EADDRINUSE
  bindcheck explain "listen tcp :8080: bind: address already in use"
  journalctl -u shop | tail -5 | bindcheck explain -
""",
        ),
        Verb(
            name="replay",
            operands="FILE...",
            summary="diagnose again what check --record wrote, on any machine",
            options=(_output,),
            missing="file: for example: bindcheck replay seen.json",
            details="""\
examples:
  bindcheck --record seen.json 127.0.0.1:8080
  bindcheck replay seen.json
""",
        ),
        Verb(
            name="doctor",
            operands="",
            summary="what bindcheck can and cannot see here, and what would widen it",
            options=(_output,),
            most=0,
            details="""\
exit status:
  0 everything can be seen   1 something cannot   2 usage

examples:
  bindcheck doctor
  sudo bindcheck doctor --json
""",
        ),
    )
}
