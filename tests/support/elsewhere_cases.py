"""Situations on Windows and macOS that people reported, laid out for the simulation.

Each has a name, a system, and the target and options that were asked about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bindcheck.model import PathFacts
from bindcheck.words import FileKind, Protocol, State, Step
from tests.support.simulated import ANY, CREATED, NOW, Held, Program, Simulated

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Case:
    """One situation."""

    name: str
    make: Callable[[], Simulated]
    target: str
    options: dict[str, Any] = field(default_factory=dict)


NODE = Program(
    pid=4121,
    name="node.exe",
    command=("C:\\Program Files\\nodejs\\node.exe", "server.js", "--port", "8080"),
    parent=4000,
    path="C:\\Program Files\\nodejs\\node.exe",
    folder="C:\\shop",
)
SHELL = Program(pid=4000, name="powershell.exe", started=CREATED - 900)
MAC_NODE = Program(
    pid=4121,
    name="node",
    command=("node", "server.js", "--port", "8080"),
    parent=4000,
    folder="/Users/ada/shop",
)
MAC_SHELL = Program(pid=4000, name="zsh", started=CREATED - 900)


def windows(*held: Held, **more: Any) -> Callable[[], Simulated]:
    programs = [NODE, SHELL, *more.pop("programs", ())]
    return lambda: Simulated(
        system="win32", held=list(held), programs=list(programs), **more
    )


def darwin(*held: Held, **more: Any) -> Callable[[], Simulated]:
    programs = [MAC_NODE, MAC_SHELL, *more.pop("programs", ())]
    return lambda: Simulated(
        system="darwin", held=list(held), programs=list(programs), **more
    )


def svchost(pid: int, *, user: str | None = None) -> Program:
    return Program(pid=pid, name="svchost.exe", user=user, parent=900)


WINDOWS = [
    Case(
        name="windows-listener",
        make=windows(Held(address=ANY, port=8080, pid=4121)),
        target="0.0.0.0:8080",
    ),
    Case(
        name="windows-specific-beside-wildcard",
        make=windows(Held(address=ANY, port=8080, pid=4121)),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-specific-below-exclusive",
        make=windows(Held(address=ANY, port=8080, pid=4121, mode="exclusive")),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-reuse-against-exclusive",
        make=windows(Held(address=ANY, port=8080, pid=4121, mode="exclusive")),
        target="0.0.0.0:8080",
        options={"reuse_address": True},
    ),
    Case(
        name="windows-reuse-against-default",
        make=windows(Held(address=ANY, port=8080, pid=4121)),
        target="0.0.0.0:8080",
        options={"reuse_address": True},
    ),
    Case(
        name="windows-other-user",
        make=windows(
            Held(address=ANY, port=8080, pid=5555, own=False),
            programs=[Program(pid=5555, name="tomcat.exe", user="SHOP\\bob")],
        ),
        target="192.168.1.20:8080",
    ),
    Case(
        name="windows-hijack",
        make=windows(Held(address=ANY, port=8080, pid=4121, mode="reuse")),
        target="0.0.0.0:8080",
        options={"reuse_address": True},
    ),
    Case(name="windows-free", make=windows(), target="127.0.0.1:8080"),
    Case(
        name="windows-free-exclusive",
        make=windows(),
        target="127.0.0.1:8080",
        options={"exclusive": True},
    ),
    Case(
        name="windows-both-options",
        make=windows(),
        target="127.0.0.1:8080",
        options={"exclusive": True, "reuse_address": True},
    ),
    Case(
        name="windows-dead-pid-child-keeps-it",
        make=windows(
            Held(address="127.0.0.1", port=8080, pid=777),
            programs=[
                Program(
                    pid=778,
                    name="git-daemon.exe",
                    parent=777,
                    started=CREATED + 30,
                    command=("git-daemon.exe",),
                ),
                Program(pid=779, name="older.exe", parent=777, started=CREATED - 300),
            ],
        ),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-reused-pid",
        make=windows(
            Held(address="127.0.0.1", port=8080, pid=777),
            programs=[
                Program(pid=777, name="calc.exe", started=CREATED + 60),
                Program(pid=778, name="worker.exe", parent=777, started=CREATED + 30),
            ],
        ),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-dead-pid-nobody",
        make=windows(Held(address="127.0.0.1", port=8080, pid=777)),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-docker",
        make=windows(
            Held(address=ANY, port=8080, pid=6000),
            programs=[Program(pid=6000, name="com.docker.backend.exe")],
        ),
        target="0.0.0.0:8080",
    ),
    Case(
        name="windows-wslrelay",
        make=windows(
            Held(address="127.0.0.1", port=8080, pid=6001),
            programs=[Program(pid=6001, name="wslrelay.exe")],
        ),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-http-sys",
        make=windows(Held(address=ANY, port=80, pid=4, mode="exclusive")),
        target="0.0.0.0:80",
    ),
    Case(
        name="windows-http-sys-forbidden",
        make=windows(Held(address=ANY, port=80, pid=4, mode="exclusive", own=False)),
        target="127.0.0.1:80",
    ),
    Case(
        name="windows-file-sharing",
        make=windows(Held(address=ANY, port=445, pid=4)),
        target="0.0.0.0:445",
    ),
    Case(
        name="windows-internet-sharing",
        make=windows(
            Held(
                address=ANY,
                port=53,
                pid=1200,
                protocol=Protocol.UDP,
                state=State.CLOSE,
                service_tag=17,
                own=False,
            ),
            programs=[svchost(1200)],
            tags={(1200, 17): "SharedAccess"},
        ),
        target="0.0.0.0:53/udp",
    ),
    Case(
        name="windows-port-proxy",
        make=windows(
            Held(address=ANY, port=8080, pid=1300, own=False),
            programs=[svchost(1300)],
            services=(("iphlpsvc", 1300, True),),
        ),
        target="0.0.0.0:8080",
    ),
    Case(
        name="windows-one-of-several-services",
        make=windows(
            Held(address=ANY, port=8080, pid=1400, own=False),
            programs=[svchost(1400)],
            services=(("Dhcp", 1400, True), ("EventLog", 1400, True)),
        ),
        target="0.0.0.0:8080",
    ),
    Case(
        name="windows-excluded-range",
        make=windows(refused=((50000, 50099),), services=(("winnat", 2000, True),)),
        target="0.0.0.0:50051",
    ),
    Case(
        name="windows-excluded-administered",
        make=windows(refused=((8080, 8080),), registry=((8080, 8080),)),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-forbidden-single-port",
        make=windows(refused=((8080, 8080),)),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-broadcast",
        make=windows(),
        target="255.255.255.255:9000/udp",
    ),
    Case(name="windows-foreign-address", make=windows(), target="203.0.113.9:8080"),
    Case(
        name="windows-time-wait-exclusive",
        make=windows(
            Held(
                address="127.0.0.1",
                port=8080,
                state=State.TIME_WAIT,
                remote=("127.0.0.1", 51000),
            )
        ),
        target="127.0.0.1:8080",
        options={"exclusive": True},
    ),
    Case(
        name="windows-time-wait",
        make=windows(
            Held(
                address="127.0.0.1",
                port=8080,
                state=State.TIME_WAIT,
                remote=("127.0.0.1", 51000),
            )
        ),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-bound",
        make=windows(Held(address="127.0.0.1", port=8080, pid=4121, state=State.CLOSE)),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-localhost-shadowed",
        make=windows(Held(address="::1", port=8080, pid=4121)),
        target="127.0.0.1:8080",
        options={"exclusive": True},
    ),
    Case(
        name="windows-bare-port",
        make=windows(
            Held(address=ANY, port=8080, pid=4121),
            Held(address="::", port=8080, pid=4121),
        ),
        target="8080",
    ),
]

WINDOWS += [
    Case(
        name="windows-no-port-left",
        make=windows(
            Held(
                address="192.168.1.20",
                port=50001,
                pid=4121,
                state=State.ESTABLISHED,
                remote=("203.0.113.80", 443),
            ),
            ephemeral=(50001, 50001),
            exhausted=True,
        ),
        target="0.0.0.0:0",
    ),
    Case(
        name="windows-unix-volume-without",
        make=windows(unix_says=(Step.BIND, "WSAEOPNOTSUPP")),
        target="unix:C:\\shop\\app.sock",
    ),
    Case(
        name="windows-unix-invalid",
        make=windows(unix_says=(Step.BIND, "WSAEINVAL")),
        target="unix:C:\\shop\\app.sock",
    ),
    Case(
        name="windows-unix-unsupported",
        make=windows(unix_says=(Step.SOCKET, "WSAEAFNOSUPPORT")),
        target="unix:C:\\shop\\app.sock",
    ),
    Case(
        name="windows-unix-taken",
        make=windows(path=PathFacts(directory="C:\\shop", kind=FileKind.SOCKET)),
        target="unix:C:\\shop\\app.sock",
    ),
]

AIRPLAY = Program(
    pid=312,
    name="ControlCenter",
    command=(
        "/System/Library/CoreServices/ControlCenter.app/Contents/MacOS/ControlCenter",
    ),
    parent=1,
)
LAUNCHD = Program(pid=1, name="launchd", uid=0)
DARWIN = [
    Case(
        name="macos-listener",
        make=darwin(Held(address=ANY, port=8080, pid=4121, uid=501)),
        target="0.0.0.0:8080",
    ),
    Case(
        name="macos-specific-below-wildcard",
        make=darwin(Held(address=ANY, port=8080, pid=4121, uid=501)),
        target="127.0.0.1:8080",
    ),
    Case(
        name="macos-specific-below-wildcard-reuseaddr",
        make=darwin(Held(address=ANY, port=8080, pid=4121, uid=501)),
        target="127.0.0.1:8080",
        options={"reuse_address": True},
    ),
    Case(
        name="macos-time-wait",
        make=darwin(
            Held(
                address="127.0.0.1",
                port=8080,
                state=State.TIME_WAIT,
                remote=("127.0.0.1", 51000),
            )
        ),
        target="127.0.0.1:8080",
    ),
    Case(
        name="macos-airplay",
        make=darwin(
            Held(address=ANY, port=5000, pid=312, uid=501),
            Held(address="::", port=5000, pid=312, uid=501),
            programs=[AIRPLAY],
        ),
        target="0.0.0.0:5000",
    ),
    Case(
        name="macos-airplay-below",
        make=darwin(Held(address=ANY, port=5000, pid=312, uid=501), programs=[AIRPLAY]),
        target="127.0.0.1:5000",
        options={"reuse_address": True},
    ),
    Case(
        name="macos-launchd",
        make=darwin(
            Held(address=ANY, port=22, pid=1, uid=0),
            programs=[LAUNCHD],
            euid=0,
        ),
        target="0.0.0.0:22",
    ),
    Case(
        name="macos-other-user",
        make=darwin(
            Held(address=ANY, port=8080, pid=5555, uid=502, reuse_address=True),
            programs=[Program(pid=5555, name="java", uid=502)],
        ),
        target="127.0.0.1:8080",
        options={"reuse_address": True},
    ),
    Case(
        name="macos-dead-pid-udp",
        make=darwin(
            Held(
                address=ANY,
                port=5353,
                pid=777,
                uid=501,
                protocol=Protocol.UDP,
                state=State.CLOSE,
                holders=(777,),
            )
        ),
        target="0.0.0.0:5353/udp",
    ),
    Case(
        name="macos-inherited",
        make=darwin(
            Held(address="127.0.0.1", port=8080, pid=777, uid=501, holders=(778,)),
            programs=[
                Program(pid=778, name="sleep", command=("sleep", "3600"), parent=1)
            ],
        ),
        target="127.0.0.1:8080",
    ),
    Case(
        name="macos-docker",
        make=darwin(
            Held(address=ANY, port=8080, pid=6000, uid=501),
            programs=[Program(pid=6000, name="com.docker.backend")],
        ),
        target="0.0.0.0:8080",
    ),
    Case(name="macos-privileged", make=darwin(), target="127.0.0.1:80"),
    Case(name="macos-privileged-wildcard", make=darwin(), target="0.0.0.0:80"),
    Case(name="macos-loopback-alias", make=darwin(), target="127.0.0.2:8080"),
    Case(name="macos-foreign-address", make=darwin(), target="203.0.113.9:8080"),
    Case(
        name="macos-restricted-port",
        make=darwin(restricted=(55555,)),
        target="0.0.0.0:55555",
    ),
    Case(
        name="macos-network-framework",
        make=darwin(Held(address=ANY, port=8080, pid=4121, uid=501, holders=())),
        target="0.0.0.0:8080",
    ),
    Case(name="macos-multicast", make=darwin(), target="224.0.0.251:5353"),
    Case(name="macos-sandbox", make=darwin(sandboxed=True), target="127.0.0.1:8080"),
    Case(
        name="macos-reuseport-twins",
        make=darwin(Held(address=ANY, port=8080, pid=4121, uid=501, reuse_port=True)),
        target="0.0.0.0:8080",
        options={"reuse_port": True},
    ),
    Case(
        name="macos-outgoing",
        make=darwin(
            Held(
                address="192.168.1.20",
                port=50051,
                pid=4121,
                uid=501,
                state=State.ESTABLISHED,
                remote=("203.0.113.80", 443),
            )
        ),
        target="192.168.1.20:50051",
    ),
    Case(
        name="macos-localhost-shadowed",
        make=darwin(Held(address="::1", port=5173, pid=4121, uid=501)),
        target="127.0.0.1:5173",
    ),
    Case(
        name="macos-dual-stack",
        make=darwin(
            Held(address="::", port=8080, pid=4121, uid=501, dual=True),
        ),
        target="0.0.0.0:8080",
    ),
    Case(
        name="macos-dual-stack-comes-second",
        make=darwin(Held(address=ANY, port=8080, pid=4121, uid=501)),
        target="[::]:8080",
    ),
    Case(
        name="macos-foreign-address-below-wildcard",
        make=darwin(Held(address=ANY, port=8080, pid=4121, uid=501)),
        target="203.0.113.9:8080",
        options={"reuse_address": True},
    ),
    Case(
        name="macos-privileged-below-wildcard",
        make=darwin(Held(address=ANY, port=80, pid=4121, uid=501)),
        target="127.0.0.1:80",
        options={"reuse_address": True},
    ),
    Case(
        name="macos-mapped-twin",
        make=darwin(Held(address="::ffff:127.0.0.1", port=8080, pid=4121, uid=501)),
        target="127.0.0.1:8080",
        options={"reuse_address": True},
    ),
    Case(
        name="macos-unix-live",
        make=darwin(
            path=PathFacts(
                directory="/var/run", kind=FileKind.SOCKET, answer="EPROTOTYPE"
            )
        ),
        target="unix:/var/run/shop.sock",
    ),
    Case(
        name="macos-unix-stale",
        make=darwin(
            path=PathFacts(
                directory="/var/run", kind=FileKind.SOCKET, answer="ECONNREFUSED"
            )
        ),
        target="unix:/var/run/old.sock",
    ),
]

WINDOWS += [
    Case(
        name="windows-foreign-address-below-wildcard",
        make=windows(Held(address=ANY, port=8080, pid=4121)),
        target="203.0.113.9:8080",
    ),
    Case(
        name="windows-every-port-refused",
        make=windows(refused=((0, 65535),)),
        target="127.0.0.1:8080",
    ),
    Case(
        name="windows-reused-pid-with-children",
        make=windows(
            Held(address=ANY, port=9418, pid=777),
            programs=[
                Program(pid=777, name="calc.exe", started=CREATED + 60),
                Program(pid=778, name="worker.exe", parent=777, started=CREATED + 90),
            ],
        ),
        target="0.0.0.0:9418",
    ),
    Case(
        name="windows-key-isolation",
        make=windows(
            Held(address=ANY, port=49664, pid=900, service_tag=12),
            programs=[Program(pid=900, name="lsass.exe", user=None)],
            tags={(900, 12): "KeyIso"},
        ),
        target="0.0.0.0:49664",
    ),
    Case(
        name="windows-no-memory",
        make=windows(exhausted=True),
        target="0.0.0.0:0",
    ),
]
DARWIN += [
    Case(
        name="macos-no-port-left",
        make=darwin(
            Held(
                address="192.168.1.20",
                port=50001,
                pid=4121,
                uid=501,
                state=State.ESTABLISHED,
                remote=("203.0.113.80", 443),
            ),
            ephemeral=(50001, 50001),
            exhausted=True,
        ),
        target="192.168.1.20:0",
    ),
    Case(
        name="macos-unix-shared-folder",
        make=darwin(unix_says=(Step.BIND, "EPERM")),
        target="unix:/Volumes/shop/app.sock",
    ),
]
CASES = [*WINDOWS, *DARWIN]
assert NOW > CREATED
