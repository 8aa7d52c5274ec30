"""An error of the model behind a sealed model, as a text that only the caller can read; and what kind of error it was.

A proxy sees that a request failed and Triton's code for it, so that error rates and retries stay what they are for an
open model. The sentence, which may tell lengths, positions or values of the input, is sealed like an answer and stands
in base64 (URL alphabet, RFC 4648) behind a fixed introduction.
"""

from __future__ import annotations

import base64
import binascii
import re

from ai102_runtime.seal.envelope import Key, Ring, SealError, open_response, seal_response

MAGIC = b"AIE1"
INTRODUCTION = "the error is sealed for its caller: "
SEALED = re.compile(re.escape(INTRODUCTION) + r"(?P<envelope>[A-Za-z0-9_-]+={0,2})")
MAX_SENTENCE_BYTES = 2048  # sealed and in base64 it must fit into the headers of gRPC, 8 kB

# The Python backend turns the code of every error of a model that another model asked into INTERNAL
# (triton-inference-server/server, issue 7804). What the sentence begins or ends with tells the code it had; all others
# are refusals of the input.
BEFORE_EXECUTION = re.compile(r"Model \S+ - Error when running inference: ")
IN_ENSEMBLE = r"(?:in ensemble '[^']*', )?"
CODES = (
    (re.compile(rf"{IN_ENSEMBLE}Failed to process the request\(s\) for model "), "INTERNAL"),
    (
        re.compile(
            rf"{IN_ENSEMBLE}the model could not run on this request \(.*\)(?:: check the values and sizes sent)?\Z",
            re.DOTALL,
        ),
        "INTERNAL",
    ),
    (
        re.compile(
            r".*(?:Model '[^']*' is not ready\.?|Exceeds maximum queue size|Request timeout expired)\Z", re.DOTALL
        ),
        "UNAVAILABLE",
    ),
)


def text_from_sentence(keys: Ring, request_head: bytes, sentence: str, now_ms: int) -> str:
    """The text to answer with; only the caller whose request has this head can open it. Raises SealError."""
    data = MAGIC + sentence.encode("utf-8", "replace")[:MAX_SENTENCE_BYTES]
    envelope = seal_response(keys, request_head, data, now_ms)
    return INTRODUCTION + base64.urlsafe_b64encode(envelope).decode("ascii")


def sentence_from_text(key: Key, request_head: bytes, text: str, now_ms: int) -> str | None:
    """The sentence inside; None for a text without a sealed error. Raises SealError for one that does not open."""
    match = SEALED.search(text)
    if match is None:
        return None
    try:
        envelope = base64.urlsafe_b64decode(match["envelope"])
    except binascii.Error as err:
        raise SealError("format", "the sealed error is not base64") from err
    data = open_response(key, request_head, envelope, now_ms)
    if not data.startswith(MAGIC):
        raise SealError("format", "an answer in the place of an error")
    return data.removeprefix(MAGIC).decode("utf-8", "replace")


def code_and_sentence(message: str) -> tuple[str, str]:
    """Triton's code of an error that a model inside the server answered with, and its sentence as a caller knows it."""
    sentence = BEFORE_EXECUTION.sub("", message, count=1) if BEFORE_EXECUTION.match(message) else message
    return next((code for pattern, code in CODES if pattern.match(sentence)), "INVALID_ARG"), sentence
