"""Two real servers that get the same calls, as from a mesh that mirrors them, and the gate that their records go to."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tritonclient.grpc
import tritonclient.http
import uvicorn
from starlette.testclient import TestClient

from ai102.client import bytes_array
from ai102.contract import load
from ai102.host.listen import tcp_listener, url_of
from ai102.judging.judgement import Judgement
from ai102.judging.live import receiver
from ai102.judging.live.joining import Joiner
from ai102.judging.live.trial import Trial
from ai102.judging.subject import subjects_of
from ai102.judging.webhook import Canary, Gate, Kept, app_for
from ai102_runtime.recording import GATES_OWN
from tests.judging.bad.repository import RELEASES, ROOT, copied
from tests.judging.test_webhook import answered, ask
from tests.servers import Server

pytestmark = pytest.mark.e2e
MODELS = ("classify_image", "score_image", "embed_text")
CALLS = 120  # of each model; of embeddings a quarter
WITHIN_S = 60
# As docker/start-tritonserver.sh gives them where AI102_ANSWERS_URL is set.
FORWARDED = tuple(f"--{protocol}-header-forward-pattern=^x-request-id$" for protocol in ("http", "grpc"))


def promoted(judgement: Judgement, look: object, trial: Trial | None) -> Judgement:
    judgement.verdict, judgement.reason, judgement.is_over = "promote", "samples", True
    return judgement


@dataclass
class Site:
    client: TestClient  # of the gate's hooks
    gate: Gate
    answers_url: str

    @property
    def trial(self) -> Trial:
        kept = self.gate.kept(Canary("models", "triton"))
        assert kept is not None
        assert kept.trial is not None
        return kept.trial


@contextmanager
def site() -> Iterator[Site]:
    """A gate that promotes by its samples at once."""

    def trial() -> Trial:
        return Trial(CALLS, joiner=Joiner(time.monotonic, kept_s=6.0, settled_s=2.5))

    def keep(canary: Canary, kept: Kept) -> None:
        """Nothing is kept."""

    gate = Gate(lambda: Judgement("grpc://canary", "grpc://primary", 1.0), promoted, keep, trial)
    listener = tcp_listener("127.0.0.1:0", backlog=64, named="answers")
    service = uvicorn.Server(uvicorn.Config(receiver.app_for(gate.take), log_level="error", lifespan="off"))
    thread = threading.Thread(target=service.run, args=([listener],))
    thread.start()
    try:
        yield Site(TestClient(app_for(gate)), gate, f"{url_of(listener)}/answers")
    finally:
        service.should_exit = True
        thread.join(10)
        gate.close()


def server(repository: Path, pod: str, answers_url: str, log: Path) -> Server:
    """It reads its environment when it starts, and so do its models' processes."""
    with mock.patch.dict(os.environ, {"HOSTNAME": pod, "AI102_ANSWERS_URL": answers_url}):
        started = Server(repository, http_port=0, grpc_port=0, metrics_port=0, extra_arguments=FORWARDED, log=log)
        started.start()
        return started


def item_of(model: str, number: int) -> bytes:
    items = items_of("minilm" if model == "embed_text" else "digits")
    return items[number % len(items)]


@cache
def items_of(network: str) -> tuple[bytes, ...]:
    return subjects_of(load(ROOT / "models.toml"), ROOT / "calibration" / "sets", [network], 128)[0].items


def call(protocol: Any, client: Any, model: str, item: bytes, request_id: str) -> None:
    tensor = protocol.InferInput("text" if model == "embed_text" else "image", [1, 1], "BYTES")
    tensor.set_data_from_numpy(bytes_array([item]))
    # Triton's own id is another one in each copy and must not count.
    headers = {"x-request-id": request_id} if request_id else {}
    client.infer(model, [tensor], headers=headers, request_id=uuid.uuid4().hex)


def mirrored(servers: list[Server], models: tuple[str, ...]) -> None:
    """Each call goes to both by the same protocol with the same id, half of them by HTTP and half by gRPC."""
    http = [(tritonclient.http, tritonclient.http.InferenceServerClient(one.http_url)) for one in servers]
    grpc = [(tritonclient.grpc, tritonclient.grpc.InferenceServerClient(one.grpc_url)) for one in servers]
    for number in range(CALLS):
        for model in models if number % 4 == 0 else models[:2]:
            request_id = str(uuid.uuid4())
            for protocol, client in http if number % 2 else grpc:
                call(protocol, client, model, item_of(model, number), request_id)
    for protocol, client in http + grpc:
        # Of the gate itself, and of a sealed model: not recorded.
        call(protocol, client, models[0], item_of(models[0], 0), GATES_OWN)
        call(protocol, client, models[0], item_of(models[0], 0), "")
        with pytest.raises(Exception, match=r"image|decode|identify"):
            call(
                protocol,
                client,
                "classify_image",
                b"no image",
                "the-same-refusal" if protocol is tritonclient.http else "another",
            )
        client.close()


def until_all_are_joined_or_forgotten(trial: Trial) -> None:
    deadline, tick = time.monotonic() + WITHIN_S, threading.Event()
    while trial.look() is not None and (trial.joiner.kept or not trial.joiner.joined):
        assert time.monotonic() < deadline, trial.as_dict()
        tick.wait(0.1)


@pytest.mark.parametrize("name", ["unchanged", "labels shuffled"])
def test_answers_to_mirrored_calls_are_joined_and_stop_a_bad_release_alone(name: str, tmp_path: Path) -> None:
    is_good = name == "unchanged"
    models = MODELS if is_good else MODELS[:2]
    pipeline, change = RELEASES[name]
    in_service, on_trial = copied(tmp_path / "primary", *models), copied(tmp_path / "canary", *models)
    change(on_trial / pipeline)
    with site() as here, ExitStack() as stack:
        answered(here.client, "rollout", 200)
        servers = []
        for folder, pod in ((in_service, "triton-primary-5f6c7d8e9-aaaaa"), (on_trial, "triton-7c9d8f6b5-x2x4z")):
            servers.append(server(folder, pod, here.answers_url, tmp_path / f"{pod}.log"))
            stack.callback(servers[-1].stop, at_once=True)
        mirrored(servers, models)
        until_all_are_joined_or_forgotten(here.trial)
        facts = here.trial.as_dict()
        # Two refusals more, one by each protocol.
        assert facts["joined"] == CALLS * 2 + (CALLS // 4 if is_good else 0) + 2
        assert (facts["joined_percent"], facts["dropped_by_pods"], facts["repeated"]) == (100.0, 0, 0)
        seen = {one["subject"]: one for one in facts["findings"] if one["check"] == "live answers"}
        assert seen.keys() == set(models)
        status, text = ask(here.client, "rollback")
        if is_good:
            assert {one["facts"]["differing percent"] for one in seen.values()} == {0.0}
            assert seen["embed_text"]["facts"]["least cosine, estimated"] > 0.99
            assert (status, ask(here.client, "confirm-promotion")) == (409, (200, "promote: samples"))
        else:
            assert (seen["classify_image"]["state"], seen["score_image"]["state"]) == ("stop", "quiet")
            assert (status, ask(here.client, "confirm-promotion")[0]) == (200, 412)
            assert text.startswith("stop: on live traffic: classify_image: live answers: ")
