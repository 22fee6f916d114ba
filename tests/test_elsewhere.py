"""Windows and macOS, as their documents describe them, diagnosed on any system."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bindcheck import recording
from bindcheck.conclusion import conclude
from bindcheck.examination import examine
from bindcheck.jsonform import to_dict
from bindcheck.model import Options, Report
from bindcheck.observe import Observer
from bindcheck.render import report_lines, wrap
from bindcheck.target import parse
from tests.support.elsewhere_cases import CASES, Case

if TYPE_CHECKING:
    from bindcheck.model import Examination
    from tests.support.simulated import Simulated

DATA = Path(__file__).parent / "data" / "elsewhere"
REWRITE = bool(os.environ.get("BINDCHECK_REWRITE"))


def examined(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> tuple[Simulated, tuple[Examination, ...]]:
    """Let the product examine a simulated system."""
    system = case.make()
    with monkeypatch.context() as patched:
        system.install(patched)
        options = Options(**case.options)
        observer = Observer()
        seen = examine(parse(case.target), options, observer, deadline=0.0)
        return system, tuple(seen)


def report_of(system: Simulated, seen: tuple[Examination, ...]) -> Report:
    return Report(
        context=system.context(), results=tuple(conclude(one) for one in seen)
    )


def text_of(report: Report) -> str:
    lines = report_lines(report, verbose=True)
    return "".join(f"{row}\n" for line in lines for row in wrap(line, 80))


def agrees(file: Path, text: str) -> None:
    """Compare with what was kept; BINDCHECK_REWRITE=1 keeps what is said now."""
    if REWRITE:
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_what_is_seen_is_what_was_recorded(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, seen = examined(case, monkeypatch)
    told = recording.dumps(seen, system.context(), commands=True)
    agrees(DATA / f"{case.name}.json", told)


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_recording_is_told_as_text_and_json(case: Case) -> None:
    """Alone from the file, as it would be from somebody's own machine."""
    context, seen = recording.loads((DATA / f"{case.name}.json").read_bytes())
    report = Report(context=context, results=tuple(conclude(one) for one in seen))
    agrees(DATA / f"{case.name}.txt", text_of(report))
    answer = {**to_dict(report), "version": None}
    agrees(DATA / f"{case.name}.report.json", json.dumps(answer, indent=1) + "\n")


def test_nothing_else_is_kept() -> None:
    names = {case.name for case in CASES}
    kept = {file.name.partition(".")[0] for file in DATA.iterdir()}
    assert kept == names
