"""What cannot be added is one line, and nothing of it stays."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ai102.build import add
from ai102.configs import configure
from ai102.contract import Tensor, load
from ai102.errors import UserError
from ai102.weights.source import Wish

NETS = """
import torch
from torch import nn

class Interrupted(nn.Module):
    calls = 0
    def forward(self, x):
        self.calls += 1
        if self.calls > 2:
            raise KeyboardInterrupt
        return x

def interrupted(): return Interrupted()
def nothing(): return None
def broken(): raise ValueError("no weights\\nhere")
def by_name(): return nn.Linear(3, 2)
"""


class Silent:
    def step(self, _title: str) -> Any:
        return nullcontext(lambda done, total: None)

    def say(self, line: str) -> None:
        pass


def model(operator: str = "Relu", opset: int = 18, **changes: Any) -> onnx.ModelProto:
    names = {"domain": changes.get("domain", "")}
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], **names)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, changes.get("shape", ["batch", 2]))],
        [
            changes.get("output")
            or helper.make_tensor_value_info("y", TensorProto.FLOAT, changes.get("shape", ["batch", 2]))
        ],
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid("ours", 1)] if names["domain"] else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def with_weights_elsewhere(file: Path) -> None:
    weights = numpy_helper.from_array(np.ones((64, 64), np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        [weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(made, file, save_as_external_data=True, location=f"{file.stem}.bin", size_threshold=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A contract with one network, and files that a careless user might name."""
    (tmp_path / "nets.py").write_text(NETS)
    onnx.save(model(), tmp_path / "good.onnx")
    onnx.save(model(opset=99), tmp_path / "future.onnx")
    onnx.save(model("Frobnicate"), tmp_path / "operator.onnx")
    onnx.save(model("Relu", domain="ours"), tmp_path / "custom.onnx")
    onnx.save(model(shape=[]), tmp_path / "scalar.onnx")
    sequence = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    onnx.save(model("SequenceConstruct", output=sequence), tmp_path / "sequence.onnx")
    with_weights_elsewhere(tmp_path / "large.onnx")
    (tmp_path / "large.bin").unlink()
    (tmp_path / "text.onnx").write_text("not a protobuf")
    joblib.dump({"not": "an estimator"}, tmp_path / "dict.joblib")
    (tmp_path / "text.joblib").write_text("no pickle")
    add.add(tmp_path / "models.toml", addition("there", "onnx:good.onnx"), Silent())
    return tmp_path


def addition(name: str, source: str, **wish: Any) -> add.Addition:
    return add.Addition(source, Wish(name, **{"task": "tensors", **wish}))


def state(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }


X = (Tensor(name="x", type="FP32", dims=(2,)),)
HALF = (Tensor(name="x", type="FP16", dims=(2,)),)
OTHER = (Tensor(name="z", type="FP32", dims=(2,)),)
MISTAKES = {
    "no kind of source": ("new", "good.onnx", {}, '--source is "good.onnx": no source "good.onnx"; write one of '),
    "by hand": ("new", "train:digits", {}, "networks of that kind are written into models.toml by hand"),
    "no file": ("new", "onnx:none.onnx", {}, "none.onnx: no such file"),
    "a folder": ("new", "onnx:.", {}, "not an ONNX file"),
    "no ONNX": ("new", "onnx:text.onnx", {}, "text.onnx: not an ONNX file"),
    "weights missing": ("new", "onnx:large.onnx", {}, "the weights weights lie in large.bin, which is missing"),
    "opset to come": ("new", "onnx:future.onnx", {}, "cannot load it"),
    "operator unknown": ("new", "onnx:operator.onnx", {}, "Frobnicate"),
    "operator of one's own": ("new", "onnx:custom.onnx", {}, "cannot load it"),
    "sequence": ("new", "onnx:sequence.onnx", {}, "y is a seq, and Triton serves tensors"),
    "scalar": ("new", "onnx:scalar.onnx", {}, "x has no dimensions; Triton serves none such"),
    "another type": ("new", "onnx:good.onnx", {"inputs": HALF}, "which FP16 [2] does not fit"),
    "no such tensor": ("new", "onnx:good.onnx", {"inputs": OTHER}, "has no tensor z; it has x"),
    "no tokenizer": ("new", "onnx:good.onnx", {"task": "text-embedding"}, "brings no tokenizer"),
    "no image": ("new", "onnx:good.onnx", {"task": "image-classification"}, "an image network takes one [3, height"),
    "name taken": ("there", "onnx:good.onnx", {}, "networks.there is there already"),
    "no name": ("two words", "onnx:good.onnx", {}, 'the name "two words" cannot be a folder and a key'),
    "no inputs": ("new", "torch:nets:by_name", {}, "--input pixels:FP32:3,224,224"),
    "no module": ("new", "torch:nothing:make", {"inputs": X}, "No module named 'nothing'"),
    "no callable": ("new", "torch:nets", {"inputs": X}, "write torch:MODULE:CALLABLE"),
    "no network": ("new", "torch:nets:nothing", {"inputs": X}, "returned a NoneType, expected a torch.nn.Module"),
    "raises": ("new", "torch:nets:broken", {"inputs": X}, "ValueError: no weights here"),
    "other shape": ("new", "torch:nets:by_name", {"inputs": X}, "does not run on x [2, 2]: RuntimeError"),
    "pickle": ("new", "sklearn:dict.joblib", {}, "is a pickle, and opening one can run arbitrary code"),
    "no estimator": ("new", "sklearn:dict.joblib", {"allow_pickle": True}, "holds a dict, expected an estimator"),
    "no pickle": ("new", "sklearn:text.joblib", {"allow_pickle": True}, "cannot open it"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "source", "wish", "words"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_added_is_one_line_and_changes_nothing(
    name: str, source: str, wish: dict[str, Any], words: str, folder: Path
) -> None:
    before = state(folder)
    with pytest.raises(UserError) as caught:
        add.add(folder / "models.toml", addition(name, source, **wish), Silent())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert state(folder) == before


def test_a_model_of_another_makers_is_not_written_over(folder: Path) -> None:
    (folder / "model_repository" / "new_fp32" / "1").mkdir(parents=True)
    (folder / "model_repository" / "new_fp32" / "1" / "model.onnx").write_bytes(b"mine")
    before = state(folder)
    with pytest.raises(UserError, match="is there already: choose another name, or move that model away"):
        add.add(folder / "models.toml", addition("new", "onnx:good.onnx"), Silent())
    assert state(folder) == before


def test_interrupted_in_the_middle_it_leaves_nothing_behind(folder: Path) -> None:
    before = state(folder)
    with pytest.raises(KeyboardInterrupt):
        add.add(folder / "models.toml", addition("new", "torch:nets:interrupted", inputs=X), Silent())
    assert state(folder) == before


class Editing(Silent):
    """Somebody who writes into models.toml while the network is built."""

    def __init__(self, file: Path, edit: str) -> None:
        self.file, self.edit, self.steps = file, edit, 0

    def step(self, _title: str) -> Any:
        self.steps += 1
        if self.steps == 1:
            self.file.write_text(self.file.read_text() + self.edit)
        return super().step(_title)


def test_what_is_written_into_the_contract_during_the_build_is_kept(folder: Path) -> None:
    file = folder / "models.toml"
    edit = '\n# Mine.\n[ensembles.mine]\nsteps = ["there_fp32"]\ninputs = ["x"]\noutputs = ["y"]\n'
    add.add(file, addition("new", "onnx:good.onnx"), Editing(file, edit))
    assert edit in file.read_text()
    contract = load(file)
    assert (set(contract.networks), set(contract.ensembles)) == ({"there", "new"}, {"mine"})


def test_a_mistake_written_into_the_contract_during_the_build_undoes_the_addition_alone(folder: Path) -> None:
    file, before = folder / "models.toml", state(folder)
    with pytest.raises(UserError, match=r"networks\.nonsense"):
        add.add(file, addition("new", "onnx:good.onnx"), Editing(file, "\n[networks.nonsense]\n"))
    before[str(file)] += b"\n[networks.nonsense]\n"
    assert state(folder) == before


def test_weights_in_another_file_are_served_in_one(folder: Path) -> None:
    with_weights_elsewhere(folder / "large.onnx")
    add.add(folder / "models.toml", addition("new", "onnx:large.onnx"), Silent())
    served = onnx.load(folder / "model_repository" / "new_fp32" / "1" / "model.onnx", load_external_data=False)
    assert len(served.graph.initializer[0].raw_data) == 64 * 64 * 4


def test_without_a_build_only_the_contract_and_the_configs_are_written(folder: Path) -> None:
    before = set(state(folder))
    file = folder / "models.toml"
    add.add(file, replace(addition("new", "onnx:good.onnx"), is_built=False), Silent())
    assert {Path(path).name for path in set(state(folder)) - before} == {"config.pbtxt"}
    assert configure.drift(load(file), folder / "model_repository") == []


def test_removing_leaves_files_of_another_makers(folder: Path) -> None:
    notes = folder / "model_repository" / "there_fp32" / "notes.txt"
    notes.write_text("mine")
    assert add.remove(folder / "models.toml", "there")[1].endswith("files that were not made here stay")
    assert [str(path.relative_to(notes.parent)) for path in notes.parent.rglob("*")] == ["notes.txt"]


def test_an_ensemble_that_joins_two_networks_keeps_both(folder: Path) -> None:
    file = folder / "models.toml"
    add.add(file, addition("other", "onnx:good.onnx"), Silent())
    steps = '[{ model = "there_fp32", outputs = { y = "z" } }, { model = "other_fp32", inputs = { x = "z" } }]'
    file.write_text(f'{file.read_text()}\n[ensembles.both]\nsteps = {steps}\ninputs = ["x"]\noutputs = ["y"]\n')
    before = state(folder)
    with pytest.raises(UserError, match=r"ensembles.both joins other with other networks: take it out"):
        add.remove(file, "other")
    assert state(folder) == before
