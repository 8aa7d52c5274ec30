"""Rights and limits that change or hold while a proxy runs, the same in HAProxy and nginx."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from ai102.gateway.running import Runner
from tests.gateway.access_log import rows
from tests.gateway.asking import Asker, infer_message, tensor_json
from tests.gateway.conftest import CALLER, Home, MakeHome, needs, wait_until
from tests.gateway.proxy_cpu import busiest_thread_ms, processes_of
from tests.gateway.tokens import ROLES, TokenMaker

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("proxy", [pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")]),
]
INFER = "/v2/models/echo/infer"
YES, NO, UNKNOWN = (200, "OK"), (403, "PERMISSION_DENIED"), (401, "UNAUTHENTICATED")


@contextmanager
def opened(home: Home, proxy: Any) -> Iterator[Asker]:
    with Runner(home.gateway, home.folder, proxy, home.folder / "log"), closing(Asker(home)) as asker:
        yield asker


def over_both(asker: Asker, token: str) -> tuple[int, str]:
    return asker.status("POST", INFER, token, json=tensor_json()), asker.call(infer_message(), token)


def test_a_grant_that_is_taken_away_is_gone_for_tokens_already_given(
    proxy: str, make_home: MakeHome, tokens: TokenMaker
) -> None:
    home, token = make_home(), tokens.token("ann", [CALLER])
    with opened(home, proxy) as asker:
        seen = [over_both(asker, token)]
        tokens.write_state(home.state, role_grants=ROLES | {"caller": []})
        wait_until(lambda: over_both(asker, token) == NO, "the grant is gone", within_s=5)
        tokens.write_state(home.state)
        wait_until(lambda: over_both(asker, token) == YES, "it is back", within_s=5)
    assert seen == [YES]


def test_a_condition_on_the_user_holds_for_what_the_token_says_of_the_user(
    proxy: str, make_home: MakeHome, tokens: TokenMaker
) -> None:
    attributes: dict[str, Any] = {
        "radiology": {"attributes": {"department": "radiology"}},
        "surgery": {"attributes": {"department": "surgery"}},
        "none": {"attributes": {}},
        "not said": {"without": ["attributes"]},
    }
    with opened(make_home(), proxy) as asker:
        seen = {
            name: over_both(asker, tokens.token("ann", ROLES["radiologist"], **more))
            for name, more in attributes.items()
        }
    assert seen == {"radiology": YES, "surgery": NO, "none": NO, "not said": NO}


def test_nobody_gets_in_before_all_revocations_are_known(
    proxy: str, make_home: MakeHome, tokens: TokenMaker, caller: str
) -> None:
    home = make_home()
    journal = next(home.state.parent.glob("revoked/*.log"))
    journal.unlink()
    with opened(home, proxy) as asker:
        seen = [over_both(asker, caller)]
        journal.write_text(f"sid {int(time.time()) + 7200} 0 gone\n")
        wait_until(lambda: over_both(asker, caller) == YES, "the journal is read", within_s=5)
        seen += [over_both(asker, tokens.token("ann", [CALLER], sid="gone"))]
    assert seen == [(503, "UNAVAILABLE"), UNKNOWN]


def test_a_hundred_thousand_revocations_that_arrive_at_once_are_in_force_within_five_seconds(
    proxy: Any, make_home: MakeHome, tokens: TokenMaker, caller: str
) -> None:
    """Each thread reads them for itself. A second passes until it looks, another one while requests get their turn
    between its steps; so on processors of its own it is done in time when it computes for less than three."""
    home, token = make_home(limits={"requests_per_10s": 1_000_000}), tokens.token("ann", [CALLER], sid="the-last-one")
    journal = next(home.state.parent.glob("revoked/*.log"))
    ends_s = int(time.time()) + 7200
    many = "".join(f"sid {ends_s} 0 {number:032x}\n" for number in range(100_000))
    with Runner(home.gateway, home.folder, proxy, home.folder / "log") as runner, closing(Asker(home)) as asker:
        assert over_both(asker, token) == YES
        before_ms = busiest_thread_ms(processes_of(runner.pid))
        with journal.open("a") as file:
            file.write(f"{many}sid {ends_s} 0 the-last-one\n")
        wait_until(lambda: over_both(asker, token) == UNKNOWN, "the last one is revoked", within_s=60)
        assert busiest_thread_ms(processes_of(runner.pid)) - before_ms < 3000
        assert over_both(asker, caller) == YES
    with opened(home, proxy) as asker:
        assert over_both(asker, token) == UNKNOWN


class Issuer(BaseHTTPRequestHandler):
    """Answers anything with {}."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


def test_one_address_asks_the_issuer_so_often_and_its_other_requests_go_on(
    proxy: str, make_home: MakeHome, caller: str
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    home = make_home(limits={"auth_requests_per_10s": 6}, services={"issuer": f"127.0.0.1:{server.server_port}"})

    def ask(asker: Asker, path: str) -> httpx.Response:
        return asker.ask("POST", path, data={"token": "x"})

    try:
        with opened(home, proxy) as asker:
            answers = [ask(asker, ("/auth/revoke", "/auth/token")[number % 2]) for number in range(9)]
            seen = [answer.status_code for answer in answers]
            assert (over_both(asker, caller), answers[-1].headers["retry-after"]) == (YES, "1")
    finally:
        server.shutdown()
        server.server_close()
    assert seen == [200] * 6 + [429] * 3
    assert len([row for row in rows(home.folder / "log") if row["refused"]]) == 3
