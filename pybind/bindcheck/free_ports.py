"""Ports that can really be bound: each is tried natively.

Left out beforehand are ports that any socket has, whatever its address: one that could
be bound beside it would share its clients with it.
"""

from __future__ import annotations

import random

from bindcheck import native
from bindcheck.lookup import targets_of
from bindcheck.model import Attempt
from bindcheck.options import fitting
from bindcheck.records import record, replace
from bindcheck.target import ANY4, ANY6, make_target, parse
from bindcheck.waiting import as_servers_do
from bindcheck.words import Family, Protocol, State

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bindcheck.model import Facts, Options, Target
    from bindcheck.target import Request

LOWEST_CHOSEN = 10000
"""Below are the ports that well-known programs have by custom."""
_FIRST_ORDINARY = 1024
_PLACEHOLDER = 1


@record(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One socket that a port is wanted for; its port stands for none."""

    target: Target
    options: Options
    scope: str | None

    def on(self, port: int) -> Target:
        """The same address with a port."""
        assert self.target.family is not None  # noqa: S101 - of an address
        return make_target(
            self.target.family,
            self.target.packed,
            port,
            self.target.protocol,
            scope_id=self.target.scope_id,
            scope=self.scope,
        )


def request_of(host: str | None, protocol: Protocol, family: Family | None) -> Request:
    """What a host asks for, without a port.

    Raises:
        TargetError: it is no host.
    """
    if host is None:
        return replace(parse(_PLACEHOLDER, protocol=protocol), family=family)
    bare = ":" in host and not host.startswith("[")
    request = parse(
        f"[{host}]:{_PLACEHOLDER}" if bare else f"{host}:{_PLACEHOLDER}",
        protocol=protocol,
    )
    return request if family is None else replace(request, family=family)


def wanted_of(
    request: Request, options: Options, facts: Facts
) -> list[Wanted] | Attempt:
    """The sockets to bind; a failed attempt where a name or zone is not known."""
    options = as_servers_do(request, options, facts.system)
    if request.host is None:
        return list(_wildcards(request, options, facts))
    found = []
    for target in targets_of(request):
        if isinstance(target, Attempt):
            return target
        suited = fitting(options, target)
        found.append(Wanted(target=target, options=suited, scope=request.scope))
    return found


def _wildcards(request: Request, options: Options, facts: Facts) -> Iterator[Wanted]:
    if request.family is not Family.INET6:
        target = make_target(Family.INET, ANY4, _PLACEHOLDER, request.protocol)
        yield Wanted(target=target, options=fitting(options, target), scope=None)
    both = request.family is None and facts.ipv6_available is not False
    if both or request.family is Family.INET6:
        target = make_target(Family.INET6, ANY6, _PLACEHOLDER, request.protocol)
        if options.v6only is None:
            options = replace(options, v6only=True)
        yield Wanted(target=target, options=options, scope=None)


def taken_ports(protocol: Protocol) -> frozenset[int]:
    """The local ports of all sockets but those that linger in TIME_WAIT."""
    rows = native.list_sockets(protocol.table, 0).sockets
    return frozenset(row.local.port for row in rows if row.state is not State.TIME_WAIT)


def candidates(
    facts: Facts,
    *,
    near: int | None = None,
    among: tuple[int, int] | None = None,
    reserved: Iterable[tuple[int, int]] = (),
) -> Iterator[int]:
    """Ports in the order in which they are to be tried.

    Args:
        facts: the ephemeral range is left out, unless one of the others is within it.
        near: the nearest to this one first.
        among: only these, the lowest first.
        reserved: ranges that the administrator keeps for something.
    """
    ephemeral = facts.ephemeral_range or (0, 0)
    asked = _meets(among, ephemeral) or _meets(
        (near, near) if near else None, ephemeral
    )
    low, high = among or (min(near or _FIRST_ORDINARY, _FIRST_ORDINARY), 65535)
    pool = [
        port
        for port in range(low, high + 1)
        if asked or not ephemeral[0] <= port <= ephemeral[1]
    ]
    if near is not None:
        pool.sort(key=lambda port: (abs(port - near), -port))
    elif among is None:
        pool = _at_random(pool, tuple(reserved))
    yield from pool


def _at_random(pool: list[int], reserved: tuple[tuple[int, int], ...]) -> list[int]:
    """In no order: two that ask at the same time are to get two answers."""
    uncommon = [
        port
        for port in pool
        if port >= LOWEST_CHOSEN
        and not any(low <= port <= high for low, high in reserved)
    ]
    chosen = uncommon or pool
    random.shuffle(chosen)
    return chosen


def _meets(one: tuple[int, int] | None, other: tuple[int, int]) -> bool:
    return one is not None and one[0] <= other[1] and other[0] <= one[1]


def try_port(wanted: Iterable[Wanted], port: int) -> Attempt | None:
    """Bind each on a port; the first that fails, None when all worked."""
    for one in wanted:
        attempt = native.probe(one.on(port), one.options)
        if not attempt.ok:
            return attempt
    return None


def is_of_this_port(attempt: Attempt) -> bool:
    """Whether another port may have another answer: taken, privileged or excluded."""
    symbol = attempt.error.symbol if attempt.error else None
    return symbol in ("EADDRINUSE", "EACCES")
