"""One client for both of Triton's protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from ai102.errors import UserError


class InferenceError(UserError):
    """The server answered with an error, or did not answer.

    `status` is the server's own word for it: "400" over HTTP, "INVALID_ARGUMENT" over gRPC, "" without answer.
    """

    def __init__(self, message: str, status: str = "") -> None:
        super().__init__(message)
        self.status = status


class ModelState(NamedTuple):
    """One version of a model as the server's repository index tells it."""

    name: str
    version: str  # empty where nothing was loaded yet
    state: str  # READY, LOADING, UNLOADING, UNAVAILABLE; empty where nothing was loaded yet
    reason: str


class Client:
    """`with Client("grpc://127.0.0.1:8001") as client:` or `http://127.0.0.1:8000`; not shared between threads."""

    def __init__(self, url: str, *, timeout_s: float = 60.0) -> None:
        """Raises UserError when the URL is of another kind; connects on first use."""
        protocol, separator, address = url.partition("://")
        if not separator or protocol not in ("http", "grpc"):
            raise UserError(f'"{url}" is no address of a Triton: write http://HOST:PORT or grpc://HOST:PORT')
        self.url = url
        self._timeout_s = timeout_s
        # Imported here: either library takes a while to load, and only one is needed.
        if protocol == "http":
            import tritonclient.http as library

            self._client: Any = library.InferenceServerClient(
                address, connection_timeout=timeout_s, network_timeout=timeout_s
            )
        else:
            import tritonclient.grpc as library

            self._client = library.InferenceServerClient(address)
        self._protocol, self._library = protocol, library

    def infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """Run `model` on arrays by input name and return arrays by output name (all outputs when none is named).

        Text and encoded images travel as arrays of bytes objects. Raises InferenceError with the server's sentence.
        """
        tensors = []
        for name, array in inputs.items():
            tensor = self._library.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        requested = [self._library.InferRequestedOutput(name) for name in outputs] or None
        answer = self._asked(model, self._client.infer, model, tensors, outputs=requested)
        return {name: answer.as_numpy(name) for name in outputs or self._names(answer.get_response())}

    def models(self) -> list[ModelState]:
        """Every model of the server's repository, a row for each version. Raises InferenceError."""
        index = self._asked("the model repository", self._client.get_model_repository_index)
        if self._protocol == "http":
            return [ModelState(*(row.get(key, "") for key in ModelState._fields)) for row in index]
        return [ModelState(row.name, row.version, row.state, row.reason) for row in index.models]

    def load(self, model: str) -> None:
        """Load `model`, or load it anew, on a server in explicit model control mode. Raises InferenceError."""
        self._asked(model, self._client.load_model, model)

    def _asked(self, about: str, ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if self._protocol == "grpc":
            options["client_timeout"] = self._timeout_s
        try:
            return ask(*arguments, **options)
        except InferenceServerException as err:
            raise self._error(about, err) from err
        except OSError as err:  # the HTTP client lets the socket's own errors through
            raise InferenceError(f"{self.url}: no Triton answers ({err}); start one with `ai102 serve`") from err

    def _names(self, response: Any) -> list[str]:
        outputs = response["outputs"] if self._protocol == "http" else response.outputs
        return [output["name"] if self._protocol == "http" else output.name for output in outputs]

    def _error(self, model: str, err: InferenceServerException) -> InferenceError:
        status = str(err.status() or "").removeprefix("StatusCode.")
        if status == "UNAVAILABLE" and "failed to connect" in err.message():
            return InferenceError(f"{self.url}: no Triton answers; start one with `ai102 serve`")
        sentence = str(err.message())
        return InferenceError(sentence if f"'{model}'" in sentence else f"{model}: {sentence}", status)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def bytes_array(items: Sequence[bytes]) -> NDArray[np.object_]:
    """Items as a BYTES tensor [items, 1]: one per row of a batch."""
    array = np.empty((len(items), 1), dtype=np.object_)
    array[:, 0] = items
    return array
