"""The load of a trial: `python -m tests.cluster.releases.load`, in the client's machine.

It reads an order as one line of its standard input, says "ready" once the release in service has answered every
question, and begins at the next line. What became of each call is written to the order's file.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ai102.artifact import write_text
from ai102.client import AsyncClient, Retry, Tls
from ai102.contract import load as load_contract
from k8s.local.plan import ROOT
from tests.cluster.calls.asking import Place
from tests.cluster.calls.load import text_of_calls
from tests.cluster.calls.record import Call
from tests.cluster.releases.callers import Question, due_times, questions

CONTRACT = ROOT / "models.toml"
CLIENTS = 4
DIFFERENT = 1000  # questions
# A release in service that misses more of them has not the accuracy of its contract.
MOST_WRONG = 0.05
FIRST_TRIES, PAUSE_S = 20, 0.5


@dataclass(frozen=True)
class Order:
    place: Place
    rate: float  # calls a second
    length_s: float
    file: str

    @classmethod
    def from_json(cls, text: str) -> Order:
        values = json.loads(text)
        return cls(Place(**values.pop("place")), **values)


async def answered_rightly(clients: Sequence[AsyncClient], asked: Sequence[Question]) -> list[Question]:
    """Those that the release in service answers rightly. Ends the program where it misses too many."""
    for _ in range(FIRST_TRIES):
        if not await asked[0].ask(clients[0]):
            break
        await asyncio.sleep(PAUSE_S)
    failures: dict[int, str] = {}

    async def ask_some(first: int) -> None:
        for number in range(first, len(asked), len(clients)):
            failures[number] = await asked[number].ask(clients[first])

    await asyncio.gather(*map(ask_some, range(len(clients))))
    wrong = Counter(filter(None, failures.values()))
    if wrong.total() > MOST_WRONG * len(asked):
        sys.exit(f"the release in service fails {wrong.total()} of {len(asked)} questions: {wrong.most_common(1)}")
    return [question for number, question in enumerate(asked) if not failures[number]]


async def send(clients: Sequence[AsyncClient], asked: Sequence[Question], due: Sequence[float]) -> list[Call]:
    """Each call when it is due, whatever becomes of those before."""
    calls: list[Call] = []
    began_s = time.monotonic()

    async def call(number: int, due_s: float) -> None:
        question = asked[number % len(asked)]
        failure = await question.ask(clients[number % len(clients)])
        calls.append(Call(question.model, due_s, time.monotonic(), 1, failure))

    async with asyncio.TaskGroup() as tasks:
        for number, at in enumerate(due):
            await asyncio.sleep(max(0.0, began_s + at - time.monotonic()))
            tasks.create_task(call(number, began_s + at))
    return calls


async def main() -> None:
    order = Order.from_json(sys.stdin.readline())
    place = order.place
    labels = load_contract(CONTRACT).networks["digits"].labels
    url, headers = f"grpcs://{place.host}:{place.grpc_port}", {"authorization": f"Bearer {place.token}"}
    # A client that tries again would hide what a caller sees.
    clients = [
        AsyncClient(url, headers=headers, tls=Tls(ca_file=Path(place.ca_file)), retry=Retry(tries=1))
        for _ in range(CLIENTS)
    ]
    asked = await answered_rightly(clients, list(islice(questions(CONTRACT, labels), DIFFERENT)))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    calls = await send(clients, asked, due_times(order.rate, order.length_s))
    write_text(Path(order.file), text_of_calls(calls))
    for client in clients:
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
