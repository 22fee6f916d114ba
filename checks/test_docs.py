"""The site that `nox -s docs` builds: its links, its search, and what it must have.

The search is run as a browser runs it, by node: Sphinx's searchtools.js with our part.
"""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import bindcheck

ROOT = Path(__file__).parent.parent
SITE = ROOT / "build" / "docs"
INDEX = "causes/index"

# What people paste, and the page that must be among the first three.
PASTED = {
    "OSError: [Errno 98] Address already in use": "causes/listener",
    "listen tcp :8080: bind: address already in use": "causes/listener",
    "listen tcp 10.1.2.3:9117: bind: address already in use": "causes/listener",
    "EADDRINUSE": "causes/listener",
    "Error: listen EADDRINUSE: address already in use :::3000": "causes/listener",
    "Port 3000 is already in use": "causes/listener",
    "Port 5173 is in use, trying another one...": INDEX,
    'could not bind IPv4 address "127.0.0.1": Address already in use': INDEX,
    "Bind for 0.0.0.0:8080 failed: port is already allocated": "causes/listener",
    "Failed to bind to address http://127.0.0.1:5000: address already in use.": INDEX,
    "An attempt was made to access a socket in a way forbidden by its access "
    "permissions": "causes/excluded-port-range",
    "Only one usage of each socket address": "causes/listener",
    "[WinError 10048] Only one usage of each socket address (protocol/network "
    "address/port) is normally permitted": "causes/listener",
    "10013": "causes/excluded-port-range",
    "10048": INDEX,
    "listen tcp :80: bind: permission denied": "causes/privileged-port",
    "nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)": (
        "causes/privileged-port"
    ),
    "Cannot assign requested address": "causes/address-not-local",
    "EADDRNOTAVAIL": "causes/address-not-local",
    "AF_UNIX path too long": "causes/path-too-long",
    "Too many open files": "causes/descriptor-limit",
    "TIME_WAIT": "causes/time-wait",
    "excludedportrange": "causes/excluded-port-range",
    "SO_EXCLUSIVEADDRUSE": "warnings",
    "docker-proxy": "owners",
    "airplay": "owners",
    "wait_until_bindable": "api/index",
    # A traceback, as the search box makes one line of it.
    "Traceback (most recent call last): File /home/ada/shop/server.py, line 7, in "
    "<module> main() sock.bind((host, port)) OSError: [Errno 98] Address already in "
    "use": "causes/listener",
    "events.js:292 throw er; // Unhandled 'error' event Error: listen EADDRINUSE: "
    "address already in use 127.0.0.1:8080 at Server.setupListenHandle [as _listen2] "
    "(net.js:1318:16) at listenInCluster (net.js:1366:12)": "causes/listener",
}

# Lines of many programs, and where they may lead besides the index of the causes.
LOG_LINES = ROOT / "tests" / "data" / "lines" / "understood.txt"
PAGES = {
    "EADDRINUSE": {"listener", "datagram", "unix-listener", "stale-socket-file"},
    "EACCES": {"privileged-port", "directory-not-writable", "excluded-port-range"},
    "EADDRNOTAVAIL": {"address-not-local"},
}

# As much of a browser as the search needs.
BROWSER = """
const SPHINX_HIGHLIGHT_ENABLED = false;
const document = { getElementById: () => null };
const window = globalThis;
const _ready = () => {};
const _ = (text) => text;
"""
ASK = """
const pages = queries.map((query) =>
  Search._performSearch(...Search._parseQuery(query)).reverse().map((one) => one[0]));
console.log(JSON.stringify(pages));
"""


class Page(HTMLParser):
    """The anchors of a page, and what it points to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the attributes that are links or anchors."""
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name == "src" or (name == "href" and tag == "link"):
                self.loaded.append(value or "")
            elif name == "href":
                self.links.append(value or "")


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    """Every page of the site."""
    files = sorted(SITE.rglob("*.html"))
    assert files, "`nox -s docs` builds the site"
    return {file: Page(file.read_text("utf-8")) for file in files}


def search(*texts: str) -> list[list[str]]:
    """For each text the first three pages that are shown, the best first."""
    node = shutil.which("node")
    assert node, "needs node (nodejs)"
    scripts = ("_static/searchtools.js", "_static/language_data.js", "searchindex.js")
    parts = [(SITE / one).read_text("utf-8") for one in scripts]
    queries = f"const queries = {json.dumps(texts)};"
    done = subprocess.run(
        [node, "-"],
        input="\n".join((BROWSER, *parts, queries, ASK)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [list(dict.fromkeys(pages))[:3] for pages in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    """The pages that are shown for each text that is pasted."""
    return dict(zip(PASTED, search(*PASTED), strict=True))


@pytest.mark.parametrize("text", PASTED)
def test_pasted_text_leads_to_its_page(text: str, found: dict[str, list[str]]) -> None:
    assert PASTED[text] in found[text]


def test_pasted_lines_of_logs_lead_to_a_cause_or_the_index() -> None:
    """Of lines that say no more than "in use" in some language not all can."""
    lines = [
        (error, line)
        for error, _system, _target, line in (
            row.replace("⏎", " ").split(" ", 3)
            for row in LOG_LINES.read_text("utf-8").splitlines()
            if row and not row.startswith("#")
        )
        if error in PAGES
    ]
    assert len(lines) > 300
    lost = [
        (line, pages)
        for (error, line), pages in zip(
            lines, search(*(line for _, line in lines)), strict=True
        )
        if not {INDEX, *(f"causes/{one}" for one in PAGES[error])} & set(pages)
    ]
    assert len(lost) < 0.05 * len(lines), lost


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    broken = []
    for file, page in pages.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            there = (file.parent / unquote(parts.path)).resolve()
            there = file if not parts.path else there
            known = pages.get(there)
            anchor = unquote(parts.fragment)
            if not there.exists() or (
                anchor and (known is None or anchor not in known.anchors)
            ):
                broken.append(f"{file.relative_to(SITE)}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page]) -> None:
    loaded = [one for page in pages.values() for one in page.loaded]
    for file in SITE.rglob("*.css"):
        loaded += re.findall(r"url\(['\"]?([^)'\"]+)", file.read_text("utf-8"))
    assert {one for one in loaded if re.match(r"(https?:)?//", one)} == set()


def test_every_page_of_the_folder_is_in_the_menu(pages: dict[Path, Page]) -> None:
    made = {file.relative_to(SITE).with_suffix("") for file in pages}
    docs = ROOT / "docs"
    written = {one.relative_to(docs).with_suffix("") for one in docs.rglob("*.md")}
    assert written <= made
    first = pages[SITE / "index.html"]
    paths = {urlsplit(one).path for one in first.links}
    listed = {Path(one.removesuffix(".html")) for one in paths}
    assert written - {Path("index")} <= listed


def test_every_public_name_is_described(pages: dict[Path, Page]) -> None:
    anchors: set[str] = set()
    for file, page in pages.items():
        if file.parent.name == "api":
            anchors |= page.anchors
    assert {f"bindcheck.{one}" for one in bindcheck.__all__} <= anchors


def test_no_sentence_of_a_docstring_is_taken_for_a_type() -> None:
    """A colon in the first line of "Returns:" would end a type."""
    for file in SITE.glob("api/*.html"):
        assert "Return type" not in file.read_text("utf-8"), file.name
