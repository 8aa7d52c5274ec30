"""A stand-in for OpenSearch where a test needs answers that the real one gives only when it is in trouble."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# (how often it was asked before, action lines and documents) -> (HTTP's status, the answer)
Answer = Callable[[int, list[tuple[dict[str, Any], bytes]]], tuple[int, Any]]


class StandIn:
    """`stored`: by index and id, the last document of each. `asked`: method and path of every request but _bulk."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[str] = []
        self.bulks = 0
        self.received = 0
        self.indices: list[str] = []
        self._answer = answer
        self.url = ""

    def bulk(self, body: bytes) -> tuple[int, Any]:
        lines = body.split(b"\n")
        pairs = [
            (json.loads(action)["index"], document) for action, document in zip(lines[::2], lines[1::2], strict=False)
        ]
        number, self.bulks = self.bulks, self.bulks + 1
        status, answer = self._answer(number, pairs) if self._answer else (200, accepted(pairs))
        if status == 200:
            for (action, document), item in zip(pairs, answer["items"], strict=True):
                if item["index"]["status"] < 300:
                    self.stored[action["_index"], action["_id"]] = json.loads(document)
                    self.received += 1
        return status, answer

    def other(self, method: str, path: str) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        if method == "DELETE":
            self.indices.remove(path.strip("/"))
        return 200, {name: {} for name in self.indices} if "_settings" in path else {"acknowledged": True}


def accepted(pairs: list[tuple[dict[str, Any], bytes]]) -> dict[str, Any]:
    return {"items": [{"index": {"status": 201}} for _ in pairs]}


def item(status: int, reason: str = "") -> dict[str, Any]:
    error = {"error": {"type": "mapper_parsing_exception", "reason": reason}} if reason else {}
    return {"index": {"status": status} | error}


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    class Handler(BaseHTTPRequestHandler):
        def handle_all(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            is_bulk = self.path == "/_bulk"
            status, answer = stand_in.bulk(body) if is_bulk else stand_in.other(self.command, self.path)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = handle_all  # noqa: N815 - the names that the library calls

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
