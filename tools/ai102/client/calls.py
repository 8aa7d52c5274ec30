"""What a client asks of a server, and what comes back; the same over every protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ai102.client.tensors import Raw


class Region(NamedTuple):
    """A tensor's place in shared memory that the server has registered."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Infer:
    """Run a model. Safe to send again, as stateless models answer the same twice, unless it is part of a sequence."""

    model: str
    tensors: Sequence[Raw]
    outputs: Sequence[str] = ()
    version: str = ""
    request_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs_at: Mapping[str, Region] = field(default_factory=dict)  # tensors that travel through shared memory
    outputs_at: Mapping[str, Region] = field(default_factory=dict)
    class_count: int = 0  # above 0: so many best labels of each output in its place, Triton's classification extension

    @property
    def is_safe_to_repeat(self) -> bool:
        return "sequence_id" not in self.parameters


@dataclass(frozen=True)
class Describe:
    """What a model takes: a Description."""

    model: str
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
    is_safe_to_repeat = False


@dataclass(frozen=True)
class Statistics:
    """What the server counted for a model, or for all of them where `model` is empty."""

    model: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe_to_repeat = True


@dataclass(frozen=True)
class Register:
    """Make a region of shared memory known to the server. Its name is ours alone: being known already is no error."""

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


Call = Infer | Describe | Index | Load | Statistics | Register | Unregister


class Description(NamedTuple):
    """Of a model's config what a caller must know; `max_batch_size` is 0 where there is no batch dimension."""

    max_batch_size: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ()


class ModelState(NamedTuple):
    """One version of a model as the server's repository index tells it."""

    name: str
    version: str  # empty where nothing was loaded yet
    state: str  # READY, LOADING, UNLOADING, UNAVAILABLE; empty where nothing was loaded yet
    reason: str


class Answer(NamedTuple):
    """Tensors by name; those that went through shared memory have no data here."""

    model: str
    version: str
    request_id: str
    tensors: Mapping[str, Raw]
