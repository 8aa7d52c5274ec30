"""Every attack, on both proxies in front of real replicas: the answer it gets, and the replicas as they were."""

import base64
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2 as pb

from ai102.gateway import replicas
from ai102.gateway.running import Runner
from ai102_runtime.seal import envelope
from ai102_runtime.seal.tensors import Tensor, bytes_from_tensors
from tests.e2e.conftest import write_repository
from tests.gateway.attackers import Target, asked, called, request
from tests.gateway.attacks_over_grpc import GRPC, INFER, message
from tests.gateway.attacks_over_rest import BODY, JSON, MAX_BODY_BYTES, REST
from tests.gateway.attacks_with_tokens import REVOKED, TOKENS
from tests.gateway.conftest import ECHO_CODE, ECHO_CONFIG, SECRET, MakeHome, needs, wait_until
from tests.gateway.tokens import TokenMaker
from tests.servers import Server

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
MAY = {"verbs": ["infer", "describe"], "models": ["echo", "sealed_echo"]}
KEY = envelope.Key("tests", bytes(range(32)))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two replicas with echo, hidden and sealed_echo."""
    folder = tmp_path_factory.mktemp("attacked")
    files = {"config.pbtxt": "", "1/model.py": ECHO_CODE}
    names = ("echo", "hidden")
    repository = write_repository(
        folder / "repository", {name: files | {"config.pbtxt": ECHO_CONFIG.format(name=name)} for name in names}
    )
    shutil.copytree(ROOT / "model_repository" / "sealed_embed_text", repository / "sealed_echo")
    config = repository / "sealed_echo" / "config.pbtxt"
    text = config.read_text(encoding="utf-8").replace("sealed_embed_text", "sealed_echo")
    text = text.replace('"embed_text"', '"echo"').replace('"sentence_embedding,truncated"', '"OUT"')
    config.write_text(text, encoding="utf-8")
    environment = pytest.MonkeyPatch()
    environment.setenv("AI102_SEAL_KEY_TESTS", base64.b64encode(bytes(range(32))).decode())
    environment.setenv("AI102_SEAL_SEEN", str(folder / "seen"))
    with ExitStack() as started:
        free: dict[str, Any] = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
        guarded = replicas.restricting_arguments(SECRET)
        yield [started.enter_context(Server(repository, extra_arguments=guarded, **free)) for _ in range(2)]
    environment.undo()


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")])
def target(
    request: pytest.FixtureRequest, servers: list[Server], make_home: MakeHome, tokens: TokenMaker
) -> Iterator[Target]:
    addresses = [(server.http_url, server.grpc_url) for server in servers]
    limits = {"max_body_bytes": MAX_BODY_BYTES, "max_json_bytes": 65536, "header_timeout_s": 2}
    home = make_home(addresses, limits=limits, services={"api": "127.0.0.1:9"})  # where nobody listens
    for kind, name in REVOKED.items():
        tokens.revoke(home.state, kind, name, not_before_s=int(time.time()) + 600)
    with Runner(home.gateway, home.folder, request.param, home.folder / "log") as gateway:
        listen = gateway.gateway.listen
        found = Target(listen.rest, listen.grpc, home.ca, tokens.token("ann", [MAY]))
        wait_until(lambda: called(found, INFER, message("echo")) == 0, "the gateway lets a good call through")
        yield found


def pids(servers: list[Server]) -> list[int]:
    return [server.pid for server in servers if server.wait(0) is None]


@pytest.fixture(autouse=True)
def unharmed(servers: list[Server], target: Target) -> Iterator[None]:
    """After each attack every replica is the process it was, and an honest caller is served over both protocols."""
    before = pids(servers)
    yield
    assert pids(servers) == before
    assert len(before) == len(servers)
    honest = request("POST /v2/models/echo/infer", target.bearer, JSON, body=BODY)
    wait_until(lambda: asked(target, honest) == 200, "REST serves")
    wait_until(lambda: called(target, INFER, message("echo")) == 0, "gRPC serves")


@pytest.mark.parametrize("name", TOKENS)
def test_a_forged_token_opens_neither_gateway(name: str, target: Target, tokens: TokenMaker) -> None:
    header = TOKENS[name](tokens)
    authorization = [f"Authorization: {header}"] if header else []
    metadata = [("authorization", header)] if header else []
    seen = (
        asked(target, request("POST /v2/models/echo/infer", *authorization, JSON, body=BODY)),
        called(target, INFER, message("echo"), metadata=metadata),
    )
    assert seen == (401, 16)


@pytest.mark.parametrize("name", REST)
def test_an_attack_over_rest_is_refused(name: str, target: Target) -> None:
    attack, expected = REST[name]
    assert attack(target) in expected


@pytest.mark.parametrize("name", GRPC)
def test_an_attack_over_grpc_is_refused(name: str, target: Target) -> None:
    attack, expected = GRPC[name]
    assert attack(target) in expected


@pytest.mark.parametrize("change", ["replayed", "altered", "for another model", "of yesterday", "with another key"])
def test_a_sealed_payload_is_taken_once_and_whole(change: str, target: Target, servers: list[Server]) -> None:
    now = time.time_ns() // 1_000_000 - (86_400_000 if change == "of yesterday" else 0)
    model = "sealed_other" if change == "for another model" else "sealed_echo"
    key = envelope.Key("tests", bytes(32)) if change == "with another key" else KEY
    data = bytes_from_tensors([Tensor("IN", "UINT8", (2,), b"\1\2")])
    whole = envelope.seal_request(key, data, model, now).envelope
    sent = whole[:-1] + bytes([whole[-1] ^ 1]) if change == "altered" else whole
    asked_of = grpc_infer("sealed_echo", sent)
    if change == "replayed":
        assert called(target, INFER, asked_of) == 0
    body = json.dumps(
        {"inputs": [{"name": "envelope", "shape": [1, 1], "datatype": "BYTES", "data": ["not an envelope"]}]}
    ).encode()
    assert called(target, INFER, asked_of) == 3
    assert asked(target, request("POST /v2/models/sealed_echo/infer", target.bearer, JSON, body=body)) == 400


def grpc_infer(model: str, item: bytes) -> bytes:
    asked = pb.ModelInferRequest(model_name=model)
    asked.inputs.add(name="envelope", datatype="BYTES", shape=[1, 1])
    asked.raw_input_contents.append(len(item).to_bytes(4, "little") + item)
    return asked.SerializeToString()


def test_there_are_as_many_attacks_as_promised() -> None:
    assert len(TOKENS) + len(REST) + len(GRPC) + 5 >= 60
