"""How good a network is on held-out samples, and whether its INT8 form keeps to the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.quantize.score import cosine_stats, nearest_neighbour_agreement, top1
from ai102.samples import Samples, batches_of_items
from ai102.spec import Network

# Inputs by name to the network's one output [batch, width].
Run = Callable[[dict[str, NDArray[Any]]], NDArray[np.float32]]


@dataclass(frozen=True)
class Verdict:
    """What was measured, in words and as numbers, and what of it breaks the budget."""

    facts: dict[str, float]
    summary: str
    complaints: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.complaints

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def outputs(run: Run, network: Network, items: Sequence[bytes], tokenizer_file: Path | None) -> NDArray[np.float32]:
    """`run` over all items [items, width], each text padded as it would be if it were sent alone."""
    rows: dict[int, NDArray[np.float32]] = {}
    for positions, tensors in batches_of_items(network, items, tokenizer_file):
        rows |= zip(positions, run(tensors), strict=True)
    return np.stack([rows[position] for position in range(len(items))])


def session_run(onnx_file: Path, network: Network) -> Run:
    """A Run by ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])

    def run(tensors: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = session.run([network.outputs[0].name], tensors)[0]
        return answer

    return run


def compare(
    network: Network, samples: Samples, reference: NDArray[np.float32], candidate: NDArray[np.float32]
) -> Verdict:
    """Judge `candidate` against the `reference` outputs of FP32, both [items, width], and the samples' labels."""
    assert network.budget is not None
    complaints = []
    if network.task == "image-classification":
        labels = np.array(samples.labels)
        before, after = 100 * top1(reference, labels), 100 * top1(candidate, labels)
        changed = int((reference.argmax(axis=1) != candidate.argmax(axis=1)).sum())
        facts = {"fp32_top1_percent": before, "int8_top1_percent": after, "labels_changed": changed}
        summary = f"top-1 FP32 {before:.2f} %, INT8 {after:.2f} % of {len(labels)}; {changed} labels changed"
        floor, allowed = network.budget.min_top1_percent, network.budget.max_top1_drop_points
        if floor is not None and before < floor:
            complaints.append(f"FP32 top-1 is {before:.2f} %, wanted at least {floor:g} %")
        if allowed is not None and before - after > allowed:
            complaints.append(f"INT8 top-1 drops by {before - after:.2f} points, allowed are {allowed:g}")
    else:
        mean, least = cosine_stats(reference, candidate)
        agreement = 100 * nearest_neighbour_agreement(reference, candidate)
        facts = {"mean_cosine": mean, "min_cosine": least, "nearest_neighbour_percent": agreement}
        summary = (
            f"cosine to FP32 mean {mean:.4f}, min {least:.4f}; nearest neighbour agrees for {agreement:.1f} % "
            f"of {len(samples.items)}"
        )
        wanted = network.budget.min_mean_cosine
        if wanted is not None and mean < wanted:
            complaints.append(f"INT8 mean cosine to FP32 is {mean:.4f}, wanted at least {wanted:g}")
    return Verdict(facts, summary, tuple(complaints))
