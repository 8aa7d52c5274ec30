"""The committed repository is served where ai102-runtime is installed and ai102 is not."""

import base64
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from ai102 import contract
from ai102.client import Client, bytes_array
from ai102.samples.read import read_samples
from ai102_runtime.seal.envelope import Key
from tests.servers import Server

from .conftest import write_repository

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
RUNTIME = ROOT / "tools" / "ai102_runtime"
CONTRACT = contract.load(ROOT / "models.toml")
SERVER = ("nvidia-pytriton", "numpy")  # what there is before the runtime comes
SECRET = bytes(range(32))
KEY = Key("a", SECRET)
# Lists the modules of the server's Python.
PROBE = """
from importlib.util import find_spec

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        modules = [name for name in ("ai102", "ai102_runtime", "torch", "onnx", "pydantic") if find_spec(name)]
        answer = pb_utils.Tensor("modules", np.array([",".join(modules).encode()], dtype=np.object_))
        return [pb_utils.InferenceResponse([answer]) for _ in requests]
"""
PROBE_CONFIG = """backend: "python" max_batch_size: 0 input { name: "x" data_type: TYPE_UINT8 dims: 1 }
output { name: "modules" data_type: TYPE_STRING dims: 1 } instance_group { kind: KIND_CPU }"""


def needs(name: str) -> Iterator[Distribution]:
    """The distribution and all that it depends on, as installed here."""
    seen, waiting = set(), [name]
    while waiting:
        one = distribution(waiting.pop())
        if one.name not in seen:
            seen.add(one.name)
            yield one
            requirements = map(Requirement, one.requires or ())
            waiting += [r.name for r in requirements if not r.marker or r.marker.evaluate({"extra": ""})]


def link(one: Distribution, site: Path) -> None:
    """All its files and folders in one folder, as pip installs them."""
    tops = {file.parts[0] for file in one.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        if not (site / top).exists():
            (site / top).symlink_to(one.locate_file(top))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment: the server, and the runtime's wheel with its four dependencies."""
    folder = tmp_path_factory.mktemp("runtime")
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    for name in SERVER:
        link(distribution(name), site)
    # Built from a copy, since setuptools leaves a folder `build` beside what it builds.
    shutil.copytree(RUNTIME, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["--quiet", "--no-index", "--no-deps"]
    wheel = ["wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run([*pip, *wheel], check=True, timeout=60)
    (file,) = folder.glob("ai102_runtime-*.whl")
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", *offline, str(file)], check=True, timeout=60)
    for one in needs("ai102-runtime"):
        if one.name != "ai102-runtime":
            link(one, site)
    return python


@pytest.fixture(scope="module")
def server(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the committed repository and a model that lists modules."""
    repository = tmp_path_factory.mktemp("repository") / "models"
    write_repository(repository, {"probe": {"1/model.py": PROBE, "config.pbtxt": PROBE_CONFIG}})
    for model in CONTRACT.served_models:
        (repository / model.name).symlink_to(ROOT / "model_repository" / model.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(python))  # whose Python Triton runs its models in
        patch.delenv("PYTHONPATH", raising=False)
        patch.setenv("AI102_SEAL_KEY_A", base64.b64encode(SECRET).decode())
        with Server(repository, http_port=0, grpc_port=0, metrics_port=0) as started:
            yield started


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client(f"grpc://{server.grpc_url}") as connected:
        yield connected


def test_the_servers_python_has_the_runtime_and_nothing_else_of_ours(client: Client) -> None:
    answer = client.infer("probe", {"x": np.zeros(1, np.uint8)})
    assert answer["modules"].tolist() == [b"ai102_runtime"]


def test_every_model_of_the_contract_is_ready(client: Client) -> None:
    ready = {state.name for state in client.models() if state.state == "READY"}
    assert ready == {model.name for model in CONTRACT.served_models} | {"probe"}


def test_images_and_texts_are_answered_plain_and_sealed(client: Client, server: Server) -> None:
    test = read_samples(ROOT / "calibration" / "sets", "digits", "test")
    labels = CONTRACT.networks["digits"].labels
    for model in ("classify_image", "classify_image_steps"):
        answer = client.infer(model, {"image": bytes_array(test.items[:32])})["label"][:, 0]
        right = sum(name.decode() == labels[label] for name, label in zip(answer, test.labels[:32], strict=True))
        assert right >= 31
    text = {"text": bytes_array([b"A man is eating food."])}
    vectors = [client.infer(model, text)["sentence_embedding"] for model in ("embed_text", "embed_text_steps")]
    with Client(f"grpc://{server.grpc_url}", seal=KEY) as sealing:
        vectors.append(sealing.infer("embed_text", text)["sentence_embedding"])
    for vector in vectors[1:]:
        np.testing.assert_allclose(vectors[0], vector, atol=1e-6)
