"""Where a reading comes from: a Prometheus, or the processes themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from ai102.prometheus.exposition import scraped
from ai102.prometheus.fetching import NoAnswerError
from ai102.top.from_prometheus import reading_from_prometheus
from ai102.top.from_scrapes import TIMEOUT_S, Process, Scraping
from ai102.top.reading import Goal, Reading

# Where the gateway's exporter and a Triton listen by default.
GATEWAY, TRITON = "127.0.0.1:8405", "127.0.0.1:8002"


class Source(NamedTuple):
    """`reads`: how many readings it takes until there are rates."""

    read: Callable[[], Reading]
    reads: int


def prometheus(url: str, goals: Mapping[str, Goal]) -> Source:
    return Source(partial(reading_from_prometheus, url, goals), 1)


def processes(gateway: Process | None, tritons: Sequence[Process], goals: Mapping[str, Goal]) -> Source:
    """The processes that a person named; one that does not answer is a problem in each reading."""
    return Source(Scraping(gateway, tritons, goals).read, 2)


def usual_processes(gateway: Process, tritons: Sequence[Process], goals: Mapping[str, Goal]) -> Source:
    """Those of the usual addresses that answer now. Raises NoAnswerError where none does."""
    silent = {process: str(err) for process in (gateway, *tritons) if (err := _silence(process))}
    if len(silent) == 1 + len(tritons):
        reasons = "; ".join(silent.values())
        raise NoAnswerError(f"{reasons}: start one, or name what runs by --url (a Prometheus), --gateway or --triton")
    answering = [triton for triton in tritons if triton not in silent]
    scraping = Scraping(None if gateway in silent else gateway, answering, goals)
    notes = tuple(f"not shown: {reason}" for reason in silent.values())
    return Source(lambda: replace(scraping.read(), notes=notes), 2)


def process(text: str) -> Process:
    """What a person writes: [NAME=]HOST:PORT, or a URL with or without /metrics for the address."""
    name, _, address = text.rpartition("=")
    url = (address if "://" in address else f"http://{address}").rstrip("/").removesuffix("/metrics")
    return Process(name or url.partition("://")[2], f"{url}/metrics")


def _silence(process: Process) -> NoAnswerError | None:
    try:
        scraped(process.address, TIMEOUT_S)
    except NoAnswerError as err:
        return err
    return None
