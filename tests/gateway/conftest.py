"""What the tests of the gateway share: real replicas with a cheap model, a test CA, a policy, a maker of tokens."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ai102.gateway import certs, replicas
from ai102.gateway.policy import Gateway
from ai102_runtime.seal.private import private_file
from tests.e2e.conftest import write_repository
from tests.gateway.tokens import TokenMaker
from tests.ports import free_addresses
from tests.servers import Server

SECRET = "a-secret-of-the-tests"
# What it is asked comes back; the request parameter sleep_ms makes it take so long.
ECHO_CODE = """
import time
import triton_python_backend_utils as pb_utils
import json

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            parameters = json.loads(request.parameters() or "{}")
            time.sleep(float(parameters.get("sleep_ms", 0)) / 1000)
            tensor = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", tensor)]))
        return answers
"""
ECHO_CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 0
input {{ name: "IN" data_type: TYPE_UINT8 dims: -1 }}
output {{ name: "OUT" data_type: TYPE_UINT8 dims: -1 }}
instance_group {{ count: 1 kind: KIND_CPU }}
"""
CALLER = {"verbs": ["infer", "describe"], "models": ["echo"]}
OPERATOR = {"verbs": ["infer", "describe", "administer"], "models": ["*"]}


def needs(program: str) -> pytest.MarkDecorator:
    """Skip with the reason where `program` is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is missing: apt-get install {program}")


def wait_until(holds: Callable[[], bool], what: str, within_s: float = 15.0) -> None:
    """Wait for a condition; AssertionError says what never came true."""
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Home:
    """A folder with all a gateway needs, and its policy. `state` is the file the gateway reads once a second."""

    folder: Path
    gateway: Gateway
    tokens: TokenMaker
    state: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", self.folder / "build" / "gateway" / "state.json")
        self.tokens.write_state(self.state)

    @property
    def ca(self) -> Path:
        return self.folder / "build" / "gateway" / "certs" / "ca.pem"

    @property
    def client_certificate(self) -> Path:
        """Certificate and key in one file, for mutual TLS."""
        return self.folder / "build" / "gateway" / "certs" / "client.pem"


def policy(replica_addresses: list[tuple[str, str]], **tables: Any) -> Gateway:
    """A policy for replicas at (http, grpc) addresses, listening on free ports; `tables` go over it key by key."""
    rest, grpc, status, metrics = free_addresses(4)
    content: dict[str, Any] = {
        "listen": {"rest": rest, "grpc": grpc, "status": status, "metrics": metrics},
        "triton": {
            "replicas": [
                {"name": "abcdefgh"[number], "http": http, "grpc": grpc}
                for number, (http, grpc) in enumerate(replica_addresses)
            ]
        },
        "issuers": [{"issuer": "https://ai102.example", "audience": "ai102", "jwks": "http://127.0.0.1:9/jwks"}],
        "limits": {},
        "roles": {"caller": {}, "operator": {}},
        "grants": [CALLER | {"role": "caller"}, OPERATOR | {"role": "operator"}],
    }
    for name, table in tables.items():
        content[name] = content[name] | table if isinstance(content.get(name), dict) else table
    return Gateway.model_validate(content)


@pytest.fixture(scope="session")
def tokens() -> TokenMaker:
    return TokenMaker()


@pytest.fixture(scope="session")
def caller(tokens: TokenMaker) -> str:
    """A token that may ask and describe the model echo."""
    return tokens.token("ann", [CALLER])


@pytest.fixture(scope="session")
def operator(tokens: TokenMaker) -> str:
    """A token that may do all."""
    return tokens.token("olga", [OPERATOR])


@pytest.fixture(scope="session")
def echo_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models `echo` and `hidden`: each gives back what it is asked."""
    files = {name: {"config.pbtxt": ECHO_CONFIG.format(name=name), "1/model.py": ECHO_CODE} for name in
             ("echo", "hidden")}  # fmt: skip
    return write_repository(tmp_path_factory.mktemp("gateway") / "repository", files)


@pytest.fixture(scope="session")
def three_replicas(echo_repository: Path) -> Iterator[list[Server]]:
    """Three tritonservers, their admin APIs behind SECRET; tests must leave them running."""
    with ExitStack() as servers:
        yield [
            servers.enter_context(
                Server(
                    echo_repository,
                    http_port=0,
                    grpc_port=0,
                    metrics_port=0,
                    extra_arguments=replicas.restricting_arguments(SECRET),
                )
            )
            for _ in range(3)
        ]


def home_in(folder: Path, tokens: TokenMaker, replica_addresses: list[tuple[str, str]], **tables: Any) -> Home:
    """`folder` with certificates, secret and state, and a policy before these replicas."""
    certs.make(folder / "build" / "gateway" / "certs")
    private_file(folder / "build" / "gateway" / "secret").write_text(SECRET, encoding="utf-8")
    return Home(folder, policy(replica_addresses, **tables), tokens)


MakeHome = Callable[..., Home]


@pytest.fixture(scope="session")
def make_home(three_replicas: list[Server], tokens: TokenMaker, tmp_path_factory: pytest.TempPathFactory) -> MakeHome:
    """A folder with certificates, secret and state, and a policy before the three replicas (or `addresses`)."""

    def make(addresses: list[tuple[str, str]] | None = None, **tables: Any) -> Home:
        addresses = addresses or [(server.http_url, server.grpc_url) for server in three_replicas]
        return home_in(tmp_path_factory.mktemp("home"), tokens, addresses, **tables)

    return make
