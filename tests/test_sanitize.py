"""Foreign text is shown as it is where it is harmless, and as escapes elsewhere."""

from __future__ import annotations

import ast
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bindcheck.sanitize import is_plain, sanitize

properties = settings(derandomize=True, deadline=None, database=None, max_examples=500)
anything = st.text(st.characters(exclude_categories=()))
# What reorders, hides or breaks a line, beside the control characters.
TRICKY = (
    "\x1b\x07\x08\r\n\t\x00\x7f\x80\x85\x9b\xa0\xad"
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e"
    "\u2066\u2067\u2068\u2069\ufeff\ufff9\ud800\udfff\ue000\U000e0001\U0010ffff"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("node server.js", "node server.js"),
        ("caf\u00e9 \u65e5\u672c \U0001f600", "caf\u00e9 \u65e5\u672c \U0001f600"),
        ("[/x] [bold]", "[/x] [bold]"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb", r"a\x0ab"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\U000e0001", r"\U000e0001"),
        ("\udc80", r"\udc80"),
        ("\x9b", r"\x9b"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert sanitize(text) == shown


@pytest.mark.parametrize("character", TRICKY)
def test_tricky_characters_do_not_survive(character: str) -> None:
    shown = sanitize(f"a{character}b")
    assert character not in shown
    assert shown.isascii()
    assert shown.startswith("a\\")
    assert not is_plain(character)


@properties
@given(anything)
@example(TRICKY)
def test_output_is_printable(text: str) -> None:
    shown = sanitize(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    for one in shown:
        assert unicodedata.category(one)[0] not in "CZ" or one == " "
        assert unicodedata.bidirectional(one) not in (
            *("LRE", "RLE", "LRO", "RLO", "PDF"),
            *("LRI", "RLI", "FSI", "PDI"),
        )


@properties
@given(anything)
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert (sanitize(text) == text) == text.isprintable()
    assert is_plain(text) == text.isprintable()


@properties
@given(anything)
def test_twice_is_once(text: str) -> None:
    assert sanitize(sanitize(text)) == sanitize(text)


@properties
@given(st.text(st.characters(exclude_categories=(), exclude_characters="\\'")))
def test_escapes_are_those_of_python(text: str) -> None:
    """Nothing is lost: the escapes can be read back."""
    assert ast.literal_eval(f"'{sanitize(text)}'") == text
