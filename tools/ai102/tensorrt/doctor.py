"""Whether the plans in a model repository load on a machine, why not, and the command that rebuilds them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102.artifact import facts_of, sha256_of_file
from ai102.errors import UserError
from ai102.tensorrt.gpu import Machine, pick_target, this_machine

NOTHING_GIVEN = Machine()
SERVER_FLAG = "--backend-config=tensorrt,version-compatible=true"


@dataclass(frozen=True)
class Diagnosis:
    """The result for one plan; `loads` is None if unknown."""

    plan: str
    loads: bool | None
    reasons: tuple[str, ...]  # why it does not load, or what to observe
    rebuild: str | None  # the command that rebuilds the plan, if needed


def examine(repository: Path, given: Machine = NOTHING_GIVEN) -> list[Diagnosis]:
    """Every plan of `repository`, compared with the `given` facts, or with this machine if none are given.

    Raises UserError when a fact is not well-formed.
    """
    if not repository.is_dir():
        raise UserError(f"there is no model repository {repository}: run `make engine`, or name another folder")
    _check(given)
    is_here = given == NOTHING_GIVEN
    machine = this_machine() if is_here else given
    can_build = is_here and pick_target(machine) == "tensorrt"
    return [_examined(plan, repository, machine, can_build) for plan in sorted(repository.glob("*/*/*.plan"))]


def diagnosis(plan: str, facts: Mapping[str, Any], machine: Machine, *, can_build: bool) -> Diagnosis:
    """Compare one plan's manifest with a machine; `can_build`: this is that machine, and it can rebuild the plan."""
    findings = [*_product(facts), *_version(facts, machine), *_gpu(facts, machine)]
    reasons = tuple(reason for _, reason in findings)
    verdicts = [loads for loads, _ in findings]
    loads = False if False in verdicts else None if None in verdicts else True
    return Diagnosis(plan, loads, reasons, None if loads else _rebuild(str(facts["network"]), can_build))


# Each rule yields (loads, reason): False: it will not load; None: unknown; True: it loads, under the stated condition.
_Findings = Iterator[tuple[bool | None, str]]


def _product(facts: Mapping[str, Any]) -> _Findings:
    if facts["product"] != "tensorrt":
        yield False, f"built by {facts['product']}, another product: neither TensorRT nor Triton loads its plans"


def _version(facts: Mapping[str, Any], machine: Machine) -> _Findings:
    built, here = str(facts["tensorrt"]), machine.tensorrt
    if here is None:
        yield None, f"built by TensorRT {built}; which version would load it is not known: give --tensorrt"
        return
    numbers = _numbers(here)
    if _numbers(built)[: len(numbers)] == numbers:
        if len(numbers) < 3:
            yield True, f"built by TensorRT {built}, given is {here}: the rest of the version must be the same too"
        return
    if not facts["flags"]["version_compatible"]:
        yield False, f"built by TensorRT {built}, here is {here}, and a plan loads only in the version that built it"
    elif numbers[0] != _numbers(built)[0] or numbers < _numbers(built)[: len(numbers)]:
        yield False, f"version-compatible from TensorRT {built} on within {_numbers(built)[0]}.x, here is {here}"
    else:
        yield True, f"built by TensorRT {built}, here is {here}: start tritonserver with {SERVER_FLAG}"


def _gpu(facts: Mapping[str, Any], machine: Machine) -> _Findings:
    built, here = facts["compute_capability"], machine.compute_capability
    level = facts["flags"]["hardware_compatibility"]
    if here is None:
        yield (
            None,
            f"built for compute capability {built}; which GPU it would run on is not known: give --compute-capability",
        )
    elif built is None:
        yield False, "built without a GPU: it fits none"
    elif here != built:
        if level != "ampere_plus":
            yield False, f"built for compute capability {built}, here is {here}"
        elif _numbers(here) < (8,):
            yield False, f"built for compute capability 8.0 and later, here is {here}"
    elif level == "none" and machine.gpu and facts["gpu"] and machine.gpu != facts["gpu"]:
        yield True, f"built on {facts['gpu']}, here is {machine.gpu}: it loads with a warning and may be slower"


def _rebuild(network: str, can_build: bool) -> str:
    return f"ai102 engine build {network}" if can_build else f"ai102 engine build-script {network} --image IMAGE | sh"


def _examined(plan: Path, repository: Path, machine: Machine, can_build: bool) -> Diagnosis:
    name, model = str(plan.relative_to(repository)), plan.parent.parent.name
    manifest_file = plan.with_name(f"{plan.name}.made.json")
    if not manifest_file.is_file():
        reason = f"no manifest {manifest_file.name} beside it: where it was built is unknown"
        return Diagnosis(name, None, (reason,), _rebuild(model.rpartition("_")[0] or model, can_build))
    facts = facts_of(plan)
    if sha256_of_file(plan) != json.loads(manifest_file.read_text(encoding="utf-8"))["sha256"]:
        reason = "its sha256 is not the one in the manifest beside it"
        return Diagnosis(name, None, (reason,), _rebuild(str(facts["network"]), can_build))
    return diagnosis(name, facts, machine, can_build=can_build)


def _check(machine: Machine) -> None:
    for option, value, example in (
        ("--tensorrt", machine.tensorrt, "11.1.0.106 or 11.1"),
        ("--compute-capability", machine.compute_capability, "9.0"),
    ):
        if value is not None and not re.fullmatch(r"\d+(\.\d+)+", value):
            raise UserError(f"{option} is {value!r}: write it like {example}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
