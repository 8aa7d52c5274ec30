"""Rules about the two forms of a pipeline: a Triton ensemble, and one Python model that runs all of its steps."""

from __future__ import annotations

from ai102.explain.facts import Facts
from ai102.explain.finding import Finding, ms

FEW = 20
# An ensemble hands tensors from process to process. Joined steps are worth a change from this share of a request on.
WORTH_JOINING = 0.2
# Steps with such a share are busy with hand-overs for the most part: in one process the reference image pipeline is
# busy for 0.3 to 0.4 of the time of its steps. Up to this many busy processes, one can do the work of all.
JOINS_INTO_ONE = 2.0
# Apart, the slowest step sets the pace: worth a change where an item keeps it busy for no more than this part of what
# it keeps the one process busy for.
WORTH_SPLITTING = 0.7


def one_process_is_faster(facts: Facts) -> Finding | None:
    """Of an ensemble whose requests are for a good part between its steps, while one process could do all of them."""
    if not facts.config.is_ensemble or facts.counts.requests < FEW or not _all_ran(facts.steps):
        return None
    busy = [step.busy_instances for step in facts.steps]
    if sum(share or 0.0 for share in busy) > JOINS_INTO_ONE:
        return None
    whole = facts.counts.per_request_ms(facts.counts.total_ns)
    computed = sum(step.counts.per_request_ms(step.counts.infer_ns) for step in facts.steps)
    queued = sum(step.counts.per_request_ms(step.counts.queue_ns) for step in facts.steps)
    moved = whole - queued - computed
    if moved < WORTH_JOINING * (whole - queued):
        return None
    return Finding(
        f"on a CPU, one process would answer sooner: tensors take {moved / (whole - queued):.0%} of the time to move",
        f"{ms(whole)} a request: the steps compute {ms(computed)}, {ms(queued)} in queues, {ms(moved)} between them",
        "serve the same steps with in_one_process = true in models.toml, and compare both forms under your load",
    )


def ensemble_is_faster(facts: Facts) -> Finding | None:
    """Of a pipeline in one process that is busy all the time with steps that could run side by side."""
    busy, joined = facts.busy_instances, facts.joined
    if facts.counts.requests < FEW or busy is None or busy < 0.9 * facts.config.instances or not _all_ran(joined):
        return None
    slowest = max(joined, key=_busy_ms)
    own_ms, slowest_ms = _busy_ms(facts), _busy_ms(slowest)
    if slowest_ms > WORTH_SPLITTING * own_ms:
        return None
    return Finding(
        "where cores are idle, the ensemble of the same steps would answer more requests",
        f"{busy:.2f} of {facts.config.instances} instances busy, {ms(own_ms)} an item; of the steps as models of their "
        f"own {slowest.model} takes longest, {ms(slowest_ms)} an item",
        "serve the same steps without in_one_process, or write more instances; compare both forms under your load",
    )


def _busy_ms(facts: Facts) -> float:
    return facts.counts.busy_ns / facts.counts.inferences / 1e6


def _all_ran(steps: tuple[Facts, ...]) -> bool:
    return bool(steps) and all(step.counts.requests and step.counts.inferences for step in steps)
