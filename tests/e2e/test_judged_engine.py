"""A real server computes each model by the engine that was judged for this kind of CPU, and the answers agree."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ai102 import contract
from ai102.build.in_one_process import FILES
from ai102.client import Client, bytes_array
from ai102.errors import UserError
from ai102.int8.score import cosine_stats
from ai102.samples.examples import TEXTS
from ai102_runtime.engine.cpu import this_cpu
from tests.servers import Server

from .conftest import Files, write_repository
from .onnx_files import addition

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
REPOSITORY = ROOT / "model_repository"
CONTRACT = contract.load(ROOT / "models.toml")
NETWORK, INSIDE = "minilm_int8", "embed_text/1/minilm_int8"
RECORDS = {
    "onnxruntime": {},
    "openvino": {this_cpu(): {"engine": "openvino", "file": "model.onnx"}},
    "elsewhere": {"another kind": {"engine": "openvino", "file": "model.onnx"}},
}


def of_reference(model: str, record: Any) -> dict[str, Any]:
    """The committed model with that record instead of its own."""
    files: dict[str, Any] = {
        str(path.relative_to(REPOSITORY / model)): path
        for path in (REPOSITORY / model).rglob("*")
        if path.is_file() and not path.name.endswith((".made.json", ".pyc", "engines.json"))
    }
    config = (REPOSITORY / model / "config.pbtxt").read_text(encoding="utf-8")
    files["config.pbtxt"] = "\n".join(line for line in config.splitlines() if not line.startswith("name:"))
    folder = "1/minilm_int8" if model == "embed_text" else "1"
    return files | {f"{folder}/model.engines.json": json.dumps(record)}


@pytest.fixture(scope="module")
def log() -> list[str]:
    return []


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, log: list[str]) -> Iterator[Client]:
    """`net_ENGINE` is the network itself, `pipeline_ENGINE` the pipeline in one process."""
    assert set(FILES) >= {"model.onnx", "model.engines.json"}
    models: dict[str, Files] = {}
    for name, record in RECORDS.items():
        models[f"net_{name}"] = of_reference(NETWORK, record)
        models[f"pipeline_{name}"] = of_reference("embed_text", record)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        repository = write_repository(tmp_path_factory.mktemp("judged"), models)
        server = Server(repository, http_port=0, grpc_port=0, metrics_port=0, log=log.append)
        with server, Client(f"grpc://{server.grpc_url}") as client:
            yield client


def embeddings(client: Client, name: str) -> NDArray[np.float32]:
    return client.infer(f"pipeline_{name}", {"text": bytes_array([text.encode() for text in TEXTS])})[
        "sentence_embedding"
    ]


def test_each_model_says_by_which_engine_it_is_computed(client: Client, log: list[str]) -> None:
    client.infer("net_openvino", tokens(client))  # the last line of the log is there
    said = {
        model: next(line for line in log if f"{model}: computed by" in line)
        for model in (f"{kind}_{name}" for kind in ("net", "pipeline") for name in RECORDS)
    }
    assert {model for model, line in said.items() if "OpenVINO" in line} == {"net_openvino", "pipeline_openvino"}


def tokens(client: Client) -> dict[str, NDArray[np.int64]]:
    ids = np.random.default_rng(3).integers(1000, 20000, (8, 32))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def test_the_engines_agree_within_the_budget(client: Client) -> None:
    budget = CONTRACT.networks["minilm"].budget
    assert budget is not None
    assert budget.min_mean_cosine is not None
    by_engine = {name: embeddings(client, name) for name in RECORDS}
    mean, least = cosine_stats(by_engine["onnxruntime"], by_engine["openvino"])
    assert mean >= budget.min_mean_cosine
    assert least >= (budget.min_cosine or 0)
    assert not np.array_equal(by_engine["onnxruntime"], by_engine["openvino"]), "one engine computed both"
    np.testing.assert_array_equal(by_engine["onnxruntime"], by_engine["elsewhere"])


def test_a_record_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    files: Files = {"config.pbtxt": 'platform: "onnxruntime_onnx" max_batch_size: 8', "1/model.onnx": addition()}
    repository = write_repository(tmp_path / "bad", {"bad": files | {"1/model.engines.json": '{"x86": "tensorrt"}'}})
    server = Server(repository, http_port=0, grpc_port=0, metrics_port=0)
    with pytest.raises(UserError, match=r"model 'bad' was not loaded: 1/model\.engines\.json is not a record"), server:
        pass


@pytest.fixture(scope="module")
def on_x86(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, list[str]]]:
    """The committed models as a CPU without VNNI serves them, and `unjudged` with a record that lacks that kind."""
    log: list[str] = []
    unjudged = {"arm": RECORDS["openvino"][this_cpu()]}
    unjudged |= {"otherwise": {"engine": "onnxruntime", "file": "../../minilm_fp32/1/model.onnx"}}
    models: dict[str, Files] = {"unjudged": of_reference(NETWORK, unjudged)}
    for model, folder in (("minilm_fp32", "1"), (NETWORK, "1"), ("embed_text", "1/minilm_int8")):
        record = json.loads((REPOSITORY / model / folder / "model.engines.json").read_text(encoding="utf-8"))
        models[model] = of_reference(model, record)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("AI102_CPU_KIND", "x86")
        repository = write_repository(tmp_path_factory.mktemp("x86"), models)
        server = Server(repository, http_port=0, grpc_port=0, metrics_port=0, log=log.append)
        with server, Client(f"grpc://{server.grpc_url}") as client:
            yield client, log


def test_a_cpu_without_vnni_computes_the_file_that_was_judged_for_it(
    client: Client, on_x86: tuple[Client, list[str]]
) -> None:
    x86, log = on_x86
    texts = {"text": bytes_array([text.encode() for text in TEXTS])}
    answers = x86.infer("embed_text", texts)["sentence_embedding"]
    mean, least = cosine_stats(embeddings(client, "openvino"), answers)
    assert mean >= 0.99
    assert least >= 0.97
    if this_cpu() == "x86-vnni":
        assert not np.array_equal(answers, embeddings(client, "onnxruntime")), "the file for VNNI was computed"
        assert any("embed_text: computed by ONNX Runtime" in line and "model.x86.onnx" in line for line in log)


def test_a_cpu_that_nobody_judged_computes_fp32(on_x86: tuple[Client, list[str]]) -> None:
    x86, log = on_x86
    given = tokens(x86)
    answers = [x86.infer(model, given)["sentence_embedding"] for model in ("unjudged", "minilm_fp32")]
    # The other one may be computed by OpenVINO; INT8 differs by a hundredth.
    np.testing.assert_allclose(*answers, atol=1e-5)
    assert any("nobody judged 1/model.onnx on this kind of CPU, x86" in line for line in log)
