"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Holder, in_private_network
from tests.support.capabilities import expected_to_lack, has

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator


_FAULTS = (
    *("churn", "descriptors", "filters", "memory", "netlink", "signals", "vanishing"),
)
# What is about one system is collected there alone.
collect_ignore = [
    f"test_{name}.py"
    for name, system in (
        ("darwin", "darwin"),
        ("darwin_backend", "darwin"),
        ("windows", "win32"),
        *((f"faults_{fault}", "linux") for fault in _FAULTS),
    )
    if sys.platform != system
]
# These import what Windows' Python has not.
if sys.platform == "win32":
    collect_ignore += ["test_held_out_situations.py", "test_resources.py"]
# ASan has an allocator of its own.
if os.environ.get("BINDCHECK_SANITIZED"):
    collect_ignore.append("test_faults_memory.py")
# It builds a program of its own: `nox -s wine`, or with BINDCHECK_WINE=1.
if not os.environ.get("BINDCHECK_WINE"):
    collect_ignore.append("test_wine.py")


@pytest.fixture
def network() -> Iterator[bool]:
    """A network namespace of the test's own, where that can be had."""
    with in_private_network() as private:
        yield private


@pytest.fixture
def make_holder() -> Iterator[Callable[..., Holder]]:
    """Start holders that end with the test."""
    started: list[Holder] = []

    def start(**arguments: Any) -> Holder:
        started.append(Holder(**arguments))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def holder(make_holder: Callable[..., Holder]) -> Holder:
    """One holder in the test's network."""
    return make_holder()


def pytest_configure() -> None:
    """What is said to be missing must be: a skip that nobody needs hides a test."""
    # A shell ignores it for what it starts in the background; the tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for one in expected_to_lack():
        if has(one):
            raise pytest.UsageError(f"BINDCHECK_LACKS names {one!r}, which is here")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Of each long table keep every Nth row, where BINDCHECK_EVERY says so.

    For a machine that is slow: the whole tables run elsewhere.
    """
    step = int(os.environ.get("BINDCHECK_EVERY", "1"))
    rows: dict[str, list[pytest.Item]] = {}
    for one in items:
        rows.setdefault(one.nodeid.partition("[")[0], []).append(one)
    left_out = [
        one
        for table in rows.values()
        if len(table) > _LONG
        for number, one in enumerate(table)
        if number % step
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [one for one in items if one not in gone]


_LONG = 12


def is_expected(report: pytest.TestReport) -> bool:
    """Whether a test was skipped for want of something that is said to be missing."""
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
    needed = reason.removeprefix("Skipped: needs ")
    return needed != reason and not expected_to_lack().isdisjoint(needed.split(", "))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where every capability is said to be there, a skipped test is a failure.

    Except for want of what BINDCHECK_LACKS names.
    """
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("BINDCHECK_REQUIRE_ALL") and not is_expected(report):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report
