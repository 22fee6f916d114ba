"""NAT rules that send on what arrives for a port, before a socket here gets it.

The rules are read with the system's own tools, `iptables-save`, `ip6tables-save` and
`nft`, which need CAP_NET_ADMIN; their texts are parsed here. Rules whose chain nothing
leads to are left out, and so are those for another address.
"""

from __future__ import annotations

import os
import sys

from bindcheck.model import Redirection
from bindcheck.words import Family

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT_SECONDS = 2
_NETLINK_NETFILTER, _NLMSG_ERROR, _NLMSG_DONE = 12, 2, 3
_FAMILIES = {"ip": Family.INET, "ip6": Family.INET6}
_HOOKS = frozenset({"prerouting", "output"})
_TARGETS = frozenset({"DNAT", "REDIRECT", "NETMAP", "TPROXY"})


def read_redirections(protocol: str, port: int) -> tuple[Redirection, ...]:
    """Read the rules that send this port elsewhere; empty where none can be read."""
    found: list[Redirection] = []
    if not has_chains() and not has_legacy_table():
        return ()
    for tool in ("iptables-save", "ip6tables-save"):
        text = output_of(tool, "-t", "nat")
        found += from_iptables(text, tool.removesuffix("-save"), protocol, port)
    found += from_nft(output_of("nft", "-j", "list", "ruleset"), protocol, port)
    return tuple(dict.fromkeys(found))


def has_chains() -> bool:
    """Whether nf_tables has any chain: asking costs less than starting a tool.

    NFT_MSG_GETCHAIN of include/uapi/linux/netfilter/nf_tables.h, as a dump: without any
    chain its first message is the last.
    """
    import _socket

    family: int | None = getattr(_socket, "AF_NETLINK", None)
    if family is None:
        return False
    order = sys.byteorder
    head = (20).to_bytes(4, order) + (10 << 8 | 4).to_bytes(2, order)
    head += (0x301).to_bytes(2, order) + bytes(8)  # NLM_F_REQUEST | NLM_F_DUMP
    try:
        one = _socket.socket(family, _socket.SOCK_RAW, _NETLINK_NETFILTER)
    except OSError:
        return False
    try:
        one.settimeout(_TIMEOUT_SECONDS)
        one.send(head + bytes(4))
        kind = int.from_bytes(one.recv(65536)[4:6], order)
    except OSError:
        return False
    finally:
        one.close()
    return kind not in (_NLMSG_ERROR, _NLMSG_DONE)


def has_legacy_table() -> bool:
    """Whether there is a NAT table of iptables' own (not nft's)."""
    for path in ("/proc/self/net/ip_tables_names", "/proc/self/net/ip6_tables_names"):
        try:
            with open(path, "rb") as file:
                if b"nat" in file.read().split():
                    return True
        except OSError:
            continue
    return False


def output_of(tool: str, *arguments: str) -> str:
    """What a tool prints; "" where it is missing or fails."""
    import shutil
    import subprocess

    program = shutil.which(tool, path=_PATH)
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - a tool of the system, by its full path
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=True,
            env={"PATH": _PATH, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return os.fsdecode(done.stdout)


def from_iptables(
    text: str, tool: str, protocol: str, port: int
) -> Iterator[Redirection]:
    """Find them in what iptables-save prints of the nat table."""
    import shlex

    rules = []
    for line in text.splitlines():
        if line.startswith("-A "):
            try:
                words = shlex.split(line)
            except ValueError:
                continue
            rules.append((words[1], words[2:], line))
    jumps = [(chain, _option(words, "-j", "-g")) for chain, words, _ in rules]
    reached = _reached({"PREROUTING", "OUTPUT"}, jumps)
    for chain, words, line in rules:
        if (
            chain in reached
            and _option(words, "-j") in _TARGETS
            and _option(words, "-p") in (None, protocol)
            and _names_port(words, port)
        ):
            yield Redirection(
                rule=f"{tool} -t nat {line}",
                family=Family.INET if tool == "iptables" else Family.INET6,
                address=_destination(words),
            )


def _option(words: list[str], *names: str) -> str | None:
    """The value of an option that is not negated."""
    for index, word in enumerate(words[:-1]):
        if word in names and (index == 0 or words[index - 1] != "!"):
            return words[index + 1]
    return None


def _names_port(words: list[str], port: int) -> bool:
    value = _option(words, "--dport", "--dports", "--destination-ports")
    if value is None:
        return False  # every port: masquerading of whole hosts, not of a server
    return any(
        low.isdigit() and int(low) <= port <= int(high if high.isdigit() else low)
        for part in value.split(",")
        for low, _, high in (part.partition(":"),)
    )


def _destination(words: list[str]) -> str | None:
    """The one address that a rule is for, None for several or all."""
    value = _option(words, "-d") or ""
    address, _, length = value.partition("/")
    return address if length in ("32", "128") else None


def _reached(
    start: Iterable[str], jumps: Iterable[tuple[str, str | None]]
) -> frozenset[str]:
    """The chains that packets get to."""
    found, jumps = set(start), list(jumps)
    while True:
        more = {to for chain, to in jumps if chain in found and to} - found
        if not more:
            return frozenset(found)
        found |= more


def from_nft(text: str, protocol: str, port: int) -> Iterator[Redirection]:
    """Find them in what `nft -j list ruleset` prints."""
    import json

    try:
        objects = json.loads(text)["nftables"] if text else []
        rules = [one["rule"] for one in objects if "rule" in one]
        chains = [one["chain"] for one in objects if "chain" in one]
        for table in {(one["family"], one["table"]) for one in chains}:
            yield from _from_table(table, chains, rules, protocol, port)
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # of a version that says it in another way


def _from_table(
    table: tuple[str, str],
    chains: Iterable[Mapping[str, Any]],
    rules: Iterable[Mapping[str, Any]],
    protocol: str,
    port: int,
) -> Iterator[Redirection]:
    def is_here(one: Mapping[str, Any]) -> bool:
        return (one["family"], one["table"]) == table

    own = [one for one in rules if is_here(one)]
    start = {
        one["name"]
        for one in chains
        if is_here(one) and one.get("type") == "nat" and one.get("hook") in _HOOKS
    }
    jumps = [
        (one["chain"], step.get("target"))
        for one in own
        for part in one["expr"]
        for step in (part.get("jump") or part.get("goto") or {},)
    ]
    reached = _reached(start, jumps)
    for one in own:
        if one["chain"] not in reached:
            continue
        action = _action(one["expr"], protocol, port)
        if action is not None:
            yield Redirection(
                rule=f"nft {table[0]} {table[1]} {one['chain']}: "
                f"{protocol} dport {port} {action}",
                family=_FAMILIES.get(table[0]),
                address=_nft_destination(one["expr"]),
            )


def _action(
    expressions: Iterable[Mapping[str, Any]], protocol: str, port: int
) -> str | None:
    """What a rule does with the port, None when it does not concern it."""
    names_port = False
    for part in expressions:
        match = part.get("match")
        if match is not None:
            key = _port_key(match["left"])
            if key is None:
                continue
            inside = key == protocol and _is_in(port, match["right"])
            if inside != (match["op"] in ("==", "in")):
                return None
            names_port = True
        for name in ("redirect", "dnat", "tproxy"):
            if name in part:
                return _described(name, part[name], protocol, port, named=names_port)
    return None


def _port_key(left: Any) -> str | None:
    """The protocol whose destination port is compared, None for something else."""
    payload = left.get("payload") if isinstance(left, dict) else None
    if isinstance(payload, dict) and payload.get("field") == "dport":
        return str(payload["protocol"])
    return None


def _is_in(port: int, right: Any) -> bool:
    if isinstance(right, dict) and "set" in right:
        return any(_is_in(port, one) for one in right["set"])
    if isinstance(right, dict) and "range" in right:
        low, high = right["range"]
        return bool(low <= port <= high)
    return bool(right == port)


def _described(
    name: str, what: Any, protocol: str, port: int, *, named: bool
) -> str | None:
    """Write the action; of a map over ports the entry that is for this one."""
    where = what if isinstance(what, dict) else {}
    address = where.get("addr")
    if isinstance(address, dict):
        table = address.get("map", {})
        if _port_key(table.get("key")) != protocol:
            return None
        entries = dict(table["data"]["set"])
        if port not in entries:
            return None
        address, named = entries[port], True
    if not named:
        return None
    to = f"{address or ''}:{where['port']}" if "port" in where else str(address or "")
    return f"{name} to {to}" if to else name


def _nft_destination(expressions: Iterable[Mapping[str, Any]]) -> str | None:
    """The one address that a rule is for, None for several or all."""
    for part in expressions:
        match = part.get("match", {})
        left = match.get("left")
        payload = left.get("payload") if isinstance(left, dict) else None
        if (
            isinstance(payload, dict)
            and payload.get("field") == "daddr"
            and match.get("op") == "=="
            and isinstance(match.get("right"), str)
        ):
            return str(match["right"])
    return None
