"""Everything that bindcheck can do, at random for minutes, while sockets come and go.

Afterwards nothing of it may be left: descriptors, memory, threads, processes, files.
`nox -s soak` calls this with the seconds; it needs a network namespace of its own.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support import in_private_network

import bindcheck
from bindcheck.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable

CHURNERS = 3
PORTS = range(20000, 20012)
NAMES = ("s0", "s1", "s2", "s3")
MOST_GROWTH_KIB = 8192
WARM_UP = 0.2  # of the time: imports, caches, arenas of the allocator
COMMANDS = (
    0.04  # of the calls: as a program of its own, which costs a hundred times as much
)

# Sockets of every kind on a few ports and names, processes that inherit them, files.
CHURN = r"""
import contextlib, os, random, shutil, signal, socket, sys, threading, time
seed, folder = int(sys.argv[1]), sys.argv[2]
ports, names = range(*map(int, sys.argv[3].split("-"))), sys.argv[4].split(",")
dice, kept, count = random.Random(seed), [], 0
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()

def inet():
    udp, six = dice.random() < 0.3, dice.random() < 0.3
    family = socket.AF_INET6 if six else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    kept.append(one)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        one.setsockopt(socket.SOL_SOCKET, option, dice.random() < 0.4)
    one.bind((dice.choice(["::", "::1"] if six else ["0.0.0.0", "127.0.0.1"]), dice.choice(ports)))
    if not udp and dice.random() < 0.7:
        one.listen()

def client():
    one = socket.socket()
    kept.append(one)
    one.setblocking(False)
    one.connect_ex(("127.0.0.1", dice.choice(ports)))

def accept():
    one = dice.choice(kept)
    one.setblocking(False)
    kept.append(one.accept()[0])

def unix():
    one = socket.socket(socket.AF_UNIX, dice.choice([1, 2, 5]))
    kept.append(one)
    name = dice.choice(names)
    one.bind(dice.choice([os.path.join(folder, name), "\0soak-" + name]))
    one.type != 2 and one.listen()

def file():
    path = os.path.join(folder, dice.choice(names))
    made = dice.randrange(5)
    if made == 0:
        open(path, "x").close()
    elif made == 1:
        os.mkdir(path)
    elif made == 2:
        os.symlink(dice.choice(names), path)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)

def fork():
    if os.fork() == 0:
        time.sleep(dice.random() / 20)
        os._exit(0)

print("ready", flush=True)
while True:
    with contextlib.suppress(OSError, IndexError):
        dice.choice([inet, inet, client, accept, unix, file, fork])()
    while len(kept) > 24 or (kept and dice.random() < 0.3):
        kept.pop(dice.randrange(len(kept))).close()
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    time.sleep(dice.random() / 100)
"""


class Soak:
    """The calls, and what they may not leave behind."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.sockets, self.scratch = folder / "sockets", folder / "scratch"
        self.sockets.mkdir()
        self.scratch.mkdir()
        self.dice = random.Random(seed)  # noqa: S311 - dice
        self.calls: Counter[str] = Counter()
        self.failures: list[str] = []
        self.kinds: list[Callable[[], object]] = [
            *(self.diagnose, self.diagnose, self.probe, self.sockets_of, self.wait),
            *(self.bind, self.explain, self.explained, self.verb, self.verb),
        ]

    def target(self) -> str:
        port, name = self.dice.choice(PORTS), self.dice.choice(NAMES)
        return self.dice.choice(
            [
                *(f"{port}", f"127.0.0.1:{port}", f"[::1]:{port}", f"0.0.0.0:{port}"),
                *(f"127.0.0.1:{port}/udp", f"[::]:{port}/udp", f"localhost:{port}"),
                *(f"unix:{self.sockets / name}", f"unix:@soak-{name}"),
                *(
                    f"unix-datagram:{self.sockets / name}",
                    "127.0.0.1:0",
                    "192.0.2.9:80",
                ),
            ]
        )

    def options(self, target: str) -> dict[str, bool]:
        if target.startswith("unix"):
            return {}
        names = ["reuse_address", "reuse_port"]
        names += [] if target.endswith("/udp") else ["listen"]
        return {one: True for one in names if self.dice.random() < 0.3}

    def diagnose(self) -> None:
        target = self.target()
        bindcheck.to_dict(bindcheck.diagnose(target, **self.options(target)))  # type: ignore[arg-type]

    def probe(self) -> None:
        bindcheck.probe(f"127.0.0.1:{self.dice.choice(PORTS)}")

    def sockets_of(self) -> None:
        bindcheck.sockets(port=self.dice.choice([0, *PORTS]))

    def wait(self) -> None:
        bindcheck.wait_until_bindable(self.target(), timeout=0.05)

    def bind(self) -> None:
        with contextlib.suppress(bindcheck.BindError):
            bindcheck.bind(f"127.0.0.1:{self.dice.choice(PORTS)}").close()

    def explain(self) -> None:
        bindcheck.explain(98, self.target())

    def explained(self) -> None:
        import socket

        with (
            contextlib.suppress(OSError),
            socket.socket() as one,
            bindcheck.explained(sock=one),
        ):
            one.bind(("127.0.0.1", self.dice.choice(PORTS)))

    def verb(self) -> None:
        """One of the command's, mostly without a new process."""
        target, recording = self.target(), str(self.scratch / "recording.json")
        ip = f"127.0.0.1:{self.dice.choice(PORTS)}"
        arguments: list[str] = self.dice.choice(
            [
                *(
                    ["check", target],
                    ["-v", target],
                    ["--json", target],
                    ["-q", target],
                ),
                *(["list"], ["list", "--json"], ["list", str(self.dice.choice(PORTS))]),
                *(["wait", "--timeout", "0.05", target], ["stop", "--dry-run", target]),
                *(["free"], ["probe", ip], ["doctor"], ["--record", recording, target]),
                [
                    "explain",
                    f"[Errno 98] Address already in use: ('127.0.0.1', {ip[-5:]})",
                ],
            ]
        )
        if self.dice.random() < COMMANDS * len(self.kinds) / 2:
            self.calls["as a command"] += 1
            command = [sys.executable, "-m", "bindcheck", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            status, said = done.returncode, done.stderr
        else:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()) as error,
            ):
                status = run(arguments)
            said = error.getvalue()
        if status not in (0, 1, 3, 4) or "Traceback" in said:
            self.failures.append(f"{arguments}: {status} {said[-1000:]}")

    def once(self) -> None:
        call = self.dice.choice(self.kinds)
        self.calls[call.__name__] += 1
        try:
            call()
        except Exception as error:  # noqa: BLE001 - each is a finding
            self.failures.append(f"{call.__name__}: {error!r}")

    def left(self) -> dict[str, object]:
        """What a process has, which must not grow."""
        gc.collect()
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        known = {*NAMES, "recording.json"}
        files = [*self.sockets.iterdir(), *self.scratch.iterdir()]
        return {
            "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
            "threads": len(os.listdir("/proc/self/task")),  # noqa: PTH208
            "children": len(children.split()),
            "files": sorted(one.name for one in files if one.name not in known),
            "rss_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        }


def churners(soak: Soak, seed: int) -> list[subprocess.Popen[str]]:
    ports = f"{PORTS.start}-{PORTS.stop}"
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-S", "-c", CHURN, str(seed + number)),
                *(str(soak.sockets), ports, ",".join(NAMES)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(CHURNERS)
    ]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    return started


def main(seconds: float, seed: int) -> int:
    with in_private_network() as private, tempfile.TemporaryDirectory() as name:
        if not private:
            sys.exit("soak: a network namespace is needed (root)")
        soak = Soak(Path(name), seed)
        os.environ["TMPDIR"] = str(soak.scratch)
        neighbours = churners(soak, seed)
        begun = time.monotonic()
        warm: dict[str, object] = {}
        while (passed := time.monotonic() - begun) < seconds:
            if not warm and passed > seconds * WARM_UP:
                warm = soak.left()
            soak.once()
        dead = [one for one in neighbours if one.poll() is not None]
        end = soak.left()
        for one in neighbours:
            one.communicate()
    grown = int(str(end["rss_kib"])) - int(str(warm["rss_kib"]))
    found = [*soak.failures, *(f"neighbour {one.args!r} ended" for one in dead)]
    found += [
        f"{key}: {warm[key]} became {end[key]}"
        for key in warm
        if key != "rss_kib" and warm[key] != end[key]
    ]
    if grown > MOST_GROWTH_KIB:
        found.append(f"memory has grown by {grown} KiB")
    if end["files"]:
        found.append(f"files left: {end['files']}")
    lines = [
        f"seed {seed}, {seconds:.0f} s, {sum(soak.calls.values())} calls:",
        "  " + ", ".join(f"{kind} {n}" for kind, n in soak.calls.most_common()),
        f"after the warm-up: {warm}",
        f"at the end:        {end}",
        f"memory: {grown:+} KiB (at most {MOST_GROWTH_KIB} are allowed)",
        *(found[:20] or ["nothing is left, and nothing failed"]),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    chosen = os.environ.get("BINDCHECK_SEED") or str(
        random.SystemRandom().randrange(10**6)
    )
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0, int(chosen)))
