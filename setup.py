"""Only what pyproject.toml cannot express: the extension, and how archives are made.

With SOURCE_DATE_EPOCH set, sdist and wheel are the same bytes wherever they are built.
"""

import gzip
import os
import platform
import sysconfig
import tarfile
import time
from pathlib import Path
from runpy import run_path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

STABLE_ABI = "cp311"  # equal to requires-python in pyproject.toml
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
ABI3 = platform.python_implementation() == "CPython" and not FREE_THREADED

bill = run_path("build_sbom.py")["bill"]


class BuildExt(build_ext):
    """Choose the flags by compiler, not by system: mingw exists."""

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "msvc":
            flags = ["/std:c11", "/utf-8", "/we4013", "/Brepro"]
            for extension in self.extensions:
                extension.extra_link_args.append("/Brepro")
        else:
            flags = ["-std=c11", "-fvisibility=hidden"]
            # Debug information names the folder of the build.
            flags.append(f"-fdebug-prefix-map={Path.cwd()}=.")
        for extension in self.extensions:
            extension.extra_compile_args += flags
        super().build_extensions()


class Wheel(bdist_wheel):
    """Add the bill of materials where PEP 770 has it."""

    def egg2dist(self, egginfo_path: str, distinfo_path: str) -> None:
        super().egg2dist(egginfo_path, distinfo_path)
        folder = Path(distinfo_path, "sboms")
        folder.mkdir()
        write_bill(folder, self.distribution, wheel=True)


class SourceArchive(sdist):
    """Add the bill of materials, and leave out what is the builder's own."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_bill(Path(base_dir), self.distribution, wheel=False)

    def make_distribution(self) -> None:
        super().make_distribution()
        for archive in self.archive_files or ():
            if archive.endswith(".tar.gz"):
                pack_again(Path(archive))


def write_bill(folder: Path, distribution: Distribution, *, wheel: bool) -> None:
    """Write the bill of materials of an archive into its folder."""
    name, text = bill(distribution.get_version(), wheel=wheel)
    (folder / f"{name}.cdx.json").write_text(text, "utf-8", newline="\n")


def pack_again(archive: Path) -> None:
    """Replace times, modes and owners, which are those of who built it."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    again = archive.with_suffix(".again")
    with (
        tarfile.open(archive) as old,
        again.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w") as new,
    ):
        for member in old:
            executable = member.isdir() or member.mode & 0o100
            member.mode = 0o755 if executable else 0o644
            member.mtime = epoch
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.pax_headers = {}  # these repeat the time
            new.addfile(member, old.extractfile(member))
    again.replace(archive)


os.umask(0o022)  # a wheel keeps the modes of its files
setup(
    cffi_modules=["build_ffi.py:ffibuilder"],
    cmdclass={"bdist_wheel": Wheel, "build_ext": BuildExt, "sdist": SourceArchive},
    # A free-threaded build refuses the option, so it is set only where it holds.
    options={"bdist_wheel": {"py_limited_api": STABLE_ABI}} if ABI3 else {},
)
