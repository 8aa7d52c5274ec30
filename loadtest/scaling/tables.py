"""The runs of a comparison as lines for people and as a table of Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.scaling.scenarios import Run


def line_of(name: str, run: Run) -> str:
    row = run.account
    return (
        f"{name}: {row.calls} calls, {row.failed} failed, {row.over_goal_percent:.2f} % over the goal, p50 "
        f"{row.p50_ms:.0f} ms, p99 {row.p99_ms:.0f} ms, {row.pod_seconds:.0f} pod-seconds, at most {row.most_pods} pods"
    )


def table_of(runs: Mapping[str, Run], goal_ms: float) -> str:
    """A row a policy."""
    lines = [
        f"| policy | calls | failed | over {goal_ms:g} ms | p99 | pod-seconds | most pods |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        row = run.account
        lines.append(
            f"| {name} | {row.calls:,} | {row.failed} | {row.over_goal_percent:.2f} % | {row.p99_ms:,.0f} ms | "
            f"{row.pod_seconds:,.0f} | {row.most_pods} |"
        )
    return "\n".join(lines)
