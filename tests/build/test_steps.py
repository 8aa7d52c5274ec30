"""The gate: what loses too much is never served, what is slower is served in FP32, and a search may save the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from ai102 import artifact, weights
from ai102.build import inventory, plans, verbs
from ai102.build.judged import judged_otherwise
from ai102.build.workspace import Workspace
from ai102.contract import Budget, Recipe
from ai102.errors import BudgetError, UserError
from ai102.int8 import recipes, stopwatch, trial
from ai102.int8.stopwatch import Speed
from ai102.progress import Progress
from ai102.samples.read import read_samples, tensors_of_items
from ai102.weights.source import Kind, Source
from ai102_runtime.engine.cpu import this_cpu

ROOT = Path(__file__).parents[2]
SETS = ROOT / "calibration" / "sets"
CONTRACT = """
[networks.hard]
source = "test:hard"
task = "image-classification"
inputs = [{ name = "pixels", type = "UINT8", dims = [1, 8, 8], layout = "NCHW" }]
outputs = [{ name = "scores", type = "FP32", dims = [10] }]
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
image = { resample = "box" }
calibration_set = "digits"
budget = { max_top1_drop_points = 1.0 }
latency_goal = { p99_ms = 20.0 }
batching = { max_batch_size = 8 }

[ensembles.classify]
steps = ["hard_decode", "hard_int8", "hard_label"]
inputs = ["image"]
outputs = ["label"]
"""


class Hard(nn.Module):
    """Nearest class mean over pixels, beside which one channel a thousand times as large goes through the same tensor.

    Rounded to 256 steps over the range of all channels, every pixel is 0 or 1 step.
    """

    def __init__(self, means: Tensor) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(64, 65), nn.Linear(65, 10)
        with torch.no_grad():
            self.hidden.weight.copy_(torch.cat([torch.eye(64), torch.full((1, 64), 30.0)]))
            self.hidden.bias.zero_()
            self.head.weight.copy_(torch.cat([means, torch.full((10, 1), 1e-6)], dim=1))
            self.head.bias.copy_(-(means**2).sum(dim=1) / 2)

    def forward(self, pixels: Tensor) -> Tensor:
        scaled = pixels.flatten(1).float() / 255
        return nn.functional.softmax(self.head(nn.functional.relu(self.hidden(scaled))), dim=1)


def find(name: str, network: Any, _sets: Path, _build: Path) -> Source:
    def module(progress: Progress) -> nn.Module:
        train = read_samples(SETS, "digits", "train")
        pixels = tensors_of_items(network, train.items, None)["pixels"].reshape(-1, 64) / 255
        labels = np.array(train.labels)
        means = torch.tensor(np.stack([pixels[labels == k].mean(axis=0) for k in range(10)]), dtype=torch.float32)
        return Hard(means * 0.999 if name == "shifted" else means)

    return Source(identity=name, module=module)


class Listener:
    """A Reporter that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[str] = []

    @contextmanager
    def step(self, title: str) -> Iterator[Progress]:
        self.steps.append(title)
        yield lambda done, total: None

    def say(self, line: str) -> None:
        self.lines.append(line)

    @property
    def said(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture(autouse=True)
def _test_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.SOURCES, "test", Kind(find))


@pytest.fixture
def listener() -> Listener:
    return Listener()


def int8_runs(monkeypatch: pytest.MonkeyPatch, ratio: float) -> None:
    """Networks as small as these are not faster in INT8, and a busy machine measures what it likes."""
    speed = Speed(1.0, 1 / ratio, 8, ratio, ratio, ratio, 9)
    monkeypatch.setattr(stopwatch, "compare", lambda fp32, int8, batch: speed)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exported")
    (root / "models.toml").write_text(CONTRACT)
    (root / "calibration" / "sets").mkdir(parents=True)
    shutil.copy(SETS / "digits.toml", root / "calibration" / "sets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(weights.SOURCES, "test", Kind(find))
        verbs.calibrate(Workspace.of(root / "models.toml"), "hard", Listener())
    return root


@pytest.fixture
def workspace(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    int8_runs(monkeypatch, 2.0)
    shutil.copytree(exported, tmp_path / "work")
    return Workspace.of(tmp_path / "work" / "models.toml")


def with_network(workspace: Workspace, **changes: Any) -> Workspace:
    network = workspace.network("hard").model_copy(update=changes)
    contract = workspace.contract.model_copy(update={"networks": {"hard": network}})
    return Workspace(workspace.root, contract, workspace.shelf)


def test_over_budget_nothing_is_written_and_the_costliest_layers_are_named(
    workspace: Workspace, listener: Listener
) -> None:
    with pytest.raises(BudgetError, match=r"INT8 top-1 drops by .* nothing was written; `ai102 quantize hard") as err:
        verbs.engine(workspace, "hard", listener)
    assert err.value.exit_status == 3
    assert not (workspace.build("hard") / "int8.onnx").exists()
    assert not list(workspace.repository.glob("hard_int8/**/*"))
    ranking = listener.lines[next(i for i, line in enumerate(listener.lines) if "the costliest of 2 layers" in line) :]
    assert [line.split()[0] for line in ranking[2:]] == ["head", "hidden"]
    costs = json.loads((workspace.build("hard") / "sensitivity.json").read_text())
    assert (costs["score"], costs["samples"]) == ("1 - mean cosine", trial.SENSITIVITY_SAMPLES)
    assert [(layer["name"], layer["macs"], layer["treatment"]) for layer in costs["layers"]] == [
        ("head", 650, "int8"),
        ("hidden", 4160, "int8"),
    ]
    assert costs["layers"][0]["cost_spared"] > 0.9 * costs["error_all_int8"] > 0


def test_what_an_earlier_build_served_is_taken_out_and_reported(workspace: Workspace, listener: Listener) -> None:
    verbs.engine(with_network(workspace, quantization=Recipe(smoothing=0.5)), "hard", listener)
    model = workspace.repository / "hard_int8" / "1" / "model.onnx"
    assert model.exists()
    with pytest.raises(BudgetError):
        verbs.quantize(workspace, "hard", listener)
    assert list(model.parent.iterdir()) == []
    assert (workspace.repository / "hard_fp32" / "1" / "model.onnx").exists()
    assert "hard_int8 of an earlier build was taken out of model_repository" in listener.said
    assert "ensembles that cannot load without it: classify" in listener.said


def test_a_search_brings_the_hard_network_within_budget_and_a_build_uses_what_it_found(
    workspace: Workspace, listener: Listener
) -> None:
    file = verbs.search(workspace, "hard", listener)
    assert file == workspace.root / "calibration" / "recipes" / "hard.toml"
    recipe, said_by = verbs.recipe_of(workspace, "hard")
    assert recipe != Recipe()
    assert said_by == "calibration/recipes/hard.toml"
    verbs.engine(workspace, "hard", listener)
    facts = artifact.facts_of(workspace.repository / "hard_int8" / "1" / "model.onnx")
    assert facts["top1_drop_points"] <= 1.0  # type: ignore[operator]
    assert (facts["precision"], facts["recipe"], facts["recipe_from"]) == (
        "int8",
        recipe.model_dump(mode="json"),
        said_by,
    )


def test_the_same_search_finds_the_same_file_to_the_byte(workspace: Workspace, listener: Listener) -> None:
    first = verbs.search(workspace, "hard", listener).read_bytes()
    shutil.rmtree(workspace.build("hard") / "search")
    (workspace.build("hard") / "search.json").unlink()
    assert verbs.search(workspace, "hard", listener).read_bytes() == first


def test_a_killed_search_goes_on_where_it_was(
    workspace: Workspace, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted: list[Recipe] = []
    emit = trial.for_onnxruntime.int8_from_ranges

    def counted(onnx_file: Path, ranges: Any, recipe: Recipe, out_file: Path) -> Any:
        if len(emitted) == 3:
            raise KeyboardInterrupt
        emitted.append(recipe)
        return emit(onnx_file, ranges, recipe, out_file)

    monkeypatch.setattr(trial.for_onnxruntime, "int8_from_ranges", counted)
    with pytest.raises(KeyboardInterrupt):
        verbs.search(workspace, "hard", listener)
    before = set(emitted)
    emitted.clear()
    emitted_limit = 100
    monkeypatch.setattr(
        trial.for_onnxruntime,
        "int8_from_ranges",
        lambda *given: emitted.append(given[2]) or emit(*given),  # type: ignore[func-returns-value]
    )
    verbs.search(workspace, "hard", listener)
    assert 0 < len(emitted) < emitted_limit
    assert not before & set(emitted)


def test_what_no_recipe_saves_is_refused_and_never_served(workspace: Workspace, listener: Listener) -> None:
    budget = workspace.network("hard").budget
    assert budget is not None
    # INT8 must be right 90 points more often than FP32: no recipe can.
    hopeless = with_network(workspace, budget=budget.model_copy(update={"max_top1_drop_points": -90.0}))
    with pytest.raises(BudgetError, match=r"none of 1\d recipes keeps to the budget; hard.toml stays as it was") as err:
        verbs.search(hopeless, "hard", listener)
    assert err.value.exit_status == 3
    assert "the costliest of 2 layers" in listener.said
    with pytest.raises(BudgetError):
        verbs.engine(hopeless, "hard", listener)
    assert not list(hopeless.repository.glob("hard_int8/**/*.onnx"))
    assert not hopeless.recipe_file("hard", this_cpu()).exists()


def test_where_fp32_wins_its_graph_is_served_under_the_name_that_ensembles_know(
    workspace: Workspace, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    int8_runs(monkeypatch, 0.8)
    slow = with_network(workspace, quantization=Recipe(smoothing=0.5))
    verbs.engine(slow, "hard", listener)
    served, fp32 = (slow.repository / f"hard_{form}" / "1" / "model.onnx" for form in ("int8", "fp32"))
    assert served.read_bytes() == fp32.read_bytes()
    facts = artifact.facts_of(served)
    assert facts["precision"] == "fp32"
    assert str(facts["reason"]).startswith("fp32 wins: INT8 is 0.80x as fast as FP32")
    assert "hard: fp32 wins:" in listener.said
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(slow.build("hard") / "int8.onnx").graph.node)
    int8_runs(monkeypatch, 2.0)
    (slow.build("hard") / "int8.onnx").unlink()
    verbs.engine(slow, "hard", listener)
    newest = slow.builds("hard").newest("hard_int8") / "model.onnx"
    assert newest.parent.name == "2"
    assert newest.read_bytes() != fp32.read_bytes() == served.read_bytes()
    assert artifact.facts_of(newest)["precision"] == "int8"


def test_other_weights_are_calibrated_and_quantized_anew(workspace: Workspace, listener: Listener) -> None:
    kept = with_network(workspace, quantization=Recipe(smoothing=0.5))
    verbs.quantize(kept, "hard", listener)
    files = [kept.ranges("hard", Recipe()), kept.build("hard") / "int8.onnx"]
    before = [file.read_bytes() for file in files]
    verbs.quantize(with_network(kept, source="test:shifted"), "hard", listener)
    assert all(file.read_bytes() != old for file, old in zip(files, before, strict=True))


def test_a_second_build_has_nothing_to_do_and_says_nothing(workspace: Workspace, listener: Listener) -> None:
    kept = with_network(workspace, quantization=Recipe(smoothing=0.5))
    verbs.engine(kept, "hard", listener)
    plans.quantize(kept, "hard", listener)
    quiet = Listener()
    verbs.engine(kept, "hard", quiet)
    plans.quantize(kept, "hard", quiet)
    assert (quiet.lines, quiet.steps) == ([], [])


def test_other_preprocessing_is_calibrated_and_judged_anew_and_is_in_the_manifest(
    workspace: Workspace, listener: Listener
) -> None:
    kept = with_network(workspace, quantization=Recipe(smoothing=0.5))
    verbs.engine(kept, "hard", listener)
    served = kept.repository / "hard_int8" / "1" / "model.onnx"
    before = artifact.facts_of(served)
    image = kept.network("hard").image.model_copy(update={"resample": "lanczos", "shortest_edge": 16})
    again = Listener()
    verbs.engine(with_network(kept, image=image), "hard", again)
    assert {"hard: calibrate on 200 samples", "hard: judge on 460 held-out samples"} <= set(again.steps)
    newest = kept.builds("hard").newest("hard_int8") / "model.onnx"
    facts = artifact.facts_of(newest)
    assert facts["fp32_top1_percent"] != before["fp32_top1_percent"]
    assert facts["summary"] == artifact.facts_of(kept.build("hard") / "int8.onnx")["summary"]


def test_a_served_model_that_was_judged_by_another_contract_is_named(workspace: Workspace, listener: Listener) -> None:
    serving = with_network(workspace, quantization=Recipe(method="minmax"), budget=Budget(max_top1_drop_points=100))
    verbs.engine(serving, "hard", listener)
    assert judged_otherwise(serving) == []
    image = serving.network("hard").image.model_copy(update={"resample": "lanczos"})
    changed = with_network(serving, image=image)
    assert judged_otherwise(changed) == ["hard"]
    assert [row.model for row in inventory.rows(changed) if not row.is_judged_anew] == ["hard_int8"]
    verbs.engine(changed, "hard", listener)
    assert judged_otherwise(changed) == []


def test_a_model_that_no_preprocessing_suits_any_more_is_taken_out(workspace: Workspace, listener: Listener) -> None:
    budget = Budget(min_top1_percent=80.0, max_top1_drop_points=5.0)
    kept = with_network(workspace, quantization=Recipe(smoothing=0.5), budget=budget)
    verbs.engine(kept, "hard", listener)
    image = kept.network("hard").image.model_copy(update={"resample": "nearest", "shortest_edge": 64})
    with pytest.raises(BudgetError, match=r"FP32 top-1 is .* %, wanted at least 80 %"):
        verbs.engine(with_network(kept, image=image), "hard", listener)
    assert not list(kept.repository.glob("hard_int8/*/model.onnx"))


def test_two_targets_with_recipes_of_other_methods_keep_ranges_of_their_own(
    workspace: Workspace, listener: Listener
) -> None:
    own = workspace.recipe_file("hard", "tensorrt").with_name("hard.tensorrt.toml")
    own.parent.mkdir(parents=True)
    text = '[recipe]\nmethod = "entropy"\nkeep_float = ["head"]\n[layers]\n[scores]\n[provenance]\n'
    own.write_text(text)
    own.with_name("hard.toml").write_text(text.replace('method = "entropy"\n', ""))
    for _ in range(2):
        again = Listener()
        verbs.quantize(workspace, "hard", again)
        plans.quantize(workspace, "hard", again)
    assert again.steps == []
    names = sorted(file.name for file in workspace.ranges_folder.glob("*.json") if ".made." not in file.name)
    assert names == ["hard.entropy.json", "hard.minmax.json"]


def test_ranges_are_the_same_bytes_on_every_day(workspace: Workspace, listener: Listener) -> None:
    """Else INT8, which is made from them, would be made again the day after they were removed."""
    file, today = verbs.calibrate(workspace, "hard", listener), datetime.now(UTC).date().isoformat()
    assert artifact.facts_of(file)["calibrated_on"] == today
    assert today not in file.read_text()
    before = file.read_bytes()
    file.unlink()
    assert verbs.calibrate(workspace, "hard", listener).read_bytes() == before


def test_the_contracts_own_recipe_goes_before_what_a_search_found(workspace: Workspace, listener: Listener) -> None:
    file = workspace.recipe_file("hard", this_cpu())
    file.parent.mkdir()
    file.write_text('[recipe]\nsmoothing = 0.7\n[layers]\nhead = "int8"\n[scores]\n[provenance]\n')
    given = with_network(workspace, quantization=Recipe(keep_float=("head",)))
    assert verbs.recipe_of(workspace, "hard") == (Recipe(smoothing=0.7), "calibration/recipes/hard.toml")
    assert verbs.recipe_of(given, "hard") == (Recipe(keep_float=("head",)), "contract")
    with pytest.raises(UserError, match="quantization table in the contract, which goes before a search: drop it"):
        verbs.search(given, "hard", listener)
    file.write_text("[recipe]\nsmothing = 0.7\n")
    with pytest.raises(UserError, match=r"hard.toml: not a recipe .*; search for one again"):
        verbs.recipe_of(workspace, "hard")


def test_a_contract_kept_aside_uses_the_same_sets_and_makes_everything_below_build(tmp_path: Path) -> None:
    (tmp_path / "calibration" / "sets").mkdir(parents=True)
    (tmp_path / "loadtest").mkdir()
    for name in ("models.toml", "loadtest/big.toml"):
        (tmp_path / name).write_text(CONTRACT)
    main, aside = Workspace.of(tmp_path / "models.toml"), Workspace.of(tmp_path / "loadtest" / "big.toml")
    assert main.root == tmp_path
    assert (aside.sets, aside.recipe_file("hard", this_cpu())) == (main.sets, main.recipe_file("hard", this_cpu()))
    below = tmp_path / "build" / "big"
    assert [aside.repository, aside.ranges("hard", Recipe())] == [
        below / "model_repository",
        below / "calibration" / "ranges" / "hard.minmax.json",
    ]


def test_a_kind_of_cpu_with_a_recipe_of_its_own_uses_that(workspace: Workspace) -> None:
    shared = workspace.recipe_file("hard", this_cpu())
    shared.parent.mkdir(parents=True)
    text = '[recipe]\nsmoothing = 0.7\n[scores]\n[layers]\n[provenance]\ncpu = "another"\n'
    shared.write_text(text)
    own = shared.with_name(f"hard.{this_cpu()}.toml")
    assert recipes.file_for_search(shared, "hard", this_cpu()) == own
    assert recipes.file_for_search(shared, "hard", "another") == shared
    own.write_text(text.replace("0.7", "0.5").replace("another", this_cpu()))
    assert verbs.recipe_of(workspace, "hard") == (Recipe(smoothing=0.5), f"calibration/recipes/{own.name}")
