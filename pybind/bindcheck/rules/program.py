"""What a process runs, so that two processes can be compared.

The executable alone does not tell for interpreters: there it is the script, module or
text that they were given.
"""

from __future__ import annotations

import posixpath

_INTERPRETERS = ("python", "pypy", "node", "ruby", "perl", "php", "bash", "sh", "deno")
# Options of Python that take the next argument.
_WITH_VALUE = frozenset({"-X", "-W", "--check-hash-based-pycs"})


def program_of(
    executable: tuple[int, int] | None, command: tuple[str, ...], folder: str | None
) -> tuple[object, ...] | None:
    """Name a program; None when it cannot be told.

    Args:
        executable: device and inode of the file.
        command: the arguments, the program's own name first.
        folder: the working directory, for a script with a relative path.
    """
    if executable is None or not command:
        return None
    name = posixpath.basename(command[0].replace("\\", "/"))
    if not name.startswith(_INTERPRETERS):
        return executable
    return (*executable, *_main(command[1:], folder))


def _main(arguments: tuple[str, ...], folder: str | None) -> tuple[str, ...]:
    rest = iter(arguments)
    for one in rest:
        if one in ("-m", "-c"):
            return (one, next(rest, ""))
        if one in _WITH_VALUE:
            next(rest, None)
        elif not one.startswith("-"):
            return ("script", posixpath.normpath(posixpath.join(folder or "", one)))
    return ()
