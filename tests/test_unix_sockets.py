"""Unix sockets: paths, abstract names, and what is in the way, each a real situation."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bindcheck
from bindcheck.errors import TargetError
from bindcheck.words import (
    CauseCode,
    Certainty,
    Family,
    Kind,
    Overlap,
    OwnerKind,
    Protocol,
    ReleaseHow,
    SocketType,
    Verdict,
)
from tests.support import NOBODY, Holder, as_user, landlock, needs, seccomp
from tests.support.child import in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bindcheck.model import Diagnosis

pytestmark = needs("unix sockets")


def only(path: object, **options: object) -> Diagnosis:
    (found,) = bindcheck.diagnose(f"unix:{path}", **options)  # type: ignore[arg-type]
    return found


def codes(found: Diagnosis) -> list[CauseCode]:
    return [cause.code for cause in found.causes]


def commands(found: Diagnosis) -> list[tuple[str, ...] | None]:
    return [remedy.command for cause in found.causes for remedy in cause.remedies]


def bound(
    holder: Holder, path: Path | str, *, kind: str = "STREAM", listen: bool
) -> int:
    """Bind a unix socket in the holder; returns its inode."""
    return int(
        holder.run(
            f"kept['u'] = socket.socket(socket.AF_UNIX, socket.SOCK_{kind});"
            f"kept['u'].bind({str(path)!r});"
            + ("kept['u'].listen();" if listen else "")
            + "result = os.fstat(kept['u'].fileno()).st_ino"
        )
    )


class TestHolders:
    """Somebody has the name."""

    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            ("STREAM", CauseCode.UNIX_LISTENER),
            ("SEQPACKET", CauseCode.UNIX_LISTENER),
            ("DGRAM", CauseCode.UNIX_DATAGRAM),
            ("BOUND", CauseCode.BOUND),
        ],
    )
    def test_holder_of_a_path_is_named(
        self, tmp_path: Path, holder: Holder, kind: str, code: CauseCode
    ) -> None:
        path = tmp_path / "s"
        listen = kind in ("STREAM", "SEQPACKET")
        inode = bound(holder, path, kind=kind.replace("BOUND", "STREAM"), listen=listen)
        found = only(path)
        assert found.verdict is Verdict.BLOCKED
        assert codes(found) == [code]
        assert found.causes[0].certainty is Certainty.CERTAIN
        (blocker,) = found.blockers
        assert (blocker.kind, blocker.overlap) == (Kind(code), Overlap.SAME_PATH)
        assert (blocker.socket.inode, blocker.socket.path) == (inode, str(path))
        assert [one.pid for one in blocker.owner.processes] == [holder.pid]
        assert blocker.owner.processes[0].fds == (holder.fd("u"),)
        assert commands(found)[:2] == [("kill", str(holder.pid)), ("rm", str(path))]
        assert found.attempt.error is not None
        assert (found.attempt.error.name, found.attempt.native) == ("EADDRINUSE", False)

    def test_moved_file_still_tells_its_socket(
        self, tmp_path: Path, make_holder: Callable[..., Holder]
    ) -> None:
        """The name that the kernel lists stays the old one, even for two sockets."""
        first, second = make_holder(), make_holder()
        inode = bound(first, tmp_path / "s", listen=True)
        (tmp_path / "s").rename(tmp_path / "moved")
        other = bound(second, tmp_path / "s", listen=True)
        moved, fresh = only(tmp_path / "moved"), only(tmp_path / "s")
        assert [one.socket.inode for one in moved.blockers] == [inode]
        assert [one.socket.inode for one in fresh.blockers] == [other]
        assert [one.pid for one in moved.blockers[0].owner.processes] == [first.pid]
        assert any("bound as" in line for line in moved.causes[0].evidence)

    def test_name_may_be_taken_again_where_the_file_is_gone(
        self, tmp_path: Path, holder: Holder
    ) -> None:
        bound(holder, tmp_path / "s", listen=True)
        (tmp_path / "s").unlink()
        assert only(tmp_path / "s").verdict is Verdict.BINDABLE

    def test_accepted_connection_does_not_have_the_file(
        self, tmp_path: Path, holder: Holder
    ) -> None:
        path = tmp_path / "s"
        bound(holder, path, listen=True)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            holder.run("kept['c'], _ = kept['u'].accept(); kept.pop('u').close()")
            assert codes(only(path)) == [CauseCode.STALE_SOCKET_FILE]

    def test_relative_path(self, tmp_path: Path, holder: Holder) -> None:
        bound(holder, tmp_path / "s", listen=True)
        before = Path.cwd()
        os.chdir(tmp_path)
        try:
            found = only("s")
        finally:
            os.chdir(before)
        assert [one.pid for one in found.blockers[0].owner.processes] == [holder.pid]

    @needs("root", "network namespaces")
    def test_socket_of_another_network_namespace_is_no_leftover(
        self, tmp_path: Path, make_holder: Callable[..., Holder]
    ) -> None:
        """It is in no table here; the file itself tells that it has a socket."""
        for kind, code in (
            ("STREAM", CauseCode.UNIX_LISTENER),
            ("DGRAM", CauseCode.UNIX_DATAGRAM),
        ):
            holder = make_holder()
            holder.run("import ctypes; result = ctypes.CDLL(None).unshare(0x40000000)")
            path = tmp_path / kind
            bound(holder, path, kind=kind, listen=kind == "STREAM")
            found = only(path)
            assert codes(found) == [code]
            (blocker,) = found.blockers
            assert blocker.owner.kind is OwnerKind.HIDDEN
            assert commands(found) == [None]  # to be stopped over there
            holder.kill()
            stale = only(path)
            assert codes(stale) == [CauseCode.STALE_SOCKET_FILE]
            assert stale.causes[0].certainty is Certainty.CERTAIN

    def test_asking_takes_nobodys_connection(
        self, tmp_path: Path, holder: Holder
    ) -> None:
        path = tmp_path / "s"
        bound(holder, path, listen=True)
        only(path)
        assert (
            holder.run(
                "kept['u'].setblocking(False)\n"
                "try: kept['u'].accept()\n"
                "except BlockingIOError: result = 'nobody came'"
            )
            == "nobody came"
        )

    @needs("root")
    def test_other_user_learns_whose_it_is(self, holder: Holder) -> None:
        # Not pytest's own folder, which others may not enter.
        path = Path(tempfile.gettempdir(), f"bindcheck-{holder.pid}.sock")
        try:
            bound(holder, path, listen=True)
            found = as_user(NOBODY, lambda: only(path))
        finally:
            path.unlink()
        (blocker,) = found.blockers
        assert codes(found) == [CauseCode.UNIX_LISTENER]
        assert (blocker.owner.kind, blocker.owner.uid) == (OwnerKind.HIDDEN, 0)


class TestAbstractNames:
    """Names that are no files."""

    @pytest.fixture
    def name(self) -> str:
        return f"bindcheck-{os.getpid()}-{os.urandom(4).hex()}"

    def test_holder_is_named(self, holder: Holder, name: str) -> None:
        bound(holder, f"\0{name}", listen=True)
        found = only(f"@{name}")
        assert codes(found) == [CauseCode.UNIX_LISTENER]
        assert found.attempt.native is True
        assert found.target.path == f"@{name}"
        assert [one.pid for one in found.blockers[0].owner.processes] == [holder.pid]
        assert commands(found) == [("kill", str(holder.pid))]

    def test_types_have_names_of_their_own(self, holder: Holder, name: str) -> None:
        bound(holder, f"\0{name}", listen=True)
        (datagram,) = bindcheck.diagnose(f"unix-datagram:@{name}")
        assert datagram.verdict is Verdict.BINDABLE
        (asked,) = bindcheck.diagnose(f"unix:@{name}", protocol="udp")
        assert asked.target.protocol is Protocol.UNIX_DATAGRAM

    def test_accepted_connection_does_not_have_the_name(
        self, holder: Holder, name: str
    ) -> None:
        bound(holder, f"\0{name}", listen=True)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"\0{name}")
            holder.run("kept['c'], _ = kept['u'].accept(); kept.pop('u').close()")
            assert only(f"@{name}").verdict is Verdict.BINDABLE

    def test_system_chooses_a_name(self) -> None:
        found = only("@")
        assert found.verdict is Verdict.BINDABLE
        assert found.attempt.bound is not None
        assert found.attempt.bound.address.startswith("@")

    def test_bytes_are_an_address_of_python(self, holder: Holder, name: str) -> None:
        bound(holder, f"\0{name}", listen=True)
        (found,) = bindcheck.diagnose(b"\0" + name.encode())
        assert found.target.text == f"unix:@{name}"
        assert codes(found) == [CauseCode.UNIX_LISTENER]


class TestFiles:
    """Something is there that no socket has."""

    def test_leftover_may_be_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
        found = only(path)
        assert codes(found) == [CauseCode.STALE_SOCKET_FILE]
        assert found.causes[0].certainty is Certainty.CERTAIN
        (blocker,) = found.blockers
        assert blocker.kind is Kind.STALE_SOCKET_FILE
        assert blocker.release.how is ReleaseHow.MANUAL
        assert blocker.owner.kind is OwnerKind.NONE
        (command, *_) = commands(found)
        assert command == ("rm", str(path))
        assert path.exists(), "nothing of the user's is removed"
        subprocess.run(command, check=True)
        assert only(path).verdict is Verdict.BINDABLE

    @needs("root")
    def test_leftover_of_another_user_is_only_likely_one(self) -> None:
        """Whether somebody has it may be asked only by who may write to it."""
        path = Path(tempfile.gettempdir(), f"bindcheck-{os.getpid()}-stale.sock")
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
        try:
            found = as_user(NOBODY, lambda: only(path))
        finally:
            path.unlink()
        assert codes(found) == [CauseCode.STALE_SOCKET_FILE]
        assert found.causes[0].certainty is Certainty.POSSIBLE

    @pytest.mark.parametrize("what", ["file", "directory", "symbolic-link", "fifo"])
    def test_something_else_is_left_alone(self, tmp_path: Path, what: str) -> None:
        path = tmp_path / "s"
        if what == "file":
            path.touch()
        elif what == "directory":
            path.mkdir()
        elif what == "fifo":
            os.mkfifo(path)
        else:
            path.symlink_to("nowhere")
        found = only(path)
        assert codes(found) == [CauseCode.PATH_EXISTS]
        assert found.blockers[0].kind is Kind.PATH_EXISTS
        assert commands(found) == [None]
        with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError, match="98"):
            one.bind(str(path))

    def test_link_to_a_live_socket_is_no_socket(
        self, tmp_path: Path, holder: Holder
    ) -> None:
        bound(holder, tmp_path / "s", listen=True)
        (tmp_path / "link").symlink_to("s")
        found = only(tmp_path / "link")
        assert codes(found) == [CauseCode.PATH_EXISTS]
        assert any("to s;" in line for line in found.causes[0].evidence)

    def test_foreign_names_are_escaped(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("\x1b[31mred")
        (line,) = only(tmp_path / "link").causes[0].evidence
        assert "\x1b" not in line
        assert r"\x1b[31mred" in line


def native(path: object) -> str | None:
    """The name of the error that bind itself gives; a file that it makes is removed."""
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.bind(os.fsencode(str(path)))
        except OSError as error:
            return bindcheck.native_code(error.errno or 0).name
    Path(str(path)).unlink()
    return None


class TestTheWay:
    """The folder, its filesystem, and the path itself."""

    def test_absent_path_is_tried_and_nothing_stays(self, tmp_path: Path) -> None:
        for name in ("s", "ab", "a-rather-long-name.sock"):
            found = only(tmp_path / name, listen=True)
            assert found.verdict is Verdict.BINDABLE
            assert found.attempt.native is False
        assert list(tmp_path.iterdir()) == []

    def test_probe_makes_the_very_call_and_removes_its_file(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "s"
        assert bindcheck.probe(f"unix:{path}").ok is True
        assert not path.exists()
        path.touch()
        attempt = bindcheck.probe(f"unix:{path}")
        assert attempt.error is not None
        assert (attempt.error.name, attempt.native) == ("EADDRINUSE", True)
        assert path.exists()

    def test_missing_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "a" / "b" / "s"
        found = only(path)
        assert codes(found) == [CauseCode.DIRECTORY_MISSING]
        assert native(path) == "ENOENT" == found.attempt.error.name  # type: ignore[union-attr]
        assert found.causes[0].summary.endswith(f"{tmp_path}/a")
        subprocess.run(commands(found)[0] or (), check=True)
        assert only(path).verdict is Verdict.BINDABLE

    def test_file_on_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "f").touch()
        found = only(tmp_path / "f" / "s")
        assert codes(found) == [CauseCode.NOT_A_DIRECTORY]
        assert native(tmp_path / "f" / "s") == "ENOTDIR"
        assert f"{tmp_path}/f" in found.causes[0].summary

    def test_links_in_a_circle(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        found = only(tmp_path / "a" / "s")
        assert codes(found) == [CauseCode.SYMLINK_LOOP]
        assert native(tmp_path / "a" / "s") == "ELOOP"

    @pytest.mark.parametrize("length", [107, 108])
    def test_longest_paths_work(self, tmp_path: Path, length: int) -> None:
        before = Path.cwd()
        os.chdir(tmp_path)
        try:
            assert only("x" * length).verdict is Verdict.BINDABLE
        finally:
            os.chdir(before)

    @pytest.mark.parametrize("length", [109, 130, 300])
    def test_longer_ones_do_not(self, length: int) -> None:
        found = only("x" * length)
        assert codes(found) == [CauseCode.PATH_TOO_LONG]
        assert found.attempt.native is True
        assert found.attempt.error is not None
        assert found.attempt.error.name == "EINVAL"
        assert str(length) in found.causes[0].summary

    @needs("root")
    def test_folders_of_others(self) -> None:
        closed, full = (
            Path(tempfile.gettempdir(), f"bindcheck-{os.getpid()}-{name}")
            for name in ("closed", "open")
        )
        try:
            closed.mkdir(mode=0o700)
            (closed / "in").mkdir()
            full.mkdir()
            full.chmod(0o755)
            way = as_user(NOBODY, lambda: only(closed / "in" / "s"))
            inside = as_user(NOBODY, lambda: only(full / "s"))
            (full / "taken").touch()
            taken = as_user(NOBODY, lambda: only(full / "taken"))
        finally:
            for one in (closed / "in", closed):
                one.rmdir()
            (full / "taken").unlink()
            full.rmdir()
        for found, place in ((way, closed), (inside, full)):
            assert codes(found) == [CauseCode.DIRECTORY_NOT_WRITABLE]
            assert found.causes[0].summary.endswith(str(place))
            assert found.attempt.error is not None
            assert found.attempt.error.name == "EACCES"
        assert "drwx------" in way.causes[0].evidence[0]
        assert "drwxr-xr-x" in inside.causes[0].evidence[0]
        # A name that is there is refused before the folder is asked.
        assert codes(taken) == [CauseCode.PATH_EXISTS]
        (following,) = taken.next_errors
        assert following.cause is CauseCode.DIRECTORY_NOT_WRITABLE

    @needs("root", "chattr")
    def test_immutable_folder(self, tmp_path: Path) -> None:
        if subprocess.run(["chattr", "+i", tmp_path], check=False).returncode:
            pytest.skip("this filesystem has no such attribute")
        try:
            found = only(tmp_path / "s")
            name = native(tmp_path / "s")
        finally:
            subprocess.run(["chattr", "-i", tmp_path], check=True)
        assert name == "EPERM"
        assert codes(found) == [CauseCode.DIRECTORY_NOT_WRITABLE]
        assert found.causes[0].summary.endswith(f"{tmp_path} is immutable")

    @needs("Landlock")
    def test_sandbox_that_allows_no_socket_files(self, tmp_path: Path) -> None:
        found = in_child(landlock.forbid_socket_files, lambda: only(tmp_path / "s"))
        assert found.attempt.error is not None
        assert found.attempt.error.name == "EACCES"
        assert codes(found) == [CauseCode.SANDBOX]
        assert found.causes[0].certainty is Certainty.LIKELY
        assert "Landlock" in found.causes[0].summary
        assert (
            "the permissions of the folder would allow it" in found.causes[0].evidence
        )
        assert not any("port" in remedy.text for remedy in found.causes[0].remedies)

    @needs("system call filters")
    def test_filter_that_refuses_bind(self, tmp_path: Path) -> None:
        found = in_child(
            lambda: seccomp.refuse_bind(errno.EPERM), lambda: only(tmp_path / "s")
        )
        assert codes(found) == [CauseCode.SANDBOX]
        assert found.causes[0].certainty is Certainty.CERTAIN

    @needs("system call filters")
    def test_filter_that_says_in_use_of_a_name(self) -> None:
        name = f"@bindcheck-{os.getpid()}-{os.urandom(4).hex()}"
        found = in_child(
            lambda: seccomp.refuse_bind(errno.EADDRINUSE), lambda: only(name)
        )
        assert codes(found) == [CauseCode.SANDBOX]
        assert found.causes[0].certainty is Certainty.CERTAIN

    @needs("system call filters")
    def test_filter_that_refuses_unix_sockets(self, tmp_path: Path) -> None:
        """systemd: RestrictAddressFamilies=AF_INET."""
        found = in_child(
            lambda: seccomp.refuse_family(socket.AF_UNIX, errno.EAFNOSUPPORT),
            lambda: only(tmp_path / "s"),
        )
        assert codes(found) == [CauseCode.SANDBOX]

    @needs("root")
    def test_filesystems(self, tmp_path: Path) -> None:
        """Read-only, full, and such as hold no sockets, in a mount namespace."""

        def look() -> list[tuple[Diagnosis, str | None]]:
            if ctypes.CDLL(None).unshare(0x00020000) != 0:
                raise OSError("unshare")
            for arguments in (
                ["--make-rprivate", "/"],
                ["-t", "tmpfs", "-o", "nr_inodes=2", "full", str(tmp_path)],
            ):
                subprocess.run(["mount", *arguments], check=True)
            (tmp_path / "one").touch()
            found = [(only(tmp_path / "s"), native(tmp_path / "s"))]
            again = ["mount", "-o", "remount,ro,nr_inodes=9", str(tmp_path)]
            subprocess.run(again, check=True)
            others = (tmp_path / "s", tmp_path / "one", "/sys/s", "/proc/s")
            return [*found, *((only(name), native(name)) for name in others)]

        full, read_only, taken, sysfs, procfs = as_user(0, look)
        assert codes(full[0]) == [CauseCode.NO_SPACE]
        assert (
            "0 inodes are free (a socket file needs one)" in full[0].causes[0].evidence
        )
        assert codes(read_only[0]) == [CauseCode.READ_ONLY_FILESYSTEM]
        assert str(tmp_path) in read_only[0].causes[0].summary
        assert codes(taken[0]) == [CauseCode.PATH_EXISTS]
        assert [one.cause for one in taken[0].next_errors] == [
            CauseCode.READ_ONLY_FILESYSTEM
        ]
        for one, _ in (sysfs, procfs):
            assert codes(one) == [CauseCode.FILESYSTEM_WITHOUT_SOCKETS]
        for found, name in (full, read_only, taken, sysfs, procfs):
            assert found.attempt.error is not None
            assert found.attempt.error.name == name


class TestTargets:
    """How unix sockets and AF_VSOCK addresses are written."""

    @pytest.mark.parametrize(
        ("text", "path", "kind"),
        [
            ("unix:/run/a.sock", "/run/a.sock", SocketType.STREAM),
            ("unix:///run/a.sock", "/run/a.sock", SocketType.STREAM),
            ("unix:a b:c/d", "a b:c/d", SocketType.STREAM),
            ("unix-datagram:/dev/log", "/dev/log", SocketType.DATAGRAM),
            ("unix-seqpacket:@x", "@x", SocketType.SEQPACKET),
            ("unix:@", "@", SocketType.STREAM),
            ("unix:////a/b", "//a/b", SocketType.STREAM),
        ],
    )
    def test_forms(self, text: str, path: str, kind: SocketType) -> None:
        from bindcheck.target import make_unix_target, parse

        request = parse(text)
        target = make_unix_target(request.packed, request.protocol)
        assert (target.path, target.protocol.type) == (path, kind)
        assert target.family is Family.UNIX
        assert request.requested == text
        assert parse(target.text).packed == request.packed

    @pytest.mark.parametrize(
        ("given", "part"),
        [
            ("unix:", "no path"),
            ("unix://", "no path"),
            ("unix:/run/", "does not end in '/'"),
            ("/run/a.sock", "write unix:/run/a.sock"),
            ("./a.sock", "write unix:./a.sock"),
            (b"/run/a\0b", "NUL"),
            ("vsock:1234", "vsock:CID:PORT"),
            ("vsock:me:1234", "'me'"),
            ("vsock:any:-1", "'-1'"),
            ("vsock:any:5000000000", "32 bits"),
        ],
    )
    def test_what_is_wrong_is_named(self, given: str | bytes, part: str) -> None:
        with pytest.raises(TargetError, match=part.replace("(", r"\(")):
            bindcheck.diagnose(given)

    @pytest.mark.parametrize(
        "option", ["reuse_address", "reuse_port", "v6only", "freebind"]
    )
    @pytest.mark.parametrize("text", ["unix:@x", "vsock:any:1024"])
    def test_options_of_ip_addresses_are_refused(self, text: str, option: str) -> None:
        with pytest.raises(ValueError, match=option):
            bindcheck.diagnose(text, **{option: True})  # type: ignore[arg-type]


@pytest.fixture
def vsock_port() -> Iterator[int]:
    """A port that this process has."""
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as one:
        one.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
        yield one.getsockname()[1]


@needs("vsock")
class TestVsock:
    """AF_VSOCK: the probe and its errors."""

    def test_free_port(self, vsock_port: int) -> None:
        (found,) = bindcheck.diagnose(f"vsock:any:{vsock_port + 1}", listen=True)
        assert found.verdict is Verdict.BINDABLE
        assert found.attempt.bound is not None
        assert found.attempt.bound.port == vsock_port + 1

    def test_taken_port(self, vsock_port: int) -> None:
        (found,) = bindcheck.diagnose(f"vsock:any:{vsock_port}")
        assert found.attempt.error is not None
        assert found.attempt.error.name == "EADDRINUSE"
        assert codes(found) == [CauseCode.UNSEEN_BLOCKER]

    def test_foreign_context_id(self) -> None:
        (found,) = bindcheck.diagnose("vsock:host:5555")
        assert found.attempt.error is not None
        assert found.attempt.error.name == "EADDRNOTAVAIL"
        assert codes(found) == [CauseCode.ADDRESS_NOT_LOCAL]

    @needs("root")
    def test_privileged_port(self) -> None:
        (found,) = as_user(NOBODY, lambda: bindcheck.diagnose("vsock:any:999").results)
        assert found.attempt.error is not None
        assert found.attempt.error.name == "EACCES"
        assert codes(found) == [CauseCode.PRIVILEGED_PORT]

    def test_system_chooses_a_port(self) -> None:
        attempt = bindcheck.probe("vsock:any:any")
        assert attempt.bound is not None
        assert 0 < attempt.bound.port < 0xFFFFFFFF
