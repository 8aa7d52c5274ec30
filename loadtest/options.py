"""The load test's options on Locust's command line and web page, and the load plan that follows from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102.client.addresses import addresses_from_url
from ai102.errors import UserError
from loadtest.shapes import SHAPES, Parameters

HOST = "grpc://127.0.0.1:8001"  # of `make serve`
RUN_TIME_S = 60
ARRIVALS = ("closed", "constant", "poisson")


@dataclass(frozen=True)
class Plan:
    """The load to generate; `plan_from_options` checks it."""

    urls: Mapping[str, str]  # by protocol; each gets load
    contract: Path
    what: str
    models: tuple[str, ...]
    pipelines: str
    samples: int
    arrivals: str
    rate: float  # arrivals per second of all users together
    users: int  # at full load
    think_s: float
    max_in_flight: int  # of one process
    timeout_s: float
    check_share: float
    shape: str
    parameters: Parameters
    p99_ms: float | None
    error_percent: float | None
    min_per_s: float | None

    @property
    def is_open(self) -> bool:
        return self.arrivals != "closed"


# By group: option, default (with the option's type), choices or metavar, help.
OPTIONS: Mapping[str, Sequence[tuple[str, str | int | float, Sequence[str] | str, str]]] = {
    "Requests to Triton": (
        ("--protocol", "auto", ("auto", "grpc", "http", "mixed"), "auto: that of --host, or both if both are given"),
        ("--grpc-url", "", "<url>", "grpc://HOST:PORT, beside an HTTP --host"),
        ("--http-url", "", "<url>", "http://HOST:PORT, beside a gRPC --host"),
        ("--contract", "models.toml", "<file>", "the contract, which declares models and samples"),
        ("--what", "mixed", ("images", "text", "mixed"), "which kinds of models get requests"),
        ("--models", "", "<names>", "names of ensembles, separated by commas; default: one per network"),
        (
            "--pipelines",
            "preferred",
            ("preferred", "steps", "both"),
            "which form of a network's pipelines: steps is the Triton ensemble",
        ),
        ("--samples", 64, "<int>", "number of test samples per model, sent in random order"),
        ("--check-share", 0.1, "<0 to 1>", "share of the answers that are compared with the idle server's"),
        ("--timeout-s", 10.0, "<s>", "timeout of a request"),
    ),
    "Arrivals": (
        ("--arrivals", "closed", ARRIVALS, "closed: a user waits for each answer; else requests are sent at --rate"),
        ("--rate", 10.0, "<per s>", "open loop: arrivals per second of all users together at full load"),
        ("--think-s", 0.0, "<s>", "closed loop: pause of a user after an answer"),
        ("--max-in-flight", 256, "<int>", 'open loop: requests in flight in a process; one more fails as "not sent"'),
        ("--shape", "none", ("none", *SHAPES), "how the load changes over --run-time, up to --users"),
        ("--steps", 5, "<int>", "number of steps of --shape step"),
        ("--base-percent", 20.0, "<%%>", "share of the full load before and after a spike, and at night"),
    ),
    "Goals; if one is missed, the exit status is 1": (
        ("--slo-p99-ms", 0.0, "<ms>", "0: each network's latency_goal in the contract"),
        ("--slo-error-percent", 1.0, "<%%>", "failed, wrong and unsent requests; -1: no goal"),
        ("--slo-min-rps", 0.0, "<per s>", "correct answers per second; 0: no goal"),
        ("--summary", "", "<file>", "write the run's summary to this JSON file"),
    ),
}
# Read when Locust starts, so the web page cannot change them.
ONCE = ("--shape", "--summary")


def add_to(parser: Any) -> None:
    """Add the options to Locust's parser, and so to its web page."""
    for title, options in OPTIONS.items():
        group = parser.add_argument_group(title)
        for option, default, values, words in options:
            choices = {"metavar": values} if isinstance(values, str) else {"choices": values}
            described = words if default == "" or words.startswith(str(default)) else f"{words} (default {default})"
            action = group.add_argument(option, type=type(default), default=default, help=described, **choices)
            action.include_in_web_ui = option not in ONCE  # what Locust's add_argument does outside of groups


def plan_from_options(options: Any, host: str | None) -> Plan:
    """The plan; raises UserError when an option is out of range or options contradict each other."""
    users = int(getattr(options, "full_users", None) or options.num_users or 1)
    plan = Plan(
        urls=_urls(options.protocol, host, options.grpc_url, options.http_url),
        contract=Path(options.contract),
        what=options.what,
        models=tuple(name.strip() for name in options.models.split(",") if name.strip()),
        pipelines=options.pipelines,
        samples=int(options.samples),
        arrivals=options.arrivals,
        rate=float(options.rate),
        users=users,
        think_s=float(options.think_s),
        max_in_flight=int(options.max_in_flight),
        timeout_s=float(options.timeout_s),
        check_share=float(options.check_share),
        shape=options.shape,
        parameters=Parameters(int(options.steps), float(options.base_percent) / 100),
        p99_ms=float(options.slo_p99_ms) or None,
        error_percent=None if float(options.slo_error_percent) < 0 else float(options.slo_error_percent),
        min_per_s=float(options.slo_min_rps) or None,
    )
    bounds = [
        ("--users", users, "at least 1", users >= 1),
        ("--samples", plan.samples, "at least 1", plan.samples >= 1),
        ("--rate", plan.rate, "more than 0", 0 < plan.rate < math.inf),
        ("--think-s", plan.think_s, "0 or more", 0 <= plan.think_s < math.inf),
        ("--max-in-flight", plan.max_in_flight, "at least 1", plan.max_in_flight >= 1),
        ("--timeout-s", plan.timeout_s, "more than 0", 0 < plan.timeout_s < math.inf),
        ("--check-share", plan.check_share, "a share from 0 to 1", 0 <= plan.check_share <= 1),
        ("--steps", plan.parameters.steps, "at least 1", plan.parameters.steps >= 1),
        ("--base-percent", options.base_percent, "from 0 to 100", 0 <= plan.parameters.base <= 1),
        ("--slo-p99-ms", plan.p99_ms, "more than 0 ms", plan.p99_ms is None or plan.p99_ms > 0),
        ("--slo-min-rps", plan.min_per_s, "more than 0 per second", plan.min_per_s is None or plan.min_per_s > 0),
    ]
    for option, value, bound, is_good in bounds:
        if not is_good:
            raise UserError(f"{option} is {value}: expected {bound}")
    return plan


def _urls(protocol: str, host: str | None, grpc_url: str, http_url: str) -> dict[str, str]:
    known: dict[str, str] = {}
    given = {"--host": host, "--grpc-url": grpc_url, "--http-url": http_url}
    for option, url in given.items():
        if not url:
            continue
        scheme, _ = addresses_from_url(url.rstrip("/"))
        if option not in ("--host", f"--{scheme}-url"):
            raise UserError(f"{option} is {url}: write an address that begins with {option[2:6]}://")
        if scheme in known and known[scheme] != url:
            raise UserError(f"{option} is {url}, but --host is {known[scheme]}: give one address for {scheme}")
        known[scheme] = url.rstrip("/")
    protocols = {"auto": tuple(known), "mixed": ("grpc", "http")}.get(protocol, (protocol,))
    for scheme in protocols:
        if scheme not in known:
            port = 8001 if scheme == "grpc" else 8000
            raise UserError(
                f"--protocol is {protocol}, but no address uses {scheme}: add --{scheme}-url {scheme}://127.0.0.1:{port}"
            )
    return {scheme: known[scheme] for scheme in protocols}


def effective_options(plan: Plan) -> dict[str, Any]:
    """The plan as plain values, without options that have no effect."""
    unused = ({"think_s"} if plan.is_open else {"rate", "max_in_flight"}) | (
        {"parameters"} if plan.shape == "none" else set()
    )
    values = {key: value for key, value in dataclasses.asdict(plan).items() if key not in unused}
    return values | {"contract": str(plan.contract)}
