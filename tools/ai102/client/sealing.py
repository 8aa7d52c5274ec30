"""Inference through sealed payloads: the request encrypted for the model anew at every try, its answer opened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ai102.client.calls import Answer, Infer
from ai102.client.errors import BadAnswerError, BadRequestError, BusyError, InferenceError, error_from_answer
from ai102.client.exchange import Attempt, Steps, with_attempts
from ai102.client.tensors import Raw, array_from_raw, bytes_array, raw_from_array

if TYPE_CHECKING:
    from ai102_runtime.seal.envelope import Key
    from ai102_runtime.seal.keys import KeyFolder, Keys

    Seal = Key | Keys | KeyFolder

PREFIX = "sealed_"
ENVELOPE = "envelope"


class Sealed:
    """One call as sealed requests: a new one for each try, because a server refuses a second copy."""

    def __init__(self, seal: Seal, call: Infer) -> None:
        """Raises BadRequestError for a call that cannot be sealed."""
        if call.class_count or call.parameters:
            raise BadRequestError(
                f"{call.model}: a sealed request has no class count and no parameters: use a model with a label step",
                "",
                call.model,
            )
        self.call = call
        # A folder of keys seals with its active key.
        self._key: Key = seal.active if hasattr(seal, "active") else seal
        self._head = b""

    def through(self, ask: Callable[[Infer], Steps]) -> Steps:
        """The Answer as if the call had gone unsealed; `ask` sends a call.

        Raises InferenceError; where the model itself failed, of the class it has for an open model.
        """
        try:
            answer: Answer = yield from with_attempts(ask(self.call), self._sealed)
        except InferenceError as err:
            if (error := self._opened_error(err)) is None:
                raise
            raise error from err
        return self._opened(answer)

    def _sealed(self, attempt: Attempt) -> Attempt:
        return attempt._replace(call=self._request())

    def _request(self) -> Infer:
        from ai102_runtime.seal import envelope, tensors

        packed = [tensors.Tensor(raw.name, raw.datatype, raw.shape, bytes(raw.data)) for raw in self.call.tensors]
        model = PREFIX + self.call.model
        try:
            data = tensors.bytes_from_tensors(packed)
            sealed = envelope.seal_request(self._key, data, model, _now_ms(), self.call.request_id)
        except envelope.SealError as err:
            raise BadRequestError(f"{model}: {err.detail}", "", model) from err
        self._head = sealed.head
        raw = raw_from_array(ENVELOPE, bytes_array([sealed.envelope]))
        return self.call._replace(model=model, tensors=(raw,), outputs=(ENVELOPE,))

    def _opened(self, answer: Answer) -> Answer:
        from ai102_runtime.seal import envelope, tensors

        model = PREFIX + self.call.model
        try:
            (sealed,) = array_from_raw(answer.tensors[ENVELOPE]).reshape(-1)
            data = envelope.open_response(self._key, self._head, sealed, _now_ms())
            opened = tensors.tensors_from_bytes(data)
        except (envelope.SealError, KeyError, ValueError) as err:
            detail = err.detail if isinstance(err, envelope.SealError) else "it does not hold one envelope"
            raise BadAnswerError(f"{model}: the sealed answer was not opened ({detail})", "", model) from err
        return answer._replace(model=self.call.model, tensors={t.name: Raw(*t) for t in opened})

    def _opened_error(self, err: InferenceError) -> InferenceError | None:
        """The error of the model, which the server sealed; None for any other error, such as one of the gateway."""
        from ai102_runtime.seal import envelope, failures

        model = PREFIX + self.call.model
        try:
            sentence = failures.sentence_from_text(self._key, self._head, str(err), _now_ms())
        except envelope.SealError as problem:
            return BadAnswerError(f"{model}: the sealed error was not opened ({problem.detail})", err.status, model)
        if sentence is None:
            return None
        retry_after_s = err.retry_after_s if isinstance(err, BusyError) else None
        return error_from_answer(err.status, sentence, self.call.model, retry_after_s)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
