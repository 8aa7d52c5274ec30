"""The findings, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ai102.explain.facts import Facts
from ai102.explain.finding import ms
from ai102.explain.rules import findings

PARTS = ("queue", "input", "compute", "output", "rest")


def parts_ms(facts: Facts) -> dict[str, float]:
    """Where a request's time goes, in milliseconds; `rest` is Triton's own work around the model, or between steps."""
    counts = facts.counts
    parts = {"queue": counts.queue_ns, "input": counts.input_ns, "compute": counts.infer_ns, "output": counts.output_ns}
    parts["rest"] = max(0, counts.total_ns - sum(parts.values()))
    return {part: counts.per_request_ms(nanoseconds) for part, nanoseconds in parts.items()}


def show(explained: Sequence[Facts], console: Console) -> None:
    """A paragraph a model: where its time goes, then its findings."""
    quiet = [facts.model for facts in explained if len(explained) > 1 and set(findings(facts)) == {"no_requests"}]
    shown = [facts for facts in explained if facts.model not in quiet]
    if len(quiet) == len(explained):  # no requests at all: say so once, with what to do
        shown, quiet = list(explained[:1]), quiet[1:]
    for facts in shown:
        console.print()
        console.print(headline(facts), soft_wrap=True, markup=False)
        if facts.counts.requests:
            console.print(_table(facts))
        for finding in findings(facts).values():
            console.print(f"  {finding.what}", style="bold", soft_wrap=True, markup=False)
            console.print(f"    seen: {finding.evidence}", soft_wrap=True, markup=False)
            if finding.do:
                console.print(f"    do:   {finding.do}", soft_wrap=True, markup=False)
    if quiet:
        console.print(f"\nno requests either: {', '.join(quiet)}", soft_wrap=True, markup=False)


def headline(facts: Facts) -> str:
    counts = facts.counts
    by = f", computed by {facts.engine}" if facts.engine else ""
    if not counts.requests:
        return f"{facts.model}{by}"
    whole = ms(counts.per_request_ms(counts.total_ns))
    if facts.rate:
        over = f"{facts.rate:.4g} requests/s for {facts.seconds:g} s"
    else:
        over = f"{counts.requests} requests since it was loaded"
        over += ", warm-up included" if facts.config.has_warmup else ""
    steps = {f"in {step.model}": step.counts.per_request_ms(step.counts.total_ns) for step in facts.steps}
    part, most = max((steps or parts_ms(facts)).items(), key=lambda item: item[1])
    where = f", most of it {part} ({most / max(counts.per_request_ms(counts.total_ns), 1e-9):.0%})"
    return f"{facts.model}: {over}, {whole} each on the server{where}{by}"


def _table(facts: Facts) -> Table:
    """Where time goes; a row for each step of an ensemble."""
    table = Table("", *PARTS, "in all", "batch", box=None, padding=(0, 0, 0, 2))
    for column in table.columns:
        column.no_wrap, column.justify = True, "right"
    table.columns[0].justify = "left"
    rows = [step for step in facts.steps if step.counts.requests] or [facts]
    for row in rows:
        whole = ms(row.counts.per_request_ms(row.counts.total_ns))
        table.add_row(
            row.model if facts.steps else "a request",
            *(ms(part) for part in parts_ms(row).values()),
            whole,
            f"{row.counts.mean_batch:.2f}",
        )
    return table


def as_dict(explained: Sequence[Facts]) -> list[dict[str, Any]]:
    """The same for programs; times in milliseconds a request."""
    return [
        {
            "model": facts.model,
            "state": facts.state,
            "engine": facts.engine or None,
            "seconds": facts.seconds,
            "requests": facts.counts.requests,
            "failed": facts.counts.failed,
            "milliseconds": {part: round(value, 4) for part, value in parts_ms(facts).items()},
            "mean_batch": round(facts.counts.mean_batch, 3),
            "batches": {str(size): executions for size, executions in facts.counts.batches},
            "in_flight": None if facts.in_flight is None else round(facts.in_flight, 3),
            "steps": [step.model for step in facts.steps],
            "findings": [{"rule": name, **finding._asdict()} for name, finding in findings(facts).items()],
        }
        for facts in explained
    ]
