"""Boot another kernel with this machine's files, and run the tests inside it.

Debian 12's own kernel is downloaded as a package and unpacked, not installed. QEMU
interprets the processor, since a machine in the cloud often has no KVM, so everything
in the guest takes some thirty times as long: only what the kernel decides runs there.
`nox -s oldkernel` calls this with what pytest shall do.
"""

from __future__ import annotations

import os
import pty
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METAPACKAGE = "linux-image-amd64"
SECONDS = int(os.environ.get("BINDCHECK_GUEST_SECONDS", "1200"))
# Programs of Debian packages: qemu-system-x86, busybox-static, kmod, file, apt, dpkg.
PROGRAMS = ("qemu-system-x86_64", "busybox", "depmod", "file", "apt-get", "dpkg-deb")

# The root file system is the machine's, read-only, over 9p. What Python reads again and
# again is mounted over it once more with a cache, which is five times as fast. Modules
# lie beside the kernel, and the kernel asks the program of this name to load them.
SCRIPT = """
export PATH={path} HOME=/var/tmp TMPDIR=/var/tmp LC_ALL=C.UTF-8 {environment}
export HYPOTHESIS_STORAGE_DIRECTORY=/var/tmp/hypothesis
{mounts}
printf '#!/bin/sh\\nexec /sbin/modprobe -d {kernel} "$@"\\n' > /run/modprobe
chmod 755 /run/modprobe
echo /run/modprobe > /proc/sys/kernel/modprobe
uname -srv
cd {here}
{python} -m pytest -p no:cacheprovider --color=no {arguments}
echo $? > {share}/status
"""
CACHED = "version=9p2000.L,trans=virtio,access=any,ro,cache=loose,msize=512000"


def unpack_kernel(folder: Path) -> Path:
    """Download the kernel package and return its image; its modules lie near it."""
    shown = subprocess.run(
        ["apt-cache", "depends", "--important", METAPACKAGE],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    package = shown.split("Depends:")[1].split()[0]
    subprocess.run(["apt-get", "download", "-q", package], check=True, cwd=folder)
    (archive,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
    archive.unlink()
    (image,) = (folder / "boot").glob("vmlinuz-*")
    return image


def often_read() -> list[Path]:
    """Folders that hold the interpreter, the environment, the programs and the tests."""
    found: list[Path] = []
    for name in ("/usr", sys.base_prefix, sys.prefix, str(Path.cwd())):
        one = Path(name).resolve()
        if not any(one.is_relative_to(other) for other in found):
            found.append(one)
    return found


def command(image: Path, share: Path, arguments: list[str]) -> list[str]:
    """What starts the guest; its console is the terminal."""
    cached = {f"cached{number}": one for number, one in enumerate(often_read())}
    mounts = [
        f"mount -t 9p -o {CACHED} {tag} {shlex.quote(str(one))}"
        for tag, one in cached.items()
    ]
    environment = [
        f"{name}={shlex.quote(value)}"
        for name, value in os.environ.items()
        if name.startswith("BINDCHECK_")
    ]
    script = share / "script"
    script.write_text(
        SCRIPT.format(
            path=shlex.quote(f"{sys.prefix}/bin:{os.defpath}:/usr/sbin:/sbin"),
            environment=" ".join(environment),
            mounts="\n".join(mounts),
            kernel=shlex.quote(str(image.parent.parent)),
            here=shlex.quote(str(Path.cwd())),
            python=shlex.quote(sys.executable),
            arguments=shlex.join(arguments),
            share=shlex.quote(str(share)),
        )
    )
    virtme = shutil.which("virtme-run", path=f"{sys.prefix}/bin") or "virtme-run"
    shared = "security_model=none,readonly=on,multidevs=remap"
    return [
        *(virtme, "--kimg", str(image), "--mods", "auto", "--disable-kvm"),
        *("--cpus", "2", "--memory", "2G", "--show-boot-console"),
        *("-a", "quiet", "-a", "mitigations=off", "--rwdir", str(share)),
        *(
            word
            for tag, one in cached.items()
            for word in (
                "-q=-virtfs",
                f"-q=local,path={one},mount_tag={tag},{shared}",
            )
        ),
        *("--script-sh", f"bash {shlex.quote(str(script))}"),
    ]


def run_in_terminal(words: list[str], seconds: float) -> bool:
    """Run a command at a terminal of its own, showing what it prints.

    Returns:
        False when it had to be ended because the time was over.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(ours, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:  # EIO: nobody has the other side any more
                break
            if not data:
                break
            sys.stdout.buffer.write(data.replace(b"\r\n", b"\n"))
            sys.stdout.flush()
    in_time = left > 0
    if not in_time:
        os.killpg(process.pid, signal.SIGKILL)  # QEMU too
    process.wait()
    os.close(ours)
    return in_time


def main(arguments: list[str]) -> int:
    """Run pytest with `arguments` in the guest and return its exit status."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [one for one in PROGRAMS if not shutil.which(one, path=path)]
    if missing:
        print(f"the old kernel needs {', '.join(missing)}", file=sys.stderr)  # noqa: T201
        return 2
    os.environ["PATH"] = path
    # The guest has tmpfs of its own over /run and /var/tmp.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        kernel, share = Path(folder, "kernel"), Path(folder, "share")
        kernel.mkdir()
        share.mkdir()
        image = unpack_kernel(kernel)
        in_time = run_in_terminal(command(image, share, arguments), SECONDS)
        status = share / "status"
        if not status.exists():
            why = "ended without a result" if in_time else f"took over {SECONDS} s"
            print(f"the guest {why}; its console is above", file=sys.stderr)  # noqa: T201
            return 1
        return int(status.read_text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
