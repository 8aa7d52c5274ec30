"""A release as a test needs it: a classifier and a pipeline around it, and changes of them."""

from __future__ import annotations

from typing import Any

from ai102.artifact import sha256_of_text
from ai102.release.document import (
    FORMAT,
    Batching,
    Bound,
    Contract,
    Document,
    Engine,
    Goals,
    Images,
    Measured,
    Model,
    Provenance,
    Release,
    Tensor,
    release_from,
)
from ai102.release.envelope import Built

SERVER = "reg.example:5000/ai102/server@sha256:" + "a" * 64
MODELS = "reg.example:5000/ai102/models@sha256:"
TEXT = "[networks.digits]\n"
LABELS = ("zero", "one", "two")
BUILT = Built(at="2026-11-29T12:00:00+00:00", by="ann", note="a test", is_checked=True)
NETWORK = Model(
    backend="onnxruntime",
    versions=(1,),
    batching=Batching(max_batch_size=64, is_dynamic=True),
    inputs={"pixels": Tensor(data_type="UINT8", dims=(1, 8, 8), format="NCHW")},
    outputs={"scores": Tensor(data_type="FP32", dims=(3,), labels=LABELS)},
)
PIPELINE = Model(
    backend="python",
    versions=(1,),
    batching=Batching(max_batch_size=64, is_dynamic=True),
    inputs={
        "image": Tensor(data_type="BYTES", dims=(1,)),
        "hint": Tensor(data_type="BYTES", dims=(-1,), is_optional=True),
    },
    outputs={"label": Tensor(data_type="BYTES", dims=(1,)), "score": Tensor(data_type="FP32", dims=(1,))},
    labels=LABELS,
)
MEASURED = Measured(
    network="digits",
    version=1,
    precision="int8",
    size=100_000,
    sha256="1" * 64,
    budget={"min_top1_percent": Bound(limit=98.5, measured=99.5)},
    figures={"int8_top1_percent": 99.5},
    summary="top-1 99.50 %",
    engine=Engine(
        name="onnxruntime",
        precision="int8",
        cpu="x86",
        cpu_name="a CPU",
        threads=1,
        ms={"batch 1": 0.1, "batch 8": 0.3},
    ),
)


def document(models_digit: str = "b", **changes: Any) -> Document:
    """`models_digit` makes the digest of the models image; `changes` are fields of the document."""
    fields: dict[str, Any] = {
        "format": FORMAT,
        "images": Images(server=SERVER, models=MODELS + models_digit * 64),
        "content_sha256": models_digit * 64,
        "models": {"digits_int8": NETWORK, "classify": PIPELINE},
        "measured": {"digits_int8": MEASURED},
        "pipelines": {"classify": Goals(success_percent=99.9, p99_ms=100.0)},
        "contract": Contract(text=TEXT, sha256=sha256_of_text(TEXT)),
        "provenance": Provenance(
            revision="c" * 40, is_clean=True, versions={"ai102": "0.2.0", "onnxruntime": "1.32.0"}
        ),
    }
    return Document(**{**fields, **changes})


def release(models_digit: str = "b", **changes: Any) -> Release:
    return release_from(document(models_digit, **changes))


def pipeline(**changes: Any) -> dict[str, Model]:
    """The models with another `classify`."""
    return {"digits_int8": NETWORK, "classify": PIPELINE.model_copy(update=changes)}
