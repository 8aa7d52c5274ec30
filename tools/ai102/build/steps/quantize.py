"""Ranges to INT8 ONNX for ONNX Runtime, judged on held-out samples and timed against FP32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ai102 import artifact
from ai102.build.contract_inputs import contract_inputs
from ai102.build.judged import JUDGED_AS, judged_as
from ai102.build.subject import Subject
from ai102.code_hash import inputs_of_code
from ai102.contract import Network
from ai102.errors import BudgetError
from ai102.int8 import gate
from ai102.int8.for_onnxruntime import int8_from_ranges
from ai102.int8.judge import Verdict
from ai102.int8.ranges import Ranges
from ai102.samples.read import Samples
from ai102_runtime.engine.cpu import this_cpu

if TYPE_CHECKING:
    from ai102.int8.recipes import ChosenRecipe


class OverBudgetError(BudgetError):
    """INT8 loses more than the budget allows; the verdict says what."""

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


def made_from(
    network: Network, fp32: Path, ranges: Path, calibration: Samples, test: Samples, chosen: ChosenRecipe
) -> dict[str, str]:
    return {
        "fp32 file": artifact.sha256_of_file(fp32),
        "ranges": artifact.sha256_of_file(ranges),
        "calibration split": calibration.sha256,
        "test split": test.sha256,
        "recipe": f"{chosen.recipe!r} by {chosen.origin}",
        "cpu": this_cpu(),
        **contract_inputs("quantize", network),
        **inputs_of_code(__name__),
    }


def quantize(
    subject: Subject,
    fp32: Path,
    ranges: Path,
    calibration: Samples,
    test: Samples,
    chosen: ChosenRecipe,
    file: Path,
) -> None:
    """Write `file`; its manifest says how good and how fast it is, and whether INT8 or FP32 is to be served.

    Raises OverBudgetError, and writes nothing, when it loses more than the budget allows.
    """
    name, network, report, cpu = subject.name, subject.network, subject.report, this_cpu()

    def write(temporary: Path) -> Mapping[str, object]:
        with report.step(f"{name}: quantize"):
            graph = int8_from_ranges(fp32, Ranges.load(ranges, fp32), chosen.recipe, temporary, cpu=cpu)
        with report.step(f"{name}: judge on {len(test.items)} held-out samples"):
            verdict = gate.accuracy(network, test, fp32, temporary, subject.tokenizer_file)
        if not verdict.passed:
            raise OverBudgetError(f"{name}: {'; '.join(verdict.complaints)}; nothing was written", verdict)
        with report.step(f"{name}: time INT8 against FP32"):
            speed, reason = gate.speed(network, calibration, fp32, temporary, subject.tokenizer_file)
        return {
            "summary": f"{verdict.summary}; {speed}",
            **verdict.facts,
            JUDGED_AS: judged_as(network),
            "cpu": graph.cpu,
            "int8_layers": len(graph.int8_layers),
            "float_layers": list(graph.float_layers),
            "recipe": chosen.recipe.model_dump(),
            "recipe_from": chosen.origin,
            "speed": speed.as_dict(),
            "served_precision": "fp32" if reason else "int8",
            "reason": reason,
        }

    if artifact.make(file, made_from(network, fp32, ranges, calibration, test, chosen), write):
        facts = artifact.facts_of(file)
        report.say(f"{name}: {file.name} {artifact.megabytes(file)}, {facts['summary']}")
        if facts["reason"]:
            report.say(f"{name}: {facts['reason']}; {name}_int8 will serve the FP32 graph")
