"""Jobs handed in through the gateway at a steady rate, and fetched at the end.

`python -m tests.cluster.jobs.handing_in` reads an order as the first line of its standard input, says "ready" once a
job was done, and hands in jobs until its standard input ends. Then it fetches every result, and writes to the order's
file what became of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ai102.artifact import write_text
from ai102.client import AsyncClient, AsyncJobClient, Retry, Tls, bytes_array
from tests.cluster.calls.asking import INPUT, MODEL, OUTPUT, Place

# Different enough for each answer to be nearest to that of its own text.
TEXTS = [
    "A man is eating food.", "The cat sleeps on the sofa.", "Prices rose by three percent.", "She plays the violin.",
    "The train to Rome is late.", "He repairs an old motorcycle.", "Snow fell during the night.", "Bees make honey.",
    "The court heard the witness.", "A child draws a red house.", "The volcano erupted twice.", "They sail at dawn.",
    "The printer is out of paper.", "Wolves hunt in packs.", "The recipe needs two eggs.", "Her phone was stolen.",
    "The bridge is closed today.", "He won the chess match.",
]  # fmt: skip
PER_CALL = 20
TIMEOUT_S = 120.0
ALL_WITHIN_S = 240.0
# Through the load balancer a connection may meet a gateway that has just died.
RETRY = Retry(tries=100, pause_s=0.1, longest_pause_s=1.0)


@dataclass(frozen=True)
class Order:
    place: Place
    rate: float  # jobs a second
    name: str  # in the keys of its jobs
    file: str


@dataclass
class Report:
    """`slowest_call_s`: until a call was accepted, with its retries."""

    accepted: int = 0
    slowest_call_s: float = 0.0
    doubled: int = 0
    wrong: int = 0
    states: dict[str, int] = field(default_factory=dict)
    done_s: float = 0.0  # after the last one was accepted
    errors: list[str] = field(default_factory=list)


async def right_answers(place: Place, tls: Tls) -> NDArray[np.float32]:
    headers = {"authorization": f"Bearer {place.token}"}
    url = f"grpcs://{place.host}:{place.grpc_port}"
    async with AsyncClient(url, timeout_s=TIMEOUT_S, retry=RETRY, headers=headers, tls=tls) as client:
        rows = [await client.infer(MODEL, {INPUT: bytes_array([text.encode()])}) for text in TEXTS]
    return np.stack([np.asarray(row[OUTPUT], np.float32).reshape(-1) for row in rows])


async def hand_in(jobs: AsyncJobClient, order: Order, over: asyncio.Event, report: Report) -> dict[str, int]:
    """The place of each job's text by its id."""
    places: dict[str, int] = {}
    count, began_s = 0, time.monotonic()
    while not over.is_set():
        numbers = range(count, count + PER_CALL)
        called_s = time.monotonic()
        ids = await jobs.submit_many(
            MODEL,
            [TEXTS[number % len(TEXTS)] for number in numbers],
            keys=[f"{order.name}-{number}" for number in numbers],
            timeout_s=TIMEOUT_S,
        )
        report.slowest_call_s = max(report.slowest_call_s, time.monotonic() - called_s)
        report.doubled += sum(id in places for id in ids)
        places |= {id: number % len(TEXTS) for id, number in zip(ids, numbers, strict=True)}
        count += PER_CALL
        pause_s = began_s + count / order.rate - time.monotonic()
        try:
            await asyncio.wait_for(over.wait(), max(pause_s, 0.0))
        except TimeoutError:
            continue
    report.accepted = count
    return places


async def fetch(jobs: AsyncJobClient, places: dict[str, int], right: NDArray[np.float32], report: Report) -> None:
    began_s = time.monotonic()
    async for result in jobs.as_completed(places, timeout_s=ALL_WITHIN_S):
        report.states[result.state] = report.states.get(result.state, 0) + 1
        if result.outputs:
            vector = np.asarray(result.outputs[OUTPUT], np.float32).reshape(-1)
            report.wrong += int(np.argmax(right @ vector)) != places[result.id]
        else:
            report.errors.append(f"{result.id}: {result.state}: {result.error}")
    report.done_s = time.monotonic() - began_s


async def main() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    values = json.loads(await reader.readline())
    order = Order(**values | {"place": Place(**values["place"])})
    tls = Tls(ca_file=Path(order.place.ca_file))
    url, report = f"https://{order.place.host}:{order.place.rest_port}", Report()
    async with AsyncJobClient(url, timeout_s=TIMEOUT_S, retry=RETRY, token=order.place.token, tls=tls) as jobs:
        right = await right_answers(order.place, tls)
        await jobs.result(await jobs.submit(MODEL, TEXTS[0]))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        over = asyncio.Event()
        handing = asyncio.create_task(hand_in(jobs, order, over, report))
        await reader.read()
        over.set()
        await fetch(jobs, await handing, right, report)
    write_text(Path(order.file), json.dumps(asdict(report)))


if __name__ == "__main__":
    asyncio.run(main())
