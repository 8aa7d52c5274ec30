"""A judged reading as one screen of text: what is wrong at the top, then tables, the worst row first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ai102.top import states
from ai102.top.reading import Model, Pipeline, Replica
from ai102.top.states import BAD, BROKEN, GOOD, QUIET, UNUSUAL, Judged, State

STYLES = {BROKEN: "bold red", BAD: "bold yellow", UNUSUAL: "cyan", GOOD: "green", QUIET: "dim"}
# So many sentences fit above the tables of a small terminal.
MOST_WRONG = 6

_Part = TypeVar("_Part", Pipeline, Model, Replica)


class Column(NamedTuple, Generic[_Part]):
    """A column of figures, left out where the screen is narrower than `least_width`."""

    title: str
    cell: Callable[[_Part], str]
    least_width: int = 0


def screen(judged: Judged, width: int) -> RenderableType:
    """Everything, for a screen so many characters wide."""
    parts: list[RenderableType] = [_headline(judged), *_wrong(judged), _sums(judged)]
    parts += [Text(note, style="dim") for note in judged.reading.notes]
    parts += _section("PIPELINE", judged.pipelines, PIPELINES, width)
    parts += _section("MODEL", judged.models, MODELS, width)
    parts += _section("REPLICA", judged.replicas, REPLICAS, width)
    return Group(*parts)


def unanswered(message: str, age_s: float) -> Text:
    """What stands above an old screen while the source does not answer."""
    return Text(f"NO ANSWER  {message}; what follows is {age_s:.0f} s old", style=STYLES[BROKEN])


def known(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)


PIPELINES: tuple[Column[Pipeline], ...] = (
    Column("req/s", lambda row: states.number(row.rate)),
    Column("ok", lambda row: known(row.success, states.success), 60),
    Column("p50", lambda row: known(row.p50_s, states.time), 70),
    Column("p99", lambda row: known(row.p99_s, states.time)),
    Column("goal", lambda row: known(row.p99_goal_s, states.time), 80),
    Column("in flight", lambda row: known(row.in_flight, states.number), 50),
    Column("capacity", lambda row: known(row.capacity_used, states.share), 90),
    Column("refused", lambda row: known(row.refused, states.share), 100),
)
MODELS: tuple[Column[Model], ...] = (
    Column("inf/s", lambda row: states.number(row.rate)),
    Column("batch", lambda row: known(row.batch, states.number), 60),
    Column("queue", lambda row: known(row.queue_share, states.share)),
    Column("mean", lambda row: known(row.mean_s, states.time), 70),
    Column("p99", lambda row: known(row.p99_s, states.time), 90),
    Column("in flight", lambda row: known(row.in_flight, states.number), 50),
    Column("waiting", lambda row: known(row.waiting, states.number), 80),
    Column("fail/s", lambda row: states.number(row.failures), 100),
)
REPLICAS: tuple[Column[Replica], ...] = (
    Column("inf/s", lambda row: known(row.rate, states.number)),
    Column("in flight", lambda row: known(row.in_flight, states.number)),
)


def _headline(judged: Judged) -> Text:
    reading = judged.reading
    at = time.strftime("%H:%M:%S", time.localtime(reading.at_s))
    return Text(f"{at}  rates over {reading.window_s:.0f} s  {reading.source}", style="dim", no_wrap=True)


def _wrong(judged: Judged) -> list[Text]:
    wrong = judged.wrong
    if not wrong:
        return [Text("ALL WELL", style=STYLES[GOOD])]
    lines = [f"{len(wrong)} WRONG"] + [f"  {line}" for line in wrong[:MOST_WRONG]]
    if len(wrong) > MOST_WRONG:
        lines.append(f"  and {len(wrong) - MOST_WRONG} more")
    return [Text(line, style=STYLES[BROKEN]) for line in lines]


def _sums(judged: Judged) -> Text:
    """The whole in one line; replicas count as up where nobody says that they are not."""
    words = []
    if judged.replicas:
        up = sum(state.rank >= UNUSUAL for _, state in judged.replicas)
        words.append(f"replicas {up} of {len(judged.replicas)} up")
    if judged.pipelines:
        words.append(f"{states.number(sum(part.rate for part, _ in judged.pipelines))} requests/s")
        words.append(f"{states.number(sum(part.in_flight or 0 for part, _ in judged.pipelines))} in flight")
    if judged.reading.capacity_used is not None:
        words.append(f"{states.share(judged.reading.capacity_used)} of the capacity used")
    return Text(", ".join(words))


def _section(
    title: str, rows: Sequence[tuple[_Part, State]], columns: Sequence[Column[_Part]], width: int
) -> list[RenderableType]:
    """A table, and one line with the names of those that do nothing."""
    if not rows:
        return []
    chosen = [column for column in columns if width >= column.least_width]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("STATE", no_wrap=True, min_width=8)
    table.add_column(title, no_wrap=True, overflow="ellipsis", min_width=10, ratio=None)
    for column in chosen:
        table.add_column(column.title, no_wrap=True, justify="right")
    for part, state in rows:
        if state.rank != QUIET:
            # In capitals, so that it stands out without colour.
            word = Text(state.word.upper() if state.is_wrong else state.word, style=STYLES[state.rank])
            table.add_row(word, Text(part.name), *(column.cell(part) for column in chosen))
    quiet = [part.name for part, state in rows if state.rank == QUIET]
    lines: list[RenderableType] = [Text("")]
    if table.row_count:
        lines.append(table)
    if quiet:
        lines.append(Text(f"{title.lower()}s without requests: {', '.join(quiet)}", style=STYLES[QUIET]))
    return lines
