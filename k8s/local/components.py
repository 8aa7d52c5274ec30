"""Components: programs that run in a machine with a log each; a record says which process is which."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ai102 import artifact
from ai102.errors import UserError
from k8s.local import machines
from k8s.local.plan import MACHINES, Machine, Plan
from k8s.local.processes import Process, children_of, end, identified, is_running, is_stopped, send, wait_for_end

END_TIMEOUT_S = 10.0
LAST_LINES = 15
# Programs of the system that components call: mount, iptables, nft.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Component:
    """A program of one machine, and the files that it reads; other files or another command make another component."""

    name: str
    machine: Machine
    command: tuple[str, ...]
    files: Mapping[Path, str] = field(default_factory=dict)
    path: tuple[Path, ...] = ()  # folders of programs that it calls

    @property
    def digest(self) -> str:
        files = sorted((str(path), text) for path, text in self.files.items())
        return artifact.sha256_of_text(repr((self.command, files, [str(folder) for folder in self.path])))

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of this shell's: a proxy of the outside would be asked for pods."""
        return {"PATH": ":".join((*map(str, self.path), SYSTEM_PATH)), "HOME": "/root", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Record:
    """A component that was started: the process that holds it, and what it was started as."""

    name: str
    machine: str
    holder: Process  # nsenter: outside of the machine, its only child is the component, and it ends with it
    digest: str

    @property
    def process(self) -> Process | None:
        """The component itself; None when it has ended."""
        if not is_running(self.holder):
            return None
        return next(iter(children_of(self.holder)), None)

    @property
    def is_running(self) -> bool:
        return is_running(self.holder)


def start(plan: Plan, component: Component) -> bool:
    """Start it unless it runs as it should; one that runs otherwise is ended first. Whether it was started now."""
    record = record_of(plan, component.machine, component.name)
    if record and record.is_running:
        if record.digest == component.digest:
            return False
        stop(record)
    for path, text in component.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        artifact.write_text(path, text)
    log = plan.log(component.machine, component.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        holder = subprocess.Popen(
            machines.command_in(plan, component.machine, component.command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=component.environment,
            cwd="/",
            start_new_session=True,
        )
    process = identified(holder.pid)
    if process is None:
        holder.wait()
        raise UserError(death_of(plan, component.machine.name, component.name))
    _write(plan, Record(component.name, component.machine.name, process, component.digest))
    return True


def stop(record: Record) -> None:
    """End it in order. Raises UserError when it does not end."""
    if (process := record.process) and (end([process], END_TIMEOUT_S) or wait_for_end([record.holder], END_TIMEOUT_S)):
        raise UserError(f"{record.machine}: {record.name} (process {process.pid}) does not end")


def resume(plan: Plan) -> list[Record]:
    """Let go on what a fault has stopped; gives those. nsenter stops with the component that it holds."""
    stopped = [record for record in records(plan) if record.process and is_stopped(record.process)]
    for record in stopped:
        for process in (record.process, record.holder):
            if process is not None:
                send(process, signal.SIGCONT)
    return stopped


def records(plan: Plan) -> list[Record]:
    """What was started, whether it runs or not, in the order of machines."""
    order = [machine.name for machine in MACHINES]
    files = plan.records.glob("*.json") if plan.records.is_dir() else []
    return sorted((_read(file) for file in files), key=lambda record: (order.index(record.machine), record.name))


def record_of(plan: Plan, machine: Machine, name: str) -> Record | None:
    file = _file(plan, machine.name, name)
    return _read(file) if file.exists() else None


def forget(plan: Plan, machine: Machine) -> None:
    """Remove the records of a machine that was switched off."""
    for record in records(plan):
        if record.machine == machine.name:
            _file(plan, record.machine, record.name).unlink()


def check_all_run(plan: Plan, wanted: Iterable[Component]) -> None:
    """Raises UserError with the last lines of the log of the first that has ended."""
    for component in wanted:
        record = record_of(plan, component.machine, component.name)
        if record is None or not record.is_running:
            raise UserError(death_of(plan, component.machine.name, component.name))


def death_of(plan: Plan, machine: str, name: str) -> str:
    """What is said of a component that has ended."""
    log = plan.folder / "logs" / f"{machine}-{name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LAST_LINES:] if log.exists() else []
    said = "".join(f"\n  {line}" for line in lines) or " nothing"
    return f"{machine}: {name} has ended; the last lines of {log}:{said}"


def _file(plan: Plan, machine: str, name: str) -> Path:
    return plan.records / f"{machine}-{name}.json"


def _write(plan: Plan, record: Record) -> None:
    plan.records.mkdir(parents=True, exist_ok=True)
    artifact.write_text(_file(plan, record.machine, record.name), json.dumps(asdict(record), indent=1))


def _read(file: Path) -> Record:
    values = json.loads(file.read_text(encoding="utf-8"))
    return Record(values["name"], values["machine"], Process(**values["holder"]), values["digest"])
