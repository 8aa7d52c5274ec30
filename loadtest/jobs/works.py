"""What is measured, each a function that returns its figures."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ai102.client import AsyncClient, Client
from ai102.jobs.job import State
from ai102.jobs.ledger.ledger import Ledger
from ai102.serve.server import Server
from loadtest.jobs.stack import ROOT, Engine, api, emptied, worker
from loadtest.jobs.wire import Connection, Sent, flood, request

MODEL = "digits_int8"
CONNECTIONS = 8
SECONDS = 10.0


def pixels() -> list[int]:
    return [random.randrange(17) for _ in range(64)]


def job() -> dict[str, Any]:
    """Some 250 bytes of JSON, of which 64 numbers are the input."""
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 8, 8], "data": pixels()}
    return {"model": MODEL, "inputs": [tensor]}


def calls(jobs: int, count: int = 20) -> list[bytes]:
    """Different calls of so many jobs each."""
    bodies = [job() if jobs == 1 else {"jobs": [job() for _ in range(jobs)]} for _ in range(count)]
    return [request("/v1/jobs", json.dumps(body, separators=(",", ":")).encode()) for body in bodies]


@contextmanager
def triton() -> Iterator[Server]:
    models = [MODEL, "classify_image"]
    with Server(ROOT / "model_repository", http_port=0, grpc_port=0, metrics_port=0, models=models) as server:
        yield server


def accepted(engine: Engine, jobs: int) -> dict[str, float]:
    """Jobs a second that the API accepts in calls of so many, while nobody does them."""
    with emptied(engine) as (where, ledger), api(where.api) as (program, address):
        messages = calls(jobs)
        flood(address, messages, CONNECTIONS, 1.0)
        before, cpu_s = ledger.count_by_state()[State.QUEUED], program.cpu_s
        sent = flood(address, messages, CONNECTIONS, SECONDS)
        count = ledger.count_by_state()[State.QUEUED] - before
        assert count == sent.requests * jobs, f"{count} rows for {sent.requests} calls of {jobs}"
        return {
            "jobs_per_s": round(count / sent.seconds),
            "p50_ms": _ms(sent, 0.5),
            "p99_ms": _ms(sent, 0.99),
            "api_cpu_us_per_job": round((program.cpu_s - cpu_s) / count * 1e6, 1),
            "api_mb": round(program.memory_mb),
        }


def done(engine: Engine, count: int = 50_000) -> dict[str, float]:
    """Jobs a second that a worker does, against direct calls of full batches by one client, in one run."""
    with triton() as server, emptied(engine) as (where, ledger), api(where.api) as (_, address):
        connection = Connection(address)
        (message,) = calls(1000, 1)
        for _ in range(count // 1000):
            connection.ask(message)
        connection.close()
        direct = _direct_rate(f"grpc://{server.grpc_url}")
        with worker(where.worker, f"grpc://{server.grpc_url}") as program:
            began, first = time.perf_counter(), _succeeded(ledger)
            while (last := _succeeded(ledger)) < count:
                time.sleep(0.05)
            rate = (last - first) / (time.perf_counter() - began)
            memory = program.memory_mb
        again = _direct_rate(f"grpc://{server.grpc_url}")
        return {
            "jobs_per_s": round(rate),
            "direct_per_s": round((direct + again) / 2),
            "ratio": round(rate / ((direct + again) / 2), 3),
            "worker_mb": round(memory),
        }


def done_texts(engine: Engine, count: int = 3_000) -> dict[str, float]:
    """The same with a network that computes for a while: texts of nine words, full batches of embed_text."""
    models = ["embed_text"]
    text = "A man is eating food in the new kitchen."
    call = request("/v1/jobs", json.dumps({"jobs": [{"model": "embed_text", "text": text}] * 1000}).encode())
    with (
        Server(ROOT / "model_repository", http_port=0, grpc_port=0, metrics_port=0, models=models) as server,
        emptied(engine) as (where, ledger),
        api(where.api) as (_, address),
    ):
        url = f"grpc://{server.grpc_url}"
        rows = np.array([[text.encode()]] * 32, object)
        connection = Connection(address)
        for _ in range(count // 1000):
            connection.ask(call)
        connection.close()
        direct = _rate(url, "embed_text", {"text": rows}, 10.0)
        with worker(where.worker, url):
            began, first = time.perf_counter(), _succeeded(ledger)
            while (last := _succeeded(ledger)) < count:
                time.sleep(0.05)
            rate = (last - first) / (time.perf_counter() - began)
        direct = (direct + _rate(url, "embed_text", {"text": rows}, 10.0)) / 2
        return {"jobs_per_s": round(rate), "direct_per_s": round(direct), "ratio": round(rate / direct, 3)}


def idle(engine: Engine, count: int = 200) -> dict[str, float]:
    """From handing in to having the result of one job, over a direct call, where nothing else goes on."""
    with triton() as server, emptied(engine) as (where, _), api(where.api) as (_, address):
        url = f"grpc://{server.grpc_url}"
        with worker(where.worker, url), Client(url, shared_memory=False) as client:
            connection = Connection(address)
            direct, through = [], []
            for place in range(count + 20):
                row = np.array(pixels(), np.uint8).reshape(1, 1, 8, 8)
                began = time.perf_counter()
                client.infer(MODEL, {"pixels": row})
                middle = time.perf_counter()
                (message,) = calls(1, 1)
                began_job = time.perf_counter()
                id = json.loads(connection.ask(message))["id"]
                answer = json.loads(connection.ask(_get(f"/v1/jobs/{id}?wait=10s"), b"200"))
                assert answer["state"] == "succeeded", answer
                if place >= 20:
                    direct.append(middle - began)
                    through.append(time.perf_counter() - began_job)
            connection.close()
        over = statistics.median(through) - statistics.median(direct)
        return {
            "direct_p50_ms": round(statistics.median(direct) * 1e3, 2),
            "job_p50_ms": round(statistics.median(through) * 1e3, 2),
            "over_ms": round(over * 1e3, 2),
        }


def polite(engine: Engine, rounds: int = 3, waiting: int = 200_000) -> dict[str, Any]:
    """p99 of direct calls with a Poisson arrival, alone and while jobs wait and are done; rounds alternate."""
    image = _image()
    with triton() as server, emptied(engine) as (where, ledger), api(where.api) as (_, address):
        url = f"grpc://{server.grpc_url}"
        connection = Connection(address)
        (message,) = calls(1000, 1)
        for _ in range(waiting // 1000):
            connection.ask(message)
        connection.close()
        alone, beside, done_jobs = [], [], 0
        for _ in range(rounds):
            alone.append(asyncio.run(_poisson(url, image, 10.0)))
            with worker(where.worker, url):
                asyncio.run(_poisson(url, image, 2.0))
                before = _succeeded(ledger)
                beside.append(asyncio.run(_poisson(url, image, 10.0)))
                done_jobs += _succeeded(ledger) - before
        assert _succeeded(ledger) < waiting, "all jobs were done: hand in more"
        p99 = [(_quantile(one, 0.99), _quantile(other, 0.99)) for one, other in zip(alone, beside, strict=True)]
        return {
            "alone_p99_ms": [round(one * 1e3, 2) for one, _ in p99],
            "beside_p99_ms": [round(other * 1e3, 2) for _, other in p99],
            "ratio": round(statistics.median(other / one for one, other in p99), 3),
            "p50_ratio": round(statistics.median(
                statistics.median(other) / statistics.median(one) for one, other in zip(alone, beside, strict=True)
            ), 3),
            "jobs_per_s_beside": round(done_jobs / (10.0 * rounds)),
            "direct_per_s": RATE,
        }  # fmt: skip


RATE = 200.0


async def _poisson(url: str, image: bytes, seconds: float) -> list[float]:
    """Latencies of direct calls that arrive at RATE a second, whether earlier ones have ended or not."""
    latencies: list[float] = []
    chance = random.Random(7)
    async with AsyncClient(url, shared_memory=False) as client:

        async def one(due: float) -> None:
            await client.classify([image])
            latencies.append(time.perf_counter() - due)

        await client.classify([image])
        tasks, due = [], time.perf_counter()
        ends = due + seconds
        while due < ends:
            due += chance.expovariate(RATE)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(due)))
        await asyncio.gather(*tasks)
    return latencies


def waiting_memory(engine: Engine, count: int = 1_000_000) -> dict[str, float]:
    """Resident memory of API and worker with so many jobs waiting, and how long handing them in took."""
    with triton() as server, emptied(engine) as (where, ledger), api(where.api) as (program, address):
        messages = calls(1000, 4)
        began = time.perf_counter()
        threads = [threading.Thread(target=_hand, args=(address, messages, count // 4000)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
        assert ledger.count_by_state()[State.QUEUED] == count
        with worker(where.worker, f"grpc://{server.grpc_url}") as working:
            time.sleep(10)
            return {
                "jobs": count,
                "jobs_per_s": round(count / took),
                "api_mb": round(program.memory_mb),
                "worker_mb": round(working.memory_mb),
            }


def _hand(address: str, messages: list[bytes], count: int) -> None:
    connection = Connection(address)
    for place in range(count):
        connection.ask(messages[place % len(messages)])
    connection.close()


def _direct_rate(url: str, seconds: float = 5.0) -> float:
    rows = np.array([pixels() for _ in range(64)], np.uint8).reshape(64, 1, 8, 8)
    return _rate(url, MODEL, {"pixels": rows}, seconds)


def _rate(url: str, model: str, batch: dict[str, np.ndarray[Any, Any]], seconds: float) -> float:
    """Items a second of two calls at once, each with a full batch."""
    size = len(next(iter(batch.values())))

    async def go() -> float:
        async with AsyncClient(url, shared_memory=False) as client:
            await client.infer(model, batch)
            count, began = 0, time.perf_counter()

            async def one() -> None:
                nonlocal count
                while time.perf_counter() < began + seconds:
                    await client.infer(model, batch)
                    count += size

            await asyncio.gather(one(), one())
            return count / (time.perf_counter() - began)

    return asyncio.run(go())


def _image() -> bytes:
    from tests.api.served import digit

    return digit(3)[0]


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: api\r\n\r\n".encode()


def _succeeded(ledger: Ledger) -> int:
    return ledger.count_by_state()[State.SUCCEEDED]


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _ms(sent: Sent, share: float) -> float:
    return round(_quantile(sent.latencies_s, share) * 1e3, 2)


def folder_of_results() -> Path:
    return ROOT / "build" / "jobs-bench"
