"""The table of rules, in the order in which a person reads their findings."""

from __future__ import annotations

from collections.abc import Callable

from ai102.explain import batching, forms, health
from ai102.explain.facts import Facts
from ai102.explain.finding import Finding

Rule = Callable[[Facts], Finding | None]
RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        health.not_ready,
        health.no_requests,
        health.requests_failed,
        health.queue_dominates,
        batching.no_batch_dimension,
        batching.no_dynamic_batching,
        batching.one_in_flight,
        batching.too_many_instances,
        batching.no_need_to_batch,
        batching.shapes_differ,
        batching.delay_too_small,
        batching.batches_are_full,
        batching.batches_form,
        health.ensemble_overhead,
        forms.one_process_is_faster,
        forms.ensemble_is_faster,
        health.copies_dominate,
        health.warm_up_missing,
        health.cache_rarely_hits,
        health.cache_hits,
    )
}


def findings(facts: Facts) -> dict[str, Finding]:
    """The finding of each rule that applies, by the rule's name."""
    findings_or_none = {name: rule(facts) for name, rule in RULES.items()}
    return {name: finding for name, finding in findings_or_none.items() if finding is not None}
