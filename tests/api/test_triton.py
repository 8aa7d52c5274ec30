"""Which Triton the API asks when nobody names one."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ai102.api.triton import Address, Choice, chosen
from tests.ports import free_addresses


class Live(BaseHTTPRequestHandler):
    """Answers as a tritonserver that is up does, and 404 to what it does not know."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v2/health/live" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(http: str) -> Iterator[None]:
    host, _, port = http.rpartition(":")
    with ThreadingHTTPServer((host, int(port)), Live) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("up", "is_default", "why"),
    [
        ("", False, "the replicas of gateway.toml: none answers yet"),
        ("a", False, "the replicas of gateway.toml"),
        ("b", False, "the replicas of gateway.toml"),
        ("abd", False, "the replicas of gateway.toml"),
        ("d", True, "Triton's default port: no replica of gateway.toml answers"),
    ],
)
def test_it_is_the_replicas_unless_only_the_default_port_answers(up: str, is_default: bool, why: str) -> None:
    servers = {name: Address(*free_addresses(2)) for name in "abd"}
    replicas, default = [servers["a"], servers["b"]], servers["d"]
    with ExitStack() as started:
        for name in up:
            started.enter_context(answering(servers[name].http))
        choice = chosen(replicas, default)
    url = default.grpc if is_default else f"{replicas[0].grpc},{replicas[1].grpc}"
    assert choice == Choice(f"grpc://{url}", why)
