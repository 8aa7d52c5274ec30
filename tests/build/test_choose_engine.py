"""The engine of each served model: judged, timed, installed beside the file and in the pipelines of one process."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai102 import artifact
from ai102.build import verbs
from ai102.build.steps import choose_engine
from ai102.build.workspace import Workspace
from ai102.contract import Recipe
from ai102.errors import BudgetError, UserError
from ai102.int8 import engines
from ai102.int8.engines import Candidate
from ai102_runtime.engine.cpu import this_cpu
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
    return with_network(workspace, quantization=Recipe(smoothing=0.5))


def record(workspace: Workspace, model: str) -> Path:
    return workspace.builds("hard").newest(model) / "model.engines.json"


def refuse(file: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO cannot open files of that name, or answers wrongly."""
    usual = choose_engine.openvino_run

    def run(onnx_file: Path, network: Any, *, threads: int = 0) -> Any:
        if onnx_file.name != file:
            return usual(onnx_file, network, threads=threads)
        if why == "wrong":
            return lambda tensors: np.eye(10, dtype=np.float32)[[0] * len(tensors["pixels"])]
        raise UserError(why)

    monkeypatch.setattr(choose_engine, "openvino_run", run)


def test_the_fastest_engine_is_written_beside_the_file_with_all_that_was_tried(
    served: Workspace, listener: Listener
) -> None:
    verbs.engine(served, "hard", listener)
    for model, precisions in (("hard_fp32", ["fp32", "fp32"]), ("hard_int8", ["int8", "fp32", "int8"])):
        assert json.loads(record(served, model).read_text()) == {this_cpu(): "openvino"}
        facts: Any = artifact.facts_of(record(served, model).with_name("model.onnx"))
        tried = facts["engine"]["tried"]
        assert [one["precision"] for one in tried] == precisions
        assert [one["engine"] for one in tried] == ["onnxruntime", *["openvino"] * (len(tried) - 1)]
        assert tried[0]["ms"] == {"batch 1": 2.0, "batch 8": 2.0}
        assert facts["engine"]["cpu"] == this_cpu()
        assert facts["engine"]["cpu_name"]
    assert (
        "hard_int8 runs on OpenVINO in FP32" in listener.said or "hard_int8 runs on OpenVINO in INT8" in listener.said
    )


def test_a_second_build_times_nothing(served: Workspace, listener: Listener) -> None:
    verbs.engine(served, "hard", listener)
    quiet = Listener()
    verbs.engine(served, "hard", quiet)
    assert (quiet.lines, quiet.steps) == ([], [])


def test_a_contract_that_names_onnx_runtime_times_nothing_and_takes_the_choice_away(
    served: Workspace, listener: Listener
) -> None:
    verbs.engine(served, "hard", listener)
    assert record(served, "hard_int8").exists()
    again = Listener()
    verbs.engine(with_network(served, engine="onnxruntime"), "hard", again)
    assert not record(served, "hard_int8").exists()
    assert not any("OpenVINO" in step for step in again.steps)


@pytest.mark.parametrize("why", ["wrong", "openvino is not installed"])
def test_what_does_not_pass_in_openvino_is_not_served_by_it(
    served: Workspace, listener: Listener, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    refuse("int8.onnx", why, monkeypatch)
    refuse("fp32.onnx", why, monkeypatch)
    verbs.engine(served, "hard", listener)
    assert json.loads(record(served, "hard_int8").read_text()) == {this_cpu(): "onnxruntime"}
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
