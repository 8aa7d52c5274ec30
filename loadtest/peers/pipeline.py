"""The pipeline that every peer calls: from the bytes of a request to the bytes of its answer.

Session options and transforms (`ai102_runtime.transforms`) are those of Triton's models.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Feeds = dict[str, NDArray[Any]]


def session_of(model: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OpenVinoSession:
    """OpenVINO with the interface of ONNX Runtime's session; a thread has an inference request of its own."""

    def __init__(self, model: str) -> None:
        from ai102_runtime.openvino.library import ov

        # As in Triton's models: FP32 where the file has floats, one thread.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
        self.compiled = ov.Core().compile_model(model, "CPU", settings)
        self.of_thread = threading.local()

    def run(self, outputs: Sequence[str], feeds: Feeds) -> list[NDArray[Any]]:
        request = getattr(self.of_thread, "request", None)
        if request is None:
            request = self.of_thread.request = self.compiled.create_infer_request()
        request.infer(feeds, share_inputs=True, share_outputs=True)
        return [request.get_tensor(output).data.copy() for output in outputs]


class Pipeline:
    """The work that `file`, written by loadtest.bench.works, describes.

    `engine` is "onnxruntime" or "openvino"; left out, the environment says it.
    """

    def __init__(self, file: Path, engine: str = "") -> None:
        self.work: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        self.kind: str = self.work["kind"]
        self.media_type = "application/json" if self.kind == "image" else "application/octet-stream"
        self.max_batch_size: int = self.work["max_batch_size"]
        engine = engine or os.environ.get("BENCH_ENGINE", "onnxruntime")
        self.session = (OpenVinoSession if engine == "openvino" else session_of)(self.work["model"])
        if self.kind == "image":
            self.labels = [label.encode() for label in self.work["labels"]]
        if self.kind == "text":
            from tokenizers import Tokenizer

            from ai102_runtime.transforms.texts import TextEncoder

            self.encoder = TextEncoder(Tokenizer.from_file(self.work["tokenizer"]), self.work["lengths"])

    def samples(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(Path(self.work["samples"]).iterdir())]

    def feeds(self, bodies: Sequence[bytes]) -> Feeds:
        """The session's inputs for these requests, as one batch."""
        if self.kind == "image":
            from ai102_runtime.transforms.images import pixels_from_image

            return {self.work["input"]: np.stack([pixels_from_image(body, **self.work["image"]) for body in bodies])}
        if self.kind == "text":
            from ai102_runtime.transforms.texts import text_from_bytes

            texts = [text_from_bytes(body, max_bytes=self.work["max_bytes"]) for body in bodies]
            input_ids, attention_mask, _ = self.encoder.tokens(texts)
            return {"input_ids": input_ids, "attention_mask": attention_mask}
        rows = [np.frombuffer(body, self.work["dtype"]).reshape(1, *self.work["dims"]) for body in bodies]
        return {self.work["input"]: rows[0] if len(rows) == 1 else np.concatenate(rows)}

    def run(self, feeds: Feeds) -> NDArray[np.float32]:
        output: NDArray[np.float32] = self.session.run([self.work["output"]], feeds)[0]
        return output

    def values(self, bodies: Sequence[bytes]) -> list[Any]:
        """An answer for each request: a dictionary of label and score, or a row of floats."""
        if self.kind == "text":
            return self._embeddings(bodies)
        outputs = self.run(self.feeds(bodies))
        if self.kind == "tensor":
            return list(outputs)
        from ai102_runtime.transforms.scores import top_labels

        labels, scores = top_labels(outputs, self.labels)
        return [
            {"label": label.decode(), "score": float(score)}
            for label, score in zip(labels[:, 0], scores[:, 0], strict=True)
        ]

    def _embeddings(self, bodies: Sequence[bytes]) -> list[Any]:
        """Texts of the same padded length run as one batch, as in Triton: short texts are not padded to long ones."""
        groups: dict[int, list[tuple[int, Feeds]]] = {}
        for place, body in enumerate(bodies):
            feeds = self.feeds([body])
            groups.setdefault(feeds["input_ids"].shape[1], []).append((place, feeds))
        rows: list[Any] = [None] * len(bodies)
        for group in groups.values():
            joined = {name: np.concatenate([feeds[name] for _, feeds in group]) for name in group[0][1]}
            for (place, _), row in zip(group, self.run(joined), strict=True):
                rows[place] = row
        return rows

    def answers(self, bodies: Sequence[bytes]) -> list[bytes]:
        """The response body of each request: JSON for a label, raw float32 for an array."""
        values = self.values(bodies)
        if self.kind == "image":
            return [json.dumps(value).encode() for value in values]
        return [value.tobytes() for value in values]
