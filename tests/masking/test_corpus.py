"""What is masked and what is not, case by case."""

import re

from ai102.masking import Masker, load

from .conftest import RULES
from .corpus import cases

CASES = cases()
MARK = re.compile(r"\[[a-z]+\]")


def test_the_masker_makes_of_every_text_what_the_corpus_says(masker: Masker) -> None:
    masked = [(case.text, masker.mask(case.text)) for case in CASES]
    assert masked == [(case.text, case.masked) for case in CASES]


def test_masking_masked_text_changes_nothing(masker: Masker) -> None:
    assert [masker.mask(case.masked) for case in CASES] == [case.masked for case in CASES]


def test_the_corpus_is_large_enough_and_has_every_kind() -> None:
    positive = [case for case in CASES if case.is_positive]
    assert len(positive) >= 150
    assert len(CASES) - len(positive) >= 150
    kinds = {rule.kind for rule in load(RULES).rules}
    assert {mark[1:-1] for case in positive for mark in MARK.findall(case.masked)} >= kinds
