"""Rules about the two forms of a pipeline: a Triton ensemble, and one Python model that runs all of its steps."""

from __future__ import annotations

from ai102.explain.facts import Facts
from ai102.explain.finding import Finding, ms

FEW = 20
# An ensemble hands tensors from process to process. Joined steps are worth a change from this share of a request on.
WORTH_JOINING = 0.2
# One process can keep up while its steps need less than this part of it.
ONE_PROCESS = 0.8
# Apart, steps run side by side: worth it where the slowest takes no more than this part of their time.
WORTH_SPLITTING = 0.7


def one_process_is_faster(facts: Facts) -> Finding | None:
    """Of an ensemble whose requests are for a good part between its steps, while one process could do all of them."""
    if not facts.config.is_ensemble or facts.counts.requests < FEW or not _all_ran(facts.steps):
        return None
    busy = [step.busy_instances for step in facts.steps]
    if sum(share or 0.0 for share in busy) > ONE_PROCESS:
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
    times = {step.model: step.counts.busy_ns / step.counts.inferences for step in joined}
    slowest = max(times, key=lambda model: times[model])
    if times[slowest] > WORTH_SPLITTING * sum(times.values()):
        return None
    return Finding(
        "where cores are idle, the ensemble of the same steps would answer more requests",
        f"{busy:.2f} of {facts.config.instances} instances busy; of the steps as models of their own, {slowest} takes "
        f"{times[slowest] / sum(times.values()):.0%} of the time",
        "serve the same steps without in_one_process, or write more instances; compare both forms under your load",
    )


def _all_ran(steps: tuple[Facts, ...]) -> bool:
    return bool(steps) and all(step.counts.requests and step.counts.inferences for step in steps)
