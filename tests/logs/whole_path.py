"""From logs to the index through kills. `python -m tests.logs.whole_path` prints the figures of 100,000 lines.

Four logs (two of Docker, one of containerd, one plain that rotates) are written while masker and shipper run. Both are
killed with kill -9 in between, and OpenSearch is killed and stays away. Then every line is looked for.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from ai102.host.child import Child
from ai102.logs.follow import positions
from ai102.masking import Masker
from tests.gateway.conftest import wait_until
from tests.logs.opensearch_node import Node, running_node
from tests.masking.conftest import RULES
from tests.masking.corpus import cases

AI102 = [sys.executable, "-m", "ai102"]
CONTAINER = "ab" * 32
MARK = re.compile(r"run-(\d{6})")
SHORTEST_SECRET = 6
POSITIVE = [case for case in cases() if case.is_positive and "\n" not in case.text]


@dataclass(frozen=True)
class Figures:
    """What became of the lines."""

    lines: int
    in_the_index: int
    lost: int
    repeated: int
    texts_of_the_corpus: int
    wrongly_masked: int
    secrets: int
    seconds: float
    outage_s: float


class Logs:
    """The logs of a host, and who writes them."""

    def __init__(self, folder: Path) -> None:
        self.gateway = folder / "containers" / CONTAINER / f"{CONTAINER}-json.log"
        self.triton = folder / "containers" / CONTAINER[::-1] / f"{CONTAINER[::-1]}-json.log"
        self.texts = folder / "pods" / f"worker-0_models_worker-{CONTAINER}.log"
        self.api = folder / "api.log"
        for path in (self.gateway, self.triton, self.texts, self.api):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.patterns = [str(folder / "containers/*/*-json.log"), str(folder / "pods/*.log"), str(self.api)]
        self.rotations = 0
        self.api.touch()

    def write(self, numbers: range) -> None:
        """The lines of these numbers; every number is in one line."""
        by_file: dict[Path, list[str]] = {self.gateway: [], self.triton: [], self.texts: [], self.api: []}
        for number in numbers:
            path, line = self._line(number)
            by_file[path].append(line)
        for path, lines in by_file.items():
            with path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
        self._rotate()

    def _line(self, number: int) -> tuple[Path, str]:
        now, mark = datetime.now(UTC).isoformat(timespec="milliseconds"), f"run-{number:06d}"
        case = POSITIVE[number // 4 % len(POSITIVE)]
        match number % 4:
            case 0:
                row = {"time": now, "id": mark, "protocol": "rest", "address": "10.1.2.3", "subject": "ann",
                       "verb": "infer", "model": "echo", "version": "", "method": "POST", "status": 200,
                       "grpc_status": None, "refused": "", "bytes_in": 900, "bytes_out": 300,
                       "milliseconds": {"receive": 0, "gateway": 0, "connect": 0, "answer": 1, "all": 1},
                       "backend": "triton_http", "replica": "a", "retries": "0", "end": "----"}  # fmt: skip
                return self.gateway, docker(json.dumps(row), now)
            case 1:
                clock = datetime.now(UTC).strftime("%m%d %H:%M:%S.%f")
                text = f"E{clock} 77 model.py:10] {json.dumps(f'{mark}: {case.text}', ensure_ascii=False)}"
                return self.triton, docker(text, now, parts=1 + number // 4 % 3)
            case 2:
                row = {"time": now, "level": "info", "msg": case.text, "request_id": mark}
                return self.texts, f"{now} stdout F {json.dumps(row, ensure_ascii=False)}\n"
            case _:
                row = {"time": now, "request_id": mark, "user": "ann", "method": "POST", "route": "/v1/embed",
                       "status": 200, "bytes_in": 1, "bytes_out": 2, "ms": 3.5}  # fmt: skip
                return self.api, json.dumps(row) + "\n"

    def _rotate(self) -> None:
        """As logrotate does: api.log.1 is the newest of the old ones."""
        for number in range(self.rotations, 0, -1):
            self.api.with_name(f"api.log.{number}").rename(self.api.with_name(f"api.log.{number + 1}"))
        self.api.rename(self.api.with_name("api.log.1"))
        self.api.touch()
        self.rotations += 1


def docker(text: str, now: str, parts: int = 1) -> str:
    """The line as Docker writes it, in so many parts."""
    step = -(-(len(text) + 1) // parts)
    whole = text + "\n"
    rows = [{"log": whole[at : at + step], "stream": "stdout", "time": now} for at in range(0, len(whole), step)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


class Programs:
    """Masker and shipper, as a host runs them."""

    def __init__(self, folder: Path, logs: Logs, url: str) -> None:
        spool = folder / "spool"
        self._commands = {
            "masker": ["masking", "apply", "--follow", "--rules", str(RULES), "--spool", str(spool), *logs.patterns],
            "shipper": ["logs", "ship", "--spool", str(spool), "--to", url],
        }
        self._log = folder / "programs.log"
        self._running: dict[str, Child] = {}
        self._folder = folder
        spool.mkdir(mode=0o700)

    def start(self, name: str) -> None:
        with self._log.open("ab") as log:
            command = [*AI102, *self._commands[name]]
            self._running[name] = Child(command, stdout=log, stderr=subprocess.STDOUT, grace_s=2)

    def kill(self, name: str) -> None:
        """kill -9."""
        child = self._running.pop(name)
        assert child.status is None, self._log.read_text(encoding="utf-8")
        child.kill()
        child.reap()

    def kill_all(self) -> None:
        for child in self._running.values():
            child.kill()
            child.reap()


def run(folder: Path, lines: int, outage_s: float, say: Any = print) -> Figures:
    """All of it in `folder`; AssertionError when lines do not arrive in time."""
    began_s = time.monotonic()
    logs = Logs(folder)
    with ExitStack() as stack:
        node = stack.enter_context(running_node(folder / "opensearch"))
        programs = Programs(folder, logs, node.url)
        stack.callback(programs.kill_all)
        for name in ("masker", "shipper"):
            programs.start(name)
        # What was rotated before its first look is not the masker's.
        wait_until(lambda: (folder / "spool" / positions.FILE).exists(), "the masker's first look", 60)
        writer = threading.Thread(target=_write_all, args=(logs, lines, node), daemon=True)
        writer.start()
        limit_s = 120 + lines / 200
        for share, name in ((0.15, "shipper"), (0.3, "masker"), (0.4, "shipper"), (0.5, "masker")):
            wait_until(lambda share=share: node.count() >= share * lines, f"{share:.0%} of the lines", limit_s)
            say(f"{share:.0%} arrived: kill -9 of the {name}")
            programs.kill(name)
            programs.start(name)
        wait_until(lambda: node.count() >= 0.6 * lines, "60 % of the lines", limit_s)
        say(f"60% arrived: kill -9 of OpenSearch, away for {outage_s:g} s")
        node.stop(at_once=True)
        threading.Event().wait(outage_s)
        node.start()
        wait_until(lambda: node.count() >= lines, "all lines", limit_s + outage_s)
        writer.join(60)
        figures = _judged(node, lines, outage_s)
    return Figures(**vars(figures) | {"seconds": round(time.monotonic() - began_s, 1)})


def _write_all(logs: Logs, lines: int, node: Node) -> None:
    """In fifty steps, each rotated; the next is not written before half of the steps before it is in the index."""
    step = lines // 50
    for begin in range(0, lines, step):
        logs.write(range(begin, min(begin + step, lines)))
        ends = time.monotonic() + 5
        while time.monotonic() < ends and _count_or_none(node) < begin / 2:
            threading.Event().wait(0.1)


def _count_or_none(node: Node) -> int:
    try:
        return node.count()
    except (httpx.TransportError, ValueError):
        return 0


def _judged(node: Node, lines: int, outage_s: float) -> Figures:
    seen: Counter[int] = Counter()
    masker = Masker.of(RULES)
    secrets = _secrets(masker)
    wrong = texts = leaked = 0
    for source in _all_sources(node):
        number = int(MARK.search(source)[1])  # type: ignore[index]
        seen[number] += 1
        leaked += sum(secret in source for secret in secrets)
        if number % 4 == 2:
            texts += 1
            wrong += json.loads(source)["message"] != POSITIVE[number // 4 % len(POSITIVE)].masked
    total = seen.total()
    return Figures(lines, total, lines - len(seen), total - len(seen), texts, wrong, leaked, 0.0, outage_s)


def _secrets(masker: Masker) -> set[str]:
    """What the masker must take out of the corpus, where it is long enough not to be there by chance."""
    masked = " ".join(case.masked for case in cases())
    spans = {case.text[match.start : match.end] for case in POSITIVE for match in masker.find(case.text)}
    return {
        json.dumps(span, ensure_ascii=False)[1:-1]
        for span in spans
        if len(span) >= SHORTEST_SECRET and span not in masked
    }


def _all_sources(node: Node) -> Iterator[str]:
    """Every document as text."""
    after: list[Any] | None = None
    while True:
        body: dict[str, Any] = {"size": 5000, "sort": [{"event.id": "asc"}, {"@timestamp": "asc"}]}
        answer = httpx.post(
            f"{node.url}/ai102-logs-*/_search", json=body | ({"search_after": after} if after else {}), timeout=60
        )
        hits = answer.json()["hits"]["hits"]
        if not hits:
            return
        yield from (json.dumps(hit["_source"], ensure_ascii=False) for hit in hits)
        after = hits[-1]["sort"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--outage-s", type=float, default=60.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(run(Path(temporary), given.lines, given.outage_s))  # noqa: T201
