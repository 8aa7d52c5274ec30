"""What callers of a pipeline are promised: written, derived, or refused."""

from pathlib import Path

import pytest

from ai102.contract import contract_from_text
from ai102.contract.goals import goals_of, networks_behind
from ai102.errors import UserError

FILE = Path(__file__).parent.parent.parent / "models.toml"
TEXT = FILE.read_text(encoding="utf-8")
GOALS = "goals = { success_percent = 99.9, p99_ms = 250.0 }\n"

MISTAKES = {
    "faster than the network": (
        "goals = { p99_ms = 50 }",
        "models.toml: ensembles.embed_text.goals.p99_ms is 50 but the latency_goal of its networks is 100 together: "
        "write at least that, or lower theirs",
    ),
    "no failure at all": (
        "goals = { success_percent = 100, p99_ms = 250 }",
        "models.toml: ensembles.embed_text.goals.success_percent is 100: it should be less than 100; "
        "write for example success_percent = 99.9",
    ),
    "a goal that no alert could read": (
        "goals = { success_percent = 50, p99_ms = 250 }",
        "models.toml: ensembles.embed_text.goals.success_percent is 50: it should be greater than or equal to 95; "
        "write for example success_percent = 99.9",
    ),
    "no time": (
        "goals = { success_percent = 99.9 }",
        "models.toml: ensembles.embed_text.goals.p99_ms is missing; write for example p99_ms = 100.0",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_goals_that_cannot_be_are_refused(name: str) -> None:
    goals, line = MISTAKES[name]
    with pytest.raises(UserError) as caught:
        contract_from_text(TEXT.replace(GOALS, goals + "\n", 1), FILE)
    assert str(caught.value) == line


def test_a_sealed_form_has_the_goals_of_its_pipeline_and_none_written_means_twice_its_networks() -> None:
    goals = goals_of(contract_from_text(TEXT.replace(GOALS, "", 1), FILE))
    assert (goals["embed_text"].success_percent, goals["embed_text"].p99_ms) == (99.9, 200.0)
    assert goals["sealed_embed_text"] == goals["embed_text"]
    assert goals["embed_text_steps"].p99_ms == 250.0


def test_every_pipeline_of_the_repository_has_goals_of_its_own() -> None:
    promised = contract_from_text(TEXT, FILE)
    assert [name for name, ensemble in promised.ensembles.items() if ensemble.goals is None] == []
    assert networks_behind(promised)["sealed_classify_image"] == ("digits_int8",)
