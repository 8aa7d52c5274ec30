"""Ranges are those of the real values, carry where they come from, and bad sets are refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from ai102.artifact import sha256_of_file
from ai102.errors import UserError
from ai102.int8.ranges import Ranges, find_ranges
from tests.tiny_nets import WIDTH, images, states, write

SET = "0" * 64


def found(file: Path, batches: Iterable[dict[str, Any]], count: int = 160, **options: Any) -> Ranges:
    return find_ranges(file, batches, sample_count=count, set_sha256=SET, **options)


def test_ranges_are_the_smallest_and_largest_values_at_layers_and_what_follows_convolutions(cnn: Path) -> None:
    ranges = found(cnn, images(160))
    # Batch normalisation is gone: it is inside the convolution before it, whose output took its name.
    assert sorted(ranges.tensors) == [
        "conv2_out", "flat", "norm_out", "norm_relu", "pooled", "scaled", "scores", "stem_out", "stem_relu", "sum",
        "sum_relu",
    ]  # fmt: skip
    assert ranges.tensors["scaled"] == (0.0, 1.0)
    assert list(ranges.channels) == ["flat"]


def test_channels_are_those_of_the_last_axis_over_batches_of_every_length(block: Path) -> None:
    ranges = found(block, states(160))
    values = np.concatenate([batch["states"].reshape(-1, WIDTH) for batch in states(160)])
    normal = (values - values.mean(1, keepdims=True)) / np.sqrt(values.var(1, keepdims=True) + 1e-5)
    normal[:, 3] *= 200
    np.testing.assert_allclose(ranges.channels["normal"].lows, normal.min(axis=0), rtol=1e-4)
    np.testing.assert_allclose(ranges.channels["normal"].highs, normal.max(axis=0), rtol=1e-4)
    assert ranges.tensors["normal"] == pytest.approx((normal.min(), normal.max()), rel=1e-4)


def test_ranges_say_where_they_come_from_and_survive_the_file(cnn: Path, tmp_path: Path) -> None:
    ranges = found(cnn, images(160), method="percentile", percentile=99.9)
    ranges.save(tmp_path / "ranges.json")
    assert Ranges.load(tmp_path / "ranges.json", cnn) == ranges
    assert (ranges.onnx_sha256, ranges.set_sha256, ranges.sample_count) == (sha256_of_file(cnn), SET, 160)
    assert (ranges.method, ranges.percentile) == ("percentile", 99.9)
    assert ranges.versions["onnxruntime"]


@pytest.mark.parametrize("options", [{"method": "percentile", "percentile": 99.0}, {"method": "entropy"}])
def test_percentile_and_entropy_cut_a_lonely_outlier_off(block: Path, options: dict[str, Any]) -> None:
    batches = list(states(160))
    whole, cut = found(block, batches), found(block, batches, **options)
    assert cut.tensors.keys() == whole.tensors.keys()
    assert cut.tensors["normal"][1] < 0.7 * whole.tensors["normal"][1]
    assert cut.channels == whole.channels


def test_progress_counts_samples(cnn: Path) -> None:
    calls: list[tuple[int, int]] = []
    found(cnn, images(140), 140, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(32, 140), (64, 140), (96, 140), (128, 140), (140, 140)]


def test_ranges_of_another_onnx_file_are_refused(cnn: Path, block: Path, tmp_path: Path) -> None:
    found(cnn, images(160)).save(tmp_path / "ranges.json")
    with pytest.raises(UserError, match=r"ranges belong to an ONNX file .*block\.onnx has .*; run `ai102 calibrate`"):
        Ranges.load(tmp_path / "ranges.json", block)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file; run `ai102 calibrate`"), ("{", "not a file of ranges")]
)
def test_a_missing_or_broken_file_is_one_line(cnn: Path, tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "ranges.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=message) as refusal:
        Ranges.load(file, cnn)
    assert "\n" not in str(refusal.value)


def with_value(value: float) -> list[dict[str, Any]]:
    batches = list(states(160))
    batches[2]["states"][1, 1, 1] = value
    return batches


@pytest.mark.parametrize(
    ("batches", "count", "message"),
    [
        (list(states(96)), 96, "96 samples, at least 128 are needed"),
        (list(states(128)), 160, "128 samples were read, 160 are declared: the iterator was read twice or ends early"),
        ([], 160, "0 samples were read, 160 are declared"),
        (list(states(192)), 160, "192 samples were read, 160 are declared"),
        (with_value(np.nan), 160, "samples 65 and on: input states holds NaN or infinity"),
        (with_value(np.inf), 160, "samples 65 and on: input states holds NaN or infinity"),
        ([{"pixels": np.zeros((160, 1))}], 160, "inputs are pixels; the network takes states"),
    ],
)
def test_bad_sets_are_refused(block: Path, batches: list[dict[str, Any]], count: int, message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        found(block, batches, count)
    assert "\n" not in str(refusal.value)


def test_a_network_that_answers_with_infinity_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Div", ["x", "zero"], ["divided"]),
        helper.make_node("MatMul", ["divided", "weight"], ["y"]),
    ]
    weights: dict[str, Any] = {"zero": np.zeros(1, np.float32), "weight": np.ones((2, 2), np.float32)}
    file = write(tmp_path / "bad.onnx", nodes, weights, ("x", TensorProto.FLOAT, ["batch", 2]), ("y", ["batch", 2]))
    with pytest.raises(UserError, match="tensor divided of the network is NaN or infinite"):
        found(file, [{"x": np.ones((160, 2), np.float32)}])
