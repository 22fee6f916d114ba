"""Random situations on simulated Windows and macOS: never harm, never a wrong answer."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from bindcheck.conclusion import conclude
from bindcheck.examination import examine
from bindcheck.model import Options, Report
from bindcheck.observe import Observer
from bindcheck.render import report_lines
from bindcheck.target import parse
from bindcheck.trials_elsewhere import UNUSED_LOOPBACK
from bindcheck.words import Blocks, Protocol, State, Verdict
from tests.support.simulated import ANY, Held, Program, Simulated

if TYPE_CHECKING:
    from bindcheck.model import Attempt, Diagnosis, Target

PORT = 8080
UNUSED = ".".join(str(one) for one in UNUSED_LOOPBACK)
ADDRESSES = (ANY, "127.0.0.1", "192.168.1.20", "::", "::1")
OWN, OTHER = 4121, 5555
PROGRAMS = [
    Program(pid=OWN, name="node"),
    Program(pid=OTHER, name="java", user="SHOP\\bob", uid=502),
]


class Watched(Simulated):
    """A system that knows which of the calls would have taken somebody's traffic."""

    def probe(self, target: Target, asked: Options) -> Attempt:
        made = super().probe(target, asked)
        losing = [one for one in self.held if _receives(one, target)]
        if losing and target.address != UNUSED and (made.ok or asked.listen):
            raise AssertionError(f"{target.text} {asked} was called beside {losing}")
        return made


def _receives(one: Held, target: Target) -> bool:
    """Whether a socket could lose to a new one of this address."""
    connected = one.remote is not None and one.state is not State.LISTEN
    if one.port != target.port or one.protocol is not target.protocol or connected:
        return False
    both = one.dual and one.wildcard
    if len(one.packed) != len(target.packed) and not both:
        return False
    same = one.packed == target.packed
    return same or one.wildcard or not any(target.packed)


def random_held(chance: random.Random, system: str) -> Held:
    address = chance.choice(ADDRESSES)
    own = chance.random() < 0.7
    protocol = chance.choice([Protocol.TCP, Protocol.TCP, Protocol.UDP])
    state, remote = State.CLOSE, None
    if protocol is Protocol.TCP:
        state = chance.choice(
            [
                State.LISTEN,
                State.LISTEN,
                State.CLOSE,
                State.TIME_WAIT,
                State.ESTABLISHED,
            ]
        )
    if state in (State.TIME_WAIT, State.ESTABLISHED):
        address = chance.choice([one for one in ADDRESSES if one not in (ANY, "::")])
        remote = ("203.0.113.80" if "." in address else "2001:db8::80", 51000)
    return Held(
        address=address,
        port=PORT,
        pid=None if state is State.TIME_WAIT else OWN if own else OTHER,
        uid=501 if own else 502,
        own=own,
        protocol=protocol,
        state=state,
        remote=remote,
        mode=chance.choice(["default", "reuse", "exclusive"])
        if remote is None
        else "default",
        reuse_address=chance.random() < 0.4,
        reuse_port=chance.random() < 0.3,
        dual=address == "::" and system == "darwin" and chance.random() < 0.5,
    )


def could_stand(held: list[Held], system: str) -> bool:
    """Whether these could have been bound one after the other."""
    for one, other in itertools.combinations(held, 2):
        if (
            system == "win32"
            and one.wildcard
            and other.wildcard
            and one.mode != other.mode
        ):
            return False
    return True


def random_options(chance: random.Random, system: str, target: str) -> Options:
    chosen: dict[str, Any] = {}
    if chance.random() < 0.4:
        chosen["reuse_address"] = True
    if system == "darwin" and chance.random() < 0.3:
        chosen["reuse_port"] = True
    if system == "win32" and "reuse_address" not in chosen and chance.random() < 0.3:
        chosen["exclusive"] = True
    if chance.random() < 0.3 and "/udp" not in target:
        chosen["listen"] = True
    if target.startswith("["):
        chosen["v6only"] = True
    return Options(**chosen)


@pytest.mark.parametrize("system", ["win32", "darwin"])
@pytest.mark.parametrize(
    "seed", range(int(os.environ.get("BINDCHECK_SITUATIONS", "300")))
)
def test_random_situation(
    system: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    held = [random_held(chance, system) for _ in range(chance.choice([0, 1, 1, 2]))]
    if not could_stand(held, system):
        held = held[:1]
    simulated = Watched(
        system=system,
        held=held,
        programs=PROGRAMS,
        # What is kept is kept from ports that nobody has.
        refused=((8000, 8099),) if system == "win32" and not held else (),
        euid=chance.choice([501, 501, 0]) if system == "darwin" else 501,
    )
    address = chance.choice(ADDRESSES)
    host = f"[{address}]" if ":" in address else address
    target = f"{host}:{PORT}" + ("/udp" if chance.random() < 0.3 else "")
    options = random_options(chance, system, target)
    with monkeypatch.context() as patched:
        simulated.install(patched)
        seen = tuple(examine(parse(target), options, Observer(), deadline=0.0))
    (found,) = (conclude(one) for one in seen)
    told = Simulated.probe(simulated, found.target, options)
    check(found, told, simulated)
    report = Report(context=simulated.context(), results=(found,))
    assert report_lines(report, verbose=True)


def check(found: Diagnosis, told: Attempt, system: Simulated) -> None:
    """Compare the diagnosis with what the system would have said."""
    attempt = found.attempt
    if attempt.ok is not None:
        assert attempt.ok == told.ok
        assert (attempt.error and attempt.error.name) == (
            told.error and told.error.name
        )
    else:
        assert found.verdict is Verdict.UNKNOWN
    if found.verdict in (Verdict.BLOCKED, Verdict.CONDITIONAL):
        assert found.causes
        sure = [one for one in found.blockers if one.blocks is Blocks.YES]
        for one in sure:
            alone = Simulated(
                system=system.system,
                held=[
                    h
                    for h in system.held
                    if h.packed == one.socket.packed
                    and h.state is one.socket.state
                    and h.pid == one.socket.pid
                ],
                euid=system.euid,
            )
            assert not alone.probe(found.target, attempt.options).ok
    if found.works_with:
        asked = Options(
            **{
                name: getattr(attempt.options, name)
                for name in ("v6only", "reuse_port")
            },
            reuse_address=True,
        )
        assert Simulated.probe(system, found.target, asked).ok
