"""Waiting for a port: real sockets, the kernel's word of their end, no bind in a loop."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck import native, waiting
from bindcheck.model import Options
from bindcheck.observe import Observer
from bindcheck.target import parse
from bindcheck.words import CauseCode, Protocol, Verdict
from tests.support import NOBODY, Holder, as_user, needs
from tests.support.destroy import destroy
from tests.support.leftovers import connect, leave_time_wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bindcheck.model import Attempt, Diagnosis, Target
    from bindcheck.waiting import Waited

pytestmark = [needs("socket tables"), pytest.mark.usefixtures("network")]
LOOPBACK = "127.0.0.1"
PATIENCE = 30.0
NEVER = 3600.0


def wait(
    *targets: str, free: Callable[[], object], options: Options | None = None
) -> tuple[Waited, list[CauseCode]]:
    """Wait; once it sleeps `free` is called. Also what it has waited for."""
    reasons: list[CauseCode] = []

    def tell(diagnosis: Diagnosis, _: float | None) -> float:
        reasons.append(diagnosis.causes[0].code)
        if len(reasons) == 1:
            free()
        return NEVER

    waited = waiting.wait(
        [parse(one) for one in targets],
        options or Options(),
        Observer(),
        time.monotonic() + PATIENCE,
        tell,
    )
    return waited, reasons


class TestEnds:
    """What makes it look again."""

    @pytest.mark.parametrize(
        ("made", "code"),
        [
            ({"listen": True}, CauseCode.LISTENER),
            ({}, CauseCode.BOUND),
            ({"kind": "mptcp", "listen": True}, CauseCode.LISTENER),
        ],
        ids=["listener", "bound", "mptcp"],
    )
    def test_socket_is_closed(
        self, holder: Holder, made: dict[str, object], code: CauseCode
    ) -> None:
        port = holder.bind(**made)  # type: ignore[arg-type]
        waited, reasons = wait(f"{LOOPBACK}:{port}", free=holder.close)
        assert (waited.ok, waited.late, reasons) == (True, False, [code])

    @needs("IPv6")
    def test_ipv6(self, holder: Holder) -> None:
        port = holder.bind("::1", listen=True)
        waited, _ = wait(f"[::1]:{port}", free=holder.close)
        assert waited.ok

    def test_udp(self, holder: Holder) -> None:
        port = holder.bind(kind="udp")
        waited, reasons = wait(f"{LOOPBACK}:{port}/udp", free=holder.close)
        assert (waited.ok, reasons) == (True, [CauseCode.DATAGRAM])

    def test_holder_is_killed(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        assert wait(str(port), free=holder.kill)[0].ok

    def test_suspended_holder_is_killed(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        os.kill(holder.pid, signal.SIGSTOP)
        assert wait(f"{LOOPBACK}:{port}", free=holder.kill)[0].ok

    def test_one_of_two_that_share_it(self, make_holder: Callable[..., Holder]) -> None:
        """The first to exit is not the end of the socket."""
        first = make_holder()
        port = first.bind(listen=True)
        first.run(
            "import subprocess\n"
            "kept['child'] = subprocess.Popen(['cat'], stdin=subprocess.PIPE,"
            " stdout=subprocess.PIPE, pass_fds=[kept['main'].fileno()])\n"
            "result = kept['child'].pid"
        )
        first.close()  # the child keeps it
        child = first.run("result = kept['child'].pid")
        waited, reasons = wait(
            f"{LOOPBACK}:{port}", free=lambda: os.kill(child, signal.SIGKILL)
        )
        assert (waited.ok, reasons) == (True, [CauseCode.LISTENER])

    @needs("root")
    def test_hidden_holder(self, holder: Holder) -> None:
        """The kernel's word needs no right to see who has it."""
        port = holder.bind(listen=True)

        def wait_as_nobody() -> tuple[bool, list[CauseCode]]:
            waited, reasons = wait(f"{LOOPBACK}:{port}", free=holder.close)
            return waited.ok, reasons

        assert as_user(NOBODY, wait_as_nobody) == (True, [CauseCode.LISTENER])

    def test_unix_socket_whose_server_removes_it(
        self, holder: Holder, tmp_path: Path
    ) -> None:
        path = tmp_path / "s"
        holder.run(
            "one = kept['main'] = socket.socket(socket.AF_UNIX)\n"
            f"one.bind({str(path)!r}); one.listen()"
        )

        def stop() -> None:
            path.unlink()
            holder.close()

        waited, reasons = wait(f"unix:{path}", free=stop)
        assert (waited.ok, reasons) == (True, [CauseCode.UNIX_LISTENER])

    def test_unix_socket_whose_file_goes_first(
        self, holder: Holder, tmp_path: Path
    ) -> None:
        """A server that drains: its file is what bind stumbles over."""
        path = tmp_path / "s"
        holder.run(
            "one = kept['main'] = socket.socket(socket.AF_UNIX)\n"
            f"one.bind({str(path)!r}); one.listen()"
        )
        waited, _ = wait(f"unix:{path}", free=path.unlink)
        assert (waited.ok, waited.late) == (True, False)

    def test_unix_socket_whose_file_stays(self, holder: Holder, tmp_path: Path) -> None:
        """Waiting ends: the file will not go away by itself."""
        path = tmp_path / "s"
        holder.run(
            "one = kept['main'] = socket.socket(socket.AF_UNIX)\n"
            f"one.bind({str(path)!r}); one.listen()"
        )
        waited, _ = wait(f"unix:{path}", free=holder.close)
        assert (waited.ok, waited.late) == (False, False)
        report = waiting.report_of(waited, Observer())
        assert report.worst.causes[0].code is CauseCode.STALE_SOCKET_FILE

    @needs("root", "network namespaces")
    def test_time_wait_that_ends_before_its_time(self, holder: Holder) -> None:
        """It is noticed, although no word is said of it."""
        port, client = leave_time_wait(holder)
        waited, reasons = wait(
            f"{LOOPBACK}:{port}",
            free=lambda: destroy((LOOPBACK, port), (LOOPBACK, client)),
        )
        assert (waited.ok, reasons) == (True, [CauseCode.TIME_WAIT])

    def test_time_wait_after_the_server(self, holder: Holder) -> None:
        """A server that had set SO_REUSEADDR leaves nothing that is waited for."""
        port = holder.bind(listen=True, reuse_address=True)
        connect(holder, port)

        def stop() -> None:
            holder.close("accepted")  # first: TIME_WAIT is the server's
            holder.close("client")
            holder.close()

        waited, reasons = wait(f"{LOOPBACK}:{port}", free=stop)
        assert (waited.ok, reasons[0]) == (True, CauseCode.LISTENER)
        rows = bindcheck.sockets(port=port, owners=False)
        assert [str(one.state) for one in rows] == ["time-wait"]

    def test_connections_that_outlive_the_listener(self, holder: Holder) -> None:
        """Without SO_REUSEADDR each that is left is waited for."""
        port = holder.bind(listen=True)
        connect(holder, port)
        holder.close()

        def stop() -> None:
            holder.close("client")
            holder.close("accepted")

        waited, reasons = wait(f"{LOOPBACK}:{port}", free=stop)
        assert (waited.ok, reasons) == (True, [CauseCode.ACCEPTED_CONNECTION])

    def test_somebody_else_is_faster(self, make_holder: Callable[..., Holder]) -> None:
        """A program that is started again has the port again: it is waited for too."""
        first, second = make_holder(), make_holder()
        port = first.bind(listen=True)
        reasons: list[int] = []

        def tell(diagnosis: Diagnosis, _: float | None) -> float:
            reasons.append(diagnosis.blockers[0].owner.processes[0].pid)
            if len(reasons) == 1:
                second.run(
                    "one = kept['main'] = socket.socket()\n"
                    "one.setsockopt(socket.SOL_SOCKET, 15, 1)"
                )
                first.close()
                second.run(f"kept['main'].bind(('127.0.0.1', {port}))")
                second.run("kept['main'].listen()")
            elif reasons[-1] == second.pid:
                second.close()
            return NEVER

        waited = waiting.wait(
            [parse(f"{LOOPBACK}:{port}")],
            Options(),
            Observer(),
            time.monotonic() + PATIENCE,
            tell,
        )
        assert waited.ok
        assert reasons[0] == first.pid

    def test_several_targets(self, holder: Holder) -> None:
        ports = [holder.bind(listen=True, name=name) for name in ("one", "two")]

        def close() -> None:
            holder.close("two")
            holder.close("one")

        waited, _ = wait(*(f"{LOOPBACK}:{port}" for port in ports), free=close)
        assert waited.ok
        assert len(waited.seen) == 2

    @needs("root", "network namespaces", "ip")
    def test_tentative_address(self) -> None:
        """The kernel looks for duplicates for a second, then the address is ready."""
        for line in (
            "link add v0 type veth peer name v1",
            "link set v0 up",
            "link set v1 up",
            "address add fd00::1/64 dev v0",
        ):
            subprocess.run(["ip", *line.split()], check=True)
        waited, reasons = wait("[fd00::1]:8080", free=lambda: None)
        assert waited.ok
        assert reasons in ([], [CauseCode.ADDRESS_TENTATIVE])


class TestBinds:
    """Bind is not polled: a loop of binds takes the port from who waits for it."""

    def test_once_at_the_end(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = holder.bind(listen=True)
        calls: list[str] = []
        probe = native.probe

        def counted(target: Target, options: Options) -> Attempt:
            calls.append("bind")
            return probe(target, options)

        monkeypatch.setattr(native, "probe", counted)

        def free() -> None:
            calls.clear()
            for _ in range(20):  # what comes and goes on the port wakes nobody
                connect(holder, port)
                holder.close("client")
                holder.close("accepted")
            holder.close()

        waited, _ = wait(f"{LOOPBACK}:{port}", free=free)
        assert waited.ok
        assert calls == ["bind"]

    def test_the_tables_are_not_polled_either(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = holder.bind(listen=True)
        looks: list[int] = []
        listing = native.list_sockets

        def counted(protocol: Protocol, port: int, **how: bool) -> native.Listing:
            looks.append(port)
            return listing(protocol, port, **how)

        def tell(*_: object) -> float:
            looks.clear()
            return NEVER

        monkeypatch.setattr(native, "list_sockets", counted)
        waited = waiting.wait(
            [parse(f"{LOOPBACK}:{port}")],
            Options(),
            Observer(),
            time.monotonic() + 1.0,
            tell,
        )
        assert waited.late
        assert len(looks) < 8  # one when it begins to listen, and the last look

    def test_reuse_address_is_assumed_as_servers_set_it(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        waited, _ = wait(f"{LOOPBACK}:{port}", free=holder.close)
        assert waited.seen[0].attempt.options.reuse_address is True
        said = Options(reuse_address=False)
        port = holder.bind(listen=True)
        waited, _ = wait(f"{LOOPBACK}:{port}", free=holder.close, options=said)
        assert waited.seen[0].attempt.options.reuse_address is False

    def test_tables_that_cannot_be_read_deny_nothing(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else what is there would count as gone."""
        port = holder.bind(listen=True)
        (row,) = native.list_sockets(Protocol.TCP, port).sockets
        assert native.has_socket(row)
        monkeypatch.setitem(native.PROTOCOL_NUMBERS, Protocol.TCP, 999)
        assert native.list_sockets(Protocol.TCP, port).source is None
        holder.close()
        assert native.has_socket(row)
        monkeypatch.undo()
        assert not native.has_socket(row)

    def test_nothing_stays_open(self, holder: Holder) -> None:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        port = holder.bind(listen=True)
        wait(f"{LOOPBACK}:{port}", free=holder.close)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


class TestPython:
    """bindcheck.wait_until_bindable()."""

    def test_free_at_once(self, holder: Holder) -> None:
        port = holder.bind()
        holder.close()
        report = bindcheck.wait_until_bindable(("127.0.0.1", port))
        assert report.ok

    def test_the_time_is_over(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        report = bindcheck.wait_until_bindable(f"{LOOPBACK}:{port}", timeout=0.05)
        assert not report.ok
        assert report.worst.causes[0].code is CauseCode.LISTENER

    @pytest.mark.parametrize("target", ["192.0.2.77:8080", "unix:/no/such/folder/s"])
    def test_it_says_at_once_that_waiting_does_not_help(self, target: str) -> None:
        report = bindcheck.wait_until_bindable(target, timeout=None)
        assert report.worst.verdict is Verdict.BLOCKED

    def test_bad_target(self) -> None:
        with pytest.raises(ValueError, match="70000"):
            bindcheck.wait_until_bindable("70000")
