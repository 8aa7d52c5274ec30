"""Rules about batches: whether they form and, if not, why."""

from __future__ import annotations

from ai102.explain.facts import Facts
from ai102.explain.finding import Finding, ms

# Below this many items a run, nothing is gained by batching.
FORMS = 1.5
# So few requests under way on average are one client that waits for each answer.
ALONE = 1.15
LOW = 0.5
# Fewer executions say nothing about batches.
ENOUGH = 20


def batches_form(facts: Facts) -> Finding | None:
    counts = facts.counts
    if facts.config.is_ensemble or counts.executions < ENOUGH or counts.mean_batch < FORMS:
        return None
    return Finding("batches form", f"{_mean(facts)}; {histogram(facts)}")


def no_batch_dimension(facts: Facts) -> Finding | None:
    if not _runs_alone(facts) or facts.config.max_batch_size > 1:
        return None
    size = facts.config.max_batch_size
    return Finding(
        f"requests never share a run: max_batch_size is {size}",
        _mean(facts),
        "if the model's file has a batch dimension write max_batch_size: 8 (in models.toml: "
        "batching = { max_batch_size = 8 }); if not, export it with one",
    )


def no_dynamic_batching(facts: Facts) -> Finding | None:
    if not _runs_alone(facts) or facts.config.max_batch_size < 2 or facts.config.has_dynamic_batching:
        return None
    return Finding(
        "requests never share a run: the config has no dynamic_batching",
        f"{_mean(facts)}, though max_batch_size is {facts.config.max_batch_size}",
        "write dynamic_batching { max_queue_delay_microseconds: 500 }",
    )


def one_in_flight(facts: Facts) -> Finding | None:
    if not (_could_batch(facts) or facts.config.is_ensemble) or not _is_alone(facts):
        return None
    if (
        facts.around and not facts.config.queue_delay_us
    ):  # the ensemble's own finding says it, and there is nothing to change here
        return None
    under_way, waited = facts.in_flight, facts.counts.per_request_ms(facts.counts.queue_ns)
    is_low = under_way is not None and under_way < LOW
    seen = [] if under_way is None else [f"{under_way:.2f} requests under way on average"]
    if not facts.config.is_ensemble:
        seen += [f"each waited {ms(waited)} in the queue", _mean(facts)]
    spare = "; for this client alone, max_queue_delay_microseconds: 0 saves the wait"
    return Finding(
        "batches do not form: "
        + ("load is low, mostly no request is in flight" if is_low else "there is one request in flight at a time"),
        "; ".join(seen),
        "nothing on the server helps a client that waits for each answer before it asks again: let it send several at "
        f"once (threads, AsyncClient, several items a request){spare if facts.config.queue_delay_us else ''}",
    )


def too_many_instances(facts: Facts) -> Finding | None:
    busy = facts.busy_instances
    if not _could_batch(facts) or _is_alone(facts) or facts.config.instances < 2:
        return None
    if busy is None or busy > 0.8 * facts.config.instances:
        return None
    return Finding(
        "batches do not form: there is nearly always an idle instance, so requests never wait together",
        f"{facts.config.instances} instances, {busy:.1f} of them busy on average; {_mean(facts)}",
        f"write instance_group {{ count: {max(1, round(busy))} }}, or a max_queue_delay_microseconds",
    )


def no_need_to_batch(facts: Facts) -> Finding | None:
    if not _could_batch(facts) or _is_alone(facts) or facts.config.instances > 1 or not _is_idle(facts):
        return None
    waited, delay_us = facts.counts.per_request_ms(facts.counts.queue_ns), facts.config.queue_delay_us
    in_vain = delay_us and waited * 1000 >= 0.5 * delay_us
    return Finding(
        "batches hardly form, nor need they: the model keeps up with requests one by one",
        f"busy {facts.busy_instances or 0:.0%} of the time; {_mean(facts)}"
        + (f"; each waited {ms(waited)} in the queue, the delay is {delay_us} us" if in_vain else ""),
        "write max_queue_delay_microseconds: 0: under more load batches form while the model is busy"
        if in_vain
        else "",
    )


def delay_too_small(facts: Facts) -> Finding | None:
    if not _could_batch(facts) or _is_alone(facts) or not facts.rate or _has_another_cause(facts):
        return None
    gap_us = 1e6 / facts.rate
    if facts.config.queue_delay_us >= 2 * gap_us:
        return None
    delay = facts.config.queue_delay_us
    return Finding(
        f"batches do not form: the queue delay of {delay} us is over before the next request arrives",
        f"a request every {gap_us:.0f} us; {_mean(facts)}",
        f"write max_queue_delay_microseconds: {round(3 * gap_us, -2) or 100:.0f} if the latency goal has room for it, "
        "or let `ai102 tune` find one",
    )


def shapes_differ(facts: Facts) -> Finding | None:
    counts, config = facts.counts, facts.config
    if not _could_batch(facts) or _is_alone(facts) or not config.has_varying_dims or _is_idle(facts):
        return None
    if counts.queue_ns < 0.5 * counts.infer_ns:  # requests waited together in the queue, and still ran alone
        return None
    return Finding(
        "batches do not form although requests wait: those of different shapes are never joined",
        f"{ms(counts.per_request_ms(counts.queue_ns))} of waiting for {ms(counts.per_request_ms(counts.infer_ns))} "
        f"of work; {_mean(facts)}; the config has dims of -1",
        "pad to a few fixed lengths (in models.toml: text = { lengths = [16, 32, 64, 128] })",
    )


def batches_are_full(facts: Facts) -> Finding | None:
    counts, largest = facts.counts, facts.config.max_batch_size
    if facts.config.is_ensemble or counts.executions < ENOUGH or largest < 2:
        return None
    full = dict(counts.batches).get(largest, 0)
    if full < 0.5 * counts.executions:
        return None
    return Finding(
        "batches are full: more requests wait than fit into one",
        f"{full} of {counts.executions} runs took the largest batch, {largest}",
        f"try max_batch_size: {2 * largest} (`ai102 tune` says whether it pays)",
    )


def histogram(facts: Facts) -> str:
    runs = ", ".join(f"{executions} of {size}" for size, executions in facts.counts.batches)
    return f"runs by size: {runs}" if runs else "no runs"


def _runs_alone(facts: Facts) -> bool:
    counts = facts.counts
    return not facts.config.is_ensemble and counts.executions >= ENOUGH and counts.mean_batch < FORMS


def _could_batch(facts: Facts) -> bool:
    return _runs_alone(facts) and facts.config.max_batch_size > 1 and facts.config.has_dynamic_batching


def _is_alone(facts: Facts) -> bool:
    """No more than one request at a time; judged by queue and batches where the time watched is not known."""
    counts = facts.counts
    if counts.executions < ENOUGH:
        return False
    if facts.in_flight is not None:
        return facts.in_flight <= ALONE
    if facts.config.is_ensemble:  # it has no queue and no batches of its own
        return False
    joined = sum(executions for size, executions in counts.batches if size > 1)
    waited_us = counts.per_request_ms(counts.queue_ns) * 1000
    return joined <= 0.02 * counts.executions and waited_us <= facts.config.queue_delay_us + 200


def _is_idle(facts: Facts) -> bool:
    return facts.busy_instances is not None and facts.busy_instances < 0.5 * facts.config.instances


def _has_another_cause(facts: Facts) -> bool:
    return _is_idle(facts) or bool(too_many_instances(facts) or shapes_differ(facts))


def _mean(facts: Facts) -> str:
    return f"{facts.counts.mean_batch:.2f} items a run over {facts.counts.executions} runs"
