"""How good a network is on held-out samples, and whether its INT8 form keeps to the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.contract import Budget, Network
from ai102.int8.score import cosine_stats, nearest_neighbour_agreement, top1
from ai102.samples.read import Samples, batches_of_items, label_numbers

# Inputs by name to the network's first output [batch, ...].
Run = Callable[[dict[str, NDArray[Any]]], NDArray[np.float32]]


@dataclass(frozen=True)
class Verdict:
    """What was measured, in words and as numbers, and what of it breaks the budget."""

    facts: dict[str, float]
    summary: str
    complaints: tuple[str, ...]
    blames_int8: bool = True  # False where FP32 itself is not good enough

    @property
    def passed(self) -> bool:
        return not self.complaints

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def outputs(run: Run, network: Network, items: Sequence[bytes], tokenizer_file: Path | None) -> NDArray[np.float32]:
    """`run` over all items, each text padded as it would be if it were sent alone.

    Returns a row for each item [items, width]; for token-classification one for each token that is no padding.
    """
    rows: dict[int, NDArray[np.float32]] = {}
    for positions, tensors in batches_of_items(network, items, tokenizer_file):
        answers = run(tensors)
        if network.task == "token-classification":
            answers_of_tokens = zip(answers, tensors["attention_mask"].astype(bool), strict=True)
            rows |= zip(positions, [answer[is_token] for answer, is_token in answers_of_tokens], strict=True)
        else:
            rows |= zip(positions, answers.reshape(len(positions), -1), strict=True)
    in_order = [rows[position] for position in range(len(items))]
    return np.concatenate(in_order) if network.task == "token-classification" else np.stack(in_order)


def session_run(onnx_file: Path, network: Network, *, threads: int = 0, as_written: bool = False) -> Run:
    """A Run by ONNX Runtime on the CPU; `threads` 0: as many as there are cores.

    `as_written` turns graph optimizations off: each operator then computes what the file says, as the graph for
    another target must be judged.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that wait would compute a third of the time in vain.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if as_written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])

    def run(tensors: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = session.run([network.outputs[0].name], tensors)[0]
        return answer

    return run


def compare(
    network: Network, samples: Samples, reference: NDArray[np.float32], candidate: NDArray[np.float32]
) -> Verdict:
    """Judge `candidate` against the `reference` outputs of FP32, both [items, width], and the samples' labels.

    An answer with NaN or infinity in it breaks every budget.
    """
    assert network.budget is not None
    for name, answers in (("FP32", reference), ("INT8", candidate)):
        if bad := int((~np.isfinite(answers)).any(axis=1).sum()):
            complaint = f"{name} answers {bad} of {len(answers)} samples with NaN or infinity"
            return Verdict({"nonfinite_samples": bad}, complaint, (complaint,), name == "INT8")
    if network.task in ("image-classification", "text-classification"):
        # Where nobody knows the right answers, FP32's stand for them: what is judged is how many INT8 changes.
        labels = label_numbers(network, samples) if samples.labels else reference.argmax(axis=1)
        return _compare_labels(network.budget, labels, reference, candidate)
    if network.task == "token-classification":
        return _compare_tokens(network.budget, reference, candidate)
    return _compare_embeddings(network.budget, reference, candidate)


def _compare_labels(
    budget: Budget, labels: NDArray[np.int64], reference: NDArray[np.float32], candidate: NDArray[np.float32]
) -> Verdict:
    before, after = 100 * top1(reference, labels), 100 * top1(candidate, labels)
    chosen = reference.argmax(axis=1), candidate.argmax(axis=1)
    lost = int(((chosen[0] == labels) & (chosen[1] != labels)).sum())
    won = int(((chosen[0] != labels) & (chosen[1] == labels)).sum())
    low, high = (100 * bound for bound in paired_drop_interval(lost, won, len(labels)))
    changed = int((chosen[0] != chosen[1]).sum())
    facts = {
        "fp32_top1_percent": before,
        "int8_top1_percent": after,
        "labels_changed": changed,
        "top1_drop_points": before - after,
        "top1_drop_low_points": low,
        "top1_drop_high_points": high,
    }
    summary = (
        f"top-1 FP32 {before:.2f} %, INT8 {after:.2f} % of {len(labels)}: drop {before - after:+.2f} points "
        f"(95 % interval {low:+.2f} to {high:+.2f}); {changed} labels changed"
    )
    floor, allowed = budget.min_top1_percent, budget.max_top1_drop_points
    if floor is not None and before < floor:
        return Verdict(facts, summary, (f"FP32 top-1 is {before:.2f} %, wanted at least {floor:g} %",), False)
    if allowed is not None and before - after > allowed:
        drop = f"INT8 top-1 drops by {before - after:.2f} points, allowed are {allowed:g}"
        return Verdict(facts, summary, (drop,))
    return Verdict(facts, summary, ())


def _compare_tokens(budget: Budget, reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> Verdict:
    agreement, least = 100 * top1(candidate, reference.argmax(axis=1)), budget.min_token_agreement_percent
    complaint = f"INT8 agrees with FP32 on {agreement:.2f} % of the tokens, wanted at least {least:g} %"
    return Verdict(
        {"token_agreement_percent": agreement},
        f"INT8 agrees with FP32 on the label of {agreement:.2f} % of {len(reference)} tokens",
        (complaint,) if least is not None and agreement < least else (),
    )


def paired_drop_interval(lost: int, won: int, count: int) -> tuple[float, float]:
    """The 95 % interval of the share of right answers that INT8 loses, from -1 to 1.

    Of `count` samples `lost` were right in FP32 alone and `won` in INT8 alone; the others do not tell the two
    apart. Half a sample is added to each of the four cells before Wald's interval for matched proportions is
    taken: Agresti and Min 2005, Statistics in Medicine 24:729.
    """
    total, b, c = count + 2, lost + 0.5, won + 0.5
    drop = (b - c) / total
    deviation = np.sqrt((b + c - (b - c) ** 2 / total) / total**2)
    return float(drop - 1.959964 * deviation), float(drop + 1.959964 * deviation)


def _compare_embeddings(budget: Budget, reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> Verdict:
    mean, least = cosine_stats(reference, candidate)
    agreement = 100 * nearest_neighbour_agreement(reference, candidate)
    bounds = (
        ("INT8 mean cosine to FP32 is {:.4f}, wanted at least {:g}", mean, budget.min_mean_cosine),
        ("INT8 least cosine to FP32 is {:.4f}, wanted at least {:g}", least, budget.min_cosine),
        (
            "INT8 agrees on the nearest neighbour of {:.1f} % of the samples, wanted at least {:g} %",
            agreement,
            budget.min_nearest_neighbour_percent,
        ),
    )
    return Verdict(
        {"mean_cosine": mean, "min_cosine": least, "nearest_neighbour_percent": agreement},
        f"cosine to FP32 mean {mean:.4f}, min {least:.4f}; nearest neighbour agrees for {agreement:.1f} % "
        f"of {len(reference)}",
        tuple(words.format(value, bound) for words, value, bound in bounds if bound is not None and value < bound),
    )
