"""The steps from weights to model_repository, as verbs on a workspace; no two builds run in one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ai102.build.lock import building
from ai102.build.order import Order
from ai102.build.workspace import Workspace
from ai102.contract import Recipe
from ai102.progress import Reporter

if TYPE_CHECKING:
    from ai102.int8.recipes import ChosenRecipe


def export(workspace: Workspace, name: str, report: Reporter) -> Path:
    """Weights to FP32 ONNX: build/NET/fp32.onnx."""
    with building(workspace.root, report.say):
        return Order(workspace, name, report).fp32


def calibrate(workspace: Workspace, name: str, report: Reporter, recipe: Recipe | None = None) -> Path:
    """The range of every activation on the calibration split, kept under calibration/ranges.

    Uses the network's recipe; pass `recipe` for another method, which has a file of its own.
    """
    with building(workspace.root, report.say):
        order = Order(workspace, name, report)
        return order.ranges(recipe or order.recipe().recipe)


def search(workspace: Workspace, name: str, report: Reporter) -> Path:
    """The recipe that keeps to the budget with the most in INT8: calibration/recipes/NET.toml.

    Raises BudgetError when no recipe does.
    """
    from ai102.int8 import recipes
    from ai102_runtime.engine.cpu import this_cpu

    with building(workspace.root, report.say):
        file = recipes.file_for_search(workspace.recipe_file(name, this_cpu()), name, this_cpu())
        recipes.search(Order(workspace, name, report).bench(), file, report)
        return file


def sensitivity(workspace: Workspace, name: str, report: Reporter) -> Path:
    """What each layer costs in INT8, measured on the calibration split: build/NET/sensitivity.json."""
    from ai102.int8 import recipes

    with building(workspace.root, report.say):
        order = Order(workspace, name, report)
        return recipes.sensitivity(order.bench(), order.recipe().recipe, report)


def recipe_of(workspace: Workspace, name: str) -> ChosenRecipe:
    """How the network is quantized on this kind of CPU, and who says so."""
    from ai102.int8 import recipes
    from ai102_runtime.engine.cpu import this_cpu

    return recipes.recipe_of(workspace.network(name), workspace.recipe_file(name, this_cpu()))


def quantize(workspace: Workspace, name: str, report: Reporter) -> Path:
    """Ranges to INT8 ONNX, judged on held-out data and timed against FP32: build/NET/int8.onnx.

    Raises BudgetError when it loses more than the budget allows: nothing is written then, the INT8 model of an
    earlier build is taken out of model_repository, and the layers that cost most are said.
    """
    with building(workspace.root, report.say):
        return Order(workspace, name, report).int8()


def engine(workspace: Workspace, name: str, report: Reporter, *, measure: bool = False) -> None:
    """Everything the network's models in model_repository need to start; a new build is a new version.

    `measure`: the engines are timed, and the choice is kept in calibration/engines/NET.toml.
    """
    with building(workspace.root, report.say):
        if measure:
            Order(workspace, name, report, measures=True).keep_choices()
        Order(workspace, name, report).install()
