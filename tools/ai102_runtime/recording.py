"""Short records of the answers that a model gave, for the quality gate, which compares those of two releases.

AI102_ANSWERS_URL is where records are sent, each second with the memory of the model's process; where it is unset,
nothing is recorded. A record has the header
x-request-id of its call, which a mirrored copy of the call shares, and the labels and scores of the answer, or a sketch
of an embedding. It never has anything of the input, and of texts only those that are labels of the model. Triton's own
request id is not used: what a sealed model asks inside the server has one, but no header, and is not recorded.
"""

from __future__ import annotations

import json
import math
import os
import re
import socket
import time
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http.client import HTTPConnection, HTTPException
from itertools import zip_longest
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
HEADER = "x-request-id"
# In that header: a call of the gate itself, which is no caller's and is not recorded.
GATES_OWN = "ai102-gate"
SETTING = "AI102_ANSWERS_URL"
MOST_ROWS = 8  # of a batch; a copy of the call has the same first rows
# What the gate takes; one record that it refused would cost those beside it.
ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_LABEL, MOST_SCORE = 64, 1e9
SKETCH = 16  # values
SEED = 102
MOST_WAITING = 4096
MOST_SENT = 500  # records in one request to the gate
EVERY_S = 1.0
TIMEOUT_S = 5.0  # a judgement keeps the gate busy
CLOSE_S = 2.0  # a server that ends does not wait longer
NOT_FINITE = "not finite"


class Recorder:
    """Keeps records of one model until a thread of its own sends them, about once a second.

    Nothing waits for it: what there is no room for, or what the gate does not take, is dropped and counted.
    """

    def __init__(
        self, url: str, model: str, host: str, labels: frozenset[bytes] = frozenset(), *, has_batch: bool = True,
        most_waiting: int = MOST_WAITING, every_s: float = EVERY_S,
    ) -> None:  # fmt: skip
        """`host` is the pod's name, by which the gate knows the release. Raises ValueError for a URL that is none."""
        self.address, self.path = address_of(url)
        self.model, self.host, self.labels, self.has_batch = model, host, labels, has_batch
        self.most_waiting, self.every_s = most_waiting, every_s
        self.dropped = 0
        self._waiting: deque[tuple[str, Any]] = deque()
        self._end = Event()
        self._thread = Thread(target=self._send_until_the_end, name="ai102-answers", daemon=True)
        self._thread.start()

    def answered(self, request: Any, outputs: Mapping[str, Array]) -> None:
        """Record the outputs [rows, ...] that a request of Triton's Python backend got."""
        if request_id := self._id(request):
            self._waiting.append((request_id, rows_of(outputs, self.labels, has_batch=self.has_batch)))

    def failed(self, request: Any, kind: str) -> None:
        """Record that a request was "refused" or "failed"; the reason may quote the input and is left out."""
        if request_id := self._id(request):
            self._waiting.append((request_id, kind))

    def close(self) -> None:
        """Send what waits, as far as that takes CLOSE_S at most, and end the thread."""
        self._end.set()
        self._thread.join(CLOSE_S)

    def _id(self, request: Any) -> str:
        """Empty where there is nothing to record, or no place for it."""
        request_id = id_of(request)
        if request_id and len(self._waiting) >= self.most_waiting:
            self.dropped += 1
            return ""
        return request_id

    def _send_until_the_end(self) -> None:
        has_ended = False
        while not has_ended:
            has_ended = self._end.wait(self.every_s)
            while self._send() and self._waiting:
                pass

    def _send(self) -> bool:
        """Send the oldest records; False where the gate did not take them, which are then dropped."""
        dropped = self.dropped
        head = {"host": self.host, "model": self.model, "dropped": dropped, "resident_bytes": resident_bytes()}
        lines = [json.dumps(head)]
        while self._waiting and len(lines) <= MOST_SENT:
            request_id, answer = self._waiting.popleft()
            key = "error" if isinstance(answer, str) else "rows"
            lines.append(json.dumps({"id": request_id, "model": self.model, key: answer}, separators=(",", ":")))
            if len(lines) % 16 == 0:
                time.sleep(0)  # `execute` waits for the lock of this interpreter meanwhile
        connection = HTTPConnection(self.address, timeout=TIMEOUT_S)
        try:
            connection.request("POST", self.path, "\n".join(lines).encode())
            is_taken = connection.getresponse().status < 300
        except (OSError, HTTPException):
            is_taken = False
        finally:
            connection.close()
        self.dropped += -dropped if is_taken else len(lines) - 1
        return is_taken


def recorder_from_environment(
    environment: Mapping[str, str], model: str, labels_file: Path, *, has_batch: bool
) -> Recorder | None:
    """None where AI102_ANSWERS_URL is not set. Raises ValueError where it is no URL."""
    url = environment.get(SETTING)
    if not url:
        return None
    labels = frozenset(labels_file.read_bytes().splitlines()) if labels_file.is_file() else frozenset()
    return Recorder(url, model, environment.get("HOSTNAME") or socket.gethostname(), labels, has_batch=has_batch)


def resident_bytes() -> int:
    """Memory of this process that is in use; 0 where the system does not say it."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGESIZE")


def address_of(url: str) -> tuple[str, str]:
    """HOST:PORT and path. Raises ValueError with one sentence."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.query or parts.username:
        raise ValueError(f"{SETTING} is {url!r}, wanted http://HOST:PORT/answers")
    return parts.netloc, parts.path or "/"


def id_of(request: Any) -> str:
    """The header x-request-id as tritonserver forwards it; empty where there is none, or it is the gate's own."""
    try:
        text = request.parameters()
        parameters = json.loads(text) if text else {}
    except ValueError:  # a header that is no UTF-8
        return ""
    value = parameters.get(HEADER)
    if value is None:  # tritonserver gives a header's name as the caller wrote it
        value = next((value for name, value in parameters.items() if name.lower() == HEADER), "")
    is_one = isinstance(value, str) and value != GATES_OWN and ID.fullmatch(value)
    return value if is_one else ""


def rows_of(outputs: Mapping[str, Array], labels: frozenset[bytes], *, has_batch: bool) -> list[list[Any]]:
    """[label, score, sketch] of each of the first rows; None for what the answer does not have.

    Of scores of all labels, the label is the index of the highest. Outputs of other types than texts and floats are
    left out.
    """
    texts: list[str] | None = None
    scores: list[float | None] | None = None
    tops: list[str] | None = None
    vectors: list[list[float] | None] | None = None
    for array in outputs.values():
        if not array.size or array.dtype.kind not in "Of":
            continue
        rows = array.reshape(array.shape[0] if has_batch else 1, -1)[:MOST_ROWS]
        if array.dtype.kind == "O":
            texts = [text_of(row, labels) for row in rows.tolist()]
        elif rows.shape[1] == 1:
            scores = [rounded(value) for value in rows[:, 0].tolist()]
        elif labels:
            best = rows.max(axis=1).tolist()  # of a row with NaN: NaN
            scores = [rounded(value) for value in best]
            places = zip(rows.argmax(axis=1).tolist(), best, strict=True)
            tops = [str(place) if math.isfinite(value) else NOT_FINITE for place, value in places]
        else:
            vectors = sketches(rows)
    return [list(row) for row in zip_longest(texts or tops or (), scores or (), vectors or ())]


def rounded(value: float) -> float | None:
    """None for what is no number of JSON."""
    return round(max(-MOST_SCORE, min(value, MOST_SCORE)), 4) if math.isfinite(value) else None


def text_of(row: Sequence[Any], labels: frozenset[bytes]) -> str:
    """The model's label; of any other text, which may quote the input, or of several texts, a checksum."""
    if len(row) == 1 and row[0] in labels:
        return str(row[0], "utf-8", "replace")[:MOST_LABEL]
    return f"crc32 {zlib.crc32(b'/'.join(map(bytes_of, row))):08x}"


def bytes_of(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "replace")


def sketches(rows: Array) -> list[list[float] | None]:
    """SKETCH random projections of each row [rows, width], brought to length 1; None where it has no direction.

    For two rows, half of the squared distance of their sketches is 1 - cosine on average, and its standard deviation
    sqrt(2 / SKETCH) of that: Johnson and Lindenstrauss, by signs as in Achlioptas 2003, J. Comput. Syst. Sci. 66:671.
    """
    vectors = rows.astype(np.float64)
    lengths = np.sqrt((vectors * vectors).sum(axis=1)).tolist()
    projected = vectors @ signs(rows.shape[1])
    return [
        [round(value / length, 4) for value in row] if 0 < length < math.inf else None
        for row, length in zip(projected.tolist(), lengths, strict=True)
    ]


@lru_cache(maxsize=8)
def signs(width: int) -> Array:
    """[width, SKETCH], the same in every release: numpy keeps the numbers of RandomState as they are."""
    random = np.random.RandomState(SEED)
    return (2.0 * random.randint(0, 2, (width, SKETCH)) - 1.0) / math.sqrt(SKETCH)
