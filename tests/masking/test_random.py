"""What holds for any number in any surroundings, tried on many that are drawn by chance (the seeds are fixed)."""

import random
from collections.abc import Callable

import pytest

from ai102.masking import Masker

from . import made_up
from .corpus import cases

BEFORE = ["", " ", "号码", "=", ":", "：", '"', "(", "[", ",", "，", "用户", "\n", "\t", "no. ", ">", "'", "/"]  # noqa: RUF001
AFTER = ["", " ", "的", ",", "，", "。", '"', ")", "]", ";", "\n", ". ", "<", "'", "/", "登录", "!"]  # noqa: RUF001
GLUE = ["", " ", ",", "=", ":", '"', "'", "\\", "-", ".", "a", "1", "[", "]", "@", "中", "\u200b", "\n", "(", ")", "+",
        "%", "x", "password", "token=", "&", ";", "::", "//"]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        ("identity", made_up.identity), ("card", made_up.card), ("phone", made_up.mobile), ("ip", made_up.address),
        ("email", made_up.email),
    ],
)  # fmt: skip
def test_a_valid_one_is_masked_wherever_it_stands(
    masker: Masker, kind: str, draw: Callable[[random.Random], str]
) -> None:
    chance = random.Random(kind)
    wrong = []
    for _ in range(1000):
        before, value, after = chance.choice(BEFORE), draw(chance), chance.choice(AFTER)
        masked = masker.mask(f"{before}{value}{after}")
        # One in some hundred cards with 15 digits is an identity number of the old form too, which has no check digit.
        if masked not in (f"{before}[{kind}]{after}", f"{before}[identity]{after}" if len(value) == 15 else ""):
            wrong.append((before, value, after, masked))
    assert wrong == []


def test_digits_that_fail_the_check_are_neither_identity_nor_card(masker: Masker) -> None:
    chance = random.Random("wrong")
    wrong = []
    for _ in range(3000):
        number = made_up.identity(chance) if chance.random() < 0.5 else made_up.card(chance)
        other = chance.choice([digit for digit in "0123456789" if digit != number[-1]])
        text = number[:-1] + other
        if len(text) == 15 or made_up.has_check_digit(text):
            continue  # the old identity number has no check digit; a wrong identity number may be a right card
        if masker.mask(text) != text:
            wrong.append((text, masker.mask(text)))
    assert wrong == []


def test_masking_any_mixture_of_texts_twice_is_as_masking_it_once(masker: Masker) -> None:
    chance, texts = random.Random("mixture"), [case.text for case in cases()]

    def piece() -> str:
        text = chance.choice(texts)
        return text[chance.randrange(len(text) + 1) :][: chance.randrange(1, 60)] if chance.random() < 0.6 else text

    wrong = []
    for _ in range(3000):
        mixture = "".join(piece() + chance.choice(GLUE) for _ in range(chance.randrange(1, 5)))
        once = masker.mask(mixture)
        if masker.mask(once) != once:
            wrong.append((mixture, once))
    assert wrong == []
