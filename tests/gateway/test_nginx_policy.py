"""nginx as parts of the policy and its surroundings make it: rate, certificates, state, what replicas are told."""

import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest

from tests.gateway.attackers import asked, request
from tests.gateway.attacks_over_rest import BODY, JSON
from tests.gateway.conftest import MakeHome, needs, wait_until
from tests.gateway.nginx_target import opened, over_both
from tests.gateway.tokens import TokenMaker

pytestmark = [pytest.mark.e2e, needs("nginx")]
# Numbers of gRPC's statuses.
OK, EXHAUSTED, UNAVAILABLE, UNAUTHENTICATED = 0, 8, 14, 16


def test_one_subject_over_its_rate_leaves_the_others_alone(
    make_home: MakeHome, tokens: TokenMaker, caller: str
) -> None:
    busy = tokens.token("busy", [{"verbs": ["infer"], "models": ["echo"]}])
    with opened(make_home(limits={"requests_per_10s": 6}), caller) as target:
        first = [over_both(target, busy) for _ in range(4)]
        assert first == [(200, OK)] * 3 + [(429, EXHAUSTED)]
        assert over_both(target, caller) == (200, OK)


def test_a_client_without_a_certificate_is_refused_where_one_is_wanted(make_home: MakeHome, caller: str) -> None:
    home = make_home(tls={"client_ca": "build/gateway/certs/ca.pem"})
    with opened(home, caller) as target:
        context = ssl.create_default_context(cafile=str(home.ca))
        url, headers = f"https://{target.rest}/v2", {"Authorization": f"Bearer {caller}"}
        without = httpx.get(url, headers=headers, verify=context)
        assert (without.status_code, without.json()) == (401, {"error": "A valid token is needed."})
        context.load_cert_chain(home.client_certificate)
        assert httpx.get(url, headers=headers, verify=context).status_code == 200


def test_without_a_state_no_token_is_taken_and_it_opens_when_there_is_one(make_home: MakeHome, caller: str) -> None:
    home = make_home()
    home.state.unlink()
    with opened(home, caller) as target:
        assert over_both(target, caller) == (503, UNAVAILABLE)
        home.tokens.write_state(home.state)
        wait_until(lambda: over_both(target, caller) == (200, OK), "the gateway takes the state", 5)


def test_a_state_nobody_wrote_for_long_does_not_open_the_gateway(make_home: MakeHome, caller: str) -> None:
    home = make_home()
    home.state.write_text(json.dumps(home.tokens.state() | {"written": 1.0}), encoding="utf-8")
    with opened(home, caller) as target:
        assert over_both(target, caller) == (503, UNAVAILABLE)


def test_a_revoked_token_stops_working(make_home: MakeHome, tokens: TokenMaker) -> None:
    home, token = make_home(), tokens.token("eve", [{"verbs": ["infer"], "models": ["echo"]}], jti="gone")
    with opened(home, token) as target:
        assert over_both(target, token) == (200, OK)
        tokens.revoke(home.state, "jti", "gone")
        wait_until(lambda: over_both(target, token) == (401, UNAUTHENTICATED), "the token is refused", 5)


def test_replicas_that_are_gone_make_it_unavailable(make_home: MakeHome, caller: str) -> None:
    with opened(make_home([("127.0.0.1:9", "127.0.0.1:10")]), caller) as target:
        assert over_both(target, caller) == (503, UNAVAILABLE)


class Listener(BaseHTTPRequestHandler):
    """Remembers the headers of each POST."""

    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.mark.parametrize("path", ["/v2/models/echo/infer", "/v1/embed"])
def test_what_the_client_says_about_itself_does_not_get_through(
    path: str, make_home: MakeHome, tokens: TokenMaker
) -> None:
    token = tokens.token("ann", [{"verbs": ["infer"], "models": ["echo", "embed_text"]}])
    seen: list[dict[str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Seen", (Listener,), {"seen": seen}))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    place = f"127.0.0.1:{server.server_port}"
    try:
        with opened(make_home([(place, "127.0.0.1:9")], services={"api": place}), token) as target:
            lies = ("X-User: root", "ai102-secret: guess", "X-Forwarded-For: 10.0.0.1", "X-Request-Id: mine-7")
            assert asked(target, request(f"POST {path}", target.bearer, JSON, *lies, body=BODY)) == 200
    finally:
        server.shutdown()
        server.server_close()
    (headers,) = seen
    names = ("x-user", "ai102-secret", "x-forwarded-for", "x-request-id", "authorization")
    assert [headers.get(name) for name in names] == ["ann", None, "127.0.0.1", "mine-7", None]
