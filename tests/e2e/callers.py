"""Calls to a server that the tests of the backends share."""

from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from numpy.typing import NDArray

# For a model whose requests Triton is to join.
JOINED = "max_batch_size: 8 dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 400000 }\n"


def parameters(values: Mapping[str, str]) -> str:
    return "".join(f'parameters {{ key: "{k}" value {{ string_value: "{v}" }} }}\n' for k, v in values.items())


class Caller:
    """The calls that the tests use, the same over both protocols."""

    def __init__(self, module: Any, client: Any) -> None:
        self.module, self.client = module, client

    def inputs(self, arrays: Mapping[str, tuple[str, NDArray[Any]]]) -> list[Any]:
        inputs = []
        for name, (data_type, array) in arrays.items():
            inputs.append(self.module.InferInput(name, list(array.shape), data_type))
            inputs[-1].set_data_from_numpy(array)
        return inputs

    def infer(
        self, name: str, arrays: Mapping[str, tuple[str, NDArray[Any]]], expected: list[str], version: str = ""
    ) -> dict[str, Any]:
        outputs = [self.module.InferRequestedOutput(output) for output in expected]
        result = self.client.infer(name, self.inputs(arrays), model_version=version, outputs=outputs)
        return {output: result.as_numpy(output) for output in expected}


def together(grpc: Caller, name: str, sent: list[dict[str, tuple[str, NDArray[Any]]]]) -> list[Any]:
    """Send all at once, so that Triton joins them; each answer is a result or the error of that request."""
    before = executions(grpc, name)
    answers: list[Future[Any]] = [Future() for _ in sent]
    for arrays, answer in zip(sent, answers, strict=True):
        grpc.client.async_infer(name, grpc.inputs(arrays), partial(settle, answer))
    results = [answer.result(timeout=20) for answer in answers]
    assert executions(grpc, name) - before <= 1, "the requests were not joined, so this test would prove nothing"
    return results


def settle(answer: Future[Any], result: Any, error: Any) -> None:
    answer.set_result(error or result)


def executions(grpc: Caller, name: str) -> int:
    statistics = grpc.client.get_inference_statistics(name).model_stats[0]
    return int(statistics.execution_count)
