"""The command: `python -m bindcheck` and `bindcheck`."""
