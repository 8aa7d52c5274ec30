"""How many lines a second are masked into a spool: `python -m loadtest.follow_speed`, one process, this machine."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from ai102.logs.follow.follower import Follower
from ai102.logs.follow.spool import Spool
from ai102.masking import Masker

LINES = 20_000
RULES = Path("masking.toml")


def access_row() -> str:
    """A row of HAProxy's access log; every one has an id and a time of its own."""
    return json.dumps(
        {"time": datetime.now(UTC).isoformat(), "id": str(uuid.uuid4()), "protocol": "grpc", "address": "10.1.2.3",
         "subject": "ann", "verb": "infer", "model": "echo", "version": "", "method": "POST", "status": 200,
         "grpc_status": None, "refused": "", "bytes_in": 1034, "bytes_out": 153,
         "milliseconds": {"receive": 0, "gateway": 0, "connect": 0, "answer": 1, "all": 1},
         "backend": "triton_grpc", "replica": "b", "retries": "0", "end": "----"}
    )  # fmt: skip


def triton_line() -> str:
    clock = datetime.now(UTC).strftime("%m%d %H:%M:%S.%f")
    return f"I{clock} 26460 model_lifecycle.cc:839] \"successfully loaded '{uuid.uuid4().hex}'\""


def cpu_us_per_line(lines: list[str]) -> float:
    """CPU time to mask, read and spool one of them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "speed.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
        with Spool(folder / "spool", 1 << 30) as spool:
            follower = Follower([str(folder / "*.log")], spool, Masker.of(RULES), sys.exit)
            began_s = time.process_time()
            while follower.turn():
                pass
            took_s = time.process_time() - began_s
            follower.close()
    return took_s / len(lines) * 1e6


def main() -> None:
    for name, made in (("access log", access_row), ("Triton", triton_line)):
        took_us = cpu_us_per_line([made() for _ in range(LINES)])
        print(f"{name}: {took_us:.0f} us of CPU a line, {1e6 / took_us:,.0f} lines a second")  # noqa: T201


if __name__ == "__main__":
    main()
