"""The verb `doctor`: what it says where more or less can be seen."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bindcheck import native, translation
from bindcheck.cli import doctor as verb
from bindcheck.doctor import surroundings
from bindcheck.doctor.checks import Check, Group, Question, answered
from bindcheck.doctor.examine import examine_here
from bindcheck.doctor.here import CAP_SYS_PTRACE, Here
from bindcheck.doctor.mounts import engine_of_mounts, proc_options
from bindcheck.doctor.networks import QUESTIONS as NETWORKS
from bindcheck.doctor.surroundings import Surroundings, Texts, surroundings_of
from bindcheck.errors import NativeError
from bindcheck.observe import Observer
from bindcheck.records import replace
from bindcheck.rules.ownership import INITIAL_USER_NAMESPACE
from bindcheck.words import System
from tests.support import (
    NOBODY,
    Holder,
    as_user,
    in_child,
    landlock,
    needs,
    seccomp,
)
from tests.support.namespaces import (
    CLONE_NEWPID,
    in_pid_namespace,
    in_user_namespace,
    unshare,
    with_proc,
)
from tests.support.network import CLONE_NEWNET
from tests.test_command import (
    ESCAPE,
    WIDE,
    Answer,
    as_nobody,
    command,
    here,
    in_terminal,
)
from tests.test_command import prefix as prefix  # noqa: PLC0414 - a fixture
from tests.test_old_kernel import blind

if TYPE_CHECKING:
    from collections.abc import Mapping

Found = dict[str, dict[str, Any]]

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
private = pytest.mark.usefixtures("network")
_PR_SET_NO_NEW_PRIVS, _NETLINK = 38, 16
_ID = "3f" * 32
MISSING = Check(
    name="table",
    group=Group.TABLES,
    title="table",
    summary="table",
    ok=False,
    text="there is none",
    widen=None,
    as_root=False,
    command=None,
)


def asked() -> Found:
    """What --json says, by the name of the check."""
    answer = json.loads(here("doctor", "--json").out)
    return {one["name"]: one for one in answer["checks"]}


def said() -> Answer:
    """What -v says, in lines that are not wrapped."""
    os.environ["COLUMNS"] = "400"
    return here("doctor", "-v")


def as_user_asked(uid: int) -> Found:
    here("doctor", "--json")  # load what others may be unable to read
    return as_user(uid, asked)


def line_of(answer: Answer, title: str) -> str:
    (found,) = (
        one.strip() for one in answer.lines if one[4:].lstrip().startswith(f"{title}:")
    )
    return found


def sysctl(name: str, value: str) -> None:
    Path(f"/proc/sys/net/{name}").write_text(value)


class TestText:
    """What a person reads: the answer first, then what is missing."""

    def test_first_line_is_the_answer(self) -> None:
        answer = here("doctor")
        first = answer.lines[0]
        assert re.fullmatch(
            r"bindcheck (sees everything( that matters)? here"
            r"|cannot see( or do)? (1 thing|[2-9] things) here)",
            first,
        )
        assert answer.status == int("cannot" in first)
        assert here("doctor", "-q").lines == [first]
        assert here("doctor", "-v").lines[0] == first

    def test_number_is_that_of_the_lines(self) -> None:
        answer = here("doctor")
        missing = [one for one in answer.lines if one.startswith("  no  ")]
        count = re.search(r"\d+", answer.lines[0])
        assert len(missing) == (int(count.group()) if count else 0)

    def test_verbose_shows_every_check_below_its_heading(self) -> None:
        answer = command("doctor", "-v", env=WIDE)
        places = [answer.lines.index(str(group)) for group in Group]
        assert places == sorted(places)
        shown = answer.section(str(Group.TABLES))
        titles = [one[4:].partition(":")[0] for one in shown if one[0] != " "]
        assert titles[:2] == ["TCP", "UDP"]
        names = json.loads(here("doctor", "--json").out)["checks"]
        marked = re.findall(r"^  (?:ok|no|\? )  ", answer.out, re.MULTILINE)
        settings = answer.section(str(Group.SETTINGS))
        assert len(names) == len(marked) + len(settings)

    def test_works_is_a_line_by_default(self) -> None:
        shown = command("doctor", env=WIDE).out
        assert re.search(
            r"^  ok  bind of IPv4, .*table of TCP, UDP", shown, re.MULTILINE
        )
        assert "ephemeral" not in shown
        assert len(shown.splitlines()) <= len(here("doctor", "-v").lines)

    @linux
    @pytest.mark.parametrize("no_color", [False, True])
    def test_terminal_shows_what_a_pipe_gets(self, no_color: bool) -> None:
        env = {"NO_COLOR": "1"} if no_color else {}
        shown = in_terminal("doctor", width=400, env=env)
        plain = command("doctor", env=WIDE)
        assert ESCAPE.sub("", shown.out).splitlines()[0] == plain.lines[0]
        colour = "\x1b[1;33m" if plain.status else "\x1b[1;32m"
        assert shown.out.startswith(colour) is not no_color
        assert ("\x1b" in shown.out) is not no_color
        assert shown.status == plain.status

    @pytest.mark.parametrize(
        ("checks", "head"),
        [
            ([replace(MISSING, ok=True)], "bindcheck sees everything here"),
            (
                [replace(MISSING, ok=None)],
                "bindcheck sees everything that matters here",
            ),
            (
                [replace(MISSING, ok=None, group=Group.SETTINGS)],
                "bindcheck sees everything here",
            ),
            ([MISSING], "bindcheck cannot see 1 thing here"),
            (
                [MISSING, MISSING, replace(MISSING, ok=None)],
                "bindcheck cannot see 2 things here",
            ),
            (
                [MISSING, replace(MISSING, group=Group.CALL)],
                "bindcheck cannot see or do 2 things here",
            ),
        ],
    )
    def test_answers(
        self, monkeypatch: pytest.MonkeyPatch, checks: list[Check], head: str
    ) -> None:
        monkeypatch.setattr(verb, "examine_here", lambda _: tuple(checks))
        answer = here("doctor", "-q")
        assert answer.lines == [head]
        assert answer.status == int("cannot" in head)
        lines = [one for one in here("doctor").lines if "table: there is none" in one]
        shown = [one for one in checks if not one.ok and not one.is_setting]
        assert len(lines) == len(shown)

    def test_targets_are_refused(self) -> None:
        answer = here("doctor", "8080")
        assert (answer.status, answer.out) == (2, "")


class TestJson:
    def test_keys_and_names(self) -> None:
        answer = json.loads(command("doctor", "--json", "-q").out)
        assert list(answer) == ["schema", "version", "context", "checks"]
        assert answer["schema"] == 1
        assert answer["context"]["platform"] == sys.platform
        names = [one["name"] for one in answer["checks"]]
        assert len(set(names)) == len(names)
        for one in answer["checks"]:
            assert list(one) == ["name", "ok", "text", "widen"]
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one["name"])
            assert one["ok"] in (True, False, None)
            assert one["text"]
            assert one["text"].isprintable()
            assert one["widen"] is None or one["widen"].isprintable()

    def test_status_is_that_of_the_text(self) -> None:
        assert here("doctor", "--json").status == here("doctor").status


@linux
class TestHarmless:
    def test_nothing_stays_open(self) -> None:
        folder = Path("/proc/self/fd")
        before = sorted(folder.iterdir())
        here("doctor", "--json")
        assert sorted(folder.iterdir()) == before

    def test_no_module_of_the_kernel_is_loaded(self) -> None:
        def loaded() -> list[str]:
            modules = Path("/proc/modules")
            lines = modules.read_text().splitlines() if modules.exists() else []
            protocols = Path("/proc/net/protocols").read_text().splitlines()
            return sorted(one.split()[0] for one in lines + protocols)

        before = loaded()
        here("doctor")
        assert loaded() == before

    def test_takes_little_time(self) -> None:
        here("doctor")
        before = time.process_time()
        here("doctor")
        assert time.process_time() - before < 0.5

    @private
    def test_a_server_is_left_alone(self, holder: Holder) -> None:
        holder.bind(listen=True, reuse_port=True)
        here("doctor")
        holder.run("kept['main'].setblocking(False)")
        with pytest.raises(OSError, match="Resource temporarily unavailable"):
            holder.run("kept['main'].accept()")


@linux
class TestUsers:
    def test_this_user(self) -> None:
        found = asked()
        scan = native.find_owners([1])
        assert found["processes"]["ok"] is (scan.unreadable == 0)
        assert found["bind-inet"]["ok"] is True

    @needs("root")
    def test_root_reads_nat_rules_and_options(self) -> None:
        found = asked()
        assert found["nat-rules"]["ok"] is True
        assert found["holder-options"]["ok"] is True
        answer = here("doctor")
        assert "sudo" not in answer.out

    @needs("root")
    def test_nobody_is_told_what_root_would_see(self, prefix: Path) -> None:
        answer = as_nobody("doctor", prefix=prefix)
        assert answer.status == 1
        text = "processes can be read by nobody \\(uid 65534\\)"
        match = re.search(rf"  no  processes: (\d+) of (\d+) {text}", answer.out)
        assert match is not None
        scan = as_user(NOBODY, lambda: native.find_owners([1]))
        readable, seen = map(int, match.groups())
        assert 0 < readable < seen
        assert abs(seen - scan.seen) < 10  # others come and go
        assert "      root (CAP_SYS_PTRACE) sees pid and program" in answer.out
        assert "  no  NAT rules: " in answer.out
        assert "  ?   options of holders: " in answer.out
        script = shlex.quote(str(prefix / "bindcheck"))
        assert answer.section("to see more") == [f"sudo {script} doctor"]

    @needs("root")
    def test_command_is_never_wrapped(self, prefix: Path) -> None:
        answer = as_nobody("doctor", prefix=prefix, width="20")
        (shown,) = answer.section("to see more")
        assert shlex.split(shown) == ["sudo", str(prefix / "bindcheck"), "doctor"]

    @needs("root")
    @pytest.mark.parametrize(
        ("scope", "ok", "part"),
        [
            ("0", True, "can be read"),
            ("2", True, "can be read"),
            ("3", None, "cannot be read in other programs"),
        ],
    )
    def test_yama(
        self, monkeypatch: pytest.MonkeyPatch, scope: str, ok: bool | None, part: str
    ) -> None:
        monkeypatch.setattr(Here, "trace_scope", scope)
        root = asked()["holder-options"]
        assert (root["ok"], part in root["text"]) == (ok, True)
        nobody = as_user_asked(NOBODY)["holder-options"]
        own = "can be read in your own programs"
        assert nobody["ok"] is None
        assert (own in nobody["text"]) is (scope == "0")
        assert (nobody["widen"] is None) is (scope == "3")

    def test_user_of_a_user_namespace_gets_no_root_by_sudo(self) -> None:
        observer = Observer()
        for namespace, helps in ((INITIAL_USER_NAMESPACE, True), (1, False)):
            observer.facts = replace(
                observer.facts, euid=1000, capabilities=0, user_namespace=namespace
            )
            assert Here(observer).sudo_helps(CAP_SYS_PTRACE) is helps

    @needs("root")
    def test_no_command_where_the_script_is_not_known(
        self, prefix: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (prefix / "bindcheck").unlink()
        monkeypatch.setenv("PATH", "/usr/bin")
        answer = as_nobody("doctor", prefix=prefix)
        assert "sudo" not in answer.out
        assert "root (CAP_SYS_PTRACE) sees" in answer.out

    @needs("root")
    def test_no_sudo_where_it_would_not_help(self, prefix: Path) -> None:
        """NoNewPrivs: programs like sudo stay who they were started by."""

        def call() -> Answer:
            ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            return as_nobody("doctor", prefix=prefix)

        answer = in_child(lambda: None, call)
        assert "sudo" not in answer.out
        assert "outside of this sandbox sees" in answer.out

    @needs("root")
    def test_root_without_a_capability(self) -> None:
        def call() -> Found:
            drop_capabilities()
            return asked()

        found = in_child(lambda: None, call)
        assert found["processes"]["ok"] is False
        assert "--cap-add=SYS_PTRACE" in found["processes"]["widen"]
        assert "--cap-add=NET_ADMIN" in found["nat-rules"]["widen"]
        assert found["capabilities"]["text"] == "none"


def drop_capabilities() -> None:
    import struct

    header = struct.pack("Ii", 0x20080522, 0)
    assert ctypes.CDLL(None).capset(header, bytes(24)) == 0


@linux
class TestProc:
    """Where less of /proc can be seen."""

    @needs("root", "mount")
    @pytest.mark.parametrize(
        ("options", "name", "shown"),
        [
            ("hidepid=1", "processes", "processes can be read by nobody"),
            ("hidepid=2", "process-list", "hidepid="),
            ("hidepid=4", "process-list", "hidepid="),
            ("subset=pid,hidepid=2", "process-list", "subset=pid"),
        ],
    )
    def test_mounted_to_hide(self, options: str, name: str, shown: str) -> None:
        here("doctor")
        found = with_proc("proc", options, asked, uid=NOBODY)
        assert found[name]["ok"] is False
        assert shown in found[name]["text"]
        assert "CAP_SYS_PTRACE" in found[name]["widen"]

    @needs("root", "mount")
    def test_hidden_processes_are_not_counted_as_readable(self) -> None:
        found = with_proc("proc", "hidepid=2", asked, uid=NOBODY)
        assert found["processes"]["ok"] is None  # of those that are listed
        assert found["process-list"]["ok"] is False
        root = with_proc("proc", "hidepid=2", asked)
        assert root["process-list"]["ok"] is True
        assert "hidepid=" in root["process-list"]["text"]

    @needs("root", "mount")
    @pytest.mark.parametrize("uid", [0, NOBODY])
    def test_none_at_all(self, uid: int) -> None:
        here("doctor")
        found, answer = with_proc(
            "tmpfs", "mode=755", lambda: (asked(), here("doctor", "-v")), uid=uid
        )
        assert answer.status == 1
        assert found["processes"]["ok"] is False
        assert "/proc cannot be read" in found["processes"]["text"]
        assert found["bind-inet"]["ok"] is True
        assert found["tcp-table"]["ok"] is True
        unknown = {name for name, one in found.items() if one["ok"] is None}
        assert unknown >= {"pid-namespace", "user-namespace", "ephemeral-range"}

    @needs("root", "mount")
    def test_subset_hides_the_settings(self) -> None:
        found = with_proc("proc", "subset=pid", asked)
        assert found["ephemeral-range"] == {
            "name": "ephemeral-range",
            "ok": None,
            "text": "not told",
            "widen": None,
        }
        assert found["network-namespace"]["ok"] is None

    @needs("root", "mount")
    def test_pid_namespace(self) -> None:
        found, answer = in_pid_namespace(lambda: (asked(), here("doctor")))
        assert found["pid-namespace"]["ok"] is False
        assert "outside of this container" in found["pid-namespace"]["text"]
        assert found["pid-namespace"]["widen"] == "bindcheck on the host sees them"
        assert found["processes"]["ok"] is True
        assert answer.status == 1
        assert "sudo" not in answer.out

    @needs("root")
    def test_proc_of_another_pid_namespace(self) -> None:
        def call() -> Found:
            unshare(CLONE_NEWPID)
            return as_user(0, asked)

        found = as_user(0, call)
        assert found["process-list"]["ok"] is False
        assert "another pid namespace" in found["process-list"]["text"]

    @needs("root", "user namespaces")
    def test_user_namespace(self, prefix: Path) -> None:
        def call() -> tuple[Found, Answer]:
            sys.argv, sys.executable = ["bindcheck", "doctor"], str(prefix / "python")
            return asked(), here("doctor")

        here("doctor")
        found, answer = in_user_namespace(NOBODY, call)
        assert found["user-namespace"]["ok"] is None
        assert found["nat-rules"]["ok"] is False
        assert found["processes"]["ok"] is False
        for name in ("nat-rules", "processes"):
            assert "outside of this user namespace" in found[name]["widen"]
        assert answer.status == 1
        assert "sudo" not in answer.out


@linux
@needs("network namespaces")
class TestNetwork:
    @private
    def test_a_network_of_its_own(self) -> None:
        found = asked()
        assert found["network-namespace"]["ok"] is None
        assert "not seen here, nor in the way" in found["network-namespace"]["text"]
        assert found["bind-inet"]["ok"] is True

    @needs("root", "IPv6")
    def test_loopback_that_is_down(self) -> None:
        found, answer = in_child(
            lambda: unshare(CLONE_NEWNET), lambda: (asked(), here("doctor"))
        )
        assert found["bind-inet6"]["ok"] is False
        assert "the loopback interface is down" in found["bind-inet6"]["text"]
        assert "ip link set lo up" in answer.section("to see more")
        assert answer.lines[0].startswith("bindcheck cannot see or do ")

    @needs("root", "IPv6")
    @private
    def test_ipv6_that_is_disabled(self) -> None:
        sysctl("ipv6/conf/lo/disable_ipv6", "1")
        found = asked()
        assert found["bind-inet6"]["ok"] is None
        assert "disabled on the loopback" in found["bind-inet6"]["text"]
        assert found["ipv6"]["text"] == "disabled on lo"

    @needs("root", "IPv6")
    @private
    def test_settings(self) -> None:
        before = asked()
        assert before["nonlocal-bind"]["text"].startswith("cannot be bound")
        assert before["privileged-ports"]["text"].startswith("below 1024")
        sysctl("ipv4/ip_nonlocal_bind", "1")
        sysctl("ipv4/ip_unprivileged_port_start", "80")
        sysctl("ipv4/ip_local_port_range", "40001 50001")
        sysctl("ipv4/ip_local_reserved_ports", "8080,9000-9010")
        sysctl("ipv6/bindv6only", "1")
        after = asked()
        assert after["nonlocal-bind"]["text"].startswith("IPv4 can be bound")
        assert after["privileged-ports"]["text"].startswith("below 80")
        assert "which is there" in after["privileged-ports"]["text"]
        nobody = as_user_asked(NOBODY)
        assert "which is missing" in nobody["privileged-ports"]["text"]
        assert after["ephemeral-range"]["text"].startswith("40001 to 50001")
        assert after["reserved-ports"]["text"] == "8080, 9000-9010"
        assert after["v6only-default"]["text"].startswith(":: is IPv6 alone")
        sysctl("ipv4/ip_unprivileged_port_start", "0")
        assert asked()["privileged-ports"]["text"].startswith("none")

    @needs("root", "nft")
    @private
    def test_nat_rules(self, network: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        assert network
        assert asked()["nat-rules"]["text"] == "there are none"
        for text in (
            "add table ip shop",
            "add chain ip shop in { type nat hook prerouting priority -100; }",
        ):
            subprocess.run(["nft", text], check=True, capture_output=True)
        readable = asked()["nat-rules"]
        assert (readable["ok"], readable["text"]) == (True, "they can be read")
        monkeypatch.setattr(translation, "_PATH", "/nowhere")
        unreadable = asked()["nat-rules"]
        assert unreadable["ok"] is False
        assert "nft and iptables-save" in unreadable["widen"]

    @needs("root", "nft")
    @private
    def test_nat_rules_of_iptables_alone(
        self, network: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert network
        for text in ("add table ip nat", "add chain ip nat in"):
            subprocess.run(["nft", text], check=True, capture_output=True)
        monkeypatch.setattr(
            translation, "output_of", lambda tool, *_: "x" if tool != "nft" else ""
        )
        assert asked()["nat-rules"]["ok"] is None


@linux
class TestSandbox:
    """Real filters, in a child that they are for."""

    @needs("system call filters")
    def test_bind_is_refused(self) -> None:
        found, answer = in_child(
            lambda: seccomp.refuse_bind(errno.EPERM), lambda: (asked(), here("doctor"))
        )
        assert found["bind-inet"]["ok"] is False
        assert "bind is refused: 1 EPERM" in found["bind-inet"]["text"]
        assert found["restrictions"]["ok"] is False
        assert "(seccomp) answers bind() with 1 EPERM" in found["restrictions"]["text"]
        assert answer.lines[0].startswith("bindcheck cannot see or do ")
        assert answer.status == 1

    @needs("system call filters")
    def test_filter_that_lets_binds_through(self) -> None:
        found = in_child(lambda: seccomp.refuse_family(40, errno.EPERM), asked)
        assert found["restrictions"]["ok"] is True
        assert "lets bind() and socket() through" in found["restrictions"]["text"]
        assert found["io-uring"]["ok"] is None

    @needs("system call filters", "IPv6")
    @pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EPERM])
    def test_ipv6_is_refused(self, code: int) -> None:
        """As RestrictAddressFamilies= has it: the kernel may have IPv6 all the same."""
        found = in_child(lambda: seccomp.refuse_family(socket.AF_INET6, code), asked)
        assert found["bind-inet6"]["ok"] is False
        assert "(seccomp) refuses IPv6 sockets" in found["bind-inet6"]["text"]
        assert found["bind-inet"]["ok"] is True

    @needs("system call filters", "socket tables")
    @pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EPERM])
    def test_the_kernel_cannot_be_asked(self, code: int) -> None:
        found = in_child(lambda: seccomp.refuse_family(_NETLINK, code), asked)
        for name in ("tcp-table", "udp-table"):
            assert found[name]["ok"] is None
            assert f"(sock_diag: {code} " in found[name]["text"]
            assert "/proc/net" in found[name]["text"]
        assert found["unix-table"]["ok"] is False
        assert found["socket-ends"]["ok"] is None
        assert "25 times a second" in found["socket-ends"]["text"]
        bound = found["bound-sockets"]
        assert "by their descriptors" in bound["text"] or bound["ok"] is False

    @needs("system call filters", "root")
    def test_rules_that_cannot_be_asked_for_are_not_denied(self) -> None:
        found = in_child(lambda: seccomp.refuse_family(_NETLINK, errno.EPERM), asked)
        assert found["nat-rules"]["ok"] is None
        assert "Operation not permitted" in found["nat-rules"]["text"]

    @needs("system call filters", "MPTCP")
    def test_protocol_without_a_table(self) -> None:
        found = in_child(lambda: seccomp.refuse_family(_NETLINK, errno.EPERM), asked)
        assert found["mptcp-table"]["ok"] is None
        assert "shown as TCP" in found["mptcp-table"]["text"]

    @needs("Landlock for the network")
    def test_landlock(self) -> None:
        found = in_child(landlock.allow_ports, asked)
        assert found["bind-inet"]["ok"] is False
        assert "13 EACCES" in found["bind-inet"]["text"]
        assert found["restrictions"]["ok"] is False
        assert "Landlock" in found["restrictions"]["text"]
        assert found["restrictions"]["text"].endswith("; UDP can be bound")

    @pytest.mark.parametrize("limit", [5, 6, 8, 12])
    def test_few_descriptors(self, limit: int) -> None:
        resource = pytest.importorskip("resource")
        done = subprocess.run(
            [sys.executable, "-m", "bindcheck", "doctor"],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 100)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, "")
        assert re.search(r"  no  open files: bindcheck may open \d more", done.stdout)
        assert f"ulimit -n {limit}" in done.stdout
        assert "  ulimit -n 100\n" in done.stdout

    def test_no_descriptors_at_all(self) -> None:
        """Nothing can be opened, yet it answers."""
        resource = pytest.importorskip("resource")

        def few() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))

        here("doctor")
        found, answer = in_child(few, lambda: (asked(), here("doctor", "-v")))
        assert found["descriptor-limit"]["ok"] is False
        assert "may open 0 more" in found["descriptor-limit"]["text"]
        assert found["bind-inet"]["ok"] is False
        assert "Too many open files" in found["processes"]["text"]
        assert answer.status == 1
        # A higher limit is not to be had: no command raises it.
        lines = [line.strip() for line in answer.out.splitlines()]
        assert not [line for line in lines if line.startswith("ulimit")]

    def test_question_that_cannot_be_asked(self) -> None:
        def fail(_: Here) -> Any:
            raise NativeError("no\x1b[31m")

        question = Question(name="x", group=Group.CALL, title="x", ask=fail)
        (found,) = answered([question], Here(Observer()))
        assert (found.ok, found.widen) == (None, None)
        assert found.text == r"could not be tried: no\x1b[31m"
        headline = verb._headline([found]).text
        assert headline == "bindcheck sees everything that could be tried here"


@linux
class TestTables:
    @needs("bound sockets in the tables")
    def test_bound_sockets(self) -> None:
        assert asked()["bound-sockets"]["ok"] is True

    @needs("root", "socket tables", "mount")
    def test_bound_sockets_of_old_kernels(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        blind(monkeypatch)
        found = in_pid_namespace(asked)["bound-sockets"]
        assert found["ok"] is True
        assert "are found by their descriptors" in found["text"]
        here("doctor")
        nobody = as_user_asked(NOBODY)["bound-sockets"]
        assert nobody["ok"] is False
        assert "root (CAP_SYS_PTRACE) sees" in nobody["widen"]

    @needs("socket tables")
    def test_waiting(self) -> None:
        found = asked()
        assert found["socket-ends"]["ok"] is True
        assert found["process-exits"]["ok"] is True

    def test_waiting_without_a_word(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(native, "watch_ends", lambda *_: None)
        monkeypatch.delattr(os, "pidfd_open")
        found = asked()
        assert found["socket-ends"]["ok"] is None
        assert found["process-exits"]["ok"] is None

    def test_word_that_never_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reader, writer = os.pipe()
        monkeypatch.setattr(native, "watch_ends", lambda *_: reader)
        found = asked()["socket-ends"]
        os.close(writer)
        assert (found["ok"], "tells of none" in found["text"]) == (None, True)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(reader)

    @needs("vsock")
    def test_vsock(self) -> None:
        assert "can be bound" in asked()["vsock"]["text"]

    @needs("io_uring that names its files")
    def test_rings(self) -> None:
        assert asked()["io-uring"]["ok"] is True

    def test_protocols_that_are_not_loaded(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = native.list_sockets
        nothing = native.Listing(source=None, sockets=(), refused=None, bound=None)
        monkeypatch.setattr(
            native,
            "list_sockets",
            lambda protocol, port, **tries: (
                nothing
                if protocol in ("sctp", "udplite")
                else real(protocol, port, **tries)
            ),
        )
        for loaded, ok in ((frozenset(), True), (frozenset({"SCTP"}), False)):
            monkeypatch.setattr(Here, "protocols", loaded)
            assert asked()["sctp-table"]["ok"] is ok
            assert asked()["udplite-table"]["ok"] is True
        monkeypatch.setattr(Here, "protocols", None)
        assert asked()["sctp-table"]["ok"] is None


DOCKER_MOUNT = (
    b"612 600 254:1 /var/lib/docker/containers/" + _ID.encode() + b"/hosts "
    b"/etc/hosts rw,relatime - ext4 /dev/vda1 rw,discard"
)


class TestSurroundings:
    """Texts as the systems have them."""

    @pytest.mark.parametrize(
        ("cgroup", "engine"),
        [
            ("", None),
            ("0::/user.slice/user-1000.slice/session-2.scope\n", None),
            (f"0::/docker/{_ID}\n", "docker"),
            (f"0::/system.slice/docker-{_ID}.scope\n", "docker"),
            (f"12:pids:/docker/{_ID}\n1:name=systemd:/docker/{_ID}\n0::/\n", "docker"),
            (f"0::/machine.slice/libpod-{_ID}.scope/container\n", "podman"),
            (f"0::/kubepods.slice/cri-containerd-{_ID}.scope\n", "Kubernetes"),
            ("0::/lxc.payload.shop/init.scope\n", "LXC"),
        ],
    )
    def test_engine_of_a_cgroup(self, cgroup: str, engine: str | None) -> None:
        found = surroundings_of(Texts(cgroup=cgroup.encode(), docker_mark=True))
        assert found.engine == (engine or "docker")
        assert found.by_files_alone is (engine is None)

    @pytest.mark.parametrize(
        ("variables", "engine"),
        [
            (b"PATH=/bin\0container=lxc\0", "LXC"),
            (b"container=podman\0", "podman"),
            (b"container=\0", None),
            (b"KUBERNETES_SERVICE_HOST=10.0.0.1\0container=x\0", "Kubernetes"),
        ],
    )
    def test_engine_of_the_first_process(
        self, variables: bytes, engine: str | None
    ) -> None:
        found = surroundings_of(Texts(first_environment=variables))
        assert found == Surroundings(engine=engine)

    @pytest.mark.parametrize(
        ("texts", "engine", "by_files_alone"),
        [
            ({"mounts": DOCKER_MOUNT}, "docker", False),
            ({"manager": "systemd-nspawn"}, "systemd-nspawn", False),
            ({"manager": "wsl"}, None, False),
            ({"kubernetes": True, "docker_mark": True}, "Kubernetes", False),
            ({"podman_mark": True}, "podman", True),
            ({"own_variable": "oci"}, "OCI", True),
            ({"own_variable": "\x1b]0;x\x07"}, r"\x1b]0;x\x07", True),
            ({"own_variable": "x" * 100}, "x" * 40, True),
        ],
    )
    def test_engines(
        self, texts: Mapping[str, Any], engine: str | None, by_files_alone: bool
    ) -> None:
        found = surroundings_of(Texts(**texts))
        assert (found.engine, found.by_files_alone) == (engine, by_files_alone)

    @pytest.mark.parametrize(
        ("release", "wsl"),
        [
            ("6.6.87.2-microsoft-standard-WSL2", 2),
            ("5.15.90.1-microsoft-standard-WSL2+", 2),
            ("4.19.104-microsoft-standard", 2),
            ("6.1.21-custom-WSL2", 2),
            ("4.4.0-19041-Microsoft", 1),
            ("6.12.43+deb13-amd64", None),
            ("6.8.0-1015-azure", None),
        ],
    )
    def test_wsl(self, release: str, wsl: int | None) -> None:
        assert surroundings_of(Texts(release=release)).wsl == wsl

    @pytest.mark.parametrize(
        ("version", "gvisor"),
        [
            ("Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016", True),
            ("Linux version 4.19.0-gvisor #1 SMP Sun Jan 10 15:06:54 PST 2016", True),
            ("Linux version 6.1.0-40-amd64 (gcc-12) #1 SMP Debian 6.1.153-1", False),
            ("", False),
        ],
    )
    def test_gvisor(self, version: str, gvisor: bool) -> None:
        assert surroundings_of(Texts(version=version)).gvisor is gvisor

    @pytest.mark.parametrize(
        ("root", "place", "engine"),
        [
            (f"/docker/containers/{_ID}/resolv.conf", "/etc/resolv.conf", "docker"),
            (f"/storage/overlay-containers/{_ID}/hosts", "/etc/hosts", "podman"),
            ("/var/lib/kubelet/pods/1f/etc-hosts", "/etc/hosts", "Kubernetes"),
            (f"/io.containerd.cri/{_ID}/hostname", "/etc/hostname", "containerd"),
            (f"/docker/containers/{_ID}/hosts", "/srv/hosts", None),
            ("/etc/hosts", "/etc/hosts", None),
        ],
    )
    def test_mounts(self, root: str, place: str, engine: str | None) -> None:
        line = f"1 2 8:1 {root} {place} rw - ext4 /dev/sda1 rw\n"
        assert engine_of_mounts(line.encode()) == engine

    @pytest.mark.parametrize("text", [b"", b"\n", b"1 2 3", b" - ", b"\xff - \xff\n"])
    def test_mounts_that_are_none(self, text: bytes) -> None:
        assert engine_of_mounts(text) is None
        assert proc_options(text) == ()

    def test_options_of_proc(self) -> None:
        first = b"22 27 0:21 / /proc rw,relatime - proc proc rw,hidepid=2,gid=27\n"
        last = b"90 22 0:55 / /proc rw - proc proc rw,subset=pid\n"
        other = b"91 22 0:56 / /srv/proc rw - proc proc rw,hidepid=2\n"
        covered = b"92 22 0:57 / /proc rw - tmpfs tmpfs rw,gid=5\n"
        assert proc_options(first) == ("hidepid=2", "gid=27")
        assert proc_options(first + last + other) == ("subset=pid",)
        assert proc_options(first + covered) == ()

    @linux
    @pytest.mark.parametrize(
        ("found", "name", "ok", "part"),
        [
            (Surroundings(wsl=2), "windows-side", False, "mirrored networking"),
            (
                Surroundings(wsl=1),
                "windows-side",
                False,
                "sockets are those of Windows",
            ),
            (Surroundings(), "windows-side", True, "not WSL"),
            (Surroundings(gvisor=True), "gvisor", None, "of the host are not seen"),
            (Surroundings(), "gvisor", True, "not gVisor"),
            (Surroundings(), "container", True, "none"),
            (Surroundings(engine="podman"), "container", True, "podman"),
        ],
    )
    def test_answers(
        self,
        monkeypatch: pytest.MonkeyPatch,
        found: Surroundings,
        name: str,
        ok: bool | None,
        part: str,
    ) -> None:
        monkeypatch.setattr(Here, "surroundings", found)
        checks = {one.name: one for one in answered(NETWORKS, Here(Observer()))}
        assert checks[name].ok is ok
        assert part in checks[name].text

    @linux
    @private
    @needs("network namespaces")
    def test_container_is_named_where_it_hides_something(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            surroundings, "read_texts", lambda: Texts(manager="shop\x1b[31m")
        )
        monkeypatch.setattr("bindcheck.doctor.here.read_texts", surroundings.read_texts)
        answer = said()
        assert r"that of a container (shop\x1b[31m)" in line_of(answer, "network")
        assert line_of(answer, "container").endswith(r"shop\x1b[31m")

    @linux
    def test_this_machine_is_read(self) -> None:
        texts = surroundings.read_texts()
        assert texts.version.startswith("Linux version ")
        assert texts.release == os.uname().release
        assert texts.cgroup.startswith((b"0::", b"1"), texts.cgroup.rfind(b"\n0:") + 1)
        assert b" /proc " in texts.mounts


@linux
class TestElsewhere:
    """What macOS and Windows are asked, with the answers of this system."""

    @staticmethod
    def examine(system: System, **facts: Any) -> dict[str, Check]:
        observer = Observer()
        observer.facts = replace(observer.facts, system=system, **facts)
        return {one.name: one for one in examine_here(observer)}

    @pytest.mark.parametrize("elevated", [True, False, None])
    def test_windows(self, elevated: bool | None) -> None:
        found = self.examine(
            System.WINDOWS, euid=None, capabilities=0, elevated=elevated
        )
        assert [*found] == [
            "bind-inet",
            "bind-inet6",
            "tcp-table",
            "udp-table",
            "bound-sockets",
            "processes",
            "ephemeral-range",
            "kept-ports",
        ]
        assert found["processes"].ok is elevated
        assert bool(found["processes"].widen) is (elevated is False)
        assert found["bind-inet"].ok is True

    @needs("bound sockets in the tables")
    def test_macos(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.examine(System.DARWIN, euid=501, capabilities=0)
        assert [*found][-3:] == ["processes", "kept-ports", "descriptor-limit"]
        scan = native.find_owners([1])
        monkeypatch.setattr(Here, "scan", replace(scan, unreadable=3, seen=9))
        for uid, widen in (
            (501, "root sees pid and program of every socket"),
            (0, None),
        ):
            hidden = self.examine(System.DARWIN, euid=uid, capabilities=0)["processes"]
            assert hidden.text.startswith("6 of 9 processes can be read by ")
            assert (hidden.ok, hidden.widen) == (False, widen)
            assert hidden.as_root is (uid != 0)
            assert "CAP_" not in hidden.text
