"""What helps with AF_VSOCK addresses."""

from __future__ import annotations

from bindcheck.model import Remedy
from bindcheck.words import CauseCode

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bindcheck.model import Blocker, Diagnosis, Snapshot


def _other_port(_: object, diagnosis: Diagnosis, __: Snapshot) -> list[Remedy]:
    address = diagnosis.target.address
    text = f"take another port from 1024 on: vsock:{address}:PORT"
    return [Remedy(action="use-other-port", text=text)]


def _any(_: object, diagnosis: Diagnosis, __: Snapshot) -> list[Remedy]:
    text = f"bind vsock:any:{diagnosis.target.port}, which is every context id of this machine"
    return [Remedy(action="use-local-address", text=text)]


REMEDIES: dict[
    CauseCode, Callable[[Sequence[Blocker], Diagnosis, Snapshot], Sequence[Remedy]]
] = {
    CauseCode.UNSEEN_BLOCKER: _other_port,
    CauseCode.PRIVILEGED_PORT: _other_port,
    CauseCode.ADDRESS_NOT_LOCAL: _any,
}
