"""Every rule on the smallest models that break it, and on models that break none."""

from pathlib import Path

import pytest

from ai102.lint import lint
from ai102.lint.catalogue import CODES
from tests.e2e.conftest import write_repository

from .bad_models import BAD, BAD_LATER, GOOD, Models, bad_cases, models_of

ROOT = Path(__file__).parents[2]


def codes_of(root: Path, models: Models, triton: str = "2.51") -> set[str]:
    write_repository(root, models)
    return {finding.code for finding in lint(root, triton=triton) if finding.path.startswith("m/")}


@pytest.mark.parametrize(("code", "models", "triton"), [pytest.param(*case, id=case[0]) for case in bad_cases()])
def test_a_model_that_breaks_one_rule_has_its_code_alone(
    code: str, models: Models, triton: str, tmp_path: Path
) -> None:
    assert codes_of(tmp_path, models, triton) == {code}


@pytest.mark.parametrize("name", GOOD)
def test_a_model_that_breaks_no_rule_has_no_finding(name: str, tmp_path: Path) -> None:
    assert codes_of(tmp_path, models_of(GOOD[name])) == set()


def test_every_code_has_a_model_that_breaks_it() -> None:
    assert set(BAD) | set(BAD_LATER) == set(CODES)
