"""Every check of the project, each in an environment of its own.

`nox` alone runs what a change needs before it is proposed; `nox -l` lists the rest.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runpy import run_path

import nox

nox.needs_version = ">=2026.4"
nox.options.sessions = ["lint", "types", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
OLDEST_PYTHON = PYPROJECT["project"]["requires-python"].removeprefix(">=")
LOCKS = Path(".github", "requirements")

FILES = run_path("csrc/sources.py")
MINGW = "x86_64-w64-mingw32-gcc"
COMPILERS = {
    "cc": sys.platform,
    "clang": sys.platform,
    MINGW: "win32",
}
# Only for compiles of csrc alone: cffi's generated file would not pass.
STRICT = (
    *("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion"),
    *("-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Werror", "-Icsrc"),
)
# What zig compiles for, and whose files.
TARGETS = {
    "x86_64-macos": "darwin",
    "aarch64-macos": "darwin",
    "x86_64-windows-gnu": "win32",
    "aarch64-windows-gnu": "win32",
    "x86_64-linux-musl": "linux",
    "aarch64-linux-musl": "linux",
    "aarch64-linux-gnu": "linux",
    "s390x-linux-musl": "linux",
}
# Where the decoders are run too, and by what on another processor. s390x is big-endian.
EMULATORS = {
    "x86_64-linux-musl": "qemu-x86_64",
    "aarch64-linux-musl": "qemu-aarch64",
    "s390x-linux-musl": "qemu-s390x",
}
DECODERS = run_path("tests/fuzz/run.py")["DECODERS"]
# Most random situations are judged by `tests` and `situations`.
FEW_SITUATIONS = {"BINDCHECK_SITUATIONS": "200"}
NOBODY = "65534"
# What an ordinary user has not, and what a kernel of 2022 has not: a test that needs
# anything else is not skipped where BINDCHECK_REQUIRE_ALL is set.
NOT_WITHOUT_ROOT = "root, network namespaces, cgroup BPF"
NOT_IN_6_1 = (
    "Landlock for the network, io_uring that names its files, "
    "descriptor folders with a size"
)
# What is about text, files and other programs' frames, whoever asks and whatever the C
# code was compiled with: `tests` runs it.
ABOUT_TEXT = (
    *("elsewhere", "elsewhere_situations", "error_text", "explain", "golden", "logs"),
    *("pytest_plugin", "recording", "sanitize", "schema", "servers_twice", "target"),
)
# What starts a command for each row of a table, which neither the compiler's flags nor the
# user's rights change much.
MANY_COMMANDS = (
    *("faults_churn", "faults_descriptors", "faults_filters", "faults_memory"),
    *("faults_signals", "hostile_neighbours"),
)
# What every kernel leaves as it is, what starts a program for each line of a table, and
# what measures how much traffic an interpreted processor can carry.
ANY_KERNEL = (
    *ABOUT_TEXT,
    *MANY_COMMANDS,
    *("command", "contract", "decoders", "doctor", "explained", "faults_netlink"),
    *("faults_vanishing", "free", "fuzz_corpus", "harmless", "holder_decoders"),
    *("hostile_paths", "leaks", "list", "pcblist", "real_servers", "redirections"),
    *("restricted_ports", "stop", "unanswering", "unix_decoder", "wait_command"),
    "windows_tables",
)
# Hundreds of sockets or addresses for one test.
TOO_MANY = ("many_addresses", "bind_bhash")
SANITIZERS = "address,undefined"


@nox.session
def tests(session: nox.Session) -> None:
    """Install the package and run its tests; arguments go to pytest."""
    install_project(session, "test")
    session.run("pytest", "tests", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, spelling, metadata, the C warnings and the workflows."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("validate-pyproject", "pyproject.toml")
    folders = (Path("csrc"), Path("tests"))
    code = sorted(str(file) for one in folders for file in one.rglob("*.[ch]"))
    session.run("clang-format", "--dry-run", "--Werror", *code)
    for compiler, system in COMPILERS.items():
        if is_installed(session, compiler):
            check = (compiler, *STRICT, "-fsyntax-only")
            session.run(*check, *c_files(system), external=True)
    tidy, how = ("clang-tidy", "--quiet"), ("--", "-std=c11", "-Icsrc")
    session.run(*tidy, *c_files(sys.platform), *how)
    if is_installed(session, MINGW):
        # A SOCKET is a number there, and a HANDLE is a pointer.
        fewer = "--checks=-performance-no-int-to-ptr,-cert-dcl16-c"
        others = [file for file in c_files("win32") if "decode" not in file]
        session.run(*tidy, fewer, *others, *how, "--target=x86_64-w64-mingw32")
    # `docs` and `reproducible` build what these look at.
    built = ("--ignore=checks/test_docs.py", "--ignore=checks/test_archives.py")
    session.run("pytest", "-p", "no:cacheprovider", *built, "checks")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site of docs/ into build/docs, and try its links and its search."""
    # Its docstrings are a part of the site.
    install_project(session, "docs", what=".")
    out = Path("build", "docs")
    shutil.rmtree(out, ignore_errors=True)
    options = ("-W", "--keep-going", "-q", "-E", "-d", session.create_tmp())
    session.run("sphinx-build", *options, "-b", "html", "docs", str(out))
    less = () if is_installed(session, "node") else ("-k", "not pasted")
    session.run("pytest", "-p", "no:cacheprovider", "checks/test_docs.py", *less)


@nox.session
def cross(session: nox.Session) -> None:
    """Compile for every system, and run the decoders on other processors."""
    install(session, "cross")
    out = Path(session.create_tmp())
    zig = (str(Path(session.bin, "python")), "-m", "ziglang", "cc", *STRICT, "-O2")
    commands: list[tuple[str, ...]] = []
    for target, system in TARGETS.items():
        place = (*zig, "-target", target)
        if system == "win32":
            # Linking would build a C library of a minute; `wine` links with mingw-w64.
            for file in c_files(system):
                made = out / f"{target}-{file.replace('/', '-')}.object"
                commands.append((*place, "-c", "-o", str(made), file))
            continue
        # A linker that is told so misses functions that nobody wrote.
        whole = () if system != "linux" else ("-Wl,-z,defs",)
        result = ("-shared", *whole, "-o", str(out / f"{target}.library"))
        commands.append((*place, *result, *c_files(system)))
    for target in EMULATORS:
        result = ("-static", "-o", str(out / f"decoders-{target}"))
        commands.append((*zig, "-target", target, *result, *decoder_files()))
    names = ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")
    run_all(session, commands, env=dict.fromkeys(names, str(out / "zig")))

    recorded = sorted(Path("tests", "data").glob("*/*.bin"))
    texts = [Path("tests", "data", "expected", f"{one.stem}.txt") for one in recorded]
    expected = "".join(text.read_text("ascii") for text in texts)
    for target, emulator in EMULATORS.items():
        program = [str(out / f"decoders-{target}")]
        if sys.platform != "linux" or not target.startswith(platform.machine()):
            if not is_installed(session, emulator):
                continue
            program.insert(0, emulator)
        files = [str(file) for file in recorded]
        printed = output_of(session, *program, *files)
        if printed != expected:
            session.error(f"{target} decodes otherwise:\n{printed}")
        checked = output_of(session, *program, "--check", *files).strip()
        session.log(f"{target}: {len(files)} files as expected, {checked}")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the decoders and what reads texts, 60 s each, or the seconds given."""
    if is_installed(session, "clang"):
        install_project(session, "fuzz", what=".")
        session.run("python", "-m", "tests.fuzz.run", *session.posargs)


@nox.session
def threads(session: nox.Session) -> None:
    """Let sixteen threads ask everything at once under TSan, ASan and UBSan (Linux)."""
    if not is_installed(session, "clang"):
        return
    for sanitizers in ("thread", SANITIZERS):
        flags = (f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all")
        program = compiled(session, "concurrent", *flags)
        # TSan of some compilers cannot place its memory beside addresses of 32 bits.
        command = ("setarch", "-R", program, *session.posargs)
        options = {"TSAN_OPTIONS": "halt_on_error=1"}
        session.run(*command, env=options, external=True)


@nox.session
def memcheck(session: nox.Session) -> None:
    """Run the decoders, and threads that ask everything, under valgrind (Linux)."""
    if not is_installed(session, "valgrind"):
        return
    decoders = compiled(session, "decoders")
    recorded = sorted(Path("tests", "data").glob("*/*.bin"))
    grind(session, decoders, "--check", *map(str, recorded))
    for decoder in DECODERS:
        kept = sorted(Path("tests", "data", "fuzz", decoder).iterdir())
        grind(session, decoders, "--fuzzed", decoder, *map(str, kept))
    grind(session, compiled(session, "concurrent"), "1", "4")


@nox.session
def types(session: nox.Session) -> None:
    """Type-check what each system would run."""
    # For the types of what the code and its tests import.
    install_project(session, "test", "types")
    session.run("mypy", "--platform", "linux")
    # The tests make real situations of Linux; the package is for every system.
    built = ("pybind", "build_ffi.py", "build_sbom.py", "setup.py")
    for system in ("darwin", "win32"):
        session.run("mypy", "--platform", system, *built)


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the whole test suite with the C code under ASan and UBSan (Linux)."""
    install(session, "build", "package")
    # CPython builds extensions with -DNDEBUG: without -UNDEBUG assert() is dead.
    flags = f"-fsanitize={SANITIZERS} -fno-sanitize-recover=all"
    flags += " -fno-omit-frame-pointer -O1 -g -UNDEBUG"
    with tempfile.TemporaryDirectory() as out:
        built = build(session, Path(out), CFLAGS=flags, LDFLAGS=flags)
        install_project(session, "test", what=f"{built}[test]")
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
    tests = ("tests", *without(*ABOUT_TEXT, *MANY_COMMANDS))
    session.run("pytest", "--capture=sys", *tests, *session.posargs, env=environment)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build as a release does, and test the wheel where there is no source."""
    install(session, "build", "package")
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
        python = f"{tmp}/venv/{scripts}/python"
        install_project(session, "test", what=f"{built}[test]", python=python)
        elsewhere = Path(tmp, "tests")
        elsewhere.mkdir()
        for name in PYPROJECT["tool"]["cibuildwheel"]["test-sources"]:
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy
            copy(name, elsewhere / name)
        with session.chdir(elsewhere):
            text = without(*ABOUT_TEXT, *MANY_COMMANDS)
            pytest = (python, "-m", "pytest", "tests", *text, *session.posargs)
            session.run(*pytest, env=FEW_SITUATIONS, external=True)


@nox.session
def reproducible(session: nox.Session) -> None:
    """Build sdist and wheel in two different places, and compare and read them."""
    install(session, "build", "reproducible")
    session.run("pytest", "-p", "no:cacheprovider", "checks/test_archives.py")


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
        python = f"{tmp}/venv/bin/python"
        install_project(session, "test", python=python)
        text = without(*ABOUT_TEXT, *MANY_COMMANDS)
        pytest = (python, "-m", "pytest", "tests", *text, *session.posargs)
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
    install_project(session, "test", "oldkernel")
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
    install_project(session, "test")
    environment = {"BINDCHECK_WINE": "1", "BINDCHECK_REQUIRE_ALL": "1"}
    session.run("pytest", "tests/test_wine.py", *session.posargs, env=environment)


@nox.session
def situations(session: nox.Session) -> None:
    """Judge 20,000 random situations, or the number given; Linux, as root."""
    install_project(session, "test")
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


@nox.session
def soak(session: nox.Session) -> None:
    """Call everything at random under churn, for 600 s or the seconds given; root."""
    install_project(session, "test")
    session.run("python", "checks/soak.py", *(session.posargs or ("600",)))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against peers in a private network (Linux, root); --write into docs/."""
    install_project(session, "bench", what=".")
    session.run("python", "benchmarks/report.py", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Write .github/requirements/ again; `-- --upgrade` takes the newest of everything."""
    install(session, "lock")
    options = (
        *("--quiet", "--no-config", "--no-annotate", "--no-emit-index-url"),
        *("--universal", "--python-version", OLDEST_PYTHON),
        # A bad release is usually noticed within days.
        *("--exclude-newer", "7 days", "--custom-compile-command", "nox -s lock"),
    )
    compile_pins = ("uv", "pip", "compile", *options)
    tmp = Path(session.create_tmp())

    def written(name: str, requirements: list[str]) -> str:
        file = tmp / f"{name}.in"
        file.write_text("\n".join(requirements) + "\n", "utf-8")
        return str(file)

    # Resolved together, so that any of them can be installed beside any other.
    wanted = environments()
    together = tmp / "together.txt"
    old = [file.read_text("utf-8") for file in sorted(LOCKS.glob("*.txt"))]
    together.write_text("".join(old), "utf-8")
    everything = written("together", [one for some in wanted.values() for one in some])
    result = ("--output-file", str(together))
    session.run(*compile_pins, *session.posargs, *result, everything)
    for name, requirements in wanted.items():
        result = ("--output-file", str(LOCKS / f"{name}.txt"))
        pinned = ("--generate-hashes", "--constraint", str(together))
        session.run(*compile_pins, *pinned, *result, written(name, requirements))


def environments() -> dict[str, list[str]]:
    """Return what each file of LOCKS is made of."""
    groups = PYPROJECT["dependency-groups"]
    return {
        "build": PYPROJECT["build-system"]["requires"],
        "run": PYPROJECT["project"]["dependencies"],
        "test": PYPROJECT["project"]["optional-dependencies"]["test"],
        **{one: list(nox.project.dependency_groups(PYPROJECT, one)) for one in groups},
    }


def grind(session: nox.Session, *program: str) -> None:
    """Run a program under valgrind: nothing may be wrong, lost or left open."""
    leaks = ("--leak-check=full", "--errors-for-leak-kinds=all", "--track-fds=yes")
    options = ("--quiet", "--error-exitcode=9", "--child-silent-after-fork=yes", *leaks)
    said = output_of(session, "valgrind", *options, *program)
    # Of what the program itself opened and did not close, it tells where.
    left_open = re.search(r"== Open .*\n==\d+==    at ", said)
    (result,) = re.findall(r"^decoded \d+|^\d+ threads, .*", said, re.MULTILINE)
    session.log(f"{Path(program[0]).name}: {result}")
    if left_open:
        session.error(f"it left something open:\n{said[left_open.start() :]}")


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


def install(session: nox.Session, *names: str, python: str = "python") -> None:
    """Install what files of LOCKS hold; a build of its own would fetch what they do not."""
    pip = (python, "-m", "pip", "install", "-q", "--require-hashes")
    files = [f"--requirement={LOCKS / name}.txt" for name in names]
    session.run_install(
        *pip, "--no-build-isolation", *files, external=True, silent=True
    )


def install_project(
    session: nox.Session, *names: str, what: str = ".[test]", python: str = "python"
) -> None:
    """Install this project, or a wheel of it, with files of LOCKS that it needs."""
    install(session, "build", python=python)
    install(session, "run", *names, python=python)
    pip = (python, "-m", "pip", "install", "-q", "--no-index", "--no-build-isolation")
    session.run_install(*pip, what, external=True, silent=True)


def is_installed(session: nox.Session, program: str) -> bool:
    """Whether a program of the system is there; CI must have all of them."""
    if shutil.which(program):
        return True
    if os.environ.get("CI"):
        session.error(f"{program} is not installed, and CI must use it")
    session.warn(f"SKIPPED: {program} is not installed")
    return False


def run_all(
    session: nox.Session,
    commands: list[tuple[str, ...]],
    env: dict[str, str] | None = None,
) -> None:
    """Run programs side by side; print of each that fails what it said."""

    def run(command: tuple[str, ...]) -> bool:
        done = subprocess.run(
            command,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            session.warn(f"{' '.join(command)}\n{done.stdout}")
        return done.returncode == 0

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        worked = list(pool.map(run, commands))
    session.log(f"{sum(worked)} of {len(commands)} worked")
    if not all(worked):
        session.error("see above")


def decoder_files() -> list[str]:
    """Return the decoders, with the program that runs them."""
    program = Path("tests", "native", "decoders.c")
    return [str(file) for file in (program, *sorted(Path("csrc/decode").glob("*.c")))]


def compiled(session: nox.Session, name: str, *flags: str) -> str:
    """Compile a program of tests/native for this machine; return its path."""
    program = str(Path(session.create_tmp(), name))
    files = decoder_files()
    if name != "decoders":
        files = [f"tests/native/{name}.c", *c_files(sys.platform)]
    out = ("-g", "-O1", *flags, "-o", program)
    compiler = "clang" if flags else "cc"
    session.run(compiler, *STRICT, *out, *files, "-pthread", external=True)
    return program


def c_files(system: str) -> list[str]:
    """Return the C files that a system compiles."""
    here = Path.cwd()
    return [str(file.relative_to(here)) for file in FILES["c_files"](system)]


def build(session: nox.Session, out: Path, **env: str) -> Path:
    """Build an sdist, and from it the wheel, into `out`; return the wheel."""
    build = ("python", "-m", "build", "--no-isolation", "--outdir", str(out))
    session.run(*build, env=env)
    (built,) = out.glob("*.whl")
    return built


def gcc_library(session: nox.Session, name: str) -> str:
    """Return the path of a run-time library of gcc."""
    return output_of(session, "gcc", f"-print-file-name={name}").strip()


def output_of(session: nox.Session, *command: str) -> str:
    """Run a program that is not this environment's; return what it prints."""
    return str(session.run(*command, external=True, silent=True, log=False))
