"""The bridge to the C core: the only package that touches `ffi` and `lib`.

Everything is copied out of C memory before a function returns. Numbers become the
words of words.py here; nothing is judged. Others call native.probe() and so on, by the
names that are gathered here.
"""

from bindcheck.native.calls import Resolved, probe, probe_name, probe_plain, resolve
from bindcheck.native.codes import DOMAINS, OPTIONS, PROTOCOL_NUMBERS, STEPS, error
from bindcheck.native.holders import (
    MOST_ANCESTORS,
    BoundScan,
    Scan,
    Search,
    find_bound,
    find_owners,
    read_ancestors,
    read_own_program,
    read_process,
)
from bindcheck.native.interface import ABI
from bindcheck.native.machine import (
    interface_index,
    list_addresses,
    list_kept_ports,
    list_tunnels,
    read_confinement,
    read_facts,
    service_name,
)
from bindcheck.native.process_rows import ProcessFacts
from bindcheck.native.tables import (
    Listing,
    has_socket,
    list_listeners,
    list_sockets,
    list_unix_sockets,
    watch_ends,
)

__all__ = [
    "ABI",
    "DOMAINS",
    "MOST_ANCESTORS",
    "OPTIONS",
    "PROTOCOL_NUMBERS",
    "STEPS",
    "BoundScan",
    "Listing",
    "ProcessFacts",
    "Resolved",
    "Scan",
    "Search",
    "error",
    "find_bound",
    "find_owners",
    "has_socket",
    "interface_index",
    "list_addresses",
    "list_kept_ports",
    "list_listeners",
    "list_sockets",
    "list_tunnels",
    "list_unix_sockets",
    "probe",
    "probe_name",
    "probe_plain",
    "read_ancestors",
    "read_confinement",
    "read_facts",
    "read_own_program",
    "read_process",
    "resolve",
    "service_name",
    "watch_ends",
]
