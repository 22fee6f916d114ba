"""`python -m bindcheck`, and the entry of the console script."""

import sys


def main() -> int:
    """Run the command line of this process."""
    from bindcheck.cli.main import run

    return run(sys.argv[1:])


def _leave_current_folder() -> None:
    """Take the current folder off sys.path, where `python -m` has put it first.

    A diagnosis tool is run, with sudo too, in folders of all kinds; an argparse.py there
    must not be imported.
    """
    if not sys.flags.safe_path and sys.path:
        del sys.path[0]


if __name__ == "__main__":
    _leave_current_folder()
    sys.exit(main())
