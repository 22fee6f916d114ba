"""Cgroups of version 2: their paths, from the number that a socket has of its own."""

from __future__ import annotations

import os

from bindcheck.machine import decode, unescape


def cgroup_path(identifier: int | None) -> str | None:
    """The path of a cgroup v2 folder from its inode, which is its id."""
    mount = cgroup_mount() if identifier else None
    if mount is None:
        return None
    try:
        if os.stat(mount).st_ino == identifier:  # noqa: PTH116
            return "/"
    except OSError:
        return None
    pending = [mount]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                folders = [one for one in entries if one.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for one in folders:
            if one.inode() == identifier:
                return one.path.removeprefix(mount)
        pending += [one.path for one in folders]
    return None


def cgroup_mount() -> str | None:
    """Find where the hierarchy of version 2 is mounted."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            for line in file:
                before, _, after = line.partition(b" - ")
                if after.startswith(b"cgroup2 "):
                    return decode(unescape(before.split(b" ")[4]))
    except OSError:
        pass
    return None


def own_cgroup() -> str | None:
    """The path of our cgroup of version 2, below its mount."""
    try:
        with open("/proc/self/cgroup", "rb") as file:
            lines = file.read().split(b"\n")  # a name may hold other line ends
    except OSError:
        return None
    return next((decode(one[3:]) for one in lines if one.startswith(b"0::/")), None)
