"""The lines of a preflight in a terminal: a table where it is wide, paragraphs where it is narrow."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ai102.preflight.run import Line

STYLES = {"ok": "green", "note": "yellow", "unfit": "bold red"}
# A table of five columns that is narrower than this has more broken lines than whole ones.
TABLE_WIDTH = 110


def show(console: Console, lines: Sequence[Line], summary: str) -> None:
    """Print the lines in the console's width, and the summary in the colour of the worst."""
    console.print(table_of(lines) if console.width >= TABLE_WIDTH else paragraphs_of(lines))
    worst = max((line.verdict for line in lines), key=list(STYLES).index)
    console.print(Text(summary, STYLES[worst]))


def table_of(lines: Sequence[Line]) -> Table:
    """For a wide terminal: a row a check."""
    table = Table("", "check", "found", "wanted", "what to do", box=None, pad_edge=False)
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for line in lines:
        table.add_row(
            Text(line.verdict, STYLES[line.verdict]),
            Text(line.name),
            Text(line.found),
            Text(line.wanted),
            Text(line.advice),
        )
    return table


def paragraphs_of(lines: Sequence[Line]) -> Table:
    """For a narrow one: a paragraph a check, and what to do on a line of its own."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    for line in lines:
        advice = f"\n{line.advice}" if line.advice else ""
        paragraph = Text(f"{line.name}: {line.found}, wanted {line.wanted}{advice}")
        grid.add_row(Text(line.verdict, STYLES[line.verdict]), paragraph)
    return grid
