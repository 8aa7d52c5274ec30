"""The callers of a trial: held-out images in the forms in which people send them, and whether an answer is right.

The forms are made apart from ai102.judging.forms: callers do not send what the gate has asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ai102.client import AsyncClient, BadRequestError, InferenceError, bytes_array
from loadtest.payloads import targets

LABELS, SCORES = "classify_image", "score_image"
TIMEOUT_S = 5.0
WRONG = "a wrong answer"
ORIENTATION, TURNED_LEFT = 0x0112, 6  # of EXIF: shown after a quarter turn clockwise
ALL = 10_000  # of the samples
# Of a hundred calls: those that want all scores; large images, photographs of a telephone and JPEG files; no images.
SCORES_PERCENT, LARGE_PERCENT, TURNED_PERCENT, JPEG_PERCENT, BROKEN_PERCENT = 30, 5, 5, 10, 1
BROKEN = b"<html>404 Not Found</html>"  # what a caller's own mistake sends for an image
# Beside a Poisson process, a caller sends its page of images at once.
PAGE, PAGE_EVERY_S = 8, 3.0
SEED = 102


@dataclass(frozen=True)
class Question:
    model: str
    image: bytes
    label: str  # the right one; empty where a refusal is right
    labels: tuple[str, ...]  # of all scores, in their order

    async def ask(self, client: AsyncClient) -> str:
        """What went wrong; empty where the answer is right."""
        try:
            answer = await client.infer(self.model, {"image": bytes_array([self.image])}, timeout_s=TIMEOUT_S)
        except BadRequestError as err:
            return str(err)[:200] if self.label else ""
        except InferenceError as err:
            return f"{type(err).__name__}: {err}"[:200]
        return "" if self.label and self._is_right(answer) else WRONG

    def _is_right(self, answer: Mapping[str, NDArray[Any]]) -> bool:
        if self.model == LABELS:
            score = float(answer["score"].reshape(-1)[0])
            return answer["label"].reshape(-1)[0].decode() == self.label and 0 <= score <= 1
        scores = answer["scores"].reshape(-1)
        is_distribution = bool(np.isfinite(scores).all()) and abs(float(scores.sum()) - 1) < 0.02
        return is_distribution and self.labels[int(scores.argmax())] == self.label


def questions(contract: Path, labels: tuple[str, ...]) -> Iterator[Question]:
    """Without end, and the same ones every time."""
    (target,) = targets(contract, "images", [LABELS], ALL)
    random = Random(SEED)
    while True:
        payload = random.choice(target.payloads)
        assert payload.label is not None
        model = SCORES if random.random() * 100 < SCORES_PERCENT else LABELS
        if random.random() * 100 < BROKEN_PERCENT:
            yield Question(model, BROKEN, "", labels)
        else:
            yield Question(model, _as_sent(payload.data, random.random() * 100), payload.label, labels)


def due_times(rate: float, length_s: float) -> list[float]:
    """Seconds from the start at which calls are due, the same ones every time."""
    random, at, times = Random(SEED), 0.0, []
    while (at := at + random.expovariate(rate)) < length_s:
        times.append(at)
    pages = [number * PAGE_EVERY_S for number in range(1, int(length_s / PAGE_EVERY_S))]
    return sorted([*times, *(at for at in pages for _ in range(PAGE))])


def _as_sent(image: bytes, percent: float) -> bytes:
    for share, change in ((LARGE_PERCENT, _large), (TURNED_PERCENT, _turned), (JPEG_PERCENT, _jpeg)):
        if percent < share:
            return change(image)
        percent -= share
    return image


def _large(image: bytes) -> bytes:
    return _encoded(_scaled(image, 150), "PNG", compress_level=1)


def _turned(image: bytes) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_LEFT
    return _encoded(_scaled(image, 8).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def _jpeg(image: bytes) -> bytes:
    return _encoded(_scaled(image, 8), "JPEG", quality=95)


def _scaled(image: bytes, factor: int) -> Image.Image:
    opened = Image.open(BytesIO(image)).convert("L")
    return opened.resize((opened.width * factor, opened.height * factor), Image.Resampling.NEAREST)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
