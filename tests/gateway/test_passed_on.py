"""Which of a caller's headers reach what stands behind the gateway."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import httpx
import pytest

from ai102.gateway.running import ProxyName, Runner
from tests.gateway.asking import Asker
from tests.gateway.attackers import Target, asked, called, request
from tests.gateway.attacks_over_grpc import INFER, SERVICE, message
from tests.gateway.attacks_over_rest import JSON
from tests.gateway.conftest import MakeHome, needs, wait_until
from tests.gateway.recorders import GrpcRecorder, Recorder
from tests.gateway.tokens import TokenMaker

pytestmark = pytest.mark.e2e
MAY = {"verbs": ["infer", "describe"], "models": ["*"]}
STREAM = SERVICE + "ModelStreamInfer"
JOB = "/v1/jobs/0198a3c4-5d6e-7f80-9a1b-2c3d4e5f6071"
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
    ("api", "POST /v1/jobs", False),
    ("api", "GET /v1/jobs?state=queued", False),
    ("api", "POST /v1/jobs/ended?wait=30s", False),
    ("api", f"GET {JOB}", False),
    ("api", f"POST {JOB}/cancel", False),
    ("api", f"GET {JOB}/events", False),
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


# As a caller may write the headers that only the gateway sets.
FORGED = (
    ["X-User: root", "X-User-May-Infer: *"],
    ["x-user: root", "x-user-may-infer: *"],
    ["X-USER: root", "X-USER-MAY-INFER: *=999999999999999"],
    ["X-User: root", "X-User: admin", "X-User-May-Infer: a", "x-user-may-infer: *"],
    ["X-User:", "X-User-May-Infer:"],
    [f"X-User-May-Infer: {'a,' * 4_000}*"],
)


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize(("service", "line"), [(service, line) for service, line, _ in REQUESTS])
def test_who_asks_and_what_they_may_is_said_by_the_gateway_alone(
    service: str, line: str, forged: list[str], behind: tuple[Target, dict[str, Recorder]]
) -> None:
    target, recorders = behind
    kind = [JSON] if line.startswith("POST /v1") else []
    assert asked(target, request(line, target.bearer, *kind, *forged)) == 200
    pairs = recorders[service].pairs[line.split()[1]]
    is_public = service == "issuer" or line in ("GET /", "GET /docs")
    assert [value for name, value in pairs if name == "x-user"] == ([] if is_public else ["ann"])
    assert [value for name, value in pairs if name == "x-user-may-infer"] == (["*"] if "/v1/jobs" in line else [])


@pytest.mark.parametrize("forged", ["X_User: root", "x-user_may-infer: *", "X_USER_MAY_INFER: *"])
def test_a_forged_name_with_an_underscore_is_refused(forged: str, behind: tuple[Target, dict[str, Recorder]]) -> None:
    target, recorders = behind
    assert asked(target, request("GET /v1/jobs?forged", target.bearer, forged)) == 400
    assert "/v1/jobs?forged" not in recorders["api"].pairs


@pytest.mark.parametrize("method", [INFER, STREAM])
@pytest.mark.parametrize("proxy", [pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")])
def test_a_replica_gets_no_rights_that_a_caller_wrote(
    proxy: ProxyName, method: str, make_home: MakeHome, tokens: TokenMaker
) -> None:
    replica = GrpcRecorder()
    token = tokens.token("olga", [MAY | {"verbs": ["infer", "describe", "administer"]}])
    forged = [("x-user", "root"), ("x-user-may-infer", "a"), ("x-user-may-infer", "*")]
    with Recorder().running() as healthy, replica.running() as address:
        home = make_home([(healthy.address, address)])
        with Runner(home.gateway, home.folder, proxy, home.folder / "log"):
            target = Target(home.gateway.listen.rest, home.gateway.listen.grpc, home.ca, token)
            metadata = [("authorization", f"Bearer {token}"), *forged]
            wait_until(lambda: called(target, method, message("echo"), metadata=metadata) == 0, "the call passes")
    seen = replica.metadata[-1]
    assert [pair for pair in seen if pair[0].startswith("x-user")] == [("x-user", "olga")]


@pytest.mark.parametrize("proxy", [pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")])
def test_a_job_whose_answer_is_lost_is_not_handed_in_again(
    proxy: ProxyName, make_home: MakeHome, tokens: TokenMaker
) -> None:
    with Recorder().running() as triton, Recorder().running() as api:
        api.leaves_posts = True
        home = make_home([(triton.address, "127.0.0.1:9")], services={"api": api.address})
        with Runner(home.gateway, home.folder, proxy, home.folder / "log"), closing(Asker(home)) as asker:
            token = tokens.token("ann", [MAY])
            # Over a connection to the API that was used before, a proxy might believe that it had merely grown old.
            assert asker.status("GET", "/v1/jobs", token) == 200
            with suppress(httpx.RemoteProtocolError):  # HAProxy ends the caller's connection too
                assert asker.status("POST", "/v1/jobs", token, json={}) in (502, 503)
    assert api.unanswered == ["/v1/jobs"]


def test_a_service_is_told_who_asks(behind: tuple[Target, dict[str, Recorder]]) -> None:
    target, recorders = behind
    assert asked(target, request("POST /v1/classify", target.bearer, JSON, "X-User: root")) == 200
    assert recorders["api"].headers["/v1/classify"]["x-user"] == "ann"
