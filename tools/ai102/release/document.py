"""A release as one canonical JSON document, whose name is made of its own hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FORMAT = 1
NAME_DIGITS = 12
PREFIX = "r-"
SHA256 = r"^[0-9a-f]{64}$"
# An image by its digest alone: a tag beside it could say something else.
REFERENCE = r"^[a-z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}$"


class DocumentError(ValueError):
    """What is wrong with a document, in one line without its place."""


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Images(Part):
    server: str = Field(pattern=REFERENCE)
    models: str = Field(pattern=REFERENCE)


class Tensor(Part):
    """An input or an output, by the names and types of Triton's protocol; dims are without the batch, -1 is free."""

    data_type: str
    dims: tuple[int, ...]
    format: str = ""
    is_optional: bool = False
    labels: tuple[str, ...] = ()  # of each place of the last dimension


class Batching(Part):
    max_batch_size: int = Field(ge=0)
    is_dynamic: bool
    max_queue_delay_us: int = 0
    preferred_batch_sizes: tuple[int, ...] = ()


class Model(Part):
    """A model that callers can name; `labels` are the words that it may answer, of its labels.txt."""

    backend: str
    versions: tuple[int, ...]
    batching: Batching
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    labels: tuple[str, ...] = ()
    is_decoupled: bool = False
    is_stateful: bool = False


class Speed(Part):
    """Of INT8 against FP32 in one thread, as the gate measured it."""

    batch: int
    fp32_ms: float
    int8_ms: float
    ratio: float


class Engine(Part):
    """What computes the file on the kind of CPU that built it; `ms` of a batch, by its shape."""

    name: str
    precision: str
    cpu: str
    cpu_name: str
    threads: int
    ms: dict[str, float]


class Bound(Part):
    """A bound of the accuracy budget, such as min_top1_percent, and what was measured for it."""

    limit: float
    measured: float


class Measured(Part):
    """What was measured of the newest served version of a network's model; sizes in bytes."""

    network: str
    version: int
    precision: str
    size: int
    sha256: str = Field(pattern=SHA256)
    budget: dict[str, Bound] = {}
    figures: dict[str, float] = {}
    summary: str = ""
    speed: Speed | None = None
    engine: Engine | None = None


class Goals(Part):
    """What callers of a pipeline are promised."""

    success_percent: float
    p99_ms: float


class Contract(Part):
    text: str
    sha256: str = Field(pattern=SHA256)


class Provenance(Part):
    """`is_clean` is None where the sources are in no git; versions by name."""

    revision: str
    is_clean: bool | None
    versions: dict[str, str]


class Document(Part):
    """All of a release that defines it: what is served, what was measured of it, what it was made from."""

    format: int
    images: Images
    content_sha256: str = Field(pattern=SHA256)  # over paths and contents of the model repository
    models: dict[str, Model] = Field(min_length=1)
    measured: dict[str, Measured]
    pipelines: dict[str, Goals]
    contract: Contract
    provenance: Provenance


@dataclass(frozen=True)
class Release:
    """A document with its name; `raw` is what the hash is over, so that a new field has no influence on old names."""

    raw: Mapping[str, Any]
    document: Document

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(canonical(self.raw)).hexdigest()

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.sha256[:NAME_DIGITS]}"


def canonical(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, no spaces, UTF-8, the shortest form of each number."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def release_from(document: Document) -> Release:
    return Release(document.model_dump(mode="json"), document)


def release_from_json(raw: Any) -> Release:
    """Raises DocumentError when it is no release, or one of a newer format."""
    if not isinstance(raw, dict) or not isinstance(raw.get("format"), int):
        raise DocumentError("it is no release")
    if raw["format"] > FORMAT:
        raise DocumentError(f"its format is {raw['format']} and this program knows {FORMAT}: run a newer ai102")
    try:
        document = Document.model_validate(raw)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(key) for key in first["loc"])
        raise DocumentError(f"{where}: {first['msg'].lower()}") from err
    if hashlib.sha256(document.contract.text.encode()).hexdigest() != document.contract.sha256:
        raise DocumentError("the text of its contract has another sha256 than it says")
    return Release(raw, document)
