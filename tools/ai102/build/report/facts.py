"""Gather what a report tells about one network: judged accuracy, measured speed, guilty layers, provenance."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.build.report.tensors import worst_spreads
from ai102.build.workspace import Workspace
from ai102.host.cpu import cpu_name
from ai102.int8.ranges import Ranges
from ai102.samples.read import batches_of_items, read_samples
from ai102.weights.graph import clean_graph, weighted_layers

WORST_TENSORS = 6
GUILTY_LAYERS = 24
HISTOGRAM_SAMPLES = 128


def gather(workspace: Workspace, name: str) -> dict[str, Any]:
    """The facts of a network that has been quantized for every target, as page.html.j2 and the JSON report want them.

    Raises UserError when it was not quantized yet.
    """
    network, build = workspace.network(name), workspace.build(name)
    told: Mapping[str, Any] = artifact.facts_of(build / "int8.onnx")
    tensorrt: Mapping[str, Any] = artifact.facts_of(build / "tensorrt.onnx")
    ranges = Ranges.load(workspace.ranges(name), build / "fp32.onnx")
    assert network.calibration_set is not None
    items = read_samples(workspace.sets, network.calibration_set, "calibration").items[:HISTOGRAM_SAMPLES]
    tokenizer = workspace.source(name).tokenizer_file

    spreads = worst_spreads(
        build / "fp32.onnx",
        lambda: (tensors for _, tensors in batches_of_items(network, items, tokenizer)),
        WORST_TENSORS,
    )
    layers = weighted_layers(clean_graph(build / "fp32.onnx"))
    # By target: the layers that stay float there.
    floats = {
        "ONNX Runtime": set(told["float_layers"]),
        "TensorRT": set(tensorrt["float_layers"]),
    }
    if told["served_precision"] == "fp32":
        floats["ONNX Runtime"] = {layer.name for layer in layers}
    return {
        "network": name,
        "task": network.task,
        "source": network.source,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.platform()},
        "serves_int8": told["served_precision"] == "int8",
        "verdict": "; ".join(str(told[key]) for key in ("summary", "reason") if told[key]),
        "cards": _cards(build, told),
        "sensitivity": _sensitivity(build / "sensitivity.json"),
        "spreads": [asdict(spread) | {"outlier_ratio": spread.outlier_ratio} for spread in spreads],
        "layers": [
            {
                "name": layer.name,
                "operator": layer.operator,
                "on": {target: "float" if layer.name in kept else "INT8" for target, kept in floats.items()},
            }
            for layer in layers
        ],
        "targets": list(floats),
        "layer_summary": "; ".join(
            f"{target}: {len(layers) - len(kept)} of {len(layers)} in INT8" for target, kept in floats.items()
        ),
        "provenance": {
            "network": f"{network.source}",
            "FP32 ONNX, sha256": artifact.sha256_of_file(build / "fp32.onnx"),
            "INT8 ONNX, sha256": artifact.sha256_of_file(build / "int8.onnx"),
            "ranges": f"{ranges.method}{'' if ranges.percentile is None else f' {ranges.percentile:g}'}, "
            f"{ranges.sample_count} samples, found on {ranges.found_on}",
            "calibration set, sha256": ranges.set_sha256,
            "TensorRT graph": f"{tensorrt['summary']}; {tensorrt['float_precision']} where it is not INT8",
            "recipe": f"{_recipe(told['recipe'])} ({told['recipe_from']})",
            "versions": ", ".join(f"{package} {number}" for package, number in ranges.versions.items()),
            "cores": str(os.cpu_count()),
        },
    }


def _cards(build: Path, told: Mapping[str, Any]) -> list[dict[str, str]]:
    fp32, int8 = ((build / f"{precision}.onnx").stat().st_size / 1e6 for precision in ("fp32", "int8"))
    cards = [{"title": "size", "value": f"{int8:.2f} MB", "note": f"FP32 {fp32:.2f} MB, {int8 / fp32:.0%} of it"}]
    if speed := told.get("speed"):
        cards.append(
            {
                "title": f"speed, batch {speed['batch']}",
                "value": f"{speed['ratio']:.2f}x FP32",
                "note": f"{speed['int8_ms']:.2f} ms against {speed['fp32_ms']:.2f} ms, one thread; "
                f"quartiles {speed['ratio_low']:.2f}-{speed['ratio_high']:.2f}x",
            }
        )
    if "int8_top1_percent" in told:
        top1 = f"{told['int8_top1_percent']:.2f} %"
        cards.append({"title": "top-1", "value": top1, "note": f"FP32 {told['fp32_top1_percent']:.2f} %"})
    if "mean_cosine" in told:
        cards += [
            {"title": "mean cosine", "value": f"{told['mean_cosine']:.4f}", "note": f"least {told['min_cosine']:.4f}"},
            {
                "title": "nearest neighbour",
                "value": f"{told['nearest_neighbour_percent']:.1f} %",
                "note": "the same as in FP32",
            },
        ]
    return cards


def _recipe(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in table.items() if value not in (None, [], ()))


def _sensitivity(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    told = json.loads(file.read_text(encoding="utf-8"))
    guilty = told["layers"][:GUILTY_LAYERS]
    return {
        "caption": f"Error ({told['score']} on {told['samples']} calibration samples) that a layer brings when it "
        "alone is in INT8, and that is spared when it alone stays float; all layers together bring "
        f"{told['error_all_int8']:.5f}. The {len(guilty)} guiltiest of {len(told['layers'])} layers.",
        "bars": [
            {"name": layer["name"], "alone": layer["cost_alone"], "spared": layer["cost_spared"]} for layer in guilty
        ],
    }
