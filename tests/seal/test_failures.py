"""An error of the model inside: sealed for its caller, with the code that it had."""

import pytest

from ai102_runtime.seal.envelope import Key, SealError, seal_request, seal_response
from ai102_runtime.seal.failures import MAX_SENTENCE_BYTES, code_and_sentence, sentence_from_text, text_from_sentence
from ai102_runtime.seal.keys import Keys

KEY = Key("a", bytes(range(32)))
RING = Keys({"a": KEY}, "a")
NOW = 1_900_000_000_000
HEAD = seal_request(KEY, b"x", "sealed_m", NOW).head
SENTENCE = "text 3 is not valid UTF-8 (byte 17: 中)"


def test_the_caller_reads_the_sentence_and_nobody_else() -> None:
    text = text_from_sentence(RING, HEAD, SENTENCE, NOW)
    assert sentence_from_text(KEY, HEAD, f"[StatusCode.X] sealed_m: {text}; try again later", NOW) == SENTENCE
    assert "UTF" not in text
    with pytest.raises(SealError):
        sentence_from_text(Key("a", bytes(32)), HEAD, text, NOW)
    with pytest.raises(SealError):
        sentence_from_text(KEY, seal_request(KEY, b"x", "sealed_m", NOW).head, text, NOW)  # the head of another request


def test_an_error_that_is_not_sealed_is_none() -> None:
    assert sentence_from_text(KEY, HEAD, "403: no right to ask sealed_m", NOW) is None


@pytest.mark.parametrize("text", ["the error is sealed for its caller: A", "the error is sealed for its caller: AAAA"])
def test_what_is_no_envelope_is_not_opened(text: str) -> None:
    with pytest.raises(SealError):
        sentence_from_text(KEY, HEAD, text, NOW)


def test_an_answer_does_not_pass_for_an_error() -> None:
    from base64 import urlsafe_b64encode

    answer = urlsafe_b64encode(seal_response(RING, HEAD, b"AIT1\0", NOW)).decode()
    with pytest.raises(SealError) as caught:
        sentence_from_text(KEY, HEAD, f"the error is sealed for its caller: {answer}", NOW)
    assert caught.value.detail == "an answer in the place of an error"


def test_a_long_sentence_fits_into_the_headers_of_grpc() -> None:
    text = text_from_sentence(RING, HEAD, "中" * 5000, NOW)
    sentence = sentence_from_text(KEY, HEAD, text, NOW)
    assert sentence is not None
    assert len(text) < 4096
    assert MAX_SENTENCE_BYTES - 3 <= len(sentence.rstrip("\ufffd").encode()) <= MAX_SENTENCE_BYTES


# What tritonserver 2.51 said, asked from inside, where the model asked directly had this code.
SAID = [
    ("in ensemble 'e', text 0 is not valid UTF-8", "INVALID_ARG"),
    ("image 0: no image of a known format", "INVALID_ARG"),
    (
        "in ensemble 'e', Failed to process the request(s) for model 'm_0', message: ValueError: x\n\nAt:\n  f(8)",
        "INTERNAL",
    ),
    ("Failed to process the request(s) for model 'm_0', message: ValueError: is not ready", "INTERNAL"),
    ("the model could not run on this request (Add: broadcast)", "INTERNAL"),
    ("in ensemble 'e', the model could not run on this request (a\nb): check the values and sizes sent", "INTERNAL"),
    ("the model could not run on this request (x): send the shapes and types of the model's config", "INVALID_ARG"),
    ("Failed for execute the inference request. Model 'e' is not ready.", "UNAVAILABLE"),
    ("[request id: a] Exceeds maximum queue size", "UNAVAILABLE"),
    ("inference input 'x' data-type is 'FP32', but model 'e' expects 'BYTES'", "INVALID_ARG"),
]


@pytest.mark.parametrize(("sentence", "code"), SAID)
def test_the_code_that_the_server_lost_follows_from_the_sentence(sentence: str, code: str) -> None:
    assert code_and_sentence(sentence) == (code, sentence)
    assert code_and_sentence(f"Model e - Error when running inference: {sentence}") == (code, sentence)
