"""A network on its calibration split, where recipes are tried: nothing here ever sees the test split."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102 import artifact
from ai102.code_hash import inputs_of_code
from ai102.contract import Budget, Network, Recipe
from ai102.errors import UserError
from ai102.int8 import for_onnxruntime, judge, sensitivity
from ai102.int8.ranges import MIN_SAMPLES, Ranges, find_ranges
from ai102.int8.score import cosine_stats
from ai102.int8.search import Score
from ai102.int8.sensitivity import LayerCost
from ai102.progress import Progress
from ai102.samples.read import Samples, batches_of_items
from ai102.weights.graph import clean_graph, weighted_layers
from ai102_runtime.engine.cpu import this_cpu

# Of what the budget allows, the search spends this share: the samples it has are few, and not those of the gate.
SPENT = 0.5
SENSITIVITY_SAMPLES = 48
_MIN_JUDGED = 32


@dataclass(frozen=True)
class Bench:
    """One network and its calibration split cut in two: ranges are measured on `fitted`, recipes judged on `judged`."""

    name: str
    network: Network
    fp32: Path
    tokenizer_file: Path | None
    calibration: Samples
    build: Path
    contract: Mapping[str, str]  # the keys of the network that scores depend on

    @cached_property
    def parts(self) -> tuple[Samples, Samples]:
        """(fitted, judged): MIN_SAMPLES taken evenly, and the rest. Raises UserError where the rest is too small."""
        items, labels = self.calibration.items, self.calibration.labels
        if len(items) < MIN_SAMPLES + _MIN_JUDGED:
            raise UserError(
                f"{self.name}: the calibration split has {len(items)} samples; a recipe needs "
                f"{MIN_SAMPLES} for ranges and at least {_MIN_JUDGED} others to judge by: enlarge the set"
            )
        fitted = {position * len(items) // MIN_SAMPLES for position in range(MIN_SAMPLES)}
        chosen = (sorted(fitted), [position for position in range(len(items)) if position not in fitted])
        first, second = (
            Samples(tuple(items[i] for i in part), tuple(labels[i] for i in part) if labels else (), "")
            for part in chosen
        )
        return first, second

    @cached_property
    def provenance(self) -> dict[str, str]:
        return {
            "onnx_sha256": artifact.sha256_of_file(self.fp32),
            "set_sha256": self.calibration.sha256,
            "budget": json.dumps(self.network.budget.model_dump(exclude_none=True)) if self.network.budget else "",
            "cpu": this_cpu(),
            **{package: version(package) for package in ("onnx", "onnxruntime", "numpy")},
        }

    @cached_property
    def macs(self) -> dict[str, int]:
        model = clean_graph(self.fp32)
        return sensitivity.macs_of(model, weighted_layers(model))

    @cached_property
    def _reference(self) -> NDArray[np.float32]:
        return self._outputs(self.fp32, self.parts[1])

    @cached_property
    def _known(self) -> dict[str, dict[str, Any]]:
        """Scores of an earlier, perhaps interrupted search of the very same network, set and library."""
        try:
            trace = json.loads(self._trace.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        scores: dict[str, dict[str, Any]] = trace["scores"]
        return scores if trace["provenance"] == self.scores_made_from else {}

    @cached_property
    def scores_made_from(self) -> dict[str, str]:
        """When one of these changes, the scores of before are worthless."""
        return {**self.provenance, **self.contract, **inputs_of_code(__name__)}

    @property
    def _trace(self) -> Path:
        return self.build / "search.json"

    def score(self, recipe: Recipe, count: int | None = None) -> Score:
        """How the recipe does on the first `count` judged samples; all of them decide about the budget."""
        key = json.dumps([recipe.model_dump(), count])
        if key not in self._known:
            self._known[key] = asdict(self._measured(recipe, count))
            trace = {"provenance": self.scores_made_from, "scores": self._known}
            artifact.write_text(self._trace, json.dumps(trace, indent=1) + "\n")
        known = self._known[key]
        return Score(known["error"], known["facts"], tuple(known["complaints"]))

    def ranking(self, recipe: Recipe, progress: Progress) -> list[LayerCost]:
        """Every layer's cost under the recipe, with all others in INT8 or all in float."""

        def error_of(floats: Collection[str]) -> float:
            return self.score(recipe.model_copy(update={"keep_float": tuple(floats)}), SENSITIVITY_SAMPLES).error

        return sensitivity.rank(self.macs, error_of, progress)

    def emit(self, recipe: Recipe, file: Path) -> Path:
        for_onnxruntime.int8_from_ranges(self.fp32, self._ranges(recipe), recipe, file)
        return file

    def _measured(self, recipe: Recipe, count: int | None) -> Score:
        file = self.emit(recipe, self.build / "search" / "candidate.onnx")
        judged = self.parts[1]
        part = Samples(judged.items[:count], judged.labels[:count], "")
        reference, candidate = self._reference[:count], self._outputs(file, part)
        file.unlink()
        # Labels change too rarely to tell two recipes apart; the whole row of scores tells.
        error = 1 - cosine_stats(reference, candidate)[0]
        if count is not None:
            return Score(error)
        assert self.network.budget is not None
        network = self.network.model_copy(update={"budget": _tightened(self.network.budget, len(judged.items))})
        verdict = judge.compare(network, part, reference, candidate)
        return Score(error, verdict.facts, verdict.complaints)

    def _outputs(self, file: Path, samples: Samples) -> NDArray[np.float32]:
        # One thread: a sum split over threads is another sum, and the same inputs must lead to the same choice.
        run = judge.session_run(file, self.network, threads=1)
        return judge.outputs(run, self.network, samples.items, self.tokenizer_file)

    def _ranges(self, recipe: Recipe) -> Ranges:
        file = self.build / "search" / f"ranges-{recipe.method}-{recipe.percentile or 0:g}.json"

        def write(temporary: Path) -> None:
            fitted = self.parts[0].items
            batches = batches_of_items(self.network, fitted, self.tokenizer_file)
            find_ranges(
                self.fp32,
                (tensors for _, tensors in batches),
                sample_count=len(fitted),
                set_sha256=self.calibration.sha256,
                method=recipe.method,
                percentile=recipe.percentile,
            ).save(temporary)

        artifact.make(file, self.scores_made_from, write)
        return Ranges.load(file, self.fp32)


def _tightened(budget: Budget, count: int) -> Budget:
    """What the search holds a recipe to on `count` samples; the floor of FP32 itself is the gate's to check.

    Half of every allowance is kept for samples not seen here. Only the agreement on neighbours, which is counted,
    not averaged, and depends on how many others there are, gets two standard errors of such a count instead: on
    130 sentences, MiniLM agrees for 90 % where it does for 95 % of the 1,284 it is judged on.
    """

    def halfway(best: float, bound: float | None) -> float | None:
        return None if bound is None else best + SPENT * (bound - best)

    agreement = budget.min_nearest_neighbour_percent
    if agreement is not None:
        agreement = max(0.0, agreement - 2 * (agreement * (100 - agreement) / count) ** 0.5)
    return budget.model_copy(
        update={
            "min_top1_percent": None,
            "max_top1_drop_points": halfway(0, budget.max_top1_drop_points),
            "min_mean_cosine": halfway(1, budget.min_mean_cosine),
            "min_cosine": halfway(1, budget.min_cosine),
            "min_nearest_neighbour_percent": agreement,
        }
    )
