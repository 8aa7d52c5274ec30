"""The load: calls sent when they are due, whatever becomes of those before; `python -m tests.cluster.calls.load`.

It reads an order as the first line of its standard input, says "ready" once every client was answered, and then reads
lines: a number is the new rate of calls a second; the end of the input ends the load. What became of each call is
written to the order's file.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from random import Random

from ai102.artifact import write_text
from tests.cluster.calls.asking import Ask, Outcome, Place, ways_to
from tests.cluster.calls.record import Call

# Where the gateway's replicas have just started, the first answer may take a while.
FIRST_WITHIN_S = 30.0
IN_FLIGHT_WITHIN_S = 30.0


@dataclass(frozen=True)
class Order:
    place: Place
    client: str
    ways: tuple[str, ...]
    clients: int  # for each way, each with connections of its own
    rate: float  # calls a second of all together, as a Poisson process
    callers: int  # not 0: so many callers, each with its next call as soon as it is answered, and no rate
    file: str

    @classmethod
    def from_json(cls, text: str) -> Order:
        values = json.loads(text)
        place = values.pop("place")
        ways = tuple(values.pop("ways"))
        return cls(Place(**place), ways=ways, **values)


def text_of_calls(calls: Sequence[Call]) -> str:
    return json.dumps([list(asdict(call).values()) for call in calls])


def calls_from_text(text: str) -> list[Call]:
    return [Call(*row) for row in json.loads(text)]


class Load:
    """The calls of a run; `rate` may change while it runs."""

    def __init__(self, ways: Sequence[tuple[str, Ask]], random: Random) -> None:
        self.calls: list[Call] = []
        self.rate = 0.0
        self.is_over = asyncio.Event()
        self._ways, self._random = ways, random

    async def run(self, rate: float, callers: int) -> None:
        """Until `is_over`, and until the calls in flight have ended."""
        self.rate = rate
        if callers:
            turns = [self._ways[number % len(self._ways)] for number in range(callers)]
            await asyncio.gather(*(self._ask_again_and_again(*way) for way in turns))
        else:
            await self._send_when_due()

    async def _send_when_due(self) -> None:
        due_s, turns, tasks = time.monotonic(), cycle(self._ways), set[asyncio.Task[None]]()
        while True:
            due_s += self._random.expovariate(self.rate)
            while (wait_s := due_s - time.monotonic()) > 0 and not self.is_over.is_set():
                await self._rest(wait_s)
            if self.is_over.is_set():
                break
            task = asyncio.create_task(self._ask(*next(turns), due_s))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(set(tasks), timeout=IN_FLIGHT_WITHIN_S)

    async def _rest(self, wait_s: float) -> None:
        try:
            await asyncio.wait_for(self.is_over.wait(), wait_s)
        except TimeoutError:
            return

    async def _ask_again_and_again(self, way: str, ask: Ask) -> None:
        while not self.is_over.is_set():
            await self._ask(way, ask, time.monotonic())

    async def _ask(self, way: str, ask: Ask, due_s: float) -> None:
        outcome: Outcome = await ask()
        self.calls.append(Call(way, due_s, time.monotonic(), outcome.tries, outcome.failure))


async def main() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    order = Order.from_json((await reader.readline()).decode())
    async with ways_to(order.place, order.client, order.ways, order.clients) as ways:
        await _answered(ways)
        load = Load(ways, Random(7))
        running = asyncio.create_task(load.run(order.rate, order.callers))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while line := await reader.readline():
            load.rate = float(line)
        load.is_over.set()
        await running
        write_text(Path(order.file), text_of_calls(load.calls))


async def _answered(ways: Sequence[tuple[str, Ask]]) -> None:
    """Each way was answered once: its connection is there. Ends the program with what it got instead."""
    ends = time.monotonic() + FIRST_WITHIN_S
    for way, ask in ways:
        while (outcome := await ask()).failure:
            if time.monotonic() > ends:
                sys.exit(f"{way}: {outcome.failure}")
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main())
