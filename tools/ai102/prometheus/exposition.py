"""The metrics that a process exposes at /metrics, as numbers by name and labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from ai102.prometheus.api import Sample
from ai102.prometheus.fetching import NoAnswerError, fetched


class Scrape(NamedTuple):
    """All samples of one process at one moment."""

    samples: Mapping[str, tuple[Sample, ...]]

    def of(self, name: str) -> tuple[Sample, ...]:
        """The samples of that name, none where the process does not expose it."""
        return self.samples.get(name, ())


def scraped(address: str, timeout_s: float) -> Scrape:
    """What the process at `address` exposes. Raises NoAnswerError, also where the text is no metrics."""
    text = fetched(address, timeout_s)
    try:
        samples: dict[str, list[Sample]] = {}
        for name, sample in _samples(text):
            samples.setdefault(name, []).append(sample)
    except ValueError as err:
        raise NoAnswerError(f"{address} answers, but not with metrics ({err})") from err
    if not samples:
        raise NoAnswerError(f"{address} answers, but with no metrics")
    return Scrape({name: tuple(rows) for name, rows in samples.items()})


def _samples(text: str) -> Iterator[tuple[str, Sample]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if math.isnan(sample.value):  # of a summary that has seen nothing
                continue
            yield sample.name, Sample(sample.labels, float(sample.value))
            # The parser ends every counter with _total, those too that the process exposes without it, as Triton does.
            if family.type == "counter" and sample.name != family.name:
                yield family.name, Sample(sample.labels, float(sample.value))
