"""The command line: finds the verb, parses its options, one clear line for what is wrong."""

from __future__ import annotations

import argparse

from bindcheck.cli.exit_codes import ExitCode
from bindcheck.cli.verbs import VERBS, WITH_VALUE

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, NoReturn

    from bindcheck.cli.verbs import Verb

_HELP_WIDTH = 86
_DEFAULT = "check"

_DESCRIPTION = """\
Find out why bind() failed: make the same call, look who has the port, say what helps.
"""

_EPILOG = """\
verbs (bindcheck VERB --help shows the options and examples of each):
{verbs}

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
  4 refused for safety (stop)

examples:
  bindcheck 8080
  bindcheck -u 0.0.0.0:53
  bindcheck --listen --reuseaddr 127.0.0.1:8080
  bindcheck wait 8080 && ./server
  bindcheck explain "listen tcp :8080: bind: address already in use"
  bindcheck --json 8080 5432 | jq '.results[].verdict'
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line on stderr instead of a page of usage."""
        from bindcheck.sanitize import sanitize

        self.exit(
            ExitCode.USAGE,
            f"bindcheck: {sanitize(message)} ({self.prog} --help shows what there is)\n",
        )


def _formatter(prog: str) -> argparse.HelpFormatter:
    # Without a width argparse imports shutil to ask for one, at every add_argument.
    return argparse.RawDescriptionHelpFormatter(prog, width=_HELP_WIDTH)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Print what a bug report needs, read only now."""
        from bindcheck.cli.version import version_text

        print(version_text())  # noqa: T201 - as argparse does with --help
        parser.exit()


class _Completion(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, _: object, shell: object, *__: object
    ) -> NoReturn:
        """Print a shell's completion script."""
        from bindcheck.cli.completion import completion_script

        print(completion_script(str(shell)))  # noqa: T201 - as argparse does with --help
        parser.exit()


def build_parser(name: str = _DEFAULT, *, overview: bool = False) -> _Parser:
    """Describe a verb's command line to argparse.

    Args:
        name: the verb.
        overview: --help is to show all verbs: none was named.
    """
    verb = VERBS[name]
    usage = f"bindcheck {name} [options] {verb.operands}".rstrip()
    parser = _Parser(
        prog="bindcheck" if overview else f"bindcheck {name}",
        usage="bindcheck [VERB] [options] TARGET..." if overview else usage,
        description=_DESCRIPTION if overview else _sentence(verb.summary),
        epilog=_overview() if overview else verb.details,
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.set_defaults(verb=name)
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="what to bind, see below" if overview else argparse.SUPPRESS,
    )
    for add in verb.options:
        add(parser)
    shown = None if overview else argparse.SUPPRESS
    parser.add_argument(
        "--print-completion",
        metavar="SHELL",
        choices=("bash", "zsh"),
        action=_Completion,
        help=shown or "print a completion script for bash or zsh",
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help=shown or "the version, with what a bug report needs",
    )
    return parser


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


def _overview() -> str:
    """Each verb in a line or two."""
    return _EPILOG.format(verbs="\n".join(_verb_lines()))


def _verb_lines() -> Iterator[str]:
    for verb in VERBS.values():
        head = f"{verb.name} {verb.operands.partition(' [--')[0]}"
        for line in verb.summary.splitlines():
            yield f"  {head:<16}  {line}"
            head = ""


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; exits with 2 and one line where it makes no sense.

    `command` of the result is what stands behind `--`, of verbs that run something.
    """
    name, rest = _take_verb(list(arguments))
    verb = VERBS[name or _DEFAULT]
    parser = build_parser(verb.name, overview=name is None)
    command: list[str] | None = None
    if verb.command and "--" in rest:
        place = rest.index("--")
        rest, command = rest[:place], rest[place + 1 :]
        if not command:
            parser.error("--: the command to run is missing behind it")
    parsed, unknown = parser.parse_known_intermixed_args(rest)
    if unknown:
        parser.error(_not_an_option(verb, unknown[0]))
    parsed.command = command
    _check(parser, verb, parsed)
    return parsed


def _take_verb(words: list[str]) -> tuple[str | None, list[str]]:
    """The verb, where the first word that is no option is one; and the rest."""
    for position, word in enumerate(words):
        if position and words[position - 1] in WITH_VALUE:
            continue
        if word in VERBS:
            return word, words[:position] + words[position + 1 :]
        if not word.startswith("-"):
            break
    return None, words


def _not_an_option(verb: Verb, word: str) -> str:
    """Say where an option belongs that a verb does not have."""
    option = word.partition("=")[0]
    others = [
        name for name in VERBS if option in build_parser(name)._option_string_actions
    ]
    if not others:
        return f"unrecognized arguments: {word}"
    return f"{option} is no option of {verb.name}, but of {', '.join(others)}"


def _check(parser: _Parser, verb: Verb, parsed: argparse.Namespace) -> None:
    """What argparse cannot know."""
    if verb.missing and not parsed.targets:
        parser.error(f"no {verb.missing}")
    if verb.most is not None and len(parsed.targets) > verb.most:
        too_many = parsed.targets[verb.most]
        takes = "one at a time" if verb.most else "takes none"
        parser.error(f"{verb.name}: {too_many!r} is one too many: {takes}")
    if verb.name == "check" and parsed.record_commands and parsed.record is None:
        parser.error("--record-commands: says how to --record FILE, which is missing")
    if verb.name == "replay" and parsed.json and len(parsed.targets) > 1:
        parser.error("replay --json: one recording at a time")
