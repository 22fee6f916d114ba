"""What the machine allows and has: facts, addresses, ports that are kept, tunnels."""

from __future__ import annotations

import sys

from bindcheck.model import (
    Confinement,
    Facts,
    InterfaceAddress,
    NativeCode,
    PortRange,
    Tunnel,
)
from bindcheck.native.codes import (
    DOMAINS,
    FAMILY_NUMBERS,
    PROTOCOL_NUMBERS,
    boolean,
    count_of,
    error,
    string,
)
from bindcheck.native.interface import ffi, lib
from bindcheck.native.rows import FAMILIES, NOT_TOLD, endpoint_of, packed_of
from bindcheck.words import Domain, Family, Protocol

_OK = lib.BC_OK


def read_facts() -> Facts:
    """Read what this machine allows the caller."""
    raw = ffi.new("bc_facts *")
    lib.bc_read_facts(raw)
    ephemeral = (raw.ephemeral_low, raw.ephemeral_high)
    descriptors = (count_of(raw.descriptors_soft), count_of(raw.descriptors_hard))
    return Facts(
        euid=None if raw.euid == NOT_TOLD else raw.euid,
        capabilities=raw.capabilities,
        network_namespace=raw.network_namespace or None,
        pid_namespace=raw.pid_namespace or None,
        user_namespace=raw.user_namespace or None,
        owns_network_namespace=boolean(raw.owns_network_namespace),
        unprivileged_port_start=count_of(raw.unprivileged_port_start),
        ephemeral_range=ephemeral if min(ephemeral) >= 0 else None,
        bind_v6only=boolean(raw.bind_v6only),
        nonlocal_bind={
            Family.INET: boolean(raw.nonlocal_bind4),
            Family.INET6: boolean(raw.nonlocal_bind6),
        },
        ipv6_available=boolean(raw.ipv6_available),
        ipv6_disabled=boolean(raw.ipv6_disabled),
        ipv6_disabled_loopback=boolean(raw.ipv6_disabled_loopback),
        loopback_up=boolean(raw.loopback_up),
        clock_ticks=raw.clock_ticks,
        descriptor_limits=descriptors,
        system=sys.platform,
        segment_lifetime_ms=count_of(raw.segment_lifetime_ms),
        elevated=boolean(raw.elevated),
    )


def read_confinement(family: Family, cgroup: str | None) -> Confinement:
    """Ask what judges the calls of this process; `cgroup` is its cgroup v2 folder."""
    raw = ffi.new("bc_confinement *")
    folder = ffi.NULL if cgroup is None else cgroup.encode("utf-8", "surrogateescape")
    lib.bc_read_confinement(FAMILY_NUMBERS[family], folder, raw)
    codes = (raw.bind_filter, raw.socket_filter)
    bind, socket = (error(Domain.ERRNO, code) if code else None for code in codes)
    return Confinement(
        bind_filter=bind,
        socket_filter=socket,
        bind_programs=count_of(raw.bind_programs),
        socket_programs=count_of(raw.socket_programs),
    )


def list_addresses() -> tuple[InterfaceAddress, ...]:
    """List the addresses of the interfaces; empty where the system cannot be asked."""
    capacity = 64
    count = ffi.new("size_t *")
    failed = ffi.new("bc_error *")
    while True:
        rows = ffi.new("bc_interface_address[]", capacity)
        if lib.bc_list_addresses(rows, capacity, count, failed) != lib.BC_E_TRUNCATED:
            break
        capacity = 2 * count[0]
    return tuple(
        InterfaceAddress(
            family=FAMILIES[one.address.family],
            address=endpoint_of(one.address).address,
            packed=packed_of(one.address),
            interface=string(one.interface),
            index=one.index,
            up=bool(one.up),
            running=bool(one.running),
            prefix=one.prefix if one.prefix <= 128 else None,
        )
        for one in rows[0 : count[0]]
    )


def list_kept_ports(protocol: Protocol) -> tuple[PortRange, ...]:
    """List the ports that the system keeps from bind(), as far as it tells of them."""
    capacity = 64
    count, failed = ffi.new("size_t *"), ffi.new("bc_error *")
    number = PROTOCOL_NUMBERS[protocol]
    while True:
        rows = ffi.new("bc_port_range[]", capacity)
        status = lib.bc_list_kept_ports(number, rows, capacity, count, failed)
        if status != lib.BC_E_TRUNCATED:
            break
        capacity = 2 * count[0]
    return tuple(
        PortRange(
            first=one.first,
            last=one.last,
            restricted=one.kind == lib.BC_KEPT_RESTRICTED,
        )
        for one in rows[0 : count[0] if status == _OK else 0]
    )


def service_name(pid: int, tag: int) -> str | None:
    """The Windows service that a tag stands for in a process; None: not told."""
    text = ffi.new("char[]", 1024)
    if lib.bc_service_name(pid, tag, text, 1024) != _OK:
        return None
    return string(text) or None


def list_tunnels() -> tuple[Tunnel, ...] | NativeCode:
    """List the devices that have a UDP socket of the kernel's own, or say why not."""
    capacity = 16
    count, failed = ffi.new("size_t *"), ffi.new("bc_error *")
    while True:
        rows = ffi.new("bc_tunnel[]", capacity)
        status = lib.bc_list_tunnels(rows, capacity, count, failed)
        if status != lib.BC_E_TRUNCATED:
            break
        capacity = 2 * count[0]
    if status == lib.BC_E_SYSTEM:
        return error(DOMAINS[failed.domain], failed.code)
    return tuple(
        Tunnel(
            name=string(one.name),
            kind=string(one.kind),
            port=one.port or None,
        )
        for one in rows[0 : count[0]]
    )


def interface_index(name: str) -> int | None:
    """The index of a network interface here, None when there is none of that name."""
    raw = name.encode("utf-8", "surrogateescape")
    if not raw or b"\0" in raw:
        return None
    return lib.bc_interface_index(raw) or None
