"""Looks at the machine and judges it by a profile: one row for each check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ai102.contract import Contract
from ai102.errors import UserError
from ai102.preflight import checks, gpu, platforms, programs, settings, system
from ai102.preflight.disk import disk_under
from ai102.preflight.finding import Finding
from ai102.preflight.machine import Machine
from ai102.preflight.profiles import Wanted

# unfit: required and not met; note: not met, and the profile does not require it.
Verdict = Literal["ok", "note", "unfit"]
TRITON = "2.51"  # where there is no contract
ROOT = Path("/")


@dataclass(frozen=True)
class Line:
    """The result of one check."""

    name: str
    verdict: Verdict
    found: str
    wanted: str
    advice: str  # empty where nothing is to be done


@dataclass(frozen=True)
class Question:
    """All that a check may look at."""

    machine: Machine
    wanted: Wanted
    contract: Contract | None


def of_machine(check: Callable[[Machine, Wanted], Finding]) -> Callable[[Question], Finding | None]:
    return lambda question: check(question.machine, question.wanted)


def of_contract(check: Callable[[Machine, Contract], Finding | None]) -> Callable[[Question], Finding | None]:
    return lambda question: check(question.machine, question.contract) if question.contract else None


def _driver(question: Question) -> Finding:
    triton = question.contract.server.triton if question.contract else TRITON
    return gpu.driver(question.machine, question.wanted, triton)


CHECKS: dict[str, Callable[[Question], Finding | None]] = {
    "cores": of_machine(checks.cores),
    "memory": of_machine(checks.memory),
    "AVX2": of_machine(checks.avx2),
    "VNNI": of_machine(checks.vnni),
    "kernel": of_machine(checks.kernel),
    "shared memory": of_machine(checks.shared_memory),
    "open files": of_machine(checks.open_files),
    "disk space": of_machine(checks.disk_space),
    "disk speed": of_machine(checks.disk_speed),
    "disk sync": of_machine(checks.disk_sync),
    "container engine": of_machine(platforms.container_engine),
    "Docker": of_machine(platforms.docker),
    "Compose": of_machine(platforms.compose),
    "Kubernetes": of_machine(platforms.kubernetes),
    "NVIDIA driver": _driver,
    "GPU memory": of_machine(gpu.gpu_memory),
    "GPU in containers": of_machine(gpu.gpu_in_containers),
    "pinned pool": of_contract(settings.pinned_pool),
    "response cache": of_contract(settings.response_cache),
    "Python models": of_contract(settings.python_models),
    "shared memory size": of_contract(settings.shared_memory_size),
    "GPU pools": of_contract(settings.gpu_pools),
    "compute capability": of_contract(settings.compute_capability),
    "host policies": of_contract(settings.host_policies),
    "without effect": of_contract(settings.without_effect),
}


def survey(folder: Path) -> Machine:
    """This machine, with the disk under `folder`. Takes some seconds; raises UserError for no such folder."""
    try:
        disk = disk_under(folder, ROOT)
    except OSError as err:
        raise UserError(f"--folder {folder}: {err.strerror}: name the folder where models and images will lie") from err
    return Machine(
        is_container=system.is_container(ROOT),
        kernel=system.kernel(ROOT),
        processor=system.processor(ROOT),
        memory=system.memory(ROOT),
        open_files=system.open_files(ROOT),
        disk=disk,
        docker=programs.docker(),
        kubernetes=programs.kubernetes(),
        gpus=programs.gpus(),
    )


def judged(machine: Machine, wanted: Wanted, contract: Contract | None) -> tuple[Line, ...]:
    """One line for each check that applies."""
    return tuple(_lines(Question(machine, wanted, contract)))


def is_fit(lines: tuple[Line, ...]) -> bool:
    return all(line.verdict != "unfit" for line in lines)


def _lines(question: Question) -> Iterator[Line]:
    for name, check in CHECKS.items():
        finding = check(question)
        if finding is not None:
            missed: Verdict = "unfit" if name in question.wanted.required else "note"
            verdict: Verdict = "ok" if finding.is_met else missed
            advice = "" if finding.is_met else finding.advice
            yield Line(name, verdict, finding.found, finding.wanted, advice)
