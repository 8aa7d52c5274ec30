"""The listener for our own services: they ask the replicas by the gateway without a token, and have no admin API."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from ai102.gateway.running import PROXIES, ProxyName, Runner
from tests.gateway.asking import SERVICE, infer_message
from tests.gateway.conftest import SECRET, Home, MakeHome, needs
from tests.ports import free_addresses

pytestmark = pytest.mark.e2e


@pytest.fixture(
    scope="module",
    params=[pytest.param("haproxy", marks=needs("haproxy")), pytest.param("nginx", marks=needs("nginx"))],
)
def proxy(request: pytest.FixtureRequest) -> ProxyName:
    name: ProxyName = request.param
    return name


@pytest.fixture(scope="module")
def home(make_home: MakeHome, proxy: ProxyName) -> Iterator[Home]:
    home = make_home(listen={"internal": free_addresses(1)[0]})
    with Runner(home.gateway, home.folder, proxy, home.folder / "log"):
        yield home


@pytest.fixture
def channel(home: Home) -> Iterator[grpc.Channel]:
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(home.gateway.listen.internal, options) as channel:
        yield channel


def called(channel: grpc.Channel, method: str, message: bytes, **metadata: str) -> bytes:
    answer: bytes = channel.unary_unary(SERVICE + method)(message, timeout=10, metadata=list(metadata.items()))
    return answer


def test_an_inference_without_a_token_is_answered(channel: grpc.Channel) -> None:
    answers = [called(channel, "ModelInfer", infer_message(size=size)) for size in (4, 400_000)]
    assert [len(pb.ModelInferResponse.FromString(answer).raw_output_contents[0]) for answer in answers] == [4, 400_000]


def test_a_drained_replica_gets_none_of_these_calls(channel: grpc.Channel, home: Home, proxy: ProxyName) -> None:
    module = PROXIES[proxy]
    for name in ("a", "b"):
        module.drain(home.gateway, home.folder, name)
    try:
        for _ in range(20):
            called(channel, "ModelInfer", infer_message())
        assert {state.name for state in module.states(home.gateway, home.folder) if state.is_drained} == {"a", "b"}
    finally:
        for name in ("a", "b"):
            module.undrain(home.gateway, home.folder, name)


def test_an_admin_api_is_refused_even_with_the_secret(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        called(channel, "RepositoryIndex", b"", **{"triton-grpc-protocol-ai102-secret": SECRET})
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("name", PROXIES)
def test_there_is_none_unless_the_policy_names_it(make_home: MakeHome, name: str) -> None:
    home = make_home()
    texts = [
        text
        for path, text in PROXIES[name].files(home.gateway, home.folder).items()
        if path.suffix in (".cfg", ".conf")
    ]
    assert "own services ask" not in "".join(texts)
