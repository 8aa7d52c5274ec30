"""The requests of a judgement, in rounds: after each round the checks look at the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.client import bytes_array
from ai102.errors import UserError
from ai102.judging import forms
from ai102.judging.asking import Asker
from ai102.judging.memory import ReadMemory
from ai102.judging.record import Call, MemoryReading, Pair, Purpose, Record
from ai102.judging.subject import Subject, Target
from ai102.samples.read import tensors_of_items

# Requests at once, for each percent of traffic that the canary gets, and the bounds of that.
CROWD_PER_PERCENT, LEAST_CROWD, MOST_CROWD = 0.4, 4, 16
SMALL_BATCH = 8
FORMS_A_ROUND, AGAIN = 24, 8
FP32_BATCH = 16
# In the first rounds memory is read after so many samples: a large leak must be seen before it fills the machine.
OFTEN_ROUNDS, OFTEN = 5, 4
# Calls to each pipeline for each replica, since a process may end after some hundreds; and how long they may take more.
ENOUGH_EACH, LONGER_S = 600, 20.0
# Numbers of bursts, beyond those of the rounds.
MORE_BURSTS = 1_000_000
LOOK_EVERY_S = 1.0
# What makes a first call a mistake of the caller: no server, no right to ask.
CANNOT_BE_ASKED = (
    "NoServerError", "RefusedError", "UnauthenticatedError", "ForbiddenError", "WrongProtocolError", "TlsError",
)  # fmt: skip


def crowd_size(share: float) -> int:
    """Requests that the canary sees at once at its share of traffic, 0 to 1."""
    return min(MOST_CROWD, max(LEAST_CROWD, ceil(100 * share * CROWD_PER_PERCENT)))


class Replay:
    """One subject's requests; `rounds` sends them and fills the record.

    `replicas` gives how many processes share the calls to the canary's address.
    """

    def __init__(
        self, subject: Subject, asker: Asker, share: float, read_memory: ReadMemory | None,
        replicas: Callable[[], int] = lambda: 1,
    ) -> None:  # fmt: skip
        self.record = Record(subject)
        self._replicas = replicas
        self.has_enough = False  # set it to leave out the samples that were not asked yet
        self._subject, self._asker, self._crowd, self._read_memory = subject, asker, crowd_size(share), read_memory

    def rounds(self) -> Iterator[None]:
        """Sends the requests of a round at each step.

        Raises UserError where a server does not answer or refuses this caller, and where nobody serves a pipeline.
        """
        subject, record = self._subject, self.record
        targets = self._targets()
        yield
        tasks = [task for target in targets for task in forms.tasks(subject, target)]
        with ThreadPoolExecutor(self._crowd) as pool:
            for number, start in enumerate(range(0, len(subject.items), subject.round_size)):
                positions = range(start, min(start + subject.round_size, len(subject.items)))
                for position in positions:
                    for target in targets:
                        if position % target.stride == 0:
                            self._add("alone", target, [position])
                    if number < OFTEN_ROUNDS and position % OFTEN == 0:
                        self._read()
                record.asked = positions.stop
                for target in targets:
                    self._together(target, number, positions.stop, pool)
                chosen, tasks = tasks[:FORMS_A_ROUND], tasks[FORMS_A_ROUND:]
                for target, form, position, item in chosen:
                    self._pair(Call(target, "form", (position,), form), [item])
                if number == 0:
                    self._bad(targets)
                self._read()
                yield
                if self.has_enough:
                    break
            for target, form, position, item in tasks:
                self._pair(Call(target, "form", (position,), form), [item])
            for _ in self._more(targets, pool):
                self._read()
                yield
        for target in targets:
            for position in range(min(AGAIN, len(subject.items))):
                self._add("again", target, [position])
        record.fp32 = self._fp32()
        record.is_complete = True
        yield

    def _targets(self) -> list[Target]:
        """The pipelines that are asked, after the first call of each."""
        subject, asker = self._subject, self._asker
        known = []
        asker.connect()
        for target in subject.targets:
            if asker.primary is not None and not asker.primary.check(target, subject.items[0]):
                self.record.notes.append(f"{target.model} is not asked: the version in service does not serve it")
                continue
            pair = self._pair(Call(target, "first", (0,)), [subject.items[0]])
            if pair.canary.kind in CANNOT_BE_ASKED:
                raise UserError(pair.canary.error)
            known.append(target)
        if not known:
            names = ", ".join(target.model for target in subject.targets)
            raise UserError(f"{asker.primary.url if asker.primary else ''}: serves none of {names}: nothing to compare")
        return known

    def _together(self, target: Target, number: int, asked: int, pool: ThreadPoolExecutor) -> None:
        """Batches, and requests at once, of samples that were asked alone before."""
        largest = target.max_batch_size
        small = min(SMALL_BATCH, largest)
        if 1 < small <= len(range(0, asked, target.stride)):
            self._add("batch", target, self._some(target, number, asked, small))
        if number % 2 and self._subject.is_labelling and SMALL_BATCH < largest <= asked:
            self._add("batch", target, self._some(target, number, asked, largest))
        positions = self._some(target, number, asked, 2 * self._crowd)
        calls = [
            Call(target, "crowd", (position,), burst=100 * number + place // self._crowd)
            for place, position in enumerate(positions)
        ]
        items = [self._subject.items[position] for position in positions]
        for start in range(0, len(calls), self._crowd):
            part = slice(start, start + self._crowd)
            self.record.pairs += self._asker.crowd(calls[part], items[part], pool)

    def _more(self, targets: Sequence[Target], pool: ThreadPoolExecutor) -> Iterator[None]:
        """Calls at once until each replica has had ENOUGH_EACH of every pipeline, for LONGER_S at most."""
        ends, burst = time.monotonic() + LONGER_S, MORE_BURSTS
        looks = time.monotonic() + LOOK_EVERY_S
        wanted = ENOUGH_EACH * self._replicas()
        for target in targets:
            known = range(0, self.record.asked, target.stride)
            count = sum(pair.call.target is target for pair in self.record.pairs)
            while count < wanted and time.monotonic() < ends:
                positions = [known[(count + place) % len(known)] for place in range(self._crowd)]
                calls = [Call(target, "crowd", (position,), burst=burst) for position in positions]
                items = [self._subject.items[position] for position in positions]
                self.record.pairs += self._asker.crowd(calls, items, pool)
                count, burst = count + len(calls), burst + 1
                if time.monotonic() > looks:
                    yield
                    looks = time.monotonic() + LOOK_EVERY_S

    def _some(self, target: Target, number: int, asked: int, count: int) -> list[int]:
        """Samples that were asked alone, others in each round."""
        known = range(0, asked, target.stride)
        start = max(0, len(known) - count) if number % 2 else (number * count) % len(known)
        return [known[(start + place) % len(known)] for place in range(min(count, len(known)))]

    def _add(self, purpose: Purpose, target: Target, positions: Sequence[int]) -> None:
        items = [self._subject.items[position] for position in positions]
        self._pair(Call(target, purpose, tuple(positions)), items)

    def _pair(self, call: Call, items: Sequence[bytes]) -> Pair:
        pair = self._asker.pair(call, items)
        self.record.pairs.append(pair)
        return pair

    def _bad(self, targets: Sequence[Target]) -> None:
        """What a server must refuse."""
        for target in targets:
            bad = {
                "no bytes": bytes_array([b""]),
                "bytes that are neither image nor text": bytes_array([b"\xff\xfe\x00 no item"]),
                "numbers for bytes": np.zeros((1, 1), np.int32),
                "a row of two": bytes_array([self._subject.items[0]] * 2).reshape(1, 2),
            }
            for form, array in bad.items():
                call = Call(target, "bad", (-1,), form)
                self.record.pairs.append(self._asker.pair_of(call, {target.input: array}))

    def _fp32(self) -> dict[int, NDArray[Any]]:
        """The answers of the canary's own FP32 network to the samples asked, if it serves it."""
        subject, asker = self._subject, self._asker
        model, output = f"{subject.name}_fp32", subject.network.outputs[0].name
        size = 1 if subject.network.text else max(1, min(FP32_BATCH, subject.network.batching.max_batch_size))
        answers: dict[int, NDArray[Any]] = {}
        for start in range(0, self.record.asked, size):
            positions = range(start, min(start + size, self.record.asked))
            inputs = self._tensors([subject.items[position] for position in positions])
            reply = asker.canary.ask(model, inputs, [output], 30.0) if inputs else None
            if reply is None or reply.outputs is None:
                self.record.notes.append(
                    f"{model} of the canary does not answer ({reply.error if reply else 'no tokens'}): "
                    "its answers are not compared with its own FP32 network"
                )
                return {}
            rows = np.asarray(reply.outputs[output]).reshape(len(positions), -1)
            answers |= dict(zip(positions, rows, strict=True))
        return answers

    def _tensors(self, items: Sequence[bytes]) -> Mapping[str, NDArray[Any]]:
        """The network's inputs for the items; of texts as the canary's own tokenizer gives them, empty without one."""
        subject = self._subject
        if not subject.network.text:
            return tensors_of_items(subject.network, items, None)
        names = [tensor.name for tensor in subject.network.inputs]
        inputs = {"text": bytes_array(items)}
        return self._asker.canary.ask(f"{subject.name}_tokenize", inputs, names, 30.0).outputs or {}

    def _read(self) -> None:
        if self._read_memory is not None and (size := self._read_memory()) is not None:
            self.record.memory.append(MemoryReading(self._asker.calls, size))
