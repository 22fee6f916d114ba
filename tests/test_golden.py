"""Recorded bytes of both byte orders, decoded here and by a program without Python.

tests/data/expected holds what tests/native/decoders.c prints of each file; other
processors must print the same (`nox -s cross`).
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bindcheck._native import ffi, lib
from tests.fuzz.run import DECODERS
from tests.support import needs
from tests.support.golden import DATA, every_file

if TYPE_CHECKING:
    from collections.abc import Iterator

_ffi: Any = ffi
_lib: Any = lib
ROOT = Path(__file__).parent.parent
FILES = sorted(DATA.glob("*/*.bin"))
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")
TCP, UDP = 6, 17
CAPACITY = 64

every = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def expected(file: Path) -> str:
    return (DATA / "expected" / f"{file.stem}.txt").read_text("ascii")


class TestFiles:
    def test_each_is_what_its_generator_makes(self) -> None:
        made = every_file()
        folders = {Path(name).parent.name for name in made}
        there = {
            file.relative_to(DATA).as_posix(): file.read_bytes()
            for file in FILES
            if file.parent.name in folders
        }
        assert there == made

    def test_each_has_its_text(self) -> None:
        texts = {file.stem for file in (DATA / "expected").iterdir()}
        assert texts == {file.stem for file in FILES}

    def test_both_byte_orders_say_the_same(self) -> None:
        pairs = 0
        for file in FILES:
            other = file.with_name(file.name.replace("-le.", "-be."))
            if other != file and other.exists():
                little, big = (
                    expected(one).partition("\n")[2] for one in (file, other)
                )
                assert little == big
                assert file.read_bytes() != other.read_bytes()
                pairs += 1
        assert pairs >= 10


def field_text(name: str, value: Any, row: Any) -> str:
    """One field as the program prints it."""
    kind = _ffi.typeof(value) if isinstance(value, _ffi.CData) else None
    if kind is None:
        return f"{name}={value}"
    if kind.kind == "struct":
        address = bytes(value.address).hex()
        return f"{name}={value.family}/{value.port}/{value.scope_id}/{address}"
    data = bytes(_ffi.buffer(value))
    if hasattr(row, "length"):
        data = data[: row.length]
    return f"{name}={data.hex()}"


def row_text(word: str, row: Any) -> str:
    names = [name for name, _ in _ffi.typeof(row).fields if name != "reserved"]
    fields = (field_text(name, getattr(row, name), row) for name in names)
    return " ".join((word, *fields))


def decoded(file: Path) -> Iterator[str]:
    """What the program prints of a file, made with the compiled module."""
    decoder, variant, order = file.stem.split("-")
    data = file.read_bytes()
    place, big = _ffi.from_buffer("uint8_t[]", data), int(order == "be")
    head: tuple[Any, ...] = (place, len(data))
    protocol = UDP if variant.startswith("udp") else TCP
    count, status = _ffi.new("size_t *"), _ffi.new("bc_decode_status *")
    told, consumed = True, _ffi.new("size_t *")

    def room(kind: str) -> Any:
        return _ffi.new(f"{kind}[]", CAPACITY)

    if decoder == "sock_diag":
        word, rows = "socket", room("bc_socket")
        rest = (big, protocol, 0, rows, CAPACITY, count, status)
        answer = _lib.bc_decode_sock_diag(*head, *rest)
    elif decoder == "pcblist":
        word, rows = "socket", room("bc_socket")
        rest = (big, protocol, 0, rows, CAPACITY, count, status)
        answer = _lib.bc_decode_pcblist(*head, *rest)
    elif decoder == "procnet":
        word, rows = "socket", room("bc_socket")
        family = _lib.BC_FAMILY_INET6 if "6" in variant else _lib.BC_FAMILY_INET
        more = (big, family, protocol, 0, rows, CAPACITY, count, consumed, status)
        answer = _lib.bc_decode_proc_net(*head, *more)
    elif decoder == "unix_diag":
        word, rows = "unix", room("bc_unix_socket")
        answer = _lib.bc_decode_unix_diag(*head, big, rows, CAPACITY, count, status)
    elif decoder == "rtnl_link":
        word, rows = "tunnel", room("bc_tunnel")
        answer = _lib.bc_decode_links(*head, big, rows, CAPACITY, count, status)
    elif decoder == "procstat":
        word, rows, told = "process", room("bc_proc_stat"), False
        answer = _lib.bc_decode_proc_stat(*head, rows)
        count[0] = 1
    elif decoder == "ip_helper":
        word, rows, told = "socket", room("bc_socket"), False
        layout = getattr(_lib, f"BC_TABLE_{variant.upper()}")
        answer = _lib.bc_decode_ip_helper(*head, layout, 0, rows, CAPACITY, count)
    else:
        assert decoder == "port_bitmap"
        word, rows, told = "range", room("bc_port_range"), False
        answer = _lib.bc_decode_port_bitmap(*head, rows, CAPACITY, count)
    yield file.name
    for index in range(count[0]):
        yield row_text(word, rows[index])
    end = f"end status={answer} count={count[0]}"
    if told:
        end += f" requests={status.requests} code={status.code} state={status.state}"
    yield end


# What has no rows of fields, or is no function of the module, the program alone tries.
ROWS = {
    *("sock_diag", "pcblist", "procnet", "unix_diag", "rtnl_link", "procstat"),
    *("port_bitmap", "ip_helper"),
}
with_rows = pytest.mark.parametrize(
    "file",
    [file for file in FILES if file.stem.partition("-")[0] in ROWS],
    ids=lambda file: file.stem,
)


class TestDecoded:
    @with_rows
    def test_by_the_compiled_module(self, file: Path) -> None:
        assert [*decoded(file)] == expected(file).splitlines()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/native/decoders.c with the decoders, compiled for this machine."""
    out = tmp_path_factory.mktemp("native") / "decoders"
    sources = [
        ROOT / "tests" / "native" / "decoders.c",
        *(ROOT / "csrc" / "decode").glob("*.c"),
    ]
    include = f"-I{ROOT / 'csrc'}"
    command = ["cc", *WARNINGS, "-O1", include, "-o", str(out), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return out


@needs("cc")
class TestProgram:
    @every
    def test_prints_what_is_expected(self, program: Path, file: Path) -> None:
        command = [str(program), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == expected(file)

    def test_outlives_cut_and_changed_files(self, program: Path) -> None:
        command = [str(program), "--check", *map(str, FILES)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lengths = sum(2 * (file.stat().st_size + 1 + 500) for file in FILES)
        assert done.stdout == f"decoded {lengths}\n"

    @pytest.mark.parametrize("decoder", DECODERS)
    def test_outlives_what_fuzzing_kept(self, program: Path, decoder: str) -> None:
        files = sorted((DATA / "fuzz" / decoder).iterdir())
        command = [str(program), "--fuzzed", decoder, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        told = sum(file.stat().st_size >= 2 for file in files)
        assert done.stdout == f"decoded {told}\n"
        assert told > 0

    def test_unknown_decoder_is_refused(self, program: Path) -> None:
        command = [str(program), "--fuzzed", "other", str(FILES[0])]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 1

    def test_file_of_no_decoder_is_refused(self, program: Path, tmp_path: Path) -> None:
        file = tmp_path / "other-tcp-le.bin"
        file.write_bytes(b"")
        done = subprocess.run([program, file], capture_output=True, check=False)
        assert done.returncode == 1
