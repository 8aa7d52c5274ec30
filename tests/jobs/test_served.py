"""Jobs as a person runs them: an API, a worker and a real Triton, each of which is killed in the middle."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai102.jobs.item import Item
from ai102.jobs.job import State
from ai102.jobs.ledger.ledger import Ledger
from tests.api.served import digit
from tests.api.served import served as api_served
from tests.gateway.conftest import wait_until
from tests.jobs.new import job
from tests.servers import Server

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
IN_TIME_S = 60.0
BLANK = [0] * 64


def until(holds: Callable[[], bool], what: str) -> None:
    wait_until(holds, what, IN_TIME_S)


@contextmanager
def triton(log: Path, http_port: int = 0, grpc_port: int = 0) -> Iterator[Server]:
    models = ["classify_image", "digits_int8", "embed_text"]
    with Server(
        ROOT / "model_repository", http_port=http_port, grpc_port=grpc_port, metrics_port=0, models=models, log=log
    ) as started:
        yield started


@contextmanager
def worker(folder: Path, url: str, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "ai102", "jobs", "work", "--jobs", str(folder), "--url", url, *options]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith("ready: does jobs"), line + process.stderr.read()
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=20)
        process.stderr.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with triton(tmp_path_factory.mktemp("jobs") / "tritonserver.log") as started:
        yield started


def pixels(number: int) -> dict[str, Any]:
    return {
        "model": "digits_int8",
        "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 8, 8], "data": [number % 17, *BLANK[1:]]}],
    }


def submitted(url: str, count: int) -> list[str]:
    ids = []
    for at in range(0, count, 100):
        answer = httpx.post(f"{url}/v1/jobs", json={"jobs": [pixels(at + one) for one in range(100)]}, timeout=30)
        assert answer.status_code == 202, answer.text
        ids += [row["id"] for row in answer.json()["jobs"]]
    return ids


def all_done(ledger: Ledger, count: int) -> bool:
    return ledger.count_by_state()[State.SUCCEEDED] == count


def test_answers_are_those_of_direct_calls(served: Server, tmp_path: Path) -> None:
    url = f"grpc://{served.grpc_url}"
    with api_served(served, ["--jobs", str(tmp_path)]) as api, worker(tmp_path, url):
        from base64 import b64encode

        images = [digit(number) for number in range(40)]
        jobs = [{"model": "classify_image", "image": b64encode(data).decode()} for data, _ in images]
        jobs += [{"model": "embed_text", "text": "hello"}, {"model": "classify_image", "image": "AAAA"}]
        rows = httpx.post(f"{api.url}/v1/jobs", json={"jobs": jobs}, timeout=30).json()["jobs"]
        done = [httpx.get(f"{api.url}/v1/jobs/{row['id']}?wait=30s", timeout=40).json() for row in rows]
        labels = [job["outputs"][0]["data"][0] for job in done[:40]]
        assert sum(label == right for label, (_, right) in zip(labels, images, strict=True)) >= 39
        assert len(done[40]["outputs"][0]["data"]) == 384
        # The one that was wrong harmed no other.
        assert (done[41]["state"], done[41]["error"][:13]) == ("failed", "These 3 bytes")


def test_no_accepted_job_is_lost_or_done_twice_when_worker_and_api_are_killed(served: Server, tmp_path: Path) -> None:
    url, options = f"grpc://{served.grpc_url}", ["--lease-s", "2"]
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    accepted: list[str] = []
    for _ in range(3):
        with api_served(served, ["--jobs", str(tmp_path)]) as api, worker(tmp_path, url, *options) as working:
            accepted += submitted(api.url, 2000)
            until(lambda: ledger.count_by_state()[State.SUCCEEDED] > 0, "a job is done")
            os.kill(working.pid, signal.SIGKILL)
            os.kill(api.process.pid, signal.SIGKILL)
    with worker(tmp_path, url, *options):
        until(lambda: all_done(ledger, len(accepted)), "all jobs are done")
    assert len(set(accepted)) == 6000
    assert ledger.ended_of(accepted) == set(accepted)
    ledger.close()


def test_jobs_go_on_after_the_queue_was_emptied(served: Server, tmp_path: Path) -> None:
    url = f"grpc://{served.grpc_url}"
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    with api_served(served, ["--jobs", str(tmp_path)]) as api:
        accepted = submitted(api.url, 1000)
    for file in tmp_path.glob("queue.db*"):
        file.unlink()
    with worker(tmp_path, url):
        until(lambda: all_done(ledger, len(accepted)), "all jobs are done")
    ledger.close()


def test_jobs_wait_for_a_triton_that_was_killed(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    with triton(tmp_path / "first.log") as first:
        http_port, grpc_port = (int(url.rpartition(":")[2]) for url in (first.http_url, first.grpc_url))
        with api_served(first, ["--jobs", str(tmp_path)]) as api, worker(tmp_path, f"grpc://{first.grpc_url}"):
            submitted(api.url, 2000)
            until(lambda: ledger.count_by_state()[State.SUCCEEDED] > 0, "a job is done")
            os.kill(first.pid, signal.SIGKILL)
            late = submitted(api.url, 500)
            with triton(tmp_path / "second.log", http_port, grpc_port):
                until(lambda: all_done(ledger, 2500), "all jobs are done")
            assert {job.attempts for job in ledger.page(None, limit=1000) if job.id in late} == {1}
    ledger.close()


def test_a_job_that_the_worker_cannot_read_is_given_up_and_others_are_done(served: Server, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.accept([job()._replace(item=Item("[no forms]", b"")), job()])
    with worker(tmp_path, f"grpc://{served.grpc_url}") as working:
        until(lambda: ledger.count_by_state()[State.DEAD] == 1, "the job is on the dead-letter list")
        until(lambda: ledger.count_by_state()[State.SUCCEEDED] == 1, "the other is done")
        assert working.poll() is None
    assert [dead.error for dead in ledger.page(None, State.DEAD)] == [
        "digits_int8: JSONDecodeError in the worker, see its log"
    ]
    ledger.close()


def test_a_worker_that_is_stopped_gives_back_what_it_holds(served: Server, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    with api_served(served, ["--jobs", str(tmp_path)]) as api:
        submitted(api.url, 3000)
        with worker(tmp_path, f"grpc://{served.grpc_url}") as working:
            until(lambda: ledger.count_by_state()[State.SUCCEEDED] > 0, "a job is done")
            working.terminate()
            assert working.wait(timeout=20) == 0
        assert ledger.count_by_state()[State.RUNNING] == 0
    ledger.close()


def test_a_second_worker_on_the_folder_is_one_line(served: Server, tmp_path: Path) -> None:
    url = f"grpc://{served.grpc_url}"
    with worker(tmp_path, url):
        command = [sys.executable, "-m", "ai102", "jobs", "work", "--jobs", str(tmp_path), "--url", url]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert second.returncode == 2
    assert second.stderr.splitlines()[-1].endswith("another worker takes jobs from it; an embedded queue has one")
