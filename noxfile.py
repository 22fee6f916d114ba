"""Every check of the project, each in an environment of its own.

`nox` alone runs what a change needs before it is proposed; `nox -l` lists the rest.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from runpy import run_path

import nox

nox.needs_version = ">=2026.4"
nox.options.sessions = ["lint", "types", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")

FILES = run_path("csrc/sources.py")
COMPILERS = {
    "cc": sys.platform,
    "clang": sys.platform,
    "x86_64-w64-mingw32-gcc": "win32",
}
# Only for this compile of csrc alone: cffi's generated file would not pass.
STRICT = (
    *("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion"),
    *("-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Werror"),
    *("-fsyntax-only", "-Icsrc"),
)
# Most random situations are judged by `tests` and `situations`.
FEW_SITUATIONS = {"BINDCHECK_SITUATIONS": "200"}
NOBODY = "65534"
# What an ordinary user has not, and what a kernel of 2022 has not: a test that needs
# anything else is not skipped where BINDCHECK_REQUIRE_ALL is set.
NOT_WITHOUT_ROOT = "root, network namespaces, cgroup BPF"
NOT_IN_6_1 = "Landlock for the network, io_uring that names its files"
# What is about text and bytes, which every kernel leaves as they are, and what measures
# how much traffic an interpreted processor can carry.
ANY_KERNEL = (
    *("command", "contract", "decoders", "error_text", "harmless", "holder_decoders"),
    *("leaks", "real_servers", "recording", "redirections", "sanitize", "schema"),
    *("target", "unix_decoder"),
)
# Hundreds of sockets or addresses for one test.
TOO_MANY = ("many_addresses", "bind_bhash")
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"


@nox.session
def tests(session: nox.Session) -> None:
    """Install the package and run its tests; arguments go to pytest."""
    session.install(".[test]")
    session.run("pytest", "tests", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, spelling, metadata, the C warnings and the workflows."""
    install_group(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("validate-pyproject", "pyproject.toml")
    code = sorted(str(file) for file in Path("csrc").rglob("*.[ch]"))
    session.run("clang-format", "--dry-run", "--Werror", *code)
    for compiler, system in COMPILERS.items():
        if shutil.which(compiler):
            session.run(compiler, *STRICT, *c_files(system), external=True)
        elif os.environ.get("CI"):
            session.error(f"{compiler} is not installed, and CI must use it")
        else:
            session.warn(f"SKIPPED: {compiler} is not installed")
    analysed = c_files(sys.platform)
    session.run("clang-tidy", "--quiet", *analysed, "--", "-std=c11", "-Icsrc")
    session.run("pytest", "-p", "no:cacheprovider", "checks")


@nox.session
def types(session: nox.Session) -> None:
    """Type-check what each system would run."""
    session.install(".[test]")  # for the types of what the code and its tests import
    install_group(session, "types")
    session.run("mypy", "--platform", "linux")
    # The tests make real situations of Linux; the package is for every system.
    for system in ("darwin", "win32"):
        session.run("mypy", "--platform", system, "pybind", "build_ffi.py", "setup.py")


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the whole test suite with the C code under ASan and UBSan (Linux)."""
    install_group(session, "package")
    # CPython builds extensions with -DNDEBUG: without -UNDEBUG assert() is dead.
    flags = f"{SANITIZERS} -fno-omit-frame-pointer -O1 -g -UNDEBUG"
    with tempfile.TemporaryDirectory() as out:
        built = build(session, Path(out), CFLAGS=flags, LDFLAGS=flags)
        session.install(f"{built}[test]")
    # The interpreter is not instrumented, so the run-time libraries are preloaded,
    # and what it does not free when it ends is not our leak.
    libraries = [gcc_library(session, f"lib{name}.so") for name in ("asan", "ubsan")]
    environment = {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "BINDCHECK_SANITIZED": "1",  # for tests that measure memory
        **FEW_SITUATIONS,
    }
    # Captured at the descriptor, the report of a crash would die with the process.
    session.run("pytest", "--capture=sys", "tests", *session.posargs, env=environment)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build as a release does, and test the wheel where there is no source."""
    install_group(session, "package")
    with tempfile.TemporaryDirectory() as tmp:
        built = build(session, Path(tmp, "dist"))
        session.run("check-wheel-contents", str(built))
        if not sysconfig.get_config_var("Py_GIL_DISABLED"):
            if "-cp311-abi3-" not in built.name:
                session.error(f"{built.name} is not tagged cp311-abi3")
            session.run("abi3audit", "--strict", str(built))

        # A second environment: this one holds more than the test extra asks for.
        session.run("python", "-m", "venv", f"{tmp}/venv")
        scripts = "Scripts" if sys.platform == "win32" else "bin"
        python = (f"{tmp}/venv/{scripts}/python", "-m")
        session.run(*python, "pip", "install", "-q", f"{built}[test]", external=True)
        elsewhere = Path(tmp, "tests")
        elsewhere.mkdir()
        for name in PYPROJECT["tool"]["cibuildwheel"]["test-sources"]:
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy
            copy(name, elsewhere / name)
        with session.chdir(elsewhere):
            pytest = (*python, "pytest", "tests", *session.posargs)
            session.run(*pytest, env=FEW_SITUATIONS, external=True)


@nox.session
def unprivileged(session: nox.Session) -> None:
    """Run the tests as an ordinary user, and as root of a user namespace (Linux)."""
    with tempfile.TemporaryDirectory() as tmp:
        user: tuple[str, ...] = ()
        if os.geteuid() == 0:
            ids = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            user = ("setpriv", *ids, "env", f"HOME={tmp}/home", f"TMPDIR={tmp}/home")
        Path(tmp).chmod(0o755)
        home = Path(tmp, "home")
        home.mkdir()
        for name in PYPROJECT["tool"]["cibuildwheel"]["test-sources"]:
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy
            copy(name, home / name)
        for one in (home, *home.rglob("*")) if user else ():
            os.chown(one, int(NOBODY), int(NOBODY))
        # Where nobody may read it: neither this environment nor its interpreter may be.
        base = readable_python(session, user)
        session.run(base, "-m", "venv", f"{tmp}/venv", external=True)
        python = (f"{tmp}/venv/bin/python", "-m")
        session.run(*python, "pip", "install", "-q", ".[test]", external=True)
        pytest = (*python, "pytest", "tests", *session.posargs)
        lacks = {"BINDCHECK_LACKS": NOT_WITHOUT_ROOT}
        with session.chdir(home):
            session.run(*user, *pytest, env=lacks, external=True)
            # Servers that give up their rights cannot where there is a single uid.
            less = without(*(name for name in ANY_KERNEL if name != "command"))
            namespace = (*user, "unshare", "--user", "--map-root-user")
            session.run(*namespace, *pytest, *less, env=lacks, external=True)


@nox.session
def oldkernel(session: nox.Session) -> None:
    """Run what the kernel decides on Debian 12's own 6.1, in QEMU (Debian, root)."""
    session.install(".[test]", "virtme-ng>=1.42")
    fewer = " and ".join(f"not {name}" for name in TOO_MANY)
    chosen = session.posargs or ("-v", "-k", fewer, "tests", *without(*ANY_KERNEL))
    environment = {
        "BINDCHECK_SITUATIONS": "40",
        "BINDCHECK_EVERY": "9",
        "BINDCHECK_LACKS": NOT_IN_6_1,
    }
    session.run("python", "checks/old_kernel.py", *chosen, env=environment)


@nox.session
def wine(session: nox.Session) -> None:
    """Build the C core for Windows with mingw-w64 and ask it under Wine (Debian)."""
    session.install(".[test]")
    environment = {"BINDCHECK_WINE": "1", "BINDCHECK_REQUIRE_ALL": "1"}
    session.run("pytest", "tests/test_wine.py", *session.posargs, env=environment)


@nox.session
def situations(session: nox.Session) -> None:
    """Judge 20,000 random situations, or the number given; Linux, as root."""
    session.install(".[test]")
    wanted = int(session.posargs[0]) if session.posargs else 20_000
    workers = min(4, os.cpu_count() or 1)
    first = int(os.environ.get("BINDCHECK_SEED", "1"))
    share = {"BINDCHECK_SITUATIONS": str(-(-wanted // workers))}
    python = str(Path(session.bin, "python"))
    command = (python, "-m", "pytest", "-q", "tests/test_situations.py")
    processes = {
        seed: subprocess.Popen(
            command, env={**os.environ, **share, "BINDCHECK_SEED": str(seed)}
        )
        for seed in range(first, first + workers)
    }
    failed = [seed for seed, process in processes.items() if process.wait() != 0]
    if failed:
        session.error(f"BINDCHECK_SEED of what failed: {failed}")


def without(*names: str) -> list[str]:
    """Return the options of pytest that leave test files out."""
    return [f"--ignore=tests/test_{name}.py" for name in names]


def readable_python(session: nox.Session, user: tuple[str, ...]) -> str:
    """Return an interpreter that this user may start."""
    places = (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3")
    found = [
        one
        for one in places
        if Path(one).exists()
        and subprocess.run([*user, one, "-c", ""], check=False).returncode == 0
    ]
    if not found:
        session.error("there is no Python that an ordinary user may start")
    return found[0]


def install_group(session: nox.Session, group: str) -> None:
    """Install a dependency group; pip before 25.1 cannot do it by name."""
    session.install(*nox.project.dependency_groups(PYPROJECT, group))


def c_files(system: str) -> list[str]:
    """Return the C files that a system compiles."""
    here = Path.cwd()
    return [str(file.relative_to(here)) for file in FILES["c_files"](system)]


def build(session: nox.Session, out: Path, **env: str) -> Path:
    """Build an sdist, and from it the wheel, into `out`; return the wheel."""
    session.run("python", "-m", "build", "--outdir", str(out), env=env)
    (built,) = out.glob("*.whl")
    return built


def gcc_library(session: nox.Session, name: str) -> str:
    """Return the path of a run-time library of gcc."""
    option = f"-print-file-name={name}"
    return str(session.run("gcc", option, external=True, silent=True)).strip()
