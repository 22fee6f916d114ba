"""A bind error that passes through gets the diagnosis: once, and nothing else changes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http.server
import io
import multiprocessing.connection
import os
import socket
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bindcheck
from bindcheck import own_failure
from bindcheck.explaining import explained, note_of
from bindcheck.failed_call import failed_call
from bindcheck.words import CauseCode, Verdict
from tests.support import Holder, needs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]
LOOPBACK = "127.0.0.1"


def raised(function: Callable[[], object]) -> BaseException:
    """What a function raises."""
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - all of it is looked at
        return error
    raise AssertionError("nothing was raised")


def note(error: BaseException) -> str:
    """The only note of an error."""
    (text,) = error.__notes__
    return str(text)


def names_holder(error: BaseException, port: int, holder: Holder) -> None:
    first = note(error).splitlines()[0]
    assert first.startswith(f"bindcheck: {LOOPBACK}:{port}/")
    assert f"(pid {holder.pid})" in first
    assert f"kill {holder.pid}" in note(error)


def raw(port: int) -> None:
    place = (LOOPBACK, port)
    with socket.socket() as one:
        one.bind(place)


def reusing(port: int) -> None:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((LOOPBACK, int(str(port))))


class Kept:
    """The address in an attribute, in a slot, in a list."""

    __slots__ = ("places", "socket")

    def __init__(self, port: int) -> None:
        self.places = [(LOOPBACK, port)]
        self.socket = socket.socket()

    def start(self) -> None:
        try:
            self.socket.bind(self.places[0])
        finally:
            self.socket.close()


class Server(socketserver.TCPServer):
    allow_reuse_address = True


async def stream(port: int) -> None:
    await asyncio.start_server(lambda *_: None, LOOPBACK, port)


CALLS: dict[str, Callable[[int], object]] = {
    "raw": raw,
    "reusing": reusing,
    "kept": lambda port: Kept(port).start(),
    "create_server": lambda port: socket.create_server((LOOPBACK, port)),
    "socketserver": lambda port: Server(
        (LOOPBACK, port), socketserver.BaseRequestHandler
    ),
    "threading-http": lambda port: http.server.ThreadingHTTPServer(
        (LOOPBACK, port), http.server.BaseHTTPRequestHandler
    ),
    "asyncio": lambda port: asyncio.run(stream(port)),
    "multiprocessing": lambda port: multiprocessing.connection.Listener(
        (LOOPBACK, port)
    ),
}


class TestWhereTheAddressComesFrom:
    @pytest.mark.parametrize("name", CALLS)
    def test_the_call_that_failed(self, holder: Holder, name: str) -> None:
        port = holder.bind(listen=True)

        def call() -> None:
            with explained():
                CALLS[name](port)

        error = raised(call)
        names_holder(error, port, holder)
        assert isinstance(error, OSError)

    def test_asyncio_datagrams(self, holder: Holder) -> None:
        port = holder.bind(kind="udp")

        @explained()
        async def serve() -> None:
            loop = asyncio.get_running_loop()
            await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=(LOOPBACK, port)
            )

        error = raised(lambda: asyncio.run(serve()))
        names_holder(error, port, holder)
        assert f"{port}/udp" in note(error)

    def test_listen(self, holder: Holder) -> None:
        """Two may be bound; the second to listen fails. Its own socket is no blocker."""
        port = holder.bind(reuse_address=True)
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((LOOPBACK, port))
            holder.run("kept['main'].listen()")

            def call() -> None:
                with explained():
                    one.listen()

            names_holder(raised(call), port, holder)

    def test_ipv6_wildcard_written_as_nothing(self, holder: Holder) -> None:
        port = holder.bind("::", listen=True)

        def call() -> None:
            with socket.socket(socket.AF_INET6) as one, explained():
                one.bind(("", port))

        assert note(raised(call)).startswith(f"bindcheck: [::]:{port}/tcp")

    def test_unix_path(self, tmp_path: Path) -> None:
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path)
            one.listen()

            def call() -> None:
                with socket.socket(socket.AF_UNIX) as two, explained():
                    two.bind(path)

            assert note(raised(call)).startswith(f"bindcheck: unix:{path} ")

    def test_what_is_given_counts_first(self, holder: Holder) -> None:
        port = holder.bind(listen=True)

        def call() -> None:
            with explained((LOOPBACK, port)):
                raise OSError(98, "Address already in use")

        names_holder(raised(call), port, holder)

    def test_options_of_the_socket(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            error = raised(lambda: one.bind((LOOPBACK, port)))
            report = bindcheck.explain(error, sock=one)
        options = report.worst.attempt.options
        assert (options.reuse_address, options.reuse_port) == (True, None)

    def test_options_of_one_that_is_closed(self, holder: Holder) -> None:
        """asyncio and socketserver close it; what they set is known all the same."""
        port = holder.bind(listen=True)
        for name in ("socketserver", "asyncio", "threading-http"):
            error = raised(lambda name=name: CALLS[name](port))  # type: ignore[misc]
            report = bindcheck.explain(error)
            assert report.worst.attempt.options.reuse_address is True, name

    def test_unknown(self) -> None:
        """It says so, and what the code is."""

        def call() -> None:
            with explained():
                raise OSError(98, "Address already in use")

        text = note(raised(call))
        assert '98 EADDRINUSE "Address already in use": the address is unknown' in text
        assert "pass target= or sock=" in text

    def test_no_property_is_read_and_nothing_called(self) -> None:
        reads: list[str] = []

        class Place:
            @property
            def kept(self) -> tuple[str, int]:
                reads.append("property")
                return ("192.0.2.77", 80)

            def made(self) -> tuple[str, int]:
                reads.append("call")
                return ("192.0.2.77", 80)

        place = Place()

        def by_property() -> None:
            with socket.socket() as one:
                one.bind(place.kept)

        def by_call() -> None:
            with socket.socket() as one:
                one.bind(place.made())

        for body in (by_property, by_call):
            found = failed_call(raised(body))
            assert found is not None
            assert (found.name, found.address) == ("bind", None)
        assert reads == ["property", "call"]


class TestBoundAlready:
    """A socket that has an address takes no other one, free or not: EINVAL."""

    @pytest.mark.parametrize("same", [True, False])
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    def test_its_address_is_told(self, host: str, *, same: bool) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as one:
            one.bind((host, 0))
            port = one.getsockname()[1]
            with (
                pytest.raises(OSError, match="Invalid argument") as caught,
                explained(),
            ):
                one.bind((host, port if same else 0))
            assert caught.value.errno == errno.EINVAL
            (note,) = caught.value.__notes__
            where = f"[::1]:{port}" if ":" in host else f"127.0.0.1:{port}"
            assert f"this socket is bound to {where} already" in note
            assert "can be bound\n" not in note
            with pytest.raises(ValueError, match="is bound to"):
                bindcheck.explain(caught.value, sock=one)

    def test_unix_socket(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(tmp_path / "one"))
            with (
                pytest.raises(OSError, match="Invalid argument") as caught,
                explained(),
            ):
                one.bind(str(tmp_path / "two"))
        assert caught.value.errno == errno.EINVAL
        assert f"bound to {tmp_path}/one already" in caught.value.__notes__[0]

    def test_others_that_are_invalid_are_diagnosed(self) -> None:
        with socket.socket(socket.AF_INET6) as one:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            with (
                pytest.raises(OSError, match="Invalid argument") as caught,
                explained(),
            ):
                one.bind(("::ffff:127.0.0.1", 0))
        assert caught.value.errno == errno.EINVAL
        assert "not diagnosed" not in caught.value.__notes__[0]


class TestErrorsAreLeftAsTheyAre:
    @pytest.mark.parametrize(
        "call",
        [
            lambda: open("/no/such/file"),  # noqa: SIM115
            lambda: socket.create_connection((LOOPBACK, 1), timeout=5),
            lambda: os.kill(os.getpid(), -1),
            lambda: int("x"),
            lambda: subprocess.run(["/no/such/program"], check=False),
        ],
        ids=["open", "connect", "kill", "int", "run"],
    )
    def test_what_is_no_bind_error(self, call: Callable[[], object]) -> None:
        def run() -> None:
            with explained():
                call()

        assert not hasattr(raised(run), "__notes__")

    def test_the_same_object_once(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        inside: list[BaseException] = []

        @explained()
        def call() -> None:
            with explained():
                try:
                    raw(port)
                except OSError as error:
                    error.add_note("my own")
                    inside.append(error)
                    raise

        error = raised(call)
        assert error is inside[0]
        assert error.__notes__[0] == "my own"
        assert len(error.__notes__) == 2
        assert isinstance(error, OSError)
        assert (error.errno, error.strerror) == (98, "Address already in use")

    def test_causes_stay(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        first = ValueError("first")

        def call() -> None:
            with explained():
                try:
                    raise first
                except ValueError as error:
                    with socket.socket() as one:
                        try:
                            one.bind((LOOPBACK, port))
                        except OSError as second:
                            raise second from error

        error = raised(call)
        assert error.__cause__ is first
        assert error.__suppress_context__

    def test_members_of_a_group(self, holder: Holder) -> None:
        port = holder.bind(listen=True)

        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(stream(port))
                group.create_task(asyncio.sleep(0))

        def call() -> None:
            with explained():
                asyncio.run(both())

        error = raised(call)
        assert isinstance(error, ExceptionGroup)
        names_holder(error.exceptions[0], port, holder)

    def test_program_that_ends_instead(self, holder: Holder, tmp_path: Path) -> None:
        """Nobody would read the note: it is written."""
        port = holder.bind(listen=True)
        program = tmp_path / "program.py"
        program.write_text(
            "import bindcheck, socket, sys\n"
            "with bindcheck.explained():\n"
            f"    try: socket.socket().bind(('{LOOPBACK}', {port}))\n"
            "    except OSError: sys.exit(7)\n"
        )
        done = subprocess.run(
            [sys.executable, program], capture_output=True, text=True, check=False
        )
        assert done.returncode == 7
        assert f"bindcheck: {LOOPBACK}:{port}/tcp cannot be bound: " in done.stderr
        assert f"(pid {holder.pid})" in done.stderr

    def test_file(self, holder: Holder) -> None:
        port, file = holder.bind(listen=True), io.StringIO()
        with contextlib.suppress(OSError), explained(file=file):
            raw(port)
        assert file.getvalue().startswith(f"bindcheck: {LOOPBACK}:{port}/tcp")

    def test_trouble_of_its_own_is_no_trouble(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = holder.bind(listen=True)

        def breaks(*_: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(own_failure, "diagnose_failure", breaks)

        def call() -> None:
            with explained():
                raw(port)

        error = raised(call)
        assert isinstance(error, OSError)
        assert error.errno == 98

    def test_it_takes_no_longer_than_it_may(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = holder.bind(listen=True)
        goes_on = threading.Event()
        monkeypatch.setattr(
            own_failure, "diagnose_failure", lambda *_: goes_on.wait(60)
        )

        def call() -> None:
            with explained(timeout=0.05):
                raw(port)

        error = raised(call)
        goes_on.set()
        assert "not diagnosed: the diagnosis was not done in 0.05 s" in note(error)
        assert "98 EADDRINUSE" in note(error)


class TestConcurrently:
    def test_threads(self, make_holder: Callable[..., Holder]) -> None:
        """Each error gets its own answer."""
        holders = [make_holder() for _ in range(8)]
        ports = [one.bind(listen=True) for one in holders]
        errors: dict[int, BaseException] = {}

        def run(port: int) -> None:
            def call() -> None:
                with explained():
                    raw(port)

            errors[port] = raised(call)

        threads = [threading.Thread(target=run, args=(port,)) for port in ports]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        for holder, port in zip(holders, ports, strict=True):
            names_holder(errors[port], port, holder)

    def test_one_manager_for_many_tasks(self, holder: Holder) -> None:
        ports = [holder.bind(listen=True, name=str(number)) for number in range(5)]
        manager = explained()

        @manager
        async def serve(port: int) -> None:
            await stream(port)

        async def every() -> list[Any]:
            return await asyncio.gather(
                *(serve(port) for port in ports), return_exceptions=True
            )

        for port, error in zip(ports, asyncio.run(every()), strict=True):
            names_holder(error, port, holder)

    def test_the_loop_goes_on_meanwhile(self, holder: Holder) -> None:
        port = holder.bind(listen=True)

        async def main() -> tuple[BaseException | None, bool]:
            ticks = asyncio.Event()
            asyncio.get_running_loop().call_soon(ticks.set)
            error = None
            try:
                async with explained():
                    with socket.socket() as one:
                        one.bind((LOOPBACK, port))
            except OSError as caught:
                error = caught
            return error, ticks.is_set()

        error, ticked = asyncio.run(main())
        assert error is not None
        names_holder(error, port, holder)
        assert ticked

    def test_forked_worker(self) -> None:
        """Its parent has the port."""
        with socket.create_server((LOOPBACK, 0)) as server:
            port = server.getsockname()[1]
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                server.close()
                error = raised(lambda: raw(port))
                assert isinstance(error, OSError)
                os.write(writer, note_of(error).encode())
                os._exit(0)
            os.close(writer)
            with os.fdopen(reader) as pipe:
                text = pipe.read()
            os.waitpid(pid, 0)
        assert f"(pid {os.getpid()})" in text.splitlines()[0]


class TestExplain:
    """bindcheck.explain()."""

    def test_own_code_is_kept(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        error = raised(lambda: raw(port))
        holder.close()
        report = bindcheck.explain(error)
        assert report.reported == bindcheck.native_code(98)
        assert report.worst.verdict in (Verdict.BINDABLE, Verdict.TRANSIENT)
        assert bindcheck.to_dict(report)["reported"]["code"] == 98
        said = note_of(error)  # type: ignore[arg-type]
        assert 'your program was told 98 EADDRINUSE "Address already in use"' in said

    @pytest.mark.parametrize(
        ("error", "code"), [(98, 98), ("EADDRINUSE", 98), ("bind: EACCES", 13)]
    )
    def test_numbers_and_names(
        self, holder: Holder, error: int | str, code: int
    ) -> None:
        port = holder.bind(listen=True)
        report = bindcheck.explain(error, (LOOPBACK, port))
        assert report.reported is not None
        assert report.reported.code == code
        assert report.worst.causes[0].code is CauseCode.LISTENER

    def test_line_of_a_log(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        line = f"listen tcp {LOOPBACK}:{port}: bind: address already in use"
        report = bindcheck.explain(line)
        assert report.worst.causes[0].code is CauseCode.LISTENER

    @pytest.mark.parametrize("name", ["t0.0.1:80", "a..b:80"])
    def test_what_its_words_name_and_cannot_be_an_address(self, name: str) -> None:
        error = OSError(errno.EADDRINUSE, f"bind to {name}: address already in use")
        assert bindcheck.explain(error).results == ()

    def test_without_an_address_it_has_no_results(self) -> None:
        report = bindcheck.explain(98)
        assert (report.results, report.ok) == ((), False)
        with pytest.raises(LookupError, match="the address is unknown"):
            report.worst  # noqa: B018 - it raises

    @pytest.mark.parametrize("bad", ["no such thing", 2**40])
    def test_bad_input(self, bad: int | str) -> None:
        with pytest.raises(ValueError, match=r"no error|32 bits"):
            bindcheck.explain(bad)


class TestBind:
    """bindcheck.bind()."""

    def test_socket(self) -> None:
        with bindcheck.bind(
            f"{LOOPBACK}:0", reuse_address=True, listen=True, backlog=3
        ) as one:
            assert one.getsockname()[0] == LOOPBACK
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            assert not os.get_inheritable(one.fileno())
            socket.create_connection(one.getsockname()).close()

    @pytest.mark.parametrize(
        ("target", "family", "kind"),
        [
            ("[::1]:0", socket.AF_INET6, socket.SOCK_STREAM),
            ("127.0.0.1:0/udp", socket.AF_INET, socket.SOCK_DGRAM),
            ("unix:@bindcheck-test-bind", socket.AF_UNIX, socket.SOCK_STREAM),
            ("localhost:0", None, socket.SOCK_STREAM),
            (0, socket.AF_INET, socket.SOCK_STREAM),
        ],
    )
    def test_families(self, target: str | int, family: int | None, kind: int) -> None:
        with bindcheck.bind(target) as one:
            assert family in (None, one.family)
            assert one.type == kind

    def test_error_is_an_os_error_with_a_report(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        with pytest.raises(bindcheck.BindError, match=r"\[Errno 98\]") as caught:
            bindcheck.bind((LOOPBACK, port))
        error = caught.value
        assert isinstance(error, OSError)
        assert error.errno == 98
        assert f"(pid {holder.pid}) listens there" in str(error)
        assert error.report.worst.causes[0].code is CauseCode.LISTENER
        assert f"kill {holder.pid}" in note(error)
        assert isinstance(error.__cause__, OSError)

    def test_permission(self, tmp_path: Path) -> None:
        with pytest.raises(bindcheck.BindError) as caught:
            bindcheck.bind(f"unix:{tmp_path}/no/s")
        assert not isinstance(caught.value, PermissionError)
        assert issubclass(bindcheck.BindPermissionError, (PermissionError,))

    @needs("root")
    def test_privileged_port(self) -> None:
        from tests.support import NOBODY, as_user

        def as_nobody() -> tuple[bool, bool, int | None]:
            error = raised(lambda: bindcheck.bind((LOOPBACK, 81)))
            assert isinstance(error, OSError)
            permission = isinstance(error, PermissionError)
            return permission, isinstance(error, bindcheck.BindError), error.errno

        assert as_user(NOBODY, as_nobody) == (True, True, 13)

    def test_name_that_is_unknown(self) -> None:
        with pytest.raises(bindcheck.BindError, match=r"no-such-host\.invalid"):
            bindcheck.bind("no-such-host.invalid:80")

    @pytest.mark.parametrize(
        ("target", "options"),
        [
            ("70000", {}),
            (f"{LOOPBACK}:1/udp", {"listen": True}),
            (80, {"v6only": True}),
        ],
    )
    def test_bad_arguments(self, target: Any, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"70000|listen|v6only"):
            bindcheck.bind(target, **options)


def test_nothing_is_imported_on_the_good_path() -> None:
    code = (
        "import sys, bindcheck\n"
        "with bindcheck.explained(): pass\n"
        "heavy = ('cffi', 'threading', 'asyncio', 'rich', 'psutil', 'bindcheck.native',"
        " 'bindcheck.own_failure', 'inspect')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_schema_is_the_file() -> None:
    assert bindcheck.schema()["title"] == "bindcheck report"
