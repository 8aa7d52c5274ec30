"""Real Prometheus and Alertmanager over monitoring/ as it is committed, and a receiver of their notifications."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai102.errors import UserError
from ai102.monitoring.checking import checker
from tests.gateway.conftest import wait_until
from tests.parts_of import ends_in_order
from tests.ports import free_addresses

ROOT = Path(__file__).parent.parent.parent
# Prometheus asks and computes more often, so that a test takes two minutes and not four. Each alert's own `for` and the
# routes' group_wait stay as they are.
FASTER = {
    "scrape_interval: 10s": "scrape_interval: 2s",
    "evaluation_interval: 10s": "evaluation_interval: 2s",
    "group_interval: 1m\n": "group_interval: 10s\n",
}


TEMPLATES = Path("/usr/share/prometheus/alertmanager")


@dataclass
class Receiver:
    """What the webhooks were sent: the receiver's path, and each alert with its status."""

    address: str = ""
    notifications: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def alerts(self, path: str) -> list[tuple[str, str, str]]:
        """Name, status and replica of every alert of every notification to `path`, in order."""
        return [
            (alert["labels"]["alertname"], alert["status"], alert["labels"].get("replica", ""))
            for to, body in list(self.notifications)
            for alert in body["alerts"]
            if to == path
        ]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.notifications.append((self.path, json.loads(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Stack:
    prometheus: str
    alertmanager: str
    receiver: Receiver

    def query(self, expression: str) -> list[dict[str, Any]]:
        url = f"http://{self.prometheus}/api/v1/query"
        answer = httpx.get(url, params={"query": expression}, trust_env=False, timeout=10).json()
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def fire(self, alerts: Sequence[Mapping[str, str]]) -> None:
        """Give Alertmanager alerts with these labels, as Prometheus would."""
        body = [{"labels": dict(labels)} for labels in alerts]
        url = f"http://{self.alertmanager}/api/v2/alerts"
        assert httpx.post(url, json=body, trust_env=False, timeout=10).status_code == 200


@contextmanager
def started(folder: Path, targets: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Stack]:
    """`targets`: by job, as in a file of targets; the other jobs have none."""
    try:
        prometheus, alertmanager = checker("prometheus", "prometheus"), checker("alertmanager", "alertmanager")
    except UserError as err:
        pytest.skip(str(err))
    ours, theirs = free_addresses(2)
    shutil.copytree(ROOT / "monitoring", folder / "monitoring")
    config, routes = (
        folder / "monitoring" / "prometheus" / "prometheus.yaml",
        folder / "monitoring" / "alertmanager" / "alertmanager.yaml",
    )
    with receiving() as receiver, ExitStack() as processes:
        _replace(config, FASTER)
        _replace(routes, FASTER | {"http://webhook:9095": f"http://{receiver.address}"})
        for file in (config.parent / "targets").glob("*.yaml"):
            own = [{"targets": [theirs]}] if file.stem == "alertmanager" else targets.get(file.stem, [])
            file.write_text(json.dumps(own), encoding="utf-8")
        processes.enter_context(
            _running(
                folder / "alertmanager.log", *_with_its_templates(alertmanager), f"--config.file={routes}",
                f"--storage.path={folder / 'alertmanager'}", f"--web.listen-address={theirs}",
                "--cluster.listen-address=",
            )
        )  # fmt: skip
        processes.enter_context(
            _running(
                folder / "prometheus.log", prometheus, f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address={ours}",
            )
        )  # fmt: skip
        for name, address in (("prometheus", ours), ("alertmanager", theirs)):
            wait_until(lambda at=address: _is_ready(at), f"{name} is ready, see {folder}", within_s=60)  # type: ignore[misc]
        yield Stack(ours, theirs, receiver)


def _with_its_templates(alertmanager: str) -> list[str]:
    """Debian's build reads templates from /usr/share alone: of the cache's they lie there for this process only."""
    share = Path(alertmanager).parent.parent / "share"
    if (TEMPLATES / "default.tmpl").exists() or not share.is_dir():
        return [alertmanager]
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    mount = f"mount -t overlay overlay -o lowerdir={share}:/usr/share /usr/share"
    return ["unshare", *as_root, "--mount", "sh", "-c", f'{mount} && exec "$0" "$@"', alertmanager]


def _replace(file: Path, changes: Mapping[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new in changes.items():
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready", trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def _running(log: Path, *words: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        ends_in_order(process)
