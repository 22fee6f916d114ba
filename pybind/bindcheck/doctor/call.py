"""The native call: does it work, and what judges it before the kernel does."""

from __future__ import annotations

import errno
import os

from bindcheck import native
from bindcheck.doctor.checks import Answer, Group, Question, said
from bindcheck.model import Options
from bindcheck.target import make_target
from bindcheck.words import Family, Protocol

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.doctor.here import Here
    from bindcheck.model import Attempt

_LOOPBACK = {Family.INET: b"\x7f\0\0\1", Family.INET6: bytes(15) + b"\1"}
_NEEDED, _ENOUGH = 16, 1024  # descriptors, at a time and as a limit
_OUTSIDE = "outside of this sandbox the answers are the kernel's"


def _bind(family: Family, protocol: Protocol = Protocol.TCP) -> Attempt:
    """Bind loopback on a port that the kernel chooses."""
    return native.probe(make_target(family, _LOOPBACK[family], 0, protocol), Options())


def _inet(here: Here) -> Answer:
    attempt = _bind(Family.INET)
    if attempt.ok:
        return Answer(ok=True, text="it works")
    return _refused(attempt, here)


def _inet6(here: Here) -> Answer:
    attempt = _bind(Family.INET6)
    if attempt.ok:
        return Answer(ok=True, text="it works")
    code = native.read_confinement(Family.INET6, None).socket_filter
    if code is not None:
        text = f"a system call filter (seccomp) refuses IPv6 sockets: {said(code)}"
        return Answer(ok=False, text=text, widen=_OUTSIDE)
    if here.facts.ipv6_available is False:
        text = f"there is no IPv6 in this kernel ({said(attempt.error)})"
        return Answer(ok=None, text=text)
    if here.facts.ipv6_disabled_loopback:
        text = f"IPv6 is disabled on the loopback interface ({said(attempt.error)})"
        return Answer(ok=None, text=text)
    return _refused(attempt, here)


def _refused(attempt: Attempt, here: Here) -> Answer:
    text = f"{attempt.step} is refused: {said(attempt.error)}"
    if here.facts.loopback_up is not False:
        return Answer(ok=False, text=text)
    sudo = () if here.facts.euid == 0 else ("sudo",)
    return Answer(
        ok=False,
        text=f"{text}, the loopback interface is down",
        widen="with the loopback interface up it may work",
        command=(*sudo, "ip", "link", "set", "lo", "up"),
    )


def _descriptors(here: Here) -> Answer:
    soft, hard = here.facts.descriptor_limits or (None, None)
    limit = f"ulimit -n {'unlimited' if soft is None else soft}"
    spare = _spare_descriptors()
    if spare == _NEEDED:
        return Answer(ok=True, text=f"as many as bindcheck needs ({limit})")
    text = f"bindcheck may open {spare} more, which is too few to look at everything"
    enough = _ENOUGH if hard is None else min(hard, _ENOUGH)
    raised = soft is not None and enough > soft
    return Answer(
        ok=False,
        text=f"{text} ({limit})",
        widen="with a higher limit it sees more",
        command=("ulimit", "-n", str(enough)) if raised else None,
    )


def _spare_descriptors() -> int:
    """How many more we may have, up to what is needed."""
    import _socket

    held: list[int] = []
    try:
        own = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return 0
        raise
    try:
        while len(held) < _NEEDED - 1:
            held.append(os.dup(own.fileno()))
    except OSError:
        pass
    finally:
        own.close()
        for one in held:
            os.close(one)
    return len(held) + 1


def _restrictions(here: Here) -> Answer:
    held = here.confinement
    for call, code in (("bind", held.bind_filter), ("socket", held.socket_filter)):
        if code is not None:
            text = f"a system call filter (seccomp) answers {call}() with {said(code)}"
            return Answer(ok=False, text=text, widen=_OUTSIDE)
    error = _bind(Family.INET).error
    if error is not None and error.symbol in ("EACCES", "EPERM"):
        by = "Landlock, a BPF program of the cgroup or a security module"
        text = f"{by} refuses TCP binds ({said(error)})"
        if _bind(Family.INET, Protocol.UDP).ok:
            text += "; UDP can be bound"
        return Answer(ok=False, text=text, widen=_OUTSIDE)
    programs = [held.bind_programs or 0, held.socket_programs or 0]
    if any(programs):
        text = f"BPF programs of the cgroup ({sum(programs)}) let binds through"
        return Answer(ok=True, text=text)
    if held.seccomp:
        text = "a system call filter (seccomp) lets bind() and socket() through"
        return Answer(ok=True, text=text)
    if held.seccomp is None:
        text = "whether there is a system call filter is not told"
        return Answer(ok=None, text=text)
    return Answer(ok=True, text="no system call filter (seccomp)")


EVERYWHERE = (
    Question(
        name="bind-inet",
        group=Group.CALL,
        title="bind of 127.0.0.1",
        ask=_inet,
        summary="bind of IPv4",
    ),
    Question(
        name="bind-inet6",
        group=Group.CALL,
        title="bind of ::1",
        ask=_inet6,
        summary="bind of IPv6",
    ),
)
"""What every system is asked."""
DESCRIPTORS = Question(
    name="descriptor-limit",
    group=Group.CALL,
    title="open files",
    ask=_descriptors,
)
QUESTIONS = (
    *EVERYWHERE,
    DESCRIPTORS,
    Question(
        name="restrictions",
        group=Group.CALL,
        title="restrictions",
        ask=_restrictions,
    ),
)
