"""Completion scripts for shells, made by shtab from the same descriptions as --help."""

from __future__ import annotations

from bindcheck.cli.parser import build_parser
from bindcheck.cli.verbs import VERBS
from bindcheck.errors import UsageError

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    import argparse


def completion_script(shell: str) -> str:
    """The script of a shell: bash or zsh.

    Raises:
        UsageError: shtab, which makes it, is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise UsageError(
            "--print-completion needs shtab: pip install 'bindcheck[completion]'"
        ) from None
    script: str = shtab.complete(_all_verbs(), shell=shell)
    return script.rstrip("\n")


def _all_verbs() -> argparse.ArgumentParser:
    """All verbs in one parser, as shtab wants them; it parses nothing.

    The options of `check` stand at the top too, where that word is left out.
    """
    top = build_parser(overview=True)
    # argparse cannot take one away by itself.
    top._actions[:] = [one for one in top._actions if one.dest != "targets"]
    below = top.add_subparsers()
    for verb in VERBS.values():
        summary = " ".join(verb.summary.split())
        made = below.add_parser(verb.name, help=summary, description=summary)
        made.set_defaults(verb=verb.name)  # some say other defaults
        for add in verb.options:
            add(made)
        files = made.add_argument("operands", nargs="*")
        if verb.name == "replay":
            import shtab

            files.complete = shtab.FILE  # type: ignore[attr-defined]
    return top
