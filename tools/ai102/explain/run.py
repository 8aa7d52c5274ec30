"""Two readings of a running server's statistics, and the difference between them."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from ai102.client import Client
from ai102.client.addresses import one_address_from_url
from ai102.client.calls import ModelState
from ai102.errors import UserError
from ai102.explain.facts import Config, Counts, Facts, Metrics, between, config_from_pb, counts_of, metrics_from_text
from ai102.progress import Reporter

# The ports that Triton listens on by default. With one of them in the URL, the metrics are at METRICS_PORT.
DEFAULT_PORTS, METRICS_PORT = ("8000", "8001"), 8002
TICK_S = 0.1


def explain(
    url: str, model: str | None, seconds: float, metrics_url: str | None, report: Reporter | None
) -> list[Facts]:
    """The facts of `model`, an ensemble's steps in it, or of every model of the server that is of interest.

    Raises UserError: no server, no such model, a negative window, no metrics at the address given.
    """
    if seconds < 0:
        raise UserError(f"--seconds is {seconds:g}: write how long to watch, or 0 for all since the models were loaded")
    one_address_from_url(url)  # statistics of several servers cannot be separated
    with Client(url) as client:
        states = {state.name: state for state in client.models()}
        if model is not None and model not in states:
            raise UserError(f"{url} has no model {model}; it has {', '.join(states) or 'none'}")
        ready = [name for name, state in states.items() if state.state == "READY"]
        configs = {name: config_from_pb(client.config(name)) for name in ready}
        first = _counts(client)
        if seconds:
            _watch(seconds, report)
            began_at_rest = first
            second = _counts(client)
        else:
            began_at_rest, second = {}, first
    metrics = _metrics(url, metrics_url)
    models = [model] if model else [name for name, state in states.items() if state.state]
    return facts_of(models, states, configs, began_at_rest, second, seconds or None, metrics)


def facts_of(
    models: Sequence[str],
    states: Mapping[str, ModelState],
    configs: Mapping[str, Config],
    before: Mapping[str, Counts],
    after: Mapping[str, Counts],
    seconds: float | None,
    metrics: Metrics | None,
) -> list[Facts]:
    """Ensembles first, then the other models; in each kind the busiest first."""

    def one(name: str, around: float = 0.0) -> Facts:
        config = configs.get(name, Config())
        start, end = before.get(name, Counts()), after.get(name, Counts())
        state = states.get(name)
        return Facts(
            name,
            config,
            between(start, end),
            start,
            seconds,
            state.state if state else "",
            state.reason if state else "",
            None if metrics is None else metrics.failures.get(name, {}),
            "" if metrics is None else metrics.engines.get(name, ""),
            tuple(one(step) for step in config.steps),
            tuple(one(step) for step in config.joined),
            around,
        )

    under_way = {name: one(name).in_flight or 0.0 for name, config in configs.items() if config.is_ensemble}
    facts = [one(name, sum(under_way[e] for e in under_way if name in configs[e].steps)) for name in models]
    return sorted(facts, key=lambda one: (not one.config.is_ensemble, -one.counts.total_ns, one.model))


def _counts(client: Client) -> dict[str, Counts]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in client.statistics():
        rows.setdefault(row["name"], []).append(row)
    return {name: counts_of(versions) for name, versions in rows.items()}


def _watch(seconds: float, report: Reporter | None) -> None:
    if report is None:
        time.sleep(seconds)
        return
    ends = time.monotonic() + seconds
    with report.step(f"watching for {seconds:g} s") as progress:
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(TICK_S, left))
            progress(round(10 * (seconds - left)), round(10 * seconds))


def _metrics(url: str, metrics_url: str | None) -> Metrics | None:
    """None where no address of the metrics is given and the usual one has none."""
    host, _, port = one_address_from_url(url).rpartition(":")
    if metrics_url is None and port not in DEFAULT_PORTS:
        return None
    address = (metrics_url or f"http://{host}:{METRICS_PORT}").rstrip("/").removesuffix("/metrics") + "/metrics"
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=3) as answer:
            return metrics_from_text(answer.read().decode("utf-8", "replace"))
    except (urllib.error.URLError, OSError, ValueError) as err:
        if metrics_url is None:
            return None
        reason = getattr(err, "reason", err)
        raise UserError(f"{address}: no metrics ({reason}); give the server's metrics port, 8002 by default") from err
