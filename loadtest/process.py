"""The state of one load test process: the plan, the samples with their expected answers, and counts."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

from ai102.client import Client, Retry
from ai102.client.addresses import addresses_from_url
from loadtest.options import Plan
from loadtest.payloads import Answer, Sample, Target, is_right, samples_of, targets
from loadtest.slo import Goals

# Names of the counts in the summary.
CHECKED, WRONG, NOT_SENT, LATE = "answers_checked", "answers_wrong", "arrivals_not_sent", "arrivals_sent_late"
# An arrival that is sent more than this after its scheduled time counts as late.
LATE_S = 0.01


@dataclass
class Process:
    """The state of one run."""

    plan: Plan
    samples: dict[tuple[str, str], list[Sample]]  # by protocol and model
    goals: Goals
    left_out: dict[str, int]  # by model: samples that the idle server labels wrongly
    under_way: int = 0  # requests in flight in an open loop
    counts: Counter[str] = field(default_factory=Counter)
    _free: list[int] = field(default_factory=list)
    _places: itertools.count[int] = field(default_factory=itertools.count)

    def take_place(self) -> int:
        """The lowest number that no user of this process holds."""
        return heapq.heappop(self._free) if self._free else next(self._places)

    def leave_place(self, place: int) -> None:
        heapq.heappush(self._free, place)


def connect(url: str, timeout_s: float) -> Client:
    """A client that reports every failure: no retries and no shared memory, as on another host."""
    if url.startswith("grpc"):
        _enable_grpc_for_gevent()
    return Client(url, timeout_s=timeout_s, retry=Retry(tries=1), shared_memory=False)


def prepare(plan: Plan) -> Process:
    """Get the idle server's answer for every sample.

    Raises UserError when the contract has nothing to send, and when a server gives no answer, or wrong ones.
    """
    chosen = targets(plan.contract, plan.what, plan.models, plan.samples, plan.pipelines)
    samples: dict[tuple[str, str], list[Sample]] = {}
    for protocol, url in plan.urls.items():
        with connect(url, plan.timeout_s) as client:
            for target in chosen:
                samples[protocol, target.model] = samples_of(target, client)
    left_out = {
        target.model: len(target.payloads) - len(samples[protocol, target.model])
        for protocol in plan.urls
        for target in chosen
    }
    return Process(plan, samples, _goals(plan, chosen), left_out)


def check(counts: Counter[str], sample: Sample, answer: Answer) -> bool:
    """Whether the answer is right; the result is counted."""
    right = is_right(sample, answer)
    counts[CHECKED] += 1
    counts[WRONG] += not right
    return right


def _goals(plan: Plan, chosen: list[Target]) -> Goals:
    p99_ms = {target.model: plan.p99_ms or target.p99_goal_ms for target in chosen}
    return Goals(p99_ms, plan.error_percent, plan.min_per_s)


@lru_cache(maxsize=1)
def _enable_grpc_for_gevent() -> None:
    # Once, before the first channel, and after `locust --processes` has forked.
    from grpc.experimental.gevent import init_gevent

    init_gevent()


def server_version(url: str, timeout_s: float = 5.0) -> str:
    """The name and version of the server at `url`, or why they are unknown."""
    import grpc
    import urllib3
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    protocol, (address, *_) = addresses_from_url(url)
    try:
        if protocol == "http":
            metadata = urllib3.request("GET", f"http://{address}/v2", timeout=timeout_s, retries=False).json()
            return f"{metadata['name']} {metadata['version']}"
        _enable_grpc_for_gevent()
        with grpc.insecure_channel(address) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            answer = stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=timeout_s)
        return f"{answer.name} {answer.version}"
    except (grpc.RpcError, urllib3.exceptions.HTTPError, ValueError, KeyError) as err:
        return f"not measured: {err.details() if isinstance(err, grpc.RpcError) else err}"
