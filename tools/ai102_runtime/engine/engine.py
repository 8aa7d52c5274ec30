"""An engine: what opens a model file and runs it, whatever the library behind it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ai102_runtime.engine.batch import Array
from ai102_runtime.engine.signature import Signature

Config = Mapping[str, Any]
# Of Triton's metrics: 1 for each model, with its engine as a label.
ENGINE_METRIC = "ai102_engine_info"


@dataclass(frozen=True)
class Instance:
    """Where Triton runs an instance of a model: CPU or GPU, and which one."""

    kind: str = "CPU"
    device_id: int = 0


class Engine(Protocol):
    """A model file that is open. `errors` are what `run` raises for input that it cannot take."""

    title: str  # the library and its version, for people
    signature: Signature
    errors: tuple[type[Exception], ...]

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        """The outputs of these names. The arrays belong to the caller: a later run leaves them as they are."""

    def reason(self, error: Exception) -> str:
        """The core of one of `errors`, in one line without folders and places in source code."""

    def is_clients_fault(self, error: Exception) -> bool:
        """Whether other input would have been taken."""


@dataclass(frozen=True)
class EngineKind:
    """What a backend needs to know of an engine. Both functions raise ModelRefusedError, in one line."""

    backend: str  # Triton's name of it, also in --backend-config
    usual_file: str
    signature_from_file: Callable[[Path, Config], Signature]
    opened: Callable[[Path, Config, Instance], Engine]
