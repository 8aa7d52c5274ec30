"""Ranges to the Q/DQ graph that TensorRT compiles, judged as written; needs neither TensorRT nor a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ai102 import artifact
from ai102.build.contract_inputs import contract_inputs
from ai102.build.subject import Subject
from ai102.code_hash import inputs_of_code
from ai102.contract import Network, Recipe
from ai102.errors import BudgetError
from ai102.int8 import gate
from ai102.int8.for_tensorrt import qdq_from_ranges
from ai102.int8.ranges import Ranges
from ai102.samples.read import Samples


def made_from(network: Network, fp32: Path, ranges: Path, test: Samples, recipe: Recipe) -> dict[str, str]:
    return {
        "fp32 file": artifact.sha256_of_file(fp32),
        "ranges": artifact.sha256_of_file(ranges),
        "test split": test.sha256,
        "recipe": repr(recipe),
        **contract_inputs("quantize for TensorRT", network),
        **inputs_of_code(__name__),
    }


def quantize(subject: Subject, fp32: Path, ranges: Path, test: Samples, recipe: Recipe, file: Path) -> None:
    """Write `file`. Raises BudgetError, and writes nothing, when it loses more than the budget allows."""
    name, network, report = subject.name, subject.network, subject.report
    precision = network.tensorrt.float_precision

    def write(temporary: Path) -> Mapping[str, object]:
        with report.step(f"{name}: quantize for TensorRT"):
            graph = qdq_from_ranges(fp32, Ranges.load(ranges, fp32), recipe, temporary, float_precision=precision)
        with report.step(f"{name}: judge it on {len(test.items)} held-out samples"):
            verdict = gate.accuracy(network, test, fp32, temporary, subject.tokenizer_file, as_written=True)
        if not verdict.passed:
            raise BudgetError(f"{name} for TensorRT: {'; '.join(verdict.complaints)}; nothing was written")
        return {
            "summary": verdict.summary,
            "int8_layers": graph.int8_layers,
            "float_layers": graph.float_layers,
            "float_precision": precision,
        }

    if artifact.make(file, made_from(network, fp32, ranges, test, recipe), write):
        summary = artifact.facts_of(file)["summary"]
        report.say(f"{name}: {subject.shown(file)} {artifact.megabytes(file)} for TensorRT, {summary}")
