"""Exit codes, the same for every verb."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command's exit status says."""

    BINDABLE = 0
    """Every target can be bound as asked."""
    BLOCKED = 1
    """At least one cannot, or only with another option."""
    USAGE = 2
    """The command line makes no sense."""
    UNKNOWN = 3
    """It could not be found out."""
    REFUSED = 4
    """What was asked for would harm: not done."""
