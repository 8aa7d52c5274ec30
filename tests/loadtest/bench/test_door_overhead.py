"""What the rounds of the door's benchmark come to."""

import pytest

from loadtest.gateway_overhead.__main__ import Round, row_from_rounds, spread_of


def test_the_door_is_compared_with_the_direct_way_of_the_same_round() -> None:
    rounds = [(Round(1, 2, 1000), Round(1.4, 3, 950)), (Round(2, 3, 500), Round(2.4, 4, 475))]
    row = row_from_rounds("apart", "grpc", "echo", rounds)
    assert (row.more_ms.median, row.share.median, row.door_p99_ms.median) == (pytest.approx(0.4), 0.95, 3.5)
    assert row.direct_per_s == spread_of([500, 1000])


@pytest.mark.parametrize(
    ("protocol", "more_ms", "share", "missed"),
    [
        ("grpc", 0.4, 0.95, []),
        ("grpc", 0.6, 0.95, ["p50"]),
        ("grpc", 0.4, 0.8, ["throughput"]),
        ("grpc", 0.6, 0.8, ["p50", "throughput"]),
        ("rest", 0.6, 0.8, []),
    ],
)
def test_a_goal_that_is_missed_is_named(protocol: str, more_ms: float, share: float, missed: list[str]) -> None:
    rounds = [(Round(1, 2, 1000), Round(1 + more_ms, 3, 1000 * share))]
    assert row_from_rounds("apart", protocol, "echo", rounds).misses == missed
