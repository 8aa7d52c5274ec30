"""A real nginx before real replicas: what passes, what goes on to whom, and what is refused beside the attacks."""

import json
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from threading import Event
from typing import Any

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.gateway.access_log import row_of, whole_lines
from tests.gateway.attackers import CLOSED, Target, asked, called, connected, request, status_of
from tests.gateway.attacks_over_grpc import INFER, SERVICE, message
from tests.gateway.attacks_over_rest import BODY, JSON
from tests.gateway.conftest import Home, MakeHome, needs
from tests.gateway.nginx_target import POST, bearer, opened, over_both
from tests.gateway.tokens import TokenMaker

pytestmark = [pytest.mark.e2e, needs("nginx")]
STREAM = SERVICE + "ModelStreamInfer"
# Numbers of gRPC's statuses.
OK, DEADLINE_EXCEEDED, FORBIDDEN, EXHAUSTED = 0, 4, 7, 8


@pytest.fixture(scope="module")
def home(make_home: MakeHome) -> Home:
    return make_home(limits={"header_timeout_s": 1, "answer_timeout_s": 2, "max_body_bytes": 1 << 20})


@pytest.fixture(scope="module")
def target(home: Home, caller: str) -> Iterator[Target]:
    with opened(home, caller) as found:
        yield found


def test_a_good_request_is_answered_over_both_protocols(target: Target) -> None:
    assert over_both(target, target.token) == (200, OK)


def test_http_2_is_spoken_on_the_rest_port(target: Target) -> None:
    context = ssl.create_default_context(cafile=str(target.ca))
    context.set_alpn_protocols(["h2"])
    host, _, port = target.rest.rpartition(":")
    with context.wrap_socket(socket.create_connection((host, int(port)), 5), server_hostname="localhost") as connection:
        assert connection.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize(
    ("grant", "token_subject", "expected"),
    [
        ({"max_body_bytes": 10}, "small", (413, EXHAUSTED)),
        ({"versions": ["1"]}, "versioned", (403, FORBIDDEN)),
        ({"networks": ["10.0.0.0/8"]}, "elsewhere", (403, FORBIDDEN)),
        ({"networks": ["127.0.0.0/8"]}, "here", (200, OK)),
    ],
)
def test_conditions_of_a_grant_hold_over_both_protocols(
    grant: dict[str, Any], token_subject: str, expected: tuple[int, int], target: Target, tokens: TokenMaker
) -> None:
    token = tokens.token(token_subject, [{"verbs": ["infer"], "models": ["echo"], **grant}])
    assert over_both(target, token) == expected


def test_a_chunked_body_larger_than_the_grant_allows_is_refused(target: Target, tokens: TokenMaker) -> None:
    token = tokens.token("small", [{"verbs": ["infer"], "models": ["echo"], "max_body_bytes": 10}])
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    head = (f"Authorization: Bearer {token}", JSON, "Transfer-Encoding: chunked")
    assert asked(target, request(POST, *head, body=chunked, length=False)) == 413


def test_a_large_body_passes_and_one_over_the_limit_does_not(target: Target) -> None:
    assert [called(target, INFER, message("echo", size)) for size in (1 << 19, 1 << 21)] == [OK, EXHAUSTED]


@pytest.mark.parametrize(
    "parts",
    [
        [f"{POST} HTTP/1.1\r\nHost: localhost\r\n".encode()],
        [request(POST, "Authorization: Bearer {token}", JSON, "Content-Length: 99", body=b"{", length=False)],
    ],
    ids=["headers", "body"],
)
def test_a_client_that_stops_sending_is_let_go(parts: list[bytes], target: Target) -> None:
    with connected(target) as connection:
        for part in parts:
            connection.sendall(part.replace(b"{token}", target.token.encode()))
        assert status_of(connection) in (CLOSED, 408)


def test_a_call_whose_body_never_ends_is_let_go(target: Target) -> None:
    credentials = grpc.ssl_channel_credentials(target.ca.read_bytes())
    ended = Event()

    def unfinished() -> Iterator[bytes]:
        yield message("echo")
        ended.wait()

    with grpc.secure_channel(target.grpc, credentials) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(INFER)(unfinished(), metadata=bearer(target.token), timeout=9)
        ended.set()
    # nginx 1.22 resets such a stream: its Lua is not asked again.
    assert caught.value.code() is grpc.StatusCode.INTERNAL


def test_an_answer_that_takes_too_long_is_told_so(target: Target) -> None:
    slow = json.loads(BODY) | {"parameters": {"sleep_ms": 3000}}
    sent = request(POST, target.bearer, JSON, body=json.dumps(slow).encode())
    slow_call = pb.ModelInferRequest.FromString(message("echo"))
    slow_call.parameters["sleep_ms"].int64_param = 3000
    assert asked(target, sent) == 504
    assert called(target, INFER, slow_call.SerializeToString()) == DEADLINE_EXCEEDED


def test_only_who_may_ask_every_model_may_open_a_stream(target: Target, operator: str) -> None:
    seen = [called(target, STREAM, message("echo"), metadata=bearer(token)) for token in (target.token, operator)]
    assert seen == [FORBIDDEN, OK]


def test_every_line_of_the_log_is_json_and_has_no_token(home: Home, target: Target) -> None:
    asked(target, b"\x00\x01 nonsense\r\n\r\n")
    asked(target, request('GET /v2/"quoted"', "Authorization: Bearer a.b.c", 'X-Request-Id: a"b'))
    metadata = [*bearer(target.token), ("x-request-id", "fine-1")]
    assert called(target, INFER, message("echo"), metadata=metadata) == OK
    good = row_of(home.folder / "log", "fine-1")
    assert {name: good[name] for name in ("subject", "verb", "model", "status", "grpc_status", "refused")} == {
        "subject": "ann", "verb": "infer", "model": "echo", "status": 200, "grpc_status": 0, "refused": "",
    }  # fmt: skip
    lines = whole_lines(home.folder / "log")
    assert all(json.loads(line) for line in lines)
    text = "".join(lines)
    assert target.token not in text
    assert "a.b.c" not in text


def test_metrics_of_nginx_are_not_on_the_callers_ports(home: Home, target: Target) -> None:
    assert over_both(target, target.token) == (200, OK)
    text = httpx.get(f"http://{home.gateway.listen.status}/metrics", trust_env=False).text
    assert re.search(r'^nginx_connections\{state="active"\} [1-9]', text, re.MULTILINE)
    assert asked(target, request("GET /metrics")) == 404


def test_an_unencrypted_request_is_told_in_one_sentence(target: Target) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://{target.rest}/v2")
    assert (caught.value.code, json.loads(caught.value.read())) == (400, {"error": "The request is malformed."})


def test_no_answer_tells_a_version(target: Target) -> None:
    context = ssl.create_default_context(cafile=str(target.ca))
    answers = [
        httpx.get(f"https://{target.rest}{path}", verify=context) for path in ("/v2", "/none", "/" + "a" * 20000)
    ]
    assert [answer.status_code for answer in answers] == [401, 404, 431]
    assert {answer.headers["server"] for answer in answers} == {"nginx"}
    assert all(set(answer.json()) == {"error"} for answer in answers)
