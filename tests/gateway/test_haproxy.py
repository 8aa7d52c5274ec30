"""Real HAProxy before real replicas: who gets through, who is refused and how, and what the log says."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.grpc import service_pb2 as pb

from ai102.gateway.running import Runner
from tests.gateway.access_log import row_of, rows
from tests.gateway.asking import Asker, binary_body, infer_message, tensor_json
from tests.gateway.conftest import Home, MakeHome, needs, wait_until
from tests.gateway.tokens import TokenMaker
from tests.servers import Server

pytestmark = [pytest.mark.e2e, needs("haproxy")]

INFER = "/v2/models/echo/infer"
MEBIBYTE = 1 << 20
HEADER_TIMEOUT_S = 2
LIMITS = {"max_body_bytes": 8 * MEBIBYTE, "header_timeout_s": HEADER_TIMEOUT_S, "requests_per_10s": 1_000_000}
HIDDEN = pb.ModelInferRequest(model_name="hidden").SerializeToString()


@pytest.fixture(scope="module")
def home(make_home: MakeHome) -> Home:
    return make_home(limits=LIMITS)


@pytest.fixture(scope="module")
def log(home: Home) -> Path:
    return home.folder / "access.log"


@pytest.fixture(scope="module")
def gateway(home: Home, log: Path) -> Iterator[Runner]:
    with Runner(home.gateway, home.folder, log=log) as opened:
        yield opened


@pytest.fixture(scope="module")
def asker(home: Home, gateway: Runner) -> Iterator[Asker]:
    asking = Asker(home)
    yield asking
    asking.close()


def test_the_routes_of_both_protocols_answer_those_who_may(asker: Asker, caller: str, operator: str) -> None:
    body, headers = binary_body(MEBIBYTE)
    seen = [
        asker.status("GET", "/v2/health/ready"),
        asker.status("POST", INFER, caller, json=tensor_json()),
        asker.status("POST", INFER, caller, content=body, headers=headers),
        asker.status("GET", "/v2/models/echo", caller),
        asker.status("POST", "/v2/repository/index", operator, json={}),
        asker.call(b"", method="ServerLive"),
        asker.call(infer_message(), caller),
        asker.call(infer_message(size=6 * MEBIBYTE), caller),
        asker.call(infer_message("hidden"), operator),
        asker.call(b"", operator, method="RepositoryIndex"),
        asker.stream([infer_message(), infer_message(size=300_000)], caller),
    ]
    assert seen == [200, 200, 200, 200, 200, "OK", "OK", "OK", "OK", "OK", (2, "OK")]


def drip() -> Iterator[bytes]:
    yield from (b"x" * 50_000 for _ in range(20))


REST_REFUSALS = {
    "no token": (401, "POST", INFER, None, {"json": tensor_json()}),
    "no token, an unread body": (401, "POST", INFER, None, {"content": b"x" * 4 * MEBIBYTE}),
    "another model": (403, "POST", "/v2/models/hidden/infer", "caller", {"json": tensor_json()}),
    "an admin API": (403, "POST", "/v2/repository/index", "caller", {"json": {}}),
    "shared memory": (404, "GET", "/v2/systemsharedmemory/status", "operator", {}),
    "no such address": (404, "GET", "/metrics", "operator", {}),
    "another method": (405, "GET", INFER, "caller", {}),
    "a long body": (413, "POST", INFER, "caller", {"content": b"x" * 9 * MEBIBYTE}),
    "much JSON": (413, "POST", INFER, "caller", {"json": tensor_json(50_000)}),
    "a long body of untold length": (413, "POST", INFER, "caller", {"content": drip()}),
    "a form": (415, "POST", INFER, "caller", {"data": {"a": "b"}}),
    "a huge shape": (400, "POST", INFER, "caller",
                     {"json": {"inputs": [{"name": "IN", "datatype": "UINT8", "shape": [10**9], "data": [1]}]}}),
    "deep nesting": (400, "POST", INFER, "caller", {"content": b"[" * 60_000}),
    "a body where none belongs": (400, "GET", "/v2/models/echo", "caller", {"content": b"{}"}),
    "long headers": (431, "GET", "/v2/health/ready", None, {"headers": {"x-long": "a" * 20_000}}),
}  # fmt: skip


@pytest.mark.parametrize("name", REST_REFUSALS)
def test_a_refusal_over_rest_has_its_status_and_one_sentence(
    name: str, asker: Asker, caller: str, operator: str
) -> None:
    status, method, path, who, options = REST_REFUSALS[name]
    token = {None: None, "caller": caller, "operator": operator}[who]
    answer = asker.ask(method, path, token, **options)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


GRPC_REFUSALS: dict[str, tuple[str, bytes, str | None, str]] = {
    "no token": ("UNAUTHENTICATED", infer_message(), None, "ModelInfer"),
    "no token, an unread body": ("UNAUTHENTICATED", infer_message(size=6 * MEBIBYTE), None, "ModelInfer"),
    "another model": ("PERMISSION_DENIED", infer_message("hidden"), "caller", "ModelInfer"),
    "another model, a large body": ("PERMISSION_DENIED", infer_message("hidden", 6 << 20), "caller", "ModelInfer"),
    "named twice": ("INVALID_ARGUMENT", infer_message() + HIDDEN, "caller", "ModelInfer"),
    "named twice, far behind": ("INVALID_ARGUMENT", infer_message(size=6 << 20) + HIDDEN, "caller", "ModelInfer"),
    "named twice, in the middle": (
        "INVALID_ARGUMENT", infer_message(size=2 << 20) + HIDDEN + infer_message(size=2 << 20), "caller", "ModelInfer"),
    "a large message": ("RESOURCE_EXHAUSTED", infer_message(size=9 * MEBIBYTE), "caller", "ModelInfer"),
    "an admin API": ("PERMISSION_DENIED", b"", "caller", "RepositoryIndex"),
    "shared memory": ("UNIMPLEMENTED", b"", "operator", "SystemSharedMemoryStatus"),
    "no such method": ("UNIMPLEMENTED", b"", "operator", "/other.Service/Method"),
    "no protobuf": ("INVALID_ARGUMENT", b"\xff" * 100, "caller", "ModelInfer"),
}  # fmt: skip


@pytest.mark.parametrize("name", GRPC_REFUSALS)
def test_a_refusal_over_grpc_has_its_status(name: str, asker: Asker, caller: str, operator: str) -> None:
    status, message, who, method = GRPC_REFUSALS[name]
    token = {None: None, "caller": caller, "operator": operator}[who]
    assert asker.call(message, token, method=method) == status


def test_a_model_named_later_is_not_run(asker: Asker, caller: str, three_replicas: list[Server]) -> None:
    def runs() -> int:
        count = 0
        for server in three_replicas:
            with triton_grpc.InferenceServerClient(server.grpc_url) as client:
                stats = client.get_inference_statistics().model_stats
                count += sum(stat.inference_stats.success.count + stat.inference_stats.fail.count for stat in stats)
        return count

    before = runs()
    for size in (4, 2 * MEBIBYTE, 7 * MEBIBYTE):
        assert asker.call(infer_message(size=size) + HIDDEN, caller) == "INVALID_ARGUMENT"
    assert runs() == before


def test_a_stream_that_turns_to_another_model_is_cut(asker: Asker, caller: str) -> None:
    answered = threading.Event()

    def messages() -> Iterator[bytes]:
        yield infer_message()
        answered.wait(1)
        yield infer_message("hidden")

    answers, status = asker.stream(messages(), caller)
    assert answers <= 1
    assert status != "OK"


def test_what_only_the_gateway_may_say_is_taken_from_the_client(asker: Asker, caller: str, log: Path) -> None:
    spoofed = {"x-user": "root", "ai102-secret": "guess", "x-forwarded-for": "10.0.0.1", "x-request-id": "spoof-1"}
    assert asker.status("POST", INFER, caller, json=tensor_json(), headers=spoofed) == 200
    assert (row_of(log, "spoof-1")["subject"], row_of(log, "spoof-1")["address"]) == ("ann", "127.0.0.1")


def test_a_line_of_the_log_tells_who_asked_what(asker: Asker, caller: str, log: Path) -> None:
    asker.status("POST", INFER, caller, json=tensor_json(), headers={"x-request-id": "fine-1"})
    asker.call(infer_message("hidden"), caller, metadata={"x-request-id": "bad-1"})
    keys = ("protocol", "subject", "verb", "model", "status", "grpc_status", "refused", "backend")
    seen = [[row_of(log, name)[key] for key in keys] for name in ("fine-1", "bad-1")]
    assert seen == [
        ["rest", "ann", "infer", "echo", 200, None, "", "triton_http"],
        ["grpc", "ann", "infer", "hidden", 200, 7, "no grant covers it", "refusals"],
    ]
    assert row_of(log, "fine-1")["bytes_in"] > 100 < row_of(log, "fine-1")["bytes_out"]
    assert row_of(log, "fine-1")["milliseconds"]["all"] >= 0


def test_only_what_no_buffer_holds_goes_by_the_filter(asker: Asker, caller: str, log: Path) -> None:
    sizes = (MEBIBYTE, 4)
    for size in sizes:
        body, headers = binary_body(size)
        asker.status("POST", INFER, caller, content=body, headers=headers | {"x-request-id": f"rest-{size}"})
        asker.call(infer_message(size=size), caller, metadata={"x-request-id": f"grpc-{size}"})
    seen = [row_of(log, f"{protocol}-{size}")["backend"] for protocol in ("rest", "grpc") for size in sizes]
    assert seen == ["triton_http_long", "triton_http", "triton_grpc_long", "triton_grpc"]


def test_a_hostile_request_breaks_no_line_of_the_log_and_no_token_is_in_it(
    home: Home, asker: Asker, caller: str, log: Path
) -> None:
    count = len(rows(log))
    head = b'GET /v2/models/"},{"a":"\\%0a HTTP/1.1\r\nHost: x\r\nUser-Agent: "},{"\r\nX-Request-Id: "},{"x\r\n'
    assert b" 404 " in raw(home, head + f"Authorization: Bearer {caller}\r\n\r\n".encode())[0]
    wait_until(lambda: len(rows(log)) > count, "a line for it")
    assert caller.split(".")[2] not in log.read_text(encoding="utf-8")


def raw(home: Home, content: bytes, drip: bytes = b"", within_s: float = 20.0) -> tuple[bytes, float]:
    """What the REST listener answers to bytes, `drip` being sent on and on, and after how many seconds."""
    host, _, port = home.gateway.listen.rest.rpartition(":")
    context = ssl.create_default_context(cafile=home.ca)
    began = time.monotonic()
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.settimeout(0.2)
        connection.sendall(content)
        while time.monotonic() - began < within_s:
            try:
                return connection.recv(4096), time.monotonic() - began
            except TimeoutError:
                connection.sendall(drip)
    raise AssertionError(f"no answer within {within_s:g} s")


POST = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\n"
SLOW = {
    "no headers": (b"", b""),
    "a header now and then": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-a: b\r\n"),
    "no body": (POST + b"Content-Length: 100\r\nAuthorization: Bearer ", b""),
    "a byte now and then": (POST + b"Content-Length: 100\r\nAuthorization: Bearer ", b" "),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_sender_is_answered_408_in_time(name: str, home: Home, asker: Asker, caller: str) -> None:
    head, drip = SLOW[name]
    content = head + caller.encode() + b"\r\n\r\n{" if head.endswith(b"Bearer ") else head
    answer, after_s = raw(home, content, drip)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert after_s < HEADER_TIMEOUT_S + 2


def test_an_answer_may_take_longer_than_headers_may(asker: Asker, caller: str) -> None:
    slow_ms = (HEADER_TIMEOUT_S + 1) * 1000
    assert asker.status("POST", INFER, caller, json=tensor_json(sleep_ms=slow_ms)) == 200
    assert asker.call(infer_message(sleep_ms=slow_ms), caller) == "OK"


def test_metrics_are_on_the_address_for_them_and_nowhere_else(home: Home, asker: Asker) -> None:
    asked = f"http://{home.gateway.listen.status}"
    text = httpx.get(f"{asked}/metrics", trust_env=False).text
    assert 'haproxy_server_status{proxy="triton_grpc",server="a"' in text
    assert httpx.get(f"{asked}/", trust_env=False).status_code == 404


def test_a_revoked_token_stops_working_within_five_seconds(home: Home, asker: Asker, tokens: TokenMaker) -> None:
    token = tokens.token("rita", [{"verbs": ["infer"], "models": ["echo"]}], jti="one", sid="of-rita")
    seen = (asker.status("POST", INFER, token, json=tensor_json()), asker.call(infer_message(), token))
    assert seen == (200, "OK")
    tokens.revoke(home.state, "sid", "of-rita")
    wait_until(lambda: asker.status("POST", INFER, token, json=tensor_json()) == 401, "401", within_s=5)
    wait_until(lambda: asker.call(infer_message(), token) == "UNAUTHENTICATED", "UNAUTHENTICATED", within_s=5)


def test_more_requests_than_a_subject_may_make_are_refused(make_home: MakeHome, caller: str, operator: str) -> None:
    home = make_home(limits={"requests_per_10s": 20})
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        asking = Asker(home)
        seen = [asking.status("GET", "/v2/models/echo", caller) for _ in range(15)]
        seen_grpc = [asking.call(infer_message(), caller) for _ in range(15)]
        assert (seen.count(200), seen_grpc.count("OK"), seen_grpc.count("RESOURCE_EXHAUSTED")) == (15, 5, 10)
        assert asking.status("GET", "/v2/models/echo", caller) == 429
        assert asking.status("GET", "/v2/models/echo", operator) == 200
        asking.close()


def test_with_mutual_tls_only_a_client_with_a_certificate_is_heard(make_home: MakeHome, caller: str) -> None:
    home = make_home(tls={"client_ca": "build/gateway/certs/ca.pem"})
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        known, stranger = Asker(home, with_certificate=True), Asker(home)
        seen = (known.status("POST", INFER, caller, json=tensor_json()), known.call(infer_message(), caller))
        assert seen == (200, "OK")
        with pytest.raises(httpx.TransportError):
            stranger.status("GET", "/v2/health/ready")
        assert stranger.call(b"", method="ServerLive") == "UNAVAILABLE"
        known.close()
        stranger.close()


def test_a_gateway_without_a_state_answers_503_to_all_that_need_a_token(make_home: MakeHome, caller: str) -> None:
    home = make_home()
    home.state.unlink()
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        asking = Asker(home)
        assert (asking.status("POST", INFER, caller, json=tensor_json()), asking.call(infer_message(), caller)) == (
            503, "UNAVAILABLE")  # fmt: skip
        assert asking.status("GET", "/v2/health/ready") == 200
        home.tokens.write_state(home.state)
        wait_until(lambda: asking.call(infer_message(), caller) == "OK", "OK once there is a state", within_s=5)
        asking.close()
