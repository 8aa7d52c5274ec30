"""Which of a caller's headers reach what stands behind the gateway."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ai102.gateway.running import Runner
from tests.gateway.attackers import Target, asked, request
from tests.gateway.attacks_over_rest import JSON
from tests.gateway.conftest import MakeHome, needs
from tests.gateway.recorders import Recorder
from tests.gateway.tokens import TokenMaker

pytestmark = pytest.mark.e2e
MAY = {"verbs": ["infer", "describe"], "models": ["*"]}
FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")])
def behind(
    request: pytest.FixtureRequest, make_home: MakeHome, tokens: TokenMaker
) -> Iterator[tuple[Target, dict[str, Recorder]]]:
    """An open gateway; triton, api and issuer behind it are recorders."""
    with ExitStack() as started:
        recorders = {name: started.enter_context(Recorder().running()) for name in ("triton", "api", "issuer")}
        services = {name: recorders[name].address for name in ("api", "issuer")}
        home = make_home([(recorders["triton"].address, "127.0.0.1:9")], services=services)
        started.enter_context(Runner(home.gateway, home.folder, request.param, home.folder / "log"))
        yield Target(home.gateway.listen.rest, home.gateway.listen.grpc, home.ca, tokens.token("ann", [MAY])), recorders


# Who is asked, the request line, and whether the caller's token is passed on.
REQUESTS = [
    ("triton", "GET /v2/models/echo", False),
    ("api", "GET /", False),
    ("api", "GET /docs", False),
    ("api", "GET /v1/models", False),
    ("api", "POST /v1/classify", False),
    ("api", "POST /v1/embed", False),
    ("issuer", "POST /auth/token", False),
    ("issuer", "POST /auth/revoke", False),
    ("issuer", "GET /auth/me", True),
    ("issuer", "GET /.well-known/jwks.json", False),
    ("issuer", "GET /.well-known/openid-configuration", False),
]


@pytest.mark.parametrize(("service", "line", "is_passed"), REQUESTS)
def test_only_the_issuer_gets_a_token_and_only_to_say_whose_it_is(
    service: str, line: str, is_passed: bool, behind: tuple[Target, dict[str, Recorder]]
) -> None:
    target, recorders = behind
    kind = [JSON] if line.startswith("POST /v1") else []
    assert asked(target, request(line, target.bearer, *kind)) == 200
    seen = recorders[service].headers[line.split()[1]]
    assert seen.get("authorization", "") == (f"Bearer {target.token}" if is_passed else "")


def test_the_issuer_sees_that_a_client_brings_credentials_of_its_own(
    behind: tuple[Target, dict[str, Recorder]],
) -> None:
    target, recorders = behind
    for path in ("/auth/token", "/auth/revoke"):
        assert asked(target, request(f"POST {path}", "Authorization: Basic YTpi", FORM, body=b"a=b")) == 200
        assert recorders["issuer"].headers[path]["authorization"] == "Basic YTpi"


def test_a_service_is_told_who_asks(behind: tuple[Target, dict[str, Recorder]]) -> None:
    target, recorders = behind
    assert asked(target, request("POST /v1/classify", target.bearer, JSON, "X-User: root")) == 200
    assert recorders["api"].headers["/v1/classify"]["x-user"] == "ann"
