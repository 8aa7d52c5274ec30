"""The table has a row for each scenario, and below it what failed."""

from tests.cluster.calls.record import Call, row_of
from tests.cluster.calls.scenarios import SCENARIOS
from tests.cluster.calls.table import Entry, text_of


def test_a_table_shows_every_scenario_and_what_failed() -> None:
    calm = row_of("rolling restart", [Call("gRPC", 1.0, 1.25, 1)] * 20_000, 0.0, 100.0)
    bad = row_of("node cut off the network", [Call("gRPC", 1.0, 3.0, 4, "DeadlineError: late")], 0.5, 100.0)
    lines = text_of("ai102.client", [Entry(1, "ai102.client", "0", calm), Entry(7, "ai102.client", "0.1%", bad)], 250.0)
    assert "capacity 250 calls/s" in lines
    assert "| 1 rolling restart | 20,000 | 0 | 0 | 0.25 s | not disturbed | 0 |" in lines
    assert "| 7 node cut off the network | 1 | 1 | 0.1% | 2.00 s | 2.5 s | 3 |" in lines
    assert "7: 1 x DeadlineError: late (the last due 0.5 s after)" in lines


def test_there_are_twelve_scenarios_and_four_essential_ones() -> None:
    assert list(SCENARIOS) == list(range(1, 13))
    assert [number for number, scenario in SCENARIOS.items() if scenario.is_essential] == [1, 2, 6, 7]
