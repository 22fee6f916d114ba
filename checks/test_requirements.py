"""What CI installs is pinned by hash in .github/requirements, and fits pyproject.toml.

Nothing is asked of an index here: that the files name every package which a package
needs is what pip checks where it installs them, since it is told --require-hashes.
"""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / ".github" / "requirements"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CI = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
PYTHONS = CI["jobs"]["tests"]["strategy"]["matrix"]["python"]
# What packages ask of a system in their markers.
SYSTEMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
)
SAFE = ("--require-hashes", "--no-index")
PIN = re.compile(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; .+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group and of those that it includes."""
    found: list[str] = []
    for one in PYPROJECT["dependency-groups"][name]:
        found += [one] if isinstance(one, str) else group(one["include-group"])
    return found


def wanted() -> dict[str, list[str]]:
    """Return for each file what pyproject.toml asks for."""
    project = PYPROJECT["project"]
    return {
        "build": PYPROJECT["build-system"]["requires"],
        "run": project["dependencies"],
        "test": project["optional-dependencies"]["test"],
        **{name: group(name) for name in PYPROJECT["dependency-groups"]},
    }


def pins(name: str) -> list[Requirement]:
    """Return what a file pins; a line that is anything else is an error."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    found = []
    for entry in re.split(r"\n(?! )", text.rstrip("\n")):
        if entry.startswith("#"):
            continue
        pin, *hashes = entry.split(" \\\n    ")
        assert PIN.fullmatch(pin), f"{name}.txt: {entry}"
        assert hashes, f"{name}.txt: {entry}"
        assert all(HASH.fullmatch(one) for one in hashes), f"{name}.txt: {entry}"
        found.append(Requirement(pin))
    return found


def environments() -> list[dict[str, str]]:
    """Return the markers of each environment that CI tests."""
    versions = dict.fromkeys(one.removesuffix("t") for one in PYTHONS)
    cpython = {
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    return [
        {"python_version": one, "python_full_version": f"{one}.9", **cpython, **system}
        for one in versions
        for system in SYSTEMS
    ]


def applies(requirement: Requirement, environment: dict[str, Any]) -> bool:
    """Whether an environment needs it."""
    return not requirement.marker or requirement.marker.evaluate(environment)


def test_every_environment_has_a_file_and_every_file_an_environment() -> None:
    assert set(wanted()) == {file.stem for file in LOCKS.iterdir()}


@pytest.mark.parametrize("name", wanted())
def test_every_requirement_is_pinned_once_at_an_allowed_version(name: str) -> None:
    """For each Python and each system of the matrix."""
    pinned = pins(name)
    for environment in environments():
        there = [one for one in pinned if applies(one, environment)]
        names = [one.name for one in there]
        assert len(set(names)) == len(names), environment
        versions = {one.name: str(one.specifier).removeprefix("==") for one in there}
        for text in wanted()[name]:
            asked = Requirement(text)
            if applies(asked, environment):
                version = versions[canonicalize_name(asked.name)]
                assert asked.specifier.contains(version), (text, version, environment)


def test_files_agree_so_that_they_can_be_installed_together() -> None:
    for environment in environments():
        versions: dict[str, set[str]] = {}
        for name in wanted():
            for one in pins(name):
                if applies(one, environment):
                    versions.setdefault(one.name, set()).add(str(one.specifier))
        assert {k: v for k, v in versions.items() if len(v) > 1} == {}


@pytest.mark.parametrize(
    "file",
    [
        ".ci/run",
        ".github/workflows/ci.yml",
        ".github/workflows/wheels.yml",
        "pyproject.toml",
    ],
)
def test_nothing_is_installed_that_has_no_hash(file: str) -> None:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    found = [one for one in lines if re.search(r"pip3?\"? install", one)]
    assert found
    assert [one for one in found if not any(safe in one for safe in SAFE)] == []


def test_no_session_installs_what_has_no_hash() -> None:
    """Sessions install by functions that say so; none builds in isolation."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    strings = [
        {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple | ast.Call)
    ]
    installs = [one for one in strings if {"pip", "install"} <= one]
    assert installs
    assert [one for one in installs if not one & set(SAFE)] == []
    methods = {one.attr for one in ast.walk(tree) if isinstance(one, ast.Attribute)}
    assert not methods & {"install", "conda_install", "install_and_run_script"}
    builds = [one for one in strings if {"-m", "build"} <= one]
    assert builds
    assert all("--no-isolation" in one for one in builds)
