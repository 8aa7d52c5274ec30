"""Rates of counters between two scrapes, over restarts and new series."""

import math

from ai102.prometheus.api import Sample
from ai102.prometheus.exposition import Scrape
from ai102.top.scrapes import Window, buckets, summed


def scrape(**values: float) -> Scrape:
    return Scrape({"calls": tuple(Sample({"pipeline": name}, value) for name, value in values.items())})


def rates(window: Window) -> dict[str, float]:
    assert window.span is not None
    return dict(summed(window.span.rises("calls"), "pipeline"))


def test_one_scrape_gives_no_rates() -> None:
    window = Window()
    window.add(100.0, scrape(a=5))
    assert (window.span, window.newest) == (None, scrape(a=5))


def test_a_rate_is_the_rise_over_the_time_between() -> None:
    window = Window()
    window.add(100.0, scrape(a=5, b=1))
    window.add(104.0, scrape(a=25, b=1))
    assert rates(window) == {"a": 5.0, "b": 0.0}


def test_a_counter_that_fell_began_anew() -> None:
    window = Window()
    window.add(100.0, scrape(a=500))
    window.add(102.0, scrape(a=8))
    assert rates(window) == {"a": 4.0}


def test_a_new_series_began_at_zero() -> None:
    window = Window()
    window.add(100.0, scrape(a=1))
    window.add(102.0, scrape(a=1, b=6))
    assert rates(window) == {"a": 0.0, "b": 3.0}


def test_the_window_forgets_what_is_older_than_it() -> None:
    window = Window(10.0)
    for second in range(31):
        window.add(float(second), scrape(a=0 if second <= 15 else (second - 15) * 10))
    assert window.span is not None
    assert (window.span.seconds, rates(window)) == (10.0, {"a": 10.0})


def test_the_last_seconds_are_known_once_the_window_reaches_so_far() -> None:
    window = Window(10.0)
    window.add(0.0, scrape(a=0))
    window.add(4.0, scrape(a=40))
    assert window.lately(5.0) is None
    window.add(6.0, scrape(a=40))
    window.add(9.0, scrape(a=40))
    assert window.lately(5.0) == (scrape(a=40), scrape(a=40), 5.0)


def test_after_a_process_did_not_answer_it_has_no_rates_until_two_scrapes() -> None:
    window = Window()
    window.add(100.0, scrape(a=5))
    window.clear()
    window.add(104.0, scrape(a=9))
    assert window.span is None


def test_buckets_of_several_series_are_added_up() -> None:
    rows = [({"pipeline": "a", "le": "0.1", "protocol": protocol}, 2.0) for protocol in ("rest", "grpc")]
    rows += [({"pipeline": "a", "le": "+Inf", "protocol": "rest"}, 5.0)]
    assert buckets(rows, "pipeline") == {"a": {0.1: 4.0, math.inf: 5.0}}
