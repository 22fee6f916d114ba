"""Sixteen threads that ask everything at once get what each would get alone.

One finds what it looks for while fifteen others open sockets, borrow descriptors and
read the same tables. (tests/native/concurrent.c does the same to the C core alone.)
"""

from __future__ import annotations

import ast
import os
import select
import signal
import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bindcheck
from bindcheck import native
from bindcheck.native.turns import one_at_a_time
from bindcheck.words import OwnerKind, State, Verdict
from tests.support import Holder, needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from bindcheck.model import Diagnosis

THREADS, ROUNDS = 16, 3
PACKAGE = Path(bindcheck.__file__).parent
# One for each thread, since a probe takes its port for a moment; and one that keeps the
# port from who binds it for every address.
FREE, ELSEWHERE = "127.0.0.{}", "127.0.0.9"


def at_once(*questions: Callable[[int], None]) -> None:
    """Ask all of them in each of the threads, which begin with different ones."""
    start = threading.Barrier(THREADS)

    def ask(number: int) -> None:
        start.wait()
        for step in range(ROUNDS * len(questions)):
            questions[(number + step) % len(questions)](number)

    with ThreadPoolExecutor(THREADS) as pool:
        for one in [pool.submit(ask, number) for number in range(THREADS)]:
            one.result()


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208


def only(target: str) -> Diagnosis:
    (one,) = bindcheck.diagnose(target)
    return one


@needs("socket tables")
@pytest.mark.usefixtures("network")
class TestThreads:
    def test_each_gets_the_right_answer(self, holder: Holder) -> None:
        kinds: dict[str, dict[str, Any]] = {  # by the cause that each is
            "listener": {"listen": True},
            "bound": {},
            "datagram": {"kind": "udp"},
        }
        ports = {code: holder.bind(name=code, **how) for code, how in kinds.items()}
        fds = {code: holder.fd(code) for code in kinds}
        free = holder.bind(ELSEWHERE, listen=True, name="elsewhere")

        def text(code: str) -> str:
            udp = "/udp" if code == "datagram" else ""
            return f"127.0.0.1:{ports[code]}{udp}"

        def diagnose(code: str, number: int) -> None:
            found = only(text(code))
            assert [one.code for one in found.causes] == [code]
            (blocker,) = found.blockers
            assert (blocker.owner.kind, blocker.owner.traits) == (
                OwnerKind.PROCESS,
                (),
            )
            (process,) = blocker.owner.processes
            assert (process.pid, process.fds) == (holder.pid, (fds[code],)), number

        def probe(number: int) -> None:
            for code in ports:
                attempt = bindcheck.probe(text(code))
                assert attempt.error is not None
                assert attempt.error.name == "EADDRINUSE"
            assert bindcheck.probe(f"{FREE.format(10 + number)}:{free}").ok
            assert bindcheck.probe("127.0.0.1:0").ok

        def find_free(number: int) -> None:
            found = only(f"{FREE.format(10 + number)}:{free}")
            assert (found.verdict, found.blockers) == (Verdict.BINDABLE, ())

        def list_sockets(number: int) -> None:
            del number
            (row,) = bindcheck.sockets(port=ports["listener"])
            assert row.state is State.LISTEN
            assert row.inode == inode
            assert [one.pid for one in row.owner.processes] == [holder.pid]

        inode = holder.inode("listener")
        before = descriptors()
        at_once(
            lambda number: diagnose("listener", number),
            probe,
            lambda number: diagnose("datagram", number),
            list_sockets,
            find_free,
            lambda number: diagnose("bound", number),
        )
        assert descriptors() == before


@needs("socket tables")
class TestFork:
    # What Python 3.12 warns of is what this is about.
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_child_of_a_fork_walks_while_a_thread_of_its_parent_does(self) -> None:
        """The lock of a walk belongs to a thread that the child does not have."""
        taken, release = threading.Event(), threading.Event()

        def walk() -> None:
            with one_at_a_time():
                taken.set()
                release.wait()

        walking = threading.Thread(target=walk)
        walking.start()
        taken.wait()
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                found = native.find_owners([1])
                os.write(writes, b"1" if found.seen else b"0")
            finally:
                os._exit(0)
        os.close(writes)
        answered, _, _ = select.select([reads], [], [], 60)
        if not answered:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        release.set()
        walking.join()
        with open(reads, "rb") as file:
            assert file.read() == b"1"

    def test_signal_handler_walks_within_a_walk(self) -> None:
        with one_at_a_time():
            assert native.find_owners([1]).seen


def test_import_leaves_the_gil_as_it_is() -> None:
    """A module that does not say so turns it on in a free-threaded build."""
    program = (
        "import sys, bindcheck.native;"
        "print(getattr(sys, '_is_gil_enabled', lambda: True)())"
    )
    command = [sys.executable, "-W", "error", "-X", "utf8", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = not sysconfig.get_config_var("Py_GIL_DISABLED")
    assert done.stdout == f"{expected}\n"


CHANGES = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
    *("add", "discard", "update", "setdefault", "popitem", "appendleft", "popleft"),
}
CONTAINERS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MAKERS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter"}


def containers(module: ast.Module) -> set[str]:
    """The names that a module gives to lists, dictionaries and sets."""
    found = set()
    for one in module.body:
        if isinstance(one, (ast.Assign, ast.AnnAssign)):
            value = one.value
            made = isinstance(value, ast.Call) and ast.unparse(value.func) in MAKERS
            if made or isinstance(value, CONTAINERS):
                targets = one.targets if isinstance(one, ast.Assign) else [one.target]
                found |= {ast.unparse(target) for target in targets}
    return found


def changed_names(function: ast.AST) -> set[str]:
    """The names of what a function changes, be it its own or not."""
    found: set[str] = set()
    for one in ast.walk(function):
        match one:
            case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()):
                found.add(ast.unparse(owner))
            case ast.AugAssign(target=target):
                found.add(ast.unparse(target))
            case ast.Call(func=ast.Attribute(value=owner, attr=name)):
                found |= {ast.unparse(owner)} if name in CHANGES else set()
    return found


def changed_globals(text: str) -> set[str]:
    """What the functions of a module change of what all threads share."""
    module = ast.parse(text)
    shared = containers(module)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    found: set[str] = set()
    for one in ast.walk(module):
        if isinstance(one, ast.Global):
            found |= set(one.names)
        elif isinstance(one, functions):
            found |= changed_names(one) & shared
    return found


class TestGlobals:
    def test_no_function_changes_what_all_threads_share(self) -> None:
        files = [*PACKAGE.rglob("*.py")]
        assert len(files) > 100
        found = {
            f"{file.relative_to(PACKAGE)}: {name}"
            for file in files
            for name in changed_globals(file.read_text(encoding="utf-8"))
        }
        assert found == set()

    @pytest.mark.parametrize(
        "body",
        ["_a[1] = 2", "del _a[1]", "_a.update({})", "_a |= {}", "global _b; _b = 1"],
    )
    def test_such_a_change_is_found(self, body: str) -> None:
        text = f"_a: dict = {{}}\n_b = 0\ndef f():\n    {body}\n"
        assert changed_globals(text) == {"_b" if "_b" in body else "_a"}
