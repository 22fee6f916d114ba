"""How the Markdown of this folder becomes a site: `nox -s docs`."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from os.path import normpath, relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.ext.napoleon.docstring import GoogleDocstring

if TYPE_CHECKING:
    from docutils.nodes import Element, TextElement
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "bindcheck"
release = metadata.version("bindcheck")
extensions = ["error_search", "myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3  # the anchors that GitHub gives to headings
default_role = "code"  # the single backticks of docstrings
smartquotes_action = "D"  # no quotes: what a program says stays as it says it

html_theme = "furo"
html_title = f"{project} {release}"
html_show_copyright = False
html_copy_source = False
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

# Files above this folder, and the pages that show them.
SHOWN = {ROOT / "README.md": "overview", ROOT / "CHANGELOG.md": "changelog"}
# Pages that have the rest of their folder below them.
FOLDERS = ("causes/index", "recipes/index")
BELOW = "\n\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def complete_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give a page what it shows of files above this folder, and what is below it."""
    page = origin = Path(app.srcdir, f"{docname}.md")
    for file, name in SHOWN.items():
        if name == docname:
            origin = file
            source[0] = file.read_text("utf-8")
            app.env.note_dependency(file)

    def moved(link: re.Match[str]) -> str:
        there = Path(normpath(origin.parent / link[1]))
        if there in SHOWN:
            there = app.srcdir / f"{SHOWN[there]}.md"
        elif origin == page:
            return link[0]
        return f"]({Path(relpath(there, page.parent)).as_posix()}"

    source[0] = re.sub(r"\]\((?![a-z]+:)([^)#\s]+)", moved, source[0])
    if docname in FOLDERS:
        source[0] += BELOW


def read_sections(
    _app: Sphinx, _what: str, _name: str, _one: Any, _options: Any, lines: list[str]
) -> None:
    """Read "Args:" and the like; napoleon would take "Windows: ..." for a type."""
    lines[:] = GoogleDocstring(list(lines)).lines()


def without_signature(
    _app: Sphinx, what: str, _name: str, one: Any, *_more: Any
) -> tuple[str, str | None] | None:
    """Leave out how records and words are made: bindcheck makes them."""
    ours = ("bindcheck.model", "bindcheck.words")
    return ("", None) if what == "class" and one.__module__ in ours else None


def find_record(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: TextElement
) -> Element | None:
    """Link the types of fields, which are written without their module."""
    domain = env.domains.python_domain
    for module in ("bindcheck", "bindcheck.model", "bindcheck.words"):
        name = f"{module}.{node['reftarget']}"
        if node.get("refdomain") == "py" and name in domain.objects:
            page = node["refdoc"]
            return domain.resolve_xref(env, page, app.builder, "obj", name, node, text)
    return None


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the functions above."""
    app.connect("source-read", complete_source)
    app.connect("autodoc-process-docstring", read_sections)
    app.connect("autodoc-process-signature", without_signature)
    app.connect("missing-reference", find_record)
