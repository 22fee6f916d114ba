"""The workflows test and build what pyproject.toml promises, no more and no less.

These need tools that the test extra does not bring, so `nox -s lint` runs them and
`pytest` alone does not. A tool that is missing is a failure, never a skip.
"""

import os
import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# cp311 builds the abi3 wheel, cp315 only tests it again.
PYTHONS = ("cp311", "cp315", "cp314t", "cp315t")
# The key is what one runner of wheels.yml builds: (platform, archs).
TARGETS = {
    ("linux", "x86_64"): ("manylinux_x86_64", "musllinux_x86_64"),
    ("linux", "aarch64"): ("manylinux_aarch64", "musllinux_aarch64"),
    ("macos", "arm64"): ("macosx_arm64",),
    ("macos", "x86_64"): ("macosx_x86_64",),
    ("windows", "AMD64"): ("win_amd64",),
    ("windows", "ARM64"): ("win_arm64",),
}


def run(tool: str, *arguments: str, **env: str) -> str:
    """Run `tool` from this environment or PATH, and return what it prints."""
    places = [sysconfig.get_path("scripts"), os.environ.get("PATH", "")]
    executable = shutil.which(tool, path=os.pathsep.join(places))
    assert executable, f"needs {tool}; `nox -s lint` installs it"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CIBW_")}
    done = subprocess.run(
        [executable, *arguments],
        cwd=ROOT,
        env=clean | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def jobs(workflow: str) -> dict[str, Any]:
    """Return the jobs of one workflow file."""
    text = (WORKFLOWS / workflow).read_text(encoding="utf-8")
    parsed: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return parsed["jobs"]


def test_wheels_workflow_covers_every_target_once() -> None:
    """Each runner builds one target, and no target lacks a runner."""
    matrix = jobs("wheels.yml")["wheels"]["strategy"]["matrix"]["include"]
    built = [(entry["platform"], entry["archs"]) for entry in matrix]
    assert sorted(TARGETS) == sorted(built)


@pytest.mark.parametrize(("platform", "archs"), TARGETS)
def test_cibuildwheel_selects_exactly_our_builds(platform: str, archs: str) -> None:
    """cibuildwheel reads the same builds from pyproject.toml as we do."""
    printed = run(
        "cibuildwheel",
        "--print-build-identifiers",
        f"--platform={platform}",
        CIBW_ARCHS=archs,
    )
    expected = {f"{py}-{tag}" for py in PYTHONS for tag in TARGETS[platform, archs]}
    assert expected == set(printed.split())


def test_check_job_expects_the_number_of_wheels_that_are_built() -> None:
    """cp315 finds the abi3 wheel of cp311 and adds none."""
    platforms = sum(len(tags) for tags in TARGETS.values())
    steps = jobs("wheels.yml")["check"]["steps"]
    (counted,) = [step["env"]["WHEELS"] for step in steps if "env" in step]
    assert platforms * (len(PYTHONS) - 1) == counted


def test_ci_matrix_equals_the_classifiers_and_the_free_threaded_wheels() -> None:
    """What is tested is what is declared: 3.x by classifier, 3.xt by wheel."""
    python = "Programming Language :: Python :: "
    declared = [
        classifier.removeprefix(python)
        for classifier in PYPROJECT["project"]["classifiers"]
        if classifier.startswith(f"{python}3.")
    ]
    builds = " ".join(PYPROJECT["tool"]["cibuildwheel"]["build"])
    free_threaded = [f"3.{minor}t" for minor in re.findall(r"cp3(\d+)t-", builds)]
    matrix = jobs("ci.yml")["tests"]["strategy"]["matrix"]["python"]
    assert declared + free_threaded == matrix


@pytest.mark.parametrize(
    ("workflow", "last"),
    [("ci.yml", "required-checks-pass"), ("wheels.yml", "publish")],
)
def test_last_job_waits_for_all_others(workflow: str, last: str) -> None:
    """A job that nobody waits for can fail unnoticed."""
    others = set(jobs(workflow))
    needed = set(jobs(workflow)[last]["needs"])
    assert others - {last} == needed


@pytest.mark.parametrize(
    ("job", "builds"),
    [("sdist", "python -m build "), ("wheels", "python -m cibuildwheel ")],
)
def test_archives_are_dated_before_they_are_built(job: str, builds: str) -> None:
    """cibuildwheel takes the variable into its containers."""
    commands = [step.get("run", "") for step in jobs("wheels.yml")[job]["steps"]]
    (built,) = [i for i, one in enumerate(commands) if one.startswith(builds)]
    before = [one for one in commands[:built] if "SOURCE_DATE_EPOCH=$(git log" in one]
    assert len(before) == 1


def test_what_is_published_is_attested_first() -> None:
    """In the same job, so that no file can be changed in between."""
    publish = jobs("wheels.yml")["publish"]
    used = [step["uses"].partition("@")[0] for step in publish["steps"]]
    attested, published = publish["steps"][-2:]
    assert used[-2:] == [
        "actions/attest-build-provenance",
        "pypa/gh-action-pypi-publish",
    ]
    assert attested["with"] == {"subject-path": "dist/*"}
    assert "attestations" not in published.get("with", {})  # they are the default
    assert publish["permissions"] == {"attestations": "write", "id-token": "write"}


def test_zizmor_finds_nothing() -> None:
    """Workflows and dependabot.yml pass the strictest audit."""
    run(
        "zizmor",
        "--offline",
        "--persona=auditor",
        "--strict-collection",
        "--collect=all",
        ".github",
    )
