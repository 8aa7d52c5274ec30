"""A user's networks, added with one command and served: the answers are the framework's."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper, save
from PIL import Image
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ai102 import contract
from ai102.client import Client, bytes_array
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.imports]

NETS = """
import torch
from torch import nn

class Scorer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Linear(4, 3)

    def forward(self, x, mask):
        hidden = self.layer(x) * mask.unsqueeze(-1)
        return hidden, hidden.mean(dim=1)

def make():
    return Scorer()

def small_cnn():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3), nn.Softmax(-1),
    )
"""
ROWS = pd.DataFrame({"age": np.array([18, 30, 44, 71], np.float32), "city": ["bern", "rome", "oslo", "paris"]})


def two_unbatched_inputs(file: Path) -> None:
    """Rows of a table, scaled: index INT64 [3] and scale FP32 [1] to y FP32 [3, 2] and count INT64 [1]."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "index"], ["row"]),
            helper.make_node("Mul", ["row", "scale"], ["y"]),
            helper.make_node("Shape", ["index"], ["count"]),
        ],
        "rows",
        [
            helper.make_tensor_value_info("index", TensorProto.INT64, [3]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 2]),
            helper.make_tensor_value_info("count", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor("table", TensorProto.FLOAT, [4, 2], range(1, 9))],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)


def pipeline_of_columns() -> Pipeline:
    random = np.random.default_rng(1)
    table = pd.DataFrame(
        {"age": random.normal(40, 10, 200).astype(np.float32), "city": random.choice(["bern", "rome", "oslo"], 200)}
    )
    answers = np.where((table["age"] > 40) ^ (table["city"] == "rome"), "yes", "no")
    columns = ColumnTransformer(
        [("age", StandardScaler(), ["age"]), ("city", OneHotEncoder(handle_unknown="ignore"), ["city"])]
    )
    return make_pipeline(columns, LogisticRegression()).fit(table, answers)


def set_of_images(sets: Path) -> None:
    """Noise in three colours, 130 images in each split."""
    random = np.random.default_rng(3)
    for split in ("calibration", "test"):
        for number in range(130):
            place = sets / "colours" / split / ("red", "green", "blue")[number % 3]
            place.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 128, (40, 50, 3), dtype=np.uint8)
            pixels[:, :, number % 3] += 127
            Image.fromarray(pixels).save(place / f"{number}.png")
    parts = "".join(f'{split} = {{ folder = "colours/{split}" }}\n' for split in ("calibration", "test"))
    (sets / "colours.toml").write_text(f'kind = "images"\n{parts}')


def ai102(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ai102", *arguments], capture_output=True, text=True, cwd=folder, timeout=300
    )


ADDED = {
    "rows": "--source onnx:rows.onnx --task tensors",
    "iris": "--source sklearn:iris.joblib --task tensors --allow-pickle",
    "people": "--source sklearn:people.joblib --task tensors --allow-pickle --input age:FP32:1 --input city:BYTES:1",
    "scorer": "--source torch:nets:make --task tensors --input x:FP32:-1,4 --input mask:FP32:-1 "
    "--output hidden:FP32:-1,3 --output mean:FP32:3",
    "colours": "--source torch:nets:small_cnn --task image-classification --input pixels:FP32:3,32,32 "
    "--labels colours.txt --calibration-set colours",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a user's files and no models.toml."""
    folder = tmp_path_factory.mktemp("mine")
    two_unbatched_inputs(folder / "rows.onnx")
    iris, kinds = load_iris(return_X_y=True)
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(10, random_state=1))
    joblib.dump(forest.fit(iris, kinds), folder / "iris.joblib")
    joblib.dump(pipeline_of_columns(), folder / "people.joblib")
    (folder / "nets.py").write_text(NETS)
    set_of_images(folder / "calibration" / "sets")
    (folder / "colours.txt").write_text("red\ngreen\nblue\n")
    for name, arguments in ADDED.items():
        done = ai102(folder, "add", name, *arguments.split())
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with (
        Server(folder / "model_repository", http_port=0, grpc_port=0, metrics_port=0) as server,
        Client(f"grpc://{server.grpc_url}") as client,
    ):
        yield client


def test_an_onnx_file_with_two_unbatched_inputs_is_served_as_it_is(client: Client) -> None:
    inputs = {"index": np.array([3, 0, 1]), "scale": np.array([10], np.float32)}
    answer = client.infer("rows_fp32", inputs)
    assert {name: array.tolist() for name, array in answer.items()} == {
        "y": [[70, 80], [10, 20], [30, 40]],
        "count": [3],
    }


def test_a_scikit_learn_pipeline_answers_as_scikit_learn_does(client: Client, folder: Path) -> None:
    pipeline, (features, _) = joblib.load(folder / "iris.joblib"), load_iris(return_X_y=True)
    chosen = features[::5].astype(np.float32)
    answer = client.infer("iris_fp32", {"features": chosen})
    assert answer["label"].reshape(-1).tolist() == pipeline.predict(chosen).tolist()
    np.testing.assert_allclose(answer["probabilities"], pipeline.predict_proba(chosen), atol=1e-4)


def test_a_pipeline_that_takes_columns_of_texts_and_numbers_answers_as_scikit_learn_does(
    client: Client, folder: Path
) -> None:
    pipeline = joblib.load(folder / "people.joblib")
    inputs: dict[str, Any] = {
        "age": ROWS["age"].to_numpy()[:, None],
        "city": bytes_array([city.encode() for city in ROWS["city"]]),
    }
    answer = client.infer("people_fp32", inputs)
    assert [label.decode() for label in answer["label"].reshape(-1)] == pipeline.predict(ROWS).tolist()
    np.testing.assert_allclose(answer["probabilities"], pipeline.predict_proba(ROWS), atol=1e-4)


def test_a_network_from_a_function_of_the_users_answers_as_pytorch_does(client: Client, folder: Path) -> None:
    space: dict[str, Any] = {}
    exec((folder / "nets.py").read_text(), space)
    random = np.random.default_rng(2)
    x, mask = random.standard_normal((2, 7, 4), np.float32), np.ones((2, 7), np.float32)
    with torch.no_grad():
        hidden, mean = space["make"]()(torch.from_numpy(x), torch.from_numpy(mask))
    answer = client.infer("scorer_fp32", {"x": x, "mask": mask})
    np.testing.assert_allclose(answer["hidden"], hidden.numpy(), atol=1e-4)
    np.testing.assert_allclose(answer["mean"], mean.numpy(), atol=1e-4)


def test_with_a_calibration_set_a_network_runs_every_build_step(client: Client, folder: Path) -> None:
    done = ai102(folder, "models", "--json")
    rows = {row["model"]: row for row in json.loads(done.stdout)}
    assert "of 130: drop" in rows["colours_int8"]["accuracy"]
    assert contract.load(folder / "models.toml").ensembles["classify_colours"].steps[1].model == "colours_int8"
    image = next((folder / "calibration" / "sets" / "colours" / "test" / "red").iterdir()).read_bytes()
    answer = client.infer("classify_colours", {"image": bytes_array([image])})
    assert answer["label"].reshape(-1)[0] in (b"red", b"green", b"blue")


def test_what_was_added_is_fresh_and_can_be_removed_again(folder: Path) -> None:
    before = (folder / "models.toml").read_text()
    assert ai102(folder, "configure", "--check").returncode == 0
    done = ai102(folder, "add", "again", *ADDED["rows"].split())
    assert done.returncode == 0, done.stderr
    assert list(contract.load(folder / "models.toml").networks) == [*ADDED, "again"]
    done = ai102(folder, "remove", "again")
    assert done.stdout.splitlines() == ["models.toml: took out again", "model_repository/again_fp32: removed"]
    assert (folder / "models.toml").read_text() == before
    assert not list(folder.glob("**/again*"))


def test_a_mistake_is_one_line_and_leaves_everything_as_it_was(folder: Path) -> None:
    before = sorted(path.name for path in folder.rglob("*")), (folder / "models.toml").read_text()
    done = ai102(folder, "add", "rows", *ADDED["rows"].split())
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"ai102: models.toml: networks.rows is there already: .*\n", done.stderr)
    assert before == (sorted(path.name for path in folder.rglob("*")), (folder / "models.toml").read_text())
