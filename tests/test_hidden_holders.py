"""Holders that are not in /proc/PID/fd: each a real one."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bindcheck
from bindcheck import native
from bindcheck.cli.main import run
from bindcheck.records import replace
from bindcheck.words import CauseCode, Domain, OwnerKind, Protocol, Trait, Verdict
from tests.support import NOBODY, Holder, as_user, needs, seccomp
from tests.support.namespaces import (
    CLONE_NEWNS,
    in_pid_namespace,
    in_user_namespace,
    mount,
    unshare,
    with_proc,
)
from tests.support.rings import RING
from tests.support.searches import answer_with

if TYPE_CHECKING:
    from bindcheck.model import Blocker, Diagnosis, Process

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    needs("socket tables"),
    pytest.mark.usefixtures("network"),
]

CLONE_FILES = 0x400
# A child that inherited all descriptors; `body` leaves `tid` of the thread that keeps
# them, then the child says it.
CHILD = """
import ctypes, threading
libc = ctypes.CDLL(None, use_errno=True)
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    ready = threading.Semaphore(0)
    tids = []
    {body}
    os._exit(0)
os.close(writer)
with os.fdopen(reader) as pipe:
    result = [pid, *map(int, pipe.readline().split())]
kept["child"] = pid
"""
OWN_TABLE = """
    def keep():
        assert libc.unshare(0x400) == 0
        tids.append(threading.get_native_id())
        ready.release()
        time.sleep(1000)
    for number in range(2):
        threading.Thread(target=keep, daemon=True).start()
    ready.acquire(), ready.acquire()
    kept["main"].close()
    os.write(writer, b"%d %d\\n" % tuple(tids))
    time.sleep(1000)
"""
ZOMBIE_LEADER = """
    def keep():
        main = os.getpid()
        while open(f"/proc/{main}/task/{main}/stat").read().split(") ")[1][0] != "Z":
            time.sleep(0.001)
        os.write(writer, b"%d\\n" % threading.get_native_id())
        time.sleep(1000)
    threading.Thread(target=keep, daemon=True).start()
    libc.syscall(60 if os.uname().machine == "x86_64" else 93, 0)
"""


def only(report: bindcheck.Report) -> Diagnosis:
    (one,) = report
    return one


def diagnose(port: int, **options: Any) -> Diagnosis:
    return only(bindcheck.diagnose(("127.0.0.1", port), **options))


def blocker_of(found: Diagnosis) -> Blocker:
    assert found.verdict is Verdict.BLOCKED
    (blocker,) = found.blockers
    return blocker


def by_pid(blocker: Blocker) -> dict[int, Process]:
    return {one.pid: one for one in blocker.owner.processes}


def codes(found: Diagnosis) -> set[str]:
    return {one.code for one in found.limits}


def start_child(holder: Holder, body: str) -> list[int]:
    answer = holder.run(CHILD.format(body=body.strip()))
    return [int(one) for one in answer]


@pytest.fixture
def child(network: bool, holder: Holder) -> Any:
    """Ends the child of the holder after the test."""
    del network
    yield
    holder.run("if 'child' in kept: os.kill(kept['child'], 9); os.wait()")


@pytest.mark.usefixtures("child")
class TestThreads:
    def test_thread_with_its_own_table_beside_a_process(self, holder: Holder) -> None:
        """The socket has a holder anyway; the thread's descriptor counts as well."""
        port = holder.bind(listen=True)
        pid, *tids = start_child(holder, OWN_TABLE)
        found = diagnose(port)
        processes = by_pid(blocker_of(found))
        assert set(processes) == {holder.pid, pid}
        assert processes[holder.pid].thread is None
        assert processes[pid].thread == min(tids)
        assert processes[pid].fds == (holder.fd(),)
        evidence = "\n".join(found.causes[0].evidence)
        assert f"only its thread {min(tids)} has the descriptor" in evidence
        holders = native.find_owners([holder.inode()]).holders
        assert {one.tid for one in holders if one.pid == pid} == set(tids)

    def test_threads_with_a_table_of_their_own_alone(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        pid, *tids = start_child(holder, OWN_TABLE)
        inode = holder.inode()
        holder.close()
        blocker = blocker_of(diagnose(port))
        assert set(by_pid(blocker)) == {pid}
        assert blocker.socket.inode == inode
        assert by_pid(blocker)[pid].thread in tids

    def test_leader_that_has_exited(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        pid, tid = start_child(holder, ZOMBIE_LEADER)
        holder.close()
        blocker = blocker_of(diagnose(port))
        (process,) = blocker.owner.processes
        assert (process.pid, process.thread, process.state) == (pid, tid, "zombie")
        # The process is not ending: its thread goes on.
        assert Trait.EXITING not in blocker.owner.traits

    def test_threads_that_share_are_one_holder(self, holder: Holder) -> None:
        holder.bind(listen=True)
        holder.run(
            "import threading\n"
            "for number in range(8):\n"
            "    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"
        )
        found = native.find_owners([holder.inode()]).holders
        assert [(one.pid, one.tid) for one in found] == [(holder.pid, holder.pid)]

    @needs("root", "mount")
    def test_child_that_has_exited_hides_nothing(self) -> None:
        """It belongs to root in /proc until its parent asks for it."""

        def count() -> int:
            return as_user(NOBODY, lambda: native.find_owners([1]).unreadable)

        def counts() -> tuple[int, int]:
            with Holder(uid=NOBODY) as parent:
                before = count()
                parent.run(
                    "kept['child'] = os.fork()\n"
                    "if kept['child'] == 0:\n"
                    "    os._exit(0)\n"
                    "os.waitid(os.P_PID, kept['child'], os.WEXITED | os.WNOWAIT)"
                )
                return before, count()

        before, after = in_pid_namespace(counts)
        assert after == before

    @needs("root")
    def test_fallback_where_tables_cannot_be_compared(self, holder: Holder) -> None:
        """A filter that forbids kcmp(2), as containers have it."""
        port = holder.bind(listen=True)
        pid, *tids = start_child(holder, OWN_TABLE)
        holder.close()

        def filtered() -> list[int | None]:
            forbid_kcmp()
            blocker = blocker_of(diagnose(port))
            return [one.thread for one in blocker.owner.processes]

        (thread,) = as_user(os.geteuid(), filtered)
        assert thread in tids
        assert pid in by_pid(blocker_of(diagnose(port)))


def forbid_kcmp() -> None:
    """A seccomp(2) filter for this process: kcmp fails with EPERM."""
    import struct

    number = 312 if os.uname().machine == "x86_64" else 272
    program = b"".join(
        struct.pack("=HBBI", *one)
        for one in [
            (0x20, 0, 0, 0),  # load the number of the call
            (0x15, 0, 1, number),
            (0x06, 0, 0, 0x00050000 | 1),  # SECCOMP_RET_ERRNO, EPERM
            (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
        ]
    )
    buffer = ctypes.create_string_buffer(program)
    filter_program = struct.pack("=H6xQ", 4, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, ctypes.c_char_p(filter_program)) == 0  # PR_SET_SECCOMP


@needs("root", "mount")
def test_thread_that_may_not_be_read_is_counted() -> None:
    """Its leader may be read, as nobody; the thread is root's, with its own table."""

    def counts() -> tuple[int, int]:
        """In a pid namespace, so that nothing else is counted."""
        with Holder() as thread_of_root:
            thread_of_root.run(
                "import ctypes, threading\n"
                "libc = ctypes.CDLL(None)\n"
                "ready, go = threading.Semaphore(0), threading.Semaphore(0)\n"
                "def keep():\n"
                "    go.acquire()\n"
                "    assert libc.unshare(0x400) == 0\n"
                "    ready.release()\n"
                "    time.sleep(1000)\n"
                "threading.Thread(target=keep, daemon=True).start()\n"
                # The calls themselves: the library's change every thread.
                "call = 117 if os.uname().machine == 'x86_64' else 147\n"
                f"assert libc.syscall(call, {NOBODY}, {NOBODY}, {NOBODY}) == 0\n"
                "libc.prctl(4, 1, 0, 0, 0)\n"
            )
            thread_of_root.run("go.release(); ready.acquire()")
            with_it = as_user(NOBODY, lambda: native.find_owners([1]).unreadable)
        return with_it, as_user(NOBODY, lambda: native.find_owners([1]).unreadable)

    with_it, without = in_pid_namespace(counts)
    assert with_it == without + 1


@needs("io_uring that names its files")
@pytest.mark.parametrize("slots", [2, 3, 700])
def test_registered_with_io_uring(holder: Holder, slots: int) -> None:
    port = holder.bind(listen=True)
    inode = holder.inode()
    ring = holder.run(RING.format(slots=slots))
    found = diagnose(port)
    blocker = blocker_of(found)
    (process,) = blocker.owner.processes
    assert (process.pid, process.fds, process.registered) == (holder.pid, (), True)
    assert blocker.socket.inode == inode
    assert blocker.owner.kind is OwnerKind.PROCESS
    evidence = "\n".join(found.causes[0].evidence)
    assert "registered with io_uring" in evidence
    assert found.causes[0].remedies[0].command == ("kill", str(holder.pid))
    holder.run(f"os.close({ring})")
    settle = socket.socket()
    # The ring goes in the background: closing it is not freeing it.
    for _ in range(1000):
        try:
            settle.bind(("127.0.0.1", port))
            break
        except OSError:
            threading.Event().wait(0.01)
    else:
        pytest.fail("the ring keeps the socket")
    settle.close()


MANY_IN_A_RING = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
ring = libc.syscall(425, 4, ctypes.create_string_buffer(120))
other, fd = kept["other"].fileno(), kept["main"].fileno()
files = (ctypes.c_int * 1000)(*([other] * 600 + [fd] + [other] * 399))
assert libc.syscall(427, ring, 2, files, 1000) == 0
kept.pop("main").close()
"""


@needs("io_uring that names its files")
def test_registered_among_many(holder: Holder) -> None:
    """More sockets than one buffer of /proc/PID/fdinfo has lines for."""
    holder.bind(listen=True, name="other")
    port = holder.bind(listen=True)
    holder.run(MANY_IN_A_RING)
    (process,) = blocker_of(diagnose(port)).owner.processes
    assert (process.pid, process.registered) == (holder.pid, True)


def test_nothing_to_look_for() -> None:
    assert native.find_owners([]).holders == ()


@needs("root")
def test_pid_beside_very_many_groups() -> None:
    """A file that is cut off within the line tells a part of a number, or nothing."""

    def told() -> set[int | None]:
        found = set()
        for digits in range(1, 7):
            for groups in range(520, 585):
                os.setgroups([10 ** (digits - 1), *range(100_000, 100_000 + groups)])
                process = native.read_process(os.getpid())
                assert process is not None
                found.add(process.inner_pid)
        return found - {os.getpid()}

    assert as_user(0, told) <= {None, 0}


@needs("root")
def test_folder_in_the_place_of_proc() -> None:
    """A build sandbox may have one; nothing stays open."""

    def two_descriptors() -> tuple[int, int]:
        one, two = os.dup(0), os.dup(0)
        os.close(one)
        os.close(two)
        return one, two

    def look() -> bool:
        Path("/proc/self").mkdir()
        before = two_descriptors()
        return native.read_own_program() is None and two_descriptors() == before

    assert with_proc("tmpfs", "mode=755", look)


@needs("root", "system call filters")
def test_second_table_that_cannot_be_read() -> None:
    """Without sock_diag there are two tables for TCP: half of them is none."""

    def listing() -> native.Listing:
        unshare(CLONE_NEWNS)
        mount("--make-rprivate", "/")
        with (
            tempfile.TemporaryDirectory() as name,
            socket.create_server(("127.0.0.1", 0)),
            socket.socket(socket.AF_UNIX) as one,
        ):
            folder = Path(name)
            (folder / "tcp").write_bytes(Path("/proc/self/net/tcp").read_bytes())
            one.bind(str(folder / "tcp6"))  # to open a socket's file fails
            mount("--bind", name, f"/proc/{os.getpid()}/net")
            seccomp.refuse_family(socket.AF_NETLINK, errno.EPERM)
            return native.list_sockets(Protocol.TCP, 0)

    found = as_user(0, listing)
    assert (found.source, found.sockets) == (None, ())
    assert found.refused is not None


def send_away(holder: Holder) -> None:
    """Put the listener into the queue of a unix socket, and close its descriptor."""
    holder.run(
        "kept['pair'] = socket.socketpair(socket.AF_UNIX)\n"
        "socket.send_fds(kept['pair'][0], [b'x'], [kept['main'].fileno()])\n"
        "kept.pop('main').close()"
    )


def test_in_flight_over_a_unix_socket(holder: Holder) -> None:
    port = holder.bind(listen=True)
    send_away(holder)
    found = diagnose(port)
    owner = blocker_of(found).owner
    assert owner.processes == ()
    everything = not {"processes-unreadable", "pid-namespace"} & codes(found)
    expected = OwnerKind.IN_TRANSIT if everything else OwnerKind.HIDDEN
    assert owner.kind is expected
    for remedy in found.causes[0].remedies:
        # Nobody to stop; another port can always be taken.
        assert remedy.command is None or remedy.action == "use-other-port"
    holder.run("[one.close() for one in kept.pop('pair')]")
    assert diagnose(port).verdict is Verdict.BINDABLE


def test_kernel_that_does_not_list_its_devices(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have a socket that no process has: that is said, and nothing claimed."""
    real = native.find_owners
    answer_with(monkeypatch, lambda inodes: replace(real(inodes), unreadable=0))
    port = holder.bind(listen=True)
    send_away(holder)
    assert blocker_of(diagnose(port)).owner.kind is OwnerKind.IN_TRANSIT
    refused = native.error(Domain.ERRNO, errno.EPERM)
    monkeypatch.setattr(native, "list_tunnels", lambda: refused)
    found = diagnose(port)
    assert blocker_of(found).owner.kind is OwnerKind.HIDDEN
    (limit,) = (one for one in found.limits if one.code == "kernel-ports-unread")
    assert refused.message in limit.text


@needs("root", "mount")
def test_in_a_pid_namespace_it_is_always_hidden(holder: Holder) -> None:
    """All that can be seen can be read there, and still the holder is outside."""
    port = holder.bind(listen=True)
    found = in_pid_namespace(lambda: diagnose(port))
    assert "processes-unreadable" not in codes(found)
    assert "pid-namespace" in codes(found)
    assert blocker_of(found).owner.kind is OwnerKind.HIDDEN
    send_away(holder)
    found = in_pid_namespace(lambda: diagnose(port))
    assert blocker_of(found).owner.kind is OwnerKind.HIDDEN


@needs("root", "ip", "network namespaces")
class TestTunnel:
    @pytest.fixture
    def vxlan(self, network: bool) -> str:
        del network
        command = "ip link add vx0 type vxlan id 1 dstport 4789 local 127.0.0.1 dev lo"
        if subprocess.run(command.split(), check=False).returncode != 0:
            pytest.skip("needs vxlan devices")
        subprocess.run(["ip", "link", "set", "vx0", "up"], check=True)
        return "vxlan device vx0"

    def ask(self, port: int = 4789) -> Diagnosis:
        return only(bindcheck.diagnose(("127.0.0.1", port), protocol="udp"))

    def test_port_of_the_device(self, vxlan: str) -> None:
        listed = native.list_tunnels()
        assert isinstance(listed, tuple)
        assert [(one.name, one.kind, one.port) for one in listed] == [
            ("vx0", "vxlan", 4789)
        ]
        found = self.ask()
        owner = blocker_of(found).owner
        assert owner.kernel == vxlan
        hidden = "processes-unreadable" in codes(found)
        assert owner.kind is (OwnerKind.HIDDEN if hidden else OwnerKind.KERNEL)
        assert vxlan in "\n".join(found.causes[0].evidence)
        assert vxlan in found.causes[0].remedies[0].text
        *_, last = found.causes[0].remedies
        assert last.action == "use-other-port"
        assert all(one.command is None for one in found.causes[0].remedies[:-1])

    def test_device_that_is_gone(self, vxlan: str) -> None:
        assert self.ask().blockers[0].owner.kernel == vxlan
        subprocess.run(["ip", "link", "delete", "vx0"], check=True)
        assert native.list_tunnels() == ()
        assert self.ask().verdict is Verdict.BINDABLE

    @pytest.mark.usefixtures("vxlan")
    def test_other_port(self, holder: Holder) -> None:
        """The device is no explanation for a port that is not its own."""
        port = holder.bind(kind="udp")
        send_away(holder)
        assert self.ask(port).blockers[0].owner.kernel is None

    @pytest.mark.usefixtures("vxlan")
    def test_in_a_pid_namespace(self) -> None:
        owner = in_pid_namespace(self.ask).blockers[0].owner
        assert owner.kind is OwnerKind.HIDDEN
        assert owner.kernel == "vxlan device vx0"


@needs("root", "unshare")
def test_holder_in_a_pid_namespace_below(holder: Holder) -> None:
    port = holder.bind(listen=True)
    pid = holder.run(
        "import ctypes\n"
        "assert ctypes.CDLL(None).unshare(0x20000000) == 0\n"  # CLONE_NEWPID
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    time.sleep(1000)\n"
        "kept['main'].close()\n"
        "result = pid"
    )
    found = diagnose(port)
    owner = blocker_of(found).owner
    (process,) = owner.processes
    assert (process.pid, process.inner_pid) == (pid, 1)
    assert Trait.OTHER_PID_NAMESPACE in owner.traits
    evidence = "\n".join(found.causes[0].evidence)
    assert "another pid namespace (a container), where its pid is 1" in evidence
    holder.run(f"os.kill({pid}, 9); os.waitpid({pid}, 0)")


class TestLessProc:
    """Where less of /proc can be seen: it degrades, and says so."""

    @needs("root", "mount")
    @pytest.mark.parametrize(
        ("options", "limit"),
        [
            ("hidepid=1", "processes-unreadable"),
            ("hidepid=2", "processes-invisible"),
            ("hidepid=4", "processes-invisible"),
            ("subset=pid", "processes-unreadable"),
            ("subset=pid,hidepid=2", "processes-invisible"),
        ],
    )
    def test_of_an_ordinary_user(
        self, holder: Holder, options: str, limit: str
    ) -> None:
        port = holder.bind(listen=True)
        found = with_proc("proc", options, lambda: diagnose(port), uid=NOBODY)
        blocker = blocker_of(found)
        assert (blocker.owner.kind, blocker.owner.uid) == (OwnerKind.HIDDEN, 0)
        assert found.causes[0].code is CauseCode.LISTENER
        assert limit in codes(found)

    @needs("root", "mount")
    @pytest.mark.parametrize("uid", [0, NOBODY])
    def test_none_at_all(self, holder: Holder, uid: int) -> None:
        port = holder.bind(listen=True)
        found = with_proc("tmpfs", "mode=755", lambda: diagnose(port), uid=uid)
        blocker = blocker_of(found)
        assert blocker.owner.kind is OwnerKind.HIDDEN
        assert found.causes[0].code is CauseCode.LISTENER
        assert codes(found) == {"no-process-table"}
        assert "/proc" in "\n".join(one.text for one in found.limits)

    @needs("root", "mount")
    @pytest.mark.parametrize("options", ["hidepid=1", "hidepid=2", "subset=pid"])
    def test_own_holder_is_found_all_the_same(self, options: str) -> None:
        with Holder(uid=NOBODY) as mine:
            port = mine.bind(listen=True)
            found = with_proc("proc", options, lambda: diagnose(port), uid=NOBODY)
            assert set(by_pid(blocker_of(found))) == {mine.pid}

    @needs("root", "mount")
    @pytest.mark.parametrize("kind", ["proc", "tmpfs"])
    def test_command_says_it(
        self, kind: str, holder: Holder, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """As it is printed, and without a traceback."""
        port = holder.bind(listen=True)
        options = "hidepid=2" if kind == "proc" else "mode=755"

        def call() -> tuple[int, str, str]:
            status = run([f"127.0.0.1:{port}"])
            return (status, *capfd.readouterr())

        status, out, error = with_proc(kind, options, call, uid=NOBODY)
        assert (status, error) == (1, "")
        note = "hidepid" if kind == "proc" else "/proc cannot be read here"
        assert note in out
        assert "root (uid 0) listens there" in out


@needs("root")
@pytest.mark.parametrize("uid", [0, NOBODY])
class TestUserNamespace:
    def test_holder_outside(self, holder: Holder, uid: int) -> None:
        """Root in there, and yet nothing of others may be read."""
        port = holder.bind(listen=True)
        found = in_user_namespace(uid, lambda: diagnose(port))
        blocker = blocker_of(found)
        # The user of the holder has no name in there, unless it is our own.
        assert blocker.owner.uid == (0 if uid == 0 else None)
        assert blocker.owner.user == ("root" if uid == 0 else None)
        assert blocker.owner.kind in (OwnerKind.HIDDEN, OwnerKind.PROCESS)
        assert found.causes[0].code is CauseCode.LISTENER
        if blocker.owner.kind is OwnerKind.HIDDEN:
            assert "processes-unreadable" in codes(found)
            if uid:
                assert "made by a user that is not told here" in "\n".join(
                    found.causes[0].evidence
                )

    def test_own_holder(self, uid: int) -> None:
        """A program of the same user, who started both."""
        with Holder(uid=uid) as mine:
            port = mine.bind(listen=True)
            found = in_user_namespace(uid, lambda: diagnose(port))
            owner = blocker_of(found).owner
            if owner.processes:  # it is of the user namespace above
                assert set(by_pid(blocker_of(found))) == {mine.pid}
            else:
                assert owner.kind is OwnerKind.HIDDEN

    def test_privileged_port(self, uid: int) -> None:
        """Its capabilities are none here: the network is the machine's."""
        found = in_user_namespace(uid, lambda: diagnose(80))
        assert found.attempt.error is not None
        assert found.attempt.error.name == "EACCES"
        assert found.causes[0].code is CauseCode.PRIVILEGED_PORT

    def test_free_port(self, holder: Holder, uid: int) -> None:
        port = holder.bind()
        holder.close()
        found = in_user_namespace(uid, lambda: diagnose(port))
        assert found.verdict is Verdict.BINDABLE
