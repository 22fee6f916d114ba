"""What helps on Linux, as commands that can be pasted.

Never offered: to stop a program that is only a client, or an option that a trial
refuted.
"""

from __future__ import annotations

from bindcheck.model import Remedy
from bindcheck.rules.remedies import refusals
from bindcheck.rules.remedies.stopping import stop_owner
from bindcheck.sanitize import is_plain
from bindcheck.words import (
    CauseCode,
    Direction,
    Family,
    OwnerKind,
    Protocol,
    SocketType,
)

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Blocker, Cause, Diagnosis, Snapshot

    _Choose = Callable[[Sequence[Blocker], Diagnosis, Snapshot], Sequence[Remedy]]


def ask_elsewhere(blockers: Sequence[Blocker], snapshot: Snapshot) -> list[Remedy]:
    """Where somebody could see who has it."""
    if all(one.owner.kind is OwnerKind.NONE for one in blockers):
        return []
    codes = {one.code for one in snapshot.limits}
    unlisted = snapshot.path and not any(one.socket.inode for one in blockers)
    if unlisted and snapshot.listed:
        text = (
            "stop the program or container of the other network namespace that has it"
        )
    elif "pid-namespace" in codes:
        text = "ask outside of this container or pid namespace (on the host) who has it"
    elif snapshot.facts.euid != 0:
        return []  # root sees more, which is said in another place
    else:
        text = "no process that can be read has it: ask the machine's administrator"
    return [Remedy(action="ask-elsewhere", text=text)]


def tried(diagnosis: Diagnosis, name: str) -> bool | None:
    """What the trial of an option said; None when there was none."""
    for trial in diagnosis.trials:
        if dict(trial.changed) == {name: True}:
            return trial.ok
    return None


def stop_holders(
    blockers: Sequence[Blocker], _: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    """How to stop each owner, said once."""
    found: list[Remedy] = []
    for blocker in blockers:
        found += stop_owner(blocker.owner, snapshot, blocker.socket.local.port)
    return list(dict.fromkeys(found))


def _time_wait(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, _: Snapshot
) -> list[Remedy]:
    after = max(one.release.after_ms or 0 for one in blockers)
    wait = wait_for(
        diagnosis,
        f"now, in about {after / 1000:.0f} s (the kernel may take 2 s longer)",
    )
    if diagnosis.works_with:
        return []
    if diagnosis.attempt.options.reuse_address:
        return [wait]
    return [wait, set_reuse_address()]


def wait_for(diagnosis: Diagnosis, text: str) -> Remedy:
    """Wait for the port, by the verb that does, with the options that were asked for."""
    asked, options = diagnosis.requested, _switches(diagnosis)
    plain = all(map(is_plain, (asked, *options))) and not asked.startswith("-")
    command = ("bindcheck", "wait", *options, asked) if plain else None
    return Remedy(action="wait", text=text, command=command)


def _switches(diagnosis: Diagnosis) -> tuple[str, ...]:
    """The options of an attempt as the command line has them.

    SO_REUSEADDR is its default. A bare port stands for `::` with IPV6_V6ONLY by itself.
    """
    options = diagnosis.attempt.options
    found = ["--no-reuseaddr"] if options.reuse_address is False else []
    if options.reuse_port:
        found.append("--reuseport")
    if options.v6only is False:
        found.append("--no-v6only")
    elif options.v6only and not diagnosis.requested.isdecimal():
        found.append("--v6only")
    if options.device is not None:
        found += ["--device", options.device]
    if options.freebind:
        found.append("--freebind")
    return tuple(found)


def other_port(diagnosis: Diagnosis, text: str | None = None) -> list[Remedy]:
    """The way out that always works: another port."""
    target = diagnosis.target
    if target.family not in (Family.INET, Family.INET6) or not target.port:
        return []
    udp = ("-u",) if target.protocol is Protocol.UDP else ()
    if not udp and target.protocol.table is not Protocol.TCP:
        return []
    return [
        Remedy(
            action="use-other-port",
            text=text or "or take another port",
            command=("bindcheck", "free", *udp, "--near", str(target.port)),
        )
    ]


def set_reuse_address() -> Remedy:
    """What a server should have set."""
    return Remedy(
        action="set-reuse-address",
        text="from now on: set SO_REUSEADDR before bind, on every start",
    )


def _closing(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    if diagnosis.works_with:
        return []
    held = [one for one in blockers if one.owner.processes]
    if held:
        return stop_holders(held, diagnosis, snapshot)
    after = max(one.release.after_ms or 0 for one in blockers)
    about = f", in about {after / 1000:.0f} s" if after else ""
    wait = wait_for(
        diagnosis, f"now; the kernel gives such connections up in time{about}"
    )
    if diagnosis.attempt.options.reuse_address:
        return [wait]
    return [wait, set_reuse_address()]


def _outgoing(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    port, ephemeral = diagnosis.target.port, snapshot.facts.ephemeral_range
    found = [
        Remedy(
            action="wait-for-client",
            text="the client closes it when it is done; it is no server, "
            "so there is nothing to stop",
        )
    ]
    if ephemeral and ephemeral[0] <= port <= ephemeral[1]:
        found.append(
            Remedy(
                action="use-other-port",
                text="so that it does not come back: use a port outside of "
                f"{ephemeral[0]} to {ephemeral[1]}, or add {port} to "
                "net.ipv4.ip_local_reserved_ports",
            )
        )
    return found


def _datagram(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    if all(one.socket.remote is not None for one in blockers):
        return [
            Remedy(
                action="wait-for-client",
                text="it is connected to one place, as clients are: it closes when it "
                "is done; there may be nothing to stop",
            )
        ]
    return stop_holders(blockers, diagnosis, snapshot)


def _connection(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    if all(one.direction is Direction.OUTGOING for one in blockers):
        return [
            Remedy(
                action="wait-for-client",
                text="it is a client that does not close a connection whose other end "
                "is gone: have it close, or use another port",
            )
        ]
    found = stop_holders(blockers, diagnosis, snapshot)
    if not diagnosis.works_with and not diagnosis.attempt.options.reuse_address:
        found.append(set_reuse_address())
    return found


def tried_options(cause: Cause, diagnosis: Diagnosis) -> list[Remedy]:
    """Options whose trial worked. SO_REUSEPORT is none: it would share the traffic."""
    if not cause.blockers:
        return []
    found = []
    if diagnosis.works_with and cause.code is CauseCode.BOUND:
        # Measured: of two that are bound like this the second to listen gets EADDRINUSE.
        found.append(
            Remedy(
                action="set-reuse-address",
                text="with SO_REUSEADDR bind works beside it, but of the two only the "
                "first to listen gets the port",
                tried=True,
            )
        )
    elif diagnosis.works_with:
        stream = diagnosis.target.protocol.type is SocketType.STREAM
        found.append(
            Remedy(
                action="set-reuse-address",
                text="set SO_REUSEADDR before bind, on every start (most servers do)"
                + (
                    "; no need to wait"
                    if stream and cause.code is CauseCode.TIME_WAIT
                    else ""
                ),
                tried=True,
            )
        )
    if tried(diagnosis, "v6only"):
        found.append(
            Remedy(
                action="set-v6only",
                text="set IPV6_V6ONLY before bind, for IPv6 alone (tried: bind works)",
                tried=True,
            )
        )
    return found


REMEDIES: dict[CauseCode, _Choose] = {
    CauseCode.LISTENER: stop_holders,
    CauseCode.BOUND: stop_holders,
    CauseCode.DATAGRAM: _datagram,
    CauseCode.OUTGOING_CONNECTION: _outgoing,
    CauseCode.ACCEPTED_CONNECTION: _connection,
    CauseCode.CLOSE_WAIT: _connection,
    CauseCode.CLOSING_CONNECTION: _closing,
    CauseCode.TIME_WAIT: _time_wait,
    **refusals.REMEDIES,
}
