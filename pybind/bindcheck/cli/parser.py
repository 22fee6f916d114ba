"""The command line: options, verbs, and one clear line for what is wrong."""

from __future__ import annotations

import argparse

from bindcheck._version import __version__
from bindcheck.cli.exit_codes import ExitCode

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_HELP_WIDTH = 86
VERBS = ("check", "probe", "explain", "replay")

_DESCRIPTION = """\
Find out why bind() failed: make the same call, look who has the port, say what helps.
"""

_EPILOG = """\
verbs:
  check TARGET...   diagnose (the default; the word may be left out)
  probe TARGET...   make the native call and print its result, one line each
  explain ERROR     say what a number, a name or a pasted line means (- reads a log's
                    lines from stdin); diagnose the address that it names
  replay FILE...    diagnose again what check --record wrote, on any machine

targets:
  8080                    every IPv4 and every IPv6 address
  127.0.0.1:8080          one address; also [::1]:8080, [fe80::1%eth0]:8080
  localhost:http          a name and a service
  127.0.0.1:53/udp        another protocol: /tcp /udp /mptcp /sctp /udplite
  http://127.0.0.1:8080   a URL, as a log shows it
  unix:/run/app.sock      a unix socket; also unix:@name, unix-datagram:, unix-seqpacket:
  vsock:any:1024          AF_VSOCK, context id and port

exit status:
  0 every target can be bound   1 at least one cannot, or only with another option
  2 usage                       3 could not find out

examples:
  bindcheck 8080
  bindcheck -u 0.0.0.0:53
  bindcheck --listen --reuseaddr 127.0.0.1:8080
  bindcheck explain "listen tcp :8080: bind: address already in use"
  bindcheck --json 8080 5432 | jq '.results[].verdict'
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line on stderr instead of a page of usage."""
        from bindcheck.sanitize import sanitize

        self.exit(
            ExitCode.USAGE,
            f"bindcheck: {sanitize(message)} (bindcheck --help shows what there is)\n",
        )


def _formatter(prog: str) -> argparse.HelpFormatter:
    # Without a width argparse imports shutil to ask for one, at every add_argument.
    return argparse.RawDescriptionHelpFormatter(prog, width=_HELP_WIDTH)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line to argparse."""
    parser = _Parser(
        prog="bindcheck",
        usage="bindcheck [check|probe|explain|replay] [options] TARGET...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help="what to bind, see below")
    add(
        "-u", "--udp", action="store_true", help="UDP for targets that name no protocol"
    )
    families = parser.add_mutually_exclusive_group()
    families.add_argument(
        "-4", dest="family", action="store_const", const="inet", help="only IPv4"
    )
    families.add_argument(
        "-6", dest="family", action="store_const", const="inet6", help="only IPv6"
    )
    add("--listen", action="store_true", help="also call listen()")
    _switch(parser, "reuseaddr", "SO_REUSEADDR (default: with and without are tried)")
    add(
        "--reuseport",
        action="store_const",
        const=True,
        default=None,
        help="SO_REUSEPORT",
    )
    add(
        "--exclusive",
        action="store_const",
        const=True,
        default=None,
        help="SO_EXCLUSIVEADDRUSE (Windows)",
    )
    _switch(parser, "v6only", "IPV6_V6ONLY (default: the system's)")
    add(
        "--device", metavar="IF", help="SO_BINDTODEVICE: bind to this interface (Linux)"
    )
    add(
        "--freebind",
        action="store_const",
        const=True,
        default=None,
        help="IP_FREEBIND (Linux)",
    )
    add("--json", action="store_true", help="one JSON object on stdout")
    add("-q", "--quiet", action="store_true", help="only the answer, a line a target")
    add("-v", "--verbose", action="store_true", help="also what could not be seen")
    add("--record", metavar="FILE", help="also write what was seen, for replay")
    add(
        "--record-commands",
        action="store_true",
        help="with the arguments of other programs, which may hold secrets",
    )
    add("--no-color", action="store_true", help="no colours (so does NO_COLOR)")
    add("--version", action="version", version=f"bindcheck {__version__}")
    return parser


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


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; exits with 2 and one line where it makes no sense."""
    parser = build_parser()
    verb, rest = "check", list(arguments)
    for position, word in enumerate(rest):
        if position and rest[position - 1] == "--device":
            continue
        if word in VERBS:
            verb = rest.pop(position)
        if not word.startswith("-"):
            break
    parsed = parser.parse_intermixed_args(rest)
    parsed.verb = verb
    if not parsed.targets:
        nouns = {"replay": "file", "explain": "error"}
        examples = {"replay": "replay seen.json", "explain": "explain 98"}
        what, example = nouns.get(verb, "target"), examples.get(verb, "8080")
        parser.error(f"no {what}: for example: bindcheck {example}")
    _check_recording(parser, parsed)
    return parsed


_BIND_OPTIONS = (
    *("udp", "family", "listen", "reuseaddr", "reuseport", "exclusive", "v6only"),
    *("device", "freebind"),
)


def _check_recording(
    parser: argparse.ArgumentParser, parsed: argparse.Namespace
) -> None:
    if parsed.record_commands and parsed.record is None:
        parser.error("--record-commands: says how to --record FILE, which is missing")
    if parsed.record is not None and parsed.verb != "check":
        parser.error(f"--record: only check records, not {parsed.verb}")
    if parsed.verb == "replay":
        if any(getattr(parsed, name) for name in _BIND_OPTIONS):
            parser.error("replay: the recording says what was asked, without options")
        if parsed.json and len(parsed.targets) > 1:
            parser.error("replay --json: one recording at a time")
