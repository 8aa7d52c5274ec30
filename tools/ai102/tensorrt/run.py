"""Runs a plan on this machine's GPU, with NumPy arrays in and out. The code has not run on a GPU yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.errors import UserError
from ai102.tensorrt.layers import BuiltLayer, layers_from_inspector
from ai102.tensorrt.messages import logger_of

Arrays = dict[str, NDArray[Any]]


class LoadedPlan:
    """A plan on the GPU. Arrays are copied to and from it; use it as a context manager to free its memory."""

    def __init__(self, trt: Any, cuda: Any, file: Path) -> None:
        """`cuda` is cuda-python's module `cuda.bindings.runtime`. Raises UserError when TensorRT refuses the plan."""
        self._trt, self._cuda = trt, cuda
        logger, messages = logger_of(trt)
        messages.clear()
        self._runtime = trt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(file.read_bytes())
        if self._engine is None:
            reasons = "; ".join(" ".join(error.split()) for error in messages.errors) or "it gave no reason"
            raise UserError(f"{file}: TensorRT {trt.__version__} cannot load it: {reasons}; see `ai102 engine doctor`")
        self._context = self._engine.create_execution_context()
        self._stream = self._call(cuda.cudaStreamCreate())
        self._memory: dict[str, tuple[int, int]] = {}  # by tensor: address and size in bytes

    def __enter__(self) -> LoadedPlan:
        return self

    def __exit__(self, *_: object) -> None:
        for address, _size in self._memory.values():
            self._call(self._cuda.cudaFree(address))
        self._call(self._cuda.cudaStreamDestroy(self._stream))

    def layers(self) -> tuple[BuiltLayer, ...]:
        inspector = self._engine.create_engine_inspector()
        return layers_from_inspector(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Every output for one batch. Raises UserError for a shape outside the plan's profile."""
        outputs = self._bind(inputs)
        self._copy_in(inputs)
        self._execute()
        for name, array in outputs.items():
            kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._call(
                self._cuda.cudaMemcpyAsync(array.ctypes.data, self._memory[name][0], array.nbytes, kind, self._stream)
            )
        self._call(self._cuda.cudaStreamSynchronize(self._stream))
        return outputs

    def seconds(self, inputs: Mapping[str, NDArray[Any]], repeats: int) -> list[float]:
        """Seconds of each of `repeats` runs on the GPU, without copies, after ten warm-up runs."""
        self._bind(inputs)
        self._copy_in(inputs)
        durations = []
        for number in range(repeats + 10):
            start = perf_counter()
            self._execute()
            self._call(self._cuda.cudaStreamSynchronize(self._stream))
            if number >= 10:
                durations.append(perf_counter() - start)
        return durations

    def _bind(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        outputs: Arrays = {}
        for name, array in inputs.items():
            if not self._context.set_input_shape(name, array.shape):
                raise UserError(f"{name} has shape {array.shape}, which is outside the plan's profile")
            self._context.set_tensor_address(name, self._address(name, array.nbytes))
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            if self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.OUTPUT:
                dtype = self._trt.nptype(self._engine.get_tensor_dtype(name))
                outputs[name] = np.empty(tuple(self._context.get_tensor_shape(name)), dtype)
                self._context.set_tensor_address(name, self._address(name, outputs[name].nbytes))
        return outputs

    def _copy_in(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        for name, array in inputs.items():
            whole = np.ascontiguousarray(array)
            kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
            self._call(self._cuda.cudaMemcpy(self._memory[name][0], whole.ctypes.data, whole.nbytes, kind))

    def _execute(self) -> None:
        if not self._context.execute_async_v3(int(self._stream)):
            raise RuntimeError("execute_async_v3 failed; TensorRT's log says why")

    def _address(self, name: str, size: int) -> int:
        """GPU memory of at least `size` bytes, reused between runs if it is large enough."""
        address, capacity = self._memory.get(name, (0, 0))
        if capacity < size:
            if address:
                self._call(self._cuda.cudaFree(address))
            address = int(self._call(self._cuda.cudaMalloc(size)))
            self._memory[name] = (address, size)
        return address

    def _call(self, result: tuple[Any, ...]) -> Any:
        """The result of a cuda-python call, which returns its error code first instead of raising."""
        if result[0] != self._cuda.cudaError_t.cudaSuccess:
            raise RuntimeError(f"CUDA: {result[0]}")
        return result[1] if len(result) > 1 else None
