"""Interfaces and addresses of a private network, made with ip(8)."""

from __future__ import annotations

import socket
import subprocess

_RTMGRP_IPV6_IFADDR = 0x100
_DADFAILED = 0x08


def ip(*arguments: str) -> None:
    """Call ip(8) in the network of this thread."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def sysctl(name: str, value: str) -> None:
    """Write a setting of this network; a dot of an interface's name is a slash."""
    path = f"/proc/sys/{name.replace('.', '/')}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(value)


def make_pair(one: str = "pair0", other: str = "pair1") -> None:
    """Two interfaces, each the other end of the same link; both are down."""
    ip("link", "add", one, "type", "veth", "peer", "name", other)
    for name in (one, other):
        ip("link", "set", name, "addrgenmode", "none")


def raise_pair(one: str = "pair0", other: str = "pair1") -> None:
    """Set both ends up."""
    ip("link", "set", one, "up")
    ip("link", "set", other, "up")


def add_duplicate(address: str, interface: str) -> None:
    """Add an address that another interface on the link has, until that is found out."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as news:
        news.bind((0, _RTMGRP_IPV6_IFADDR))
        ip("-6", "addr", "add", f"{address}/64", "dev", interface)
        while not _is_duplicate(address):
            news.recv(65536)  # the kernel tells when an address changes


def _is_duplicate(address: str) -> bool:
    wanted = socket.inet_pton(socket.AF_INET6, address).hex()
    with open("/proc/self/net/if_inet6", encoding="utf-8") as file:
        rows = [line.split() for line in file]
    return any(row[0] == wanted and int(row[4], 16) & _DADFAILED for row in rows)
