"""The calls of a client and their answers; the same over every protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from ai102.client.tensors import Raw


class Region(NamedTuple):
    """A tensor's place in a region of shared memory that the server has registered."""

    name: str
    offset: int
    size: int


_NOTHING: Mapping[str, Any] = MappingProxyType({})


# The other calls are rare; this one is made for every request, and a frozen dataclass takes three times as long.
class Infer(NamedTuple):
    """Run a model. Safe to send again unless it is part of a sequence: stateless models answer the same twice."""

    model: str
    tensors: Sequence[Raw]
    outputs: Sequence[str] = ()
    version: str = ""
    request_id: str = ""
    headers: Mapping[str, str] = _NOTHING
    parameters: Mapping[str, Any] = _NOTHING
    inputs_at: Mapping[str, Region] = _NOTHING  # tensors that travel through shared memory
    outputs_at: Mapping[str, Region] = _NOTHING
    class_count: int = 0  # above 0: so many best labels instead of each output, Triton's classification extension

    @property
    def is_safe_to_repeat(self) -> bool:
        return "sequence_id" not in self.parameters


@dataclass(frozen=True)
class Describe:
    """The Description of a model."""

    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe_to_repeat = True


@dataclass(frozen=True)
class Config:
    """The whole config that a model is served with, as tritonclient's ModelConfig."""

    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe_to_repeat = True


@dataclass(frozen=True)
class Version:
    """The server's version, such as "2.51.0"."""

    model = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe_to_repeat = True


@dataclass(frozen=True)
class Index:
    """Every model of the server's repository."""

    model = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe_to_repeat = True


@dataclass(frozen=True)
class Load:
    """Load a model, or load it anew. Not repeated: a second load while the first runs is another load."""

    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
    config: str = ""  # JSON, instead of the file in the repository
    files: Mapping[str, bytes] = field(default_factory=dict)  # by path in the model's folder, with a config only
    is_safe_to_repeat = False


@dataclass(frozen=True)
class Statistics:
    """The server's counts for a model, or for all of them where `model` is empty."""

    model: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe_to_repeat = True


@dataclass(frozen=True)
class Register:
    """Register a region of shared memory. No other client uses its name, so being registered already is no error."""

    region: str
    key: str
    size: int
    model = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe_to_repeat = True


@dataclass(frozen=True)
class Unregister:
    region: str
    model = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe_to_repeat = True


Call = Infer | Describe | Config | Version | Index | Load | Statistics | Register | Unregister


def with_headers(call: Call, headers: Mapping[str, str]) -> Call:
    """The same call with other headers."""
    return call._replace(headers=headers) if isinstance(call, Infer) else replace(call, headers=headers)


class Description(NamedTuple):
    """The part of a model's config that calls need; `max_batch_size` is 0 where there is no batch dimension."""

    max_batch_size: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ()


class ModelState(NamedTuple):
    """One version of a model in the server's repository index."""

    name: str
    version: str  # empty where nothing was loaded yet
    state: str  # READY, LOADING, UNLOADING, UNAVAILABLE; empty where nothing was loaded yet
    reason: str


class Answer(NamedTuple):
    """Tensors by name; those in shared memory have no data here."""

    model: str
    version: str
    request_id: str
    tensors: Mapping[str, Raw]
