"""Subcommands of `ai102 keys` and `ai102 bundle`: keys of sealed payloads, encrypted model repositories."""

from __future__ import annotations

import contextlib
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ai102.errors import UserError

if TYPE_CHECKING:
    from ai102_runtime.seal.envelope import Key
    from ai102_runtime.seal.keys import KeyFolder, Keys

keys = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
bundle = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

HOME = Path("build/gateway/keys")
Home = Annotated[Path, typer.Option("--home", help="The key folder.", metavar="FOLDER")]
BundleFile = Annotated[Path, typer.Argument(help="The bundle.", metavar="FILE")]


@keys.command()
def new(
    key_id: Annotated[str, typer.Argument(help="The key's id; default: derived from the date.", metavar="[ID]")] = "",
    home: Home = HOME,
) -> None:
    """Create a key; the first one is active at once, later ones after `rotate`."""
    from ai102.seal import key_files

    key_id = key_files.new(home, key_id, _now())
    row = next(row for row in key_files.rows(home, _now()) if row.key_id == key_id)
    typer.echo(f"made {home}/{key_id}.key ({row.status}, fingerprint {row.fingerprint})")


@keys.command()
def rotate(
    key_id: Annotated[str, typer.Argument(help="The new active key; default: a new one.")] = "",
    retire: Annotated[str, typer.Option(help="A key that no longer opens envelopes.", metavar="ID")] = "",
    home: Home = HOME,
) -> None:
    """Make another key the active one; servers use it within a second."""
    from ai102.seal import key_files

    active, before = key_files.rotate(home, key_id, retire, _now())
    if active != before:
        still = f"; {before} still opens" if before and before != retire else ""
        typer.echo(f"{active} seals from now on{still}")
    if retire:
        typer.echo(f"{retire} opens nothing any more; remove {home}/{retire}.key to delete it permanently")


@keys.command("list")
def list_(home: Home = HOME) -> None:
    """List the keys: id, fingerprint, status, age; never the key itself."""
    from rich.console import Console
    from rich.table import Table

    from ai102.seal import key_files

    table = Table("id", "fingerprint", "status", "created", "age", box=None)
    for row in key_files.rows(home, _now()):
        age = "" if row.age_days is None else f"{row.age_days:.0f} d"
        table.add_row(row.key_id, row.fingerprint, row.status, row.created, age)
    Console(highlight=False).print(table)


@bundle.command()
def seal(
    repository: Annotated[Path, typer.Argument(help="A model repository.", metavar="REPOSITORY")],
    file: BundleFile,
    key: Annotated[str, typer.Option("--key", help="The key's id; default: the active one.", metavar="ID")] = "",
    home: Home = HOME,
) -> None:
    """Encrypt the files of a model repository that Triton reads into one file."""
    from ai102.cli.screen import Screen
    from ai102.seal import bundle as bundles

    ring = ring_of(home)
    chosen = ring.opening(key) if key else _active(ring)
    if chosen is None:
        raise UserError(f"no open key {key} in {home}: `ai102 keys list` lists the keys")
    screen = Screen()
    with screen.step(f"sealing {repository} (MB)") as progress:
        header = bundles.seal(repository, file, chosen, progress)
    screen.say(
        f"wrote {file}: {header.content_bytes / 1e6:.1f} MB, {header.entries} files and folders, key {chosen.id}"
    )


@bundle.command("open")
def open_(
    file: BundleFile,
    folder: Annotated[
        Path | None, typer.Argument(help="The target folder; it must not exist.", metavar="[FOLDER]")
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Decrypt into a private folder in memory, until Ctrl-C or TERM.")
    ] = False,
    home: Home = HOME,
) -> None:
    """Verify and decrypt a bundle."""
    from ai102.cli.screen import Screen
    from ai102.seal.bundle import open_into, opened_in_memory

    if memory == (folder is not None):
        raise UserError("give either a FOLDER to open the bundle into, or --memory")
    screen = Screen()
    if folder is not None:
        with screen.step(f"opening {file} (MB)") as progress:
            header = open_into(file, folder, ring_of(home), progress)
        screen.say(f"opened {folder}: {header.content_bytes / 1e6:.1f} MB, {header.entries} files and folders")
        return
    with opened_in_memory(file, ring_of(home)) as repository, contextlib.suppress(KeyboardInterrupt):
        typer.echo(f"{repository} (Ctrl-C removes it)")
        signal.pause()  # TERM raises SystemExit


def ring_of(home: Path) -> Keys | KeyFolder:
    """The keys in the environment if it has any, else those in the folder."""
    from ai102_runtime.seal.keys import KeyFolder, KeysError, keys_from_environment

    try:
        from_environment = keys_from_environment(os.environ)
        return from_environment if from_environment.ids else KeyFolder(home)
    except KeysError as err:
        raise UserError(str(err)) from err


def _active(ring: Keys | KeyFolder) -> Key:
    from ai102_runtime.seal.keys import KeysError

    try:
        return ring.active
    except KeysError as err:
        raise UserError(str(err)) from err


def _now() -> datetime:
    return datetime.now(UTC)
