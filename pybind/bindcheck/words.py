"""The words of a diagnosis: enumerations whose values are the words of the JSON form.

Readers must tolerate words that they do not know.
"""

from __future__ import annotations

from enum import StrEnum


class System(StrEnum):
    """An operating system that has rules of its own here, as sys.platform names it."""

    LINUX = "linux"
    DARWIN = "darwin"
    WINDOWS = "win32"


class Family(StrEnum):
    """Address family of a socket."""

    INET = "inet"
    INET6 = "inet6"
    UNIX = "unix"
    VSOCK = "vsock"


class SocketType(StrEnum):
    """SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET."""

    STREAM = "stream"
    DATAGRAM = "datagram"
    SEQPACKET = "seqpacket"


class Protocol(StrEnum):
    """Transport protocol of a target or socket; of a unix socket its type."""

    TCP = "tcp"
    UDP = "udp"
    MPTCP = "mptcp"
    SCTP = "sctp"
    UDPLITE = "udplite"
    UNIX = "unix"
    UNIX_DATAGRAM = "unix-datagram"
    UNIX_SEQPACKET = "unix-seqpacket"
    VSOCK = "vsock"

    @property
    def type(self) -> SocketType:
        """The socket type that a server of this protocol uses."""
        return _TYPES.get(self, SocketType.STREAM)

    @property
    def table(self) -> Protocol:
        """The protocol whose ports it shares: MPTCP sockets bind as TCP."""
        return Protocol.TCP if self is Protocol.MPTCP else self

    @property
    def is_unix(self) -> bool:
        """Whether its addresses are paths or abstract names."""
        return self in UNIX_PROTOCOLS


_TYPES = {
    Protocol.UDP: SocketType.DATAGRAM,
    Protocol.UDPLITE: SocketType.DATAGRAM,
    Protocol.UNIX_DATAGRAM: SocketType.DATAGRAM,
    Protocol.UNIX_SEQPACKET: SocketType.SEQPACKET,
}
UNIX_PROTOCOLS = (Protocol.UNIX, Protocol.UNIX_DATAGRAM, Protocol.UNIX_SEQPACKET)
IP_PROTOCOLS = (
    Protocol.TCP,
    Protocol.UDP,
    Protocol.MPTCP,
    Protocol.SCTP,
    Protocol.UDPLITE,
)


class Domain(StrEnum):
    """Whose number a native code is."""

    ERRNO = "errno"
    EAI = "eai"
    WINSOCK = "winsock"
    WIN32 = "win32"


class Step(StrEnum):
    """The native call that failed."""

    RESOLVE = "resolve"
    SOCKET = "socket"
    SETSOCKOPT = "setsockopt"
    BIND = "bind"
    LISTEN = "listen"
    GETSOCKNAME = "getsockname"


class State(StrEnum):
    """TCP state as the kernel says it; `close` for a socket that is only bound."""

    ESTABLISHED = "established"
    SYN_SENT = "syn-sent"
    SYN_RECV = "syn-recv"
    FIN_WAIT_1 = "fin-wait-1"
    FIN_WAIT_2 = "fin-wait-2"
    TIME_WAIT = "time-wait"
    CLOSE = "close"
    CLOSE_WAIT = "close-wait"
    LAST_ACK = "last-ack"
    LISTEN = "listen"
    CLOSING = "closing"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """What kind of socket is in the way."""

    LISTENER = "listener"
    BOUND = "bound"
    CONNECTION = "connection"
    CLOSE_WAIT = "close-wait"
    CLOSING_CONNECTION = "closing-connection"
    TIME_WAIT = "time-wait"
    DATAGRAM = "datagram"
    UNIX_LISTENER = "unix-listener"
    UNIX_DATAGRAM = "unix-datagram"
    STALE_SOCKET_FILE = "stale-socket-file"
    PATH_EXISTS = "path-exists"


class FileKind(StrEnum):
    """What stands at a path."""

    SOCKET = "socket"
    FILE = "file"
    DIRECTORY = "directory"
    SYMBOLIC_LINK = "symbolic-link"
    FIFO = "fifo"
    DEVICE = "device"


class Direction(StrEnum):
    """Who opened a connection: connect() here, or accept() here."""

    OUTGOING = "outgoing"
    ACCEPTED = "accepted"


class Overlap(StrEnum):
    """Why the address of a socket collides with the target's."""

    SAME_ADDRESS = "same-address"
    HOLDER_WILDCARD = "holder-wildcard"
    TARGET_WILDCARD = "target-wildcard"
    SAME_PATH = "same-path"


class Sharing(StrEnum):
    """Why the reuse options that were asked for did not help."""

    NOT_REQUESTED = "not-requested"
    HOLDER_LACKS_OPTION = "holder-lacks-option"
    HOLDER_LISTENING = "holder-listening"
    OTHER_UID = "other-uid"
    EXCLUSIVE = "exclusive"
    NOT_POSSIBLE = "not-possible"
    UNKNOWN = "unknown"


class OwnerKind(StrEnum):
    """Who has the socket."""

    PROCESS = "process"
    HIDDEN = "hidden"
    KERNEL = "kernel"
    IN_TRANSIT = "in-transit"
    NONE = "none"


class Trait(StrEnum):
    """What else is known of an owner."""

    OWN_COPY = "own-copy"
    SAME_PROCESS = "same-process"
    SUSPENDED = "suspended"
    EXITING = "exiting"
    INHERITED = "inherited"
    SHARED = "shared"
    SOCKET_ACTIVATION = "socket-activation"
    CONTAINER_PROXY = "container-proxy"
    SERVICE = "service"
    CONTAINER = "container"
    SUPERVISED = "supervised"
    OTHER_PID_NAMESPACE = "other-pid-namespace"


class ReleaseHow(StrEnum):
    """What frees the port."""

    WHEN_OWNER_CLOSES = "when-owner-closes"
    AFTER = "after"
    MANUAL = "manual"


class Blocks(StrEnum):
    """Whether this blocker alone would make the bind fail."""

    YES = "yes"
    POSSIBLY = "possibly"


class Verdict(StrEnum):
    """The answer for one address."""

    BINDABLE = "bindable"
    BLOCKED = "blocked"
    CONDITIONAL = "conditional"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"


class Certainty(StrEnum):
    """How sure a cause is; `certain` when an observation leaves no other reading."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class CauseCode(StrEnum):
    """Why the bind fails. Never renamed."""

    LISTENER = "listener"
    BOUND = "bound"
    OUTGOING_CONNECTION = "outgoing-connection"
    ACCEPTED_CONNECTION = "accepted-connection"
    CLOSE_WAIT = "close-wait"
    CLOSING_CONNECTION = "closing-connection"
    TIME_WAIT = "time-wait"
    DATAGRAM = "datagram"
    UNIX_LISTENER = "unix-listener"
    UNIX_DATAGRAM = "unix-datagram"
    STALE_SOCKET_FILE = "stale-socket-file"
    PATH_EXISTS = "path-exists"
    EPHEMERAL_PORTS_EXHAUSTED = "ephemeral-ports-exhausted"
    LISTEN_CONFLICT = "listen-conflict"
    UNSEEN_BLOCKER = "unseen-blocker"
    HOST_INTERCEPTED = "host-intercepted"
    PRIVILEGED_PORT = "privileged-port"
    SECURITY_MODULE = "security-module"
    SANDBOX = "sandbox"
    EXCLUDED_PORT_RANGE = "excluded-port-range"
    RESERVED_BY_SYSTEM = "reserved-by-system"
    OPTION_NOT_PERMITTED = "option-not-permitted"
    DIRECTORY_NOT_WRITABLE = "directory-not-writable"
    BROADCAST_ADDRESS = "broadcast-address"
    ADDRESS_NOT_LOCAL = "address-not-local"
    ADDRESS_TENTATIVE = "address-tentative"
    ADDRESS_DUPLICATE = "address-duplicate"
    FAMILY_DISABLED = "family-disabled"
    SCOPE_MISSING = "scope-missing"
    SCOPE_UNKNOWN = "scope-unknown"
    NAME_NOT_RESOLVED = "name-not-resolved"
    INVALID_ARGUMENT = "invalid-argument"
    OPTION_CONFLICT = "option-conflict"
    PATH_TOO_LONG = "path-too-long"
    NOT_A_DIRECTORY = "not-a-directory"
    DIRECTORY_MISSING = "directory-missing"
    READ_ONLY_FILESYSTEM = "read-only-filesystem"
    FILESYSTEM_WITHOUT_SOCKETS = "filesystem-without-sockets"
    SYMLINK_LOOP = "symlink-loop"
    PROTOCOL_UNAVAILABLE = "protocol-unavailable"
    DEVICE_UNKNOWN = "device-unknown"
    DESCRIPTOR_LIMIT = "descriptor-limit"
    NO_MEMORY = "no-memory"
    NO_SPACE = "no-space"
    UNKNOWN = "unknown"


class WarningCode(StrEnum):
    """A conflict that raises no error. Never renamed."""

    SHARED_PORT = "shared-port"
    SHADOWED = "shadowed"
    HIJACKABLE = "hijackable"
    EPHEMERAL_RANGE = "ephemeral-range"
    REDIRECTED = "redirected"
