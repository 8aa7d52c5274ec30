"""`ai102 tune` and `ai102 explain` as a user runs them, against the real server; tuning works on a copy."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import InferenceServerClient

from ai102 import contract
from ai102.client import Client, bytes_array
from ai102.configs import configure
from ai102.samples.read import read_samples
from ai102.tune.candidate import candidate_of
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.long]
ROOT = Path(__file__).parent.parent.parent
QUICK = ("--seconds", "0.4", "--budget-minutes", "0.2")

# Tests that run in the background inherit an ignored SIGINT.
INTERRUPTIBLE = """import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("ai102", run_name="__main__")
"""


def ai102(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ai102", *arguments], capture_output=True, text=True, cwd=folder, timeout=180
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the contract, the sets and the built files of digits that tuning reads."""
    shutil.copy(ROOT / "models.toml", tmp_path)
    shutil.copytree(ROOT / "calibration", tmp_path / "calibration")
    shutil.copytree(
        ROOT / "model_repository", tmp_path / "model_repository", ignore=shutil.ignore_patterns("model.onnx")
    )
    for file in (ROOT / "model_repository").rglob("model.onnx"):
        if "digits" in str(file.relative_to(ROOT)):
            (tmp_path / file.relative_to(ROOT)).symlink_to(file)
    return tmp_path


def with_hops(project: Path) -> None:
    """Have Triton run the steps of each ensemble, not one process."""
    file = project / "models.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("in_one_process = true", "in_one_process = false"))
    configure.write(contract.load(file), project / "model_repository")


@contextmanager
def serving(repository: Path, models: list[str] | None) -> Iterator[Server]:
    with Server(repository, http_port=0, grpc_port=0, metrics_port=0, models=models) as server:
        yield server


def configs(server: Server, *models: str) -> list[str]:
    client = InferenceServerClient(server.grpc_url)
    try:
        return [str(client.get_model_config(model).config) for model in models]
    finally:
        client.close()


def test_a_network_is_tuned_and_the_better_config_is_written_with_its_files(project: Path) -> None:
    file = project / "models.toml"
    # No batching and a long delay: on every machine a better config exists.
    text = file.read_text(encoding="utf-8")
    slow = re.sub(r"\{ max_batch_size = 64, .*? \}", "{ max_batch_size = 1 }   # why", text, count=1)
    slow = slow.replace("warmup = { batch_sizes = [1, 64] } ", "warmup = { batch_sizes = [1] } ", 1)
    file.write_text(slow, encoding="utf-8")
    configure.write(contract.load(file), project / "model_repository")
    goal = ("--p99-ms", "2000")  # a busy machine meets it, too
    done = ai102(project, "tune", "digits", *QUICK, *goal, "--instances", "1", "--threads", "1", "--apply")
    assert done.returncode == 0, done.stdout + done.stderr
    entry = json.loads((project / "loadtest" / "capacity.json").read_text(encoding="utf-8"))["models"]["digits_int8"]
    now = contract.load(file)
    assert entry["config"] == json.loads(json.dumps(candidate_of(now.networks["digits"]).as_dict()))
    assert entry["requests_per_second_per_replica"] > 0
    assert entry["p99_ms"] <= entry["goal_p99_ms"] == 2000.0
    assert {"cpu", "cores", "server_cores"} <= entry["machine"].keys()
    assert entry["versions"]["tritonserver"].startswith("2.")
    assert configure.drift(now, project / "model_repository") == []
    comments = [line.partition("#")[2] for line in slow.splitlines()]
    assert [line.partition("#")[2] for line in file.read_text(encoding="utf-8").splitlines()] == comments


@pytest.mark.parametrize(
    "models", [("classify_image",), ("classify_image", "digits_int8", "digits_decode", "digits_label")], ids=len
)
def test_an_ensemble_is_tuned_by_the_network_inside_it_and_the_server_gets_its_configs_back(
    models: tuple[str, ...], project: Path
) -> None:
    if len(models) > 1:
        with_hops(project)
    before = (project / "models.toml").read_text(encoding="utf-8")
    with serving(project / "model_repository", ["classify_image"]) as server:
        original_configs = configs(server, *models)
        done = ai102(project, "tune", "classify_image", *QUICK, "--p99-ms", "200", "--url", f"grpc://{server.grpc_url}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert configs(server, *models) == original_configs
    capacity = json.loads((project / "loadtest" / "capacity.json").read_text(encoding="utf-8"))["models"]
    assert (capacity.keys(), capacity["classify_image"]["tuned_model"]) == ({"classify_image"}, "digits_int8")
    assert (project / "models.toml").read_text(encoding="utf-8") == before


def test_an_interrupt_puts_the_server_back_and_writes_nothing(project: Path) -> None:
    models = ("classify_image", "digits_int8", "digits_decode")
    with_hops(project)
    before = (project / "models.toml").read_text(encoding="utf-8")
    with serving(project / "model_repository", ["classify_image"]) as server:
        original_configs = configs(server, *models)
        options = ("--p99-ms", "200", "--max-batch-size", "4", "--apply", "--url", f"grpc://{server.grpc_url}")
        running = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, "tune", "classify_image", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=project,
        )
        deadline = time.monotonic() + 60
        while configs(server, *models) == original_configs:  # until a candidate is served
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < deadline
        os.kill(running.pid, signal.SIGINT)
        _, message = running.communicate(timeout=60)
        assert configs(server, *models) == original_configs
    assert (running.returncode, "Traceback" in message) == (130, False), message
    assert (project / "models.toml").read_text(encoding="utf-8") == before
    assert not (project / "loadtest").exists()


def test_a_goal_out_of_reach_is_one_line_and_exit_3(project: Path) -> None:
    done = ai102(project, "tune", "digits", "--p99-ms", "0.01", "--seconds", "0.2", "--budget-minutes", "0.1")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert "a p99 of 0.01 ms is out of reach" in done.stderr
    assert "lowest seen" in done.stderr
    assert not (project / "loadtest").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "nope"], "nope is neither a network nor an ensemble of models.toml"),
        (["tune", "digits", "--p99-ms", "0"], "--p99-ms is 0"),
        (["tune", "digits", "--threads", "1,x"], '--threads is "1,x": write whole numbers'),
        (["tune", "digits", "--url", "grpc://127.0.0.1:1"], "no Triton answers"),
        (["explain", "--url", "grpc://127.0.0.1:1"], "no Triton answers"),
        (["explain", "--url", "nonsense"], "is no address of a Triton"),
        (["explain", "--seconds", "-1"], "--seconds is -1"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(arguments: list[str], message: str) -> None:
    done = ai102(ROOT, *arguments)
    assert (done.returncode, done.stderr.count("\n"), message in done.stderr) == (2, 1, True), done.stderr


def test_a_server_without_explicit_model_control_is_reported(project: Path) -> None:
    for folder in (project / "model_repository").iterdir():
        if not folder.name.startswith("digits"):
            shutil.rmtree(folder)
    with serving(project / "model_repository", None) as server:
        done = ai102(project, "tune", "digits", *QUICK, "--url", f"http://{server.http_url}")
        missing = ai102(project, "explain", "nope", "--url", f"http://{server.http_url}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "not in explicit model control mode" in done.stderr
    assert (missing.returncode, "has no model nope; it has digits_decode" in missing.stderr) == (2, True)


def test_explain_finds_a_client_that_waits_for_each_answer_and_clients_that_do_not(project: Path) -> None:
    items = read_samples(ROOT / "calibration" / "sets", "digits", "test").items[:50]
    explained = {}
    with serving(project / "model_repository", ["classify_image_steps"]) as server:
        url = f"grpc://{server.grpc_url}"
        for clients in (1, 24):
            with asked_by(clients, url, items):
                explained[clients] = explanation(url)
                # Other work on the machine can fill the time of one look.
                for _ in range(5):
                    if clients == 1 and "one_process_is_faster" not in explained[1][1]:
                        explained[1] = explanation(url)
        address = ["--url", f"http://{server.http_url}", "--metrics-url", f"http://{server.metrics_url}"]
        words = ai102(ROOT, "explain", *address, "--seconds", "0")
    assert "one_in_flight" in explained[1][1]
    assert "one_in_flight" not in explained[24][1]
    assert "one_process_is_faster" in explained[1][1]
    assert explained[1][0]["steps"] == ["digits_decode", "digits_int8", "digits_label"]
    assert min(entry["requests"] for entry, _ in explained.values()) > 0
    assert words.returncode == 0, words.stderr
    assert "classify_image_steps:" in words.stdout
    assert re.search(r"^digits_int8: .*, computed by (ONNX Runtime|OpenVINO) [\d.]+$", words.stdout, re.M)


def explanation(url: str) -> tuple[dict[str, Any], set[str]]:
    """What `ai102 explain` says of the ensemble in a second and a half, and the rules that apply."""
    done = ai102(ROOT, "explain", "classify_image_steps", "--url", url, "--seconds", "1.5", "--json")
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)
    return entry, {finding["rule"] for finding in entry["findings"]}


@contextmanager
def asked_by(clients: int, url: str, items: tuple[bytes, ...]) -> Iterator[None]:
    """Load from `clients` clients during the block; each waits for its answers."""
    is_over = threading.Event()
    with Client(url) as client:

        def ask() -> None:
            while not is_over.is_set():
                for item in items:
                    client.infer("classify_image_steps", {"image": bytes_array([item])})

        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
