"""Whether two sockets may share a port on Windows: Microsoft's two tables as data.

"Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE", Windows Server 2003 and later. How a holder
was bound is in no table of the system: it is concluded from what binds are told.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_pton
from enum import StrEnum

from bindcheck.records import record, replace
from bindcheck.target import ANY4, ANY6
from bindcheck.words import Blocks, Sharing, State, Step

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bindcheck.model import Attempt, NativeCode, Options, Socket, Trial

OK, IN_USE, REFUSED = "ok", "EADDRINUSE", "EACCES"


class Mode(StrEnum):
    """How a socket was bound."""

    DEFAULT = "default"
    REUSE = "reuse"
    EXCLUSIVE = "exclusive"

    @classmethod
    def of(cls, options: Options) -> Mode:
        """The mode of an attempt; SO_REUSEADDR and SO_EXCLUSIVEADDRUSE exclude another."""
        if options.exclusive:
            return cls.EXCLUSIVE
        return cls.REUSE if options.reuse_address else cls.DEFAULT


# A row is the holder: its mode, and whether it has the wildcard (W) or one address (S).
# The columns are the new socket: default W, S, SO_REUSEADDR W, S, exclusive W, S.
_WORDS = {"ok": OK, "48": IN_USE, "13": REFUSED}
_SAME_USER = """
default W    48 ok 13 ok 48 ok
default S    ok 48 ok 13 48 48
reuse W      48 ok ok ok 48 ok
reuse S      ok 48 ok ok 48 48
exclusive W  48 13 13 13 48 13
exclusive S  ok 48 ok 13 48 48
"""
_OTHER_USER = """
default W    48 13 13 13 48 13
default S    ok 48 ok 13 48 48
reuse W      48 13 ok ok 48 13
reuse S      ok 48 ok ok 48 48
exclusive W  48 13 13 13 48 13
exclusive S  ok 48 ok 13 48 48
"""


def _read(text: str) -> dict[tuple[Mode, bool, Mode, bool], str]:
    found = {}
    for line in text.strip().splitlines():
        mode, place, *cells = line.split()
        columns = [(new, wild) for new in Mode for wild in (True, False)]
        for (new, wild), cell in zip(columns, cells, strict=True):
            found[Mode(mode), place == "W", new, wild] = _WORDS[cell]
    return found


MATRIX = {True: _read(_SAME_USER), False: _read(_OTHER_USER)}
"""By: is it the same user; then holder's mode, has the wildcard; new mode, wildcard."""


@record(frozen=True, slots=True)
class Holder:
    """What a holder may be: how it was bound, and whether by the user who asks."""

    mode: Mode
    same_user: bool


@record(frozen=True, slots=True)
class Heard:
    """What one bind was told: its mode, was it to the wildcard, and the answer."""

    mode: Mode
    wildcard: bool
    answer: str


def candidates(
    heard: Iterable[Heard], *, wildcard: bool, same_user: bool | None = None
) -> frozenset[Holder]:
    """What a holder can be, after all that binds beside it were told.

    Args:
        heard: the answers; those of addresses that it does not meet are not among them.
        wildcard: it has the wildcard address.
        same_user: whether it is the asking user's; None: not known.
    """
    possible = {
        Holder(mode, own)
        for mode in Mode
        for own in (True, False)
        if same_user in (None, own)
    }
    for one in heard:
        possible = {
            holder
            for holder in possible
            if MATRIX[holder.same_user][holder.mode, wildcard, one.mode, one.wildcard]
            == one.answer
        }
    return frozenset(possible)


def answers_to(
    possible: frozenset[Holder], *, held_wildcard: bool, mode: Mode, wildcard: bool
) -> frozenset[str]:
    """What a bind would be told by a holder that is one of these."""
    return frozenset(
        MATRIX[one.same_user][one.mode, held_wildcard, mode, wildcard]
        for one in possible
    )


def conflicts(
    options: Options,
    holder: Socket,
    *,
    wildcards: tuple[bool, bool],
    possible: frozenset[Holder],
) -> Blocks | None:
    """Tell whether a holder blocks; `wildcards`: has it, has the new socket the wildcard.

    Connections block an exclusive bind alone, until they have ended; of others it is not
    documented, and TIME_WAIT blocks nothing.
    """
    mode = Mode.of(options)
    if holder.state is State.TIME_WAIT:
        return Blocks.POSSIBLY if mode is Mode.EXCLUSIVE else None
    if holder.remote is not None and holder.state is not State.CLOSE:
        return Blocks.YES if mode is Mode.EXCLUSIVE else Blocks.POSSIBLY
    held, new = wildcards
    answers = answers_to(possible, held_wildcard=held, mode=mode, wildcard=new)
    if answers == {OK}:
        return None
    # Nothing fits where several sockets answered together.
    return Blocks.YES if answers and OK not in answers else Blocks.POSSIBLY


def sharing(
    options: Options, *, wildcards: tuple[bool, bool], possible: frozenset[Holder]
) -> Sharing:
    """Say why the port could not be shared with this holder; `wildcards`: as above."""
    modes = {one.mode for one in possible}
    if modes == {Mode.EXCLUSIVE}:
        return Sharing.EXCLUSIVE
    held, new = wildcards
    own = frozenset(Holder(mode, same_user=True) for mode in modes)
    of_own = answers_to(own, held_wildcard=held, mode=Mode.of(options), wildcard=new)
    if OK in of_own and not any(one.same_user for one in possible):
        return Sharing.OTHER_UID
    if options.reuse_address and possible and Mode.REUSE not in modes:
        return Sharing.HOLDER_LACKS_OPTION
    if options.exclusive:
        return Sharing.NOT_POSSIBLE
    return Sharing.UNKNOWN if options.reuse_address else Sharing.NOT_REQUESTED


def heard_of(
    attempt: Attempt, trials: Iterable[Trial]
) -> tuple[tuple[bytes, Heard], ...]:
    """Collect what Windows told to the attempt and its trials."""
    target = attempt.target
    found = []
    if attempt.native and attempt.step in (None, Step.BIND):
        answer = _answer(attempt.ok, attempt.error)
        if answer is not None:
            mode = Mode.of(attempt.options)
            heard = Heard(mode, is_wildcard(target.packed), answer)
            found.append((target.packed, heard))
    for trial in trials:
        changed = dict(trial.changed)
        address = changed.pop("address", None)
        answer = _answer(trial.ok, trial.error) if trial.native else None
        if answer is None or set(changed) - {"reuse_address", "exclusive"}:
            continue
        packed = target.packed if address is None else _packed(str(address))
        options = replace(attempt.options, **changed)  # type: ignore[arg-type]
        found.append((packed, Heard(Mode.of(options), is_wildcard(packed), answer)))
    return tuple(found)


def _packed(address: str) -> bytes:
    try:
        return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except OSError:
        return b""


def _answer(ok: bool | None, error: NativeCode | None) -> str | None:
    if ok:
        return OK
    symbol = error.symbol if error else None
    return symbol if symbol in (IN_USE, REFUSED) else None


def is_wildcard(packed: bytes) -> bool:
    """Whether it is 0.0.0.0 or `::`."""
    return packed in (ANY4, ANY6)
