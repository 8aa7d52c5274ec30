"""HTTP/1.1 by llhttp, with a bound on what comes before a body."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 16 << 10


class BoundedProtocol(HttpToolsProtocol):
    """A request line and headers that have not ended after MAX_HEADER_BYTES are answered with 400, and that is all."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_in_body = False
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        if not self._is_in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEADER_BYTES and b"\r\n\r\n" not in data:
                self.send_400_response("The headers are too long.")
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        self._head_bytes = 0
        super().on_message_complete()
