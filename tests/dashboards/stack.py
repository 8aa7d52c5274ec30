"""All that dashboards look at, in processes of their own: replicas, gateway, issuer, API, node exporter, Prometheus."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ai102.client import Client, InferenceError, JobClient, Retry, Tls
from ai102.gateway.replicas import restricting_arguments
from ai102.gateway.secret import secret_of
from ai102.host.child import Child
from ai102.prometheus.api import instant
from ai102.prometheus.fetching import NoAnswerError
from ai102.samples.read import read_samples
from tests.gateway.conftest import wait_until
from tests.gateway.test_whole import PASSWORD, ROOT, ai102, command
from tests.ports import free_addresses
from tests.servers import Server

MODELS = ("classify_image", "score_image", "embed_text")
REPLICAS = ("a", "b")
JOBS = {"triton", "gateway", "issuer", "api", "worker", "node", "prometheus"}
READY_S = 90.0
# The stack's scrapes and rules, short so that a test need not wait minutes for what takes four scrapes.
EVERY_S = 1
PAUSE_S = 0.1  # of each caller: five calls in flight would keep a machine busy, and the queries need some each second


@dataclass
class Stack:
    """Addresses of everything, and a folder with gateway.toml and models.toml in it."""

    folder: Path
    servers: dict[str, Server] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ("rest", "grpc", "status", "metrics", "api", "issuer", "worker", "node", "prometheus")
        replicas = [f"{replica} {kind}" for replica in REPLICAS for kind in ("http", "grpc", "metrics")]
        places = (*names, *replicas)
        self.at = dict(zip(places, free_addresses(len(places)), strict=True))

    @property
    def prometheus(self) -> str:
        return f"http://{self.at['prometheus']}"

    @property
    def triton(self) -> str:
        """The replicas, as our own services ask them."""
        return "grpc://" + ",".join(self.at[f"{name} grpc"] for name in REPLICAS)

    @property
    def scraping_options(self) -> list[str]:
        """What makes `ai102 top` scrape this stack."""
        tritons = [word for name in REPLICAS for word in ("--triton", f"{name}={self.at[f'{name} metrics']}")]
        return ["--gateway", self.at["metrics"], *tritons]

    @property
    def tls(self) -> Tls:
        return Tls(ca_file=self.folder / "build" / "gateway" / "certs" / "ca.pem")

    def write(self) -> None:
        """gateway.toml with the stack's addresses, the contract, certificates, a user."""
        text = (ROOT / "gateway.toml").read_text(encoding="utf-8")
        head, _, tail = text.partition("[[triton.replicas]]")
        _, _, tail = tail.partition("[services]")
        for name in REPLICAS:
            http, grpc = self.at[f"{name} http"], self.at[f"{name} grpc"]
            head += f"[[triton.replicas]]\nname = '{name}'\nhttp = '{http}'\ngrpc = '{grpc}'\n"
        text = f"{head}[services]{tail}"
        for port, place in (
            (8080, "rest"), (8081, "grpc"), (8404, "status"), (8405, "metrics"), (8090, "api"), (8091, "issuer"),
        ):  # fmt: skip
            text = text.replace(f"127.0.0.1:{port}", self.at[place])
        (self.folder / "gateway.toml").write_text(text, encoding="utf-8")
        for name in ("models.toml", "masking.toml"):
            (self.folder / name).write_bytes((ROOT / name).read_bytes())
        ai102(self.folder, "gateway", "certs")
        ai102(self.folder, "auth", "user", "add", "ann", "--role", "caller", typed=f"{PASSWORD}\n")

    def start_replica(self, name: str) -> Server:
        ports = {kind: int(self.at[f"{name} {kind}"].rpartition(":")[2]) for kind in ("http", "grpc", "metrics")}
        secret = secret_of(self.folder / "build" / "gateway" / "secret")
        server = Server(
            ROOT / "model_repository",
            http_port=ports["http"],
            grpc_port=ports["grpc"],
            metrics_port=ports["metrics"],
            models=MODELS,
            extra_arguments=(*restricting_arguments(secret), "--metrics-config=summary_latencies=true"),
            log=self.folder / f"replica_{name}.log",
        )
        server.start()
        self.servers[name] = server
        return server

    def stop_replicas(self) -> None:
        """Those that run now: a test may have started another in the place of one."""
        for server in self.servers.values():
            server.stop(at_once=True)

    def token(self) -> str:
        return ai102(self.folder, "auth", "token", "ann")

    def write_prometheus_config(self, rules: Sequence[Path]) -> Path:
        def job(name: str, address: str, **labels: str) -> dict[str, object]:
            return {"job_name": name, "static_configs": [{"targets": [address], "labels": labels}]}

        triton = [{"targets": [self.at[f"{name} metrics"]], "labels": {"replica": name}} for name in REPLICAS]
        config = {
            "global": {"scrape_interval": f"{EVERY_S}s", "evaluation_interval": f"{EVERY_S}s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": "triton", "static_configs": triton},
                job("gateway", self.at["metrics"]),
                job("issuer", self.at["issuer"]),
                job("api", self.at["api"]),
                job("worker", self.at["worker"]),
                job("node", self.at["node"]),
                job("prometheus", self.at["prometheus"]),
            ],
        }
        path = self.folder / "prometheus.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        return path


@contextmanager
def running(folder: Path, prometheus: Path, node_exporter: Path, rules: Sequence[Path]) -> Iterator[Stack]:
    """The whole stack, until the block ends; at the end of it Prometheus has scraped every process."""
    stack = Stack(folder)
    stack.write()
    with ExitStack() as started:
        started.callback(stack.stop_replicas)
        for name in REPLICAS:
            stack.start_replica(name)
        for log, *words in (
            ("auth.log", "auth", "serve"),
            ("api.log", "api", "serve", "--jobs", "build/jobs"),
            ("worker.log", "jobs", "work", "--url", stack.triton, "--metrics", stack.at["worker"]),
            ("gateway.log", "gateway", "run"),
        ):
            started.enter_context(command(folder, log, *words))
        started.enter_context(_program(folder, node_exporter, f"--web.listen-address={stack.at['node']}"))
        config = stack.write_prometheus_config(rules)
        started.enter_context(
            _program(
                folder, prometheus, f"--config.file={config}", f"--storage.tsdb.path={folder / 'series'}",
                f"--web.listen-address={stack.at['prometheus']}",
            )
        )  # fmt: skip
        wait_until(lambda: _scraped(stack) == JOBS, "all is scraped", READY_S)
        yield stack


@contextmanager
def _program(folder: Path, program: Path, *arguments: str) -> Iterator[Child]:
    with (folder / f"{program.name}.log").open("ab") as log:
        child = Child([str(program), *arguments], stdout=log, stderr=log, grace_s=5)
    try:
        yield child
    finally:
        child.kill()
        child.reap()


def _scraped(stack: Stack) -> set[str]:
    try:
        return {row.labels["job"] for row in instant(stack.prometheus, "min by (job) (up) == 1")}
    except NoAnswerError:
        return set()


@dataclass
class Load:
    """Callers of every pipeline over both protocols, one without a right, one whose request is wrong, one with jobs."""

    stack: Stack
    outcomes: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        images = read_samples(ROOT / "calibration" / "sets", "digits", "test").items[:64]
        token = self.stack.token()
        rest, grpc = f"https://{self.stack.at['rest']}", f"grpcs://{self.stack.at['grpc']}"
        texts = [f"A man is eating {number} pieces of bread." for number in range(8)]
        self._workers = [
            threading.Thread(target=self._run, args=arguments)
            for arguments in (
                (grpc, token, lambda client: client.classify(images[:4])),
                (rest, token, lambda client: client.classify(images[:1])),
                (grpc, token, lambda client: client.classify(images[:2], model="score_image")),
                (grpc, token, lambda client: client.embed(texts[:4])),
                (grpc, token, lambda client: client.embed(texts[:2])),
                (rest, "", lambda client: client.embed(texts[:1])),
                (rest, token, lambda client: client.infer("embed_text", {"wrong": np.zeros(3, np.uint8)})),
            )
        ]
        self._workers.append(threading.Thread(target=self._hand_in, args=(rest, token, images[:8])))

    def run_for(self, seconds: float) -> None:
        """Let so much time of load pass: rates are over time, and only time fills them."""
        ends = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() >= ends, "time passes", seconds + 1)

    def __enter__(self) -> Load:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *why: object) -> None:
        self._stop.set()
        for worker in self._workers:
            worker.join()

    def _hand_in(self, url: str, token: str, images: Sequence[bytes]) -> None:
        """Jobs, the results of which are fetched now and then."""
        with JobClient(url, token=token, tls=self.stack.tls, timeout_s=10) as client:
            while not self._stop.wait(PAUSE_S):
                try:
                    ids = client.submit_many("classify_image", images)
                    client.result(ids[0], timeout_s=10)
                    outcome = "job"
                except InferenceError as err:
                    outcome = type(err).__name__
                self.outcomes[outcome] += 1

    def _run(self, url: str, token: str, ask: Callable[[Client], Any]) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with Client(url, headers=headers, tls=self.stack.tls, timeout_s=10, retry=Retry(tries=1)) as client:
            while not self._stop.wait(PAUSE_S):
                try:
                    ask(client)
                    outcome = "ok"
                except InferenceError as err:
                    outcome = type(err).__name__
                self.outcomes[outcome] += 1
