"""Weights to FP32 ONNX, checked against the framework that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ai102 import artifact
from ai102.build.contract_inputs import contract_inputs
from ai102.build.subject import Subject
from ai102.code_hash import inputs_of_code
from ai102.contract import Network
from ai102.samples.examples import examples_for
from ai102.samples.read import Samples, tensors_of_items
from ai102.weights.export import MAX_ABS_DIFFERENCE, onnx_from_torch

if TYPE_CHECKING:
    from ai102.weights.source import Source

PARITY_SAMPLES = 16


def made_from(network: Network, source: Source, samples: Samples | None) -> dict[str, str]:
    return {
        "weights": source.identity,
        "samples": samples.sha256 if samples else "",
        **contract_inputs("export", network),
        **inputs_of_code(__name__),
    }


def export(subject: Subject, samples: Samples | None, file: Path) -> None:
    """Write `file`, compared with PyTorch on the first of `samples`, or on made-up values where there are none.

    Raises UserError where the two differ by more than MAX_ABS_DIFFERENCE.
    """
    name, network, source, report = subject.name, subject.network, subject.source, subject.report

    def write(temporary: Path) -> Mapping[str, object]:
        if source.write_onnx:
            with report.step(f"{name}: ONNX file"):
                source.write_onnx(temporary)
            return {}
        assert source.module is not None
        with report.step(f"{name}: weights") as progress:
            module = source.module(progress)
        with report.step(f"{name}: export to ONNX"):
            tensors = parity_inputs(network, samples, source.tokenizer_file)
            return {"max_abs_difference": onnx_from_torch(module, network, tensors, temporary)}

    if artifact.make(file, made_from(network, source, samples), write):
        difference = artifact.facts_of(file).get("max_abs_difference")
        parity = (
            ""
            if difference is None
            else f", differs from PyTorch by at most {difference:.1e} (allowed {MAX_ABS_DIFFERENCE:.0e})"
        )
        report.say(f"{name}: {file.name} {artifact.megabytes(file)}{parity}")


def parity_inputs(network: Network, samples: Samples | None, tokenizer_file: Path | None) -> dict[str, NDArray[Any]]:
    if samples is None:
        return examples_for(network, tokenizer_file, PARITY_SAMPLES)
    return tensors_of_items(network, samples.items[:PARITY_SAMPLES], tokenizer_file)
