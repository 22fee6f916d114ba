"""The filter that puts a diagnosis into a log: which records, once, and never in the way."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import logging.config
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bindcheck
from bindcheck import explaining, logs, own_failure
from bindcheck.logs import BindErrorFilter, install
from tests.support import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support import Holder

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]

LOOPBACK = "127.0.0.1"
INDEX = Path(__file__).parent.parent / "docs" / "recipes" / "index.md"


class Log:
    """A logger with one handler, and what it has written."""

    def __init__(self, **arguments: Any) -> None:
        self.stream = io.StringIO()
        self.logger = logging.Logger("shop")  # noqa: LOG001 - of nobody else
        self.handler = logging.StreamHandler(self.stream)
        self.handler.addFilter(BindErrorFilter(**arguments))
        self.logger.addHandler(self.handler)

    @property
    def text(self) -> str:
        return self.stream.getvalue()


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What earlier tests were told is forgotten: a port may come again."""
    monkeypatch.setattr(logs, "_answers", logs._Answers())


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def port(holder: Holder) -> int:
    return holder.bind(listen=True)


def bind(port: int) -> None:
    with socket.socket() as one:
        one.bind((LOOPBACK, port))


def error_of_bind(port: int) -> OSError:
    with pytest.raises(OSError, match="in use") as caught:
        bind(port)
    return caught.value


def is_said(log: Log, port: int, holder: Holder) -> bool:
    """Whether the log says it once."""
    assert log.text.count("cannot be bound") == 1, log.text
    start = (
        rf"^bindcheck: {LOOPBACK}:{port}/tcp cannot be bound: \S+ \(pid {holder.pid}\)"
    )
    return re.search(start, log.text, re.MULTILINE) is not None


def test_exception_of_a_record(log: Log, holder: Holder, port: int) -> None:
    """The traceback shows the note; the message stays, by which logs are grouped."""
    try:
        bind(port)
    except OSError:
        log.logger.exception("cannot start %s", "shop")
    assert log.text.startswith(
        "cannot start shop\nTraceback (most recent call last):\n"
    )
    assert is_said(log, port, holder)


def test_exception_that_took_the_place_of_it(
    log: Log, holder: Holder, port: int
) -> None:
    try:
        try:
            bind(port)
        except OSError as error:
            raise RuntimeError("no server") from error
    except RuntimeError:
        log.logger.exception("cannot start")
    assert is_said(log, port, holder)


def test_group_of_exceptions(log: Log, make_holder: Callable[..., Holder]) -> None:
    holders = [make_holder(), make_holder()]
    ports = [one.bind(listen=True) for one in holders]
    group = ExceptionGroup("servers", [error_of_bind(one) for one in ports])
    log.logger.error("cannot start", exc_info=group)
    assert log.text.count("cannot be bound") == 2
    for one in holders:
        assert f"(pid {one.pid}) listens" in log.text


@pytest.mark.parametrize("form", ["%s", "cannot start: %s", "%(error)s"])
def test_exception_as_message_or_argument(
    log: Log, holder: Holder, port: int, form: str
) -> None:
    error = error_of_bind(port)
    if form == "%s":
        log.logger.error(error)
    else:
        log.logger.error(form, {"error": error} if "(" in form else error)
    assert is_said(log, port, holder)
    first, second, *_ = log.text.splitlines()
    assert first.endswith(str(error))
    assert second.startswith("bindcheck: ")


def test_address_of_the_message_where_the_exception_has_none(
    log: Log, holder: Holder, port: int
) -> None:
    error = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    log.logger.error("cannot listen on %s:%d: %s", LOOPBACK, port, error)
    assert is_said(log, port, holder)


def test_exception_that_is_being_handled(log: Log, holder: Holder, port: int) -> None:
    """Gunicorn's way; the text need not name the address."""
    try:
        bind(port)
    except OSError:
        log.logger.warning("something else")
        log.logger.error("That port is already in use.")
    assert log.text.startswith(
        "something else\nThat port is already in use.\nbindcheck: "
    )
    assert is_said(log, port, holder)


@pytest.mark.parametrize(
    "line",
    [
        "Connection in use: ('127.0.0.1', {port})",
        "listen tcp 127.0.0.1:{port}: bind: address already in use (100% sure)",
        "Web server failed to start. Port {port} was already in use.",
    ],
)
def test_text_alone(log: Log, holder: Holder, port: int, line: str) -> None:
    log.logger.error(line.format(port=port))
    assert log.text.startswith(line.format(port=port) + "\nbindcheck: ")
    assert f"(pid {holder.pid}) listens there\n" in log.text


def test_text_about_datagrams(log: Log, holder: Holder) -> None:
    port = holder.bind(kind="udp")
    log.logger.error("listen udp 127.0.0.1:%d: bind: address already in use", port)
    assert f"bindcheck: {LOOPBACK}:{port}/udp cannot be bound: " in log.text


def test_retries_are_told_once(log: Log, holder: Holder, port: int) -> None:
    for _ in range(5):
        try:
            bind(port)
        except OSError as error:
            log.logger.error("Connection in use: %s", (LOOPBACK, port))
            log.logger.error("connection failed: %s", error)
    assert log.text.count("connection failed") == 5
    assert is_said(log, port, holder)


def after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 60)


def test_it_is_looked_at_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch, log: Log, port: int
) -> None:
    looked = []
    explain = explaining.explain

    def count(*arguments: Any, **named: Any) -> bindcheck.Report:
        looked.append(arguments)
        return explain(*arguments, **named)

    monkeypatch.setattr(explaining, "explain", count)
    log.logger.error(error_of_bind(port))
    log.logger.error(error_of_bind(port))
    assert len(looked) == 1
    after_a_while(monkeypatch)
    log.logger.error(error_of_bind(port))
    log.logger.error(error_of_bind(port))
    assert len(looked) == 2
    assert log.text.count("cannot be bound") == 1


def test_another_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, log: Log, make_holder: Callable[..., Holder]
) -> None:
    first, second = make_holder(), make_holder()
    port = first.bind(listen=True)
    log.logger.error(error_of_bind(port))
    log.logger.error(error_of_bind(port))
    first.kill()
    second.bind(port=port, listen=True, reuse_address=True)
    log.logger.error(error_of_bind(port))
    assert log.text.count("cannot be bound") == 1  # it is too early to look
    after_a_while(monkeypatch)
    log.logger.error(error_of_bind(port))
    log.logger.error(error_of_bind(port))
    pids = re.findall(r"cannot be bound: \S+ \(pid (\d+)\)", log.text)
    assert pids == [str(first.pid), str(second.pid)]


def test_two_addresses_are_two_errors(
    log: Log, make_holder: Callable[..., Holder]
) -> None:
    """Their texts are the same: "[Errno 98] Address already in use"."""
    for one in (make_holder(), make_holder()):
        log.logger.error(error_of_bind(one.bind(listen=True)))
        assert f"(pid {one.pid}) listens" in log.text


def raised(error: OSError) -> OSError:
    try:
        raise error
    except OSError as caught:
        return caught


OTHER_ERRORS = [
    raised(FileNotFoundError(errno.ENOENT, "No such file", "/etc/shop")),
    raised(PermissionError(errno.EACCES, "Permission denied", "/etc/shop")),
    raised(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")),
    raised(OSError("no number")),
]


@pytest.mark.parametrize("error", OTHER_ERRORS, ids=repr)
def test_other_errors_are_untouched(log: Log, error: OSError) -> None:
    log.logger.error("no: %s", error)
    log.logger.error(error)
    assert log.text == f"no: {error}\n{error}\n"
    log.logger.error("no", exc_info=error)
    assert "bindcheck" not in log.text


@pytest.mark.parametrize(
    "line",
    [
        "",
        "listening on 127.0.0.1:{port}",
        "Email address already in use: ada@shop.example",
        "upload to http://127.0.0.1:{port}/: Permission denied",
        "connect to 127.0.0.1:{port} failed: Cannot assign requested address",
        # Of another machine: by its address, its name, its system.
        "listen tcp 203.0.113.9:{port}: bind: address already in use",
        "listen tcp web.shop.example:{port}: bind: address already in use",
        "bind 127.0.0.1:{port}: [WinError 10048] Only one usage of each socket address",
    ],
)
def test_other_texts_are_untouched(
    monkeypatch: pytest.MonkeyPatch, log: Log, port: int, line: str
) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise AssertionError("a name of a log was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    log.logger.error(line.format(port=port))
    assert log.text == line.format(port=port) + "\n"


def test_text_about_a_port_that_is_free_is_untouched(log: Log) -> None:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        free = one.getsockname()[1]
    log.logger.error("listen tcp 127.0.0.1:%d: bind: address already in use", free)
    assert "bindcheck" not in log.text


def test_text_about_the_servers_own_port_is_untouched(log: Log) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        log.logger.error("bind of a client failed: address in use: 127.0.0.1:%d", port)
    assert "bindcheck" not in log.text


def test_lower_levels_are_untouched(log: Log, port: int) -> None:
    log.logger.info("%s", error_of_bind(port), exc_info=error_of_bind(port))
    assert "bindcheck" not in log.text


def test_bad_arguments_are_the_logs_own_affair(
    log: Log,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    log.logger.error("port %d", "x", exc_info=error_of_bind(port))
    log.logger.error("port %d", error_of_bind(port))
    log.logger.error("%(missing)s", {"error": error_of_bind(port)})
    assert log.text == ""
    assert capsys.readouterr().err.count("--- Logging error ---") == 3


def test_message_that_is_no_text(log: Log, holder: Holder, port: int) -> None:
    """Structured logs have dictionaries; those stay what they are."""
    event = {"event": "failed", "port": port}
    log.logger.error(event, exc_info=error_of_bind(port))
    log.logger.error(event)
    assert log.text.startswith(f"{event}\nTraceback")
    assert log.text.endswith(f"\n{event}\n")
    assert is_said(log, port, holder)


def test_traceback_that_was_formatted_before(
    log: Log, holder: Holder, port: int
) -> None:
    log.logger.handlers.insert(0, logging.StreamHandler(io.StringIO()))
    log.logger.error("cannot start", exc_info=error_of_bind(port))
    assert is_said(log, port, holder)


def test_two_filters_are_as_one(log: Log, holder: Holder, port: int) -> None:
    log.logger.addFilter(BindErrorFilter())
    for _ in range(2):
        log.logger.error(error_of_bind(port))
    assert is_said(log, port, holder)


def test_explained_does_not_repeat_it(
    log: Log, holder: Holder, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """uvicorn logs the error and exits."""

    def serve() -> None:
        try:
            bind(port)
        except OSError as error:
            log.logger.error(error)
            sys.exit(1)

    with pytest.raises(SystemExit), bindcheck.explained():
        serve()
    assert is_said(log, port, holder)
    assert capsys.readouterr().err == ""


def test_error_with_a_note_is_told_where_the_note_is_not_seen(
    log: Log, holder: Holder, port: int
) -> None:
    with pytest.raises(OSError, match="in use") as caught, bindcheck.explained():
        bind(port)
    log.logger.error("no", exc_info=caught.value)
    assert is_said(log, port, holder)
    log.logger.error(caught.value)
    assert log.text.count("cannot be bound") == 2
    assert len(caught.value.__notes__) == 1


def test_threads_tell_it_once(log: Log, holder: Holder, port: int) -> None:
    errors = [error_of_bind(port) for _ in range(8)]
    start = threading.Barrier(len(errors))

    def work(error: OSError) -> None:
        start.wait(30)
        for _ in range(5):
            log.logger.error(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in errors]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert log.text.count("[Errno 98]") == 40
    assert is_said(log, port, holder)


@contextlib.contextmanager
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A diagnosis that takes for ever."""
    go_on = threading.Event()

    def hang(*_: object) -> None:
        go_on.wait(60)

    with monkeypatch.context() as patch:
        patch.setattr(own_failure, "diagnose_failure", hang)
        yield
    go_on.set()


def test_it_takes_no_longer_than_it_may(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    log = Log(timeout=0.05)
    errors = [error_of_bind(port)]
    with hanging(monkeypatch):
        log.logger.error("%s", errors[0])
        log.logger.error("%s", errors[0])
        log.logger.error("bind 127.0.0.1:%d: address already in use", port + 1)
    assert (
        log.text.count("bindcheck: not diagnosed: the diagnosis was not done in ") == 1
    )


def test_what_goes_wrong_is_not_seen(
    monkeypatch: pytest.MonkeyPatch, log: Log, port: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(explaining, "explain", fail)
    error = error_of_bind(port)
    log.logger.error(error)
    assert log.text == f"{error}\n"


def test_memory_is_bounded() -> None:
    answers = logs._Answers()
    for number in range(1000):
        assert answers.is_due(number)
        assert answers.is_new(number, "answer")
    assert len(answers._last) <= 64


@pytest.fixture
def loggers() -> Iterator[tuple[logging.Logger, logging.Logger]]:
    """Two loggers of the real tree, a parent and its child."""
    parent, child = (
        logging.getLogger("bindcheck-shop"),
        logging.getLogger("bindcheck-shop.server"),
    )
    yield parent, child
    for one in (parent, child):
        one.handlers.clear()
        one.filters.clear()
        one.propagate = True


def test_install_reaches_the_handlers_of_parents(
    loggers: tuple[logging.Logger, logging.Logger], holder: Holder, port: int
) -> None:
    parent, child = loggers
    stream = io.StringIO()
    parent.addHandler(logging.StreamHandler(stream))
    parent.propagate = False
    added = install(child.name, timeout=1.0)
    install(child.name)
    assert child.filters == [added]
    assert parent.handlers[0].filters == [added]
    assert parent.filters == []  # which is not asked about records of children
    logging.getLogger("bindcheck-shop.other").error(error_of_bind(port))
    assert f"(pid {holder.pid}) listens" in stream.getvalue()


def test_install_before_there_is_a_handler(
    loggers: tuple[logging.Logger, logging.Logger],
) -> None:
    parent, _ = loggers
    parent.propagate = False
    assert logging.lastResort is not None
    added = install(parent.name)
    try:
        assert parent.filters == [added]
        assert logging.lastResort.filters == [added]
    finally:
        logging.lastResort.removeFilter(added)


def test_dictionary_of_the_page(holder: Holder, port: int) -> None:
    (text,) = re.findall(
        r"^```python\n(LOGGING = .*?)^```$",
        INDEX.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    scope: dict[str, Any] = {}
    exec(text, scope)  # noqa: S102 - of our own page
    code = f"import logging.config\nlogging.config.dictConfig({scope['LOGGING']!r})\n"
    code += f"logging.getLogger('shop').error('bind 127.0.0.1:{port}: Address already in use')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"(pid {holder.pid}) listens" in done.stderr


LAZY = """
import sys
import bindcheck
assert "bindcheck.logs" not in sys.modules
import bindcheck.logs
import logging
logging.basicConfig()
bindcheck.logs.install()
logging.error("hello %s", "world")
logging.error("no", exc_info=False)
try:
    raise ValueError(1)
except ValueError:
    logging.error("no")
allowed = {"bindcheck", "bindcheck._version", "bindcheck.logs", "bindcheck.records"}
allowed |= {"bindcheck.explaining", "bindcheck.errors", "bindcheck.words"}
print(*{one for one in sys.modules if one.startswith("bindcheck")} - allowed)
"""


def test_nothing_is_loaded_before_it_is_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAZY],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == ""
    assert done.stderr.startswith("ERROR:root:hello world\n")
