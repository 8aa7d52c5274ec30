"""The results as text: a table for each work, then the ratios."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from loadtest.bench.goals import CONCURRENCIES
from loadtest.bench.results import Ratio, Results, WorkResult


def tables_from_results(results: Results) -> Iterator[Table]:
    for work in results.works:
        yield _table(work)
    if results.ratios:
        yield _ratios(results.ratios)


def _table(work: WorkResult) -> Table:
    table = Table("req/s, p50 / p99 ms", title=f"{work.work}: {work.about}", title_justify="left", box=None)
    for concurrency in CONCURRENCIES:
        table.add_column(f"{concurrency} in flight", justify="right", no_wrap=True)
    for name in ("start s", "RSS, PSS MB", "bytes in, out"):
        table.add_column(name, justify="right", no_wrap=True)
    cells = {(cell.server, cell.concurrency): cell for cell in work.cells}
    absent: list[str] = []
    for row in work.servers:
        name = f"{row.server} ({row.variant})" if row.variant else row.server
        if row.not_measured:
            absent.append(f"{name} not measured: {row.not_measured}")
            continue
        rates = []
        for concurrency in CONCURRENCIES:
            cell = cells.get((row.server, concurrency))
            if cell is None:
                rates.append("")
                continue
            # A star: the client's core was saturated, so the server may be faster than this.
            rate = f"{cell.per_s:.1f}{'*' if cell.client_is_full else ''}"
            errors = f" ({cell.errors} errors)" if cell.errors else ""
            rates.append(f"{rate}{errors}, {number(cell.p50_ms, 2)} / {number(cell.p99_ms, 2)}")
        memory = f"{number(row.rss_mb)}, {number(row.pss_mb)}"
        wire = "" if row.request_bytes is None else f"{number(row.request_bytes)}, {number(row.answer_bytes)}"
        table.add_row(name, *rates, number(row.start_s, 1), memory, wire)
    if absent:
        table.caption, table.caption_justify = "\n".join(absent), "left"
    return table


def _ratios(ratios: tuple[Ratio, ...]) -> Table:
    table = Table("ratio", "median", "quartiles", "goal", "", title="Ratios", title_justify="left", box=None)
    for ratio in ratios:
        if ratio.not_measured:
            table.add_row(ratio.name, f"not measured: {ratio.not_measured}")
            continue
        goal = "" if ratio.at_least is None else f">= {ratio.at_least:.2f}"
        goal = goal if ratio.at_most is None else f"<= {ratio.at_most:.2f}"
        verdict = {True: "reached", False: "MISSED", None: ""}[ratio.is_met]
        spread = f"{number(ratio.low, 2)} to {number(ratio.high, 2)}"
        table.add_row(ratio.name, number(ratio.median, 2), spread, goal, verdict)
    return table


def number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:.{digits}f}"
