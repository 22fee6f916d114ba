"""Foreign text made harmless before it is printed.

Names and command lines belong to other users, who may put terminal commands, line ends
or direction marks into them.
"""


def sanitize(text: str) -> str:
    r"""Show everything that is not plainly printable as an escape.

    Control characters, direction marks and zero-width characters (Unicode categories C
    and Z, but for the blank) become \xNN, \uNNNN or \UNNNNNNNN.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def is_plain(text: str) -> bool:
    """Whether a text may stand in a command to be pasted."""
    return text.isprintable()


def _escape(character: str) -> str:
    number = ord(character)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
