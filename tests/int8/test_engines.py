"""Engines on the same inputs: timed in turns, and the one that is served."""

from typing import Any

import numpy as np
import pytest

from ai102.int8.engines import Candidate, fastest, milliseconds, speeds

ORT, OV, OV_FP32 = Candidate("onnxruntime", "int8"), Candidate("openvino", "int8"), Candidate("openvino", "fp32")


def timed(seconds_a_row: dict[Candidate, float], sizes: list[int]) -> dict[Candidate, dict[str, float]]:
    """Candidates that need so long for a row, by a clock that only they move."""
    now = [0.0]

    def run_of(seconds: float) -> Any:
        def run(tensors: dict[str, Any]) -> Any:
            now[0] += seconds * len(tensors["x"])

        return run

    runs = {candidate: run_of(seconds) for candidate, seconds in seconds_a_row.items()}
    shapes = ((f"batch {size}", {"x": np.zeros((size, 1))}) for size in sizes)
    return milliseconds(runs, shapes, clock=lambda: now[0])


def test_every_candidate_is_timed_at_every_shape() -> None:
    times = timed({ORT: 0.002, OV: 0.001}, [1, 8])
    assert times == {ORT: {"batch 1": 2.0, "batch 8": 16.0}, OV: {"batch 1": 1.0, "batch 8": 8.0}}
    assert speeds(times, ORT) == pytest.approx({ORT: 1.0, OV: 2.0})


def test_a_shape_that_takes_too_long_is_left_out_unless_there_is_no_other() -> None:
    assert list(timed({ORT: 0.1, OV: 0.05}, [1, 8, 32])[OV]) == ["batch 1"]
    assert list(timed({ORT: 2.0, OV: 0.05}, [1, 8])[OV]) == ["batch 1"]


@pytest.mark.parametrize(
    ("ratios", "chosen"),
    [
        ({ORT: 1.0, OV: 1.5, OV_FP32: 0.7}, OV),
        ({ORT: 1.0, OV: 1.02, OV_FP32: 0.7}, ORT),
        ({ORT: 1.0, OV: 0.9, OV_FP32: 1.3}, OV_FP32),
        ({ORT: 1.0}, ORT),
        ({OV: 1.0, OV_FP32: 0.9}, OV),
    ],
)
def test_onnx_runtime_serves_unless_another_one_is_clearly_faster(
    ratios: dict[Candidate, float], chosen: Candidate
) -> None:
    assert fastest(ratios, next(iter(ratios))) == chosen
