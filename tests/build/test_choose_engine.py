"""The engine of each served model: judged, timed, installed beside the file and in the pipelines of one process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai102 import artifact
from ai102.build import verbs
from ai102.build.workspace import Workspace
from ai102.contract import Recipe
from ai102.errors import BudgetError, UserError
from ai102.int8 import engines, kept_choices
from ai102.int8.engines import Candidate
from ai102.int8.recipes import RecipeFile
from ai102_runtime.engine.cpu import COMPUTES, this_cpu
from ai102_runtime.engine.record import judged_choice
from tests.build.test_steps import Listener, _test_source, exported, listener, with_network, workspace

__all__ = ["_test_source", "exported", "listener", "workspace"]
ORT, OV, OV_FP32 = Candidate("onnxruntime", "int8"), Candidate("openvino", "int8"), Candidate("openvino", "fp32")


@pytest.fixture
def served(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A network within its budget, beside which a busy machine times what it likes: OpenVINO takes half the time."""

    def timed(runs: Any, shapes: Any) -> dict[Candidate, dict[str, float]]:
        titles = [title for title, _ in shapes]
        return {one: dict.fromkeys(titles, 1.0 if one.engine == "openvino" else 2.0) for one in runs}

    monkeypatch.setattr(engines, "milliseconds", timed)
    monkeypatch.setattr(engines, "has_bf16", lambda: False)
    return with_network(workspace, quantization=Recipe(smoothing=0.5))


def record(workspace: Workspace, model: str) -> Path:
    return workspace.builds("hard").newest(model) / "model.engines.json"


def own_engine(workspace: Workspace, model: str) -> str:
    """The one chosen for this kind of CPU."""
    return judged_choice(record(workspace, model).with_name("model.onnx"), this_cpu()).engine


def refuse(file: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO cannot open files of that name, or answers wrongly."""
    usual = engines.openvino_run

    def run(onnx_file: Path, network: Any, **options: Any) -> Any:
        if onnx_file.name != file:
            return usual(onnx_file, network, **options)
        if why == "wrong":
            return lambda tensors: np.eye(10, dtype=np.float32)[[0] * len(tensors["pixels"])]
        raise UserError(why)

    monkeypatch.setattr(engines, "openvino_run", run)


def test_the_fastest_engine_is_written_beside_the_file_with_all_that_was_tried(
    served: Workspace, listener: Listener
) -> None:
    verbs.engine(served, "hard", listener)
    for model, precisions in (("hard_fp32", ["fp32", "fp32"]), ("hard_int8", ["int8", "fp32", "int8"])):
        assert own_engine(served, model) == "openvino"
        facts: Any = artifact.facts_of(record(served, model).with_name("model.onnx"))
        tried = facts["engine"]["tried"]
        assert [one["precision"] for one in tried] == precisions
        assert [one["engine"] for one in tried] == ["onnxruntime", *["openvino"] * (len(tried) - 1)]
        assert tried[0]["ms"] == {"batch 1": 2.0, "batch 8": 2.0}
        assert facts["engine"]["cpu"] == this_cpu()
        assert facts["engine"]["cpu_name"]
    assert (
        "hard_int8 runs on OpenVINO FP32 on" in listener.said or "hard_int8 runs on OpenVINO INT8 on" in listener.said
    )


def test_a_second_build_times_nothing(served: Workspace, listener: Listener) -> None:
    verbs.engine(served, "hard", listener)
    quiet = Listener()
    verbs.engine(served, "hard", quiet)
    assert (quiet.lines, quiet.steps) == ([], [])


def test_a_contract_that_names_onnx_runtime_times_nothing_and_is_a_new_version(
    served: Workspace, listener: Listener
) -> None:
    verbs.engine(served, "hard", listener)
    before = record(served, "hard_int8")
    again = Listener()
    verbs.engine(with_network(served, engine="onnxruntime"), "hard", again)
    assert own_engine(served, "hard_int8") == "onnxruntime"
    assert record(served, "hard_int8").parent.name == "2"
    assert before.exists(), "a rollback brings the earlier choice back"
    assert not record(served, "hard_fp32").exists()
    assert not any("OpenVINO" in step for step in again.steps)


@pytest.mark.parametrize("why", ["wrong", "openvino is not installed"])
def test_what_does_not_pass_in_openvino_is_not_served_by_it(
    served: Workspace, listener: Listener, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    refuse("int8.onnx", why, monkeypatch)
    refuse("fp32.onnx", why, monkeypatch)
    verbs.engine(served, "hard", listener)
    assert own_engine(served, "hard_int8") == "onnxruntime"
    reason = "INT8 top-1 drops by" if why == "wrong" else why
    assert f"OpenVINO INT8 does not pass: {reason}" in listener.said


def test_a_contract_that_names_openvino_is_refused_where_nothing_passes(
    served: Workspace, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse("fp32.onnx", "wrong", monkeypatch)
    with pytest.raises(BudgetError, match='engine = "openvino", and it does not pass: OpenVINO FP32: differs from'):
        verbs.engine(with_network(served, engine="openvino"), "hard", listener)


def test_where_fp32_in_openvino_is_the_fastest_the_int8_model_gets_that_file(
    served: Workspace, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse("int8.onnx", "wrong", monkeypatch)
    verbs.engine(served, "hard", listener)
    int8, fp32 = (record(served, f"hard_{form}").with_name("model.onnx") for form in ("int8", "fp32"))
    assert int8.read_bytes() == fp32.read_bytes()
    assert artifact.facts_of(int8)["precision"] == "fp32"
    assert "the fp32 graph (faster in its engine)" in listener.said


def test_a_kind_of_cpu_that_nobody_judged_gets_the_fp32_model_s_file(served: Workspace, listener: Listener) -> None:
    verbs.engine(served, "hard", listener)
    file = record(served, "hard_int8").with_name("model.onnx")
    unjudged = next(cpu for cpu in COMPUTES if this_cpu() not in COMPUTES[cpu])
    choice = judged_choice(file, unjudged)
    assert choice.engine == "onnxruntime"
    fp32 = record(served, "hard_fp32").with_name("model.onnx")
    assert (file.parent / choice.file).read_bytes() == fp32.read_bytes()


@pytest.mark.skipif(this_cpu() != "x86-vnni", reason="files for x86 are judged beside another kind's where VNNI is")
def test_a_kind_with_a_recipe_of_its_own_gets_a_file_that_is_judged_here(served: Workspace, listener: Listener) -> None:
    committed = with_network(served, quantization=None)
    own = committed.recipe_file("hard", "x86").with_name("hard.x86.toml")
    write_recipe(own, Recipe(smoothing=0.5))
    write_recipe(own.with_name("hard.toml"), Recipe(smoothing=0.5))
    verbs.engine(committed, "hard", listener)
    file = record(committed, "hard_int8").with_name("model.onnx")
    choice = judged_choice(file, "x86")
    assert choice == ("onnxruntime", "model.x86.onnx")
    facts = artifact.facts_of(file.parent / choice.file)
    assert facts["cpu"] == "x86"
    assert "top-1" in str(facts["summary"])
    own.unlink()
    verbs.engine(committed, "hard", listener)
    assert judged_choice(record(committed, "hard_int8").with_name("model.onnx"), "x86").file != choice.file
    assert not (record(committed, "hard_int8").parent / choice.file).exists()


def write_recipe(file: Path, recipe: Recipe) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = RecipeFile(recipe=recipe, layers={}, scores={}, provenance={"cpu": this_cpu()})
    file.write_text(kept.as_toml("hard"), encoding="utf-8")


def test_what_was_measured_is_kept_and_taken_without_measuring(
    served: Workspace, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs.engine(served, "hard", listener, measure=True)
    file = served.engines_file("hard")
    fp32, int8 = (kept_choices.load(file)[this_cpu()][precision] for precision in served.network("hard").precisions)
    assert (fp32.engine, fp32.ratios) == ("openvino", {"onnxruntime fp32": 1.0, "openvino fp32": 2.0})
    assert int8.cpu_name
    assert "hard: wrote calibration/engines/hard.toml" in listener.said

    def untimed(*_: Any) -> Any:
        raise AssertionError("engines were timed")

    monkeypatch.setattr(engines, "milliseconds", untimed)
    kept_choices.keep(file, this_cpu(), {"fp32": fp32.model_copy(update={"engine": "onnxruntime"}), "int8": int8})
    verbs.engine(served, "hard", listener)
    assert own_engine(served, "hard_fp32") == "onnxruntime"
    facts: Any = artifact.facts_of(record(served, "hard_int8").with_name("model.onnx"))
    assert [one["ratio"] for one in facts["engine"]["tried"]] == list(int8.ratios.values())


def test_a_kept_choice_that_does_not_pass_here_is_said_and_measured_anew(
    served: Workspace, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs.engine(served, "hard", listener, measure=True)
    chosen = Candidate(*served_by(served))
    refuse(f"{chosen.precision}.onnx", "wrong", monkeypatch)
    verbs.engine(with_network(served, labels=tuple("abcdefghij")), "hard", again := Listener())
    assert f"{chosen}, the choice kept for hard_int8, does not pass" in again.said
    assert served_by(served) != chosen


def served_by(workspace: Workspace) -> tuple[Any, Any]:
    facts: Any = artifact.facts_of(record(workspace, "hard_int8").with_name("model.onnx"))
    return facts["engine"]["engine"], facts["engine"]["precision"]


def test_a_choice_for_another_file_or_number_of_threads_is_not_taken(served: Workspace, listener: Listener) -> None:
    verbs.engine(served, "hard", listener, measure=True)
    file = served.engines_file("hard")
    (kept, *_) = kept_choices.load(file)[this_cpu()].values()

    def taken(onnx_sha256: str, threads: int) -> object:
        return kept_choices.kept_for(file, this_cpu(), "fp32", onnx_sha256=onnx_sha256, threads=threads)

    assert taken(kept.onnx_sha256, kept.threads) == kept
    assert taken(kept.onnx_sha256, kept.threads + 1) is None
    assert taken("another file's hash", kept.threads) is None


@pytest.mark.parametrize("text", ["[", "[x86.int8]\nengine = 'tensorrt'", "[sparc.int8]"])
def test_choices_that_cannot_be_read_are_one_line(served: Workspace, text: str) -> None:
    file = served.engines_file("hard")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    with pytest.raises(UserError, match=r"hard\.toml: not choices of engines .*`ai102 engine build hard --measure`"):
        kept_choices.load(file)


def test_bf16_serves_where_it_is_the_fastest_and_keeps_to_the_budget(
    served: Workspace, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(runs: Any, shapes: Any) -> dict[Candidate, dict[str, float]]:
        titles = [title for title, _ in shapes]
        return {one: dict.fromkeys(titles, 1.0 if one.is_bf16 else 2.0) for one in runs}

    monkeypatch.setattr(engines, "milliseconds", timed)
    monkeypatch.setattr(engines, "has_bf16", lambda: True)
    verbs.engine(served, "hard", listener)
    assert own_engine(served, "hard_int8") == "openvino-bf16"
    assert "hard_int8 runs on OpenVINO BF16 on" in listener.said
    assert own_engine(served, "hard_fp32") == "onnxruntime", "nothing but FP32 serves the FP32 model"
    int8, fp32 = (record(served, f"hard_{form}").with_name("model.onnx") for form in ("int8", "fp32"))
    assert int8.read_bytes() == fp32.read_bytes()
