"""Images and texts to a Triton and its answers back, each bounded by a deadline and ended when the caller leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ai102.api.gate import Gate
from ai102.api.messages import Prediction, Score
from ai102.api.problems import Problem, problem_from_error, too_late
from ai102.api.uploads import Image
from ai102.client import AsyncClient, InferenceError, bytes_array
from ai102.contract.answers import Classifier, Embedder, Scores

_Answer = TypeVar("_Answer")


class Origin(NamedTuple):
    """What goes along to Triton of the request it is asked for."""

    request_id: str
    traceparent: str


class Vectors(NamedTuple):
    """Embeddings [texts, width] and whether each text was cut."""

    embeddings: list[list[float]]
    truncated: list[bool]


class Calls:
    """Asks through one client; Triton is asked no more than the gate lets through at once."""

    def __init__(self, client: AsyncClient, gate: Gate) -> None:
        self.client = client
        self._gate = gate

    async def classify(
        self, asked: Classifier, images: Sequence[Image], top: int, origin: Origin, receive: Receive
    ) -> list[Prediction]:
        """A prediction for each image, with its `top` best labels. Raises Problem."""
        filenames = tuple(image.filename for image in images)
        items = [image.data for image in images]
        scores = asked.scores if top > 1 or not asked.label else None
        if scores:
            arrays = await self._ask(scores.model, scores.input, items, (scores.output,), origin, receive, filenames)
            ranked = _ranked(arrays[scores.output], scores, len(items), top)
        else:
            tensors = (asked.label, asked.score)
            arrays = await self._ask(asked.model, asked.input, items, tensors, origin, receive, filenames)
            ranked = _best(arrays[asked.label], arrays[asked.score], len(items))
        return [
            Prediction(filename=name, label=row[0].label, score=row[0].score, top=row)
            for name, row in zip(filenames, ranked, strict=True)
        ]

    async def embed(self, asked: Embedder, texts: Sequence[str], origin: Origin, receive: Receive) -> Vectors:
        """The embedding of each text. Raises Problem."""
        tensors = (asked.embedding, asked.truncated) if asked.truncated else (asked.embedding,)
        items = [text.encode() for text in texts]
        arrays = await self._ask(asked.model, asked.input, items, tensors, origin, receive)
        vectors = arrays[asked.embedding]
        if vectors.ndim != 2 or len(vectors) != len(items) or not np.isfinite(vectors).all():
            raise _no_answer()
        cut = arrays[asked.truncated].reshape(-1).tolist() if asked.truncated else [False] * len(items)
        if len(cut) != len(items):
            raise _no_answer()
        return Vectors(vectors.tolist(), cut)

    async def _ask(
        self,
        model: str,
        name: str,
        items: Sequence[bytes],
        outputs: tuple[str, ...],
        origin: Origin,
        receive: Receive,
        filenames: tuple[str, ...] = (),
    ) -> Mapping[str, NDArray[Any]]:
        deadline_s = self._gate.limits.deadline_s

        async def answer() -> Mapping[str, NDArray[Any]]:
            async with self._gate.turn:
                return await self.client.infer(
                    model,
                    {name: bytes_array(items)},
                    outputs,
                    request_id=origin.request_id,
                    traceparent=origin.traceparent,
                    headers={"x-request-id": origin.request_id},
                    timeout_s=deadline_s,
                )

        try:
            async with asyncio.timeout(deadline_s):  # the wait for a turn included
                return await unless_gone(answer(), receive)
        except TimeoutError as err:
            raise too_late(deadline_s) from err
        except InferenceError as err:
            raise problem_from_error(err, deadline_s, filenames) from err


async def unless_gone(work: Coroutine[Any, Any, _Answer], receive: Receive) -> _Answer:
    """The result of `work`; cancels it and raises ClientDisconnect when the caller leaves first. The body is read."""
    call = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((call, gone), return_when=asyncio.FIRST_COMPLETED)
        if call.done():
            return call.result()
        raise ClientDisconnect
    finally:
        call.cancel()
        gone.cancel()
        await asyncio.gather(call, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _ranked(rows: NDArray[Any], scores: Scores, count: int, top: int) -> list[list[Score]]:
    if rows.shape != (count, len(scores.labels)) or not np.isfinite(rows).all():
        raise _no_answer()
    # A stable sort of what is turned round: of equal scores the first label wins, as in the label step's argmax.
    order = np.argsort(-rows, axis=1, kind="stable")[:, :top]
    return [
        [Score(label=scores.labels[index], score=float(row[index])) for index in best]
        for row, best in zip(rows, order.tolist(), strict=True)
    ]


def _best(labels: NDArray[Any], scores: NDArray[Any], count: int) -> list[list[Score]]:
    if labels.size != count or scores.size != count or not np.isfinite(scores).all():
        raise _no_answer()
    pairs = zip(labels.reshape(-1).tolist(), scores.reshape(-1).tolist(), strict=True)
    return [[Score(label=label.decode("utf-8", "replace"), score=float(score))] for label, score in pairs]


def _no_answer() -> Problem:
    return Problem("bad-answer", "The model server's answer is not what the model should give.")
