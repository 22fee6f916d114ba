"""What macOS and Windows are asked. There the tables hold what /proc tells on Linux."""

from __future__ import annotations

from bindcheck import native
from bindcheck.doctor import call, owners, settings, tables
from bindcheck.doctor.checks import Answer, Group, Question
from bindcheck.words import Protocol

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from bindcheck.doctor.here import Here


def _bound(_: Here) -> Answer:
    if native.list_sockets(Protocol.TCP, 1).bound:
        return Answer(ok=True, text="those that do not listen are in a table")
    text = "TCP sockets that are bound and do not listen are in no table of this system"
    return Answer(ok=False, text=text)


def _administrator(here: Here) -> Answer:
    if here.facts.elevated is None:
        return Answer(ok=None, text="whether this is an administrator is not told")
    if here.facts.elevated:
        return Answer(ok=True, text="user and command line of each can be read")
    return Answer(
        ok=False,
        text="user and command line of other users' can be read by an administrator",
        widen="a console that was started as administrator shows them",
    )


def _kept(_: Here) -> Answer:
    kept = [
        f"{one.first}-{one.last}/{protocol}"
        for protocol in (Protocol.TCP, Protocol.UDP)
        for one in native.list_kept_ports(protocol)
    ]
    return Answer(ok=True, text=", ".join(kept) or "none that the system tells of")


_BOUND = Question(
    name="bound-sockets",
    group=Group.TABLES,
    title="bound sockets",
    ask=_bound,
    summary="bound sockets",
)
_KEPT = Question(
    name="kept-ports",
    group=Group.SETTINGS,
    title="ports that the system keeps",
    ask=_kept,
)
_TABLES = (*call.EVERYWHERE, tables.TCP, tables.UDP, _BOUND)

WINDOWS = (
    *_TABLES,
    Question(
        name="processes",
        group=Group.OWNERS,
        title="programs",
        ask=_administrator,
        summary="owners of sockets",
    ),
    settings.EPHEMERAL,
    _KEPT,
)
DARWIN = (*_TABLES, *owners.EVERYWHERE, _KEPT, call.DESCRIPTORS)
