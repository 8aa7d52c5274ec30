"""How a network is quantized: by the contract, or by the recipe of a search on its calibration split."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from ai102 import artifact
from ai102.code_hash import inputs_of_code
from ai102.contract import Network, Recipe
from ai102.errors import BudgetError, UserError
from ai102.int8.search import MAX_TRIES
from ai102.int8.search import search as search_among
from ai102.int8.trial import SENSITIVITY_SAMPLES, Bench
from ai102.progress import Progress, Reporter
from ai102.weights.graph import clean_graph, layers_matching, weighted_layers

SHOWN = 8


class RecipeFile(BaseModel):
    """calibration/recipes/NET.toml: committed, so that a build does not search again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    layers: dict[str, str]  # "int8" or "float"
    scores: dict[str, float]  # on the part of the calibration split that no range was measured on
    provenance: dict[str, str]

    @classmethod
    def load(cls, file: Path) -> RecipeFile:
        """Raises UserError when the file is not one that the search wrote."""
        try:
            return cls.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, ValidationError) as err:
            raise UserError(f"{file}: not a recipe ({str(err).splitlines()[0]}); search for one again") from err

    def as_toml(self, name: str) -> str:
        tables = {
            "recipe": self.recipe.model_dump(exclude_defaults=True) or {"method": self.recipe.method},
            "scores": {key: float(f"{value:.4g}") for key, value in self.scores.items()},
            "provenance": self.provenance,
            "layers": self.layers,
        }
        lines = [f"# Found by `ai102 quantize {name} --search`; `quantization` in the contract goes before it."]
        for title, table in tables.items():
            # JSON's strings, numbers and lists of strings are TOML's too.
            lines += ["", f"[{title}]", *(f"{_key(key)} = {json.dumps(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


class ChosenRecipe(NamedTuple):
    """How a network is quantized, and who says so: its table in the contract, the recipe file, or nobody."""

    recipe: Recipe
    origin: str


def recipe_of(network: Network, file: Path) -> ChosenRecipe:
    if network.quantization is not None:
        return ChosenRecipe(network.quantization, "contract")
    if file.is_file():
        return ChosenRecipe(RecipeFile.load(file).recipe, f"calibration/recipes/{file.name}")
    return ChosenRecipe(Recipe(), "default")


def file_for_search(file: Path, name: str, cpu: str) -> Path:
    """`file`, unless it holds the recipe of another kind of CPU: then one beside it, for this kind."""
    if file.is_file() and RecipeFile.load(file).provenance.get("cpu") != cpu:
        return file.with_name(f"{name}.{cpu}.toml")
    return file


def search(bench: Bench, file: Path, report: Reporter) -> None:
    """Find the recipe that keeps to the budget with the most in INT8 and write it to `file`.

    Raises BudgetError, and leaves `file` as it was, when no recipe does; the ranking of layers is said then.
    """
    if bench.network.quantization is not None:
        raise UserError(f"{bench.name} has a quantization table in the contract, which goes before a search: drop it")

    total = MAX_TRIES + 2 * len(bench.macs) + 1
    done = {"tried": 0, "ranked": 0}
    report.say(f"{bench.name}: searching: at most {MAX_TRIES} recipes, and {total - MAX_TRIES} to rank layers by")
    with report.step(f"{bench.name}: try recipes on {len(bench.parts[1].items)} samples") as progress:

        def count(what: str) -> Progress:
            def advance(now: int, _total: int) -> None:
                done[what] = now
                progress(sum(done.values()), total)

            return advance

        outcome = search_among(bench.score, lambda base: bench.ranking(base, count("ranked")), progress=count("tried"))
    for recipe, score in outcome.tried:
        settings = ", ".join(f"{key} {value}" for key, value in recipe.model_dump(exclude_defaults=True).items())
        report.say(f"  {settings or 'minmax'}: error {score.error:.2e}; {'; '.join(score.complaints) or 'good'}")
    if outcome.recipe is None:
        say_ranking(bench, outcome.best, report)
        raise BudgetError(
            f"{bench.name}: none of {len(outcome.tried)} recipes keeps to the budget; {file.name} stays as it was"
        )
    facts = dict(outcome.tried)[outcome.recipe].facts
    layers = {layer: "float" if layer in outcome.recipe.keep_float else "int8" for layer in bench.macs}
    share = sum(macs for layer, macs in bench.macs.items() if layers[layer] == "int8") / sum(bench.macs.values())
    scores = {**facts, "samples": len(bench.parts[1].items), "tried": len(outcome.tried), "int8_share_of_macs": share}
    recipe_file = RecipeFile(recipe=outcome.recipe, layers=layers, scores=scores, provenance=bench.provenance)
    artifact.write_text(file, recipe_file.as_toml(bench.name))
    report.say(
        f"{bench.name}: {file.name} of {len(outcome.tried)} recipes tried: {share:.1%} of the multiply-accumulates in "
        f"INT8, {len(outcome.recipe.keep_float)} of {len(layers)} layers in float"
    )


def sensitivity(bench: Bench, recipe: Recipe, report: Reporter) -> Path:
    """build/NET/sensitivity.json: the layers, the costliest first, by the recipe's method and smoothing."""
    base = recipe.model_copy(update={"keep_float": ()})
    file = bench.build / "sensitivity.json"

    def write(temporary: Path) -> None:
        with report.step(f"{bench.name}: what each layer costs in INT8") as progress:
            ranking = bench.ranking(base, progress)
        layers = weighted_layers(clean_graph(bench.fp32))
        kept = [layer.name for layer in layers_matching(layers, recipe.keep_float)]
        costs = {
            "score": "1 - mean cosine",
            "samples": min(SENSITIVITY_SAMPLES, len(bench.parts[1].items)),
            "recipe": base.model_dump(),
            "error_all_int8": bench.score(base, SENSITIVITY_SAMPLES).error,
            "layers": [asdict(cost) | {"treatment": "float" if cost.name in kept else "int8"} for cost in ranking],
        }
        temporary.write_text(json.dumps(costs, indent=1) + "\n", encoding="utf-8")

    made_from = bench.scores_made_from | {"recipe": repr(recipe), **inputs_of_code(__name__)}
    artifact.make(file, made_from, write)
    return file


def say_ranking(bench: Bench, recipe: Recipe, report: Reporter) -> None:
    """Say which layers cost most in INT8, or why that cannot be said: the verdict counts without it."""
    try:
        costs = json.loads(sensitivity(bench, recipe, report).read_text(encoding="utf-8"))
    except UserError as err:
        report.say(f"{bench.name}: no ranking of layers: {err}")
        return
    for line in _ranking_lines(costs):
        report.say(line)


def _ranking_lines(costs: Mapping[str, Any]) -> list[str]:
    layers = costs["layers"]
    width = max(len(layer["name"]) for layer in layers[:SHOWN])
    return [
        f"the costliest of {len(layers)} layers ({costs['score']}; all in INT8: {costs['error_all_int8']:.2e}):",
        f"  {'layer':{width}}  gained by sparing  cost alone  MACs",
        *(
            f"  {layer['name']:{width}}  {layer['cost_spared']:17.2e}  {layer['cost_alone']:10.2e}  {layer['macs']:,}"
            for layer in layers[:SHOWN]
        ),
    ]


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else json.dumps(name)
