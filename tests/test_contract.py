"""What must agree with something else: C with Python, words with pages, help with docs."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import bindcheck
from bindcheck import native
from bindcheck._native import ffi, lib
from bindcheck.errors import BindcheckError, StaleExtensionError
from bindcheck.native import rows
from bindcheck.native.process_rows import PROCESS_ROW
from bindcheck.words import CauseCode
from tests.support import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parent.parent
PACKAGE = Path(bindcheck.__file__).parent


def run_python(
    code: str, *, options: tuple[str, ...] = (), arguments: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own, with this bindcheck and nothing preloaded."""
    start = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
    return subprocess.run(
        [sys.executable, *options, "-c", start + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def lines_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a program printed that had no trouble."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


class TestCompiledModule:
    """The C core and what Python believes of it."""

    @staticmethod
    def declared() -> set[str]:
        tree = ast.parse((PACKAGE / "_native.pyi").read_text("utf-8"))
        (declared,) = (
            one
            for one in tree.body
            if isinstance(one, ast.ClassDef) and one.name == "_Lib"
        )
        names = set()
        for one in declared.body:
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                names.add(one.target.id)
            elif isinstance(one, ast.FunctionDef):
                names.add(one.name)
        return names

    def test_types_name_all_that_there_is(self) -> None:
        assert self.declared() == set(dir(lib))

    def test_number_of_parameters_is_that_of_the_types(self) -> None:
        tree = ast.parse((PACKAGE / "_native.pyi").read_text("utf-8"))
        declared = {
            one.name: len(one.args.posonlyargs) - 1  # without self
            for one in ast.walk(tree)
            if isinstance(one, ast.FunctionDef) and one.name.startswith("bc_")
        }
        types: Callable[[Any], Any] = ffi.typeof
        there = {
            name: len(types(getattr(lib, name)).args)
            for name in dir(lib)
            if name.startswith("bc_")
        }
        assert declared == there

    def test_interface_number_is_the_one_in_use(self) -> None:
        assert lib.BC_ABI == native.ABI

    def test_every_number_has_a_word(self) -> None:
        """What C can say of steps, domains, states and protocols, Python can name."""
        tables: dict[str, Mapping[int, object]] = {
            "BC_STEP_": native.STEPS,
            "BC_DOMAIN_": native.DOMAINS,
            "BC_STATE_": rows.STATES,
            "BC_PROTOCOL_": rows.PROTOCOLS,
            "BC_FAMILY_": rows.FAMILIES,
            "BC_OPENED_": rows.OPENED,
            "BC_OPTION_": native.OPTIONS,
        }
        for prefix, table in tables.items():
            numbers = {
                getattr(lib, name): name
                for name in dir(lib)
                if name.startswith(prefix) and not name.endswith(("_NONE", "_UNKNOWN"))
            }
            assert set(table) == set(numbers), prefix
            assert len(set(map(str, table.values()))) == len(numbers), prefix

    @pytest.mark.parametrize(
        ("name", "size"),
        [
            ("bc_error", 8),
            ("bc_endpoint", 24),
            ("bc_probe_request", 56),
            ("bc_socket", 112),
            ("bc_holder", 48),
            ("bc_process", 112),
            ("bc_tunnel", 40),
        ],
    )
    def test_sizes(self, name: str, size: int) -> None:
        assert len(ffi.buffer(ffi.new(f"{name} *"))) == size


class TestRows:
    """The arrays of C are unpacked by formats that are written down beside."""

    LETTERS: ClassVar = {
        "uint64_t": "Q",
        "uint32_t": "I",
        "uint16_t": "H",
        "uint8_t": "B",
        "int32_t": "i",
        "int8_t": "b",
    }

    def parts(self, kind: Any, at: int = 0) -> Iterator[tuple[int, str]]:
        """Where each field is, and how it is unpacked; without those that are reserved."""
        for name, field in kind.fields:
            place, of = at + field.offset, field.type
            if name == "reserved":
                continue
            if of.kind == "struct":
                yield from self.parts(of, place)
            elif of.kind == "array":
                yield place, f"{of.length}s"
            else:
                yield place, self.LETTERS[of.cname]

    def places(self, format_: str) -> list[tuple[int, str]]:
        found, at = [], 0
        for letter in re.findall(r"\d*[a-zA-Z]", format_):
            if not letter.endswith("x"):
                found.append((at, letter))
            at += struct.calcsize(f"={letter}")
        return found

    @pytest.mark.parametrize(
        ("name", "row"),
        [
            ("bc_socket", rows.SOCKET_ROW),
            ("bc_holder", rows.HOLDER_ROW),
            ("bc_process", PROCESS_ROW),
        ],
    )
    def test_formats_are_those_of_the_header(
        self, name: str, row: struct.Struct
    ) -> None:
        kind = ffi.typeof(name)
        assert row.size == len(ffi.buffer(ffi.new(f"{name} *")))
        assert self.places(row.format) == list(self.parts(kind))

    def test_parts_of_those_that_are_alike(self) -> None:
        fields = dict(ffi.typeof("bc_socket").fields)
        port = dict(fields["local"].type.fields)["port"]
        (_, _), (inode, _), _, (local_port, _), (after, _) = self.places(
            rows.ALIKE_ROW.format
        )
        assert rows.ALIKE_ROW.size == rows.SOCKET_ROW.size
        assert inode == fields["inode"].offset
        assert local_port == fields["local"].offset + port.offset
        one = ffi.new("bc_socket *")
        one.state, one.remote.port = 10, 0x0101
        raw = bytes(ffi.buffer(one))[after:]
        assert raw[rows.STATE_AT] == 10
        assert raw[rows.REMOTE_PORT_AT] == b"\1\1"


class TestStaleExtension:
    """A compiled module that was left over from another version."""

    STALE = """
import types, bindcheck._native as real

class Lib:
    BC_ABI = 999
    def __getattr__(self, name):
        return getattr(real.lib, name)

stale = types.ModuleType("bindcheck._native")
stale.ffi, stale.lib, stale.__file__ = real.ffi, Lib(), real.__file__
sys.modules["bindcheck._native"] = stale
sys.modules["bindcheck"]._native = stale
"""

    def test_error_says_what_to_do(self) -> None:
        done = run_python(
            self.STALE
            + """
try:
    import bindcheck.native
except Exception as error:
    print(type(error).__name__)
    print(error)
    import bindcheck
    print(isinstance(error, bindcheck.BindcheckError), isinstance(error, ImportError))
"""
        )
        name, text, kinds = lines_of(done)
        assert (name, kinds) == ("StaleExtensionError", "True True")
        assert lib_file() in text
        assert "interface 999" in text
        assert f"needs {native.ABI}" in text
        assert "pip install" in text

    def test_command_says_it_in_one_line(self) -> None:
        code = "from bindcheck.cli.main import run\nsys.exit(run(['127.0.0.1:0']))"
        done = run_python(self.STALE + code)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("bindcheck: ")
        assert done.stderr.count("\n") == 1
        assert "interface 999" in done.stderr

    def test_error_is_one_of_bindchecks_own(self) -> None:
        assert issubclass(StaleExtensionError, BindcheckError)
        assert issubclass(StaleExtensionError, ImportError)


def lib_file() -> str:
    """The path of the compiled module."""
    from bindcheck import _native

    return str(_native.__file__)


class TestPublicNames:
    """The names that `import bindcheck` offers, and what that costs."""

    @pytest.mark.parametrize("name", bindcheck.__all__)
    def test_name_can_be_imported(self, name: str) -> None:
        done = run_python(f"from bindcheck import {name}\nprint({name!r})")
        assert lines_of(done) == [name]

    def test_names_are_sorted_and_listed(self) -> None:
        assert bindcheck.__all__ == sorted(bindcheck.__all__)
        assert set(bindcheck.__all__) <= set(dir(bindcheck))
        done = run_python("from bindcheck import *\nprint(*sorted(globals()))")
        (line,) = lines_of(done)
        assert set(bindcheck.__all__) <= set(line.split())

    def test_types_and_names_agree(self) -> None:
        """Type checkers see the names that are loaded when they are first used."""
        tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
        imported = {
            name.name
            for one in ast.walk(tree)
            if isinstance(one, ast.ImportFrom)
            for name in one.names
        }
        assert set(bindcheck.__all__) <= imported

    def test_other_names_are_attribute_errors(self) -> None:
        with pytest.raises(AttributeError, match="no_such_name"):
            bindcheck.no_such_name  # noqa: B018

    def test_import_loads_nothing_else(self) -> None:
        done = run_python(
            "before = set(sys.modules)\n"
            "import bindcheck\n"
            "print(*sorted(set(sys.modules) - before))",
            options=("-S",),
        )
        assert lines_of(done) == ["bindcheck bindcheck._version"]

    def test_import_opens_only_its_own_files(self) -> None:
        done = run_python(
            """
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args)))
import bindcheck
for event, args in list(seen):
    # What importing itself does: look for files, and load compiled code.
    if event in ("import", "os.listdir", "compile", "exec", "marshal.loads"):
        continue
    print(event, args[0])
""",
            options=("-S",),
        )
        for line in lines_of(done):
            event, _, path = line.partition(" ")
            assert event == "open"
            assert Path(path).is_relative_to(PACKAGE)

    @needs("socket tables")
    def test_first_use_loads_neither_printing_nor_parsing(self) -> None:
        done = run_python(
            f"sys.path.append({str(cffi_folder())!r})\n"
            "import bindcheck\n"
            "bindcheck.diagnose('127.0.0.1:0')\n"
            "bindcheck.probe('127.0.0.1:0')\n"
            "bindcheck.sockets(port=1)\n"
            "heavy = {'psutil', 'rich', 'argparse', 'json', 'socket', 'dataclasses',"
            " 'inspect', 'typing', 'subprocess', 'asyncio', 'ipaddress', 'logging'}\n"
            "print(*sorted(heavy & set(sys.modules)))",
            options=("-S",),
        )
        assert lines_of(done) == [""]


def cffi_folder() -> Path:
    """Where the compiled module's own run-time library is."""
    spec = importlib.util.find_spec("_cffi_backend")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


class TestCauses:
    """Every cause is explained to people, and seen by a test."""

    def test_every_cause_has_a_page_and_every_page_a_cause(self) -> None:
        pages = {file.stem for file in (ROOT / "docs" / "causes").glob("*.md")}
        assert pages - {"index"} == {one.value for one in CauseCode}

    @pytest.mark.parametrize("code", CauseCode)
    def test_cause_is_in_a_test(self, code: CauseCode) -> None:
        name = re.compile(rf"\bCauseCode\.{code.name}\b")
        texts = (file.read_text("utf-8") for file in ROOT.glob("tests/**/*.py"))
        assert any(name.search(text) for text in texts)


class TestPackaging:
    """What is installed, and what is said about it."""

    def test_every_folder_with_code_is_a_package(self) -> None:
        folders = {file.parent for file in PACKAGE.rglob("*.py")}
        assert {one for one in folders if not (one / "__init__.py").exists()} == set()
        names = {
            ".".join(one.relative_to(PACKAGE.parent).parts) for one in sorted(folders)
        }
        assert len(names) >= 4
        if importlib.util.find_spec("setuptools") is not None:
            from setuptools import find_packages

            where = str(PACKAGE.parent)
            include = ("bindcheck", "bindcheck.*")
            assert names == set(find_packages(where=where, include=include))

    def test_data_files_are_there(self) -> None:
        for name in ("py.typed", "schema.json", "_native.pyi"):
            assert (PACKAGE / name).is_file(), name

    def test_version_is_the_newest_in_the_changelog(self) -> None:
        text = (ROOT / "CHANGELOG.md").read_text("utf-8")
        headings = re.findall(r"^## \[?v?([^\]\s]+)", text, re.MULTILINE)
        released = [one for one in headings if one.lower() != "unreleased"]
        assert released[:1] == [bindcheck.__version__]

    def test_readme_shows_the_help(self) -> None:
        text = (ROOT / "README.md").read_text("utf-8")
        _, marker, rest = text.partition("\n<!-- help -->\n")
        assert marker, "README.md has no line <!-- help -->"
        block = re.match(r"\s*```[^\n]*\n(.*?)```", rest, re.DOTALL)
        assert block, "no fenced block follows <!-- help -->"
        done = subprocess.run(
            [sys.executable, "-m", "bindcheck", "--help"],
            capture_output=True,
            text=True,
            check=True,
            # argparse wraps to the width of the terminal.
            env={**os.environ, "COLUMNS": "80"},
        )
        assert block[1] == done.stdout
