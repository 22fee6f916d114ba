"""What helps on Windows, in words that PowerShell and cmd both take.

Never offered: to end the kernel (pid 4) or a program that Windows needs, or to "run as
administrator" against an error that administrators get as well.
"""

from __future__ import annotations

from bindcheck.model import Remedy
from bindcheck.rules.proxies import proxy_of
from bindcheck.rules.remedies import linux
from bindcheck.sanitize import is_plain, sanitize
from bindcheck.words import CauseCode, Direction, OwnerKind, SocketType, Trait

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Blocker, Diagnosis, Owner, Process, Snapshot

# To end one of these ends the session or the machine.
_NEEDED = frozenset(
    [
        *("csrss", "dwm", "lsass", "lsm", "services", "smss", "svchost", "system"),
        *("wininit", "winlogon"),
    ]
)
_NEEDED_SERVICES = frozenset(
    [
        *(
            "bfe",
            "dcomlaunch",
            "dhcp",
            "dnscache",
            "eventlog",
            "gpsvc",
            "kdc",
            "keyiso",
        ),
        *(
            "lanmanserver",
            "mpssvc",
            "netlogon",
            "nsi",
            "ntds",
            "profsvc",
            "rpceptmapper",
        ),
        *("rpcss", "samss", "schedule", "termservice", "vaultsvc"),
    ]
)
_MANY = 20


def _stop_holders(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    found: list[Remedy] = []
    if diagnosis.attempt.options.reuse_address:
        found.append(_without_reuse_address())
    for blocker in blockers:
        found += stop_holder(blocker.owner, diagnosis, snapshot)
    return list(dict.fromkeys(found))


def _without_reuse_address() -> Remedy:
    return Remedy(
        action="drop-option",
        text="do without SO_REUSEADDR: on Windows TIME_WAIT blocks no bind, and the "
        "option lets two programs have a port, of which one gets the connections",
    )


def stop_holder(owner: Owner, diagnosis: Diagnosis, snapshot: Snapshot) -> list[Remedy]:
    """How to end an owner: what is not a plain program first."""
    if Trait.SAME_PROCESS in owner.traits:
        text = (
            "this process has the port already: close that socket, or use it instead of "
            "binding again"
        )
        return [Remedy(action="close-own-socket", text=text)]
    if owner.kind is OwnerKind.KERNEL:
        return _kernel(owner)
    needed = [one for one in owner.processes if _plain_name(one) in _NEEDED]
    if needed and _plain_name(needed[0]) != "svchost":
        text = f"{sanitize(needed[0].name)} is a part of Windows: take another port"
        return [Remedy(action="use-other-port", text=text)]
    if owner.unit is not None:
        return _stop_service(owner.unit, diagnosis.target.port)
    if not owner.processes:
        return _nobody(owner)
    first = owner.processes[0]
    if owner.services:
        return [
            Remedy(
                action="stop-unit",
                text="stop the service that has it (net stop NAME), not the process; "
                "an administrator sees its name",
                command=("tasklist", "/svc", "/fi", f"PID eq {first.pid}"),
            )
        ]
    if needed:
        text = f"{sanitize(first.name)} is a part of Windows: take another port"
        return [Remedy(action="use-other-port", text=text)]
    for one in owner.processes:
        proxy = proxy_of(one, diagnosis.target.port)
        if proxy is not None:
            return [_stop_behind(_plain_name(one), proxy.engine, diagnosis.target.port)]
    return _stop_processes(owner, snapshot)


def _plain_name(process: Process) -> str:
    return process.name.lower().removesuffix(".exe")


def _kernel(owner: Owner) -> list[Remedy]:
    if "http.sys" not in (owner.kernel or ""):
        text = "a driver of Windows has it (pid 4 is no program): take another port"
        return [Remedy(action="use-other-port", text=text)]
    return [
        Remedy(
            action="see-request-queues",
            text="whose it is: the request queues and their processes",
            command=("netsh", "http", "show", "servicestate"),
        ),
        Remedy(
            action="stop-unit",
            text="then stop that, not pid 4: IIS with net stop W3SVC, WinRM with net stop "
            "WinRM; or take another port",
        ),
    ]


def _stop_service(name: str, port: int) -> list[Remedy]:
    if name.lower() == "iphlpsvc":
        return [
            Remedy(
                action="remove-port-proxy",
                text="it forwards the port for netsh: which rule",
                command=("netsh", "interface", "portproxy", "show", "all"),
            ),
            Remedy(
                action="remove-port-proxy",
                text=f"then: netsh interface portproxy delete v4tov4 listenport={port} "
                "listenaddress=THE_ADDRESS",
            ),
        ]
    if name.lower() in _NEEDED_SERVICES:
        text = f"Windows needs the service {sanitize(name)}: take another port"
        return [Remedy(action="use-other-port", text=text)]
    text = "stop the service (needs an administrator)"
    if name.lower() == "sharedaccess":
        text = "stop Internet Connection Sharing (needs an administrator)"
    if not is_plain(name) or not name.replace("-", "").replace("_", "").isalnum():
        return [Remedy(action="stop-unit", text=f"stop the service {sanitize(name)}")]
    return [Remedy(action="stop-unit", text=text, command=("net", "stop", name))]


def _stop_behind(name: str, engine: str | None, port: int) -> Remedy:
    command: tuple[str, ...] | None = None
    text = f"{name} holds the port for somebody else: stop that, not it"
    if name.startswith("wsl"):
        text = "it forwards the port to a program in WSL: stop that, not it"
        command = ("wsl", "--", "ss", "-ltnp", f"sport = :{port}")
    elif engine == "docker":
        text = "it holds the port for a container: find and stop that, not it"
        command = ("docker", "ps", "--filter", f"publish={port}")
    return Remedy(action="stop-what-is-behind", text=text, command=command)


def _stop_processes(owner: Owner, snapshot: Snapshot) -> list[Remedy]:
    if len(owner.processes) > _MANY:
        text = f"stop the {len(owner.processes)} programs that may have the socket"
        return [Remedy(action="stop-holder", text=text)]
    inherited = Trait.INHERITED in owner.traits
    pids = [str(one.pid) for one in owner.processes]
    found = []
    if inherited and len(pids) > 1:
        found.append(
            Remedy(
                action="see-holder",
                text="see which of them you know",
                command=("powershell", "Get-Process", "-Id", ",".join(pids)),
            )
        )
        found.append(
            Remedy(
                action="stop-holder", text="end what you do not need: taskkill /PID N"
            )
        )
    else:
        words = [part for pid in pids for part in ("/PID", pid)]
        own = snapshot.user is not None and all(
            one.user == snapshot.user for one in owner.processes
        )
        text = "" if own else "as an administrator, if it is another user's"
        command = ("taskkill", *words)
        found.append(Remedy(action="stop-holder", text=text, command=command))
        again = " ".join(words)
        found.append(
            Remedy(
                action="stop-holder",
                text="if it does not end (it cannot save anything then): "
                f"taskkill /F {again}, in PowerShell Stop-Process -Id {','.join(pids)}",
            )
        )
    if inherited:
        found.append(
            Remedy(
                action="close-on-exec",
                text="so that it does not come back: make sockets with "
                "WSA_FLAG_NO_HANDLE_INHERIT, start children without inherited handles",
            )
        )
    return found


def _nobody(owner: Owner) -> list[Remedy]:
    if owner.opener is None:
        return []
    return [
        Remedy(
            action="see-wsl",
            text="WSL 1 has pids that Windows does not know: does a program there have it?",
            command=("wsl", "--list", "--verbose"),
        ),
        Remedy(
            action="ask-elsewhere",
            text="else some program inherited the socket: sign out, or restart Windows",
        ),
    ]


def _excluded(
    _: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    target, run = diagnosis.target, snapshot.refused_run
    datagram = target.protocol.type is SocketType.DATAGRAM
    transport = "udp" if datagram else "tcp"
    show = ("netsh", "interface", "ipv4", "show", "excludedportrange", transport)
    first, last = run or (target.port, target.port)
    for one in snapshot.kept_ports:
        if one.first <= target.port <= one.last:
            first, last = min(first, one.first), max(last, one.last)
    which = f"a port outside of {first} to {last}" if last > first else "another port"
    found = [
        Remedy(
            action="use-other-port",
            text=f"take {which}; an administrator cannot bind these either",
        ),
        Remedy(action="see-excluded", text="all ranges that are kept", command=show),
    ]
    if "winnat" in snapshot.running_services:
        found.append(
            Remedy(
                action="move-excluded",
                text="to have this port: net stop winnat, then netsh int ipv4 add "
                f"excludedportrange {transport} {target.port} 1, then net start winnat (as "
                "an administrator; containers and WSL are without network meanwhile)",
            )
        )
    low = snapshot.facts.ephemeral_range
    if low is None or first < low[0]:
        found.append(
            Remedy(
                action="move-dynamic-range",
                text="if the dynamic range begins below 49152 "
                f"(netsh int ipv4 show dynamicport {transport}), ranges are taken there: "
                f"netsh int ipv4 set dynamicport {transport} start=49152 num=16384",
            )
        )
    return found


def _reserved(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    if blockers:
        return _stop_holders(blockers, diagnosis, snapshot)
    ranges, *_ = [
        one for one in _excluded(blockers, diagnosis, snapshot) if one.command
    ]
    if any(one.ok is False and "port" in one.changed for one in diagnosis.trials):
        text = (
            "find out what refuses every port: a security product, or an app container"
        )
        return [Remedy(action="change-sandbox", text=text)]
    return [
        Remedy(action="use-other-port", text="take another port"),
        ranges,
        Remedy(
            action="see-request-queues",
            text="what the HTTP service of Windows has",
            command=("netsh", "http", "show", "servicestate"),
        ),
    ]


def _broadcast(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    text = "set SO_BROADCAST before bind; to receive broadcasts bind 0.0.0.0"
    return [Remedy(action="set-broadcast", text=text)]


def _conflict(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    if diagnosis.attempt.argument is None:
        return list(
            linux.REMEDIES[CauseCode.OPTION_CONFLICT](blockers, diagnosis, snapshot)
        )
    text = (
        "set one of the two: SO_EXCLUSIVEADDRUSE for a server, since with SO_REUSEADDR "
        "two programs may share the port and only one gets the connections"
    )
    return [Remedy(action="drop-option", text=text)]


def _lingering(
    _: Sequence[Blocker], diagnosis: Diagnosis, __: Snapshot
) -> list[Remedy]:
    if not diagnosis.attempt.options.exclusive:
        return []
    text = (
        "with SO_EXCLUSIVEADDRUSE the port is free when its old connections have ended "
        "(TIME_WAIT lasts up to 4 min): wait, and close connections by shutdown() and "
        "reading to the end before you stop"
    )
    return [Remedy(action="wait", text=text)]


def _connection(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    if all(one.direction is Direction.OUTGOING for one in blockers):
        text = "the client closes it when it is done; it is no server to stop"
        return [Remedy(action="wait-for-client", text=text)]
    return _lingering(blockers, diagnosis, snapshot)


def _ephemeral(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    return [
        Remedy(
            action="use-other-port",
            text="bind a fixed port below the dynamic range",
            command=("netsh", "interface", "ipv4", "show", "dynamicport", "tcp"),
        )
    ]


def _address(
    blockers: Sequence[Blocker], diagnosis: Diagnosis, snapshot: Snapshot
) -> list[Remedy]:
    choose = linux.REMEDIES[CauseCode.ADDRESS_NOT_LOCAL]
    return list(choose(blockers, diagnosis, snapshot))[:1]


def _path(_: Sequence[Blocker], diagnosis: Diagnosis, __: Snapshot) -> list[Remedy]:
    text = "use another path, on a disk of NTFS"
    if diagnosis.attempt.step is not None and diagnosis.causes[0].code in (
        CauseCode.STALE_SOCKET_FILE,
        CauseCode.PATH_EXISTS,
        CauseCode.UNIX_LISTENER,
    ):
        text = "remove the file if nobody uses it, or use another path"
    return [Remedy(action="use-other-path", text=text)]


def _protocol(_: Sequence[Blocker], diagnosis: Diagnosis, __: Snapshot) -> list[Remedy]:
    text = "Windows has no such protocol"
    if diagnosis.target.path is not None:
        text = "Windows has unix sockets since Windows 10 1803, streams alone"
    return [Remedy(action="use-other-protocol", text=text)]


def _descriptors(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    return [Remedy(action="raise-descriptor-limit", text="close sockets and handles")]


def _memory(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    text = (
        "close programs that have very many sockets; Windows takes their memory from the "
        "non-paged pool (Task Manager, Performance, Memory)"
    )
    return [Remedy(action="free-memory", text=text)]


def _family(_: Sequence[Blocker], __: Diagnosis, ___: Snapshot) -> list[Remedy]:
    return [Remedy(action="use-ipv4", text="bind an IPv4 address")]


_SHARED = (
    *(CauseCode.SCOPE_MISSING, CauseCode.SCOPE_UNKNOWN, CauseCode.NAME_NOT_RESOLVED),
    CauseCode.INVALID_ARGUMENT,
)
REMEDIES: dict[
    CauseCode, Callable[[Sequence[Blocker], Diagnosis, Snapshot], Sequence[Remedy]]
] = {
    **{code: linux.REMEDIES[code] for code in _SHARED},
    CauseCode.LISTENER: _stop_holders,
    CauseCode.BOUND: _stop_holders,
    CauseCode.DATAGRAM: _stop_holders,
    CauseCode.RESERVED_BY_SYSTEM: _reserved,
    CauseCode.OUTGOING_CONNECTION: _connection,
    CauseCode.ACCEPTED_CONNECTION: _connection,
    CauseCode.CLOSE_WAIT: _connection,
    CauseCode.CLOSING_CONNECTION: _lingering,
    CauseCode.TIME_WAIT: _lingering,
    CauseCode.EXCLUDED_PORT_RANGE: _excluded,
    CauseCode.BROADCAST_ADDRESS: _broadcast,
    CauseCode.OPTION_CONFLICT: _conflict,
    CauseCode.ADDRESS_NOT_LOCAL: _address,
    CauseCode.EPHEMERAL_PORTS_EXHAUSTED: _ephemeral,
    CauseCode.STALE_SOCKET_FILE: _path,
    CauseCode.PATH_EXISTS: _path,
    CauseCode.UNIX_LISTENER: _path,
    CauseCode.FILESYSTEM_WITHOUT_SOCKETS: _path,
    CauseCode.PROTOCOL_UNAVAILABLE: _protocol,
    CauseCode.DESCRIPTOR_LIMIT: _descriptors,
    CauseCode.NO_MEMORY: _memory,
    CauseCode.FAMILY_DISABLED: _family,
}
