"""Every query of every dashboard, and `ai102 top`: real Prometheus, gateway and replicas under load.

`pytest -s` prints each panel with its values.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from ai102.dashboards import files, pictures
from ai102.dashboards.queries import PanelQueries, VariableQuery, filled, legend, queries_from_file
from ai102.dashboards.units import worded
from ai102.progress import Progress
from ai102.prometheus.api import instant, label_values
from ai102.prometheus.quantiles import quantile
from ai102.top import scrapes
from tests.dashboards.stack import MODELS, REPLICAS, Load, Stack, running
from tests.dashboards.terminal import live
from tests.gateway.conftest import needs, wait_until
from tests.parts_of import program_or_skip
from tests.ports import free_addresses

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.long, needs("haproxy")]
ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / files.FOLDER
RULES = sorted((ROOT / "monitoring" / "rules").glob("*.yaml"))
# So many seconds of load, at a scrape each second, fill every rate.
LOADED_S = 20.0
# Of a graph over the short time of a test.
RATE_INTERVAL = "15s"
DASHBOARDS = {name: queries_from_file(FOLDER / f"{name}.json") for name in sorted(files.MODULES)}
PANEL_OF = {(name, panel.title): panel for name, dashboard in DASHBOARDS.items() for panel in dashboard.panels}
PANELS = [(name, panel) for name, dashboard in DASHBOARDS.items() for panel in dashboard.panels]
VARIABLES = [(name, variable) for name, dashboard in DASHBOARDS.items() for variable in dashboard.variables]
VALUES = {"model": "classify_image"}
# Where nothing goes wrong these are 0; every other panel has a value above 0 under load.
MAY_BE_ZERO = {
    "Alerts that fire",
    "Requests that got no good answer",
    "Share of requests that were not ok",
    "Requests by outcome",
    "Requests by pipeline",
    "Failures by reason",
    "Requests that wait",
    "Requests that wait, by model",
    "Replicas taken out",
    "In flight",
    "In flight on each replica",
    "Time spent in the queue",
    "Share of time in the queue",
    "Where a request's time goes",
    "Answers by their time",
    "Network",
    "Pace of failures",
    "Pace of slow answers",
    "Capacity used, by calls in flight",
    "Jobs that wait",
    "Jobs that wait, by priority",
    "Longest wait",
    "Longest wait, by priority",
    "Dead letters",
    "Jobs with workers",
    "Attempts that failed",
    "Taken up again",
    "Results that nobody fetched",
}
LARGEST = {
    "percentunit": 1.5,
    "s": 60.0,
    "reqps": 1e5,
    "d": 5000.0,
    "currencyUSD": 10.0,
    "Bps": 1e11,
    "bytes": 1e11,
    "short": 1e6,
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    prometheus, node_exporter = program_or_skip("prometheus"), program_or_skip("node-exporter")
    with (
        running(tmp_path_factory.mktemp("stack"), prometheus, node_exporter, RULES) as stack,
        Load(stack) as load,
    ):
        load.run_for(LOADED_S)
        yield load


@pytest.fixture(scope="module")
def stack(loaded: Load) -> Stack:
    return loaded.stack


class Silent:
    """A Reporter that says nothing."""

    @contextmanager
    def step(self, title: str) -> Iterator[Progress]:
        yield lambda done, total: None

    def say(self, line: str) -> None:
        pass


def say(line: str) -> None:
    """For `pytest -s`."""
    print(line)  # noqa: T201 - the list of panels and their values


def name_of(part: object) -> str:
    return part if isinstance(part, str) else str(getattr(part, "title", getattr(part, "name", part)))


@pytest.mark.parametrize(("dashboard", "variable"), VARIABLES, ids=name_of)
def test_a_variable_offers_what_runs(dashboard: str, variable: VariableQuery, stack: Stack) -> None:
    values = label_values(stack.prometheus, variable.label, variable.selector)
    say(f"\n{dashboard}, variable {variable.name}: {', '.join(values)}")
    assert set(values) >= {"pipeline": set(MODELS), "model": set(MODELS), "replica": set(REPLICAS)}[variable.name]


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=name_of)
def test_every_query_of_a_panel_gives_plausible_values(dashboard: str, panel: PanelQueries, stack: Stack) -> None:
    say(f"\n{dashboard}: {panel.title}")
    values = []
    for target in panel.targets:
        rows = instant(stack.prometheus, filled(target.expression, VALUES, RATE_INTERVAL))
        # What had no traffic has no ratio: Grafana leaves a gap.
        known = [row for row in rows if not math.isnan(row.value)]
        assert known, f"query {target.ref} gives no series with a value: {target.expression}"
        for row in known:
            say(f"    {legend(target.legend, row.labels)}: {worded(row.value, panel.unit_of_values)}")
            values.append(row.value)
    # A busy machine misses its goals.
    largest = 100.0 if "goal" in panel.title else LARGEST[panel.unit_of_values]
    assert all(0 <= value <= largest for value in values)
    assert max(values) > 0 or panel.title in MAY_BE_ZERO


def test_the_rates_of_the_dashboards_are_those_of_the_load(loaded: Load) -> None:
    """Counted by the callers and by Prometheus over the same seconds."""
    shown = PANEL_OF["gateway", "Requests"].targets[0].expression
    before = loaded.outcomes.total()
    loaded.run_for(15.0)
    per_s = instant(loaded.stack.prometheus, filled(shown, VALUES, "15s"))[0].value
    assert per_s == pytest.approx((loaded.outcomes.total() - before) / 15.0, rel=0.5)


def test_the_parts_of_a_request_add_up_to_its_mean_time(stack: Stack) -> None:
    def sum_of(title: str) -> float:
        targets = PANEL_OF["model", title].targets
        rows = [instant(stack.prometheus, filled(one.expression, VALUES, "15s")) for one in targets]
        return sum(row.value for of_target in rows for row in of_target) / (len(rows[0]) if len(rows) == 1 else 1)

    parts, whole = sum_of("Where a request's time goes"), sum_of("Mean time of a request, by replica")
    assert parts == pytest.approx(whole, rel=0.2)


def test_pictures_of_all_panels_are_drawn(stack: Stack, tmp_path: Path) -> None:
    drawn = pictures.draw(FOLDER, stack.prometheus, 60.0, tmp_path, Silent())
    assert [path.name for path in drawn] == [f"{name}.png" for name in sorted(files.MODULES)]
    for path in drawn:
        with Image.open(path) as picture:
            assert (picture.format, picture.width > 800, picture.height > 800) == ("PNG", True, True)


def test_our_quantiles_are_those_of_prometheus(stack: Stack) -> None:
    buckets = "ai102_gateway_request_duration_seconds_bucket"
    now = time.time() - 5  # what a scrape that goes on now brings is not of then
    rows = [(row.labels, row.value) for row in instant(stack.prometheus, f"sum by (pipeline, le) ({buckets})", now)]
    for share in (0.5, 0.9, 0.99):
        query = f"histogram_quantile({share}, sum by (pipeline, le) ({buckets}))"
        theirs = {row.labels["pipeline"]: row.value for row in instant(stack.prometheus, query, now)}
        for pipeline, histogram in scrapes.buckets(rows, "pipeline").items():
            ours = quantile(share, histogram)
            assert (ours is None) == math.isnan(theirs[pipeline])
            assert ours is None or ours == pytest.approx(theirs[pipeline])


def top(stack: Stack, *words: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `ai102 top`."""
    done = subprocess.run(
        [sys.executable, "-m", "ai102", "top", *words], cwd=stack.folder, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("source", ["prometheus", "processes"])
def test_top_shows_what_is_under_load(source: str, stack: Stack) -> None:
    options = ["--url", stack.prometheus] if source == "prometheus" else stack.scraping_options
    _, output, complaint = top(stack, *options, "--once", "--format", "json")
    assert complaint == ""
    seen = json.loads(output)
    pipelines = {row["name"]: row for row in seen["pipelines"]}
    models = {row["name"]: row for row in seen["models"]}
    for name in MODELS:
        pipeline, model = pipelines[name], models[name]
        assert (pipeline["rate"] > 1, pipeline["success"], model["rate"] > 1, model["batch"] >= 1) == (
            True, 1.0, True, True,
        )  # fmt: skip
        assert 0 < pipeline["p50_s"] <= pipeline["p99_s"] < 10
        assert 0 <= model["queue_share"] <= 1
        assert 0 < model["p99_s"] < 10
        assert pipeline["p99_goal_s"] in (0.1, 0.25)
    assert pipelines["embed_text"]["refused"] > 0
    assert {(row["name"], row["state"]) for row in seen["replicas"]} == {("a", "up"), ("b", "up")}
    assert (seen["alerts"] is not None) == (source == "prometheus")


def test_both_sources_of_top_agree(stack: Stack) -> None:
    readings = [
        json.loads(top(stack, *options, "--once", "--format", "json", "--interval", "5")[1])
        for options in (["--url", stack.prometheus], stack.scraping_options)
    ]
    for kind in ("pipelines", "models"):
        # The shares of the load, since the one looks back over a minute and the other over seconds.
        shares = [
            {row["name"]: row["rate"] / sum(one["rate"] for one in reading[kind]) for row in reading[kind]}
            for reading in readings
        ]
        assert shares[1] == {name: pytest.approx(share, rel=0.4, abs=0.01) for name, share in shares[0].items()}


def test_top_prints_one_screen_where_the_output_is_no_terminal(stack: Stack) -> None:
    _, output, _ = top(stack, *stack.scraping_options)
    assert "\x1b[" not in output
    assert re.search(r"^\w+ +classify_image ", output, re.M)
    assert "replicas 2 of 2 up" in output


def test_a_gateway_that_is_not_there_is_one_line_beside_the_rest(stack: Stack) -> None:
    (free,) = free_addresses(1)
    options = ["--gateway", free, *stack.scraping_options[2:]]
    status, output, _ = top(stack, *options, "--once")
    assert (status, f"  http://{free}/metrics does not answer (Connection refused)" in output.splitlines()) == (1, True)
    assert re.search(r"^\w+ +classify_image ", output, re.M)


@pytest.mark.parametrize("source", ["prometheus", "processes"])
def test_a_killed_replica_is_on_the_screen(source: str, stack: Stack) -> None:
    options = ["--url", stack.prometheus] if source == "prometheus" else stack.scraping_options
    with live(stack, *options) as screen:
        screen.wait_for("replicas 2 of 2 up", 90.0)
        killed = time.monotonic()
        stack.servers["b"].kill()
        screen.wait_for("WRONG", 90.0)
        screen.wait_for("replica b: ", 90.0)
        took_s = time.monotonic() - killed
    say(f"\n{source}: on the screen {took_s:.1f} s after the kill")
    stack.servers["b"].stop(at_once=True)
    stack.start_replica("b")
    wait_until(lambda: len(instant(stack.prometheus, "ai102_gateway_replica_up == 1")) == 2, "it is back")
