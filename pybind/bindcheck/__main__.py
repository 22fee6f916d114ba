"""`python -m bindcheck`, and the entry of the console script."""

import sys


def main() -> int:
    """Run the command line of this process."""
    from bindcheck.cli.main import INTERRUPTED, run

    status = run(sys.argv[1:])
    if status == INTERRUPTED and sys.platform != "win32":
        # A shell ends its script where a program dies of Ctrl-C, not where it exits.
        import os
        import signal

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return status


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
