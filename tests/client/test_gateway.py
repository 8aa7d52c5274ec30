"""The client at the gateway, both proxies: who may ask is answered, and who may not gets the reason."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai102.client import (
    ForbiddenError,
    InferenceError,
    ModelNotFoundError,
    RateLimitedError,
    Retry,
    Tls,
    TlsError,
    TooLargeError,
    UnauthenticatedError,
    WrongProtocolError,
)
from ai102.gateway import certs, replicas
from ai102.gateway.running import Runner
from ai102_runtime.seal.private import private_file
from tests.client.ways import Way
from tests.e2e.conftest import StartServer
from tests.gateway.conftest import CALLER, ECHO_CODE, ECHO_CONFIG, OPERATOR, SECRET, Home, needs, policy
from tests.gateway.tokens import TokenMaker
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_leaks")]
X = {"IN": np.arange(3, dtype=np.uint8)}
PER_10_S = 40
LIMITS = {"max_body_bytes": 1 << 20, "requests_per_10s": PER_10_S}
ONCE = Retry(tries=1)


@dataclass(frozen=True)
class Gateways:
    """One gateway that wants a token, and one that wants a certificate besides."""

    home: Home
    mutual: Home

    def connect(self, way: Way, token: str, home: Home | None = None, **options: Any) -> Any:
        home = home or self.home
        listen = home.gateway.listen
        address = listen.rest if way.protocol == "http" else listen.grpc
        options = {"tls": Tls(ca_file=home.ca), "timeout_s": 5.0, "retry": ONCE} | options
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return way.connect_securely(address, headers=headers, **options)


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    files = {"config.pbtxt": ECHO_CONFIG.format(name="echo"), "1/model.py": ECHO_CODE}
    return start_server({"echo": files}, extra_arguments=replicas.restricting_arguments(SECRET))


@pytest.fixture(scope="module")
def tokens() -> TokenMaker:
    return TokenMaker()


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")])
def gateways(
    request: pytest.FixtureRequest, server: Server, tokens: TokenMaker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateways]:
    def home(**tables: Any) -> Home:
        folder: Path = tmp_path_factory.mktemp("home")
        certs.make(folder / "build" / "gateway" / "certs")
        private_file(folder / "build" / "gateway" / "secret").write_text(SECRET, encoding="utf-8")
        return Home(folder, policy([(server.http_url, server.grpc_url)], limits=LIMITS, **tables), tokens)

    both = Gateways(home(), home(tls={"client_ca": "build/gateway/certs/ca.pem"}))
    with (
        Runner(both.home.gateway, both.home.folder, request.param, log=both.home.folder / "log"),
        Runner(both.mutual.gateway, both.mutual.folder, request.param, log=both.mutual.folder / "log"),
    ):
        yield both


def test_who_may_ask_is_answered(gateways: Gateways, tokens: TokenMaker, way: Way) -> None:
    with gateways.connect(way, tokens.token(f"ann-{way}", [CALLER])) as client:
        for _ in range(3):
            assert client.infer("echo", X)["OUT"].tolist() == [0, 1, 2]


def test_with_a_certificate_where_the_gateway_wants_one(gateways: Gateways, tokens: TokenMaker, way: Way) -> None:
    mine = Tls(ca_file=gateways.mutual.ca, certificate_file=gateways.mutual.client_certificate)
    with gateways.connect(way, tokens.token(f"ann-{way}", [CALLER]), gateways.mutual, tls=mine) as client:
        assert client.infer("echo", X)["OUT"].tolist() == [0, 1, 2]


LARGE = {"IN": np.zeros(2 << 20, np.uint8)}
# By what it is: the grants of the token (None: without a token), the model, what it is asked, and the error.
REFUSED: dict[str, tuple[list[dict[str, Any]] | None, str, Any, type[InferenceError], str]] = {
    "no token": (None, "echo", X, UnauthenticatedError, "Bearer TOKEN"),
    "no right": ([], "echo", X, ForbiddenError, "not allowed"),
    "no right to this model": ([CALLER], "hidden", X, ForbiddenError, "not allowed"),
    "no such model": ([OPERATOR], "nobody", X, ModelNotFoundError, "ai102 models"),
    "too large": ([CALLER], "echo", LARGE, TooLargeError, "send fewer rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_may_not_is_told_why(gateways: Gateways, tokens: TokenMaker, way: Way, case: str) -> None:
    grants, model, inputs, kind, words = REFUSED[case]
    token = "" if grants is None else tokens.token(f"bob-{way}", grants)
    with gateways.connect(way, token) as client, pytest.raises(InferenceError, match=words) as caught:
        client.infer(model, inputs)
    assert (type(caught.value), caught.value.model) == (kind, model)
    assert "\n" not in str(caught.value)


def test_who_asks_too_often_is_told_so(gateways: Gateways, tokens: TokenMaker, way: Way) -> None:
    with gateways.connect(way, tokens.token(f"eve-{way}", [CALLER])) as client:

        def ask_and_ask() -> None:
            for _ in range(3 * PER_10_S):
                client.infer("echo", X)

        with pytest.raises(RateLimitedError, match="Too many requests; try again"):
            ask_and_ask()


def test_without_the_certificate_that_the_gateway_wants(gateways: Gateways, tokens: TokenMaker, way: Way) -> None:
    client = gateways.connect(way, tokens.token("ann", [CALLER]), gateways.mutual)
    # nginx shakes hands with anybody, and answers 401 to who showed no certificate.
    with client, pytest.raises((TlsError, UnauthenticatedError)):
        client.infer("echo", X)


def test_without_tls(gateways: Gateways, way: Way) -> None:
    listen = gateways.home.gateway.listen
    client = way.connect(listen.rest if way.protocol == "http" else listen.grpc, retry=ONCE, timeout_s=5.0)
    with client, pytest.raises(WrongProtocolError, match=f"write {way.protocol}s://"):
        client.infer("echo", X)


def test_at_the_other_port(gateways: Gateways, tokens: TokenMaker, way: Way) -> None:
    listen = gateways.home.gateway.listen
    other = listen.grpc if way.protocol == "http" else listen.rest
    headers = {"authorization": f"Bearer {tokens.token('ann', [CALLER])}"}
    client = way.connect_securely(other, tls=Tls(ca_file=gateways.home.ca), headers=headers, retry=ONCE, timeout_s=5.0)
    with client, pytest.raises(WrongProtocolError):
        client.infer("echo", X)
