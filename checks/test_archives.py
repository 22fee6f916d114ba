"""sdist and wheel are the same bytes wherever they are built, and say what they hold.

`nox -s reproducible` runs this. What is built here is what is in the folder, committed
or not; a released archive can be built again from its tag, with the compiler and the
SOURCE_DATE_EPOCH of the release.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parent.parent
EPOCH = 1_700_000_000  # even: zip counts in steps of two seconds
NOT_SOURCE = (".*", "build", "dist", "__pycache__", "*.egg-info", "*.so")
# What builders differ in.
BUILDERS = {
    "a": (0o022, {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"}),
    "another one": (0o077, {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "2"}),
}

Process = subprocess.Popen[str]


class Built(NamedTuple):
    """What one build made, and what it printed."""

    sdist: Path
    wheel: Path
    output: str


def start(folder: Path, umask: int, environment: dict[str, str]) -> Process:
    """Start to build a copy of the sources."""
    copy = folder / "source"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    for name in (".clang-format", ".clang-tidy"):
        shutil.copy(ROOT / name, copy)
    for one in (copy, *copy.rglob("*")):
        one.chmod(one.stat().st_mode & ~umask)
    return subprocess.Popen(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "out"],
        cwd=copy,
        env={**os.environ, **environment, "SOURCE_DATE_EPOCH": str(EPOCH)},
        umask=umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Built]:
    """The archives of each builder."""
    base = tmp_path_factory.mktemp("builds")
    started = [(base / name, start(base / name, *BUILDERS[name])) for name in BUILDERS]
    done = []
    for folder, process in started:
        output, _ = process.communicate()
        assert process.returncode == 0, output
        (sdist,) = (folder / "out").glob("*.tar.gz")
        (wheel,) = (folder / "out").glob("*.whl")
        done.append(Built(sdist, wheel, output))
    return done


def in_sdist(path: Path) -> dict[str, tuple[bytes, Any]]:
    """Return the content of each member, and what else is kept of it."""
    with tarfile.open(path) as archive:
        return {
            one.name: (
                file.read() if (file := archive.extractfile(one)) else b"",
                (one.mtime, oct(one.mode), one.uid, one.uname, one.gid, one.gname),
            )
            for one in archive
        }


def in_wheel(path: Path) -> dict[str, tuple[bytes, Any]]:
    """Return the content of each member, and what else is kept of it."""
    with zipfile.ZipFile(path) as archive:
        return {
            one.filename: (
                archive.read(one),
                (one.date_time, oct(one.external_attr >> 16)),
            )
            for one in archive.infolist()
        }


def bill(members: dict[str, tuple[bytes, Any]], name: str) -> tuple[str, Any]:
    """Return the bill of materials as text, and read."""
    (found,) = [one for one in members if one.endswith(name)]
    text = members[found][0].decode()
    return text, json.loads(text)


def listed_files(document: Any) -> dict[str, str]:
    """Return the files of the compiled module, with their hashes."""
    (native,) = [one for one in document["components"] if "components" in one]
    return {one["name"]: one["hashes"][0]["content"] for one in native["components"]}


@pytest.mark.parametrize(("kind", "read"), [("sdist", in_sdist), ("wheel", in_wheel)])
def test_two_builders_make_the_same_bytes(
    builds: list[Built], kind: str, read: Any
) -> None:
    """Where they do not, the first assertion says what differs."""
    first, second = (getattr(one, kind) for one in builds)
    assert first.name == second.name
    one, other = read(first), read(second)
    assert list(one) == list(other)
    differ = [
        (name, one[name][1], other[name][1]) for name in one if one[name] != other[name]
    ]
    assert differ == []
    assert first.read_bytes() == second.read_bytes()


def test_nothing_is_of_another_time_than_source_date_epoch(builds: list[Built]) -> None:
    assert {kept[0] for _, kept in in_sdist(builds[0].sdist).values()} == {EPOCH}
    times = {kept[0] for _, kept in in_wheel(builds[0].wheel).values()}
    assert times == {(2023, 11, 14, 22, 13, 20)}


def test_bills_of_materials_fit_the_schema(builds: list[Built]) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    place = ".dist-info/sboms/bindcheck.cdx.json"
    for text, document in (
        bill(in_sdist(builds[0].sdist), "/bindcheck.cdx.json"),
        bill(in_wheel(builds[0].wheel), place),
    ):
        assert validator.validate_str(text) is None
        assert document["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
        assert validator.validate_str(text.replace('"SHA-256"', '"SHA-0"'))


def test_sdist_lists_every_file_of_the_c_code(builds: list[Built]) -> None:
    members = in_sdist(builds[0].sdist)
    _, document = bill(members, "/bindcheck.cdx.json")
    packed = {
        name.partition("/")[2]: hashlib.sha256(content).hexdigest()
        for name, (content, _) in members.items()
        if re.search(r"^[^/]*/csrc/.*\.[ch]$", name)
    }
    assert packed == listed_files(document)


def test_wheel_lists_what_was_compiled(builds: list[Built]) -> None:
    """The compiler's command lines say what that is."""
    compiled = set(re.findall(r" -c (csrc/\S+\.c) ", builds[0].output))
    _, document = bill(in_wheel(builds[0].wheel), ".cdx.json")
    listed = listed_files(document)
    assert compiled == {name for name in listed if name.endswith(".c")}
    _, everything = bill(in_sdist(builds[0].sdist), "/bindcheck.cdx.json")
    assert listed.items() <= listed_files(everything).items()
    assert "cffi" in {one["name"] for one in document["components"]}
