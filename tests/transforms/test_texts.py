import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from ai102_runtime.transforms.scores import token_labels, top_labels
from ai102_runtime.transforms.texts import TextEncoder, text_from_bytes


def tokenizer() -> Tokenizer:
    """Words a to z between [CLS] and [SEP], with the padding and cutting a checkpoint's file may ask for."""
    words = {"[PAD]": 9, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3} | {chr(97 + i): 10 + i for i in range(26)}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.enable_padding(length=128, pad_id=9, pad_token="[PAD]")
    made.enable_truncation(128)
    return made


def test_texts_are_padded_to_the_shortest_length_that_holds_them_all() -> None:
    input_ids, attention_mask, truncated = TextEncoder(tokenizer(), [4, 8]).tokens(["a b", "c"])
    assert input_ids.tolist() == [[1, 10, 11, 2], [1, 12, 2, 9]]
    assert attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert truncated.tolist() == [[False], [False]]
    assert (input_ids.dtype, truncated.dtype) == (np.int64, np.bool_)


def test_a_longer_text_moves_the_batch_to_the_next_length() -> None:
    input_ids, _, truncated = TextEncoder(tokenizer(), [4, 8]).tokens(["a b c", "d"])
    assert input_ids.shape == (2, 8)
    assert not truncated.any()


def test_a_text_over_the_last_length_is_cut_before_its_end_mark_and_says_so() -> None:
    input_ids, attention_mask, truncated = TextEncoder(tokenizer(), [4, 8]).tokens(["a " * 100_000, "b"])
    assert input_ids[0].tolist() == [1, 10, 10, 10, 10, 10, 10, 2]
    assert attention_mask[0].all()
    assert truncated.tolist() == [[True], [False]]


def test_the_contracts_padding_token_takes_the_place_of_the_tokenizers() -> None:
    input_ids, attention_mask, _ = TextEncoder(tokenizer(), [4, 8], pad_id=7).tokens(["c"])
    assert input_ids.tolist() == [[1, 12, 2, 7]]
    assert attention_mask.tolist() == [[1, 1, 1, 0]]


def test_spans_are_characters_of_the_text_and_0_where_a_token_stands_for_none() -> None:
    encoder = TextEncoder(tokenizer(), [4, 8])
    *tokens, spans = encoder.tokens_and_spans(["a  é b", "c"])
    assert spans.tolist() == [
        [[0, 0], [0, 1], [3, 4], [5, 6], [0, 0], [0, 0], [0, 0], [0, 0]],
        [[0, 0], [0, 1], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]],
    ]
    assert spans.dtype == np.int32
    assert [array.tolist() for array in tokens] == [array.tolist() for array in encoder.tokens(["a  é b", "c"])]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the text is empty: send at least one word"),
        (b" \n\t", "the text is empty: send at least one word"),
        (b"ab\xff", "the text is not valid UTF-8 (byte 2): encode it as UTF-8"),
        (b"12345678901", "the text has 11 bytes, more than 10: split it and send the parts"),
    ],
)
def test_a_bad_text_is_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the sentence is compared below
        text_from_bytes(data, max_bytes=10)
    assert str(caught.value) == sentence


def test_top_labels_names_the_best_of_each_row() -> None:
    labels, scores = top_labels(np.array([[0.1, 0.9], [0.7, 0.3]], np.float32), [b"no", b"yes"])
    assert labels.tolist() == [[b"yes"], [b"no"]]
    assert scores.tolist() == [[pytest.approx(0.9)], [pytest.approx(0.7)]]


def test_token_labels_names_the_best_of_each_token_that_stands_for_something() -> None:
    scores = np.array([[[0.1, 0.9], [0.7, 0.3], [0.2, 0.8]], [[0.6, 0.4], [0.5, 0.5], [0.4, 0.6]]], np.float32)
    spans = np.array([[[0, 0], [0, 2], [3, 4]], [[0, 1], [0, 0], [0, 0]]], np.int32)
    labels, best = token_labels(scores, spans, [b"no", b"yes"])
    assert labels.tolist() == [[b"", b"no", b"yes"], [b"no", b"", b""]]
    assert best.tolist() == [[0, pytest.approx(0.7), pytest.approx(0.8)], [pytest.approx(0.6), 0, 0]]
    assert (labels.dtype, best.dtype, best.shape) == (np.object_, np.float32, (2, 3))
