"""What the subcommands `render` have in common."""

from __future__ import annotations

from pathlib import Path

import typer

from ai102 import generated


def render(texts: generated.Texts, home: Path, *, check: bool, command: str) -> None:
    """Write what differs and name it; with `check` only name it, and exit with 1. Paths are shown from `home`."""
    changed = generated.outdated(texts) if check else generated.write(texts)
    for path in changed:
        typer.echo(f"{'outdated' if check else 'wrote'} {path.relative_to(home)}")
    if check and changed:
        typer.echo(f"run `{command}`", err=True)
        raise typer.Exit(1)
