"""The INT8 graph for a kind of CPU that this one computes for, judged in the engine that was chosen there."""

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
from ai102.int8 import gate
from ai102.int8.engines import Candidate, run_of
from ai102.int8.for_onnxruntime import int8_from_ranges
from ai102.int8.ranges import Ranges
from ai102.samples.read import Samples
from ai102_runtime.engine.cpu import Cpu, this_cpu
from ai102_runtime.engine.record import EngineName

if TYPE_CHECKING:
    from ai102.int8.recipes import ChosenRecipe


def made_from(
    network: Network, fp32: Path, ranges: Path, test: Samples, chosen: ChosenRecipe, cpu: Cpu, engine: EngineName
) -> dict[str, str]:
    return {
        "fp32 file": artifact.sha256_of_file(fp32),
        "ranges": artifact.sha256_of_file(ranges),
        "test split": test.sha256,
        "recipe": f"{chosen.recipe!r} by {chosen.origin}",
        "for": f"{cpu}, {engine}",
        "cpu": this_cpu(),
        **contract_inputs("quantize", network),
        **inputs_of_code(__name__),
    }


def quantize(
    subject: Subject,
    fp32: Path,
    ranges: Path,
    test: Samples,
    chosen: ChosenRecipe,
    cpu: Cpu,
    engine: EngineName,
    file: Path,
) -> bool:
    """Write `file`, and its accuracy into its manifest; returns whether it keeps to the budget.

    It is not timed: its speed here says nothing about that kind.
    """
    name, network, report = subject.name, subject.network, subject.report

    def write(temporary: Path) -> Mapping[str, object]:
        with report.step(f"{name}: quantize and judge for {cpu}"):
            graph = int8_from_ranges(fp32, Ranges.load(ranges, fp32), chosen.recipe, temporary, cpu=cpu)
            run = run_of(Candidate(engine, "int8"), temporary, network)
            verdict = gate.accuracy_of_run(network, test, fp32, run, subject.tokenizer_file)
        return {
            "summary": verdict.summary,
            "complaints": list(verdict.complaints),
            **verdict.facts,
            JUDGED_AS: judged_as(network),
            "cpu": graph.cpu,
            "engine": engine,
            "float_layers": list(graph.float_layers),
            "recipe_from": chosen.origin,
        }

    is_new = artifact.make(file, made_from(network, fp32, ranges, test, chosen, cpu, engine), write)
    complaints: object = artifact.facts_of(file)["complaints"]
    if is_new:
        verdict = artifact.facts_of(file)["summary"] if not complaints else f"is not served: {complaints}"
        report.say(f"{name}: {file.name} {artifact.megabytes(file)}, {verdict}")
    return not complaints
