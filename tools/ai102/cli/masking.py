"""Subcommands of `ai102 masking`: check, apply, reveal, new-key."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ai102.errors import UserError

if TYPE_CHECKING:
    from ai102.masking import Masker

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
RulesFile = Annotated[Path, typer.Option("--rules", help="The masking rules.")]
RULES = Path("masking.toml")
CONTRACT = Path("models.toml")
Input = Annotated[str, typer.Argument(help="A file, or - for standard input.")]


@app.command()
def check(file: Input = "-", rules: RulesFile = RULES) -> None:
    """Print each place that would be masked in a file, and its rule; the output holds the unmasked values."""
    from ai102.masking import Masker, stream

    masker, counts = Masker.of(rules), Counter[str]()
    with _lines(file) as lines, _as_pipe():
        for line in stream.check(masker, lines, counts):
            sys.stdout.buffer.write((line + "\n").encode("utf-8", "surrogateescape"))
        sys.stdout.flush()
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    typer.echo(f"{counts.total()} to mask{f': {kinds}' if kinds else ''}", err=True)


@app.command()
def apply(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="A file, or - for standard input; with --follow logs, or patterns of them.", metavar="FILE..."
        ),
    ] = None,
    rules: RulesFile = RULES,
    follow: Annotated[
        bool, typer.Option("--follow", help="Follow logs and write masked documents to --spool.")
    ] = False,
    spool: Annotated[
        Path | None, typer.Option(help="The folder from which log shippers read.", metavar="DIR", show_default=False)
    ] = None,
    spool_mb: Annotated[int, typer.Option(help="With so much unshipped, reading stops.", metavar="MB", min=4)] = 1024,
    read_by: Annotated[
        Path | None,
        typer.Option(
            help="The database of Fluent Bit's tail input: what it has read of the spool is removed.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    contract: Annotated[
        Path | None,
        typer.Option(
            help="The contract, which decides with --follow how a call ended; default: models.toml, if there is one.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Mask every line of a stream and write it at once; JSON stays JSON.

    `program 2>&1 | ai102 masking apply`; or logs as they grow, through rotation and restarts, into a spool:
    `ai102 masking apply --follow --spool /var/lib/ai102/spool '/var/lib/docker/containers/*/*-json.log'`
    """
    from ai102.masking import Masker, pipe

    if not follow and (spool or read_by or contract or len(files or []) > 1):
        raise UserError(
            "ai102 masking apply: --spool, --read-by, --contract and several files are for --follow; add it"
        )
    masker = Masker.of(rules)
    if follow:
        _follow(files, masker, spool, spool_mb, read_by, contract)
        return
    with _lines((files or ["-"])[0]) as lines, _as_pipe():
        pipe.run(masker, lines.fileno(), sys.stdout.buffer)


def _follow(
    files: list[str] | None,
    masker: Masker,
    spool: Path | None,
    spool_mb: int,
    read_by: Path | None,
    contract: Path | None,
) -> None:
    from ai102.logs.follow.run import run

    if spool is None or not files or "-" in files:
        raise UserError("ai102 masking apply --follow: name the logs, and --spool DIR for what is masked")
    goals_ms = _goals_ms(contract or (CONTRACT if CONTRACT.is_file() else None))
    say = partial(typer.echo, err=True)
    run(files, spool, masker, goals_ms, most_bytes=spool_mb << 20, read_by=read_by, say=say)


def _goals_ms(contract: Path | None) -> dict[str, float]:
    """By pipeline, the p99 promised; the gateway counts by the same."""
    if contract is None:
        return {}
    from ai102 import contract as contracts
    from ai102.contract.goals import goals_of

    return {name: goals.p99_ms for name, goals in goals_of(contracts.load(contract)).items()}


@app.command()
def reveal(file: Input = "-", rules: RulesFile = RULES) -> None:
    """Decrypt the sealed marks in a log with the keys (exit 1 if one cannot be decrypted)."""
    from ai102.masking import keys, load, marks

    seal, known, failed = load(rules).seal, dict[str, bytes](), 0

    def key_of(key_id: str) -> bytes:
        if key_id not in known:
            known[key_id] = keys.key(seal, key_id)
        return known[key_id]

    with _lines(file) as lines, _as_pipe():
        for line in lines:
            text, count = marks.revealed(line.decode("utf-8", "surrogateescape"), key_of)
            failed += count
            sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
            sys.stdout.flush()
    if failed:
        typer.echo(
            f"ai102: {failed} marks do not open with the key that they name: they were altered, or the key differs",
            err=True,
        )
        raise typer.Exit(1)


@app.command("new-key")
def new_key(
    name: Annotated[str, typer.Argument(help="salt, or the id of a key, such as k1.")], rules: RulesFile = RULES
) -> None:
    """Create a salt or a key, in the private file that masking.toml names."""
    from ai102.masking import keys, load
    from ai102.masking.rules import KEY_ID

    loaded = load(rules)
    if not KEY_ID.match(name):
        raise UserError(
            f'"{name}" is no key id: write a small letter, then up to 15 small letters and digits, such as k1'
        )
    path = loaded.salt.file if name == "salt" else loaded.seal.folder / f"{name}.key"
    keys.write_new(path)
    typer.echo(f"wrote {path}")


@contextmanager
def _lines(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as opened:
            yield opened
    except (FileNotFoundError, IsADirectoryError) as err:
        raise UserError(f"{file}: {err.strerror}; name a text file, or - for standard input") from err


@contextmanager
def _as_pipe() -> Iterator[None]:
    """When the reader of stdout exits early, such as `head`, the command ends without an error."""
    try:
        yield
    except BrokenPipeError:
        sys.stdout = None  # nothing is left to flush at exit
        raise typer.Exit(0) from None
