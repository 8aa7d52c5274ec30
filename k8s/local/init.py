"""The first process of a machine: arranges its files, takes over orphans, and ends with all that runs there.

The kernel ends every process of a process namespace with the first one. So a machine is switched off by one kill.
Run by the system's Python without packages; arguments: JSON of `Arrangement`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

FOLDERS = ("lib/kubelet", "lib/cni/bin", "lib/containerd", "log/pods", "log/containers", "tmp")


class Arrangement(TypedDict):
    hostname: str
    disk: str  # a file system in a file, mounted as /var; empty for none
    kept: list[str]  # folders that stay visible where /var and /run of the machine would hide them
    ready: str  # written with this process's number when all is arranged


def main() -> None:
    arrangement: Arrangement = json.loads(sys.argv[1])
    # /proc is still the one of outside, and so is the number.
    pid = str(Path("/proc/self").readlink())
    arrange(arrangement)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    ready = Path(arrangement["ready"])
    temporary = ready.with_name(f".{ready.name}")
    temporary.write_text(pid, encoding="ascii")
    temporary.replace(ready)
    while signal.sigwait({signal.SIGCHLD, signal.SIGTERM}) == signal.SIGCHLD:
        reap()


def arrange(arrangement: Arrangement) -> None:
    kept = {Path(path): os.open(path, os.O_PATH) for path in arrangement["kept"]}
    # The copies of other namespaces' mounts would keep those namespaces alive.
    subprocess.run(["umount", "--recursive", "--lazy", "/run/netns"], capture_output=True, check=False)
    if arrangement["disk"]:
        mount_var(arrangement["disk"])
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    mount("-t", "proc", "proc", "/proc")
    Path("/run/lock").mkdir()
    for path, handle in kept.items():
        if not (path.exists() and path.samefile(f"/proc/self/fd/{handle}")):
            path.mkdir(parents=True, exist_ok=True)
            # Taken as it stands: the path behind the handle is hidden by now.
            mount("--no-canonicalize", "--bind", f"/proc/self/fd/{handle}", str(path), handle=handle)
        os.close(handle)
    mount("--make-rshared", "/")  # the kubelet and containerd pass mounts on to pods
    socket.sethostname(arrangement["hostname"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


def mount_var(disk: str) -> None:
    mount("-t", "ext4", "-o", "loop,noatime,discard", disk, "/var")
    for folder in FOLDERS:
        Path("/var", folder).mkdir(parents=True, exist_ok=True)
    for link, target in (("/var/run", "/run"), ("/var/lock", "/run/lock")):
        with suppress(FileExistsError):
            Path(link).symlink_to(target)


def mount(*arguments: str, handle: int | None = None) -> None:
    subprocess.run(["mount", *arguments], check=True, pass_fds=[] if handle is None else [handle])


def reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main()
