"""Which addresses there are: an address has one way of writing it, and Triton reads it as the gateway does."""

import json
from typing import Any

import pytest

from tests.gateway.judge_core import NOW, SERVICE, core, in_both_luas

STATE = {
    "version": 2, "written": NOW, "issuers": {}, "role_grants": {}, "routes": {"/v1/classify": "classify_image"},
}  # fmt: skip
MISSING, METHOD = "not_found", "method_not_allowed"
JOB = "/v1/jobs/0198a3c4-5d6e-7f80-9a1b-2c3d4e5f6071"

# method, path, and (kind, verb, model, version) or a refusal
REST: list[tuple[str, str, Any]] = [
    ("GET", "/v2", ("triton", "describe", None, None)),
    ("GET", "/v2/health/live", ("triton", "public", None, None)),
    ("GET", "/v2/health/ready", ("triton", "public", None, None)),
    ("GET", "/v2/models/a.b-c_1", ("triton", "describe", "a.b-c_1", None)),
    ("GET", "/v2/models/a/ready", ("triton", "describe", "a", None)),
    ("GET", "/v2/models/a/versions/12/config", ("triton", "describe", "a", "12")),
    ("GET", "/v2/models/a/stats", ("triton", "describe", "a", None)),
    ("GET", "/v2/models/stats", ("triton", "describe", "*", None)),
    ("POST", "/v2/models/a/infer", ("triton", "infer", "a", None)),
    ("POST", "/v2/models/a/versions/1/infer", ("triton", "infer", "a", "1")),
    ("POST", "/v2/models/a/generate", ("triton", "infer", "a", None)),
    ("POST", "/v2/models/a/generate_stream", ("triton", "infer", "a", None)),
    ("POST", "/v2/models/a/trace/setting", ("triton", "administer", "a", None)),
    ("POST", "/v2/repository/index", ("triton", "administer", "*", None)),
    ("POST", "/v2/repository/models/a/load", ("triton", "administer", "a", None)),
    ("POST", "/v2/repository/models/a/unload", ("triton", "administer", "a", None)),
    ("GET", "/v2/trace/setting", ("triton", "administer", "*", None)),
    ("POST", "/v2/logging", ("triton", "administer", "*", None)),
    ("POST", "/v1/classify", ("api", "infer", "classify_image", None)),
    ("POST", "/v1/classify?top=3", ("api", "infer", "classify_image", None)),
    ("GET", "/v1/models", ("api", "describe", None, None)),
    ("POST", "/v1/jobs", ("api", "submit", None, None)),
    ("POST", "/v1/jobs?x=1", ("api", "submit", None, None)),
    ("GET", "/v1/jobs", ("api", "own", None, None)),
    ("GET", "/v1/jobs?state=queued&limit=10", ("api", "own", None, None)),
    ("POST", "/v1/jobs/ended?wait=30s", ("api", "own", None, None)),
    ("GET", JOB, ("api", "own", None, None)),
    ("GET", f"{JOB}?wait=30s", ("api", "own", None, None)),
    ("GET", f"{JOB}/events", ("api", "own", None, None)),
    ("POST", f"{JOB}/cancel", ("api", "own", None, None)),
    ("GET", "/", ("api", "public", None, None)),
    ("POST", "/auth/token", ("issuer", "public", None, None)),
    ("GET", "/.well-known/jwks.json", ("issuer", "public", None, None)),
    ("GET", "/v1/classify", METHOD),
    ("DELETE", "/v1/jobs", METHOD),
    ("GET", "/v1/jobs/ended", METHOD),
    ("POST", JOB, METHOD),
    ("DELETE", JOB, METHOD),
    ("POST", f"{JOB}/events", METHOD),
    ("GET", f"{JOB}/cancel", METHOD),
    ("GET", "/v2/models/a/infer", METHOD),
    ("POST", "/v2/models/a/config", METHOD),
    ("HEAD", "/v2", METHOD),
    ("TRACE", "/v2/health/live", METHOD),
    ("PUT", "/v2/repository/models/a/load", METHOD),
    ("get", "/v2", METHOD),
    *(
        (method, path, MISSING)
        for method in ("GET", "POST")
        for path in (
            "", "v2", "*", "/v2/", "//v2", "/v2//models/a", "/V2", "/v2/models", "/v2/models/", "/v2/models/a/",
            "/v2/models/a/infer/", "/v2/models/a/infer?x=1", "/v2/models/a/infer#x", "/v2/models/a%2finfer",
            "/v2/models/%61/infer", "/v2/models/a/inf%65r", "/v2/models/a;x/infer", "/v2/models/a/infer;x",
            "/v2/models/../models/a/infer", "/v2/models/a/../b/infer", "/v2/models/./infer", "/v2/models/../infer",
            "/v2/models/a\\infer", "/v2/models/a b/infer", "/v2/models/a\0/infer", "/v2/models/ä/infer",
            "/v2/models/*/infer", "/v2/models/a\r\nX: y/infer", "http://h/v2/models/a/infer",
            "/v2/models/a/versions/01/infer", "/v2/models/a/versions/0/infer", "/v2/models/a/versions/-1/infer",
            "/v2/models/a/versions/+1/infer", "/v2/models/a/versions/1x/infer", "/v2/models/a/versions//infer",
            "/v2/models/a/versions", "/v2/models/a/versions/9999999999999999999/infer", "/v2/models/a/x",
            "/v2/models/" + "a" * 129 + "/infer", "/v2/models/" + "a/" * 2000, "/v2/repository/x/index",
            "/v2/repository/models/a/load/",
            "/v2/repository/models/a/delete", "/v2/repository/models/a/b/load", "/v2/repository/x/models/a/load",
            "/v2/systemsharedmemory/status", "/v2/systemsharedmemory/region/x/register", "/v2/cudasharedmemory/status",
            "/metrics", "/ping", "/invocations", "/models/a", "/v2/health", "/v2/health/x", "/auth/revoked", "/auth",
            "/v1/jobs/", "/v1/job", "/v1/jobsx", "/V1/jobs", "/v1/jobs/ended/", "/v1/jobs/end", "/v1/jobs//ended",
            "/v1/jobs/x", "/v1/jobs/x?wait=30s", f"{JOB}/", f"{JOB}x", f"{JOB}/x", f"{JOB}/events/", f"{JOB}/events/x",
            f"{JOB}/Cancel", f"{JOB}/../events", f"{JOB}%2fevents", f"{JOB};x/events", f"{JOB}?a b", f"{JOB}?\n",
            JOB[:-1], JOB.replace("-", ""), JOB.replace("a", "A"), JOB.replace("a", "g"), JOB.replace("-", "_", 1),
            JOB.replace("5d6e-", "5d6-e"), f"{JOB}/{'a' * 2000}", "/v1/jobs/" + "a" * 2_000, "/v1/jobs?" + "a" * 2_048,
            "/healthz", "/v1/embed", "/v1/classify/", "/v1/", "/.well-known/", "/server-status", "/v2/health/live?x",
        )
    ),
]  # fmt: skip

GRPC: list[tuple[str, Any]] = [
    ("ModelInfer", ("infer", True, False)), ("ModelStreamInfer", ("infer", True, True)),
    ("ServerLive", ("public", False, False)), ("ServerReady", ("public", False, False)),
    ("ServerMetadata", ("describe", False, False)), ("ModelReady", ("describe", True, False)),
    ("ModelConfig", ("describe", True, False)), ("ModelMetadata", ("describe", True, False)),
    ("ModelStatistics", ("describe", True, False)), ("RepositoryIndex", ("administer", False, False)),
    ("RepositoryModelLoad", ("administer", True, False)), ("RepositoryModelUnload", ("administer", True, False)),
    ("TraceSetting", ("administer", True, False)), ("LogSettings", ("administer", False, False)),
    ("SystemSharedMemoryRegister", MISSING), ("SystemSharedMemoryStatus", MISSING),
    ("CudaSharedMemoryRegister", MISSING), ("modelinfer", MISSING), ("ModelInfer/", MISSING), ("ModelInfer?x", MISSING),
    ("Model%49nfer", MISSING), ("", MISSING),
]  # fmt: skip


@in_both_luas
@pytest.mark.parametrize(("method", "path", "expected"), REST)
def test_a_rest_address_is_written_in_one_way_or_is_not_there(lua: str, method: str, path: str, expected: Any) -> None:
    judge = core(lua)
    judge.ask("load", json.dumps(STATE))
    route = judge.ask("rest_route", method, path.encode())
    if isinstance(route, dict):
        route = route["kind"], route["verb"], route.get("model"), route.get("version")
    assert route == expected


@in_both_luas
def test_the_service_gets_the_rights_of_a_caller_of_jobs_and_of_no_other(lua: str) -> None:
    judge = core(lua)
    judge.ask("load", json.dumps(STATE))
    routes = {f"{method} {path}": judge.ask("rest_route", method, path.encode()) for method, path, _ in REST}
    marked = {line for line, route in routes.items() if isinstance(route, dict) and route.get("gets_rights")}
    assert marked == {line for line, route in routes.items() if isinstance(route, dict) and "/v1/jobs" in line}


@in_both_luas
@pytest.mark.parametrize(("method", "expected"), GRPC)
def test_a_grpc_method_is_known_by_its_exact_path(lua: str, method: str, expected: Any) -> None:
    route = core(lua).ask("grpc_route", SERVICE + method)
    assert (route if isinstance(route, str) else (route["verb"], route["names_model"], route["streams"])) == expected


@in_both_luas
def test_other_grpc_services_than_tritons_are_not_there_but_for_its_health(lua: str) -> None:
    paths = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", "/a.B/C", "/" + SERVICE + "ServerLive")
    routes = [core(lua).ask("grpc_route", path) for path in paths]
    assert [route if isinstance(route, str) else route["verb"] for route in routes] == ["public", *[MISSING] * 3]


@in_both_luas
@pytest.mark.parametrize("arguments", [(), (None, None), (5, "/v2"), ("GET", {"a": 1}), ("GET", True)])
def test_a_defect_of_the_proxys_side_refuses(lua: str, arguments: tuple[Any, ...]) -> None:
    judge = core(lua)
    assert judge.ask("rest_route", *arguments) in ("unavailable", METHOD)
    assert judge.ask("json_problem", *arguments) in ("unavailable", "malformed")
