"""The TensorRT and GPU of this machine decide the target; a check that needs a GPU reports that there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ai102.build.workspace import Workspace
from ai102.errors import UserError
from ai102.tensorrt.gpu import Machine, Target, gpu_from_query, pick_target, this_machine
from ai102.tensorrt.verify_gpu import smallest_cosine, verify

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("machine", "target"),
    [
        (Machine("11.1.0.106", "9.0"), "tensorrt"),
        (Machine("11.1.0.106"), "onnxruntime"),
        (Machine(compute_capability="9.0"), "onnxruntime"),
        (Machine(), "onnxruntime"),
    ],
)
def test_tensorrt_is_the_target_if_it_and_a_gpu_are_present(machine: Machine, target: Target) -> None:
    assert pick_target(machine) == target


@pytest.mark.parametrize(
    ("text", "gpu"),
    [
        ("NVIDIA H200, 9.0, 580.65.06\nNVIDIA L4, 8.9, 580.65.06\n", ("NVIDIA H200", "9.0", "580.65.06")),
        ("Some, name with a comma, 12.0, 590.1\n", ("Some, name with a comma", "12.0", "590.1")),
        ("", None),
        ("No devices were found\n", None),
    ],
)
def test_the_first_gpu_is_read_from_nvidia_smi(text: str, gpu: tuple[str, str, str] | None) -> None:
    assert gpu_from_query(text) == gpu


def test_a_machine_without_nvidia_smi_has_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert this_machine().compute_capability is None


def test_verify_gpu_without_a_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    network = Workspace.of(ROOT / "models.toml").network("digits")
    with pytest.raises(UserError, match=r"^verify-gpu: no GPU \(nvidia-smi\).* here; run it on a machine with both$"):
        verify("digits", network, tmp_path / "tensorrt.onnx", {}, tmp_path)


def test_the_smallest_cosine_is_that_of_the_worst_row() -> None:
    rows = np.eye(2, dtype=np.float32)
    assert smallest_cosine(rows, np.array([[2, 0], [3, 4]], np.float32)) == pytest.approx(0.8)
