"""Windows and macOS, as their documents describe them, diagnosed on any system."""

from __future__ import annotations

import json
import os
import re
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
from bindcheck.words import CauseCode, Sharing, Trait, Verdict, WarningCode
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
    kept = recording.dumps(seen, system.context(), commands=True)
    agrees(DATA / f"{case.name}.json", kept)


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_recording_is_told_as_text_and_json(case: Case) -> None:
    """Alone from the file, as it would be from somebody's own machine."""
    report = told(case.name)
    agrees(DATA / f"{case.name}.txt", text_of(report))
    answer = {**to_dict(report), "version": None}
    agrees(DATA / f"{case.name}.report.json", json.dumps(answer, indent=1) + "\n")


SHOWN = re.compile(r"<!-- shown: ([\w-]+) -->\n```text\n(.*?)```", re.DOTALL)
DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(*found.groups(), id=f"{file.stem}-{found[1]}")
        for file in sorted(DOCS.rglob("*.md"))
        for found in SHOWN.finditer(file.read_text("utf-8"))
    ],
)
def test_documentation_shows_what_is_said(name: str, text: str) -> None:
    assert text == (DATA / f"{name}.txt").read_text("utf-8")


def test_nothing_else_is_kept() -> None:
    names = {case.name for case in CASES}
    kept = {file.name.partition(".")[0] for file in DATA.iterdir()}
    assert kept == names


# Verdict and best cause of each, by those who know the systems; written by hand.
EXPECTED: dict[str, tuple[Verdict, CauseCode | None]] = {
    "windows-listener": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-specific-beside-wildcard": (Verdict.BINDABLE, None),
    "windows-specific-below-exclusive": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-reuse-against-exclusive": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-reuse-against-default": (Verdict.UNKNOWN, CauseCode.LISTENER),
    "windows-other-user": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-hijack": (Verdict.UNKNOWN, CauseCode.LISTENER),
    "windows-free": (Verdict.BINDABLE, None),
    "windows-free-exclusive": (Verdict.BINDABLE, None),
    "windows-both-options": (Verdict.BLOCKED, CauseCode.OPTION_CONFLICT),
    "windows-dead-pid-child-keeps-it": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-reused-pid": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-dead-pid-nobody": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-docker": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-wslrelay": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-http-sys": (Verdict.BLOCKED, CauseCode.RESERVED_BY_SYSTEM),
    "windows-http-sys-forbidden": (Verdict.BLOCKED, CauseCode.RESERVED_BY_SYSTEM),
    "windows-file-sharing": (Verdict.BLOCKED, CauseCode.RESERVED_BY_SYSTEM),
    "windows-internet-sharing": (Verdict.BLOCKED, CauseCode.DATAGRAM),
    "windows-port-proxy": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-one-of-several-services": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-excluded-range": (Verdict.BLOCKED, CauseCode.EXCLUDED_PORT_RANGE),
    "windows-excluded-administered": (Verdict.BLOCKED, CauseCode.EXCLUDED_PORT_RANGE),
    "windows-forbidden-single-port": (Verdict.BLOCKED, CauseCode.RESERVED_BY_SYSTEM),
    "windows-broadcast": (Verdict.BLOCKED, CauseCode.BROADCAST_ADDRESS),
    "windows-foreign-address": (Verdict.BLOCKED, CauseCode.ADDRESS_NOT_LOCAL),
    "windows-time-wait-exclusive": (Verdict.BLOCKED, CauseCode.TIME_WAIT),
    "windows-time-wait": (Verdict.BINDABLE, None),
    "windows-bound": (Verdict.BLOCKED, CauseCode.BOUND),
    "windows-localhost-shadowed": (Verdict.BINDABLE, None),
    "windows-bare-port": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-unix-volume-without": (
        Verdict.BLOCKED,
        CauseCode.FILESYSTEM_WITHOUT_SOCKETS,
    ),
    "windows-no-port-left": (Verdict.BLOCKED, CauseCode.EPHEMERAL_PORTS_EXHAUSTED),
    "windows-no-memory": (Verdict.BLOCKED, CauseCode.NO_MEMORY),
    "macos-no-port-left": (Verdict.BLOCKED, CauseCode.EPHEMERAL_PORTS_EXHAUSTED),
    "windows-unix-invalid": (Verdict.BLOCKED, CauseCode.FILESYSTEM_WITHOUT_SOCKETS),
    "windows-unix-unsupported": (Verdict.BLOCKED, CauseCode.PROTOCOL_UNAVAILABLE),
    "windows-unix-taken": (Verdict.BLOCKED, CauseCode.STALE_SOCKET_FILE),
    "macos-unix-shared-folder": (
        Verdict.BLOCKED,
        CauseCode.FILESYSTEM_WITHOUT_SOCKETS,
    ),
    "macos-listener": (Verdict.BLOCKED, CauseCode.LISTENER),
    "macos-specific-below-wildcard": (Verdict.CONDITIONAL, CauseCode.LISTENER),
    "macos-specific-below-wildcard-reuseaddr": (Verdict.BINDABLE, None),
    "macos-time-wait": (Verdict.CONDITIONAL, CauseCode.TIME_WAIT),
    "macos-airplay": (Verdict.BLOCKED, CauseCode.LISTENER),
    "macos-airplay-below": (Verdict.BINDABLE, None),
    "macos-launchd": (Verdict.BLOCKED, CauseCode.LISTENER),
    "macos-other-user": (Verdict.BLOCKED, CauseCode.LISTENER),
    "macos-dead-pid-udp": (Verdict.BLOCKED, CauseCode.DATAGRAM),
    "macos-inherited": (Verdict.BLOCKED, CauseCode.LISTENER),
    "macos-docker": (Verdict.BLOCKED, CauseCode.LISTENER),
    "macos-privileged": (Verdict.BLOCKED, CauseCode.PRIVILEGED_PORT),
    "macos-privileged-wildcard": (Verdict.BINDABLE, None),
    "macos-loopback-alias": (Verdict.BLOCKED, CauseCode.ADDRESS_NOT_LOCAL),
    "macos-foreign-address": (Verdict.BLOCKED, CauseCode.ADDRESS_NOT_LOCAL),
    "macos-restricted-port": (Verdict.BLOCKED, CauseCode.RESERVED_BY_SYSTEM),
    "macos-network-framework": (Verdict.BLOCKED, CauseCode.LISTENER),
    "macos-multicast": (Verdict.BLOCKED, CauseCode.INVALID_ARGUMENT),
    "macos-sandbox": (Verdict.BLOCKED, CauseCode.SANDBOX),
    "macos-reuseport-twins": (Verdict.BINDABLE, None),
    "macos-outgoing": (Verdict.CONDITIONAL, CauseCode.OUTGOING_CONNECTION),
    "macos-localhost-shadowed": (Verdict.BINDABLE, None),
    "macos-dual-stack": (Verdict.BLOCKED, CauseCode.LISTENER),
    "macos-dual-stack-comes-second": (Verdict.BINDABLE, None),
    "macos-foreign-address-below-wildcard": (
        Verdict.BLOCKED,
        CauseCode.ADDRESS_NOT_LOCAL,
    ),
    "macos-privileged-below-wildcard": (Verdict.BLOCKED, CauseCode.PRIVILEGED_PORT),
    "macos-mapped-twin": (Verdict.BLOCKED, CauseCode.LISTENER),
    "macos-unix-live": (Verdict.BLOCKED, CauseCode.UNIX_LISTENER),
    "macos-unix-stale": (Verdict.BLOCKED, CauseCode.STALE_SOCKET_FILE),
    "windows-foreign-address-below-wildcard": (
        Verdict.BLOCKED,
        CauseCode.ADDRESS_NOT_LOCAL,
    ),
    "windows-every-port-refused": (Verdict.BLOCKED, CauseCode.RESERVED_BY_SYSTEM),
    "windows-reused-pid-with-children": (Verdict.BLOCKED, CauseCode.LISTENER),
    "windows-key-isolation": (Verdict.BLOCKED, CauseCode.LISTENER),
}


def told(name: str) -> Report:
    """The report of a kept recording."""
    context, seen = recording.loads((DATA / f"{name}.json").read_bytes())
    return Report(context=context, results=tuple(conclude(one) for one in seen))


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_verdict_and_cause_are_right(case: Case) -> None:
    verdict, code = EXPECTED[case.name]
    for found in told(case.name):
        assert found.verdict is verdict
        assert (found.causes[0].code if found.causes else None) is code


@pytest.mark.parametrize(
    ("name", "sharing"),
    [
        ("windows-specific-below-exclusive", Sharing.EXCLUSIVE),
        ("windows-reuse-against-exclusive", Sharing.EXCLUSIVE),
        ("windows-other-user", Sharing.OTHER_UID),
        ("windows-listener", Sharing.NOT_REQUESTED),
        ("macos-other-user", Sharing.OTHER_UID),
    ],
)
def test_why_it_is_not_shared(name: str, sharing: Sharing) -> None:
    (found,) = told(name)
    assert [one.sharing for one in found.blockers] == [sharing]


@pytest.mark.parametrize(
    ("name", "pids", "traits"),
    [
        ("windows-dead-pid-child-keeps-it", [778], [Trait.INHERITED]),
        ("windows-reused-pid", [778], [Trait.INHERITED]),
        ("windows-dead-pid-nobody", [], []),
        ("windows-docker", [6000], [Trait.CONTAINER_PROXY]),
        ("windows-wslrelay", [6001], [Trait.CONTAINER_PROXY]),
        ("windows-internet-sharing", [1200], [Trait.SERVICE]),
        ("macos-inherited", [778], [Trait.INHERITED]),
        ("macos-docker", [6000], [Trait.CONTAINER_PROXY]),
        ("macos-launchd", [1], [Trait.SOCKET_ACTIVATION]),
    ],
)
def test_owner_is_who_has_it(name: str, pids: list[int], traits: list[Trait]) -> None:
    (found,) = told(name)
    (blocker,) = found.blockers
    assert [one.pid for one in blocker.owner.processes] == pids
    assert list(blocker.owner.traits) == traits


# What must never be ended, and by which names.
SPARED = [
    *("windows-http-sys", "windows-http-sys-forbidden", "windows-file-sharing"),
    *("windows-docker", "windows-wslrelay", "windows-internet-sharing"),
    *("windows-port-proxy", "windows-one-of-several-services", "macos-launchd"),
    *("windows-dead-pid-nobody", "macos-airplay", "macos-docker", "macos-other-user"),
]


@pytest.mark.parametrize("name", SPARED)
def test_nobody_is_ended_who_only_stands_for_others(name: str) -> None:
    for found in told(name):
        for cause in found.causes:
            for remedy in cause.remedies:
                words = remedy.command or ()
                assert not {"kill", "taskkill", "Stop-Process"} & set(words)


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_nobody_is_sent_to_become_administrator_for_10013(case: Case) -> None:
    text = text_of(told(case.name)).casefold()
    assert "run as administrator" not in text


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_words_are_those_of_the_system(case: Case) -> None:
    """No command or setting of Linux is named to others."""
    text = text_of(told(case.name))
    assert not re.search(r"systemctl|net\.ipv4|/proc|setcap|ip_local|CAP_|ulimit", text)


def test_hijack_is_warned_of_unless_exclusive() -> None:
    codes = {
        name: [one.code for one in told(name).results[0].warnings]
        for name in ("windows-free", "windows-free-exclusive")
    }
    assert codes == {
        "windows-free": [WarningCode.HIJACKABLE],
        "windows-free-exclusive": [],
    }
