"""What bindcheck itself raises. A failed bind is not among it: that is a result."""


class BindcheckError(Exception):
    """Bindcheck cannot do its work."""


class StaleExtensionError(BindcheckError, ImportError):
    """The compiled module is not the one that this Python code was written for."""


class NativeError(BindcheckError):
    """A function of the C core reported what it never should."""


class TargetError(ValueError):
    """A target that cannot be understood; the text names the part at fault."""


class UsageError(ValueError):
    """What the command was told makes no sense; the text says what."""


class RecordingError(ValueError):
    """A file that is no recording; the text names the part at fault."""
