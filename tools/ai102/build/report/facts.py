"""The facts of a report on one network: judged accuracy, measured speed, costly layers, provenance."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.build.report.tensors import worst_spreads
from ai102.contract import Network
from ai102.host.cpu import cpu_name
from ai102.int8.engines import Candidate
from ai102.int8.ranges import Ranges
from ai102.samples.read import batches_of_items
from ai102.weights.graph import clean_graph, weighted_layers

WORST_TENSORS = 6
COSTLY_LAYERS = 24
HISTOGRAM_SAMPLES = 128


@dataclass(frozen=True)
class Files:
    """What the steps wrote of one network."""

    fp32: Path
    ranges: Path
    int8: Path
    tensorrt: Path
    sensitivity: Path
    engine: Path | None  # None: the contract leaves no choice


def gather(
    name: str, network: Network, files: Files, items: Sequence[bytes], tokenizer_file: Path | None
) -> dict[str, Any]:
    """The facts of a network that has been quantized for every target, as page.html.j2 and the JSON report need them.

    `items` are calibration samples, on which the values of activations are counted.
    """
    judged: Mapping[str, Any] = artifact.facts_of(files.int8)
    tensorrt: Mapping[str, Any] = artifact.facts_of(files.tensorrt)
    ranges = Ranges.load(files.ranges, files.fp32)
    counted = items[:HISTOGRAM_SAMPLES]
    spreads = worst_spreads(
        files.fp32,
        lambda: (tensors for _, tensors in batches_of_items(network, counted, tokenizer_file)),
        WORST_TENSORS,
    )
    layers = weighted_layers(clean_graph(files.fp32))
    # By target: the layers that stay float there.
    floats = {
        "ONNX Runtime": set(judged["float_layers"]),
        "TensorRT": set(tensorrt["float_layers"]),
    }
    chosen: Mapping[str, Any] = artifact.facts_of(files.engine) if files.engine else {}
    served = chosen.get("precision", judged["served_precision"])
    if served == "fp32":
        floats["ONNX Runtime"] = {layer.name for layer in layers}
    return {
        "network": name,
        "task": network.task,
        "source": network.source,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.platform()},
        "serves_int8": served == "int8",
        "verdict": "; ".join(str(judged[key]) for key in ("summary", "reason") if judged[key]),
        "cards": _cards(files, judged),
        "engines": _engines(chosen) if chosen else None,
        "sensitivity": _sensitivity(files.sensitivity),
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
            "FP32 ONNX, sha256": artifact.sha256_of_file(files.fp32),
            "INT8 ONNX, sha256": artifact.sha256_of_file(files.int8),
            "ranges": f"{ranges.method}{'' if ranges.percentile is None else f' {ranges.percentile:g}'}, "
            f"{ranges.sample_count} samples, on {artifact.facts_of(files.ranges)['calibrated_on']}",
            "calibration set, sha256": ranges.set_sha256,
            "TensorRT graph": f"{tensorrt['summary']}; {tensorrt['float_precision']} where it is not INT8",
            "recipe": f"{_recipe(judged['recipe'])} ({judged['recipe_from']})",
            "versions": ", ".join(f"{package} {number}" for package, number in ranges.versions.items()),
            "cores": str(os.cpu_count()),
        },
    }


def _cards(files: Files, judged: Mapping[str, Any]) -> list[dict[str, str]]:
    fp32, int8 = (file.stat().st_size / 1e6 for file in (files.fp32, files.int8))
    cards = [{"title": "size", "value": f"{int8:.2f} MB", "note": f"FP32 {fp32:.2f} MB, {int8 / fp32:.0%} of it"}]
    if speed := judged.get("speed"):
        cards.append(
            {
                "title": f"speed, batch {speed['batch']}",
                "value": f"{speed['ratio']:.2f}x FP32",
                "note": f"{speed['int8_ms']:.2f} ms against {speed['fp32_ms']:.2f} ms, one thread; "
                f"quartiles {speed['ratio_low']:.2f}-{speed['ratio_high']:.2f}x",
            }
        )
    if "int8_top1_percent" in judged:
        top1 = f"{judged['int8_top1_percent']:.2f} %"
        cards.append({"title": "top-1", "value": top1, "note": f"FP32 {judged['fp32_top1_percent']:.2f} %"})
    if "mean_cosine" in judged:
        cards += [
            {
                "title": "mean cosine",
                "value": f"{judged['mean_cosine']:.4f}",
                "note": f"least {judged['min_cosine']:.4f}",
            },
            {
                "title": "nearest neighbour",
                "value": f"{judged['nearest_neighbour_percent']:.1f} %",
                "note": "the same as in FP32",
            },
        ]
    return cards


def _engines(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What was timed in which engine, the first being what the others are compared with."""
    tried = [Candidate(one["engine"], one["precision"]) for one in chosen["tried"]]
    shapes = list(dict.fromkeys(shape for one in chosen["tried"] for shape in one.get("ms", ())))
    return {
        "caption": f"{Candidate(chosen['engine'], chosen['precision'])} serves it on CPUs of the kind {chosen['cpu']}; "
        f"milliseconds a batch on {chosen['cpu_name']}, {chosen['threads']} thread(s). "
        "model.engines.json says what serves CPUs of other kinds.",
        "columns": [str(one) for one in tried],
        "rows": [{"shape": shape, "ms": [one.get("ms", {}).get(shape) for one in chosen["tried"]]} for shape in shapes],
        "ratios": [one.get("ratio") for one in chosen["tried"]],
        "checks": [
            {"engine": str(name), "accuracy": one["refusal"] or one["accuracy"], "passed": not one["refusal"]}
            for name, one in zip(tried, chosen["tried"], strict=True)
            if "refusal" in one
        ],
    }


def _recipe(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in table.items() if value not in (None, [], ()))


def _sensitivity(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    costs = json.loads(file.read_text(encoding="utf-8"))
    costly = costs["layers"][:COSTLY_LAYERS]
    return {
        "caption": f"Error ({costs['score']} on {costs['samples']} calibration samples) that a layer brings when it "
        "alone is in INT8, and that is spared when it alone stays float; all layers together bring "
        f"{costs['error_all_int8']:.5f}. The {len(costly)} costliest of {len(costs['layers'])} layers.",
        "bars": [
            {"name": layer["name"], "alone": layer["cost_alone"], "spared": layer["cost_spared"]} for layer in costly
        ],
    }
