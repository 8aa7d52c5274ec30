"""Rules about readiness, failures, waiting, warm-up, ensembles, copies and caches."""

from __future__ import annotations

from ai102.explain.facts import Facts
from ai102.explain.finding import Finding, ms

FEW = 20
# What Triton means by the reasons in its metrics.
REASONS = {
    "REJECTED": "turned away by the queue's policy (full, or timed out): more instances, a longer queue, less load",
    "CANCELED": "given up by their clients: their deadline is shorter than the server's answer takes",
    "BACKEND": "failed inside the model: read the server's log",
    "OTHER": "refused before they ran, most often for a wrong input: read the error that the client got",
}


def not_ready(facts: Facts) -> Finding | None:
    if facts.state == "READY":
        return None
    if not facts.state:
        return Finding("the model is not loaded", "the server knows its folder alone", "load it: `ai102 serve --model`")
    return Finding(
        f"the model is not ready: {facts.state.lower()}",
        facts.state_reason or "the server gives no reason",
        "put right what the server's log says and load it again (`ai102 lint` finds most of it without a server)",
    )


def no_requests(facts: Facts) -> Finding | None:
    counts = facts.counts
    if counts.requests or counts.failed or facts.state != "READY":
        return None
    since = f"in {facts.seconds:g} s" if facts.seconds else "since it was loaded"
    seen = f"; {facts.before.requests} before that" if facts.before.requests else ""
    say = "send some while this watches: `ai102 infer MODEL ITEM...`, or locust -f loadtest/locustfile.py"
    more = "; --seconds 0 explains all since it was loaded" if facts.before.requests else ""
    return Finding(f"no requests {since}", f"0 requests{seen}", say + more)


def requests_failed(facts: Facts) -> Finding | None:
    counts = facts.counts
    if not counts.failed:
        return None
    asked = counts.failed + counts.requests
    failures = {reason: count for reason, count in (facts.failures or {}).items() if count}
    since = " since it was loaded" if facts.seconds else ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in failures.items())
    advice = "; ".join(f"{reason}: {REASONS.get(reason, 'see the server log')}" for reason in failures)
    return Finding(
        f"{counts.failed / asked:.1%} of the requests failed",
        f"{counts.failed} of {asked}" + (f"; by reason{since}: {reasons}" if reasons else ""),
        advice or "the reasons are in the server's metrics: give --metrics-url http://HOST:8002",
    )


def queue_dominates(facts: Facts) -> Finding | None:
    counts = facts.counts
    compute = counts.input_ns + counts.infer_ns + counts.output_ns
    if facts.config.is_ensemble or counts.requests < FEW or counts.queue_ns <= compute:
        return None
    busy, delay_us = facts.busy_instances, facts.config.queue_delay_us
    is_idle = busy is not None and busy < 0.5 * facts.config.instances
    if is_idle and not delay_us:
        return None  # they arrive in bursts, and instances are idle
    if is_idle or counts.per_request_ms(counts.queue_ns) * 1000 <= 1.5 * delay_us:
        return Finding(
            "requests spend more time waiting to be batched than being computed",
            f"{ms(counts.per_request_ms(counts.queue_ns))} in the queue, {ms(counts.per_request_ms(compute))} at work, "
            f"the delay is {facts.config.queue_delay_us} us",
            "write a smaller max_queue_delay_microseconds; `ai102 tune` finds it",
        )
    seen = f"; {busy:.2f} of {facts.config.instances} instances busy" if busy is not None else ""
    return Finding(
        "requests wait longer than they are computed: more arrive than the model keeps up with",
        f"{ms(counts.per_request_ms(counts.queue_ns))} in the queue, {ms(counts.per_request_ms(compute))} at work"
        f"{seen}",
        "larger batches, more instances where cores are idle (`ai102 tune`), another replica, or a queue that turns "
        "requests away: dynamic_batching { default_queue_policy { max_queue_size: 128 } }",
    )


def copies_dominate(facts: Facts) -> Finding | None:
    counts = facts.counts
    moved = counts.input_ns + counts.output_ns
    if facts.config.is_ensemble or counts.requests < FEW or moved <= counts.infer_ns:
        return None
    return Finding(
        "moving tensors takes longer than the model itself",
        f"input {ms(counts.per_request_ms(counts.input_ns))} and output {ms(counts.per_request_ms(counts.output_ns))} "
        f"for {ms(counts.per_request_ms(counts.infer_ns))} of work a request",
        "smaller types on the wire (UINT8 for pixels), fewer outputs asked for, shared memory for large tensors",
    )


def warm_up_missing(facts: Facts) -> Finding | None:
    before, now = facts.before, facts.counts
    if facts.config.has_warmup or facts.config.is_ensemble or not before.executions or now.executions < FEW:
        return None
    first, later = (counts.busy_ns / counts.executions / 1e6 for counts in (before, now))
    if before.executions > FEW or first < 2 * later:
        return None
    return Finding(
        "the first requests were slow, and there is no warm-up",
        f"{ms(first)} a run in the first {before.executions}, {ms(later)} since",
        "write model_warmup (in models.toml: warmup = { batch_sizes = [1, 8] }): the model then warms up before it "
        "counts as ready",
    )


def ensemble_overhead(facts: Facts) -> Finding | None:
    steps = [step for step in facts.steps if step.counts.requests]
    if not steps or facts.counts.requests < FEW:
        return None
    slowest = max(steps, key=lambda step: step.counts.per_request_ms(step.counts.total_ns))
    whole = facts.counts.per_request_ms(facts.counts.total_ns)
    longest = slowest.counts.per_request_ms(slowest.counts.total_ns)
    if whole <= 1.1 * longest:
        return None
    return Finding(
        f"the ensemble takes longer than its slowest step, {slowest.model}",
        f"{ms(whole)} a request, the step {ms(longest)}: "
        + ", ".join(f"{step.model} {ms(step.counts.per_request_ms(step.counts.total_ns))}" for step in steps),
        "for latency, make the other steps cheaper or, on a CPU, join them (in_one_process = true); for throughput "
        "only the busiest step counts: `ai102 tune` on the ensemble",
    )


def cache_rarely_hits(facts: Facts) -> Finding | None:
    looked = facts.counts.cache_hits + facts.counts.cache_misses
    if not facts.config.has_cache or looked < FEW or facts.counts.cache_hits >= 0.1 * looked:
        return None
    return Finding(
        "the response cache hardly ever hits: it costs more than it saves",
        f"{facts.counts.cache_hits} of {looked} look-ups hit ({facts.counts.cache_hits / looked:.1%})",
        "take response_cache out, or make the server's --cache-config larger if requests do repeat",
    )


def cache_hits(facts: Facts) -> Finding | None:
    looked = facts.counts.cache_hits + facts.counts.cache_misses
    if not looked or facts.counts.cache_hits < 0.1 * looked:
        return None
    return Finding("the response cache saves work", f"{facts.counts.cache_hits / looked:.1%} of {looked} look-ups hit")
