"""Triton's classification extension, which the gateway lets pass for scores and nothing else, through both proxies."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tritonclient.grpc import service_pb2 as pb

from ai102 import contract
from ai102.artifact import write_text
from ai102.client import Client, Tls
from ai102.gateway.feed.issuers import Known
from ai102.gateway.feed.state import state_from
from ai102.gateway.running import Runner
from tests.gateway.asking import Asker
from tests.gateway.conftest import Home, MakeHome, needs
from tests.gateway.tokens import TokenMaker
from tests.servers import Server

ROOT = Path(__file__).parent.parent.parent
SCORES, LABELS = "score_image", "classify_image"
MAY = {"verbs": ["infer", "describe"], "models": [SCORES, LABELS]}
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not list(ROOT.glob("model_repository/digits_int8/*/model.onnx")), reason="no engines: run `make engine`"
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(
        ROOT / "model_repository", http_port=0, grpc_port=0, metrics_port=0, models=[SCORES, LABELS]
    ) as started:
        yield started


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")])
def home(request: pytest.FixtureRequest, server: Server, make_home: MakeHome, tokens: TokenMaker) -> Iterator[Home]:
    """An open gateway that knows from models.toml which outputs have classes."""
    made = make_home([(server.http_url, server.grpc_url)])
    known = state_from(made.gateway, contract.load(ROOT / "models.toml"), {"": Known()}, 0)
    write_text(made.state, json.dumps(tokens.state() | {"classes": known["classes"]}))
    with Runner(made.gateway, made.folder, request.param, made.folder / "log"):
        yield made


def picture() -> bytes:
    content = BytesIO()
    Image.fromarray(np.full((8, 8), 120, np.uint8)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_the_client_gets_classes_of_scores_through_the_gateway(scheme: str, home: Home, tokens: TokenMaker) -> None:
    address = home.gateway.listen.rest if scheme == "https" else home.gateway.listen.grpc
    headers = {"authorization": f"Bearer {tokens.token('ann', [MAY])}"}
    with Client(f"{scheme}://{address}", headers=headers, tls=Tls(ca_file=home.ca)) as client:
        by_classes, by_labels = client.classify([picture()], model=SCORES), client.classify([picture()])
    assert [found.label for found in by_classes] == [found.label for found in by_labels]


def message(model: str, output: str, length: int) -> bytes:
    """Asks for the classes of an output, in a message of about that many bytes."""
    asked = pb.ModelInferRequest(model_name=model)
    item = picture() + bytes(length)
    asked.inputs.add(name="image", datatype="BYTES", shape=[1, 1])
    asked.outputs.add(name=output).parameters["classification"].int64_param = 1
    asked.raw_input_contents.append(len(item).to_bytes(4, "little") + item)
    return bytes(asked.SerializeToString())


@pytest.mark.parametrize("length", [0, 300_000])
def test_classes_of_anything_else_are_refused_over_grpc(length: int, home: Home, tokens: TokenMaker) -> None:
    asker, token = Asker(home), tokens.token("ann", [MAY])
    pairs = [(SCORES, "scores"), (LABELS, "label"), (SCORES, "another")]
    seen = [asker.call(message(model, output, length), token) for model, output in pairs]
    asker.close()
    assert seen == ["OK", "INVALID_ARGUMENT", "INVALID_ARGUMENT"]
