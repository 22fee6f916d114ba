"""Describe what the archives hold: a bill of materials in CycloneDX's JSON.

The wheel carries it as PEP 770 says. It has no serial number and no time but
SOURCE_DATE_EPOCH, so that the same sources give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from runpy import run_path
from typing import Any

import cffi

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

c_files = run_path(str(CSRC / "sources.py"))["c_files"]


def compiled() -> list[Path]:
    """Return the C files of this system, and the headers beside them."""
    files: list[Path] = c_files(sys.platform)
    folders = {file.parent for file in files}
    return files + [header for one in folders for header in one.glob("*.h")]


def packed() -> list[Path]:
    """Return the C files and headers of every system."""
    return [*CSRC.rglob("*.c"), *CSRC.rglob("*.h")]


def described(file: Path) -> dict[str, Any]:
    """Return a file as a component."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    hashes = [{"alg": "SHA-256", "content": digest}]
    return {"type": "file", "name": file.relative_to(ROOT).as_posix(), "hashes": hashes}


def bill(version: str, *, wheel: bool) -> tuple[str, str]:
    """Return the project's name, and what this system's wheel or the sdist holds."""
    name, licence = PROJECT["name"], [{"expression": PROJECT["license"]}]
    whole = f"pkg:pypi/{name}@{version}"
    maker = f"pkg:pypi/cffi@{cffi.__version__}"
    core = f"{name}._native"
    files = sorted(compiled() if wheel else packed())
    metadata: dict[str, Any] = {
        "lifecycles": [{"phase": "build" if wheel else "pre-build"}],
        "component": {
            "type": "library",
            "bom-ref": whole,
            "name": name,
            "version": version,
            "purl": whole,
            "licenses": licence,
        },
    }
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        time = datetime.fromtimestamp(int(epoch), UTC)
        metadata["timestamp"] = time.isoformat().replace("+00:00", "Z")
    native = {
        "type": "library",
        "bom-ref": core,
        "name": core,
        "version": version,
        "description": "The compiled module, whose C code is the project's own.",
        "licenses": licence,
        "components": [described(file) for file in files],
    }
    generator = {
        "type": "library",
        "bom-ref": maker,
        "name": "cffi",
        "version": cffi.__version__,
        "purl": maker,
        "description": (
            "Wrote a part of the compiled module, with headers of its own. At run time "
            "the module needs cffi's _cffi_backend, which is not in here."
        ),
    }
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": [native, generator] if wheel else [native],
        "dependencies": [
            {"ref": whole, "dependsOn": [core]},
            {"ref": core, "dependsOn": [maker] if wheel else []},
        ],
    }
    return name, json.dumps(document, indent=1) + "\n"
