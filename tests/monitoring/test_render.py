"""Constants of the contract as rules, and what `ai102 monitoring` says of them."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ai102 import contract
from ai102.cli.main import app
from ai102.contract.goals import goals_of
from ai102.errors import UserError
from ai102.monitoring.capacity import capacities_of, not_measured
from ai102.monitoring.constants import rules_text
from ai102.monitoring.render import CAPACITY, CONTRACT_RULES, outdated, write

ROOT = Path(__file__).parent.parent.parent
CONTRACT = contract.load(ROOT / "models.toml")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("models.toml", str(CAPACITY)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def constants(text: str) -> dict[tuple[str, ...], str]:
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    return {(rule["record"], *rule.get("labels", {}).values()): rule["expr"] for rule in rules}


def test_the_committed_rules_are_those_of_the_contract() -> None:
    assert outdated(ROOT) == []


def test_goals_capacities_and_models_are_constants(home: Path) -> None:
    text = (home / "models.toml").read_text(encoding="utf-8")
    goal = "goals = { success_percent = 99.9, p99_ms = 250.0 }"
    (home / "models.toml").write_text(text.replace(goal, "goals = { success_percent = 99.5, p99_ms = 2000 }", 1))
    assert write(home) == [home / CONTRACT_RULES]
    values = constants((home / CONTRACT_RULES).read_text(encoding="utf-8"))
    assert values["contract:success_goal:ratio", "embed_text"] == "vector(0.995)"
    assert values["contract:p99_goal:bucket", "sealed_embed_text", "2.0"] == "vector(1)"
    assert values["contract:p99_goal:bucket", "classify_image", "0.1"] == "vector(1)"
    assert values["contract:versions:count", "digits_int8"] == "vector(1)"
    assert values["contract:replica_hour:cost",] == "vector(0.1)"
    assert {key[1] for key in values if key[0] == "contract:capacity:rate"} == set(goals_of(CONTRACT))
    assert write(home) == []


def test_without_a_price_there_is_no_cost() -> None:
    free = CONTRACT.model_copy(update={"costs": type(CONTRACT.costs)()})
    assert ("contract:replica_hour:cost",) not in constants(rules_text(free, capacities_of(free, ROOT / CAPACITY)))


def test_every_pipeline_of_the_repository_was_measured() -> None:
    assert not_measured(CONTRACT, capacities_of(CONTRACT, ROOT / CAPACITY)) == []


def test_a_pipeline_that_was_not_measured_is_named_with_the_command(home: Path) -> None:
    measured = json.loads((home / CAPACITY).read_text(encoding="utf-8"))
    del measured["models"]["classify_image"]
    (home / CAPACITY).write_text(json.dumps(measured), encoding="utf-8")
    write(home)
    text = (home / CONTRACT_RULES).read_text(encoding="utf-8")
    assert "# classify_image was not measured: ai102 tune classify_image\n" in text
    assert ("contract:capacity:rate", "sealed_classify_image") not in constants(text)


def test_a_file_of_another_form_is_one_line(home: Path) -> None:
    (home / CAPACITY).write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match=r"capacity.json: not what `ai102 tune` writes"):
        write(home)


def test_the_capacity_in_flight_is_the_rate_times_the_usual_time(tmp_path: Path) -> None:
    row = {"requests_per_second_per_replica": 200.0, "p50_ms": 50.0}
    file = tmp_path / "capacity.json"
    file.write_text(json.dumps({"models": dict.fromkeys(CONTRACT.ensembles, row)}), encoding="utf-8")
    assert capacities_of(CONTRACT, file)["sealed_embed_text"] == (200.0, 10.0)


def test_the_check_names_what_is_outdated(home: Path) -> None:
    words = ["monitoring", "render", "--contract", str(home / "models.toml")]
    missing = CliRunner().invoke(app, [*words, "--check"])
    assert (missing.exit_code, missing.stdout) == (1, "outdated monitoring/rules/contract.yaml\n")
    written = CliRunner().invoke(app, words)
    assert (written.exit_code, written.stdout) == (0, "wrote monitoring/rules/contract.yaml\n")
    assert CliRunner().invoke(app, [*words, "--check"]).exit_code == 0
