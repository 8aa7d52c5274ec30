"""Contradictory recipes are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ai102.contract import Recipe


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"method": "percentile"}, "write percentile = 99.999"),
        ({"percentile": 99.9}, 'write method = "percentile" or drop it'),
        ({"method": "entropy", "smoothing": 0.8}, 'write method = "minmax" or drop smoothing'),
        ({"smoothing": 1.5}, "less than or equal to 1"),
        ({"method": "kl"}, "'minmax', 'percentile' or 'entropy'"),
        ({"keep_float": [""]}, "at least 1 character"),
        ({"alpha": 0.5}, "Extra inputs"),
    ],
)
def test_contradictions_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(table)


def test_an_empty_table_is_a_recipe() -> None:
    assert Recipe.model_validate({}) == Recipe(method="minmax", percentile=None, smoothing=None, keep_float=())
