"""Rules, alerts and routes: complete, few, each with its runbook and its tests, as Prometheus takes them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ai102.errors import UserError
from ai102.monitoring import checking

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "monitoring"
TEAMS, SEVERITIES = {"platform", "models"}, {"page", "ticket"}
# Before a page goes out a scrape must see it, two evaluations begin and end its `for`, and the group waits.
PAGE_WITHIN_S = 180


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for file in sorted((FOLDER / "rules").glob("*.yaml"))
        for group in loaded(file)["groups"]
        for rule in group["rules"]
    ]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def cases() -> list[dict[str, Any]]:
    """Each expectation of the unit tests about an alert."""
    files = sorted((FOLDER / "tests").glob("*.yaml"))
    return [case for file in files for test in loaded(file)["tests"] for case in test.get("alert_rule_test", ())]


def seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def test_there_are_at_most_twenty_alerts_and_three_of_jobs() -> None:
    of_jobs = {name for name in ALERTS if name.startswith("Job")}
    assert len(of_jobs) <= 3
    assert len(ALERTS.keys() - of_jobs) <= 20


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_what_is_wrong_how_urgent_it_is_and_for_whom(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in SEVERITIES
    assert alert["labels"]["team"] in TEAMS
    assert len(alert["annotations"]["summary"]) < 120
    assert seconds(alert["for"]) >= 60
    assert alert["annotations"]["runbook"] == f"docs/runbooks.md#{name.lower()}"
    assert f"\n## {name}\n" in (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_tests_in_which_it_fires_and_in_which_it_stays_silent(name: str) -> None:
    expectations = [bool(case.get("exp_alerts")) for case in cases() if case["alertname"] == name]
    assert set(expectations) == {True, False}


def test_no_unit_test_names_an_alert_that_is_none() -> None:
    assert {case["alertname"] for case in cases()} - set(ALERTS) == set()


@pytest.mark.parametrize("name", [name for name, alert in ALERTS.items() if name in ("ReplicaDown", "GatewayDown")])
def test_a_page_goes_out_within_three_minutes(name: str) -> None:
    intervals = loaded(FOLDER / "prometheus" / "prometheus.yaml")["global"]
    wait_s = seconds(loaded(FOLDER / "alertmanager" / "alertmanager.yaml")["route"]["group_wait"])
    scrape_s, evaluation_s = (seconds(intervals[key]) for key in ("scrape_interval", "evaluation_interval"))
    # The alert reads a rule of another group: one evaluation more.
    assert scrape_s + 3 * evaluation_s + seconds(ALERTS[name]["for"]) + wait_s <= PAGE_WITHIN_S - 30


def test_every_recording_rule_has_a_unit_test_or_is_read_by_another_rule_or_a_dashboard() -> None:
    files = [FOLDER / "tests" / "recording.yaml", *(FOLDER / "dashboards").glob("*.json")]
    read = "".join(file.read_text(encoding="utf-8") for file in files) + "".join(str(rule["expr"]) for rule in rules())
    names = {rule["record"] for rule in rules() if "record" in rule}
    assert [name for name in sorted(names) if not re.search(rf"{name}\b", read)] == []


def programs_or_skip() -> list[list[str]]:
    try:
        return list(checking.commands(FOLDER))
    except UserError as err:
        pytest.skip(str(err))


@pytest.mark.slow
def test_prometheus_and_alertmanager_take_all_of_it_and_every_unit_test_passes() -> None:
    programs_or_skip()
    lines: list[str] = []
    checking.check(ROOT, lines.append)
    assert len(lines) == 3 + len(list((FOLDER / "tests").glob("*.yaml")))


DRAINED = "a replica stays down, another was drained first, a third restarts at once"


@pytest.mark.slow
def test_a_rule_that_is_broken_fails_its_unit_test(tmp_path: Path) -> None:
    promtool = programs_or_skip()[0][0]
    for folder in ("rules", "tests"):
        (tmp_path / folder).mkdir()
        for file in (FOLDER / folder).glob("*.yaml"):
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    pipelines = tmp_path / "rules" / "pipelines.yaml"
    broken = pipelines.read_text(encoding="utf-8").replace("ai102_gateway_replica_drained) == 1", "ai102_none) == 1")
    pipelines.write_text(broken, encoding="utf-8")
    file = tmp_path / "tests" / "serving.yaml"
    tests = yaml.safe_load(file.read_text(encoding="utf-8"))
    tests["tests"] = [test for test in tests["tests"] if test.get("name") == DRAINED]
    file.write_text(yaml.safe_dump(tests), encoding="utf-8")
    words = [promtool, "test", "rules", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert DRAINED in done.stdout + done.stderr


# Which receiver hears of an alert with these labels.
ROUTES = {
    ("severity=page", "team=platform", "alertname=ReplicaDown"): "platform-pages",
    ("severity=page", "team=models", "alertname=StubDead"): "models-pages",
    ("severity=ticket", "team=platform", "alertname=DiskFills"): "platform-tickets",
    ("severity=ticket", "team=models", "alertname=QueueShareHigh"): "models-tickets",
    ("alertname=OfAnotherTeam",): "platform-tickets",
}


@pytest.mark.parametrize("labels", ROUTES)
def test_each_severity_and_team_has_its_receiver(labels: tuple[str, ...]) -> None:
    *_, amtool_words = programs_or_skip()
    config = str(FOLDER / "alertmanager" / "alertmanager.yaml")
    words = [amtool_words[0], "config", "routes", "test", f"--config.file={config}", *labels]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ROUTES[labels]
