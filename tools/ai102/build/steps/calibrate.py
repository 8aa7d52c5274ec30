"""The range of every activation, on the calibration split."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ai102 import artifact
from ai102.build.contract_inputs import contract_inputs
from ai102.build.subject import Subject
from ai102.code_hash import inputs_of_code
from ai102.contract import Network, Recipe
from ai102.int8.ranges import find_ranges
from ai102.samples.read import Samples, batches_of_items


def made_from(network: Network, fp32: Path, calibration: Samples, recipe: Recipe) -> dict[str, str]:
    return {
        "fp32 file": artifact.sha256_of_file(fp32),
        "set": calibration.sha256,
        "method": f"{recipe.method} {recipe.percentile}",
        **contract_inputs("calibrate", network),
        **inputs_of_code(__name__),
    }


def calibrate(subject: Subject, fp32: Path, calibration: Samples, recipe: Recipe, file: Path) -> None:
    """Write the ranges by the recipe's method into `file`, the same bytes on every day; the date is in its manifest."""
    name, network, report = subject.name, subject.network, subject.report

    def write(temporary: Path) -> Mapping[str, object]:
        with report.step(f"{name}: calibrate on {len(calibration.items)} samples") as progress:
            batches = batches_of_items(network, calibration.items, subject.tokenizer_file)
            find_ranges(
                fp32,
                (tensors for _, tensors in batches),
                sample_count=len(calibration.items),
                set_sha256=calibration.sha256,
                method=recipe.method,
                percentile=recipe.percentile,
                progress=progress,
            ).save(temporary)
        return {"calibrated_on": datetime.now(UTC).date().isoformat()}

    if artifact.make(file, made_from(network, fp32, calibration, recipe), write):
        report.say(f"{name}: {subject.shown(file)} from {len(calibration.items)} samples ({recipe.method})")
