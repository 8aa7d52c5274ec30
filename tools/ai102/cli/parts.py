"""Subcommands of `ai102 parts`: third-party programs in one cache."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from ai102.parts.inventory import Row

# The same as Group of parts.table, which is not imported before a subcommand runs.
Use = StrEnum(
    "Use", ["compose", "monitoring", "logs", "traces", "images", "cluster", "mesh", "scaling", "storage", "jobs"]
)

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Parts of tools/parts.toml; when none is named, all but those that a cluster alone needs."),
]
ListedNames = Annotated[list[str] | None, typer.Argument(help="Parts of tools/parts.toml; all when none is named.")]
For = Annotated[list[Use] | None, typer.Option("--for", help="The parts that a use needs; may be repeated.")]
Within = Annotated[
    float | None,
    typer.Option("--within", min=0, metavar="MINUTES", help="Begin no part that would not be built by then."),
]


@app.command()
def fetch(names: Names = None, groups: For = None) -> None:
    """Download parts into the cache; of those that must be built, the sources."""
    from ai102.cli.screen import Screen
    from ai102.parts import Cache, build, load

    parts, cache, screen = load(), Cache.of(os.environ), Screen()
    chosen = parts.chosen(names or [], groups or [])
    build.fetch(parts, chosen, cache, screen)
    screen.say(f"fetched: {', '.join(chosen)}; the cache is {cache.root}")


@app.command()
def build(names: Names = None, groups: For = None, within: Within = None) -> None:
    """Download and build parts, so that they can be run."""
    from ai102.cli.screen import Screen
    from ai102.parts import Cache, load
    from ai102.parts import build as steps

    parts, cache, screen = load(), Cache.of(os.environ), Screen()
    chosen = parts.chosen(names or [], groups or [])
    left_out = steps.build(parts, chosen, cache, screen, None if within is None else within * 60)
    ready = [name for name in chosen if name not in left_out]
    screen.say(f"ready: {', '.join(ready) or 'none'}; the cache is {cache.root}")
    if left_out:
        screen.say(f"left out: `ai102 parts build {' '.join(left_out)}` builds them")


@app.command("list")
def list_(
    names: ListedNames = None,
    groups: For = None,
    format: Annotated[Literal["table", "json"], typer.Option(help="How to print the parts.")] = "table",
) -> None:
    """List the parts: version, source, size, and whether they are in the cache."""
    from ai102.parts import Cache, inventory, load

    parts = load()
    chosen = parts.chosen(names or [], groups or []) if names or groups else list(parts.parts)
    rows = inventory.rows(parts, chosen, Cache.of(os.environ))
    if format == "json":
        typer.echo(json.dumps([row.as_dict() for row in rows], indent=1))
    else:
        _print(rows)


def _print(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("part", "version", "source", "needed for", "size", "in the cache", box=None)
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        size = "" if row.bytes is None else f"{row.bytes / 1e6:.0f} MB"
        table.add_row(row.name, row.version, row.source, " ".join(row.needed_for), size, "yes" if row.folder else "no")
    Console(highlight=False, width=1000).print(table)  # the terminal wraps long lines
