"""A search for people who paste the text of an error.

Sphinx shows pages that have every word that was asked for. A line of a log has ports,
names and folders of its own machine, which no page has. error_search.js ranks instead,
with the help of the table that tells the causes by the text of the error, and of the
texts that `bindcheck explain` knows.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.search.en import SearchEnglish

from bindcheck.known_errors import ERRORS
from bindcheck.words import System

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
TABLE = HERE.parent / "causes" / "index.md"

# Sphinx leaves numbers out. Those of errors get letters before them and become words:
# [Errno 98], (98: Address already in use), 10048.
ERROR_NUMBER = (
    r"(errno |error |code: |(?<!\w)\(|^|\b(?=10[01]))(\d{1,3}|10[01]\d\d)\b(?!\.\d)"
)


class SearchErrors(SearchEnglish):
    """English, the numbers of errors, and our ranking."""

    def __init__(self, options: dict[str, str]) -> None:
        super().__init__(options)
        self.js_splitter_code = "\n".join(
            (
                f"const ERROR_NUMBER = /{ERROR_NUMBER}/gi;",
                f"const ROWS = {json.dumps(self.rows())};",
                f"const NAMES = {json.dumps(self.names())};",
                HERE.joinpath("error_search.js").read_text("utf-8"),
            )
        )

    def split(self, input: str) -> list[str]:  # noqa: A002 - its name in Sphinx
        """Return the words of a text."""
        text = re.sub(ERROR_NUMBER, r"\1nr\2", input, flags=re.IGNORECASE)
        return super().split(text)

    def rows(self) -> list[tuple[list[str], list[str]]]:
        """Return of each row of the table the words of the error, and the pages."""
        found = []
        for line in TABLE.read_text("utf-8").splitlines():
            error, _, causes = line.removeprefix("| ").rpartition(" | ")
            pages = [f"causes/{one}" for one in re.findall(r"\(([a-z-]+)\.md", causes)]
            words = {self.stem(one) for one in self.split(error)}
            if pages:
                found.append((sorted(filter(self.word_filter, words)), pages))
        return found

    def names(self) -> dict[str, list[str]]:
        """Return the words of errors, and what texts say instead, in every language."""
        found: dict[str, list[str]] = {}
        for error in ERRORS:
            numbers = ((system, f"nr{code}") for system, code in error.codes)
            words = ((system, text) for text, system in error.words)
            for system, said in (*numbers, *words):
                prefix = "WSA" if system is System.WINDOWS else ""
                found.setdefault(self.stem(prefix + error.name), []).append(said)
        return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Take the place of Sphinx's English."""
    app.add_search_language(SearchErrors)
    return {"parallel_read_safe": True}
