"""The Triton model that opens and seals, with a stand-in for the server: what one request breaks stays its own."""

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ai102_runtime.seal.envelope import Key, open_response, seal_request
from ai102_runtime.seal.keys import text_from_secret
from ai102_runtime.seal.tensors import Tensor, bytes_from_tensors, tensors_from_bytes

KEY = Key("a", bytes(range(32)))
MODULE = "ai102_runtime.models.sealed"
LOG: list[str] = []


class TritonError:
    INVALID_ARG, INTERNAL, UNAVAILABLE, UNSUPPORTED = "INVALID_ARG", "INTERNAL", "UNAVAILABLE", "UNSUPPORTED"

    def __init__(self, message: str, code: str) -> None:
        self.text, self.code = message, code


class InferenceResponse:
    def __init__(self, tensors: Any = (), error: TritonError | None = None) -> None:
        self.tensors, self.error = tensors, error


class Echo:
    """Stands for a request to the model inside: answers what it was asked; breaks on a tensor called `break`."""

    def __init__(self, inputs: list[Any], **_: object) -> None:
        self.inputs = inputs

    async def async_exec(self) -> Any:
        if self.inputs[0].name() == "break":
            raise RuntimeError("13800138000")
        return SimpleNamespace(has_error=lambda: False, output_tensors=lambda: self.inputs)


class PlainTensor:
    def __init__(self, name: str, array: Any) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> Any:
        return self._array


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = ModuleType("triton_python_backend_utils")
    logger = SimpleNamespace(log_warn=LOG.append, log_error=LOG.append)
    facts = {"TritonError": TritonError, "InferenceResponse": InferenceResponse, "InferenceRequest": Echo}
    types = {"Tensor": PlainTensor, "Logger": logger, "TritonModelException": KeyError}
    memory = {"PreferredMemory": lambda *_: None, "TRITONSERVER_MEMORY_CPU": 0}
    vars(server).update(facts | types | memory | {"triton_string_to_numpy": lambda name: np.int8})
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", server)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setenv("AI102_SEAL_KEYS", str(tmp_path))
    monkeypatch.setenv("AI102_SEAL_SEEN", str(tmp_path / "seen"))
    (tmp_path / "a.key").touch(mode=0o600)
    (tmp_path / "a.key").write_text(text_from_secret(bytes(range(32)), "", "open"))
    LOG.clear()
    parameters = {"model": {"string_value": "m"}, "outputs": {"string_value": "x"}}
    sealed = importlib.import_module(MODULE).TritonPythonModel()
    config = {"parameters": parameters, "max_batch_size": "0"}
    sealed.initialize({"model_name": "sealed_m", "model_config": json.dumps(config)})
    yield sealed
    sys.modules.pop(MODULE, None)


def asked(name: str) -> tuple[bytes, Any]:
    """The head of a request with a tensor of this name, and the request as the model gets it."""
    data = bytes_from_tensors([Tensor(name, "INT8", (1,), b"\7")])
    sealed = seal_request(KEY, data, "sealed_m", time.time_ns() // 1_000_000)
    envelope = PlainTensor("envelope", np.array([sealed.envelope], np.object_))
    return sealed.head, SimpleNamespace(inputs=lambda: [envelope])


def test_a_request_that_breaks_does_not_fail_those_beside_it_and_its_payload_is_not_logged(model: Any) -> None:
    (good_head, good), (_, bad) = asked("x"), asked("break")
    broken, answered = asyncio.run(model.execute([bad, good]))
    assert (broken.error.code, broken.error.text) == ("INTERNAL", "the sealed request failed inside the server")
    (envelope,) = answered.tensors[0].as_numpy()
    opened = tensors_from_bytes(open_response(KEY, good_head, envelope, time.time_ns() // 1_000_000))
    assert [(tensor.name, tensor.data) for tensor in opened] == [("x", b"\7")]
    assert [line.partition(" in ")[0] for line in LOG] == ["sealed_m: RuntimeError"]


def test_an_answer_of_a_type_that_numpy_lacks_fails_its_own_request_alone(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_numpy(self: PlainTensor) -> Any:
        if self.name() == "wide":
            raise KeyError("BF16")
        return self._array

    (_, wide), (_, good) = asked("wide"), asked("x")
    monkeypatch.setattr(PlainTensor, "as_numpy", no_numpy)
    refused, answered = asyncio.run(model.execute([wide, good]))
    assert (refused.error.code, answered.error) == ("UNSUPPORTED", None)
    assert "BF16" not in refused.error.text


def test_an_error_that_cannot_be_sealed_is_one_neutral_sentence(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, request = asked("wide")

    def retired_meanwhile(self: PlainTensor) -> Any:
        if self.name() == "envelope":
            return self._array
        monkeypatch.setattr(ring, "opening", lambda key_id: None)
        raise KeyError("BF16")

    ring = model.keys
    monkeypatch.setattr(PlainTensor, "as_numpy", retired_meanwhile)
    (refused,) = asyncio.run(model.execute([request]))
    assert (refused.error.code, refused.error.text) == ("UNSUPPORTED", "the answer could not be sealed")
