"""Locust's command line against a real tritonserver."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from ai102.client import Client
from loadtest.payloads import targets
from tests.e2e.conftest import write_repository
from tests.ports import free_port
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.waits]
ROOT = Path(__file__).parent.parent.parent
LOCUST = (sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py"))
EVERYTHING_GOES = ("--slo-p99-ms", "60000", "--slo-error-percent", "0")
# A failing server: returns each image's label, one at a time, each after SECONDS; after COUNT answers, LATER.
DOUBTFUL = """
import hashlib, json, time
from pathlib import Path
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.labels = json.loads((Path(__file__).parent / "labels.json").read_text())
        self.count = 0

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        time.sleep(SECONDS)
        self.count += 1
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1)[0]
        label = self.labels[hashlib.sha256(image).hexdigest()] if self.count <= COUNT else LATER
        return pb_utils.InferenceResponse([
            pb_utils.Tensor("label", np.array([[label.encode()]], np.object_)),
            pb_utils.Tensor("score", np.ones((1, 1), np.float32)),
        ])
"""
WRONG, AN_ERROR = "'none'", "1 / 0"
CONFIG = """
backend: "python"
max_batch_size: 1
input { name: "image" data_type: TYPE_STRING dims: 1 }
output { name: "label" data_type: TYPE_STRING dims: 1 }
output { name: "score" data_type: TYPE_FP32 dims: 1 }
"""


@dataclass(frozen=True)
class Run:
    status: int
    log: str
    summary: dict[str, Any]


def run(folder: Path, *words: str) -> Run:
    """Run Locust, headless, in its own folder, until it ends."""
    command = [*LOCUST, "--headless", "--only-summary", "--contract", str(ROOT / "models.toml"), *words]
    done = subprocess.run(
        [*command, "--summary", "summary.json"], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    file = folder / "summary.json"
    return Run(done.returncode, done.stdout + done.stderr, json.loads(file.read_text()) if file.is_file() else {})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "tritonserver.log"
    models = ["classify_image", "embed_text"]
    with Server(ROOT / "model_repository", http_port=0, grpc_port=0, metrics_port=0, models=models, log=log) as started:
        yield started


@pytest.fixture
def doubtful(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    seconds, count, later = request.param
    (target,) = targets(ROOT / "models.toml", "images", (), 8)
    labels = {hashlib.sha256(payload.data).hexdigest(): payload.label for payload in target.payloads}
    code = DOUBTFUL.replace("SECONDS", str(seconds)).replace("COUNT", str(count)).replace("LATER", later)
    files = {"config.pbtxt": CONFIG, "1/model.py": code, "1/labels.json": json.dumps(labels)}
    repository = write_repository(tmp_path / "repository", {"classify_image": files})
    with Server(repository, http_port=0, grpc_port=0, metrics_port=0, log=tmp_path / "log") as started:
        yield started


def test_a_closed_loop_over_grpc_meets_its_goals_and_leaves_all_its_files(server: Server, tmp_path: Path) -> None:
    files = ("--csv", "out/run", "--html", "out/run.html")
    host = f"grpc://{server.grpc_url}"
    done = run(
        tmp_path, "--host", host, "-u", "2", "-r", "2", "-t", "3", "--check-share", "1", *files, *EVERYTHING_GOES
    )
    assert done.status == 0, done.log
    assert done.summary["verdict"] == "passed"
    assert list(done.summary["results"]) == ["grpc classify_image", "grpc embed_text"]
    requests = sum(row["requests"] for row in done.summary["results"].values())
    assert done.summary["counts"]["answers_checked"] == requests > 10
    assert done.summary["counts"]["answers_wrong"] == 0
    assert done.summary["counts"]["arrivals_not_sent"] == "not measured: a closed loop has no arrivals"
    assert done.summary["servers"] == {host: "triton 2.51.0"}
    with (tmp_path / "out" / "run_stats.csv").open() as file:
        assert [row["Name"] for row in csv.DictReader(file)] == ["classify_image", "embed_text", "Aggregated"]
    assert "classify_image" in (tmp_path / "out" / "run.html").read_text()


def test_poisson_arrivals_over_http_are_all_counted(server: Server, tmp_path: Path) -> None:
    load = ("--arrivals", "poisson", "--rate", "30", "-t", "4", "--what", "text")
    done = run(tmp_path, "--host", f"http://{server.http_url}", *load, *EVERYTHING_GOES)
    assert done.status == 0, done.log
    assert list(done.summary["results"]) == ["http embed_text"]
    assert 70 <= done.summary["results"]["http embed_text"]["requests"] <= 170  # 120 and 4.5 standard deviations
    assert done.summary["counts"]["arrivals_not_sent"] == 0


def test_a_shape_over_both_protocols_ends_by_itself(server: Server, tmp_path: Path) -> None:
    urls = ("--host", f"http://{server.http_url}", "--grpc-url", f"grpc://{server.grpc_url}")
    done = run(tmp_path, *urls, "--shape", "step", "--steps", "2", "-u", "4", "-t", "4", *EVERYTHING_GOES)
    assert done.status == 0, done.log
    assert set(done.summary["results"]) == {
        f"{protocol} {model}" for protocol in ("http", "grpc") for model in ("classify_image", "embed_text")
    }
    assert "updating to 2 users" in done.log
    assert "updating to 4 users" in done.log


def test_a_missed_goal_is_named_and_makes_the_exit_status_1(server: Server, tmp_path: Path) -> None:
    load = ("--host", f"grpc://{server.grpc_url}", "-t", "2", "--what", "images", "--slo-min-rps", "1000000")
    done = run(tmp_path, *load, *EVERYTHING_GOES)
    assert done.status == 1
    assert "SLO met: failed requests" in done.log
    assert "SLO MISSED: good answers: " in done.log
    assert [gate["what"] for gate in done.summary["gates"] if not gate["passed"]] == ["good answers"]


@pytest.mark.parametrize("doubtful", [(0, 8, WRONG)], indirect=True)
def test_a_wrong_answer_under_load_is_a_failure_of_its_own(doubtful: Server, tmp_path: Path) -> None:
    load = ("-t", "2", "--models", "classify_image", "--samples", "8", "--check-share", "1")
    done = run(tmp_path, "--host", f"grpc://{doubtful.grpc_url}", *load, *EVERYTHING_GOES)
    assert done.status == 1, done.log
    row = done.summary["results"]["grpc classify_image"]
    assert row["failures"] == row["requests"] == done.summary["counts"]["answers_wrong"] > 0
    (error,) = done.summary["errors"]
    assert "wrong answer" in error["error"]
    assert error["occurrences"] == row["requests"]


@pytest.mark.parametrize("doubtful", [(0, 8, AN_ERROR)], indirect=True)
def test_quick_failures_have_no_response_times(doubtful: Server, tmp_path: Path) -> None:
    load = ("-t", "2", "--models", "classify_image", "--samples", "8")
    done = run(tmp_path, "--host", f"http://{doubtful.http_url}", *load, *EVERYTHING_GOES)
    assert done.status == 1, done.log
    row = done.summary["results"]["http classify_image"]
    assert row["failures"] == row["requests"] > 0
    assert row["p99_ms"] == "not measured: no answer"
    assert "SLO MISSED: p99 of classify_image over http: not measured: no answer" in done.log


@pytest.mark.parametrize("doubtful", [(0, 3, WRONG)], indirect=True)
def test_a_server_with_another_model_gets_no_load(doubtful: Server, tmp_path: Path) -> None:
    host = f"grpc://{doubtful.grpc_url}"
    done = run(tmp_path, "--host", host, "--models", "classify_image", "--samples", "8", "-t", "2")
    assert done.status == 2
    assert f"loadtest: classify_image at {host} finds 3 of 8 labels: not the model that" in done.log


@pytest.mark.parametrize("doubtful", [(0.1, 10_000, WRONG)], indirect=True)
def test_requests_of_an_open_loop_do_not_wait_for_answers(doubtful: Server, tmp_path: Path) -> None:
    # 40 per second to a server with 10 per second: the last of 80 waits for those before it.
    load = ("--arrivals", "constant", "--rate", "40", "-t", "2", "--models", "classify_image", "--samples", "8")
    done = run(tmp_path, "--host", f"http://{doubtful.http_url}", *load, *EVERYTHING_GOES)
    assert done.status == 0, done.log
    row = done.summary["results"]["http classify_image"]
    assert row["requests"] >= 20  # of 80; a busy machine ends the two seconds before all were sent, or later
    assert row["max_ms"] > 1000 * row["requests"] / 10 - 2500


@pytest.mark.parametrize("doubtful", [(0.1, 10_000, WRONG)], indirect=True)
def test_an_arrival_beyond_the_limit_is_a_failure_not_a_gap(doubtful: Server, tmp_path: Path) -> None:
    load = ("--arrivals", "constant", "--rate", "40", "-t", "2", "--models", "classify_image", "--samples", "8")
    done = run(tmp_path, "--host", f"grpc://{doubtful.grpc_url}", *load, "--max-in-flight", "2", *EVERYTHING_GOES)
    assert done.status == 1
    row = done.summary["results"]["grpc classify_image"]
    assert row["requests"] >= 20  # of 80; a busy machine ends the two seconds before all were sent, or later
    assert row["failures"] == done.summary["counts"]["arrivals_not_sent"] > row["requests"] / 2
    assert [error["error"] for error in done.summary["errors"]] == [
        "grpc classify_image: NotSentError('not sent: 2 requests were in flight')"
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--host grpc://127.0.0.1:1", "loadtest: grpc://127.0.0.1:1: no Triton answers"),
        ("--host 127.0.0.1:8001", 'loadtest: "127.0.0.1:8001" is no address of a Triton: write http://HOST:PORT'),
        ("--host grpc://127.0.0.1:1 --models nosuch", "loadtest: nosuch is no ensemble of models.toml"),
    ],
)
def test_a_mistake_or_a_dead_server_is_one_line_before_any_load(words: str, sentence: str, tmp_path: Path) -> None:
    done = run(tmp_path, "--timeout-s", "5", *words.split())
    assert done.status == 2
    (error_line,) = [line for line in done.log.splitlines() if line.startswith("loadtest:")]
    assert error_line.startswith(sentence)
    assert "Traceback" not in done.log
    assert done.summary == {}


def run_with_a_worker(folder: Path, *words: str) -> Run:
    """Run Locust as a master, headless, with one worker, which ends with its master."""
    port = str(free_port())
    with (folder / "worker.log").open("w") as log:
        worker = subprocess.Popen(
            [*LOCUST, "--worker", "--master-port", port], cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        as_master = ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", "1")
        done = run(folder, *as_master, *words)
        assert worker.wait(timeout=30) == 0, (folder / "worker.log").read_text()
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    return done


def test_a_master_checks_the_goals_of_its_workers(server: Server, tmp_path: Path) -> None:
    load = ("--host", f"grpc://{server.grpc_url}", "-u", "2", "-r", "2", "-t", "6", "--check-share", "1")
    done = run_with_a_worker(tmp_path, *load, *EVERYTHING_GOES)
    assert done.status == 0, done.log
    assert done.summary["load"]["workers"] == 1
    requests = sum(row["requests"] for row in done.summary["results"].values())
    assert done.summary["counts"]["answers_checked"] == requests > 10


@pytest.mark.parametrize("doubtful", [(1, 10_000, WRONG)], indirect=True)
def test_answers_that_workers_wait_for_at_the_end_are_counted(doubtful: Server, tmp_path: Path) -> None:
    load = (
        "--host",
        f"grpc://{doubtful.grpc_url}",
        "--models",
        "classify_image",
        "--samples",
        "1",
        "-u",
        "3",
        "-r",
        "3",
    )
    done = run_with_a_worker(tmp_path, *load, "-t", "6", *EVERYTHING_GOES)
    assert done.status == 0, done.log
    with Client(f"grpc://{doubtful.grpc_url}") as client:
        (model,) = client.statistics("classify_image")
    asked_before_load = 2  # by the master and by the worker
    assert done.summary["results"]["grpc classify_image"]["requests"] == model["inference_count"] - asked_before_load


def test_the_web_page_starts_a_run_and_its_goals_are_checked(server: Server, tmp_path: Path) -> None:
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    goals = ("--host", f"grpc://{server.grpc_url}", "--what", "images", "--summary", "summary.json", *EVERYTHING_GOES)
    command = [*LOCUST, "--web-host", "127.0.0.1", "--web-port", str(port), "--contract", str(ROOT / "models.toml")]
    with (tmp_path / "log").open("w") as log:
        locust = subprocess.Popen(
            [*command, *goals], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        html = wait_for(lambda: get(f"{page}/"))
        assert "arrivals" in html
        form = urlencode({"user_count": 2, "spawn_rate": 2, "host": f"grpc://{server.grpc_url}", "check_share": "1.0"})
        assert json.loads(get(f"{page}/swarm", form))["success"]
        wait_for(lambda: json.loads(get(f"{page}/stats/requests"))["total_rps"] > 0)
        get(f"{page}/stop", "")
        locust.terminate()
        assert locust.wait(timeout=60) == 0, (tmp_path / "log").read_text()
    finally:
        if locust.poll() is None:
            os.killpg(locust.pid, signal.SIGKILL)
            locust.wait()
    report = json.loads((tmp_path / "summary.json").read_text())
    assert report["verdict"] == "passed"
    assert report["counts"]["answers_checked"] == report["results"]["grpc classify_image"]["requests"] > 0


def get(url: str, form: str | None = None) -> str:
    with urlopen(url, data=None if form is None else form.encode(), timeout=60) as answer:
        return str(answer.read().decode())


def wait_for(question: Any, timeout_s: float = 60.0) -> Any:
    """The first true result of `question`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if answer := question():
                return answer
        except (URLError, ConnectionError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"nothing within {timeout_s:g} s")
