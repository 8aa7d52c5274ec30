"""Machines of the cluster: switched on with a first process of their own, switched off by ending it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ai102.errors import UserError
from ai102.parts import Cache
from k8s.local import cgroups, disk, init, namespaces, waiting
from k8s.local.plan import NODES, ROOT, Machine, Plan
from k8s.local.processes import Process, identified, send, wait_for_end

INIT = Path(init.__file__)
START_TIMEOUT_S = 20.0
COLLECTED_TIMEOUT_S = 5.0
END_TIMEOUT_S = 20.0
# Every kind of namespace but that of users; the namespace of control groups stays this machine's.
KINDS = ("--mount", "--uts", "--ipc", "--pid")


def switch_on(plan: Plan, machine: Machine, cache: Cache) -> None:
    """Start its first process, unless it runs; `wait_ready` waits until it has arranged its files."""
    if first_process(plan, machine) is not None:
        return
    folder = plan.folder_of(machine)
    folder.mkdir(parents=True, exist_ok=True)
    if machine in NODES:
        disk.make(plan, machine)
        cgroups.make(plan, machine)
    switch_off(plan, machine)  # what was killed before it was ready
    arrangement = init.Arrangement(
        hostname=machine.name,
        disk=str(disk.file_of(plan, machine)) if machine in NODES else "",
        kept=sorted({str(path) for path in (ROOT, plan.folder, cache.root) if path.exists()}),
        ready=str(_ready(plan, machine)),
    )
    unshare = ["unshare", *KINDS, "--propagation", "slave", "--fork", "--kill-child"]
    command = [*unshare, sys.executable, "-I", "-S", str(INIT), json.dumps(arrangement)]
    log = plan.log(machine, "init")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        subprocess.Popen(
            namespaces.command_in(plan.namespace(machine), command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )


def wait_ready(plan: Plan, machine: Machine) -> None:
    """Raises UserError when it does not start, with what it printed."""
    try:
        waiting.until(lambda: first_process(plan, machine) is not None, f"{machine.name} starts", START_TIMEOUT_S)
    except UserError as err:
        lines = plan.log(machine, "init").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise UserError(f"{err}; {plan.log(machine, 'init')} ends: {' / '.join(lines[-3:])}") from err


def first_process(plan: Plan, machine: Machine) -> Process | None:
    """None while it is off or not yet ready."""
    with suppress(FileNotFoundError, ValueError):
        process = identified(int(_ready(plan, machine).read_text(encoding="ascii")))
        # A number that was given to a process of another program belongs to another namespace.
        if process and namespaces.is_in(process, plan.namespace(machine)):
            return process
    return None


def var_of(plan: Plan, machine: Machine) -> Path:
    """Its /var, seen from outside. Raises UserError when it is off."""
    process = first_process(plan, machine)
    if process is None:
        raise UserError(off(machine))
    return Path(f"/proc/{process.pid}/root/var")


def off(machine: Machine) -> str:
    return f"{machine.name} is off: `python -m k8s.local up` switches it on"


def switch_off(plan: Plan, machine: Machine) -> None:
    """End everything in it at once, as by pulling its plug. Raises UserError when something does not end."""
    ends = time.monotonic() + END_TIMEOUT_S
    if (first := first_process(plan, machine)) is not None:
        # It ends last, when every component has been collected by who waits for it outside (components.py). Whoever
        # was stopped by a fault must go on for that. Killed with the others, they would leave it to a process that
        # looks every few seconds.
        send(first, signal.SIGKILL)
        for process in processes_left(plan, machine):
            send(process, signal.SIGCONT)
        wait_for_end([first], COLLECTED_TIMEOUT_S)
    while left := processes_left(plan, machine):  # again, for what one of them started meanwhile
        for process in left:
            send(process, signal.SIGKILL)
        if wait_for_end(left, ends - time.monotonic()):
            numbers = ", ".join(str(process.pid) for process in left)
            raise UserError(f"{machine.name}: of {numbers} some do not end within {END_TIMEOUT_S:g} s of KILL")
    _ready(plan, machine).unlink(missing_ok=True)


def processes_left(plan: Plan, machine: Machine) -> list[Process]:
    """What runs in its network namespace. Those of pods, which have others, end with the first process."""
    return namespaces.processes_of(plan.namespace(machine))


def entering(plan: Plan, machine: Machine) -> list[str]:
    """The start of a command line that runs in the machine as its own programs do. Raises UserError when it is off."""
    process = first_process(plan, machine)
    if process is None:
        raise UserError(off(machine))
    return ["nsenter", f"--target={process.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--"]


def command_in(plan: Plan, machine: Machine, command: Sequence[str]) -> list[str]:
    return [*entering(plan, machine), *command]


def _ready(plan: Plan, machine: Machine) -> Path:
    return plan.folder_of(machine) / "first-process"
