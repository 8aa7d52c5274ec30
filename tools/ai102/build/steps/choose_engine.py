"""The engine that serves a network on this kind of CPU: those that keep to the accuracy, timed against each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ai102 import artifact
from ai102.build import warmup
from ai102.build.contract_inputs import contract_inputs
from ai102.build.steps.export import parity_inputs
from ai102.build.subject import Subject
from ai102.code_hash import inputs_of_code
from ai102.configs.serving_config import warm_lengths
from ai102.contract import Network, Precision
from ai102.errors import BudgetError, UserError
from ai102.host.cpu import cpu_name
from ai102.int8 import engines, gate, judge
from ai102.int8.engines import Candidate
from ai102.int8.kept_choices import KeptChoice
from ai102.samples.read import Samples
from ai102.weights.export import MAX_ABS_DIFFERENCE
from ai102_runtime.engine.cpu import this_cpu


@dataclass(frozen=True)
class Files:
    """The network's files, by precision, and the one that ONNX Runtime is faster with."""

    by_precision: Mapping[Precision, Path]
    usual: Precision


def made_from(
    network: Network, files: Files, calibration: Samples | None, test: Samples | None, kept: KeptChoice | None
) -> dict[str, str]:
    return {
        **{f"{precision} file": artifact.sha256_of_file(file) for precision, file in files.by_precision.items()},
        "faster in ONNX Runtime": files.usual,
        "calibration split": calibration.sha256 if calibration else "",
        "test split": test.sha256 if test else "",
        "cpu": this_cpu(),
        "kept choice": kept.model_dump_json() if kept else "",
        **contract_inputs("choose engine", network),
        **inputs_of_code(__name__),
    }


def choose(
    subject: Subject,
    files: Files,
    calibration: Samples | None,
    test: Samples | None,
    served_as: str,
    kept: KeptChoice | None,
    file: Path,
) -> None:
    """Write `file`, the choice for this kind of CPU; its manifest says what was tried, how fast each was, and where.

    `kept` is taken as it was measured, if it passes its check here. Else all that passes is timed. Raises BudgetError
    where the contract asks for OpenVINO and nothing passes.
    """
    name, network, report = subject.name, subject.network, subject.report
    usual = Candidate("onnxruntime", files.usual)
    if kept and network.engine not in ("fastest", kept.candidate.library):
        kept = None

    def checks_of(candidates: list[Candidate]) -> dict[Candidate, Check]:
        with report.step(f"{name}: judge {served_as} in OpenVINO"):
            return {one: _checked(subject, files, calibration, test, one) for one in candidates}

    def timed() -> tuple[Candidate, dict[str, object]]:
        others = [Candidate("openvino", precision) for precision in files.by_precision]
        if test is not None and "int8" in files.by_precision and engines.has_bf16():
            others.append(Candidate("openvino-bf16", "fp32"))
        checks = checks_of(others)
        passed = [other for other, check in checks.items() if not check.refusal]
        if network.engine == "openvino" and not passed:
            reasons = "; ".join(f"{other}: {check.refusal}" for other, check in checks.items())
            raise BudgetError(f'{name}: engine = "openvino", and it does not pass: {reasons}')
        if network.engine == "fastest":
            passed = [usual, *passed]
        with report.step(f"{name}: time {', '.join(map(str, passed))}"):
            times = _times(subject, files, calibration, passed)
        ratios = engines.speeds(times, passed[0])
        tried = [
            {"engine": one.engine, "precision": one.precision}
            | (checks[one]._asdict() if one in checks else {})
            | ({"ms": times[one], "ratio": float(f"{ratios[one]:.4g}")} if one in times else {})
            for one in dict.fromkeys([*passed, *checks])
        ]
        facts = {"cpu_name": cpu_name(), "threads": network.instances.threads, "tried": tried}
        return engines.fastest(ratios, passed[0]), facts

    def taken(kept: KeptChoice) -> tuple[Candidate, dict[str, object]] | None:
        checks = checks_of([kept.candidate]) if kept.engine != "onnxruntime" else {}
        if refusal := next((check.refusal for check in checks.values() if check.refusal), ""):
            report.say(f"{name}: {kept.candidate}, the choice kept for {served_as}, does not pass: {refusal}")
            return None
        tried = [
            {"engine": one.engine, "precision": one.precision, "ratio": ratio}
            | (checks[one]._asdict() if one in checks else {})
            for one, ratio in kept.by_candidate.items()
        ]
        return kept.candidate, {"cpu_name": kept.cpu_name, "threads": kept.threads, "tried": tried}

    def write(temporary: Path) -> Mapping[str, object]:
        chosen, facts = (kept and taken(kept)) or timed()
        own = {"engine": chosen.engine, "precision": chosen.precision, "cpu": this_cpu()}
        temporary.write_text(json.dumps(own) + "\n", encoding="utf-8")
        return own | facts

    if artifact.make(file, made_from(network, files, calibration, test, kept), write):
        report.say(f"{name}: {served_as} runs on {_sentence(artifact.facts_of(file))}")


def kept_from(facts: Mapping[str, Any], fp32: Path) -> KeptChoice:
    """What `choose` measured, to be kept."""
    ratios = {f"{one['engine']} {one['precision']}": one["ratio"] for one in facts["tried"] if "ratio" in one}
    return KeptChoice(
        engine=facts["engine"],
        precision=facts["precision"],
        ratios=ratios,
        cpu_name=facts["cpu_name"],
        threads=facts["threads"],
        onnx_sha256=artifact.sha256_of_file(fp32),
        versions=artifact.versions("onnxruntime", "openvino"),
    )


def _sentence(facts: Mapping[str, Any]) -> str:
    """What was chosen, and beside it what was tried."""
    tried = [
        f"{Candidate(one['engine'], one['precision'])} "
        + (f"{one['ratio']:.2f}x" if "ratio" in one else f"does not pass: {one['refusal']}")
        for one in facts["tried"]
    ]
    chosen = Candidate(facts["engine"], facts["precision"])
    return f"{chosen} on {facts['cpu']} ({', '.join(tried)}; {facts['cpu_name']})"


class Check(NamedTuple):
    """How near OpenVINO's answers are, and why it must not serve the file, empty where it may."""

    accuracy: str
    refusal: str


def _checked(
    subject: Subject, files: Files, calibration: Samples | None, test: Samples | None, candidate: Candidate
) -> Check:
    """OpenVINO's answers against those of FP32 in ONNX Runtime.

    INT8 and bf16 keep to the budget; FP32 may differ from ONNX Runtime as an export may from PyTorch.
    """
    network, fp32 = subject.network, files.by_precision["fp32"]
    try:
        run = engines.run_of(candidate, files.by_precision[candidate.precision], network)
        if candidate.precision == "fp32" and not candidate.is_bf16:
            tensors = parity_inputs(network, calibration, subject.tokenizer_file)
            return _compared(run(tensors), judge.session_run(fp32, network)(tensors))
        assert test is not None
        verdict = gate.accuracy_of_run(network, test, fp32, run, subject.tokenizer_file)
    except UserError as err:
        return Check("", str(err))
    return Check(verdict.summary, "; ".join(verdict.complaints))


def _compared(answers: NDArray[np.float32], expected: NDArray[np.float32]) -> Check:
    difference = float(np.abs(answers.astype(np.float64) - expected).max())
    sentence = f"differs from ONNX Runtime by at most {difference:.1e} (allowed {MAX_ABS_DIFFERENCE:.0e})"
    return Check(sentence, "" if difference <= MAX_ABS_DIFFERENCE else sentence)


def _times(
    subject: Subject, files: Files, calibration: Samples | None, candidates: list[Candidate]
) -> dict[Candidate, dict[str, float]]:
    network, threads = subject.network, subject.network.instances.threads
    runs = {one: engines.run_of(one, files.by_precision[one.precision], network, threads=threads) for one in candidates}
    return engines.milliseconds(runs, _shapes(subject, calibration))


def _shapes(subject: Subject, calibration: Samples | None) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """Every padded length at every batch size, named and with inputs; the smallest first."""
    network = subject.network
    for length in warm_lengths(network):
        items = calibration.items[:16] if calibration else ()
        sample = warmup.sample_of_length(network, items, subject.tokenizer_file, length)
        for batch in engines.batch_sizes(network):
            tensors = {name: array if batch is None else np.stack([array] * batch) for name, array in sample.items()}
            words = ([f"batch {batch}"] if batch else []) + ([f"length {length}"] if network.text else [])
            yield ", ".join(words) or "one sample", tensors
