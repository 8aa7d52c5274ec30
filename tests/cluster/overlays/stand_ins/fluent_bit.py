"""A stand-in for Fluent Bit: it answers its probes with how many masked documents it can read, and sends nothing."""

import http.server
import json
import os
from pathlib import Path

SPOOL, STATE = Path(os.environ["AI102_SPOOL"]), Path(os.environ["FLUENT_BIT_STATE"])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        lines = [line for file in sorted(SPOOL.glob("masked-*.jsonl")) for line in file.read_text("utf-8").splitlines()]
        (STATE / "stand-in").write_text(str(len(lines)), "utf-8")  # Fluent Bit keeps its position there
        body = json.dumps({"documents": len(lines)}).encode()
        self.send_response(200 if self.path == "/api/v1/uptime" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: its log would be in the spool, too."""


if __name__ == "__main__":
    http.server.HTTPServer(("0.0.0.0", 2020), Handler).serve_forever()
