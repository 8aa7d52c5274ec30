"""Whether a plan loads on another machine follows from its manifest alone; the command that rebuilds it is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ai102 import artifact
from ai102.errors import UserError
from ai102.tensorrt.doctor import Diagnosis, diagnosis, examine
from ai102.tensorrt.gpu import Machine


def manifest(**changes: Any) -> dict[str, Any]:
    flags = {"hardware_compatibility": "none", "version_compatible": False}
    flags |= {key: changes.pop(key) for key in list(changes) if key in flags}
    built = {
        "product": "tensorrt",
        "tensorrt": "10.16.1.11",
        "compute_capability": "9.0",
        "gpu": "NVIDIA H200",
        "network": "digits",
    }
    return built | changes | {"flags": flags}


SAME = Machine("10.16.1.11", "9.0", "NVIDIA H200", "580.65.06")


@pytest.mark.parametrize(
    ("facts", "machine", "loads", "reason"),
    [
        (manifest(), SAME, True, None),
        (manifest(), Machine("10.16", "9.0"), True, "given is 10.16: the rest of the version must be the same too"),
        (manifest(), Machine("11.1.0.106", "9.0"), False, "a plan loads only in the version that built it"),
        (manifest(), Machine("10.16.1.12", "9.0"), False, "a plan loads only in the version that built it"),
        (manifest(version_compatible=True), Machine("10.17.0.1", "9.0"), True, "version-compatible=true"),
        (manifest(version_compatible=True), Machine("10.15.0.1", "9.0"), False, "from TensorRT 10.16.1.11 on"),
        (manifest(version_compatible=True), Machine("11.1.0.1", "9.0"), False, "within 10.x"),
        (manifest(), Machine("10.16.1.11", "8.9"), False, "built for compute capability 9.0, here is 8.9"),
        (manifest(hardware_compatibility="ampere_plus"), Machine("10.16.1.11", "8.9"), True, None),
        (manifest(hardware_compatibility="ampere_plus"), Machine("10.16.1.11", "7.5"), False, "8.0 and later"),
        (
            manifest(hardware_compatibility="same_compute_capability"),
            Machine("10.16.1.11", "8.9"),
            False,
            "here is 8.9",
        ),
        (manifest(), Machine("10.16.1.11", "9.0", "NVIDIA H100"), True, "built on NVIDIA H200, here is NVIDIA H100"),
        (manifest(), Machine("10.16.1.11"), None, "give --compute-capability"),
        (manifest(), Machine(compute_capability="9.0"), None, "give --tensorrt"),
        (manifest(product="tensorrt_rtx"), SAME, False, "another product"),
        (manifest(compute_capability=None), SAME, False, "built without a GPU"),
    ],
)
def test_a_plan_loads_on_machines_that_fit_its_manifest(
    facts: dict[str, Any], machine: Machine, loads: bool | None, reason: str | None
) -> None:
    result = diagnosis("digits_int8/1/model.plan", facts, machine, can_build=False)
    assert (result.loads, result.rebuild is None) == (loads, bool(loads))
    assert len(result.reasons) == (0 if reason is None else 1)
    assert reason is None or reason in result.reasons[0]


def test_the_command_builds_here_where_it_can_and_in_a_container_where_not() -> None:
    elsewhere = Machine("11.1.0.106", "9.0")
    commands = [diagnosis("p", manifest(), elsewhere, can_build=can).rebuild for can in (True, False)]
    assert commands == ["ai102 engine build digits", "ai102 engine build-script digits --image IMAGE | sh"]


def test_every_plan_of_a_repository_is_examined(tmp_path: Path) -> None:
    def write(temporary: Path) -> dict[str, Any]:
        temporary.write_bytes(b"plan")
        return manifest()

    for model in ("digits_int8", "minilm_int8"):
        artifact.make(tmp_path / model / "1" / "model.plan", {}, write)
    (tmp_path / "minilm_int8" / "1" / "model.plan").write_bytes(b"another plan")
    (tmp_path / "foreign_model" / "1").mkdir(parents=True)
    (tmp_path / "foreign_model" / "1" / "model.plan").write_bytes(b"plan")
    assert examine(tmp_path, SAME) == [
        Diagnosis("digits_int8/1/model.plan", True, (), None),
        Diagnosis(
            "foreign_model/1/model.plan",
            None,
            ("no manifest model.plan.made.json beside it: where it was built is unknown",),
            "ai102 engine build-script foreign --image IMAGE | sh",
        ),
        Diagnosis(
            "minilm_int8/1/model.plan",
            None,
            ("its sha256 is not the one in the manifest beside it",),
            "ai102 engine build-script digits --image IMAGE | sh",
        ),
    ]


@pytest.mark.parametrize("given", [Machine(tensorrt="11"), Machine(compute_capability="sm90")])
def test_a_malformed_fact_is_refused(given: Machine, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="write it like"):
        examine(tmp_path, given)
