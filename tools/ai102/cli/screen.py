"""Terminal output: progress bars while steps run, tables of their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ai102.progress import Progress as Callback

if TYPE_CHECKING:
    from ai102.build.inventory import Row
    from ai102.client.ask import Answer


class Screen:
    """The Reporter of the command line."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Callback]:
        if not self.console.is_terminal:
            self.say(f"{title} ...")
            yield lambda done, total: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as bars:
            bar = bars.add_task(title, total=None)
            yield lambda done, total: bars.update(bar, completed=done, total=total)

    @contextmanager
    def counts(self, titles: Sequence[str]) -> Iterator[Callable[[int, Sequence[int]], None]]:
        """A bar for each title while the block runs, moved by (total, the count of each)."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        is_drawn = self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=not is_drawn) as bars:
            tasks = [bars.add_task(title, total=None) for title in titles]

            def move(total: int, counts: Sequence[int]) -> None:
                for task, count in zip(tasks, counts, strict=True):
                    bars.update(task, completed=count, total=total)

            yield move

    def say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, markup=False)


def answer_as_dict(answer: Answer) -> dict[str, Any]:
    """One entry of `ai102 infer --json`."""
    if answer.error:
        return {"item": answer.item, "error": answer.error}
    return {"item": answer.item, "milliseconds": round(answer.milliseconds, 3), **answer.outputs}


def print_answers(answers: Sequence[Answer]) -> None:
    """One row per item; a refused item shows its error."""
    columns = list(dict.fromkeys(key for answer in answers for key in answer.outputs))
    table = Table("item", *columns, "ms", box=None)
    for answer in answers:
        if answer.error:
            continue
        cells = [_short(answer.outputs[column]) for column in columns]
        table.add_row(_clipped(answer.item), *cells, f"{answer.milliseconds:.1f}")
    console = Console(highlight=False)
    if table.row_count:
        console.print(table)
    for answer in answers:
        if answer.error:
            console.print(f"{_clipped(answer.item)}: {answer.error}", style="red", markup=False, soft_wrap=True)


def print_models(rows: Sequence[Row]) -> None:
    """One row per model; a cell that does not apply is blank."""
    columns = ("model", "version", "served as", "size", "budget", "engine", "config")
    table = Table(*columns, *(["server"] if any(row.server for row in rows) else []), box=None)
    for column in table.columns:
        column.no_wrap = True
    table.add_column("source", no_wrap=True)
    for row in rows:
        state = [row.server] if len(table.columns) > len(columns) + 1 else []
        table.add_row(
            row.model,
            " ".join([*map(str, row.versions), *(f"({number} rolled back)" for number in row.rolled_back)]),
            row.precision,
            "" if row.megabytes is None else f"{row.megabytes:.2f} MB",
            {True: "met", False: "missed", None: ""}[row.budget_met] if row.is_judged_anew else "not judged anew",
            " ".join(row.engines) or ("not built" if row.kind == "onnx" else ""),
            "fresh" if row.config_is_fresh else "stale",
            *state,
            row.source or row.kind,
        )
    Console(highlight=False, width=1000).print(table)  # the terminal wraps long lines


def _short(value: Any) -> str:
    if isinstance(value, list):
        first = ", ".join(_short(entry) for entry in value[:3])
        return f"[{first}, ... {len(value)} in all]" if len(value) > 3 else f"[{first}]"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _clipped(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
