"""What lies around this network: its namespace, the host, NAT rules, Windows."""

from __future__ import annotations

import errno
import os

from bindcheck import translation
from bindcheck.doctor.checks import Answer, Group, Question
from bindcheck.doctor.here import CAP_NET_ADMIN
from bindcheck.rules.ownership import INITIAL_PID_NAMESPACE

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.doctor.here import Here

# Settings of the whole machine: only its first network has them (net/ipv4/sysctl_net_ipv4.c).
_FIRST_ALONE, _EVERY = "tcp_max_orphans", "ip_local_port_range"
_NETLINK_NETFILTER = 12  # linux/netlink.h
_SETTINGS = "/proc/sys/net/ipv4"


def _is_first() -> bool | None:
    """Whether this is the machine's first network namespace; None: not told."""
    if not os.path.exists(f"{_SETTINGS}/{_EVERY}"):  # noqa: PTH110
        return None
    return os.path.exists(f"{_SETTINGS}/{_FIRST_ALONE}")  # noqa: PTH110


def _namespace(here: Here) -> Answer:
    first = _is_first()
    if first is None:
        return Answer(ok=None, text="whether it is the machine's own is not told")
    if first:
        return Answer(ok=True, text="the machine's own")
    engine = here.surroundings.engine
    whose = f"that of a container ({engine})" if engine else "one of its own"
    text = f"{whose}: sockets of the host and of other containers are not seen here, "
    return Answer(
        ok=None,
        text=f"{text}nor in the way here",
        widen="bindcheck on the host sees those of the host",
    )


def _users(here: Here) -> Answer:
    if here.facts.user_namespace is None:
        return Answer(ok=None, text="which one this is is not told")
    if not here.in_user_namespace:
        return Answer(ok=True, text="the machine's own")
    text = "one of its own: its root has no rights over programs outside of it, and "
    return Answer(ok=None, text=f"{text}their users may have no name here")


def _container(here: Here) -> Answer:
    found = here.surroundings
    if found.engine is None:
        return Answer(ok=True, text="none is known of")
    if not found.by_files_alone:
        return Answer(ok=True, text=f"{found.engine}")
    if here.facts.pid_namespace == INITIAL_PID_NAMESPACE and _is_first():
        text = f"files of a {found.engine} image, but every namespace is the machine's"
        return Answer(ok=True, text=text)
    return Answer(ok=True, text=f"{found.engine}, by its files")


def _windows(here: Here) -> Answer:
    version = here.surroundings.wsl
    if version is None:
        return Answer(ok=True, text="this is not WSL")
    text = "WSL 1: the sockets are those of Windows, and its programs are not seen"
    if version == 2:
        text = (
            "WSL 2: the ports of Windows are not seen; mirrored networking puts them "
        )
        text += "in the way"
    return Answer(
        ok=False,
        text=text,
        widen="Windows tells who has them",
        command=("netstat.exe", "-ano"),
    )


def _gvisor(here: Here) -> Answer:
    if not here.surroundings.gvisor:
        return Answer(ok=True, text="this is not gVisor")
    text = "gVisor answers the system calls, with a network of its own: sockets of the "
    return Answer(
        ok=None,
        text=f"{text}host are not seen",
        widen="bindcheck on the host sees those of the host",
    )


def _rules(here: Here) -> Answer:
    """Without rights an answer that there are none would be worth nothing."""
    ours = here.facts.owns_network_namespace is not False
    if not (here.has(CAP_NET_ADMIN) and ours):
        adds = "rules that send a port elsewhere"
        return Answer(
            ok=False,
            text="they cannot be read without CAP_NET_ADMIN in this network",
            widen=here.who_sees(adds, CAP_NET_ADMIN),
            as_root=here.sudo_helps(CAP_NET_ADMIN),
        )
    refused = _refused()
    if refused is not None:
        return Answer(ok=None, text=f"whether there are any is not told: {refused}")
    tables, legacy = translation.has_chains(), translation.has_legacy_table()
    if not tables and not legacy:
        return Answer(ok=True, text="there are none")
    by_nft = bool(translation.output_of("nft", "-j", "list", "ruleset"))
    by_iptables = bool(translation.output_of("iptables-save", "-t", "nat"))
    if (tables and not by_nft and not by_iptables) or (legacy and not by_iptables):
        return Answer(
            ok=False,
            text="there are some, and no tool that reads them",
            widen="nft and iptables-save, once installed, read them",
        )
    if tables and not by_nft:
        text = "only those of iptables can be read: nft is missing or does not answer"
        return Answer(ok=None, text=text)
    return Answer(ok=True, text="they can be read")


def _refused() -> str | None:
    """Why the kernel cannot be asked for rules; a kernel without any can."""
    import _socket

    try:
        family: int = getattr(_socket, "AF_NETLINK", -1)
        _socket.socket(family, _socket.SOCK_RAW, _NETLINK_NETFILTER).close()
    except OSError as error:
        return None if error.errno == errno.EPROTONOSUPPORT else error.strerror
    return None


QUESTIONS = (
    Question(
        name="nat-rules",
        group=Group.SURROUNDINGS,
        title="NAT rules",
        ask=_rules,
        summary="NAT rules",
    ),
    Question(
        name="network-namespace",
        group=Group.SURROUNDINGS,
        title="network",
        ask=_namespace,
    ),
    Question(
        name="user-namespace", group=Group.SURROUNDINGS, title="users", ask=_users
    ),
    Question(
        name="container", group=Group.SURROUNDINGS, title="container", ask=_container
    ),
    Question(
        name="windows-side",
        group=Group.SURROUNDINGS,
        title="Windows",
        ask=_windows,
    ),
    Question(name="gvisor", group=Group.SURROUNDINGS, title="gVisor", ask=_gvisor),
)
