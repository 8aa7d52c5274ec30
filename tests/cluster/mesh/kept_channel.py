"""Calls over one gRPC channel that is kept, one after the other; `python -m tests.cluster.mesh.kept_channel`.

It reads an order as JSON from the first line of its standard input, says "ready" after the first answer, and goes on
until it has made so many calls, or until its input ends. Then it prints what became of them as JSON.
"""

from __future__ import annotations

import json
import selectors
import struct
import sys
import time
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

MODEL = "classify_image"
TIMEOUT_S = 10.0
FIRST_WITHIN_S = 30.0


@dataclass(frozen=True)
class Order:
    address: str
    ca_file: str
    token: str
    count: int = 0  # 0: until the input ends
    every_s: float = 0.0  # from one call's start to the next one's


@dataclass
class Outcome:
    calls: int = 0
    slowest_s: float = 0.0
    failures: list[str] = field(default_factory=list)


def grey_png(size: int = 8) -> bytes:
    """A small image without a picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x80" * size) * size
    head = struct.pack(">2I5B", size, size, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def main() -> None:
    order = Order(**json.loads(sys.stdin.readline()))
    # As a program that knows tritonclient alone writes it: one address, no retry.
    client = grpc.InferenceServerClient(order.address, ssl=True, root_certificates=order.ca_file)
    image = grpc.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[grey_png()]], dtype=object))
    headers = {"authorization": f"Bearer {order.token}"}

    def ask() -> Any:
        return client.infer(MODEL, [image], headers=headers, client_timeout=TIMEOUT_S).as_numpy("label").tolist()

    right = first_answer(ask)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    outcome, due_s = Outcome(), time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while outcome.calls < order.count or not order.count:
            due_s = max(due_s + order.every_s, time.monotonic() - order.every_s)
            # What arrives there is its end.
            if selector.select(max(0.0, due_s - time.monotonic())):
                break
            began_s = time.monotonic()
            try:
                if (answer := ask()) != right:
                    outcome.failures.append(f"another answer: {answer}")
            except InferenceServerException as err:
                outcome.failures.append(" ".join(str(err).split())[:200])
            outcome.calls += 1
            outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - began_s)
    sys.stdout.write(json.dumps(asdict(outcome)) + "\n")


def first_answer(ask: Any) -> Any:
    """Raises InferenceServerException when there is none in time."""
    ends = time.monotonic() + FIRST_WITHIN_S
    while True:
        try:
            return ask()
        except InferenceServerException:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    main()
