"""A collector as tests need one: it answers as it is told, and keeps the spans it was sent."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


class Collector:
    """Answers with `statuses` in turn, and then with 200. While `is_open` is not set, it answers nothing."""

    def __init__(self, statuses: Sequence[int] = ()) -> None:
        self.requests: list[dict[str, Any]] = []
        self.is_open = Event()
        self.is_open.set()
        left = list(statuses)
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.is_open.wait(30)
                status = left.pop(0) if left else 200
                if status == 200 and self.path == "/v1/traces":
                    collector.requests.append(json.loads(body))
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self) -> list[dict[str, Any]]:
        """All spans, each with what its resource says under "resource" and its attributes as a plain mapping."""
        return [
            {**span, "resource": plain(of["resource"]["attributes"]), "attributes": plain(span.get("attributes", []))}
            for request in list(self.requests)
            for of in request["resourceSpans"]
            for scope in of["scopeSpans"]
            for span in scope["spans"]
        ]

    @contextmanager
    def running(self) -> Iterator["Collector"]:
        thread = Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.is_open.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in attributes}
